"""The producer's shell: follows the state, and performs the commands of the session.

Nothing here decides whether a producer may write; that is ``core.producer_session``. Records are
the intake's, reports `Reports`', transactions `Transactions`'.
"""

import logging
import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

from confluent_kafka import KafkaException, Producer

from clientlib.core.producer_session import (
    Command,
    Flush,
    Open,
    ProducerSession,
    Rescue,
    Shut,
    Stage,
)
from clientlib.io.handles import Handles
from clientlib.io.intake import Intake
from clientlib.io.options import ClientOptions
from clientlib.io.outgoing import acknowledged
from clientlib.io.pulse import ASK_EVERY_S, ASK_S, Pulse
from clientlib.io.registry import Registry
from clientlib.io.reports import Reports
from clientlib.io.rescue import Rescuer
from clientlib.io.watch import StateWatch
from clientlib.protocol.clients import Client, Role
from clientlib.protocol.errors import ClusterUnreachableError
from clientlib.protocol.state import State
from clientlib.protocol.types import ClusterAlias
from clientlib.version import VERSION

log = logging.getLogger("clientlib.producer")

_TICK_S = 0.02
_OPEN_TICK_S = 0.1  # while open: changes of the state wake the agent; the rest is not urgent
_RENEW_S = 0.1
_CONFIRM_S = 1.0
_FLUSH_S = 0.05


@dataclass(frozen=True, slots=True)
class Renew:
    """Wait until a deaf handle owes nothing, then make it anew."""

    cluster: ClusterAlias


class Agent:
    """What follows the state for one producer.

    `follow`, `confirm` and `stay_registered` (one for each cluster) are threads, until
    ``stopping``; ``wakeup`` makes the first take a turn at once.
    """

    def __init__(
        self,
        options: ClientOptions,
        watch: StateWatch,
        registries: Mapping[ClusterAlias, Registry],
        *,
        handles: Handles,
        intake: Intake,
        reports: Reports,
        rescuer: Rescuer,
        stopping: threading.Event,
    ) -> None:
        self._options, self._watch, self._registries = options, watch, registries
        self._locks = {alias: threading.Lock() for alias in registries}
        self._handles, self._intake = handles, intake
        self._reports, self._rescuer = reports, rescuer
        self._transactions = intake.transactions
        self._stopping = stopping
        self.session = ProducerSession()
        self.wakeup = threading.Event()
        self._todo: deque[Command | Renew] = deque()
        self._rescued: Rescue | None = None
        self._pulse = Pulse(watch.confirmed_after)
        handles.renewed = self._pulse.forget
        self._deaf: dict[ClusterAlias, Producer] = {}
        self._opened_since: float | None = None
        self._replayed = 0

    def _client(self) -> Client:
        return Client(
            id=self._options.ident,
            role=Role.PRODUCER,
            scope=self._options.scope,
            version=VERSION,
            digest=self._options.failover.digest,
            ttl_ms=self._options.ttl_ms,
            seen=self.session.seen,
            quiesced=self.session.quiesced,
            replayed=self._replayed,
            at_risk=self._rescuer.at_risk,
            transactional=self._transactions is not None,
            away=tuple(sorted(self._pulse.silent)),
            host=socket.gethostname(),
            pid=os.getpid(),
        )

    # -- the threads ---------------------------------------------------------------------------

    def follow(self) -> None:
        """Follow the state until closed: be registered, then obey.

        Whatever goes wrong in one turn (an application's callback that raises, say) is logged and
        the turn is taken again: a producer that stops obeying would hold up every switch.
        """
        while not self._stopping.is_set():
            steady = self.session.stage is Stage.OPEN and not self._todo
            self.wakeup.wait(_OPEN_TICK_S if steady else _TICK_S)
            self.wakeup.clear()
            try:
                self.turn()
            except Exception:
                log.exception("a turn of the producer's agent failed; taking it again")

    def turn(self) -> None:
        """Let what has happened since the last turn take effect."""
        self._step()
        self._rescuer.gather()
        self._finish_replay()
        for cluster in tuple(self._deaf):
            self._replace(cluster, self._deaf.pop(cluster))
        target = self._intake.target
        if target and (self._todo or self._rescuer.replay is not None):
            # what is written again is reported though the application does not poll
            self._serve(target, self._handles.polled, 0)
        self._handles.serve_standbys(target)

    def stay_registered(self, cluster: ClusterAlias) -> None:
        """Be registered on every cluster ahead, so that a switch does not wait for it."""
        while not self._stopping.wait(_RENEW_S):
            if self._watch.view().state is not None:
                self.register(cluster)
        with self._locks[cluster]:
            self._registries[cluster].close()

    def confirm(self) -> None:
        """Once a second, ask which records are replicated, so that the buffer stays small."""
        while not self._stopping.wait(_CONFIRM_S):
            target = self._intake.target
            if target and self.session.stage is Stage.OPEN:
                try:
                    self._rescuer.confirm(target)
                except KafkaException as error:
                    log.debug("what is replicated cannot be found out: %s", error)
        self._rescuer.close()

    def tend(self) -> None:
        """Find the handles that do not hear their cluster any more, though it lives."""
        topic = self._options.failover.control.state_topic
        while not self._stopping.wait(ASK_EVERY_S):
            for cluster in self._registries:
                handle = self._handles.of(cluster)
                if self._pulse.ask(cluster, lambda h=handle: h.list_topics(topic, timeout=ASK_S)):  # type: ignore[misc]  # mypy cannot type a default argument of a lambda
                    self._deaf[cluster] = handle

    # -- a turn --------------------------------------------------------------------------------

    def _replace(self, cluster: ClusterAlias, deaf: Producer) -> None:
        """Make a cluster's handle anew, if it owes no report; else it is asked for again soon.

        What it owes cannot be taken back: it may have been written. Where it is written to, nothing
        more is handed over until what it owes is reported, which takes ``message.timeout.ms``.
        """
        if deaf is not self._handles.of(cluster):
            return
        if self._transactions is not None:
            self._transactions.replace(cluster)
        elif cluster != self._intake.target:
            self._make_anew(cluster)
        elif self.session.stage is Stage.OPEN and not self._todo:
            log.warning("%s: the producer has lost all brokers, and records wait", cluster)
            self._do([Shut(), Renew(cluster), Open(cluster)])

    def _make_anew(self, cluster: ClusterAlias) -> bool:
        """Make a deaf handle anew, if it owes nothing and is still deaf; False to try again."""
        if cluster not in self._pulse.silent:
            return True
        self._serve(cluster, self._handles.flushed, _FLUSH_S)  # its errors count as reports, too
        if len(self._handles.of(cluster)):
            return False
        log.warning("%s: the producer had lost all brokers and is made anew", cluster)
        self._handles.renew(cluster)
        return True

    def _step(self) -> None:
        # what is confirmed is asked before the view is taken: never the other way round
        sinces = {alias: registry.since for alias, registry in self._registries.items()}
        confirmed = {
            alias: since is not None and self._watch.confirmed_after(alias, since)
            for alias, since in sinces.items()
        }
        state = self._watch.view().state
        if state is None or self._watch.too_new:
            self._end(self.session.on_lapsed())
            return
        cluster = state.active
        seen = self.session.seen
        changed = self.session.on_state(state)
        if changed:
            self._todo.clear()  # what was under way is overtaken
        if self.session.stage is not Stage.RESCUING and self._rescuer.replay is None:
            self._replayed = state.epoch.counter
        self._do(changed)
        if self._lapsed():
            self._end(self.session.on_lapsed())
        if self.session.seen != seen and not changed and self.session.quiesced:
            self.register(cluster)
        opening = self.session.on_registered(cluster, ok=confirmed[cluster] and not self._todo)
        if opening:
            self._opened_since = sinces[cluster]
        self._do(opening)
        if self._transactions is not None and self._transactions.reopen:
            self._open_again()

    def _open_again(self) -> None:
        target = self._intake.target
        if self.session.stage is Stage.OPEN and target and not self._todo:
            self._do([Open(target)])

    def _lapsed(self) -> bool:
        """Say whether the registration under which this producer opened has ended."""
        target = self._intake.target
        if not target or self.session.stage is not Stage.OPEN:
            return False
        registry = self._registries[target]
        overdue, self._intake.overdue = self._intake.overdue, False
        return overdue or registry.lapsed() or registry.since != self._opened_since

    def register(self, cluster: ClusterAlias) -> bool:
        """Register this producer as it is now; says whether the registration stands."""
        with self._locks[cluster]:
            kept = self._registries[cluster].keep(self._client())
        if self._intake.target in {cluster, ""}:
            self._intake.extend(self._registries[cluster].valid_until)
        return kept

    def _finish_replay(self) -> None:
        """Write the manifest when everything that was to be written again is reported."""
        replay, target = self._rescuer.replay, self._intake.target
        if replay is None or not replay.done or self.session.stage is Stage.RESCUING:
            return
        active = target or (self._watch.view().state or _no_state()).active
        record = replay.manifest(self._options.ident).record(self._options.scope)
        with self._locks[active]:
            if not self._registries[active].publish(*record):
                return
        self._replayed, self._rescuer.replay = replay.epoch, None
        self.register(active)

    # -- commands ------------------------------------------------------------------------------

    def _do(self, commands: Iterable[Command | Renew]) -> None:
        """Work off commands in order; what is not finished goes on in the next turn."""
        self._todo.extend(commands)
        while self._todo and self._perform(self._todo[0]):
            self._todo.popleft()

    def _end(self, commands: list[Command]) -> None:
        """Drop what was under way, if anything overtakes it, and do these."""
        if commands:
            self._todo.clear()
        self._do(commands)

    def _perform(self, command: Command | Renew) -> bool:
        """Do one command as far as it goes without waiting; say whether it is finished."""
        match command:
            case Shut():
                with self._intake.lock:
                    self._intake.shut()
                return self._intake.over()
            case Flush(cluster):
                return self._drain(cluster)
            case Renew(cluster):
                return self._make_anew(cluster)
            case Open(cluster):
                return self._open(cluster)
            case Rescue():
                return self._rescue(command)

    def _drain(self, cluster: ClusterAlias) -> bool:
        """Flush what was handed over; its reports wait for the application's own poll."""
        handle = self._handles.of(cluster)
        if self._transactions is not None and not self._transactions.settle(cluster):
            self.wakeup.set()
            return False
        self._serve(cluster, self._handles.flushed, _FLUSH_S)
        if len(handle):
            self.wakeup.set()
            return False
        self.session.on_flushed()
        self.register(cluster)
        log.debug("quiesced, %d records wait", len(self._intake.waiting))
        return True

    def _serve(
        self, cluster: ClusterAlias, served: Callable[[ClusterAlias, float], int], wait: float
    ) -> None:
        """Have a cluster report, quietly, unless the application does that just now."""
        with self._reports.alone() as alone:
            if alone:
                with self._reports.quietly(cluster):
                    served(cluster, wait)

    def _open(self, cluster: ClusterAlias) -> bool:
        """Let records go to a cluster, first what waits; says whether nothing waits any more."""
        handle = self._handles.of(cluster)
        if cluster != self._rescuer.source:
            self._rescuer.turn_to(cluster)
        self._intake.target = cluster
        self._intake.extend(self._registries[cluster].valid_until)
        if self._transactions is not None and not self._transactions.open(cluster):
            return False
        return self._intake.open(handle)

    def _rescue(self, order: Rescue) -> bool:
        """Put what the copies lack in front of everything that waits."""
        calls = self._transactions.calls if self._transactions is not None else nullcontext()
        with self._reports.serving, calls:  # nobody else takes reports of the lost cluster
            self._intake.target = ""
            if self._rescued != order:
                self._take_from(order.lost)
                self._rescued = order
        try:
            taken = self._rescuer.take(order, self._watch.view())
        except (ClusterUnreachableError, KafkaException) as error:
            log.warning("%s cannot say what it lacks of %s: %s", order.to, order.lost, error)
            return False
        if self._transactions is not None:
            self._transactions.owe(taken)
        else:
            self._intake.put_in_front(taken.again)
        for kept, offset in taken.copied:
            self._reports.hold(order.lost, kept.report, None, acknowledged(kept, offset))
        self.session.on_rescued()
        return True

    def _take_from(self, lost: ClusterAlias) -> None:
        """Take back what the lost cluster never acknowledged; once.

        What belongs to a transaction that is aborted is reported instead.
        """
        counts = self._transactions is None or self._transactions.lost(lost)
        with self._reports.quietly(lost, take_back=counts):
            self._handles.renew(lost)
        if self._transactions is not None:
            self._transactions.replaced(lost, keep=counts)


def _no_state() -> State:
    raise AssertionError("a replay follows a state")
