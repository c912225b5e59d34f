"""Each finding appears exactly when it should: one healthy scope, and one change at a time."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from clientlib.protocol.clients import Client, Registration, Role, Seen
from clientlib.protocol.ledger import ClosedEpoch
from clientlib.protocol.state import Mark, State, View
from clientlib.protocol.token import Token, encode
from clientlib.protocol.types import Epoch, Partition
from clientlib.settings import Settings, parse
from failover.core import journal
from failover.core.findings import RULES, degraded, findings, verdict
from failover.core.machine import Run, RunPhase
from failover.core.result import Finding, Severity, SwitchRequest
from failover.core.snapshot import (
    ClusterSnapshot,
    Commit,
    FlowSnapshot,
    GroupInfo,
    Lead,
    Member,
    Oldest,
    Snapshot,
    TopicInfo,
)

NOW = 1_000_000_000
SETTINGS = parse(
    {
        "clusters": {
            "LEFT": {"bootstrap.servers": "left:9092"},
            "RIGHT": {"bootstrap.servers": "right:9092"},
        },
        "retired": ["OLD"],
        "scopes": {"default": {"topics": ["orders", ".*-changelog"]}},
    },
    environ={},
)
TO_RIGHT = SwitchRequest("default", "RIGHT")
FLOW = {"offset-syncs.topic.location": "target", "sync.group.offsets.enabled": "false"}


def topic(*ends: int, starts: tuple[int, ...] | None = None) -> TopicInfo:
    return TopicInfo(starts or (0,) * len(ends), ends, ends)


def client(ident: str, role: Role, *, at: int = 2, **changes: Any) -> Client:
    return Client(
        ident,
        role,
        "default",
        group="billing" if role is Role.CONSUMER else "",
        topics=("orders",),
        digest=SETTINGS.digest,
        seen=Seen(at, 1),
        **changes,
    )


def group(*owned: int, client_id: str = "c1", epoch: int = 2, on: str = "LEFT") -> GroupInfo:
    assigned = tuple(Partition("orders", number) for number in owned)
    token = encode(Token(epoch, on))
    return GroupInfo(
        "STABLE",
        (Member("m1", client_id, "/10.0.0.1", assigned),),
        {Partition("orders", number): Commit(90, token) for number in owned},
    )


def healthy() -> Snapshot:
    """LEFT was active first, then RIGHT for a while (epoch 1), LEFT is active in epoch 2."""
    clients = {
        c.id: Registration(c, NOW - 1000)
        for c in (client("p1", Role.PRODUCER), client("c1", Role.CONSUMER))
    }
    epochs = (Epoch(1, "RIGHT"), Epoch(2, "LEFT"))
    state = State("default", epochs, 1, clusters={"LEFT": "id-left", "RIGHT": "id-right"})
    ends = {"RIGHT": {0: 40, 1: 50}, "LEFT": {0: 40, 1: 50}}
    view = View(state, {"orders": {1: ClosedEpoch(epochs[0], ends)}})
    left = ClusterSnapshot(
        "LEFT",
        reachable=True,
        cluster_id="id-left",
        topics={"orders": topic(100, 100), "RIGHT.orders": topic(40, 50)},
        groups={"billing": group(0, 1)},
        view=view,
        clients=clients,
        operations=frozenset({"DESCRIBE"}),
    )
    right = ClusterSnapshot(
        "RIGHT",
        reachable=True,
        cluster_id="id-right",
        topics={"orders": topic(40, 50), "LEFT.orders": topic(100, 100)},
        groups={"billing": replace(group(0, 1), commits={})},
        view=view,
        operations=frozenset({"DESCRIBE"}),
    )
    flows = (
        FlowSnapshot("LEFT", "RIGHT", 900, settings=FLOW),
        FlowSnapshot("RIGHT", "LEFT", 900, settings=FLOW),
    )
    return Snapshot("default", NOW, {"LEFT": left, "RIGHT": right}, flows, view)


Change = Callable[[Snapshot], Snapshot]


def given_up(late: dict[str, dict[int, tuple[tuple[int, int], ...]]] | None = None) -> Change:
    """RIGHT was lost in epoch 1; without ``late`` nobody has compared it with the ledger yet."""

    def change(snapshot: Snapshot) -> Snapshot:
        state = snapshot.view.state
        assert state is not None
        ends = {"LEFT": {0: 40, 1: 50}}
        if late is not None:
            ends["RIGHT"] = {0: 40, 1: 50}
        row = ClosedEpoch(state.epochs[0], ends, late=late or {})
        view = View(replace(state, unplanned=(2,)), {"orders": {1: row}})
        clusters = {alias: replace(c, view=view) for alias, c in snapshot.clusters.items()}
        clusters["RIGHT"] = replace(
            clusters["RIGHT"], topics={**clusters["RIGHT"].topics, "orders": topic(47, 50)}
        )
        return replace(snapshot, clusters=clusters, view=view)

    return change


def on(alias: str, **changes: Any) -> Change:
    """Change one cluster."""

    def apply(snapshot: Snapshot) -> Snapshot:
        cluster = replace(snapshot.clusters[alias], **changes)
        return replace(snapshot, clusters={**snapshot.clusters, alias: cluster})

    return apply


def state(**changes: Any) -> Change:
    """Change the scope's state."""

    def apply(snapshot: Snapshot) -> Snapshot:
        assert snapshot.view.state is not None
        return replace(
            snapshot, view=replace(snapshot.view, state=replace(snapshot.view.state, **changes))
        )

    return apply


def first_epoch(snapshot: Snapshot) -> Snapshot:
    """RIGHT has never been active."""
    living = on("LEFT", clients={})(snapshot)
    old = view(ledger={})(state(epochs=(Epoch(1, "LEFT"),))(living))
    return registered(
        *(client(c, r, at=1) for c, r in (("p1", Role.PRODUCER), ("c1", Role.CONSUMER)))
    )(old)


def view(**changes: Any) -> Change:
    return lambda snapshot: replace(snapshot, view=replace(snapshot.view, **changes))


def flow(index: int, **changes: Any) -> Change:
    """Change one flow: 0 is LEFT->RIGHT, 1 is RIGHT->LEFT."""

    def apply(snapshot: Snapshot) -> Snapshot:
        flows = list(snapshot.flows)
        flows[index] = replace(flows[index], **changes)
        return replace(snapshot, flows=tuple(flows))

    return apply


def topics(alias: str, **changes: TopicInfo | None) -> Change:
    """Change topics of a cluster; ``__`` stands for a dot and None removes."""

    def apply(snapshot: Snapshot) -> Snapshot:
        known = dict(snapshot.clusters[alias].topics)
        for name, info in changes.items():
            known.pop(name.replace("__", "."), None)
            if info is not None:
                known[name.replace("__", ".")] = info
        return on(alias, topics=known)(snapshot)

    return apply


def groups(alias: str, **changes: GroupInfo) -> Change:
    return lambda s: on(alias, groups={**s.clusters[alias].groups, **changes})(s)


def registered(*extra: Client, age_ms: int = 1000) -> Change:
    def apply(snapshot: Snapshot) -> Snapshot:
        more = {c.id: Registration(c, NOW - age_ms) for c in extra}
        return on("LEFT", clients={**snapshot.clusters["LEFT"].clients, **more})(snapshot)

    return apply


def run(phase: RunPhase = RunPhase.COPYING, ident: str = "r1") -> Change:
    def apply(snapshot: Snapshot) -> Snapshot:
        assert snapshot.view.state is not None
        request = replace(TO_RIGHT, run=ident)
        entry = journal.encode(Run(ident, request, snapshot.view.state, phase=phase))
        return view(journal={ident: {1: entry}})(snapshot)

    return apply


def fresh(snapshot: Snapshot) -> Snapshot:
    """The topic is so new that no epoch has held records of it."""
    return view(ledger={})(snapshot)


def retired(read: bool) -> Change:
    """OLD was active first; its copy is on LEFT alone, and the group has read it or not."""

    def change(snapshot: Snapshot) -> Snapshot:
        epochs = (Epoch(1, "OLD"), Epoch(2, "LEFT"))
        row = ClosedEpoch(epochs[0], {"LEFT": {0: 40, 1: 50}})
        snapshot = view(ledger={"orders": {1: row}})(state(epochs=epochs, unplanned=(2,))(snapshot))
        copy = {"OLD__orders": topic(40, 50), "RIGHT__orders": topic(0, 0)}
        snapshot = topics("LEFT", **copy)(topics("RIGHT", orders=topic(0, 0))(snapshot))
        billing = snapshot.clusters["LEFT"].groups["billing"]
        token = encode(Token(2, "LEFT"))
        more = {Partition("OLD.orders", n): Commit(end, token) for n, end in ((0, 40), (1, 50))}
        commits = {**billing.commits, **(more if read else {})}
        return groups("LEFT", billing=replace(billing, commits=commits))(snapshot)

    return change


def held_from(**oldest: Oldest) -> Change:
    """Let the target hold a log from there on; ``__`` stands for a dot. Partition 0."""
    known = {Partition(name.replace("__", "."), 0): one for name, one in oldest.items()}
    return lambda snapshot: replace(snapshot, oldest=known)


ORDERS = Partition("orders", 0)
GIVE_UP = replace(TO_RIGHT, emergency=True)


def third(lead: Lead, *, gone: bool = True) -> Change:
    """LEFT does not answer; a third cluster's copies compare like this with RIGHT's."""

    def change(snapshot: Snapshot) -> Snapshot:
        if gone:
            empty = ClusterSnapshot("LEFT", reachable=False, error="refused")
            snapshot = replace(snapshot, clusters={**snapshot.clusters, "LEFT": empty})
        return replace(snapshot, leads={"THIRD": lead})

    return change


def group_read_all(snapshot: Snapshot) -> Snapshot:
    """The group has finished epoch 1."""
    known = snapshot.clusters["LEFT"].groups["billing"]
    token = encode(Token(2, "LEFT"))
    more = {Partition("RIGHT.orders", n): Commit(end, token) for n, end in ((0, 40), (1, 50))}
    return groups("LEFT", billing=replace(known, commits={**known.commits, **more}))(snapshot)


def stands_elsewhere(snapshot: Snapshot) -> Snapshot:
    """The group's newest position is on RIGHT."""
    moved = replace(group(0, 1), commits=group(0, 1, epoch=3, on="RIGHT").commits)
    return groups("RIGHT", billing=moved)(held_from(orders=Oldest(95))(snapshot))


PLAIN = GroupInfo("EMPTY", (), {Partition("orders", 0): Commit(3)})
OUTSIDE = GroupInfo("EMPTY", (), {Partition("payments", 0): Commit(3)})
BEHIND = client("c2", Role.CONSUMER)

# name, change, request, expected findings as id:severity
TABLE: list[tuple[str, Change, SwitchRequest | None, set[str]]] = [
    ("healthy, a look", lambda s: s, None, set()),
    ("healthy, a switch", lambda s: s, TO_RIGHT, set()),
    ("no state", view(state=None), None, {"not-initialised:block"}),
    ("new alias", state(clusters={"LEFT": "id-left"}), TO_RIGHT, {"not-initialised:block"}),
    ("other cluster", on("RIGHT", cluster_id="other"), TO_RIGHT, {"wrong-cluster:block"}),
    (
        "target down",
        on("RIGHT", reachable=False, error="refused", topics={}, groups={}),
        TO_RIGHT,
        {"cluster-unreachable:block"},
    ),
    (
        "control topic gone",
        on("RIGHT", missing_control=("failover-state.internal",)),
        TO_RIGHT,
        {"control-topic-missing:block"},
    ),
    ("no describe", on("LEFT", operations=frozenset()), None, {"permission-missing:block"}),
    ("all operations", on("LEFT", operations=frozenset({"ALL"})), None, set()),
    ("broker did not say", on("LEFT", operations=None), None, set()),
    ("groups refused", on("LEFT", error="denied"), None, {"permission-missing:block"}),
    (
        "other active",
        lambda s: s,
        replace(TO_RIGHT, expect_active="RIGHT"),
        {"active-mismatch:block"},
    ),
    ("as expected", lambda s: s, replace(TO_RIGHT, expect_active="LEFT"), set()),
    (
        "a cluster that came back and does not know what happened since",
        registered(client("c9", Role.CONSUMER, at=3)),
        replace(TO_RIGHT, emergency=True),
        {"epoch-unknown:block"},
    ),
    (
        "skip nobody",
        lambda s: s,
        replace(TO_RIGHT, skip_clients=("px",)),
        {"client-unknown:block"},
    ),
    ("run left, a switch", run(), TO_RIGHT, {"run-unfinished:warn"}),
    ("run left, a look", run(), None, {"run-unfinished:block"}),
    ("own run", run(), replace(TO_RIGHT, run="r1"), set()),
    ("run done", run(RunPhase.DONE), None, set()),
    ("target begins where it was read", held_from(orders=Oldest(90)), TO_RIGHT, set()),
    (
        "target lacks unread records",
        held_from(orders=Oldest(91)),
        TO_RIGHT,
        {"segment-missing:block"},
    ),
    ("target lacks unread records, a look", held_from(orders=Oldest(91)), None, set()),
    (
        "target lacks unread records of an older epoch",
        held_from(RIGHT__orders=Oldest(39, exact=False)),
        TO_RIGHT,
        {"segment-missing:block"},
    ),
    (
        "target lacks what is behind the end of an epoch",
        lambda s: topics("LEFT", RIGHT__orders=topic(60, 50))(
            group_read_all(held_from(RIGHT__orders=Oldest(60))(s))
        ),
        TO_RIGHT,
        set(),
    ),
    (
        "nobody can compare",
        held_from(orders=Oldest(None, why="no record in common")),
        TO_RIGHT,
        {"segment-unsure:warn"},
    ),
    ("survivor is longer", third(Lead({ORDERS: 5})), GIVE_UP, {"longer-copy:block"}),
    (
        "survivor is longer, a planned switch",
        third(Lead({ORDERS: 5}), gone=False),
        TO_RIGHT,
        set(),
    ),
    (
        "survivor is longer, loss accepted",
        third(Lead({ORDERS: 5})),
        replace(GIVE_UP, allow_data_loss=True),
        {"longer-copy:warn"},
    ),
    (
        "survivor is longer, the estimate decides",
        third(Lead({ORDERS: 5})),
        replace(GIVE_UP, max_lost=5),
        {"longer-copy:warn"},
    ),
    ("survivor is shorter", third(Lead(behind={ORDERS: 5})), GIVE_UP, set()),
    (
        "survivor cannot be compared",
        third(Lead(unsure={ORDERS: "no record in common"})),
        GIVE_UP,
        {"copies-unsure:warn"},
    ),
    ("group stands elsewhere", stands_elsewhere, TO_RIGHT, set()),
    ("mark", view(mark=Mark("r1", "host-1", 3)), None, {"run-locked:info"}),
    ("own mark", view(mark=Mark("r1", "host-1", 3)), replace(TO_RIGHT, run="r1"), set()),
    ("no heartbeat", flow(0, heartbeat_age_ms=None), TO_RIGHT, {"flow-silent:block"}),
    ("old heartbeat", flow(0, heartbeat_age_ms=10_001), TO_RIGHT, {"flow-silent:block"}),
    ("heartbeat at the limit", flow(0, heartbeat_age_ms=10_000), TO_RIGHT, set()),
    ("way back silent, switch", flow(1, heartbeat_age_ms=None), TO_RIGHT, {"flow-silent:warn"}),
    ("way back silent, look", flow(1, heartbeat_age_ms=None), None, {"flow-silent:block"}),
    ("lag at limit", flow(0, lag={Partition("orders", 0): 10_000}), TO_RIGHT, set()),
    (
        "lag",
        flow(0, lag={Partition("orders", 0): 10_001}),
        TO_RIGHT,
        {"replication-lag-high:warn"},
    ),
    ("lag of the way back", flow(1, lag={Partition("orders", 0): 10_001}), TO_RIGHT, set()),
    (
        "identity",
        flow(0, settings={**FLOW, "replication.policy.class": "a.b.IdentityReplicationPolicy"}),
        TO_RIGHT,
        {"identity-policy:block"},
    ),
    (
        "separator",
        flow(0, settings={**FLOW, "replication.policy.separator": "_"}),
        TO_RIGHT,
        {"identity-policy:block"},
    ),
    ("settings unreadable", flow(0, settings={}), TO_RIGHT, set()),
    (
        "group sync",
        flow(0, settings={**FLOW, "sync.group.offsets.enabled": "true"}),
        TO_RIGHT,
        {"group-sync-on:warn"},
    ),
    (
        "syncs at the source",
        flow(0, settings={"topics": ".*"}),
        TO_RIGHT,
        {"offset-syncs-at-source:info"},
    ),
    (
        "in flight",
        flow(0, settings={**FLOW, "producer.override.max.in.flight.requests.per.connection": "5"}),
        TO_RIGHT,
        {"mm2-inflight-settings:warn"},
    ),
    (
        "transactions, uncommitted",
        registered(client("tx", Role.PRODUCER, transactional=True)),
        TO_RIGHT,
        {"mm2-reads-uncommitted:block", "mm2-reads-uncommitted:warn"},
    ),
    (
        "transactions, uncommitted, unplanned",
        registered(client("tx", Role.PRODUCER, transactional=True)),
        replace(TO_RIGHT, emergency=True),
        {"mm2-reads-uncommitted:warn"},
    ),
    (
        "transactions, committed there, unknown back",
        lambda s: flow(1, settings={})(
            flow(0, settings={**FLOW, "source.consumer.isolation.level": "read_committed"})(
                registered(client("tx", Role.PRODUCER, transactional=True))(s)
            )
        ),
        TO_RIGHT,
        {"mm2-reads-uncommitted:warn"},
    ),
    (
        "in flight, idempotent",
        flow(
            0,
            settings={
                **FLOW,
                "producer.max.in.flight.requests.per.connection": "5",
                "producer.enable.idempotence": "true",
            },
        ),
        TO_RIGHT,
        set(),
    ),
    (
        "narrow copy",
        topics("RIGHT", LEFT__orders=topic(100)),
        TO_RIGHT,
        {"partition-count-differs:warn"},
    ),
    (
        "wide copy",
        topics("RIGHT", LEFT__orders=topic(100, 100, 0)),
        TO_RIGHT,
        {"partition-count-differs:block"},
    ),
    (
        "narrow topic with records",
        topics("RIGHT", orders=topic(40)),
        TO_RIGHT,
        {"partition-count-differs:block"},
    ),
    (
        "narrow topic without records, owned as far as it goes",
        lambda s: topics("RIGHT", orders=topic(0))(first_epoch(s)),
        TO_RIGHT,
        {"partition-count-differs:warn"},
    ),
    ("copy not made yet", topics("RIGHT", LEFT__orders=None), TO_RIGHT, set()),
    (
        "never active, not empty",
        lambda s: topics("RIGHT", orders=topic(41, 50))(first_epoch(s)),
        TO_RIGHT,
        {"standby-not-empty:block"},
    ),
    ("late", topics("RIGHT", orders=topic(41, 50)), TO_RIGHT, {"late-records:warn"}),
    ("came back", given_up(), TO_RIGHT, {"cluster-returned:warn"}),
    ("came back, and nobody asked", given_up(), None, {"cluster-returned:block"}),
    (
        "came back with a tail",
        given_up(late={"RIGHT": {0: ((40, 47),)}}),
        TO_RIGHT,
        {"late-records-pending:warn"},
    ),
    ("retired, read", retired(read=True), TO_RIGHT, set()),
    ("retired, not read", retired(read=False), TO_RIGHT, {"retired-unread:block"}),
    ("recreated", topics("RIGHT", orders=topic(0, 0)), TO_RIGHT, {"diverged:block"}),
    ("gone", topics("RIGHT", orders=None), TO_RIGHT, {"diverged:block", "topic-missing:warn"}),
    (
        "came back empty",
        lambda s: topics("RIGHT", orders=None)(given_up()(s)),
        TO_RIGHT,
        {"diverged:block", "cluster-returned:warn", "topic-missing:warn"},
    ),
    ("copy recreated", topics("LEFT", RIGHT__orders=topic(39, 50)), None, {"diverged:block"}),
    (
        "streams",
        topics("LEFT", **{"app-store-changelog": topic(1, 1)}),
        TO_RIGHT,
        {"streams-internal-topics:warn", "topic-missing:info"},
    ),
    (
        "rebalancing there",
        groups("RIGHT", billing=replace(group(0), state="PREPARING_REBALANCE")),
        TO_RIGHT,
        {"group-not-stable:block"},
    ),
    ("absent there", on("RIGHT", groups={}), TO_RIGHT, {"group-not-stable:block"}),
    (
        "absent where its topic is missing",
        lambda s: fresh(topics("RIGHT", orders=None)(on("RIGHT", groups={})(s))),
        TO_RIGHT,
        {"topic-missing:warn"},
    ),
    (
        "missing, nobody subscribes",
        lambda s: fresh(topics("RIGHT", orders=None)(on("LEFT", clients={})(s))),
        TO_RIGHT,
        {"topic-missing:info"},
    ),
    (
        "unowned there",
        groups("RIGHT", billing=group(0)),
        TO_RIGHT,
        {"partition-not-owned-on-target:block"},
    ),
    (
        "unowned here",
        groups("LEFT", billing=group(1)),
        TO_RIGHT,
        {"partition-not-owned-on-source:block"},
    ),
    (
        "not moved",
        lambda s: groups("RIGHT", billing=group(0, 1, epoch=1, on="RIGHT"))(
            groups("LEFT", billing=replace(group(0, 1), commits={}))(s)
        ),
        TO_RIGHT,
        {"group-not-moved:warn"},
    ),
    (
        "a copy of another cluster's token",
        groups("LEFT", billing=group(0, 1, epoch=2, on="RIGHT")),
        TO_RIGHT,
        {"group-not-moved:warn"},
    ),
    (
        "stranger",
        groups("LEFT", billing=group(0, 1, client_id="rdkafka")),
        TO_RIGHT,
        {"group-partly-wrapped:block"},
    ),
    ("plain group", groups("LEFT", other=PLAIN), TO_RIGHT, {"group-not-wrapped:warn"}),
    ("plain group elsewhere", groups("LEFT", other=OUTSIDE), TO_RIGHT, set()),
    ("stopped, wrapped", groups("LEFT", other=replace(group(0), members=())), TO_RIGHT, set()),
    (
        "drift",
        registered(replace(client("p2", Role.PRODUCER), digest="other")),
        TO_RIGHT,
        {"config-drift:warn"},
    ),
    (
        "client behind",
        registered(replace(client("p2", Role.PRODUCER), seen=Seen(1, 9))),
        TO_RIGHT,
        {"client-behind:warn"},
    ),
    (
        "client behind, skipped",
        registered(replace(client("p2", Role.PRODUCER), seen=Seen(1, 9))),
        replace(TO_RIGHT, skip_clients=("p2",)),
        set(),
    ),
    (
        "away from the target",
        registered(client("c2", Role.CONSUMER, away=("RIGHT",))),
        TO_RIGHT,
        {"member-away:block"},
    ),
    (
        "a producer away from the target",
        registered(client("p2", Role.PRODUCER, away=("RIGHT",))),
        TO_RIGHT,
        {"producer-away:block"},
    ),
    ("away from here", registered(client("c2", Role.CONSUMER, away=("LEFT",))), TO_RIGHT, set()),
    (
        "was away from the target",
        registered(client("c2", Role.CONSUMER, away=("RIGHT",)), age_ms=10_001),
        TO_RIGHT,
        {"client-expired:warn"},
    ),
    (
        "expired",
        registered(client("p2", Role.PRODUCER), age_ms=10_001),
        TO_RIGHT,
        {"client-expired:warn"},
    ),
    ("about to expire", registered(client("p2", Role.PRODUCER), age_ms=10_000), TO_RIGHT, set()),
    ("gone for long", registered(client("p2", Role.PRODUCER), age_ms=3_600_000), TO_RIGHT, set()),
]


@pytest.mark.parametrize(
    ("change", "request_", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_finding_appears_exactly_when_it_should(
    change: Change, request_: SwitchRequest | None, expected: set[str]
) -> None:
    found = findings(change(healthy()), SETTINGS, request_)
    assert {f"{one.id}:{one.severity}" for one in found} == expected


def with_flows(*flows: str) -> Settings:
    pairs = tuple((a, b) for a, _, b in (flow.partition("->") for flow in flows))
    return replace(SETTINGS, flows=pairs)


@pytest.mark.parametrize(
    ("flows", "expected"),
    [
        (("LEFT->RIGHT", "RIGHT->LEFT"), set()),
        (("LEFT->RIGHT",), {"flow RIGHT->LEFT:warn"}),
        (("RIGHT->LEFT",), {"flow LEFT->RIGHT:block"}),
    ],
)
def test_flow_missing(flows: tuple[str, ...], expected: set[str]) -> None:
    found = findings(healthy(), with_flows(*flows), TO_RIGHT)
    assert {f"{f.subject}:{f.severity}" for f in found if f.id == "flow-missing"} == expected


def test_unreachable_third_cluster_only_warns() -> None:
    third = ClusterSnapshot("THIRD", reachable=False, error="refused")
    snapshot = healthy()
    snapshot = replace(snapshot, clusters={**snapshot.clusters, "THIRD": third})
    cluster = replace(SETTINGS.clusters["LEFT"], alias="THIRD")
    settings = replace(SETTINGS, clusters={**SETTINGS.clusters, "THIRD": cluster})
    found = {one.id: one.severity for one in findings(snapshot, settings, TO_RIGHT)}
    assert found["cluster-unreachable"] is Severity.WARN


def test_every_rule_is_shown_by_the_table() -> None:
    shown = {entry.partition(":")[0] for row in TABLE for entry in row[3]} | {"flow-missing"}
    names = {rule.__name__.replace("_", "-") for rule in RULES}
    split = {
        "partition-not-owned": "partition-not-owned-on-target",
        "late-records-known": "late-records-pending",
    }
    assert {split.get(name, name) for name in names} <= shown


def test_every_rule_and_finding_explains_itself() -> None:
    assert all(rule.__doc__ for rule in RULES)
    for _, change, request_, _ in TABLE:
        for one in findings(change(healthy()), SETTINGS, request_):
            assert all((one.subject, one.what, one.reason, one.remedy)), one


BLOCKING = Finding("flow-silent", Severity.BLOCK, "s", "w", "r", "d")
WARNING = replace(BLOCKING, id="group-sync-on", severity=Severity.WARN)
FACT = replace(BLOCKING, id="cluster-unreachable")


@pytest.mark.parametrize(
    ("found", "ignore", "ok"),
    [
        ((), (), True),
        ((WARNING,), (), True),
        ((BLOCKING, WARNING), (), False),
        ((BLOCKING, WARNING), ("flow-silent",), True),
        ((FACT,), ("cluster-unreachable",), False),
    ],
)
def test_verdict(found: tuple[Finding, ...], ignore: tuple[str, ...], ok: bool) -> None:
    assert verdict(found, ignore).ok is ok
    assert degraded(found) is any(one.severity is Severity.BLOCK for one in found)


def test_blocking_findings_come_first() -> None:
    snapshot = flow(0, heartbeat_age_ms=None)(groups("LEFT", other=PLAIN)(healthy()))
    order = [one.severity for one in findings(snapshot, SETTINGS, TO_RIGHT)]
    assert order == sorted(order, key=["block", "warn", "info"].index)
    assert len(order) == 2
