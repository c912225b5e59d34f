"""Reads small compacted topics from their beginning to their end, once, all in one pass.

The end is where the partition's last stable record stood when the reader reached it. An open
transaction of a dead orchestrator hides what follows it until the broker aborts it; whoever writes
fences first and reads again, so a reader may take what it sees.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from time import monotonic

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from clientlib.protocol.errors import TimedOutError
from clientlib.protocol.types import Partition
from clientlib.settings import Cluster
from failover.io.kafka_admin import quiet, translated

_BATCH = 2000
_SLICE_S = 0.02
_EARLIEST = -2


@dataclass(frozen=True, slots=True)
class Raw:
    """One record: key, value (None: a tombstone) and the broker's timestamp in milliseconds."""

    key: bytes | None
    value: bytes | None
    timestamp_ms: int


@dataclass(slots=True)
class _Pass:
    """What one pass has read so far."""

    waiting: set[Partition]
    records: dict[Partition, list[Raw]] = field(default_factory=dict)


def read_to_end(
    cluster: Cluster, partitions: Iterable[Partition], *, timeout_s: float
) -> Mapping[Partition, list[Raw]]:
    """Return all visible records of the partitions, each in offset order.

    The partitions must exist. Raises TimedOutError or ClusterUnreachableError, never returns a
    part of a partition.
    """
    wanted = set(partitions)
    if not wanted:
        return {}
    consumer = Consumer(_settings(cluster))
    try:
        for topic in {partition.topic for partition in wanted}:
            consumer.list_topics(topic, timeout_s)  # else the first fetch waits half a second
        consumer.assign([TopicPartition(p.topic, p.number, _EARLIEST) for p in wanted])
        return _drain(consumer, cluster, wanted, monotonic() + timeout_s)
    except KafkaException as error:
        raise translated(cluster, error) from error
    finally:
        consumer.close()


def _settings(cluster: Cluster) -> dict[str, object]:
    return {
        **quiet(cluster.client),
        "group.id": "failover-reader",  # demanded by the client; nothing is committed
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "isolation.level": "read_committed",
        "auto.offset.reset": "earliest",
        "fetch.wait.max.ms": 1,  # the end of one topic must not wait long for more to come
    }


def _drain(
    consumer: Consumer, cluster: Cluster, wanted: set[Partition], deadline: float
) -> dict[Partition, list[Raw]]:
    state = _Pass(set(wanted), {partition: [] for partition in wanted})
    while state.waiting:
        if monotonic() > deadline:
            missing = ", ".join(sorted(f"{p.topic}[{p.number}]" for p in state.waiting))
            raise TimedOutError(f"cluster {cluster.alias}: no end of {missing} within the time")
        for partition, message in _messages(consumer, cluster):
            if message is None:
                state.waiting.discard(partition)
            else:
                _, timestamp = message.timestamp()
                raw = Raw(_bytes(message.key()), _bytes(message.value()), timestamp)
                state.records[partition].append(raw)
    return state.records


def _bytes(raw: str | bytes | None) -> bytes | None:
    return raw.encode() if isinstance(raw, str) else raw


def _messages(consumer: Consumer, cluster: Cluster) -> Iterator[tuple[Partition, Message | None]]:
    """Yield records; None stands for the end of a partition."""
    first = consumer.poll(_SLICE_S)  # a batch that is not full would be waited for in vain
    for message in (first, *consumer.consume(_BATCH, 0)) if first is not None else ():
        topic, number, error = message.topic(), message.partition(), message.error()
        if error is None:
            yield Partition(str(topic), int(number or 0)), message
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - a public constant
            yield Partition(str(topic), int(number or 0)), None
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - as above
            continue  # the deadline decides; it may be back by then
        else:
            raise translated(cluster, KafkaException(error))
