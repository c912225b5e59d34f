"""Rules on MirrorMaker 2's flows and on the topics that they carry."""

from collections.abc import Iterator

from clientlib.protocol.ledger import ClosedEpoch, tail_of
from clientlib.protocol.types import ClusterAlias, Offset
from failover.core import standing
from failover.core.result import Finding, Severity
from failover.core.rules.case import Case, Rule, listed
from failover.core.snapshot import ClusterSnapshot, FlowSnapshot

HEARTBEAT_LIMIT_MS = 10_000
LAG_LIMIT_RECORDS = 10_000
_STREAMS = ("-changelog", "-repartition")
_CONSUMER = ("source.consumer.", "consumer.")
_PRODUCER = ("producer.override.", "target.producer.", "producer.")


def flow_missing(case: Case) -> Iterator[Finding]:
    """The settings name no flow between the active cluster and the target."""
    if case.state is None:
        return
    flows = set(case.settings.flows)
    for target in case.targets:
        if target == case.active:
            continue
        for pair, severity, reason in (
            ((case.active, target), Severity.BLOCK, "the target would lack the records"),
            (
                (target, case.active),
                Severity.WARN,
                "records written after the switch are not copied back: no failback",
            ),
        ):
            if pair not in flows:
                yield Finding(
                    "flow-missing",
                    severity,
                    f"flow {pair[0]}->{pair[1]}",
                    "no such flow is configured",
                    reason,
                    f"enable {pair[0]}->{pair[1]} in MirrorMaker 2 and add it to `flows`",
                )


def flow_silent(case: Case) -> Iterator[Finding]:
    """MirrorMaker 2's heartbeats do not arrive."""
    reachable = case.snapshot.reachable
    for flow in (*case.forward, *case.backward):
        age = flow.heartbeat_age_ms
        if not {flow.source, flow.target} <= set(reachable) or (
            age is not None and age <= HEARTBEAT_LIMIT_MS
        ):
            continue
        forward = flow in case.forward
        yield Finding(
            "flow-silent",
            Severity.BLOCK if forward else case.severity(Severity.WARN),
            f"flow {flow.source}->{flow.target}",
            "no heartbeat was ever seen"
            if age is None
            else f"the last heartbeat is {age / 1000:.0f} s old",
            "MirrorMaker 2 is stopped or stuck, or emits no heartbeats",
            "start MirrorMaker 2 and read its log; heartbeats need both directions enabled",
        )


def replication_lag_high(case: Case) -> Iterator[Finding]:
    """The copies are so far behind that closed writes would wait for them."""
    for flow in case.forward:
        if flow.lag_records > LAG_LIMIT_RECORDS:
            worst = sorted(flow.lag.items(), key=lambda item: -item[1])
            names = listed((f"{p.topic}[{p.number}] {lag:,}" for p, lag in worst if lag), 3)
            yield Finding(
                "replication-lag-high",
                Severity.WARN,
                f"flow {flow.source}->{flow.target}",
                f"about {flow.lag_records:,} records behind ({names})",
                "writes stay closed until the copies are complete, or the switch times out",
                "wait until `failover status` shows less, or raise --timeout",
            )


def topic_missing(case: Case) -> Iterator[Finding]:
    """A topic does not exist on a side of its own; the switch creates it."""
    subscribed = frozenset[str]().union(*case.wrapped.values())
    for cluster in case.involved if case.state else ():
        for topic in sorted(case.logical_topics - cluster.topics.keys()):
            yield Finding(
                "topic-missing",
                Severity.WARN if topic in subscribed else Severity.INFO,
                f"topic {topic}",
                f"does not exist on {cluster.alias}",
                "the switch creates it; members that subscribe to it need time to join there",
                f"create {topic} on {cluster.alias} beforehand, with the same partitions",
            )


def partition_count_differs(case: Case) -> Iterator[Finding]:
    """A log of a topic is wider or narrower than the active cluster's own topic.

    A run adds partitions to a narrower copy or empty topic by itself; what already holds records
    in another number of partitions cannot be mended that way.
    """
    for topic in sorted(case.logical_topics):
        own = case.snapshot.clusters.get(case.active)
        wanted = own.topics[topic].partitions if own and topic in own.topics else None
        wrong: dict[Severity, list[str]] = {}
        for cluster in case.involved:
            for origin, name in case.naming.log_names(topic, cluster.alias).items():
                log = cluster.topics.get(name)
                if log is None or wanted is None or log.partitions == wanted:
                    continue
                fixed = log.partitions > wanted or (origin == cluster.alias and any(log.ends))
                severity = Severity.BLOCK if fixed else Severity.WARN
                told = f"{name} on {cluster.alias} has {log.partitions}"
                wrong.setdefault(severity, []).append(told)
        for severity, names in wrong.items():
            yield _differs(topic, case.active, wanted or 0, severity, names)


def _differs(topic: str, active: str, wanted: int, severity: Severity, names: list[str]) -> Finding:
    grows = severity is Severity.WARN
    return Finding(
        "partition-count-differs",
        severity,
        f"topic {topic}",
        f"{wanted} partitions on {active}, but {listed(names)}",
        "the switch adds the missing partitions before it closes writes"
        if grows
        else "records of one key could be in two partitions, and their order would be lost",
        "nothing; or add the partitions now, to have a shorter preparation"
        if grows
        else "recreate the narrower log, or leave the topic out of the scope",
    )


def _known_end(
    case: Case, topic: str, number: int, origin: ClusterAlias, on: ClusterAlias
) -> Offset:
    """Return up to where the ledger knows the log of ``origin`` on a cluster, its tail included."""
    entries = case.snapshot.view.ledger.get(topic, {}).values()
    rows = [entry for entry in entries if entry.epoch.cluster == origin]
    ends = (row.ends.get(on, {}).get(number, 0) for row in rows)
    tails = (s.get(on, {}).get(number, ()) for row in rows for s in (row.late, row.skip))
    return max((*ends, *(end for spans in tails for _, end in spans)), default=0)


def standby_not_empty(case: Case) -> Iterator[Finding]:
    """A standby's own topic holds records of no epoch: older data, or a writer that is astray."""
    if case.state is None:
        return
    been_active = {epoch.cluster for epoch in case.state.epochs}
    for cluster in case.involved:
        if cluster.alias == case.active or _owes(case, cluster.alias):
            continue
        for name, log in cluster.topics.items():
            if case.naming.origin_of(name, cluster.alias) != (cluster.alias, name):
                continue
            beyond = {
                number: end - known
                for number, end in enumerate(log.ends)
                if end > (known := _known_end(case, name, number, cluster.alias, cluster.alias))
            }
            if beyond:
                yield _beyond(name, cluster.alias, beyond, been=cluster.alias in been_active)


def _owes(case: Case, alias: str) -> tuple[str, ...]:
    """Return topics of a cluster that was given up and not compared with the ledger since."""
    return tuple(
        topic
        for topic, rows in sorted(case.snapshot.view.ledger.items())
        if any(row.epoch.cluster == alias and alias not in row.ends for row in rows.values())
    )


def cluster_returned(case: Case) -> Iterator[Finding]:
    """A cluster that was given up answers again, and nobody has looked at its logs yet."""
    for cluster in case.snapshot.clusters.values():
        topics = _owes(case, cluster.alias) if cluster.reachable else ()
        if topics:
            yield Finding(
                "cluster-returned",
                case.severity(Severity.WARN),
                f"cluster {cluster.alias}",
                f"was given up, and is back; not compared with the ledger yet: {listed(topics, 3)}",
                "it may hold records that were never copied, or have lost some that were",
                f"failover rejoin {cluster.alias} (failback does it, too)",
            )


def late_records_known(case: Case) -> Iterator[Finding]:
    """A returned cluster holds records that nobody has written again."""
    counts: dict[str, int] = {}
    epochs = case.state.epochs if case.state else ()
    for rows in case.snapshot.view.ledger.values():
        for counter, row in rows.items():
            home = row.epoch.cluster
            if any(e.counter > counter and e.cluster == home for e in epochs):
                continue  # its next epoch has begun: they are read with it
            counts[home] = counts.get(home, 0) + tail_of(row)[0]
    for alias, count in sorted(counts.items()):
        if count:
            yield Finding(
                "late-records-pending",
                Severity.WARN,
                f"cluster {alias}",
                f"{count:,} late records: written there, never copied, their producers are gone",
                f"groups read them first when {alias} is active again",
                "failover failback",
            )


def _beyond(topic: str, alias: ClusterAlias, beyond: dict[int, int], *, been: bool) -> Finding:
    where = listed(f"[{number}] {count:,}" for number, count in beyond.items())
    if been:
        return Finding(
            "late-records",
            Severity.WARN,
            f"topic {topic} on {alias}",
            f"records after the end of {alias}'s last epoch: {where}",
            "somebody wrote to the standby; groups read these with the next epoch of this cluster",
            "find the writer that is not wrapped, and move it to the active cluster",
        )
    return Finding(
        "standby-not-empty",
        Severity.BLOCK,
        f"topic {topic} on {alias}",
        f"holds records although {alias} was never active: {where}",
        "they belong to no epoch, and nobody knows whether they come before or after the others",
        f"recreate {topic} on {alias}; if `init --adopt` accepted them: --ignore standby-not-empty",
    )


def diverged(case: Case) -> Iterator[Finding]:
    """A log is shorter than the ledger says, or gone: it was recreated, truncated or lost."""
    for topic, epochs in sorted(case.snapshot.view.ledger.items()):
        if not _stands(case, topic):
            continue
        for cluster in case.involved:
            short = [text for row in epochs.values() for text in _short(case, topic, row, cluster)]
            if short:
                subject = f"topic {topic} on {cluster.alias}"
                yield standing.diverged(subject, cluster.alias, listed(short, 3))


def _stands(case: Case, topic: str) -> bool:
    """Say whether the topic was not simply deleted: the active cluster has it, or cannot say."""
    active = case.snapshot.clusters.get(case.active)
    return topic in (active.topics if active and active.reachable else case.logical_topics)


def _short(case: Case, topic: str, row: ClosedEpoch, cluster: ClusterSnapshot) -> Iterator[str]:
    name = case.naming.log_name(row.epoch.cluster, topic, cluster.alias)
    log = cluster.topics.get(name)
    ends = dict(enumerate(log.ends)) if log is not None else None
    return standing.shortened(row, cluster.alias, name, ends)


def streams_internal_topics(case: Case) -> Iterator[Finding]:
    """Kafka Streams keeps state in topics whose offsets it stores inside its own state."""
    cluster = case.snapshot.clusters.get(case.active)
    names = sorted(t for t in (cluster.topics if cluster else ()) if t.endswith(_STREAMS))
    names = [n for n in names if case.naming.origin_of(n, case.active) == (case.active, n)]
    if names:
        yield Finding(
            "streams-internal-topics",
            Severity.WARN,
            listed(names, 3),
            "the scope contains internal topics of Kafka Streams",
            "a Streams application rebuilds its state on the target from its input topics",
            "leave these topics out of the scope and reset the application on the target",
        )


def identity_policy(case: Case) -> Iterator[Finding]:
    """MirrorMaker 2 names copies in another way than the settings say."""
    for flow in (*case.forward, *case.backward):
        policy = flow.settings.get("replication.policy.class", "")
        separator = flow.settings.get("replication.policy.separator", ".")
        if policy.endswith("IdentityReplicationPolicy"):
            what = "MirrorMaker 2 runs with the identity policy: copies keep the topic's name"
        elif flow.settings and separator != case.settings.separator:
            what = f"MirrorMaker 2's separator is {separator!r}, ours {case.settings.separator!r}"
        else:
            continue
        yield Finding(
            "identity-policy",
            Severity.BLOCK,
            f"flow {flow.source}->{flow.target}",
            what,
            "the origin of a record could not be told from its topic",
            "use the default replication policy with the separator of failover.yaml",
        )


def group_sync_on(case: Case) -> Iterator[Finding]:
    """MirrorMaker 2 writes translated offsets into idle groups on the target."""
    for flow in case.forward:
        if flow.settings.get("sync.group.offsets.enabled") == "true":
            yield Finding(
                "group-sync-on",
                Severity.WARN,
                f"flow {flow.source}->{flow.target}",
                "sync.group.offsets.enabled is on",
                "harmless while wrapped members hold the group; it may rewind one that is empty",
                "set sync.group.offsets.enabled=false for this flow",
            )


def offset_syncs_at_source(case: Case) -> Iterator[Finding]:
    """The map from upstream to downstream offsets would be lost with the source."""
    for flow in case.forward:
        if flow.settings and flow.settings.get("offset-syncs.topic.location") != "target":
            yield Finding(
                "offset-syncs-at-source",
                Severity.INFO,
                f"flow {flow.source}->{flow.target}",
                f"offset syncs are kept on {flow.source}",
                "a planned switch does not need them; an unplanned one would miss them",
                "set offset-syncs.topic.location=target for this flow",
            )


def mm2_inflight_settings(case: Case) -> Iterator[Finding]:
    """MirrorMaker 2's producer may reorder records when it retries."""
    for flow in case.forward:
        many = _producer(flow, "max.in.flight.requests.per.connection")
        if many.isdigit() and int(many) > 1 and _producer(flow, "enable.idempotence") != "true":
            yield Finding(
                "mm2-inflight-settings",
                Severity.WARN,
                f"flow {flow.source}->{flow.target}",
                f"max.in.flight.requests.per.connection={many} without enable.idempotence",
                "a retried batch may be written after a later one: the copy's order is lost",
                "set enable.idempotence=true, or one request in flight, for MM2's producer",
            )


def mm2_reads_uncommitted(case: Case) -> Iterator[Finding]:
    """Applications use transactions, and MirrorMaker 2 copies what may still be aborted."""
    writers = [client.id for client in case.living if client.transactional]
    if not writers:
        return
    for flow in (*case.forward, *case.backward):
        level = next((v for p in _CONSUMER if (v := flow.settings.get(f"{p}isolation.level"))), "")
        if level == "read_committed":
            continue
        late = case.request is not None and case.request.emergency  # nothing is copied any more
        sure = flow in case.forward and bool(flow.settings) and not late
        known = f"consumer.isolation.level is {level or 'read_uncommitted'}"
        yield Finding(
            "mm2-reads-uncommitted",
            Severity.BLOCK if sure else Severity.WARN,
            f"flow {flow.source}->{flow.target}",
            (known if flow.settings else "MirrorMaker 2's isolation level cannot be read")
            + f", and {listed(sorted(writers), 3)} may abort what they have written",
            "the copy holds records of aborted transactions as if they had been committed",
            f"set {flow.source}.consumer.isolation.level=read_committed for MirrorMaker 2",
        )


def _producer(flow: FlowSnapshot, key: str) -> str:
    return next((v for p in _PRODUCER if (v := flow.settings.get(f"{p}{key}"))), "")


RULES: tuple[Rule, ...] = (
    flow_missing,
    flow_silent,
    replication_lag_high,
    identity_policy,
    topic_missing,
    partition_count_differs,
    diverged,
    cluster_returned,
    late_records_known,
    standby_not_empty,
    group_sync_on,
    offset_syncs_at_source,
    mm2_inflight_settings,
    mm2_reads_uncommitted,
    streams_internal_topics,
)
