"""Rules on consumer groups and on registered clients."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from clientlib.protocol.clients import Registration, Role
from clientlib.protocol.token import decode
from clientlib.protocol.types import ClusterAlias, Offset, Partition
from failover.core.result import Finding, Severity
from failover.core.rules.case import Case, Rule, listed
from failover.core.segments import Unread, unread
from failover.core.snapshot import ClusterSnapshot, GroupInfo, Oldest

# A client that ended long ago without saying so is history, not news.
EXPIRED_NEWS_MS = 3_600_000


def group_not_stable(case: Case) -> Iterator[Finding]:
    """A wrapped group is rebalancing, or has no members where its topics are."""
    for group, topics in sorted(case.wrapped.items()):
        states = {
            cluster.alias: cluster.groups[group].state if group in cluster.groups else "absent"
            for cluster in case.involved
            if group in cluster.groups or topics & cluster.topics.keys()
        }
        unstable = {alias: state for alias, state in states.items() if state != "STABLE"}
        if unstable:
            yield Finding(
                "group-not-stable",
                Severity.BLOCK,
                f"group {group}",
                listed(f"{state.lower()} on {alias}" for alias, state in unstable.items()),
                "members keep a warm standby on every cluster; a rebalance costs seconds of pause",
                "wait until it is stable; if it never is, read the application's log",
            )


def partition_not_owned(case: Case) -> Iterator[Finding]:
    """A stable wrapped group leaves a partition of its topics without an owner."""
    for group, topics in sorted(case.wrapped.items()):
        for cluster in case.involved:
            known = cluster.groups.get(group)
            if known is None or known.state != "STABLE":
                continue
            owned = {p for member in known.members for p in member.assignment}
            free = [p for p in _partitions(cluster, topics) if p not in owned]
            if free:
                side = "source" if cluster.alias == case.active else "target"
                yield Finding(
                    f"partition-not-owned-on-{side}",
                    Severity.BLOCK,
                    f"group {group}",
                    f"no member on {cluster.alias} owns "
                    + listed(f"{p.topic}[{p.number}]" for p in free),
                    "who owns the partition there takes the position over; nobody would",
                    "wait for the members to learn of the topic; check their subscription",
                )


def member_away(case: Case) -> Iterator[Finding]:
    """A living consumer is not a member of its group on the target, whatever that lists."""
    for target, away in _away(case, Role.CONSUMER):
        yield Finding(
            "member-away",
            Severity.BLOCK,
            f"consumers {listed(away, 3)}",
            f"their session on {target} has ended, and they have not joined again yet",
            "the group waits there for the member that is gone, up to its session timeout;"
            f" what it owned would not be read on {target} meanwhile",
            "wait for it; if it never passes, read the application's log",
        )


def producer_away(case: Case) -> Iterator[Finding]:
    """A living producer does not reach the target, which answers others."""
    for target, away in _away(case, Role.PRODUCER):
        yield Finding(
            "producer-away",
            Severity.BLOCK,
            f"producers {listed(away, 3)}",
            f"their connection to {target} does not work, though {target} lives",
            "their records would wait in their memory, and time out there in the end",
            "wait for it: a lost connection is made anew within 15 s; if it never passes, read the "
            "application's log, and look whether its host reaches the cluster",
        )


def _away(case: Case, role: Role) -> Iterator[tuple[ClusterAlias, list[str]]]:
    """Yield each target with the living clients of a role that say they are not there."""
    living = [client for client in case.living if client.role is role]
    for target in (cluster.alias for cluster in case.involved if cluster.alias != case.active):
        away = sorted(client.id for client in living if target in client.away)
        if away:
            yield target, away


def _partitions(cluster: ClusterSnapshot, topics: frozenset[str]) -> Iterator[Partition]:
    for topic in sorted(topics):
        if topic in cluster.topics:
            for number in range(cluster.topics[topic].partitions):
                yield Partition(topic, number)


def group_not_moved(case: Case) -> Iterator[Finding]:
    """A live wrapped group has commits elsewhere, and none with the current token here."""
    if case.state is None or case.state.epoch.counter == 1:
        return
    for group in sorted(case.wrapped):
        behind = sorted(_behind(case, group))
        if behind:
            yield Finding(
                "group-not-moved",
                Severity.WARN,
                f"group {group}",
                f"{len(behind)} partitions not yet moved to {case.active}: "
                + listed((f"{p.topic}[{p.number}]" for p in behind), 3),
                "their owner has not handed the position over since the last switch",
                _to_be_moved(case),
            )


def _to_be_moved(case: Case) -> str:
    before = case.state.epochs[-2].cluster if case.state else ""
    known = case.snapshot.clusters.get(before)
    if known is not None and not known.reachable:
        return f"if {before} is gone: failover switch --to {case.active} --emergency"
    return "wait for the members; restart one that is stuck"


def _behind(case: Case, group: str) -> set[Partition]:
    """Return logical partitions with one of our tokens, but not the current one where it counts."""
    seen: set[Partition] = set()
    current: set[Partition] = set()
    counter = case.state.epoch.counter if case.state else 0
    for alias, cluster in case.snapshot.clusters.items():
        for partition, commit in _commits(cluster, group):
            origin = case.naming.origin_of(partition.topic, alias)
            token = decode(commit).token
            if origin is None or token is None:
                continue
            logical = Partition(origin[1], partition.number)
            seen.add(logical)
            if (token.epoch, token.cluster, alias) == (counter, case.active, case.active):
                current.add(logical)
    return seen - current


def _commits(cluster: ClusterSnapshot, group: str) -> Iterator[tuple[Partition, str]]:
    known = cluster.groups.get(group)
    for partition, commit in known.commits.items() if known else ():
        yield partition, commit.metadata


def group_partly_wrapped(case: Case) -> Iterator[Finding]:
    """A wrapped group has members that are not ours."""
    idents = _idents(case)
    for group in sorted(case.wrapped):
        strangers = sorted(
            {
                f"{member.client_id} ({member.host.lstrip('/')}, on {cluster.alias})"
                for cluster in case.involved
                if group in cluster.groups
                for member in cluster.groups[group].members
                if member.client_id not in idents
            }
        )
        if strangers:
            yield Finding(
                "group-partly-wrapped",
                Severity.BLOCK,
                f"group {group}",
                f"members that are not registered: {listed(strangers, 3)}",
                "a plain member reads local and remote topics as they come and does not move",
                "wrap every member of the group, or give the plain ones a group of their own",
            )


def _idents(case: Case) -> frozenset[str]:
    """Return every registered client id, skipped and expired ones too."""
    return frozenset(i for c in case.snapshot.clusters.values() for i in c.clients)


def segment_missing(case: Case) -> Iterator[Finding]:
    """A group has not read records that the target no longer holds, or never got."""
    lacks: Mapping[str, list[tuple[Unread, Oldest]]] = defaultdict(list)
    for one in unread(case.snapshot, case.naming) if case.request else ():
        oldest = case.snapshot.oldest.get(one.log)
        if oldest is not None and (oldest.offset is None or one.below(oldest.offset)[2]):
            lacks[one.group].append((one, oldest))
    for group, found in sorted(lacks.items()):
        missing = [(one, o.offset, o.exact) for one, o in found if o.offset is not None]
        if missing:
            yield _segment_missing(case, group, missing)
        unsure = {f"{one.log.topic}[{one.log.number}]: {o.why}" for one, o in found if o.why}
        if unsure:
            yield _segment_unsure(case, group, unsure)


def _segment_missing(case: Case, group: str, missing: list[tuple[Unread, Offset, bool]]) -> Finding:
    count, where = 0, []
    for one, offset, _ in missing:
        first, end, records = one.below(offset)
        count += records
        where.append(f"{one.log.topic}[{one.log.number}] {first}..{end - 1}")
    about = "" if all(exact for _, _, exact in missing) else "about "
    return Finding(
        "segment-missing",
        Severity.BLOCK,
        f"group {group}",
        f"has not read {about}{count:,} records that {case.targets[0]} does not hold: "
        + listed(where),
        "retention or a deletion removed them there, or its copy begins after them; the group "
        "would pass over them",
        f"let the group catch up on {case.active}; or accept that it passes over them: "
        "--ignore segment-missing",
    )


def _segment_unsure(case: Case, group: str, unsure: set[str]) -> Finding:
    return Finding(
        "segment-unsure",
        Severity.WARN,
        f"group {group}",
        f"whether {case.targets[0]} holds what it has not read is not known: "
        + listed(sorted(unsure), 3),
        "the two logs could not be compared where the target's begins",
        f"let the group catch up on {case.active} first",
    )


def group_not_wrapped(case: Case) -> Iterator[Finding]:
    """A group commits in the scope and knows nothing of epochs."""
    cluster = case.snapshot.clusters.get(case.active)
    if cluster is None:
        return
    for name, group in sorted(cluster.groups.items()):
        if name in case.wrapped or _has_token(group) or not _touches(case, cluster.alias, group):
            continue
        state = "running" if group.members else "stopped"
        yield Finding(
            "group-not-wrapped",
            Severity.WARN,
            f"group {name}",
            f"a plain group, {state}, with {len(group.commits)} commits on {cluster.alias}",
            "it does not follow the switch, and nobody translates its offsets yet",
            "wrap its clients, or leave the group out of the scope and move it by hand",
        )


def _has_token(group: GroupInfo) -> bool:
    return any(decode(commit.metadata).token for commit in group.commits.values())


def _touches(case: Case, alias: ClusterAlias, group: GroupInfo) -> bool:
    scope = case.settings.scope(case.snapshot.scope)
    origins = (case.naming.origin_of(p.topic, alias) for p in group.commits)
    return any(origin is not None and scope.has_topic(origin[1]) for origin in origins)


def config_drift(case: Case) -> Iterator[Finding]:
    """Living clients run with other settings than this ``failover.yaml``."""
    digests: Mapping[str, list[str]] = defaultdict(list)
    for client in case.living:
        if client.digest and client.digest != case.settings.digest:
            digests[client.digest].append(client.id)
    for digest, clients in sorted(digests.items()):
        yield Finding(
            "config-drift",
            Severity.WARN,
            f"clients {listed(sorted(clients), 3)}",
            f"their settings have digest {digest}, ours {case.settings.digest}",
            "clusters, flows, naming and scopes must be the same everywhere",
            "give them this failover.yaml and restart them one by one",
        )


def client_behind(case: Case) -> Iterator[Finding]:
    """A living client has not seen the current epoch."""
    if case.state is None:
        return
    counter = case.state.epoch.counter
    behind = sorted(c.id for c in case.living if c.seen.epoch < counter)
    if behind:
        yield Finding(
            "client-behind",
            Severity.WARN,
            f"clients {listed(behind, 3)}",
            f"they have not seen epoch {counter} yet",
            "a client learns of a switch within a second, if it reaches a cluster",
            "look at their log; `failover clients` shows where they run",
        )


def client_expired(case: Case) -> Iterator[Finding]:
    """A client stopped renewing without leaving."""
    gone = [r for r in case.registrations.values() if _news(r, case.snapshot.at_ms)]
    for role in Role:
        names = sorted(r.client.id for r in gone if r.client.role is role)
        if names:
            yield Finding(
                "client-expired",
                Severity.WARN,
                f"{role.value}s {listed(names, 3)}",
                "they have stopped renewing their registration",
                "they died or hang; a switch does not wait for them",
                "restart them, or make sure that they are dead",
            )


def _news(registration: Registration, now_ms: int) -> bool:
    age = now_ms - registration.renewed_ms
    return registration.expired(now_ms) and age < EXPIRED_NEWS_MS


RULES: tuple[Rule, ...] = (
    group_partly_wrapped,
    group_not_stable,
    partition_not_owned,
    member_away,
    producer_away,
    group_not_moved,
    segment_missing,
    group_not_wrapped,
    config_drift,
    client_behind,
    client_expired,
)
