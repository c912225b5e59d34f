"""A fake producer handle on one cluster: ordered, idempotent, acknowledged later or never."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError

from clientlib.protocol.fingerprint import LogRecord

if TYPE_CHECKING:
    from tests.simulation.clock import Process
    from tests.simulation.cluster import Cluster

_LIMIT = 5_000
_PURGED = KafkaError(KafkaError._PURGE_QUEUE)
Report = Callable[[Any, Any], None]


class FakeReport:
    """What a delivery report tells; of a purged record neither time nor headers nor offset."""

    __slots__ = ("_offset", "_partition", "_record", "_since", "_topic")

    def __init__(self, one: Produced, since: float) -> None:
        self._topic, self._partition, self._record = one.topic, one.partition, one.record
        self._offset, self._since = one.offset, since

    def topic(self) -> str:
        return self._topic

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int | None:
        return self._offset

    def key(self) -> bytes | None:
        return self._record.key

    def value(self) -> bytes | None:
        return self._record.value

    def timestamp(self) -> tuple[int, int]:
        return (0, -1) if self._offset is None else (1, self._record.timestamp or 0)

    def headers(self) -> None:
        return None

    def latency(self) -> float:
        return self._since

    def __len__(self) -> int:
        return len(self._record.value or b"")


@dataclass(slots=True, eq=False)
class Produced:
    """A record on its way; ``offset``: where the cluster has put it, though nobody may know."""

    topic: str
    partition: int
    record: LogRecord
    report: Report
    born: float
    offset: int | None = None


@dataclass(slots=True, eq=False)
class _Batch:
    records: list[Produced]
    purged: bool = False
    answered: bool = False
    deaths: int = 0


class FakeHandle:
    """A producer's handle on one cluster; reports are served by ``poll``."""

    def __init__(self, cluster: Cluster, process: Process, *, markers: bool) -> None:
        self.cluster, self.process, self.markers = cluster, process, markers
        self.sim = cluster.sim
        self._queue: deque[Produced] = deque()
        self._flight: dict[_Batch, None] = {}
        self._flying = 0
        self._line: deque[_Batch] = deque()
        self._reports: deque[tuple[Produced, Any]] = deque()
        self._wire = self._answer = 0.0

    def produce(  # noqa: PLR0917 - the signature is confluent-kafka's
        self,
        topic: str,
        value: str | bytes,
        key: str | bytes,
        partition: int,
        callback: Report,
        _on_delivery: None,
        timestamp: int,
        headers: list[tuple[str, bytes | None]] | None,
    ) -> None:
        if len(self) >= _LIMIT:
            raise BufferError
        now_ms = self.cluster.world.now_ms
        record = LogRecord(0, timestamp or now_ms, _bytes(key), _bytes(value), headers or ())
        self._queue.append(Produced(topic, partition, record, callback, self.sim.now))
        if len(self._queue) == 1:
            self.sim.after(self.sim.between(0.0, 0.01), self._send, self.process, main=False)

    def _send(self) -> None:
        if not self._queue:
            return  # purged
        slow = self.cluster.world.faults.commit_outcome() == "slow"
        batch = _Batch(list(self._queue), deaths=self.cluster.deaths)
        self._queue.clear()
        self._flight[batch] = None
        self._flying += len(batch.records)
        self._line.append(batch)
        self._wire = max(self._wire, self.sim.now) + self.sim.between(
            0.0005, 0.5 if slow else 0.005
        )
        self.sim.after(self._wire - self.sim.now, lambda: self._arrive(batch))

    def _arrive(self, batch: _Batch) -> None:
        """The request reaches the cluster; what is sent to a stopped one waits in its socket."""
        cluster = self.cluster
        if self.process.fuse == 0 and self.sim.chance(0.5):
            if batch in self._line:
                self._line.remove(batch)
            return  # the connection broke with the process
        gone = batch.purged or not self.process.alive
        broken = cluster.deaths > batch.deaths or cluster.cut_until(self.process)
        if gone and broken:
            if batch in self._line:
                self._line.remove(batch)
            return
        if cluster.when_back(lambda: self._arrive(batch)):
            return
        if cluster.when_reached(self.process, lambda: self._arrive(batch)):
            return
        while batch in self._line:  # one connection: what was sent before comes before
            self._write(self._line.popleft())
        self._write(batch)

    def _write(self, batch: _Batch) -> None:
        cluster = self.cluster
        if batch.purged:
            cluster.world.count("written after the purge")
        for one in batch.records:
            log = cluster.logs[one.topic][one.partition]
            if one.offset is not None and log.holds(one.offset, one.record):
                continue  # sent again: the cluster knows its sequence number
            one.offset = log.append(one.record)
            cluster.world.count("written")
            if batch.purged and cluster.world.state().active == cluster.alias:
                place = (cluster.alias, one.topic, one.partition, one.offset)
                cluster.world.stragglers.add(place)
            if self.markers and self.sim.chance(0.2):
                log.append(None)
        self._answer = max(self._answer, self.sim.now) + self.sim.between(0.0001, 0.003)
        wait = self._answer - self.sim.now  # answers come in order, as the requests do
        self.sim.after(wait, lambda: self._acked(batch), self.process, main=False)

    def _acked(self, batch: _Batch) -> None:
        if batch.purged:
            return
        if self.cluster.when_reached(self.process, lambda: self._arrive(batch)):
            self.cluster.world.count("answers lost")  # so it is sent again
            return
        batch.answered = True
        while self._flight and next(iter(self._flight)).answered:  # reports come in order
            first = next(iter(self._flight))
            del self._flight[first]
            self._flying -= len(first.records)
            self._reports.extend((one, None) for one in first.records)

    def purge(self, in_queue: bool = True, in_flight: bool = True, blocking: bool = True) -> None:
        """Give up what is not acknowledged; what is on the wire may arrive all the same."""
        for batch in self._flight if in_flight else ():
            batch.purged = True
            self._reports.extend((one, _PURGED) for one in batch.records)
        if in_flight:
            self._flight.clear()
            self._flying = 0
        if in_queue:
            self._reports.extend((one, _PURGED) for one in self._queue)
            self._queue.clear()

    def poll(self, timeout: float) -> int:
        served = 0
        while self._reports:
            one, error = self._reports.popleft()
            known = one.offset
            if error is not None:
                one.offset = None  # it may be written, but nobody was told
            message = FakeReport(one, self.sim.now - one.born)
            one.offset = known
            one.report(error, message)
            served += 1
        return served

    def flush(self, timeout: float) -> int:
        deadline = self.sim.now + timeout
        while len(self) and self.sim.now < deadline:
            self.sim.block(self.process, 0.002, main=False)
            self.poll(0)
        return len(self)

    def __len__(self) -> int:
        return len(self._queue) + self._flying + len(self._reports)


def _bytes(data: str | bytes | None) -> bytes | None:
    return data.encode() if isinstance(data, str) else data
