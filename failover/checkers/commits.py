"""What a group had committed at a moment, and when a consumer was interrupted."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from failover.checkers.events import Committed, Delivered
from failover.checkers.history import History, Log

_Name = tuple[str, str, int]  # group, physical topic, partition


@dataclass(slots=True)
class _Rising:
    """The highest offset committed so far, by time."""

    times: list[float]
    offsets: list[int]

    def add(self, offset: int, at: float) -> None:
        if not self.offsets or offset > self.offsets[-1]:
            self.times.append(at)
            self.offsets.append(offset)

    def at(self, moment: float) -> int:
        found = bisect_right(self.times, moment)
        return self.offsets[found - 1] if found else 0


@dataclass(frozen=True, slots=True)
class Commits:
    """All commits of a history, to be asked about one delivery at a time."""

    _by_name: dict[_Name, dict[str | None, _Rising]]

    @classmethod
    def of(cls, committed: Iterable[Committed]) -> "Commits":
        """Index commits, which must come in order of time."""
        by_name: defaultdict[_Name, dict[str | None, _Rising]] = defaultdict(dict)
        for event in committed:
            clusters = by_name[event.group, event.topic, event.partition]
            clusters.setdefault(event.cluster, _Rising([], [])).add(event.offset, event.at)
        return cls(dict(by_name))

    def cover(self, log: Log, group: str, offset: int, moment: float) -> bool:
        """Whether the group had committed past ``offset`` of ``log`` by ``moment``.

        Where either side does not know its cluster, equal topic names are taken for one log.
        """
        clusters = self._by_name.get((group, log.topic, log.partition), {})
        if log.cluster is None:
            matching = list(clusters.values())
        else:
            matching = [clusters[c] for c in (log.cluster, None) if c in clusters]
        return any(rising.at(moment) > offset for rising in matching)


@dataclass(frozen=True, slots=True)
class Interruptions:
    """When consumers crashed, stalled, started or gave a partition up; times are rising."""

    _of_consumer: dict[tuple[str, str], list[float]]
    _of_partition: dict[tuple[str, str, str, int], list[float]]

    @classmethod
    def of(cls, history: History) -> "Interruptions":
        """Index the interruptions of a history."""
        of_consumer: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        of_partition: defaultdict[tuple[str, str, str, int], list[float]] = defaultdict(list)
        for event in history.broken:
            of_consumer[event.group, event.consumer].append(event.at)
        for gone in history.revoked:
            of_partition[gone.group, gone.consumer, gone.topic, gone.partition].append(gone.at)
        return cls(dict(of_consumer), dict(of_partition))

    def broke(self, event: Delivered, until: float) -> float | None:
        """Find when a delivery's consumer first crashed, stalled or started anew after it."""
        times = self._of_consumer.get((event.group, event.consumer), [])
        found = bisect_left(times, event.at)
        return times[found] if found < len(times) and times[found] <= until else None

    def given_up_by_another(self, event: Delivered, since: float) -> bool:
        """Say whether another consumer gave the partition up between then and a delivery."""
        wanted = (event.group, event.topic, event.partition)
        return any(
            (group, topic, number) == wanted
            and consumer != event.consumer
            and _last(times, event.at) is not None
            and times[bisect_right(times, event.at) - 1] >= since
            for (group, consumer, topic, number), times in self._of_partition.items()
        )

    def last(self, event: Delivered, *, until: float) -> float | None:
        """Find the last interruption of a delivery's consumer or partition, from then ``until``."""
        consumer = (event.group, event.consumer)
        partition = (*consumer, event.topic, event.partition)
        moments = (
            _last(self._of_consumer.get(consumer, []), until),
            _last(self._of_partition.get(partition, []), until),
        )
        return max((m for m in moments if m is not None and m >= event.at), default=None)


def _last(times: list[float], until: float) -> float | None:
    found = bisect_right(times, until)
    return times[found - 1] if found else None
