"""Rules on the control plane: clusters, state, permissions, other runs."""

from collections.abc import Iterable, Iterator

from clientlib.protocol.clients import Client, Registration
from failover.core.journal import unfinished
from failover.core.result import Finding, Severity
from failover.core.rules.case import Case, Rule, listed


def not_initialised(case: Case) -> Iterator[Finding]:
    """No first epoch has been written, or a cluster was added after it."""
    if not case.snapshot.reachable:
        return
    if case.state is None:
        yield Finding(
            "not-initialised",
            Severity.BLOCK,
            f"scope {case.snapshot.scope}",
            "nobody has said which cluster is active",
            "no cluster holds a state of this scope: its clients wait and write nothing",
            f"failover init --active {next(iter(case.snapshot.clusters))}",
        )
        return
    for alias in case.snapshot.clusters:
        if case.state.clusters and alias not in case.state.clusters:
            yield Finding(
                "not-initialised",
                Severity.BLOCK,
                f"cluster {alias}",
                "the cluster was added after the scope was initialised",
                "its Kafka cluster id is not recorded, so it could be mistaken for another one",
                f"failover init --active {case.active}",
            )


def control_topic_missing(case: Case) -> Iterator[Finding]:
    """A cluster has lost, or never had, its control topics."""
    if case.state is None:
        return
    for alias, cluster in case.snapshot.clusters.items():
        if cluster.reachable and cluster.missing_control:
            yield Finding(
                "control-topic-missing",
                Severity.BLOCK,
                f"cluster {alias}",
                f"missing: {', '.join(cluster.missing_control)}",
                "clients learn from these topics where to write, and a switch is recorded in them",
                f"failover init --active {case.active}",
            )


def wrong_cluster(case: Case) -> Iterator[Finding]:
    """The address leads to another cluster than the one that was initialised."""
    known = case.state.clusters if case.state else {}
    for alias, cluster in case.snapshot.clusters.items():
        if cluster.reachable and known.get(alias, cluster.cluster_id) != cluster.cluster_id:
            yield Finding(
                "wrong-cluster",
                Severity.BLOCK,
                f"cluster {alias}",
                f"Kafka's cluster id is {cluster.cluster_id}, recorded was {known[alias]}",
                "offsets of the ledger mean nothing on another cluster",
                f"correct bootstrap.servers of {alias}; a rebuilt cluster needs a new alias",
            )


def cluster_unreachable(case: Case) -> Iterator[Finding]:
    """A cluster does not answer; one that the switch does not need is only a warning."""
    needed = (case.active, *case.targets)
    for alias, cluster in case.snapshot.clusters.items():
        if not cluster.reachable:
            yield Finding(
                "cluster-unreachable",
                Severity.BLOCK if alias in needed or not case.active else Severity.WARN,
                f"cluster {alias}",
                cluster.error.removeprefix(f"cluster {alias} ") or "no answer",
                "a planned switch needs the active cluster and the target"
                if alias in needed
                else "it learns of the switch when it is back",
                _instead(case, alias),
            )


def _instead(case: Case, alias: str) -> str:
    """Return what to do about a cluster that does not answer."""
    if alias == case.active:
        to = next(iter(case.targets), "ALIAS")
        return f"start its brokers; if {alias} is gone: failover switch --to {to} --emergency"
    return f"start the brokers of {alias}, or correct its bootstrap.servers"


def permission_missing(case: Case) -> Iterator[Finding]:
    """Without DESCRIBE on the cluster Kafka's lists come back empty instead of refused."""
    for alias, cluster in case.snapshot.clusters.items():
        if not cluster.reachable:
            continue
        operations = cluster.operations
        if operations is not None and not operations & {"DESCRIBE", "ALL"}:
            what = "we are not allowed to DESCRIBE the cluster"
        elif cluster.error:
            what = cluster.error
        else:
            continue
        yield Finding(
            "permission-missing",
            Severity.BLOCK,
            f"cluster {alias}",
            what,
            "lists of groups and topics come back empty or in part, so nothing can be concluded",
            "grant DESCRIBE on the cluster, its topics and groups to the orchestrator's principal",
        )


def active_mismatch(case: Case) -> Iterator[Finding]:
    """The operator expected another cluster to be active."""
    expected = case.request.expect_active if case.request else ""
    if expected and case.active and expected != case.active:
        yield Finding(
            "active-mismatch",
            Severity.BLOCK,
            f"scope {case.snapshot.scope}",
            f"{case.active} is active, expected was {expected}",
            "somebody switched since the request was prepared",
            "look at `failover history`, then ask again",
        )


def epoch_unknown(case: Case) -> Iterator[Finding]:
    """Clients follow an epoch that no cluster in reach knows: its cluster came back and is gone."""
    if case.state is None:
        return
    for cluster in case.snapshot.clusters.values():
        ahead = newest_seen(cluster.clients.values())
        if cluster.reachable and ahead is not None and ahead.seen.epoch > case.state.epoch.counter:
            yield unknown_epoch(case.snapshot.scope, ahead, case.state.epoch.counter)


def newest_seen(registrations: Iterable[Registration]) -> Client | None:
    """Return the client that has seen the newest epoch."""
    clients = (registration.client for registration in registrations)
    return max(clients, key=lambda client: client.seen.epoch, default=None)


def unknown_epoch(scope: str, client: Client, known: int) -> Finding:
    """Return the finding of a client that is ahead of every state in reach."""
    return Finding(
        "epoch-unknown",
        Severity.BLOCK,
        f"scope {scope}",
        f"client {client.id} follows epoch {client.seen.epoch}, no cluster in reach knows more "
        f"than epoch {known}",
        "the cluster that opened it is gone, and this one was not brought up to date before",
        "start that cluster again, then `failover rejoin` this one",
    )


def run_unfinished(case: Case) -> Iterator[Finding]:
    """An older run ended without a result; a new switch deals with it first."""
    run = unfinished(case.snapshot.view, case.snapshot.scope)
    if run is None or (case.request and case.request.run == run.id):
        return
    yield Finding(
        "run-unfinished",
        case.severity(Severity.WARN),
        f"run {run.id}",
        f"stopped while {run.phase.value}, on its way to {run.request.to}",
        "with its intent written it can only be completed, else it is undone",
        "failover resume" if run.intent else "failover resume, or failover abort",
    )


def run_locked(case: Case) -> Iterator[Finding]:
    """A run's mark stands: it is at work, or it died without removing it."""
    mark = case.snapshot.view.mark
    if mark is None or (case.request and case.request.run == mark.run):
        return
    yield Finding(
        "run-locked",
        Severity.INFO,
        f"run {mark.run}",
        f"{mark.owner} holds the scope (beat {mark.beat})",
        "a living run renews its mark every second; a second run is refused with exit code 6",
        "wait for it; the mark of a dead run is taken over after 3 s",
    )


def client_unknown(case: Case) -> Iterator[Finding]:
    """``--skip-client`` names nobody."""
    cluster = case.snapshot.clusters.get(case.active)
    if case.request is None or cluster is None or not cluster.reachable:
        return
    for ident in case.request.skip_clients:
        if ident not in cluster.clients:
            yield Finding(
                "client-unknown",
                Severity.BLOCK,
                f"client {ident}",
                "no such client is registered",
                f"registered: {listed(sorted(cluster.clients)) or 'none'}",
                "take an id from `failover clients`",
            )


RULES: tuple[Rule, ...] = (
    cluster_unreachable,
    not_initialised,
    wrong_cluster,
    control_topic_missing,
    permission_missing,
    active_mismatch,
    epoch_unknown,
    client_unknown,
    run_unfinished,
    run_locked,
)
