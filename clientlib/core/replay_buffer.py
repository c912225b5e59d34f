"""Acknowledged records that are not known to be replicated: what a producer may write again.

Nearly every record goes in and out of here without being looked at: reports are gathered as they
come, a few times a second they become a *chunk*, and a chunk is forgotten as a whole when its last
record of each partition is known to be on a standby. Bounded in seconds and bytes; what is given up
because of a bound is counted as at risk until it is known to be replicated.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from clientlib.core.memory import as_bytes
from clientlib.protocol.fingerprint import LogRecord
from clientlib.protocol.types import Offset

_OVERHEAD = 150
_LOG_APPEND_TIME = 2
_SCAN = 5_000

Key = tuple[str, int]
"""A physical partition: topic and number."""
Headers = list[tuple[str, bytes | None]]


class Kept(NamedTuple):
    """A record that was handed over, as its report tells it, and what the report leaves out.

    ``timestamp``: the application's own, or when it was produced (ms); None: as the report says.
    ``report``: whom to tell, for a record that was never acknowledged. ``unit``: the number of the
    chunk that it came in, for a transactional producer its transaction.
    """

    message: Any
    headers: Headers | None = None
    timestamp: int | None = None
    report: Any = None
    unit: int = 0

    @property
    def key(self) -> Key:
        """The physical partition."""
        return self.message.topic(), self.message.partition()

    @property
    def unsent(self) -> bool:
        """Whether it never got a partition: its producer knew no broker of the cluster."""
        return self.message.partition() is None

    @property
    def acknowledged(self) -> bool:
        """Whether the cluster had taken it."""
        return self.report is None

    @property
    def at_ms(self) -> int:
        """The record's timestamp."""
        if self.timestamp is not None:
            return self.timestamp
        return int(self.message.timestamp()[1])

    def same(self, record: LogRecord, tolerance_ms: int) -> bool:
        """Say whether a record of a copy is this one.

        The timestamp of a record that was never acknowledged is only known to a millisecond or
        two; ``tolerance_ms`` below 0 ignores timestamps (a log with LogAppendTime).
        """
        message = self.message
        if as_bytes(message.value()) != record.value or as_bytes(message.key()) != record.key:
            return False
        if list(self.headers or ()) != list(record.headers):
            return False
        if tolerance_ms < 0 or record.timestamp is None:
            return True
        return abs(self.at_ms - record.timestamp) <= (0 if self.acknowledged else tolerance_ms)


@dataclass(slots=True)
class _Chunk:
    at: float
    kept: list[Any]
    size: int
    lasts: dict[Key, Offset]
    number: int


@dataclass(slots=True)
class _GivenUp:
    count: int
    lasts: dict[Key, Offset]


@dataclass(slots=True)
class ReplayBuffer:
    """Holds reports for ``seconds`` and up to ``most_bytes``. ``fresh`` is filled by callbacks.

    The seconds are counted by what is reported: while a dead cluster reports nothing, nothing ages,
    however late its operator decides to go on without it.
    """

    seconds: float
    most_bytes: int
    fresh: deque[Any] = field(default_factory=deque)
    replicated: dict[Key, Offset] = field(default_factory=dict)
    size: int = 0
    _chunks: deque[_Chunk] = field(default_factory=deque)
    _given_up: list[_GivenUp] = field(default_factory=list)
    _keys: set[Key] = field(default_factory=set)
    _number: int = 0

    @property
    def at_risk(self) -> int:
        """Records that were given up and are not known to be replicated."""
        return sum(one.count for one in self._given_up)

    def gather(self, now: float) -> None:
        """Make a chunk of what has been reported since the last call, and hold the bounds."""
        self.add([self.fresh.popleft() for _ in range(len(self.fresh))], now)

    def add(self, kept: list[Any], now: float) -> int:
        """Make a chunk of these, and hold the bounds; returns its number."""
        self._number += 1
        if kept:
            size = sum(len(_message(one)) for one in kept) + _OVERHEAD * len(kept)
            self._chunks.append(_Chunk(now, kept, size, self._lasts(kept), self._number))
            self.size += size
        while self._chunks and (
            self.size > self.most_bytes or self._chunks[-1].at - self._chunks[0].at > self.seconds
        ):
            self._give_up(self._chunks.popleft())
        return self._number

    def _give_up(self, chunk: _Chunk) -> None:
        self.size -= chunk.size
        if not self._all_replicated(chunk.lasts):
            self._given_up.append(_GivenUp(len(chunk.kept), chunk.lasts))

    def confirm(self, replicated: Mapping[Key, Offset]) -> None:
        """Forget what is below these origin offsets: a standby has it."""
        for key, offset in replicated.items():
            self.replicated[key] = max(self.replicated.get(key, 0), offset)
        while self._chunks and self._all_replicated(self._chunks[0].lasts):
            self.size -= self._chunks.popleft().size
        self._given_up = [g for g in self._given_up if not self._all_replicated(g.lasts)]

    def probes(self) -> dict[Key, Kept]:
        """Return the last record of each partition that is not known to be replicated.

        Left out: one whose content the record before it has too, which would prove nothing.
        """
        found: dict[Key, Kept] = {}
        before: dict[Key, Kept] = {}
        for one in self._newest_first():
            kept = one if isinstance(one, Kept) else Kept(one)
            if kept.key not in found:
                found[kept.key] = kept
            elif kept.key not in before:
                before[kept.key] = kept
            if len(before) == len(self._keys):
                break
        return {
            key: kept
            for key, kept in found.items()
            if kept.message.offset() >= self.replicated.get(key, 0)
            and not _alike(kept, before.get(key))
        }

    def records(self) -> dict[Key, list[Kept]]:
        """Return, by partition and in order, what is not known to be replicated."""
        found: dict[Key, list[Kept]] = {}
        for chunk in self._chunks:
            for one in chunk.kept:
                unit = chunk.number
                kept = one._replace(unit=unit) if isinstance(one, Kept) else Kept(one, unit=unit)
                if kept.message.offset() >= self.replicated.get(kept.key, 0):
                    found.setdefault(kept.key, []).append(kept)
        return found

    def lost_before(self, reached: Mapping[Key, Offset]) -> int:
        """Return how many given-up records lie beyond these origin offsets: surely not copied."""
        for key, offset in reached.items():
            self.replicated[key] = max(self.replicated.get(key, 0), offset)
        self.confirm({})
        return self.at_risk

    def clear(self) -> None:
        """Forget everything: another cluster's copies are complete, or all was written again."""
        self.fresh.clear()
        self._chunks.clear()
        self._given_up.clear()
        self._keys.clear()
        self.replicated.clear()
        self.size = 0

    def _newest_first(self) -> Iterator[Any]:
        scanned = 0
        for chunk in reversed(self._chunks):
            for one in reversed(chunk.kept):
                scanned += 1
                if scanned > _SCAN:
                    return
                yield one

    def _lasts(self, kept: Iterable[Any]) -> dict[Key, Offset]:
        """Return the last offset of each partition; a partition is looked for until it is seen."""
        lasts: dict[Key, Offset] = {}
        for one in reversed(list(kept)):
            message = _message(one)
            key = message.topic(), message.partition()
            if key not in lasts:
                lasts[key] = message.offset()
                self._keys.add(key)
        return lasts

    def _all_replicated(self, lasts: Mapping[Key, Offset]) -> bool:
        return all(offset < self.replicated.get(key, 0) for key, offset in lasts.items())


def missing(
    kept: list[Kept], copy: Iterable[LogRecord], tolerance_ms: int
) -> tuple[list[Kept], list[tuple[Kept, Offset]]]:
    """Return which records a copy lacks, and which it has and where; both in order.

    ``copy``: everything of the copy from a place on that is not behind the first of ``kept``. A
    copy holds the records of one producer in order, so that each of its records is the next of
    ours or nobody's.
    """
    has: list[tuple[Kept, Offset]] = []
    for record in copy:
        if len(has) < len(kept) and kept[len(has)].same(record, tolerance_ms):
            has.append((kept[len(has)], record.offset))
    return kept[len(has) :], has


def in_order(partitions: Iterable[list[Kept]]) -> list[Kept]:
    """Return the records of several partitions by their times.

    The order within a partition stays, whatever the times say: that of a record that was never
    acknowledged is only known to a millisecond or so.
    """
    found: list[tuple[int, Kept]] = []
    for records in partitions:
        latest = 0
        for one in records:
            latest = max(latest, one.at_ms)
            found.append((latest, one))
    found.sort(key=lambda entry: entry[0])
    return [one for _, one in found]


def _alike(one: Kept, other: Kept | None) -> bool:
    if other is None:
        return False
    mine, its = one.message, other.message
    return (one.at_ms, mine.key(), mine.value()) == (other.at_ms, its.key(), its.value())


def _message(one: Any) -> Any:
    return one.message if isinstance(one, Kept) else one
