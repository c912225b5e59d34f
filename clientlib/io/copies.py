"""What a producer asks of a standby: which of its records are copied there.

In ordinary times one record of each partition is asked for, once a second (`CopyProbe.confirm`);
after an unplanned switch the end of each copy is read (`CopyProbe.tail`).
"""

import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from clientlib.core.replay_buffer import Kept, Key
from clientlib.io.log_reader import LogReader
from clientlib.protocol.fingerprint import LogRecord
from clientlib.protocol.naming import Naming
from clientlib.protocol.replay import UNSURE_MS
from clientlib.protocol.types import ClusterAlias, Offset
from clientlib.protocol.windows import ReadWindow
from clientlib.settings import Cluster

_NEAR = 256
_MOST = 500_000
_BEFORE_MS = 2_000
_ABSENT = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - confluent-kafka's public spelling
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - as above
    }
)


class CopyProbe:
    """Compares the records of one cluster's producer with the copies on one standby.

    One thread asks at a time, for there is one reading handle: a cluster may be lost, and its
    copies' ends be asked for, while it is asked what is replicated.
    """

    def __init__(
        self,
        clusters: Mapping[ClusterAlias, Cluster],
        naming: Naming,
        source: ClusterAlias,
        standby: ClusterAlias,
    ) -> None:
        self._naming, self._source, self._standby = naming, source, standby
        self._logs = LogReader(clusters)
        self._lock = threading.Lock()
        self._shift: dict[Key, int] = {}
        self._after: dict[Key, tuple[tuple[Offset, Offset], ...]] = {}

    def confirm(self, probes: Mapping[Key, Kept]) -> dict[Key, Offset]:
        """Return, for probes that the copy holds, the origin offset after them.

        Raises ClusterUnreachableError when the standby does not answer.
        """
        found: dict[Key, Offset] = {}
        for key, probe in probes.items():
            with self._lock:
                at = self._find(key, probe)
                if at is not None:
                    offset = probe.offset
                    found[key] = offset + 1
                    self._after[key] = (*self._after.get(key, ())[-1:], (offset + 1, at + 1))
                    self._shift[key] = offset - at
        return found

    def _find(self, key: Key, probe: Kept) -> Offset | None:
        tp = self._copy(key)
        try:
            bounds = self._logs.bounds(self._standby, tp)
        except KafkaException:
            return None  # not copied yet at all
        return self._locate(key, tp, probe, bounds)

    def _locate(
        self, key: Key, tp: TopicPartition, probe: Kept, bounds: tuple[Offset, Offset]
    ) -> Offset | None:
        low, high = bounds
        guess = probe.offset - self._shift.get(key, 0)
        if guess >= high + _NEAR and key in self._shift:
            return None
        tolerance = self._tolerance(tp, high)
        spans = [(guess, guess + 1)] if key in self._shift else []
        spans += [(guess - _NEAR, guess + _NEAR), (high - _NEAR, high)]
        for first, end in spans:
            first, end = max(low, first), min(high, end)  # noqa: PLW2901 - clipped
            for record in self._read(tp, first, end):
                if probe.same(record, tolerance):
                    return record.offset
        return None

    def tail(self, key: Key, kept: Iterable[Kept], end: Offset) -> tuple[list[LogRecord], int]:
        """Return the copy's records up to ``end`` that may be among ``kept``, and the tolerance.

        They begin behind the last record that was confirmed, else where the oldest of ``kept`` can
        stand by its timestamp. Raises ClusterUnreachableError.
        """
        with self._lock:
            return self._tail(key, kept, end)

    def _tail(self, key: Key, kept: Iterable[Kept], end: Offset) -> tuple[list[LogRecord], int]:
        tp = self._copy(key)
        try:
            low, high = self._logs.bounds(self._standby, tp)
        except KafkaException as error:
            if error.args[0].code() not in _ABSENT:
                raise
            return [], 0  # the mirror has not even created it
        end = min(end, high)
        listed = list(kept)
        offsets = (one.offset for one in listed if one.acknowledged)
        first = min(offsets, default=_MOST << 40)
        behind = [there for here, there in self._after.get(key, ()) if here <= first]
        if behind:
            start = behind[-1]
        else:
            oldest = min((one.at_ms for one in listed), default=0) - _BEFORE_MS
            start = self._logs.offset_at(self._standby, tp, oldest)
        start = min(max(low, start, end - _MOST), end)
        return self._read(tp, start, end), self._tolerance(tp, high)

    def origin_offset(self, key: Key, at: Offset) -> Offset | None:
        """Return the origin offset of a record of the copy; None while nothing was confirmed."""
        return at + self._shift[key] if key in self._shift else None

    def close(self) -> None:
        """Close the connections."""
        with self._lock, suppress(KafkaException):
            self._logs.close()

    def _copy(self, key: Key) -> TopicPartition:
        topic, number = key
        return TopicPartition(self._naming.log_name(self._source, topic, self._standby), number)

    def _tolerance(self, tp: TopicPartition, at: Offset) -> int:
        return -1 if self._logs.uses_append_time(self._standby, tp, at) else UNSURE_MS

    def _read(self, tp: TopicPartition, first: Offset, end: Offset) -> list[LogRecord]:
        if first >= end:
            return []
        return self._logs.records(self._standby, tp, ReadWindow("target", first, end, end - first))
