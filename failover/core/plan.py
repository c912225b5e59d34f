"""From a snapshot and a request to a plan: what would be done, in order, and what to know before.

A plan changes nothing and promises nothing: the run looks again at every step.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from clientlib.protocol.naming import Naming
from clientlib.protocol.state import State
from clientlib.protocol.types import ClusterAlias
from clientlib.settings import Scope
from failover.core import stranded
from failover.core.estimate import NOWHERE, Elsewhere, Estimate, Outlook
from failover.core.findings import verdict
from failover.core.leads import elsewhere
from failover.core.result import Finding, StepRecord, SwitchRequest
from failover.core.snapshot import Snapshot
from failover.core.steps import DECLARATION, steps_of

_AWAY = frozenset({"member-away", "producer-away"})
_AWAY_S = 75.0
"""Longer than a session that has ended on the other side (45 s by default), and joining again."""

PASSING = frozenset(
    {
        "client-behind",
        "group-not-moved",
        "group-not-stable",
        "partition-not-owned-on-source",
        "partition-not-owned-on-target",
        *_AWAY,
    }
)
"""Findings that pass by themselves: a rebalance, a handover, a standby that is about to join."""

LONGER_COPY = "longer-copy"
"""The finding that goes with loss: another cluster has more than the target."""

Listing = Mapping[ClusterAlias, Mapping[str, int]]
"""Partition counts by cluster and topic."""


@dataclass(frozen=True, slots=True)
class Creation:
    """A topic to create or to grow, with the settings of ``like`` on ``like_alias``."""

    alias: ClusterAlias
    topic: str
    partitions: int
    like_alias: ClusterAlias
    like: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a switch would do. ``unchanged``: the target is active already, nothing to do.

    ``refusals`` are the findings that stop it; ``epoch`` is the counter it would open. ``outlook``:
    of an unplanned switch, whether the old side answers and what may be lost; ``others``: what
    other surviving clusters hold that the target lacks. ``declares``: the target is active
    already, and the cluster before it is given up after the fact. ``heard_ms``: when the source's
    last heartbeat was copied to the target, 0 if none ever was.
    """

    scope: str
    source: ClusterAlias
    target: ClusterAlias
    epoch: int
    unchanged: bool
    steps: tuple[StepRecord, ...]
    topics: Mapping[str, int]
    creations: tuple[Creation, ...]
    findings: tuple[Finding, ...]
    ignored: tuple[str, ...] = ()
    outlook: Outlook | None = None
    others: Elsewhere = NOWHERE
    declares: bool = False
    heard_ms: int = 0

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """Findings that block and were not ignored."""
        return verdict(self.findings, self.ignored).blocking

    @property
    def unaccepted(self) -> Estimate | None:
        """What may be lost, if the operator has to accept it first."""
        if self.unchanged or self.outlook is None or self.outlook.accepted:
            return None
        return self.outlook.estimate

    @property
    def only_loss(self) -> bool:
        """Whether nothing stands in the way but records that may be lost."""
        return {finding.id for finding in self.refusals} == {LONGER_COPY}

    def patience_s(self, timeout_s: float) -> float:
        """Return how long to wait for what passes; nothing is closed meanwhile."""
        away = any(finding.id in _AWAY for finding in self.refusals)
        return max(timeout_s, _AWAY_S) if away else timeout_s

    @property
    def lasting(self) -> tuple[Finding, ...]:
        """Refusals that waiting does not remove; a switch waits for the others to pass."""
        return tuple(finding for finding in self.refusals if finding.id not in PASSING)


def logical_topics(
    listed: Listing, scope: Scope, naming: Naming, active: ClusterAlias
) -> dict[str, int]:
    """Return the scope's logical topics with the partition count that every log of it gets.

    The count is that of the active cluster's own topic, else the largest that any log has.
    """
    counts: dict[str, int] = {}
    for alias, topics in listed.items():
        for name, partitions in topics.items():
            origin = naming.origin_of(name, alias)
            if origin is not None and scope.has_topic(origin[1]):
                counts[origin[1]] = max(counts.get(origin[1], 0), partitions)
    own = listed.get(active, {})
    return {topic: own.get(topic, count) for topic, count in sorted(counts.items())}


def creations(
    listed: Listing,
    topics: Mapping[str, int],
    naming: Naming,
    flows: Iterable[tuple[ClusterAlias, ClusterAlias]],
    lost: ClusterAlias = "",
) -> tuple[Creation, ...]:
    """Return what is missing: T and every copy of it, on every listed cluster, equally wide.

    Also copies of the cluster that is ``lost``: of a topic that MirrorMaker 2 had not begun to
    copy, nothing was copied, and the switch must be able to say so.
    """
    wanted = [(alias, alias) for alias in listed] + [
        (a, b) for a, b in flows if (a in listed or a == lost) and b in listed
    ]
    found = []
    for topic, count in topics.items():
        like = _like(listed, topic, naming)
        for origin, alias in wanted:
            name = naming.log_name(origin, topic, alias)
            if listed[alias].get(name, 0) < count:
                found.append(Creation(alias, name, count, *like))
    return tuple(found)


def _like(listed: Listing, topic: str, naming: Naming) -> tuple[ClusterAlias, str]:
    """Return a log of the topic whose settings the others share: the topic itself if there is."""
    for origin_first in (True, False):
        for alias, topics in listed.items():
            for origin in sorted(naming.aliases):
                name = naming.log_name(origin, topic, alias)
                if name in topics and (origin == alias) is origin_first:
                    return alias, name
    raise ValueError(f"no cluster has a log of {topic}")


def make_plan(  # noqa: PLR0917 - the whole input of a pure function, each of its own type
    snapshot: Snapshot,
    request: SwitchRequest,
    scope: Scope,
    naming: Naming,
    flows: Iterable[tuple[ClusterAlias, ClusterAlias]],
    findings: Iterable[Finding],
) -> Plan:
    """Return the plan of a switch. The same input gives the same plan."""
    state = snapshot.view.state
    flows = tuple(flows)
    source = _source(state, request)
    declares = stranded.declares(state, request.to) if request.emergency else False
    listed = {
        alias: {name: topic.partitions for name, topic in cluster.topics.items()}
        for alias, cluster in snapshot.clusters.items()
        if cluster.reachable
    }
    topics = logical_topics(listed, scope, naming, source)
    unchanged = source == request.to
    steps = () if unchanged else tuple(_steps(source, request, declares=declares))
    return Plan(
        scope=request.scope,
        source=source,
        target=request.to,
        epoch=(state.epoch.counter if state is not None else 0)
        + (0 if unchanged or declares else 1),
        unchanged=unchanged,
        steps=steps,
        topics=topics,
        creations=()
        if unchanged or declares
        else creations(listed, topics, naming, flows, source if request.emergency else ""),
        findings=tuple(findings),
        ignored=request.ignore,
        others=elsewhere(snapshot, source, request.to, flows)
        if request.emergency and not (unchanged or declares)
        else NOWHERE,
        declares=declares,
        heard_ms=_heard_ms(snapshot, source, request.to),
    )


def _heard_ms(snapshot: Snapshot, source: ClusterAlias, target: ClusterAlias) -> int:
    """Return when the source's last heartbeat was copied to the target; 0 if none ever was."""
    for flow in snapshot.flows:
        if (flow.source, flow.target) == (source, target) and flow.heartbeat_age_ms is not None:
            return snapshot.at_ms - flow.heartbeat_age_ms
    return 0


def _source(state: State | None, request: SwitchRequest) -> ClusterAlias:
    """Return the cluster that is left, or given up; the target when nothing is to be done."""
    if state is None:
        return ""
    lost = stranded.gone(state, request.to) if request.emergency else ""
    return lost or state.active


def _steps(source: ClusterAlias, request: SwitchRequest, *, declares: bool) -> Iterable[StepRecord]:
    for step in DECLARATION if declares else steps_of(emergency=request.emergency):
        yield StepRecord(step.name, step.sentence(source, request.to), detail=step.undo)
