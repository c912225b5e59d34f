"""One seat: a logical partition that the group of one cluster gave to this member.

And the commands by which the session tells its shell what to do, in order.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from clientlib.core.duty import Vector
from clientlib.core.tracker import Span, Tracker
from clientlib.protocol.ledger import NeedsAlignment
from clientlib.protocol.progress import Progress
from clientlib.protocol.recover import Memory
from clientlib.protocol.types import ClusterAlias, Offset, Partition, Position

LOOK_AGAIN_S = (0.004, 0.004, 0.004, 0.008, 0.008, 0.016, 0.032, 0.064, 0.128, 0.25, 0.5)
"""Pauses between looks at commits that somebody else must write first."""


class SeatKey(NamedTuple):
    """A logical partition as owned in the group of one cluster."""

    cluster: ClusterAlias
    partition: Partition


class Stage(StrEnum):
    """Where a seat is; see the drawing at the top."""

    LOOKING = "looking"
    ALIGNING = "aligning"
    RESETTING = "resetting"
    RECOVERING = "recovering"
    COMMITTING = "committing"
    READING = "reading"
    RESTING = "resting"


@dataclass(frozen=True, slots=True)
class ReadCommits:
    """Read the group's commits of these logical partitions on one cluster, in the background."""

    cluster: ClusterAlias
    partitions: tuple[Partition, ...]
    ticket: int


@dataclass(frozen=True, slots=True)
class Align:
    """Find the same records in the logs of ``key.cluster``, in the background."""

    key: SeatKey
    source: ClusterAlias
    tasks: Mapping[ClusterAlias, NeedsAlignment]
    ticket: int


@dataclass(frozen=True, slots=True)
class ResolveReset:
    """Apply ``auto.offset.reset`` to the logs of these origins, in the background."""

    key: SeatKey
    origins: tuple[ClusterAlias, ...]
    ticket: int


@dataclass(frozen=True, slots=True)
class CommitVectors:
    """Commit these positions on one cluster as its group member, and say how it went."""

    cluster: ClusterAlias
    positions: Mapping[Partition, Position]


@dataclass(frozen=True, slots=True)
class Start:
    """Give these physical partitions to the application and read them."""

    cluster: ClusterAlias
    spans: Mapping[Partition, Span]


@dataclass(frozen=True, slots=True)
class Stop:
    """Take these physical partitions from the application: its ``on_revoke`` runs now."""

    cluster: ClusterAlias
    spans: Mapping[Partition, Span]
    lost: bool = False


@dataclass(frozen=True, slots=True)
class ReadEvidence:
    """Find out what the readers of a lost cluster have reported of a partition, in the background.

    ``epoch``: the unplanned epoch; ``reading``: the one before it, under which they read.
    ``asked_at``: in seconds of the session's clock; what is read later than that will do.
    """

    key: SeatKey
    lost: ClusterAlias
    epoch: int
    reading: int
    ticket: int
    asked_at: float


@dataclass(frozen=True, slots=True)
class Recover:
    """Find positions of a lost cluster in the logs of ``key.cluster``, in the background.

    ``tasks`` are by origin; ``log`` is the one that ``memory`` is of; ``floors`` are safe answers.
    """

    key: SeatKey
    tasks: Mapping[ClusterAlias, NeedsAlignment]
    log: ClusterAlias
    memory: Memory
    floors: Mapping[ClusterAlias, Offset]
    ticket: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a partition without the cluster that was lost.

    ``progress``: its readers' newest report, ``by`` whom. ``floors``: by origin, offsets on the
    asking cluster that are surely not past the position.
    """

    by: str
    progress: Progress | None = None
    floors: Mapping[ClusterAlias, Offset] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HandOver:
    """Report to cluster ``to`` what is known of a partition that was read on a lost cluster."""

    to: ClusterAlias
    epoch: int
    partition: Partition
    progress: Progress


Command: TypeAlias = (
    ReadCommits
    | Align
    | ResolveReset
    | CommitVectors
    | Start
    | Stop
    | ReadEvidence
    | Recover
    | HandOver
)


@dataclass(slots=True)
class Seat:
    """One owned logical partition.

    ``since``: older read results are not for this look. ``processed``: ``pending`` is what the
    application has processed here, so a refused commit is tried again while the seat is owned.
    ``ahead``: see `Filter`. ``claim``: see `Progress`. ``unsure``: what was processed, with its
    tracker, and may be committed: nobody knows until the commits are read.
    """

    key: SeatKey
    stage: Stage = Stage.LOOKING
    since: int = 0
    looks: int = 0
    look_at: float = 0.0
    why: str = ""
    ticket: int = 0
    vectors: dict[ClusterAlias, Vector] = field(default_factory=dict)
    pending: Position | None = None
    processed: bool = False
    tracker: Tracker | None = None
    base: Position | None = None
    ahead: Counter[bytes] = field(default_factory=Counter)
    stamped: bool = True
    claim: int = 0
    unsure: tuple[Position, Tracker] | None = None

    def look(self, ticket: int) -> None:
        """Begin to look at the commits afresh."""
        self.stage, self.since, self.looks, self.look_at = Stage.LOOKING, ticket, 0, 0.0
        self.vectors, self.pending, self.tracker, self.base = {}, None, None, None
        self.processed = False

    def wait(self, why: str, now: float) -> None:
        """Look again later: soon at first, since a handover takes milliseconds."""
        self.why = why
        self.look_at = now + LOOK_AGAIN_S[min(self.looks, len(LOOK_AGAIN_S) - 1)]
        self.looks += 1
