"""Three clusters in memory, a mirror from each to each, and an orchestrator that surveys them."""

from collections.abc import Iterable, Mapping

from clientlib.protocol.state import State
from clientlib.protocol.types import Epoch
from clientlib.settings import parse
from failover.core.result import Finding, SwitchRequest
from failover.core.rules.case import case
from failover.core.rules.survivors import RULES
from failover.core.snapshot import Snapshot
from failover.survey import Survey
from tests.unit.switch_world import LEFT, RIGHT, SCOPE, Cluster, World

THIRD = "THIRD"
ALIASES = (LEFT, RIGHT, THIRD)
SETTINGS = parse(
    {
        "clusters": {alias: {"bootstrap.servers": alias.lower()} for alias in ALIASES},
        "scopes": {SCOPE: {"topics": ["T.*"]}},
    },
    environ={},
)


class ThreeWorld(World):
    """As `World`, with THIRD. ``behind``: records that a flow (source, target) does not copy."""

    settings = SETTINGS
    survey = Survey

    def __init__(self, topics: Mapping[str, int]) -> None:
        super().__init__(topics)
        self.clusters[THIRD] = Cluster()
        self.keep_status()
        self.behind: dict[tuple[str, str], int] = {}
        state = State(SCOPE, (Epoch(1, LEFT),), 0, clusters={a: a[0].lower() for a in ALIASES})
        for cluster in self.clusters.values():
            cluster.state[:] = [(state.key(), state.value())]

    def fill_empty(self, alias: str) -> None:
        """Create the topics where they are not."""
        for name, log in self.clusters[LEFT].logs.items():
            if "." not in name:
                self.clusters[alias].logs.setdefault(name, [[] for _ in log])

    def fill(self, alias: str, topic: str, texts: Iterable[str]) -> None:
        for text in texts:
            self.now_ms += 1
            self.write(alias, topic, 0, text)

    def replicate(self) -> None:
        """Copy between those that are up, as far as each flow has come."""
        for source in ALIASES:
            for target in ALIASES:
                up = self.clusters[source].up and self.clusters[target].up
                if source != target and up:
                    self.flow(source, target, self.behind.get((source, target), 0))

    def preflight(self, snapshot: Snapshot, request: SwitchRequest) -> tuple[Finding, ...]:
        """Find what the rules about survivors find."""
        facts = case(snapshot, SETTINGS, request)
        return tuple(finding for rule in RULES for finding in rule(facts))
