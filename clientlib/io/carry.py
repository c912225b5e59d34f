"""Writes transactions of a lost cluster again: whole ones, in transactions of the new cluster.

What was committed on the lost cluster and is not in the copy, and what was being committed when it
was lost, goes before anything new. Whoever reads committed records only sees all of a batch or
nothing; a batch that fails is aborted and written again.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, cast

from confluent_kafka import KafkaError, KafkaException, Producer

from clientlib.core.replay_buffer import Headers, Kept
from clientlib.io.outgoing import acknowledged, ignore
from clientlib.io.rescue import Again, Rescuer, Taken
from clientlib.protocol.types import ClusterAlias

log = logging.getLogger("clientlib.producer")

_MOST = 20_000
_SLICE_S = 0.5
_FLUSH_S = 0.2
_PATIENCE_S = 5.0
_PASSING = frozenset(
    {
        KafkaError._PURGE_QUEUE,  # noqa: SLF001 - confluent-kafka's public spelling
        KafkaError._PURGE_INFLIGHT,  # noqa: SLF001
        KafkaError._MSG_TIMED_OUT,  # noqa: SLF001
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError._TRANSPORT,  # noqa: SLF001
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    }
)

TakeBack = Callable[[Any, Any, Headers, int], None]
Tell = Callable[[ClusterAlias, Any, Any, Any], None]


@dataclass(slots=True)
class _Unit:
    """What is left of one transaction; ``carried``: the application still waits for its commit."""

    records: list[Again]
    carried: bool


@dataclass(slots=True)
class _Flight:
    """Units that are being written in one transaction, and what was reported of them."""

    cluster: ClusterAlias
    units: list[_Unit]
    written: list[tuple[Again, Any]] = field(default_factory=list)
    failed: list[tuple[Again, Any, Any]] = field(default_factory=list)
    doomed: bool = False


def abort(handle: Producer, seconds: float) -> None:
    """Abort a handle's transaction.

    Its records are sent before, if that goes: librdkafka gives the producer up for good when the
    coordinator has not heard of the transaction yet (its issue 4849; 9 of 400 quick aborts), and
    what is purged in flight leaves a gap of sequence numbers, which fails the next transaction.
    """
    if len(handle):
        handle.flush(max(seconds, _FLUSH_S))
    handle.abort_transaction(seconds)


def begun_too_late(error: KafkaException) -> bool:
    """Say whether an abort has failed because the coordinator knew of no transaction."""
    kafka: KafkaError = error.args[0]
    return kafka.fatal() and kafka.code() == KafkaError.INVALID_TXN_STATE


class Carrier:
    """What one producer owes to the new active cluster. For one thread at a time.

    ``take_back`` takes a record that a cluster lost in its turn; ``tell`` keeps a report for the
    application.
    """

    def __init__(
        self,
        rescuer: Rescuer,
        rescuing: Callable[[], bool],
        take_back: TakeBack,
        tell: Tell,
    ) -> None:
        self._rescuer, self._rescuing = rescuer, rescuing
        self._take_back, self._tell = take_back, tell
        self._owed: deque[_Unit] = deque()
        self._flight: _Flight | None = None
        self._carried_on = False

    @property
    def owes(self) -> bool:
        """Say whether anything is to be written yet."""
        return bool(self._owed) or self.under_way

    @property
    def under_way(self) -> bool:
        """Say whether a transaction is open at the new cluster."""
        return self._flight is not None

    @property
    def carries(self) -> bool:
        """Say whether the commit that the application waits for is among what is owed."""
        flying = self._flight.units if self._flight is not None else ()
        return any(unit.carried for unit in (*flying, *self._owed))

    def lost(self, *, carried: bool) -> bool:
        """The cluster was given up; says whether a batch was on its way to it."""
        flight, self._flight = self._flight, None
        if flight is not None and flight.doomed:  # nothing of it counts
            self._owed.extendleft(reversed(flight.units))
            flight = None
        self._carried_on = carried and not any(unit.carried for unit in self._owed)
        return flight is not None

    def give_up(self, error: Any) -> None:
        """Nothing can be written any more: what is owed counts as lost."""
        flying = self._flight.units if self._flight is not None else []
        self._flight = None
        for unit in (*flying, *self._owed):
            for again in unit.records:
                self._note("", again, error, acknowledged(again.kept, None))
        self._owed.clear()

    def owe(self, taken: Taken) -> None:
        """Take what the copies lack; it comes before what was owed already."""
        units = [
            _Unit(list(records), self._carried_on and number == self._rescuer.carried)
            for number, records in groupby(taken.again, key=lambda again: again.kept.unit)
        ]
        self._owed.extendleft(reversed(units))
        self._carried_on = False
        if self._rescuer.replay is not None:
            owed = (again.kept for unit in self._owed for again in unit.records)
            self._rescuer.replay.wanted = sum(not kept.unsent for kept in owed)

    def work(self, handle: Producer, cluster: ClusterAlias) -> bool:
        """Write on, as far as that goes without much waiting; True when nothing is owed.

        Raises KafkaException when the cluster takes no transactions.
        """
        while self.owes:
            flight = self._flight or self._depart(handle, cluster)
            if not (self._abort(handle) if flight.doomed else self._commit(handle, flight)):
                return False
        return True

    def _depart(self, handle: Producer, cluster: ClusterAlias) -> _Flight:
        handle.begin_transaction()
        flight = _Flight(cluster, [])
        self._flight = flight
        count = 0
        while self._owed and (count == 0 or count + len(self._owed[0].records) <= _MOST):
            flight.units.append(self._owed.popleft())
            count += len(flight.units[-1].records)
        log.info("%s: %d records are written again in a transaction", cluster, count)
        deadline = time.monotonic() + _PATIENCE_S
        for again in [again for unit in flight.units for again in unit.records]:
            if not self._write(handle, flight, again, deadline):
                flight.doomed = True
                break
        return flight

    def _write(self, handle: Producer, flight: _Flight, again: Again, deadline: float) -> bool:
        kept = again.kept
        while True:
            try:
                handle.produce(
                    kept.topic,
                    kept.value,
                    kept.key,
                    -1 if kept.unsent else kept.partition,  # -1: by its key
                    on_delivery=self._reporter(flight, again),
                    timestamp=kept.at_ms,
                    headers=cast("Any", again.headers),
                )
            except BufferError:
                if time.monotonic() > deadline:
                    return False
                handle.poll(0.05)
            except KafkaException as error:
                flight.failed.append((again, error.args[0], acknowledged(kept, None)))
                return False
            else:
                return True

    def _reporter(self, flight: _Flight, again: Again) -> Callable[[Any, Any], None]:
        def deliver(error: Any, message: Any) -> None:
            if error is None:
                self._rescuer.keep(Kept.of(message, again.headers))
                flight.written.append((again, message))
            elif self._rescuing():
                told = again.kept.report or ignore
                self._take_back(message, told, again.headers, again.kept.at_ms)
            else:
                flight.failed.append((again, error, message))

        return deliver

    def _commit(self, handle: Producer, flight: _Flight) -> bool:
        try:
            handle.commit_transaction(_SLICE_S)
        except KafkaException as error:
            if error.args[0].txn_requires_abort():
                flight.doomed = True
                return self._abort(handle)
            if error.args[0].retriable():
                return False
            raise
        self._flight = None
        self._rescuer.committed()
        for again, message in flight.written:
            self._note(flight.cluster, again, None, message)
        return True

    def _abort(self, handle: Producer) -> bool:
        try:
            abort(handle, _SLICE_S)
        except KafkaException as error:
            if error.args[0].retriable():
                return False
            raise
        self.again()
        return False  # after a while again: whatever it was may pass

    def again(self) -> None:
        """What was under way is aborted: write it again, but for what the cluster refuses."""
        flight, self._flight = self._flight, None
        if flight is None:
            return
        self._rescuer.aborted()
        for again, refusal, message in flight.failed:
            if refusal.code() not in _PASSING:
                self._note(flight.cluster, again, refusal, message)
                for unit in flight.units:
                    unit.records = [one for one in unit.records if one is not again]
        self._owed.extendleft(reversed(flight.units))

    def _note(self, cluster: ClusterAlias, again: Again, error: Any, message: Any) -> None:
        if self._rescuer.replay is not None and not again.kept.unsent:
            self._rescuer.replay.note(error, message)
        if not again.kept.acknowledged:
            self._tell(cluster, again.kept.report, error, message)
