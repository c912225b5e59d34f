"""Reads one partition of a control topic on from where it stopped, up to its end, and stays open.

The end is the last stable offset at the moment of asking. The last offset before it is mostly a
transaction marker, which no reader ever sees; the client's end-of-partition event passes it.
"""

import threading
from time import monotonic

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from clientlib.protocol.errors import RemoteError, TimedOutError
from clientlib.protocol.types import Partition
from failover.io.control_reader import Raw
from failover.io.kafka_admin import ClusterAdmin, quiet, translated
from failover.io.retry import code_of, leader

_SLICE_S = 0.005
_BATCH = 2000
_SETTLE_S = 0.3


_MISSING = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - confluent-kafka's public constants begin so
        KafkaError._NOENT,  # noqa: SLF001 - as above; "no leaders found", also of a topic that is
    }
)


class TopicTail:
    """One partition's reader. Not connected before the first read; safe for several threads.

    ``transactional``: every write is a transaction, so the offset before the end is a marker and
    need not be waited for.
    """

    def __init__(
        self,
        admin: ClusterAdmin,
        partition: Partition,
        timeout_s: float,
        *,
        transactional: bool = False,
    ) -> None:
        self._marker = int(transactional)
        self._admin = admin
        self._cluster = admin.cluster
        self._partition = partition
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._consumer: Consumer | None = None
        self._position = 0

    def read_on(self) -> list[Raw]:
        """Return the records since the last call, up to the end as it is now.

        What is returned is never returned again. Raises ClusterUnreachableError or TimedOutError,
        and then returns the same records next time. A topic that does not exist is empty.
        """
        with self._lock:
            return self._read_on()

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._consumer is not None:
                self._consumer.close()
            self._consumer = None

    def _read_on(self) -> list[Raw]:
        end = self._end()
        if self._position >= end:
            return []
        consumer = self._consumer or self._connect()
        records: list[Raw] = []
        at, deadline = self._position, monotonic() + self._timeout_s
        try:
            while at < end - self._marker:
                if monotonic() > deadline:
                    raise TimedOutError(f"{self._where()}: its end {end} was not reached, {at} was")
                at = max(at, self._take(consumer.consume(_BATCH, self._wait(end - at)), records))
        except KafkaException as error:
            self._disconnect()
            raise translated(self._cluster, error) from error
        except RemoteError:
            self._disconnect()  # what was read is read again
            raise
        self._position = max(at, end)
        return records

    def _wait(self, distance: int) -> float:
        """Return how long to wait for a batch; ``consume`` waits in full unless it is full."""
        return 0.001 if distance <= _BATCH else _SLICE_S

    def _take(self, messages: list[Message], records: list[Raw]) -> int:
        """Collect records; return the offset up to which the partition is known now."""
        at = 0
        for message in messages:
            error, offset = message.error(), message.offset()
            if error is None:
                _, timestamp = message.timestamp()
                records.append(Raw(_bytes(message.key()), _bytes(message.value()), timestamp))
                at = int(offset or 0) + 1
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - a public constant
                at = max(at, int(offset or 0))
            elif error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - as above
                raise translated(self._cluster, KafkaException(error))
        return at

    def _end(self) -> int:
        """Return the last stable offset; 0 where the topic does not exist."""
        try:
            return leader()(self._ask_end)
        except RemoteError as error:
            if code_of(error) not in _MISSING or self._exists():
                raise
            return 0

    def _exists(self) -> bool:
        return self._partition.topic in self._admin.listing().partitions

    def _ask_end(self) -> int:
        """Return the last stable offset, once what is being committed right now has settled.

        A commit is acknowledged before its marker is in the log. An open transaction of a dead
        orchestrator takes longer: whoever needs to see behind it fences first.
        """
        deadline = monotonic() + _SETTLE_S
        while True:
            asked = [
                self._admin.ends([self._partition], committed=committed)
                for committed in (False, True)
            ]
            high, stable = (self._admin.resolve_offsets(one)[self._partition][0] for one in asked)
            if stable >= high or not self._marker or monotonic() > deadline:
                return stable

    def _connect(self) -> Consumer:
        consumer = Consumer(
            {
                **quiet(self._cluster.client),
                "group.id": "failover-reader",  # demanded by the client; nothing is committed
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 100,
                "error_cb": lambda _: None,
            }
        )
        topic, number = self._partition
        try:
            consumer.list_topics(topic, self._timeout_s)  # else the first fetch waits half a second
            consumer.assign([TopicPartition(topic, number, self._position)])
        except KafkaException as error:
            consumer.close()
            raise translated(self._cluster, error) from error
        self._consumer = consumer
        return consumer

    def _disconnect(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _where(self) -> str:
        return f"cluster {self._cluster.alias}: {self._partition.topic}[{self._partition.number}]"


def _bytes(raw: str | bytes | None) -> bytes | None:
    return raw.encode() if isinstance(raw, str) else raw
