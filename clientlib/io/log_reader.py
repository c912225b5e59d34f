"""Reads windows of records for the aligner, from logs that nobody here consumes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from clientlib.core.memory import record
from clientlib.io.kafka import Renewed, reader, records_of, unreachable
from clientlib.protocol.align import Aligner, Alignment, AlignRequest
from clientlib.protocol.errors import ClusterUnreachableError
from clientlib.protocol.fingerprint import LogRecord
from clientlib.protocol.recover import Recovered, RecoverRequest, Recovery
from clientlib.protocol.skips import Skip, Squeezed, past, within
from clientlib.protocol.types import ClusterAlias
from clientlib.protocol.windows import ReadWindow
from clientlib.settings import Cluster

_LOG_APPEND_TIME = 2
_SILENT_S = 5.0


class LogReader:
    """One reading handle per cluster, opened when it is first needed."""

    def __init__(self, clusters: Mapping[ClusterAlias, Cluster]) -> None:
        self._clusters = clusters
        self._consumers: dict[ClusterAlias, Renewed[Consumer]] = {}
        self._warm: set[tuple[ClusterAlias, str]] = set()
        self._append_time: dict[tuple[ClusterAlias, str], bool] = {}

    def align(
        self,
        request: AlignRequest,
        source: tuple[ClusterAlias, TopicPartition],
        target: tuple[ClusterAlias, TopicPartition],
        skips: tuple[Skip, Skip] = ((), ()),
    ) -> Alignment:
        """Drive the aligner, in coordinates of both logs without ``skips`` (`Squeezed`).

        Raises ClusterUnreachableError when a log does not answer.
        """
        aligner = Aligner(request)
        sides = {"source": (*source, skips[0]), "target": (*target, skips[1])}
        while (window := aligner.next_request()) is not None:
            aligner.feed(*self._read_squeezed(*sides[window.side], window))
        if aligner.result is None:
            raise AssertionError("an aligner without a request has a result")
        return aligner.result

    def _read_squeezed(
        self, alias: ClusterAlias, tp: TopicPartition, skip: Skip, window: ReadWindow
    ) -> tuple[list[LogRecord], int | None]:
        if not skip:
            return self._read(alias, tp, window)
        squeezed = Squeezed(skip)
        start, end = past(skip, squeezed.outward(window.start)), squeezed.outward(window.end)
        records, covered = self._read(alias, tp, replace(window, start=start, end=end))
        if covered is None and len(records) >= window.limit and records[-1].offset + 1 < end:
            covered = records[-1].offset + 1
        return squeezed.records(records), None if covered is None else squeezed.inward(covered)

    def recover(
        self,
        request: RecoverRequest,
        target: tuple[ClusterAlias, TopicPartition],
        skip: Skip = (),
    ) -> Recovered:
        """Drive a search; it does not see what nobody is to read.

        Raises ClusterUnreachableError when the log does not answer.
        """
        search = Recovery(request)
        while (window := search.next_request()) is not None:
            records, covered = self._read(*target, window)
            search.feed([r for r in records if not within(skip, r.offset)], covered)
        if search.result is None:
            raise AssertionError("a search without a request has a result")
        return search.result

    def records(
        self, alias: ClusterAlias, tp: TopicPartition, window: ReadWindow
    ) -> list[LogRecord]:
        """Return the records of a window. Raises ClusterUnreachableError."""
        return self._read(alias, tp, window)[0]

    def offset_at(self, alias: ClusterAlias, tp: TopicPartition, timestamp_ms: int) -> int:
        """Return the first offset whose record is not older, else the log's end."""
        wanted = TopicPartition(tp.topic, tp.partition, max(0, timestamp_ms))
        with self._used(alias) as consumer:
            (found,) = consumer.offsets_for_times([wanted], timeout=2.0)
        return found.offset if found.offset >= 0 else self.bounds(alias, tp)[1]

    def bounds(self, alias: ClusterAlias, tp: TopicPartition) -> tuple[int, int]:
        """Return log start and high watermark."""
        with self._used(alias) as consumer:
            low, high = consumer.get_watermark_offsets(tp, timeout=2.0)
        return low, high

    def uses_append_time(self, alias: ClusterAlias, tp: TopicPartition, at: int) -> bool:
        """Say whether the broker overwrites this log's timestamps; looked at once per topic."""
        if (alias, tp.topic) in self._append_time:
            return self._append_time[alias, tp.topic]
        low, high = self.bounds(alias, tp)
        if low >= high:
            return False
        window = ReadWindow("source", max(low, min(at, high - 1)), high, 1)
        for message in self._messages(alias, tp, window):
            self._append_time[alias, tp.topic] = message.timestamp()[0] == _LOG_APPEND_TIME
        return self._append_time.get((alias, tp.topic), False)

    def close(self) -> None:
        """Close all handles."""
        for consumer in self._consumers.values():
            consumer.close()
        self._consumers.clear()

    @contextmanager
    def _used(self, alias: ClusterAlias) -> Iterator[Consumer]:
        if alias not in self._consumers:
            cluster = self._clusters[alias]
            self._consumers[alias] = Renewed(lambda: reader(cluster, "align"), Consumer.close)
        try:
            with self._consumers[alias].used() as consumer:
                yield consumer
        except KafkaException as error:
            if unreachable(error):
                raise ClusterUnreachableError(f"{alias} does not answer: {error}") from error
            raise

    def _read(
        self, alias: ClusterAlias, tp: TopicPartition, window: ReadWindow
    ) -> tuple[list[LogRecord], int | None]:
        """Return the records of a window; the second value is None when all of it was read."""
        return [record(message) for message in self._messages(alias, tp, window)], None

    def _messages(
        self, alias: ClusterAlias, tp: TopicPartition, window: ReadWindow
    ) -> list[Message]:
        with self._used(alias) as consumer:
            if (alias, tp.topic) not in self._warm:  # the first read of an unknown topic waits
                consumer.list_topics(tp.topic, timeout=2.0)
                self._warm.add((alias, tp.topic))
            consumer.assign([TopicPartition(tp.topic, tp.partition, window.start)])
            try:
                first, end, most = window.start, window.end, window.limit
                return list(records_of(consumer, first, end, silent_s=_SILENT_S, most=most))
            finally:
                consumer.unassign()
