"""What ``-o json`` and ``-o yaml`` print: plain values with ``schema`` 1, pure functions.

Field names are part of the interface; fields are added, never renamed.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from clientlib.protocol.clients import Registration, Role
from clientlib.protocol.token import decode
from clientlib.protocol.types import ClusterAlias
from clientlib.settings import Settings, redacted
from failover.core import unplanned
from failover.core.estimate import Outlook
from failover.core.findings import NEVER_IGNORED, degraded, verdict
from failover.core.plan import Plan
from failover.core.result import Finding, RunResult, StepRecord
from failover.core.snapshot import ClusterSnapshot, FlowSnapshot, GroupInfo, Snapshot
from failover.initialise import control_topics as needed_topics

SCHEMA = 1
Document = dict[str, Any]


def finding(one: Finding) -> Document:
    """Return a finding."""
    return {
        "id": one.id,
        "severity": one.severity.value,
        "ignorable": one.id not in NEVER_IGNORED,
        "subject": one.subject,
        "what": one.what,
        "reason": one.reason,
        "remedy": one.remedy,
    }


def step(one: StepRecord) -> Document:
    """Return a step of a run."""
    return {
        "name": one.name,
        "what": one.what,
        "outcome": one.outcome,
        "started_ms": one.started_ms or None,
        "ended_ms": one.ended_ms or None,
        "detail": one.detail,
    }


def run(result: RunResult) -> Document:
    """Return a run: of switch, failback, abort, resume or report."""
    return {
        "schema": SCHEMA,
        "run": result.run or None,
        "scope": result.scope,
        "from": result.source or None,
        "to": result.target or None,
        "epoch": result.epoch,
        "changed": result.changed,
        "result": result.result,
        "exit_code": int(result.exit_code),
        "message": result.message,
        "remedy": result.remedy,
        "steps": [step(one) for one in result.steps],
        "measured": _measured(result.measured),
        "findings": [finding(one) for one in result.findings],
        "warnings": list(result.warnings),
    }


def _measured(known: Mapping[str, Any]) -> Document:
    """Return what was measured; by the tool's clock writes pause for as long as they are closed."""
    wanted = ("write_pause_ms", "read_pause_ms", "lost", "repeated", "late")
    return {
        **dict.fromkeys(wanted),
        "write_pause_ms": known.get("write_pause_ms", known.get("closed_ms")),
        **known,
    }


def status(snapshot: Snapshot, settings: Settings, found: Iterable[Finding]) -> Document:
    """Return the scope's health."""
    found = tuple(found)
    state = snapshot.view.state
    return {
        "schema": SCHEMA,
        "scope": snapshot.scope,
        "at_ms": snapshot.at_ms,
        "healthy": not degraded(found),
        "active": state.active if state else None,
        "epoch": state.epoch.counter if state else None,
        "phase": state.phase.value if state else None,
        "run": (state.run or None) if state else None,
        "clusters": {
            alias: _cluster(one, settings, state.active if state else "")
            for alias, one in snapshot.clusters.items()
        },
        "flows": [_flow(flow) for flow in snapshot.flows],
        "groups": groups(snapshot),
        "registered_on": registered_on(snapshot),
        "clients": clients(snapshot),
        "findings": [finding(one) for one in found],
    }


def _cluster(one: ClusterSnapshot, settings: Settings, active: str) -> Document:
    return {
        "role": role(one.alias, active),
        "reachable": one.reachable,
        "error": one.error or None,
        "bootstrap": settings.clusters[one.alias].bootstrap,
        "cluster_id": one.cluster_id or None,
        "topics": len(one.topics),
        "groups": len(one.groups),
        "missing_control": list(one.missing_control),
    }


def role(alias: str, active: str) -> str:
    """Return what the cluster is now."""
    if not active:
        return "unknown"
    return "active" if alias == active else "standby"


def _flow(flow: FlowSnapshot) -> Document:
    return {
        "source": flow.source,
        "target": flow.target,
        "heartbeat_age_ms": flow.heartbeat_age_ms,
        "lag_records": flow.lag_records,
        "lag": [
            {"topic": p.topic, "partition": p.number, "records": records}
            for p, records in sorted(flow.lag.items())
            if records
        ],
    }


def groups(snapshot: Snapshot) -> list[Document]:
    """Return the scope's groups on all clusters, by name."""
    names = sorted({name for cluster in snapshot.clusters.values() for name in cluster.groups})
    wrapped = {r.client.group for c in snapshot.clusters.values() for r in c.clients.values()}
    return [
        {
            "name": name,
            "wrapped": name in wrapped or _carries_token(snapshot, name),
            "clusters": {
                alias: _group(cluster.groups[name], cluster)
                for alias, cluster in snapshot.clusters.items()
                if name in cluster.groups
            },
        }
        for name in names
    ]


def _carries_token(snapshot: Snapshot, name: str) -> bool:
    return any(
        decode(commit.metadata).token
        for cluster in snapshot.clusters.values()
        if name in cluster.groups
        for commit in cluster.groups[name].commits.values()
    )


def _group(group: GroupInfo, cluster: ClusterSnapshot) -> Document:
    tokens = [t for c in group.commits.values() if (t := decode(c.metadata).token)]
    own = [token.epoch for token in tokens if token.cluster == cluster.alias]
    behind = sum(
        max(0, log.ends[p.number] - commit.offset)
        for p, commit in group.commits.items()
        if (log := cluster.topics.get(p.topic)) is not None and p.number < log.partitions
    )
    return {
        "state": group.state.lower(),
        "members": len(group.members),
        "commits": len(group.commits),
        "token_epoch": max(own, default=None),
        "behind": behind,
    }


def registered_on(snapshot: Snapshot) -> list[ClusterAlias]:
    """Return the clusters that say who is registered: the active one, else all that answer."""
    state = snapshot.view.state
    answer = [alias for alias, cluster in snapshot.clusters.items() if cluster.reachable]
    return [state.active] if state is not None and state.active in answer else answer


def clients(snapshot: Snapshot) -> list[Document]:
    """Return the registered clients, producers first; see `registered_on`."""
    state, newest = snapshot.view.state, dict[str, Registration]()
    for alias in registered_on(snapshot):
        for ident, found in snapshot.clusters[alias].clients.items():
            # consumers are registered where they read; elsewhere are those of another time
            old = found.client.role is Role.CONSUMER and found.expired(snapshot.at_ms)
            if old and state is not None and alias != state.active:
                continue
            if ident not in newest or newest[ident].renewed_ms < found.renewed_ms:
                newest[ident] = found
    known = newest.values()
    return [
        _client(registration, snapshot.at_ms)
        for registration in sorted(
            known, key=lambda r: (r.client.role != "producer", r.client.group, r.client.id)
        )
    ]


def _client(registration: Registration, now_ms: int) -> Document:
    client = registration.client
    return {
        "id": client.id,
        "role": client.role.value,
        "group": client.group or None,
        "topics": list(client.topics),
        "host": client.host,
        "pid": client.pid,
        "version": client.version,
        "digest": client.digest,
        "seen_epoch": client.seen.epoch,
        "seen_revision": client.seen.revision,
        "quiesced": client.quiesced,
        "renewed_ms_ago": max(0, now_ms - registration.renewed_ms),
        "expired": registration.expired(now_ms),
    }


def active(snapshot: Snapshot, settings: Settings) -> Document:
    """Return where applications should connect: address output for what is not wrapped."""
    state = snapshot.view.state
    alias = state.active if state else ""
    return {
        "schema": SCHEMA,
        "scope": snapshot.scope,
        "active": alias or None,
        "epoch": state.epoch.counter if state else None,
        "phase": state.phase.value if state else None,
        "bootstrap.servers": settings.clusters[alias].bootstrap
        if alias in settings.clusters
        else None,
    }


def config(settings: Settings) -> Document:
    """Return the settings as they are understood, without secrets."""
    return {
        "schema": SCHEMA,
        "file": settings.origin,
        "digest": settings.digest,
        "clusters": {a: redacted(cluster.client) for a, cluster in settings.clusters.items()},
        "retired": list(settings.retired),
        "flows": [f"{source}->{target}" for source, target in settings.flows],
        "replication": {"policy": settings.policy, "separator": settings.separator},
        "scopes": {
            name: {
                "topics": list(scope.topics),
                "groups": list(scope.groups),
                "ordering": scope.ordering,
            }
            for name, scope in settings.scopes.items()
        },
        "control": {
            "prefix": settings.control.prefix,
            "state_partitions": settings.control.state_partitions,
            "replication_factor": settings.control.replication_factor,
        },
    }


def preflight(
    scope: str, source: str, target: str, found: Iterable[Finding], ignored: Iterable[str]
) -> Document:
    """Return every check that said something, and whether a switch would be refused."""
    found, ignored = tuple(found), tuple(ignored)
    judged = verdict(found, ignored)
    return {
        "schema": SCHEMA,
        "scope": scope,
        "from": source or None,
        "to": target,
        "ok": judged.ok,
        "blocking": [one.id for one in judged.blocking],
        "ignored": sorted(set(ignored)),
        "findings": [finding(one) for one in found],
    }


def plan(made: Plan, known: Iterable[Document]) -> Document:
    """Return what a switch would do; the shape of a run, with nothing changed."""
    result = "planned"
    if made.unchanged:
        result = "unchanged"
    elif made.refusals and not made.only_loss:
        result = "refused"
    elif made.refusals or made.unaccepted is not None:
        result = "data-loss-not-accepted"
    return {
        "schema": SCHEMA,
        "run": None,
        "scope": made.scope,
        "from": made.source or None,
        "to": made.target,
        "epoch": made.epoch,
        "changed": False,
        "result": result,
        "message": unplanned.not_accepted(made.unaccepted) if made.unaccepted is not None else "",
        "steps": [step(one) for one in made.steps],
        "topics": dict(made.topics),
        "create": [
            {"cluster": c.alias, "topic": c.topic, "partitions": c.partitions}
            for c in made.creations
        ],
        "groups": list(known),
        "findings": [finding(one) for one in made.findings],
        "blocking": [one.id for one in made.refusals],
        "old_side_answers": made.outlook.answers if made.outlook else None,
        "estimate": _estimate(made.outlook) if made.outlook else None,
        "warnings": [],
    }


def _estimate(outlook: Outlook) -> Document:
    """Return what an unplanned switch may lose; None: nobody can say how many."""
    found = outlook.estimate
    return {
        "lost_at_most": found.records,
        "lost_at_most_source": found.source,
        "accepted": outlook.accepted,
    }


def history(scope: str, runs: Iterable[RunResult]) -> Document:
    """Return the journal's runs, newest first, without their steps."""
    short: list[Mapping[str, Any]] = [run(one) for one in runs]
    kept = ("run", "from", "to", "epoch", "changed", "result", "measured", "message")
    return {
        "schema": SCHEMA,
        "scope": scope,
        "runs": [{key: one[key] for key in kept} for one in short],
    }


def control_topics(settings: Settings) -> Document:
    """Return the topics that every cluster needs, for whoever must create them by hand."""
    return {
        "schema": SCHEMA,
        "clusters": list(settings.aliases),
        "replication_factor": settings.control.replication_factor,
        "topics": [
            {"name": name, "partitions": topic.partitions, "settings": dict(topic.settings)}
            for name, topic in needed_topics(settings.control).items()
        ],
    }
