"""What a group had committed at a moment, and when a consumer was interrupted."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from failover.checkers.events import Committed, Delivered
from failover.checkers.history import History, Log

REPORTED_S = 4.0
"""A consumer's commits are known to the standby after so long: it reports once a second, and a
report can be lost."""

REPLACED_S = 6.0
"""After so long without a sign of life another member has a consumer's partitions."""

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


class _Unheard(NamedTuple):
    """A commit of which nobody may know any more from then on: its cluster and its member went."""

    offset: int
    at: float
    gone_at: float


@dataclass(slots=True)
class _OnCluster:
    """What a group committed of one partition on one cluster."""

    heard: _Rising
    unheard: list[_Unheard]

    def cover(self, offset: int, moment: float, until: float) -> bool:
        return self.heard.at(moment) > offset or any(
            commit.offset > offset and commit.at <= moment and commit.gone_at > until
            for commit in self.unheard
        )


@dataclass(frozen=True, slots=True)
class Commits:
    """All commits of a history, to be asked about one delivery at a time."""

    _by_name: dict[_Name, dict[str | None, _OnCluster]]

    @classmethod
    def of(cls, history: History, interruptions: "Interruptions") -> "Commits":
        """Index the commits of a history."""
        by_name: defaultdict[_Name, dict[str | None, _OnCluster]] = defaultdict(dict)
        for event in history.committed:
            clusters = by_name[event.group, event.topic, event.partition]
            found = clusters.setdefault(event.cluster, _OnCluster(_Rising([], []), []))
            gone_at = _gone_at(history, interruptions, event)
            if gone_at is None:
                found.heard.add(event.offset, event.at)
            else:
                found.unheard.append(_Unheard(event.offset, event.at, gone_at))
        return cls(dict(by_name))

    def cover(self, log: Log, group: str, offset: int, moment: float, *, until: float) -> bool:
        """Whether the group had committed past ``offset`` of ``log`` by ``moment``.

        Where either side does not know its cluster, equal topic names are taken for one log.
        Commits that nobody knew of at ``until`` do not count.
        """
        clusters = self._by_name.get((group, log.topic, log.partition), {})
        if log.cluster is None:
            matching = list(clusters.values())
        else:
            matching = [clusters[c] for c in (log.cluster, None) if c in clusters]
        return any(found.cover(offset, moment, until) for found in matching)


def _gone_at(history: History, interruptions: "Interruptions", event: Committed) -> float | None:
    """Find from when on nobody may know of a commit: the standby need not have been told of it."""
    losses = interruptions.with_loss(history, event, event.cluster)
    return losses[1] if losses is not None and event.at > losses[0] - REPORTED_S else None


@dataclass(frozen=True, slots=True)
class Interruptions:
    """When consumers crashed, stalled, started or gave a partition up; times are rising."""

    _of_group: dict[str, list[float]]
    _of_consumer: dict[tuple[str, str], list[float]]
    _of_partition: dict[tuple[str, str, str, int], list[float]]

    @classmethod
    def of(cls, history: History) -> "Interruptions":
        """Index the interruptions of a history."""
        of_group: defaultdict[str, list[float]] = defaultdict(list)
        of_consumer: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        of_partition: defaultdict[tuple[str, str, str, int], list[float]] = defaultdict(list)
        for event in history.broken:
            of_consumer[event.group, event.consumer].append(event.at)
            of_group[event.group].append(event.at)
        for gone in history.revoked:
            of_partition[gone.group, gone.consumer, gone.topic, gone.partition].append(gone.at)
        return cls(dict(of_group), dict(of_consumer), dict(of_partition))

    def broke(self, group: str, consumer: str, since: float) -> float | None:
        """Find when a consumer first crashed, stalled or started anew from then on."""
        times = self._of_consumer.get((group, consumer), [])
        found = bisect_left(times, since)
        return times[found] if found < len(times) else None

    def with_loss(
        self, history: History, event: Delivered | Committed, cluster: str | None
    ) -> tuple[float, float] | None:
        """Find when an event's consumer was interrupted and its cluster lost, the earlier first.

        The one must follow soon on the other: else the consumer, or who took its place, has told
        since what was committed. Who took its place may have been interrupted in its turn. A
        cluster counts that was lost up to `REPORTED_S` before the event, too.
        """
        lost = history.lost_between(cluster, event.at - REPORTED_S, float("inf"))
        broke = self.broke(event.group, event.consumer, event.at)
        if lost is None or broke is None or self._told(event.group, broke, lost):
            return None
        moved = history.left_at(cluster, lost)
        if moved is not None and broke > moved + REPORTED_S:
            return None
        return min(lost, broke), max(lost, broke)

    def _told(self, group: str, since: float, until: float) -> bool:
        """Say whether there was time to replace a consumer and to report without interruption."""
        times = self._of_group.get(group, [])
        between = times[bisect_left(times, since) : bisect_right(times, until)]
        waits = pairwise([since, *between, until])
        return any(end - begin > REPLACED_S + REPORTED_S for begin, end in waits)

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
