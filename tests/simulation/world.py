"""Everything that outlives a process: two clusters, the mirror between them, the history."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from clientlib.core.duty import losses
from clientlib.protocol.naming import DefaultReplicationPolicy, Naming
from clientlib.protocol.skips import within
from clientlib.protocol.state import Phase, State, View, merge
from clientlib.protocol.types import Epoch
from clientlib.settings import parse
from failover.checkers import ClusterLost, Committed, EpochSeen, Event, Place
from tests.simulation.clock import EPOCH_MS, Process, Scheduler
from tests.simulation.cluster import SCOPE, Cluster
from tests.simulation.faults import Faults, Plan, draw_plan, draw_unplanned
from tests.simulation.mirror import Mirror

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.simulation.disasters import Disasters
    from tests.simulation.message import FakeMessage

LEFT, RIGHT = "LEFT", "RIGHT"
_MOVES_S = 4.0
CONFIG = {
    "clusters": {LEFT: {"bootstrap.servers": "left"}, RIGHT: {"bootstrap.servers": "right"}},
    "scopes": {SCOPE: {"topics": ["T.*"]}},
}
SETTINGS = parse(CONFIG, environ={})
NAMING = Naming(DefaultReplicationPolicy("."), SETTINGS.aliases)


class World:
    """The clusters, and what is written down about them."""

    def __init__(self, sim: Scheduler, *, unplanned: bool = False) -> None:
        self.sim = sim
        self.faults = Faults(sim)
        self.plan: Plan = draw_unplanned(sim) if unplanned else draw_plan(sim)
        # asking ahead changes what an unplanned switch believes, and only when a planned one acts
        self.warm_s = 0.6 if unplanned else 0.0
        self.counts: Counter[str] = Counter()
        self.events: list[Event] = []
        self.nudges: dict[Process, Callable[[], None]] = {}
        self.clusters = {alias: Cluster(alias, self, sim) for alias in (LEFT, RIGHT)}
        self.mirror = Mirror(
            self,
            markers=self.plan.markers,
            lag_s=self.plan.mirror_lag_s,
            flush_s=self.plan.mirror_flush_s,
        )
        self.tools = 0
        self.disasters: Disasters | None = None
        self.unreachable = ""
        self.cut_until: dict[str, float] = {}
        self._stamp = 0.0
        self._given: dict[tuple[str, str, str, int], int] = {}
        self.on_align: Callable[[Any, Any], None] | None = None
        self.epoch, self.epoch_since = 0, 0.0
        self.heard: dict[Process, int] = {}
        self.resets: dict[str, float] = {}
        self.fell: dict[str, float] = {}
        self.stragglers: set[Place] = set()
        self.owed: set[tuple[str, str]] = set()
        self.optional: set[tuple[str, str]] = set()
        self._given_up: set[int] = set()
        for topic, partitions in self.plan.topics.items():
            self.clusters[LEFT].create(topic, partitions)
            if unplanned or sim.chance(0.5):
                self.clusters[RIGHT].create(topic, partitions)
            if unplanned:  # a dead cluster's topics are known where the mirror has created them
                self.clusters[RIGHT].create(f"{LEFT}.{topic}", partitions)
        ids = {alias: f"id-{alias}" for alias in self.clusters}
        for alias, cluster in self.clusters.items():
            cluster.ident = ids[alias]
        state = State(SCOPE, (Epoch(1, LEFT),), 0, clusters=ids)
        for cluster in self.clusters.values():
            cluster.settle(cluster.begin([(state.key(), state.value())]), "committed")
        self.mirror.start()

    @property
    def now_ms(self) -> int:
        return EPOCH_MS + int(self.sim.now * 1000)

    @property
    def stamp(self) -> float:
        """The time of the next event: two things that one process does are never at once."""
        self._stamp = max(self.sim.now, self._stamp + 1e-7)
        return self._stamp

    def other(self, alias: str) -> str:
        return RIGHT if alias == LEFT else LEFT

    def count(self, what: str, many: int = 1) -> None:
        self.counts[what] += many

    def nudge(self, process: Process) -> None:
        act = self.nudges.get(process)
        if act is not None:
            act()

    def cut(self, alias: str) -> None:
        """A cluster cannot be reached by the next tool, and not be followed by half the clients."""
        self.count("cuts after a commit")
        self.unreachable = alias
        self.cut_until[alias] = self.sim.now + self.sim.between(5.0, 20.0)

    def state(self) -> State:
        """Return the highest state of all clusters."""
        states = [c.view.state for c in self.clusters.values() if c.view.state is not None]
        return max(states, key=lambda state: state.order)

    def lost_alone(self, origin: str, topic: str, number: int, offset: int) -> bool:
        """Say whether a record was closed in on a lost cluster: no copy has it within its epoch."""
        view = merge(cluster.view for cluster in self.clusters.values())
        if view.state is None or offset < 0:
            return False
        losses_of = losses(view.state.epochs, view.state.unplanned)
        counters = [n for n, cluster in losses_of.items() if cluster == origin]
        target = self.other(origin)
        at = self.mirror.where(origin, topic, number).get(offset)
        for span in view.of_topic(topic).ranges(number, target) if counters else ():
            known = at is not None and span.end is not None and span.epoch.cluster == origin
            if known and at < span.end:
                return False
        return bool(counters)

    def unproved(self) -> frozenset[Place]:
        """Return what copies hold once more of an epoch that ended with the loss of its cluster.

        Not everything can be told without the origin; what the ledger skips was told, and nobody
        may get it. And what was on the wire to a lost cluster until it was active again, and what
        copies with gaps have of what was written again (docs/guarantees.md).
        """
        state = self.state()
        lost = {c: n for n, c in losses(state.epochs, state.unplanned).items()}
        view = merge(cluster.view for cluster in self.clusters.values())
        found = {*self.stragglers, *self._written_again_in_gaps(view)}
        for place in self.mirror.repeats:
            alias, name, number, offset = place
            origin, _, topic = name.partition(".")
            book = view.of_topic(topic)
            counter = lost.get(origin, 0) - 1
            row = book.closed.get(counter)
            if row is None or alias not in row.ends:
                continue
            start = book.start(counter, number, alias)
            if not start <= offset < book.end(counter, number, alias, start):
                continue
            if within(book.skipped(number, alias, origin), offset):
                self.count("repeats told without the original")
            else:
                self.count("repeats not told without the original")
                found.add(place)
        return frozenset(found)

    def _written_again_in_gaps(self, view: View) -> Iterator[Place]:
        if not (self.plan.markers or self.plan.source_markers):
            return
        for topic, rows in view.ledger.items():
            for home, spans in (
                (r.epoch.cluster, r.skip.get(r.epoch.cluster)) for r in rows.values()
            ):
                for number, skip in (spans or {}).items():
                    for offset, at in self.mirror.where(home, topic, number).items():
                        if within(skip, offset):
                            yield self.other(home), f"{home}.{topic}", number, at

    @property
    def replays_read(self) -> bool:
        """Whether every group has committed past what was written again on the active cluster.

        Before that only its members' memory knows which replays of unacknowledged records it has
        had; the operator does not fail back so soon. Nor while a group has members on one side
        alone, as preflight says (``group-not-stable``).
        """
        cluster = self.clusters[self.state().active]
        ends = {
            (topic, number): end
            for manifest in cluster.manifests.values()
            for topic, by in manifest.ranges.items()
            for number, (_, end) in by.items()
        }
        names = {n for c in self.clusters.values() for n, g in c.groups.items() if g.members}
        groups = [by for c in self.clusters.values() for n, by in c.groups.items() if n in names]
        here = [cluster.groups[name] for name in names if name in cluster.groups]
        return all(group.members for group in groups) and all(
            g.commits.get(at, (0, ""))[0] >= end for g in here for at, end in ends.items()
        )

    @property
    def moving(self) -> bool:
        """Whether an intent stands somewhere, or a group may not have moved to the new epoch."""
        states = [c.view.state for c in self.clusters.values() if c.view.state is not None]
        agreed = len({state.order for state in states}) == 1
        recent = self.sim.now - self.epoch_since < _MOVES_S and self.epoch > 1
        return not agreed or recent or any(s.phase is Phase.INTENT for s in states)

    def state_seen(self, alias: str, view: View) -> None:
        """A cluster's state topic shows a new state."""
        state = view.state
        if state is None:
            return
        epoch = state.epoch
        self.events.append(EpochSeen(f"state on {alias}", *epoch, self.stamp))
        if epoch.counter > self.epoch:
            self.count("epochs")
            if self.clusters[epoch.cluster].wiped:
                self.count("an empty cluster was made active")
            self.epoch, self.epoch_since = epoch.counter, self.sim.now
        self._note_losses(state)
        self.sim.log("state", f"{alias}: {epoch.counter}/{state.revision} {state.phase}")

    def _note_losses(self, state: State) -> None:
        """Write down, once, what nobody could know before: a cluster that lives was given up.

        Or one that fell when it was not active any more, and groups had not moved.
        """
        for counter, alias in losses(state.epochs, state.unplanned).items():
            if counter == state.epoch.counter and counter not in self._given_up:
                self._given_up.add(counter)
                self.lost(alias)

    def lost(self, alias: str) -> None:
        """A cluster is lost: since it fell, or now, if it lives (again)."""
        answers = self.clusters[alias].answers
        self.events.append(ClusterLost(alias, self.stamp if answers else self.fell[alias]))

    def committed(
        self, alias: str, group: str, process: Process, items: list[tuple[str, int, int, str]]
    ) -> None:
        """A commit was taken; it says nothing about records that the log has not given yet.

        While the process does not reach the standby nobody there hears of it, so that it does not
        count if this cluster is lost; the first one after that does.
        """
        if self.clusters[self.other(alias)].cut_until(process):
            return
        now = self.stamp
        for topic, number, offset, _ in items:
            upto = min(offset, self._given.get((group, alias, topic, number), 0))
            self.events.append(Committed(process.name, group, alias, topic, number, upto, now))

    def rewound(self, group: str, values: Iterable[str], *, committed: bool) -> None:
        """A group went back to records, which are to come again; or may, if it is not certain."""
        (self.owed if committed else self.optional).update((group, value) for value in values)
        self.count("rewinds")

    def was_rewound(self, group: str, value: str) -> bool:
        """Say whether a group has a record again because it went back to it.

        After that nobody judges how often it comes: what was committed before does not say it.
        """
        record = group, value
        if record in self.owed:
            self.owed.remove(record)
            self.optional.add(record)
        return record in self.optional

    def delivered(self, group: str, message: FakeMessage) -> None:
        """An application got a record."""
        self.counts["delivered"] += 1
        where = (group, message.cluster, message.topic(), message.partition())
        self._given[where] = max(self._given.get(where, 0), message.offset() + 1)

    def recovered(self, process: Process, job: Any, done: Any) -> None:
        """A position of the lost cluster was looked for."""
        self.sim.log(process.name, f"recovers {job.key}: {done.found}"[:400])
        for one, _ in (done.found or {}).values():
            self.count(f"recovered by {one.by}")
            self.count("recovered beyond the copy", one.beyond)

    def aligned(self, job: Any, done: Any) -> None:
        """An alignment has ended."""
        if self.on_align is not None:
            self.on_align(job, done)
        self.sim.log("align", f"{job.key} from {job.source}: {job.tasks} -> {done.offsets}")
