"""Rules on clusters that are gone for good, of which only copies are left."""

from collections.abc import Iterator, Mapping

from clientlib.protocol.ledger import Ledger
from clientlib.protocol.skips import past
from clientlib.protocol.types import ClusterAlias, Offset, Partition
from failover.core.result import Finding, Severity
from failover.core.rules.case import Case, Rule, listed
from failover.core.snapshot import ClusterSnapshot, GroupInfo


def retired_unread(case: Case) -> Iterator[Finding]:
    """A group has not read all of a retired cluster, and the target has no copy of the rest."""
    source = case.snapshot.clusters.get(case.active)
    for origin in case.settings.retired:
        ends = dict(_ends(case, origin))
        for target in case.involved:
            if source is None or target.alias == case.active:
                continue
            lacking = {
                part: end
                for part, end in ends.items()
                if case.naming.log_name(origin, part.topic, target.alias) not in target.topics
            }
            for group, known in sorted(source.groups.items()):
                unread = dict(_unread(case, origin, known, lacking))
                if unread:
                    yield _finding(case, origin, target, group, unread)


def _ends(case: Case, origin: ClusterAlias) -> Iterator[tuple[Partition, Offset]]:
    """Yield where the active cluster's copies of a retired cluster end, by the ledger."""
    for topic, rows in sorted(case.snapshot.view.ledger.items()):
        ends: dict[int, Offset] = {}
        for _, row in sorted(rows.items()):
            if row.epoch.cluster == origin:
                ends |= row.ends.get(case.active, {})
        yield from ((Partition(topic, number), end) for number, end in sorted(ends.items()))


def _unread(
    case: Case, origin: ClusterAlias, group: GroupInfo, ends: Mapping[Partition, Offset]
) -> Iterator[tuple[Partition, int]]:
    """Yield how many offsets of the copies a group that reads the topic has not read."""
    for part, end in ends.items():
        names = case.naming.log_names(part.topic, case.active)
        commits = {
            o: group.commits[Partition(name, part.number)].offset
            for o, name in names.items()
            if Partition(name, part.number) in group.commits
        }
        if not commits or case.state is None:
            continue
        ledger = Ledger(case.state.epochs, case.snapshot.view.ledger[part.topic])
        skip = ledger.skipped(part.number, case.active, origin)
        at = past(skip, commits.get(origin, 0))
        if at < end:
            yield part, end - at


def _finding(
    case: Case,
    origin: ClusterAlias,
    target: ClusterSnapshot,
    group: str,
    unread: Mapping[Partition, int],
) -> Finding:
    return Finding(
        "retired-unread",
        Severity.BLOCK if case.request else Severity.WARN,
        f"group {group}",
        f"has not read all of {origin}: "
        + listed((f"{p.topic}[{p.number}] {count:,}" for p, count in unread.items()), 3),
        f"{origin} is retired and {target.alias} has no copy of its records",
        f"let the group read them on {case.active}; delete a group that nobody needs any more",
    )


RULES: tuple[Rule, ...] = (retired_unread,)
