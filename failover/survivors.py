"""Finds which surviving cluster's copies of a lost one go further; the rules are `core.leads`."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from clientlib.protocol.errors import RemoteError
from clientlib.protocol.fingerprint import LogRecord, fingerprint
from clientlib.protocol.naming import Naming
from clientlib.protocol.types import ClusterAlias, Offset, Partition
from failover.core.leads import CONTEXT, Compared, Tail, compare
from failover.core.snapshot import Lead, Snapshot, TopicInfo, stable_end
from failover.io.ports import LogReader, Window

_NEAR, _FAR = 1_024, 16_384
"""How many offsets at the end of two copies are compared: first few, more where that is no use."""


@dataclass(frozen=True, slots=True)
class _Copy:
    """One partition of a copy of the lost cluster's log; an absent one is empty."""

    part: Partition
    start: Offset
    end: Offset

    @classmethod
    def of(cls, log: TopicInfo | None, name: str, number: int) -> Self:
        """Return the copy as it was observed."""
        if log is None or number >= log.partitions:
            return cls(Partition(name, number), 0, 0)
        start = log.starts[number]
        return cls(Partition(name, number), start, max(start, stable_end(log, number)))

    def last(self, reach: int) -> tuple[Offset, Offset]:
        """Return the span of its last offsets."""
        return max(self.start, self.end - reach), self.end

    def tail(self, records: Iterable[LogRecord], reach: int, *, use_timestamp: bool) -> Tail:
        """Return its end for comparison."""
        prints = tuple(fingerprint(record, use_timestamp=use_timestamp) for record in records)
        length = self.end - self.start
        return Tail(prints, length, whole=length <= reach)


@dataclass(frozen=True, slots=True)
class _Pair:
    """A logical partition's copies on the target and on another cluster."""

    part: Partition
    ours: _Copy
    other: _Copy
    distinct: bool

    @property
    def why(self) -> str:
        """What is told when they cannot be compared."""
        ends = f"they end at {self.ours.end:,} and {self.other.end:,}"
        return f"{ends}, neither's end is among the last {_FAR:,} of the other"


class Survivors:
    """Compares the copies on the target with those on every other cluster that answers."""

    def __init__(self, naming: Naming, reader: LogReader) -> None:
        self._naming, self._reader = naming, reader

    def leads(
        self, snapshot: Snapshot, lost: ClusterAlias, target: ClusterAlias
    ) -> dict[ClusterAlias, Lead]:
        """Return how far each of the others is ahead; what cannot be read is unsure."""
        found: dict[ClusterAlias, Lead] = {}
        for alias, cluster in snapshot.clusters.items():
            if alias in {lost, target} or not cluster.reachable:
                continue
            pairs = [*self._pairs(snapshot, lost, target, alias)]
            try:
                found[alias] = self._lead(pairs, target, alias)
            except RemoteError as error:
                found[alias] = Lead(unsure={pair.part: str(error) for pair in pairs})
        return found

    def _pairs(
        self, snapshot: Snapshot, lost: ClusterAlias, target: ClusterAlias, alias: ClusterAlias
    ) -> Iterator[_Pair]:
        """Yield each logical partition of which either of the two clusters has a copy."""
        ours, others = snapshot.clusters[target].topics, snapshot.clusters[alias].topics
        for topic in sorted(self._topics(snapshot, lost, (target, alias))):
            here, there = (self._naming.log_name(lost, topic, at) for at in (target, alias))
            one, other = ours.get(here), others.get(there)
            plain = any(log is not None and log.log_append_time for log in (one, other))
            for number in range(max(log.partitions if log else 0 for log in (one, other))):
                copies = _Copy.of(one, here, number), _Copy.of(other, there, number)
                yield _Pair(Partition(topic, number), *copies, distinct=not plain)

    def _topics(
        self, snapshot: Snapshot, lost: ClusterAlias, holders: Iterable[ClusterAlias]
    ) -> set[str]:
        """Return the logical topics of which one of these clusters has a copy from the lost one."""
        origins = (
            self._naming.origin_of(name, alias)
            for alias in holders
            for name in snapshot.clusters[alias].topics
        )
        return {origin[1] for origin in origins if origin is not None and origin[0] == lost}

    def _lead(self, pairs: Iterable[_Pair], target: ClusterAlias, alias: ClusterAlias) -> Lead:
        found: dict[Partition, Compared] = {}
        left = list(pairs)
        for look in (self._by_tails, self._by_offset, self._by_long_tails):
            found |= look(left, target, alias)
            left = [pair for pair in left if pair.part not in found]
        return Lead(
            ahead={part: one.ahead for part, one in found.items() if one.ahead},
            behind={part: one.behind for part, one in found.items() if one.behind},
            unsure={pair.part: pair.why for pair in left},
        )

    def _by_tails(
        self,
        pairs: Iterable[_Pair],
        target: ClusterAlias,
        alias: ClusterAlias,
        reach: int = _NEAR,
    ) -> dict[Partition, Compared]:
        """Look for the end of each copy among the last offsets of the other."""
        pairs = list(pairs)
        ours = self._read(target, {p.ours.part: p.ours.last(reach) for p in pairs})
        others = self._read(alias, {p.other.part: p.other.last(reach) for p in pairs})
        found = {}
        for pair in pairs:
            tails = (
                copy.tail(read[copy.part], reach, use_timestamp=pair.distinct)
                for copy, read in ((pair.ours, ours), (pair.other, others))
            )
            compared = compare(*tails, distinct=pair.distinct)
            if compared is not None:
                found[pair.part] = compared
        return found

    def _by_long_tails(
        self, pairs: Iterable[_Pair], target: ClusterAlias, alias: ClusterAlias
    ) -> dict[Partition, Compared]:
        return self._by_tails(pairs, target, alias, _FAR)

    def _by_offset(
        self, pairs: Iterable[_Pair], target: ClusterAlias, alias: ClusterAlias
    ) -> dict[Partition, Compared]:
        """Look where the shorter copy's end would be if both had begun alike, however far back."""
        pairs = [pair for pair in pairs if min(pair.ours.end, pair.other.end) >= CONTEXT]
        spans = {
            pair.part: (end - CONTEXT, end)
            for pair in pairs
            for end in (min(pair.ours.end, pair.other.end),)
        }
        ours = self._read(target, {p.ours.part: spans[p.part] for p in pairs})
        others = self._read(alias, {p.other.part: spans[p.part] for p in pairs})
        found = {}
        for pair in pairs:
            logs = ours[pair.ours.part], others[pair.other.part]
            one, other = (
                [(r.offset, fingerprint(r, use_timestamp=pair.distinct)) for r in log]
                for log in logs
            )
            if len(one) == CONTEXT and one == other:
                ahead = pair.other.end - pair.ours.end
                found[pair.part] = Compared(max(0, ahead), max(0, -ahead))
        return found

    def _read(
        self, alias: ClusterAlias, spans: Mapping[Partition, tuple[Offset, Offset]]
    ) -> Mapping[Partition, tuple[LogRecord, ...]]:
        """Read spans to their end, all copies at once, as applications read them."""
        found: dict[Partition, tuple[LogRecord, ...]] = dict.fromkeys(spans, ())
        waiting = {part: span for part, span in spans.items() if span[0] < span[1]}
        self._reader.warm(alias, sorted({part.topic for part in waiting}), committed=True)
        while waiting:
            windows = {p: Window(first, end, end - first) for p, (first, end) in waiting.items()}
            answers = self._reader.read(alias, windows, committed=True)
            for part, answer in answers.items():
                found[part] += answer.records
            waiting = {
                part: (covered, waiting[part][1])
                for part, answer in answers.items()
                if (covered := answer.covered_to) is not None and covered < waiting[part][1]
            }
        return found
