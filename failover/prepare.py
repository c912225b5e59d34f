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
from failover.core import publish
from failover.core.machine import Diverged, Event, Growth, Owed, Pending, Prepared, Run, joined
from failover.core.plan import Creation, creations, logical_topics
from failover.core.quiescence import replayed_into, replaying
from failover.io.ports import NewTopic, Ports
from failover.replays import manifests_since
from failover.returned import Comparison, lost_epoch, outgrown, written_again


class Preparation:
    """Prepares one run; idempotent, so a look that is repeated does what is still missing."""

    def __init__(self, settings: Settings, scope: str, naming: Naming, ports: Ports) -> None:
        self._settings = settings
        self._scope = settings.scope(scope)
        self._naming = naming
        self._ports = ports
        self._judged: tuple[object, ...] = ()
        """The manifests by which the late records of the run's target were judged last."""

    def look(self, run: Run, known: View, reachable: Iterable[ClusterAlias]) -> Event:
        """Create what is missing on the reachable clusters, and align what can be aligned."""
        waiting = self._replaying(run)
        if waiting:
            return Pending(waiting)
        admin = self._ports.admin
        listed = {alias: admin.partitions(alias) for alias in reachable}
        topics = logical_topics(listed, self._scope, self._naming, run.source)
        lost = run.source if run.request.emergency else ""
        missing = creations(listed, topics, self._naming, self._settings.flows, lost)
        if missing:
            self.create(missing)
            return Pending(tuple(f"topic {c.topic} on {c.alias}" for c in missing))
        self._judged = ()  # what was found by an earlier look is not in the run
        owed: dict[str, tuple[ClosedEpoch, ...]] = {}
        for topic, count in topics.items():
            rows = known.ledger.get(topic, {})
            mine = _Topic(topic, count, rows, self._absent(run, topic, listed))
            found = self._owed(run, mine, frozenset(listed))
            if isinstance(found, Pending | Diverged):
                return found
            if found:
                owed[topic] = found
        base = replace(run, topics=topics, owed=owed)
        owed = joined(owed, self.stragglers(base, known, hasty=False))
        return Prepared(topics, joined(owed, self._uncopied(base, known)))

    def _replaying(self, run: Run) -> tuple[str, ...]:
        """Return who has yet to write again what the source lacks, in a planned switch.

        What they write afterwards would stand behind the end of the epoch, and what they have
        written before would count as late.
        """
        if run.request.emergency or not replayed_into(run.base):
            return ()
        clients = self._ports.store.clients([run.source]).get(run.source, {})
        now_ms = self._ports.clock.now_ms()
        found = replaying(clients.values(), run.base.epoch.counter, now_ms)
        skipped = run.request.skip_clients
        return tuple(
            f"producer {client.id} has yet to write again what {run.source} lacks"
            for client in found
            if client.id not in skipped
        )

    def stragglers(self, run: Run, known: View, *, hasty: bool = True) -> Owed:
        """Return rows of the target's last epoch behind whose known tail something has come since.

        What was on its way to it when it was given up, or what a client wrote there that had not
        heard of it. And rows of which something has been written again since. It is looked at again
        until the target opens. Nobody can be asked what was written again when the source is lost
        in turn. ``hasty``: see `Comparison`.
        """
        if run.request.emergency:
            return {}
        lost = lost_epoch(run.base, run.target)
        if lost is None:
            return {}
        ledger, counter = with_owed(known, run).ledger, lost.counter
        grown = outgrown(self._ports.admin, run.base, run.topics, ledger, lost)
        manifests = manifests_since(self._ports.store, run.base, counter)
        again = written_again(manifests, ledger, counter) if manifests != self._judged else ()
        compare = Comparison(self._naming, self._ports, run.base, run.source, hasty=hasty)
        found = {
            topic: (compare.topic(topic, run.topics[topic], ledger[topic], counter).row,)
            for topic in sorted(grown.union(again) & run.topics.keys())
        }
        self._judged = manifests
        return found

    def _uncopied(self, run: Run, known: View) -> Owed:
        """Return rows of topics that nobody but the target had when it was given up."""
        lost = lost_epoch(run.base, run.target)
        if run.request.emergency or lost is None:
            return {}
        compare = Comparison(self._naming, self._ports, run.base, run.source)
        found = compare.uncopied(run.topics, with_owed(known, run).ledger, lost)
        return {topic: (one.row,) for topic, one in found}

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

    def catch_up(
        self, run: Run, known: View, alias: ClusterAlias, reachable: Iterable[ClusterAlias]
    ) -> tuple[dict[str, tuple[ClosedEpoch, ...]], tuple[str, ...]]:
        """Find the ends that a cluster lacks of closed epochs, and say what it does not hold yet.

        A cluster that took no part in a switch needs them as soon as the others are lost. What a
        cluster that was given up lacks is compared when it returns.
        """
        asked, request = frozenset(reachable), replace(run.request, to=alias)
        as_target = replace(run, request=request)
        found: dict[str, tuple[ClosedEpoch, ...]] = {}
        missing: list[str] = []
        for topic, count in run.topics.items():
            rows = known.ledger.get(topic, {})
            lacks = {row.epoch.cluster for row in rows.values() if alias not in row.ends}
            if not all((home, alias) in self._settings.flows for home in lacks):
                continue  # its own, or never copied there
            owed = self._owed(as_target, _Topic(topic, count, rows), asked)
            if isinstance(owed, tuple):
                found |= {topic: owed} if owed else {}
            else:
                missing += owed.what
        return found, tuple(missing)

    def _owed(
        self, run: Run, topic: "_Topic", reachable: frozenset[ClusterAlias]
    ) -> tuple[ClosedEpoch, ...] | Pending | Diverged:
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
            sources = _sources(run, row, reachable)
            if not sources:
                return Pending((f"{topic.name}: epoch {counter} has no end that can be read",))
            if row.epoch.cluster == run.target:
                compare = Comparison(self._naming, self._ports, run.base, sources[0])
                compared = compare.topic(topic.name, topic.partitions, rows, counter)
                if compared.diverged:
                    return Diverged(compared.diverged)
                found.append(compared.row)
                continue
            aligned = self._aligned(topic, Ledger(run.base.epochs, rows), row, sources, run.target)
            if isinstance(aligned, Pending):
                return aligned
            found.append(aligned)
        return tuple(found)

    def _aligned(
        self,
        topic: "_Topic",
        ledger: Ledger,
        row: ClosedEpoch,
        sources: Iterable[ClusterAlias],
        target: ClusterAlias,
    ) -> ClosedEpoch | Pending:
        """Return the row with the target's ends, by the first source that proves them.

        What nobody is to read in the source may be records that were written again elsewhere, which
        another copy has too, or repeats, which it has not: a copy is tried both ways, as it is
        first, because then what is skipped can be carried over.
        """
        first: Pending | None = None
        for source in sources:
            ways = (False,) if source == row.epoch.cluster else (False, True)
            for without in ways:
                aligned = self._align(topic, ledger, row, _Way(source, target, without))
                if isinstance(aligned, Pending):
                    first = first or aligned
                    continue
                ends, skip = aligned
                skips = {**row.skip, target: skip} if skip else row.skip
                return replace(row, ends={**row.ends, target: ends}, skip=skips)
        assert first is not None  # noqa: S101 - there is a source
        return first

    def _align(
        self, topic: "_Topic", ledger: Ledger, row: ClosedEpoch, way: "_Way"
    ) -> tuple[dict[int, int], dict[int, Skip]] | Pending:
        """Return ends, and what is to be skipped, by partition."""
        source, target, home = way.source, way.target, row.epoch.cluster
        starts = {
            Partition(topic.name, number): (
                ledger.start(row.epoch.counter, number, source),
                ledger.start(row.epoch.counter, number, target),
            )
            for number in sorted(row.ends[source])
        }
        skipped = {part: ledger.skipped(part.number, source, home) for part in starts}
        watch = CopyWatch(
            self._ports.admin,
            self._ports.reader,
            self._naming,
            Route(home, source, target),
            starts,
            closed=True,
            repeats=skipped if way.without else {},
        )
        watch.look_ahead()
        ends = {part: row.ends[source][part.number] for part in starts}
        copies, missing = watch.look(ends)
        if missing:
            return Pending(missing)
        skips = {part: watch.skips.get(part, ()) for part in starts}
        if not way.without:
            for part, (here, there) in starts.items():
                spans = (here, ends[part]), (there, copies[part])
                skips[part] = publish.carried(skipped[part], *spans, skips[part])
        return (
            {part.number: end for part, end in copies.items()},
            {part.number: skip for part, skip in skips.items() if skip},
        )


def _sources(
    run: Run, row: ClosedEpoch, reachable: frozenset[ClusterAlias]
) -> tuple[ClusterAlias, ...]:
    """Return the clusters whose logs say where an epoch ends, the original before its copies."""
    order = dict.fromkeys((row.epoch.cluster, run.source, *sorted(row.ends)))
    return tuple(a for a in order if a in row.ends and a in reachable and a != run.target)


@dataclass(frozen=True, slots=True)
class _Way:
    """Which two logs are compared, and whether what is skipped in the first is left out."""

    source: ClusterAlias
    target: ClusterAlias
    without: bool


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
