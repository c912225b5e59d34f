"""The producer's session: it writes if and only if the phase is active and the cluster is its.

    WAITING --registered--> OPEN --closing--> CLOSING --flushed--> QUIESCED --new epoch--> WAITING
                             ^                                        |
                             `--------- same epoch, active again -----'

When the cluster that it wrote to was given up, it first writes again what the copies lack::

    any stage --unplanned epoch--> RESCUING --written down--> QUIESCED
                                    ^   |
                                    `---' an epoch after that: the next cluster is asked instead

Events are methods that return commands; no I/O, no clock. A producer registers, is acknowledged,
has read the state, then writes.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from clientlib.core.duty import losses
from clientlib.protocol.clients import Seen
from clientlib.protocol.state import Phase, State
from clientlib.protocol.types import ClusterAlias, Revision


class Stage(StrEnum):
    """Where a producer is; see the drawing at the top."""

    WAITING = "waiting"
    OPEN = "open"
    CLOSING = "closing"
    QUIESCED = "quiesced"
    RESCUING = "rescuing"


@dataclass(frozen=True, slots=True)
class Shut:
    """Hand nothing over any more; take records and keep them."""


@dataclass(frozen=True, slots=True)
class Flush:
    """Wait until everything that was handed over to this cluster is reported."""

    cluster: ClusterAlias


@dataclass(frozen=True, slots=True)
class Open:
    """Hand over what waits, in order, then everything, to this cluster."""

    cluster: ClusterAlias


@dataclass(frozen=True, slots=True)
class Rescue:
    """Take back what ``lost`` never acknowledged, and all that the copies on ``to`` lack.

    ``to`` may be ``lost``, which is active again before anybody else could be asked.
    """

    lost: ClusterAlias
    to: ClusterAlias
    epoch: int


Command: TypeAlias = Shut | Flush | Open | Rescue


class ProducerSession:
    """What one producer may do now."""

    def __init__(self) -> None:
        self.stage = Stage.WAITING
        self.seen = Seen()
        self._writes_to: ClusterAlias | None = None
        self._wrote_to: ClusterAlias | None = None
        self._wrote_in = 0
        self._rescuing_in = 0
        self._order: Revision | None = None
        self._phase = Phase.CLOSING

    @property
    def quiesced(self) -> bool:
        """Say whether nothing is on its way to a cluster."""
        return self.stage not in {Stage.OPEN, Stage.CLOSING, Stage.RESCUING}

    def on_state(self, state: State) -> list[Command]:
        """A state was seen; older ones are ignored."""
        if self._order is not None and state.order <= self._order:
            return []
        self._order, self._phase = state.order, state.phase
        self.seen = Seen(state.epoch.counter, state.revision, state.run)
        if self._given_up(state):
            self._writes_to, self._rescuing_in = None, state.epoch.counter
            self.stage = Stage.RESCUING
            return [Shut(), Rescue(self._wrote_to or "", state.active, state.epoch.counter)]
        may_write = state.phase is Phase.ACTIVE and state.active == self._writes_to
        if self.stage is not Stage.OPEN or may_write:
            return []
        cluster, self._writes_to = self._writes_to, None
        self.stage = Stage.CLOSING
        return [Shut(), Flush(cluster)] if cluster is not None else [Shut()]

    def _given_up(self, state: State) -> bool:
        """Say whether the cluster that was written to was lost since, and another is to be asked.

        What it lacks is not asked for when it is active again, unless that has begun: what it never
        acknowledged is taken back then.
        """
        lost = losses(state.epochs, state.unplanned)
        since = any(n > self._wrote_in and c == self._wrote_to for n, c in lost.items())
        if self.stage is Stage.RESCUING:
            another = state.epoch.counter > self._rescuing_in
        else:
            another = self._wrote_to != state.active
        return since and another and state.phase is Phase.ACTIVE

    def on_rescued(self) -> None:
        """What is to be written again waits in front of everything else."""
        if self.stage is Stage.RESCUING:
            self.stage, self._wrote_to = Stage.QUIESCED, None

    def on_flushed(self) -> None:
        """Everything that was handed over is reported: the registration may say so."""
        if self.stage is Stage.CLOSING:
            self.stage = Stage.QUIESCED

    def on_lapsed(self) -> list[Command]:
        """The registration has ended: an orchestrator may not have waited for this producer."""
        if self.stage is not Stage.OPEN:
            return []
        cluster, self._writes_to = self._writes_to, None
        self.stage = Stage.CLOSING
        return [Shut(), Flush(cluster)] if cluster is not None else [Shut()]

    def on_registered(self, cluster: ClusterAlias, *, ok: bool) -> list[Command]:
        """The registration on ``cluster`` stands (or not) under the state that was seen."""
        busy = self.stage in {Stage.OPEN, Stage.CLOSING, Stage.RESCUING}
        if not ok or busy or self._phase is not Phase.ACTIVE:
            return []
        self.stage, self._writes_to = Stage.OPEN, cluster
        self._wrote_to, self._wrote_in = cluster, self.seen.epoch
        return [Open(cluster)]
