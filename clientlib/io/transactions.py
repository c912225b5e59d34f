"""A producer's transactions on real clusters: which follow a switch, and what becomes of them.

`Transactions` drives the pure `clientlib.core.transaction` with librdkafka's calls. Two threads
meet here: the application's (``init``, ``begin``, ``commit``, ``abort``) and the agent of the
producer (``shut``, ``settle``, ``open``, ``lost``, ``owe``). Calls to a cluster are made in slices,
one at a time under ``calls``, so that each of the two can finish what the other has begun.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from clientlib.core.transaction import Next, Refused, Stage, Transaction, Why
from clientlib.io.carry import Carrier, abort, begun_too_late
from clientlib.io.kafka import unreachable
from clientlib.io.rescue import Rescuer, Taken
from clientlib.protocol.types import ClusterAlias

log = logging.getLogger("clientlib.producer")

_SLICE_S = 0.1
_AGENT_SLICE_S = 0.05
_INIT_SLICE_S = 0.5
_PAUSE_S = 0.005
_LOOK_S = 0.05
_REFUSED_S = 2.0
_MIX_UPS = 20
_STATE = KafkaError._STATE  # noqa: SLF001 - confluent-kafka's public spelling
_TIMED_OUT = KafkaError._TIMED_OUT  # noqa: SLF001 - as above
_CONFLICT = KafkaError._CONFLICT  # noqa: SLF001 - as above


@dataclass(frozen=True, slots=True)
class Desk:
    """What a producer offers to its transactions.

    ``serving`` is held by whoever takes reports. ``lock`` guards what follows. ``waiting``: records
    that no cluster has got yet; ``refuse`` reports them as purged. ``let_through`` and ``shut``:
    the path of new records; ``lapsed``: the registration has ended. ``serve``: run the reports that
    wait for the application. ``quietly``: let reports wait while the agent serves them. ``renew``:
    make a cluster's handle anew.
    """

    lock: threading.Lock
    serving: AbstractContextManager[Any]
    handle: Callable[[ClusterAlias], Producer]
    active: Callable[[], ClusterAlias]
    waiting: Callable[[], bool]
    refuse: Callable[[], None]
    let_through: Callable[[Producer], None]
    shut: Callable[[], None]
    lapsed: Callable[[], bool]
    reporting: Callable[[ClusterAlias], None]
    serve: Callable[[], int]
    quietly: Callable[[ClusterAlias], AbstractContextManager[None]]
    renew: Callable[[ClusterAlias], None]


class Transactions:
    """The transactions of one producer."""

    def __init__(self, desk: Desk, rescuer: Rescuer, carrier: Carrier) -> None:
        self._desk, self._rescuer, self._carrier = desk, rescuer, carrier
        self._transaction = Transaction()
        self.calls = threading.RLock()
        self._wanted = threading.Event()
        self._ready: set[ClusterAlias] = set()
        self._being_made: set[ClusterAlias] = set()
        self._refused: dict[ClusterAlias, KafkaException] = {}
        self._fatal: KafkaException | None = None
        self._mixed_up = 0
        self._open_at: ClusterAlias = ""
        self.reopen = False
        """The agent is to open the active cluster again: its handle is a new one."""

    # -- the application's side --------------------------------------------------------------

    def init(self, timeout: float = -1) -> None:
        """See ``confluent_kafka.Producer.init_transactions``; waits for the active cluster."""
        if self._transaction.stage is not Stage.IDLE:
            with _translated():
                self._transaction.initialised()
        self._wanted.set()
        for _ in _until(timeout, "init_transactions"):
            active = self._desk.active()
            if active in self._ready:
                with self._desk.lock:
                    self._transaction.initialised()
                return
            if active in self._refused:
                raise self._refused[active]
            time.sleep(_PAUSE_S)

    def begin(self) -> None:
        """Begin one; at no cluster as long as writes are closed."""
        with self._desk.lock, _translated():
            self._check()
            self._transaction.begin()
            if self._open_at and not self._desk.lapsed():
                try:
                    self._bind(self._open_at)
                except KafkaException:
                    self._transaction.abort()
                    raise

    def check_produce(self) -> None:
        """Raise unless a transaction takes records; the lock is held."""
        with _translated():
            self._check()
            self._transaction.check_produce()

    def commit(self, timeout: float = -1) -> None:
        """See ``confluent_kafka.Producer.commit_transaction``.

        While writes are closed, and while its cluster is lost and no other active, it waits.
        """
        for left in _until(timeout, "commit_transaction"):
            with self._desk.lock, _translated():
                self._check()
                if self.takes_records and self._desk.lapsed():
                    self._doom("nobody waits any more for this producer")
                step = self._transaction.commit(handed_over=not self._desk.waiting())
                if step is Next.ASK:
                    self._desk.shut()
            if step is Next.ASK:
                self._commit_slice(min(left, _SLICE_S))
            self._desk.serve()
            if step is Next.DONE:
                return
            if step is Next.WAIT:
                time.sleep(_PAUSE_S)

    def abort(self, timeout: float = -1) -> None:
        """See ``confluent_kafka.Producer.abort_transaction``."""
        for left in _until(timeout, "abort_transaction"):
            with self._desk.lock, _translated():
                self._check()
                step = self._transaction.abort()
                self._desk.shut()
                self._desk.refuse()
            if step is Next.ASK:
                self._abort_slice(min(left, _SLICE_S))
            self._desk.serve()
            if step is Next.DONE:
                return

    def close(self, timeout: float) -> None:
        """End what is open, as far as the time goes."""
        with suppress(KafkaException):
            if self._transaction.stage is Stage.COMMITTING:
                self.commit(timeout)
            elif self._transaction.stage in {Stage.BEGUN, Stage.OPEN, Stage.DOOMED}:
                self.abort(timeout)

    @property
    def takes_records(self) -> bool:
        """Say whether a transaction is open at a cluster."""
        return self._transaction.stage is Stage.OPEN

    # -- the agent's side -------------------------------------------------------------------------

    def stay_initialised(self, alias: ClusterAlias, stopping: threading.Event) -> None:
        """Be ready on a cluster ahead: it takes up to a second, and ends what stays open there."""
        while not stopping.is_set():
            if not self._wanted.wait(_LOOK_S):
                continue
            if alias in self._ready or alias in self._being_made:
                stopping.wait(_LOOK_S)
            else:
                stopping.wait(self._initialise(alias))

    def replace(self, cluster: ClusterAlias) -> None:
        """Make a handle anew that does not hear its cluster, unless something in it may count.

        One that is to be aborted is aborted by that: its coordinator does so when the new handle
        is initialised.
        """
        with self._quietly(cluster):
            transaction = self._transaction
            with self._desk.lock:
                held = not transaction.settled and transaction.cluster == cluster
                if self._carrier.under_way or (held and not transaction.owes_abort):
                    return
                self._withdraw(cluster)
            log.warning("%s: the producer had lost all brokers and is made anew", cluster)
            self._renew(cluster)
            if held:
                self._rescuer.aborted()
                with self._desk.lock:
                    transaction.aborted()

    def shut(self, why: str) -> None:
        """Writes are closed; the lock is held."""
        self._open_at = ""
        self._doom(why)

    def settle(self, cluster: ClusterAlias) -> bool:
        """End what is open at a cluster, as far as that goes now; True when nothing is."""
        with self._quietly(cluster), suppress(KafkaException):
            self._commit_slice(_AGENT_SLICE_S)
            self._abort_slice(_AGENT_SLICE_S)
        if self._carrier.under_way:
            self._carry(cluster)
        return self._transaction.settled and not self._carrier.under_way

    def open(self, cluster: ClusterAlias) -> bool:
        """Write what is owed, then let transactions begin there; says whether they may."""
        if cluster not in self._ready:
            return False
        self.reopen = False
        if self._carrier.owes and not self._carry(cluster):
            return False
        with self._desk.lock:
            if cluster not in self._ready:
                return False
            self._open_at = cluster
            if self._transaction.stage is Stage.BEGUN:
                try:
                    self._bind(cluster)
                except KafkaException as error:
                    log.warning("%s: a transaction cannot begin: %s", cluster, error)
        return True

    def lost(self, cluster: ClusterAlias) -> bool:
        """A cluster was given up. True if what it never acknowledged is written again.

        ``calls`` is held.
        """
        self._being_made.add(cluster)
        self._ready.discard(cluster)
        with self._desk.lock:
            carried = self._transaction.lost(f"cluster {cluster} was given up")
            self._desk.refuse()
        return self._carrier.lost(carried=carried) or carried

    def replaced(self, cluster: ClusterAlias, *, keep: bool) -> None:
        """The lost cluster's handle is a new one; ``keep``: what the old one wrote counts."""
        self._being_made.discard(cluster)
        self._refused.pop(cluster, None)
        if keep:
            self._rescuer.carry()
        else:
            self._rescuer.aborted()

    def owe(self, taken: Taken) -> None:
        """Take over what is to be written again, as whole transactions, oldest first."""
        self._carrier.owe(taken)
        self._settle_carried()

    # -- inside ---------------------------------------------------------------------------------

    @contextmanager
    def _quietly(self, cluster: ClusterAlias) -> Iterator[None]:
        # serving before calls: an application may commit in a report
        with self._desk.serving, self.calls, self._desk.quietly(cluster):
            yield

    def _alone(self) -> AbstractContextManager[Any]:
        """Be the only one that takes reports, if any are owed: their order is the log's.

        Where none are, nobody is waited for who polls in vain.
        """
        cluster = self._transaction.cluster
        owed = cluster and len(self._desk.handle(cluster))
        return self._desk.serving if owed else nullcontext()

    def _check(self) -> None:
        if self._fatal is not None:
            raise self._fatal

    def _doom(self, why: str) -> None:
        if self._transaction.shut(why):
            log.info("the open transaction is aborted: %s", why)
            self._desk.shut()
            self._desk.refuse()

    def _bind(self, cluster: ClusterAlias) -> None:
        handle = self._desk.handle(cluster)
        try:
            handle.begin_transaction()
        except KafkaException as error:
            if error.args[0].fatal():
                self._fatal = error
            raise
        self._transaction.bound(cluster)
        if not self._desk.waiting():
            self._desk.let_through(handle)

    def _commit_slice(self, wait: float) -> None:
        with self._alone(), self.calls:
            transaction = self._transaction
            if transaction.stage is not Stage.COMMITTING:
                return
            self._desk.reporting(transaction.cluster)
            try:
                self._desk.handle(transaction.cluster).commit_transaction(wait)
            except KafkaException as error:
                self._failed(error)
                return
            self._mixed_up = 0
            self._rescuer.committed()
            with self._desk.lock:
                transaction.committed()

    def _abort_slice(self, wait: float) -> None:
        with self._alone(), self.calls:
            transaction = self._transaction
            if not transaction.owes_abort:
                return
            cluster = transaction.cluster
            self._desk.reporting(cluster)
            try:
                abort(self._desk.handle(cluster), wait)
            except KafkaException as error:
                if not begun_too_late(error):
                    self._failed(error)
                    return
                self._renew_given_up(cluster)
            self._mixed_up = 0
            self._rescuer.aborted()
            with self._desk.lock:
                transaction.aborted()

    def _renew_given_up(self, cluster: ClusterAlias) -> None:
        """Replace a handle that librdkafka has given up although nothing is wrong with it."""
        log.info("%s: the producer is made anew after an abort that came too early", cluster)
        with self._desk.lock:
            self._withdraw(cluster)
        self._renew(cluster)

    def _withdraw(self, cluster: ClusterAlias) -> None:
        """Let nothing begin at a cluster until its handle is a new one; the lock is held."""
        self._being_made.add(cluster)
        self._ready.discard(cluster)
        if self._open_at == cluster:
            self.reopen, self._open_at = True, ""

    def _renew(self, cluster: ClusterAlias) -> None:
        self._desk.renew(cluster)
        self._being_made.discard(cluster)

    def _failed(self, error: KafkaException) -> None:
        """Take what a cluster answered to commit or abort; a time-out is no answer.

        Nor is a call that is not valid in the state in which it was made. A step of an earlier call
        that timed out inside librdkafka, on a busy machine, is taken by the next call for one of
        its own, so that it goes on too early (``rd_kafka_txn_curr_api_set_result`` of 2.16). Asked
        again it waits for what it has begun.
        """
        kafka: KafkaError = error.args[0]
        if kafka.txn_requires_abort():
            with self._desk.lock:
                self._transaction.failed(kafka.str())
            raise error
        self._mixed_up = self._mixed_up + 1 if kafka.code() == _STATE else 0
        if kafka.retriable() or 0 < self._mixed_up <= _MIX_UPS:
            time.sleep(_PAUSE_S)
            return
        with self._desk.lock:
            self._fatal = error
            self._transaction.failed(kafka.str())
            self._transaction.aborted()
        self._rescuer.aborted()
        raise error

    def _initialise(self, alias: ClusterAlias) -> float:
        """Initialise one cluster's handle; returns after how many seconds to look again."""
        handle = self._desk.handle(alias)
        try:
            handle.init_transactions(_INIT_SLICE_S)
        except KafkaException as error:
            mixed_up = error.args[0].code() == _STATE  # see `_failed`
            if error.args[0].retriable() or unreachable(error) or mixed_up:
                return _LOOK_S
            if self._refused.get(alias) is None:
                log.error("%s refuses transactions: %s", alias, error)  # noqa: TRY400 - no bug
            self._refused[alias] = error
            return _REFUSED_S
        with self._desk.lock:
            if self._desk.handle(alias) is handle and alias not in self._being_made:
                self._ready.add(alias)
                self._refused.pop(alias, None)
        return 0.0

    def _carry(self, cluster: ClusterAlias) -> bool:
        """Write what is owed; says whether all of it is committed."""
        with self._quietly(cluster):
            try:
                done = self._carrier.work(self._desk.handle(cluster), cluster)
            except KafkaException as error:
                if begun_too_late(error):
                    self._renew_given_up(cluster)
                    self._carrier.again()
                    return False
                log.warning("%s does not take what is written again: %s", cluster, error)
                if not error.args[0].fatal():
                    return False
                self._fatal, done = error, True
                self._carrier.give_up(error.args[0])
        self._settle_carried()
        return done

    def _settle_carried(self) -> None:
        if not self._carrier.carries:
            with self._desk.lock:
                if self._transaction.stage is Stage.CARRIED:
                    self._transaction.committed()


def within(handle: Producer) -> Callable[..., None]:
    """Return the handle's ``produce``, which says when its transaction has failed.

    librdkafka refuses records of a failed transaction as if there were none, and tells only at the
    commit that it must be aborted.
    """
    produce = handle.produce

    def take(*record: Any) -> None:
        try:
            produce(*record)
        except KafkaException as error:
            if error.args[0].code() != _STATE:
                raise
            reason = "the transaction has failed and must be aborted"
            raise KafkaException(KafkaError(_STATE, reason, txn_requires_abort=True)) from error

    return take


@contextmanager
def _translated() -> Iterator[None]:
    """Say in Kafka's words that a call is not allowed."""
    try:
        yield
    except Refused as refused:
        code = _CONFLICT if refused.why is Why.CONFLICT else _STATE
        raise KafkaException(
            KafkaError(
                code,
                refused.reason,
                retriable=refused.why is Why.CONFLICT,
                txn_requires_abort=refused.why is Why.MUST_ABORT,
            )
        ) from None


def _until(timeout: float, call: str) -> Iterator[float]:
    """Yield the seconds left, at least once; then raise as librdkafka does."""
    deadline = time.monotonic() + timeout if timeout >= 0 else float("inf")
    while True:
        left = max(0.0, deadline - time.monotonic())
        yield left
        if time.monotonic() >= deadline:
            reason = f"{call} is not finished, call it again to go on"
            raise KafkaException(KafkaError(_TIMED_OUT, reason, retriable=True))
