"""What is done before anything closes: topics, copies, the ends that older epochs still lack."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from clientlib.protocol.ledger import ClosedEpoch, Ledger
from clientlib.protocol.naming import Naming
from clientlib.protocol.skips import Skip
from clientlib.protocol.state import View, merge_ledger
from clientlib.protocol.types import ClusterAlias, Partition
from clientlib.settings import Settings
from failover.copies import CopyWatch, Route
from failover.core.machine import Diverged, Event, Growth, Pending, Prepared, Run
from failover.core.plan import Creation, creations, logical_topics
from failover.io.ports import NewTopic, Ports
from failover.returned import Comparison


class Preparation:
    """Prepares one run; idempotent, so a look that is repeated does what is still missing."""

    def __init__(self, settings: Settings, scope: str, naming: Naming, ports: Ports) -> None:
        self._settings = settings
        self._scope = settings.scope(scope)
        self._naming = naming
        self._ports = ports

    def look(self, run: Run, known: View, reachable: Iterable[ClusterAlias]) -> Event:
        """Create what is missing on the reachable clusters, and align what can be aligned."""
        admin = self._ports.admin
        listed = {alias: admin.partitions(alias) for alias in reachable}
        topics = logical_topics(listed, self._scope, self._naming, run.source)
        missing = creations(listed, topics, self._naming, self._settings.flows)
        if missing:
            self.create(missing)
            return Pending(tuple(f"topic {c.topic} on {c.alias}" for c in missing))
        owed: dict[str, tuple[ClosedEpoch, ...]] = {}
        for topic, count in topics.items():
            rows = known.ledger.get(topic, {})
            found = self._owed(run, _Topic(topic, count, rows, self._absent(run, topic, listed)))
            if isinstance(found, Pending | Diverged):
                return found
            if found:
                owed[topic] = found
        return Prepared(topics, owed)

    def _absent(
        self, run: Run, topic: str, listed: Mapping[ClusterAlias, Mapping[str, int]]
    ) -> frozenset[ClusterAlias]:
        return frozenset(
            origin
            for origin in self._settings.retired
            if self._naming.log_name(origin, topic, run.target) not in listed[run.target]
        )

    def unprepared(self, run: Run) -> tuple[Growth, ...]:
        """Return partitions that appeared on the old side since the run prepared its topics.

        Their records would be missing in the ledger, so the run must begin again.
        """
        listed = {run.source: self._ports.admin.partitions(run.source)}
        now = logical_topics(listed, self._scope, self._naming, run.source)
        return tuple(
            Growth(topic, number, 0, 0)
            for topic, count in sorted(now.items())
            for number in range(run.topics.get(topic, 0), count)
        )

    def create(self, missing: Iterable[Creation]) -> None:
        """Create or grow topics, with the settings of the ones that they must be like."""
        by_alias: dict[ClusterAlias, dict[str, NewTopic]] = {}
        for one in missing:
            settings = self._ports.admin.topic_settings(one.like_alias, [one.like])[one.like]
            by_alias.setdefault(one.alias, {})[one.topic] = NewTopic(one.partitions, settings)
        for alias, topics in by_alias.items():
            self._ports.admin.create_topics(alias, topics)

    def _owed(self, run: Run, topic: "_Topic") -> tuple[ClosedEpoch, ...] | Pending | Diverged:
        """Return the older epochs of a topic with the ends that the target lacks."""
        found: list[ClosedEpoch] = []
        for counter, row in sorted(topic.rows.items()):
            if counter >= run.epoch.counter or run.target in row.ends:
                continue
            if row.epoch.cluster in topic.absent:
                found.append(replace(row, ends={**row.ends, run.target: {}}))
                continue
            added = {entry.epoch.counter: entry for entry in found}
            rows = {**topic.rows, **added}
            if row.epoch.cluster == run.target:
                compare = Comparison(self._naming, self._ports, run.base, run.source)
                compared = compare.topic(topic.name, topic.partitions, rows, counter)
                if compared.diverged:
                    return Diverged(compared.diverged)
                found.append(compared.row)
                continue
            near = (row.epoch.cluster, run.source)
            known = self._settings.clusters.keys() & row.ends.keys()
            source = next((alias for alias in near if alias in known), None)
            if source is None:
                return Pending((f"{topic.name}: epoch {counter} has no end that can be read",))
            ledger = Ledger(run.base.epochs, rows)
            aligned = self._align(topic, ledger, row, source, run.target)
            if isinstance(aligned, Pending):
                return aligned
            ends, skip = aligned
            skips = {**row.skip, run.target: skip} if skip else row.skip
            found.append(replace(row, ends={**row.ends, run.target: ends}, skip=skips))
        return tuple(found)

    def _align(
        self,
        topic: "_Topic",
        ledger: Ledger,
        row: ClosedEpoch,
        source: ClusterAlias,
        target: ClusterAlias,
    ) -> tuple[dict[int, int], dict[int, Skip]] | Pending:
        """Return ends, and what is to be skipped, by partition."""
        numbers = sorted(row.ends[source])
        starts = {
            Partition(topic.name, number): (
                ledger.start(row.epoch.counter, number, source),
                ledger.start(row.epoch.counter, number, target),
            )
            for number in numbers
        }
        route = Route(row.epoch.cluster, source, target)
        watch = CopyWatch(
            self._ports.admin,
            self._ports.reader,
            self._naming,
            route,
            starts,
            closed=True,
            repeats={
                Partition(topic.name, number): ledger.skipped(number, source, row.epoch.cluster)
                for number in numbers
            },
        )
        watch.look_ahead()
        ends = {Partition(topic.name, number): row.ends[source][number] for number in numbers}
        copies, missing = watch.look(ends)
        if missing:
            return Pending(missing)
        skips = {part.number: skip for part, skip in watch.skips.items()}
        return {part.number: end for part, end in copies.items()}, skips


@dataclass(frozen=True, slots=True)
class _Topic:
    name: str
    partitions: int
    rows: Mapping[int, ClosedEpoch]
    absent: frozenset[ClusterAlias] = frozenset()
    """Retired origins of which the target has no copy: their epochs are empty there."""


def with_owed(view: View, run: Run) -> View:
    """Return the view with the ends that the run found out for older epochs."""
    owed = {t: {row.epoch.counter: row for row in rows} for t, rows in run.owed.items()}
    return replace(view, ledger=merge_ledger(view.ledger, owed))
