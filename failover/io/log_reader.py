"""Reads windows of records from any log, several logs at once, over consumers that stay open.

An origin is read as MM2 reads it by default (read_uncommitted): what it copied is what we compare.
A copy is read as read_committed: what MM2 in exactly-once mode has aborted is no part of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from clientlib.protocol.errors import RemoteError, TimedOutError
from clientlib.protocol.fingerprint import LogRecord
from clientlib.protocol.types import ClusterAlias, Offset, Partition
from clientlib.settings import Cluster, Settings
from failover.io.kafka_admin import quiet, translated
from failover.io.ports import Records, Window
from failover.io.retry import prepare_reader

_BATCH = 500
_FEW = 64
_LOG_APPEND_TIME = 2


@dataclass(slots=True)
class _Reading:
    """One window while it is read; ``at`` is the offset up to which the log is known."""

    window: Window
    at: Offset
    records: list[LogRecord] = field(default_factory=list)

    @property
    def done(self) -> bool:
        return self.at >= self.window.end or len(self.records) >= self.window.limit

    def take(self, record: LogRecord) -> None:
        self.at = record.offset + 1
        if record.offset < self.window.end and len(self.records) < self.window.limit:
            self.records.append(record)

    def answer(self) -> Records:
        return Records(tuple(self.records), None if self.done else self.at)


class KafkaLogReader:
    """`LogReader` on real clusters. ``timeout_s`` bounds one read. For one thread."""

    def __init__(self, settings: Settings, *, timeout_s: float = 5.0) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._consumers: dict[tuple[ClusterAlias, bool, bool], Consumer] = {}

    def warm(
        self,
        alias: ClusterAlias,
        topics: Iterable[str],
        *,
        committed: bool = False,
        many: bool = False,
    ) -> None:
        """Fetch the topics' metadata: the first read of an unknown topic waits 0.8 s."""
        cluster = self._settings.cluster(alias)
        consumer = self._consumer(cluster, committed=committed, many=many)
        for topic in topics:
            for attempt in prepare_reader():
                with attempt:
                    _check_topic(consumer, cluster, topic, self._timeout_s)

    def read(
        self,
        alias: ClusterAlias,
        windows: Mapping[Partition, Window],
        *,
        committed: bool = False,
    ) -> Mapping[Partition, Records]:
        """See `LogReader`. Raises ClusterUnreachableError or TimedOutError."""
        if not windows:
            return {}
        cluster = self._settings.cluster(alias)
        many = any(window.limit > _FEW for window in windows.values())
        consumer = self._consumer(cluster, committed=committed, many=many)
        readings = {part: _Reading(window, window.start) for part, window in windows.items()}
        try:
            consumer.assign([TopicPartition(p.topic, p.number, r.at) for p, r in readings.items()])
            self._drain(consumer, cluster, readings)
        except KafkaException as error:
            raise translated(cluster, error) from error
        finally:
            consumer.unassign()
        return {part: reading.answer() for part, reading in readings.items()}

    def close(self) -> None:
        """Close all consumers."""
        for consumer in self._consumers.values():
            consumer.close()
        self._consumers.clear()

    def _drain(
        self, consumer: Consumer, cluster: Cluster, readings: Mapping[Partition, _Reading]
    ) -> None:
        deadline = monotonic() + self._timeout_s
        waiting = {part for part, reading in readings.items() if not reading.done}
        while waiting:
            if monotonic() > deadline:
                names = ", ".join(sorted(f"{p.topic}[{p.number}]" for p in waiting))
                raise TimedOutError(f"cluster {cluster.alias}: {names} could not be read in time")
            first = consumer.poll(0.01)
            if first is None:
                continue
            for message in (first, *consumer.consume(_BATCH, 0)):
                part = _take(message, cluster, readings)
                if part is not None and readings[part].done:
                    waiting.discard(part)

    def _consumer(
        self, cluster: Cluster, *, committed: bool = False, many: bool = False
    ) -> Consumer:
        key = (cluster.alias, committed, many)
        if key not in self._consumers:
            self._consumers[key] = Consumer(
                {
                    **quiet(cluster.client),
                    "group.id": "failover-reader",  # demanded; nothing is committed
                    "enable.auto.commit": False,
                    "enable.partition.eof": True,
                    "isolation.level": "read_committed" if committed else "read_uncommitted",
                    "auto.offset.reset": "earliest",
                    # what is asked for is there: an answer must not wait long for more to come
                    "fetch.wait.max.ms": 1,
                    # mostly a few records are wanted, from many logs
                    "fetch.message.max.bytes": 1_048_576 if many else 8_192,
                    "error_cb": lambda _: None,
                }
            )
        return self._consumers[key]


def _check_topic(consumer: Consumer, cluster: Cluster, topic: str, timeout_s: float) -> None:
    try:
        found = consumer.list_topics(topic, timeout_s).topics.get(topic)
    except KafkaException as error:
        raise translated(cluster, error) from error
    if found is None or found.error is not None or not found.partitions:
        raise TimedOutError(f"cluster {cluster.alias}: topic {topic} is not known yet")


def _take(
    message: Message, cluster: Cluster, readings: Mapping[Partition, _Reading]
) -> Partition | None:
    part = Partition(str(message.topic()), int(message.partition() or 0))
    reading, error = readings.get(part), message.error()
    if reading is None:
        return None  # left over from the assignment before
    if error is None:
        reading.take(_record(message))
    elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - a public constant
        reading.at = max(reading.at, int(message.offset() or 0))
    elif error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - as above
        raise _failure(cluster, error)
    else:
        return None
    return part


def _failure(cluster: Cluster, error: KafkaError) -> Exception:
    translated_error = translated(cluster, KafkaException(error))
    return translated_error if isinstance(translated_error, RemoteError) else KafkaException(error)


def _record(message: Message) -> LogRecord:
    kind, stamp = message.timestamp()
    headers: Any = message.headers() or ()
    return LogRecord(
        offset=int(message.offset() or 0),
        timestamp=None if kind in (0, _LOG_APPEND_TIME) else stamp,
        key=_bytes(message.key()),
        value=_bytes(message.value()),
        headers=tuple(headers),
    )


def _bytes(raw: str | bytes | None) -> bytes | None:
    return raw.encode() if isinstance(raw, str) else raw
