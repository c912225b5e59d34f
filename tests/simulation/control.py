"""The control plane in memory: watches of clients, and the orchestrator's ports."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from clientlib.io.watch import HEAR_S
from clientlib.protocol.errors import ClusterUnreachableError, FencedError
from clientlib.protocol.state import Mark, View, fold, mark_released, merge
from clientlib.protocol.types import Offset, Partition
from failover.core.snapshot import Commit
from failover.io.ports import NewTopic, Outcome, Records, Status, Window
from tests.simulation.clock import Killed
from tests.simulation.cluster import SCOPE, Record, Transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from clientlib.protocol.clients import Registration
    from clientlib.protocol.replay import Manifest
    from tests.simulation.clock import Process
    from tests.simulation.world import World

T = TypeVar("T")
FRESH_S, ASK_S = 2.0, 0.5
_AFTER_STOP_S = 0.02
_DONE = Outcome(Status.DONE)


class SimWatch:
    """`Watch` of one process: each cluster's state arrives with a delay of its own."""

    too_new = False

    def __init__(self, world: World, process: Process, changed: Callable[[], None]) -> None:
        self._world, self._process, self._changed = world, process, changed
        sim = world.sim
        self._phase = sim.between(0.0, ASK_S)
        self._began = sim.now + sim.between(0.0, 0.3)
        late = world.disasters is not None and world.disasters.happened
        self._deaf = sim.chance(0.5) and not late  # who begins now and hears LEFT alone is lost
        self._delay = {alias: world.faults.watch_delay() for alias in world.clusters}
        self._seen = dict.fromkeys(world.clusters, 0)
        self._merged = View()
        self._told: set[str] = set()
        self._patience = sim.now + HEAR_S
        self.version = 0
        for alias, cluster in world.clusters.items():
            cluster.watchers.append(lambda a=alias: self._hear(a))
            self._hear(alias)
        sim.after(HEAR_S, self._merge, process, main=False)

    def _hear(self, alias: str) -> None:
        index = len(self._world.clusters[alias].views) - 1
        wait = self._world.sim.between(0.001, self._delay[alias])
        if self._deaf:
            wait += max(0.0, self._world.cut_until.get(alias, 0.0) - self._world.sim.now)
        self._world.sim.after(wait, lambda: self._read(alias, index), self._process, main=False)

    def _read(self, alias: str, index: int) -> None:
        cluster = self._world.clusters[alias]
        if index <= self._seen[alias] or not cluster.answers:
            return  # one that does not answer tells it when it is back
        if cluster.when_reached(self._process, lambda: self._hear(alias)):
            return
        self._seen[alias] = index
        self._told.add(alias)
        self._merge()

    def _merge(self) -> None:
        """Take in what was told, at first when all clusters have or enough time is over."""
        waits = self._world.sim.now < self._patience
        if waits and len(self._told) < len(self._world.clusters):
            return
        merged = merge(self._view_of(a) for a in self._world.clusters)
        if merged != self._merged:
            self._merged = merged
            self.version += 1
            self._changed()

    def _view_of(self, alias: str) -> View:
        """Return what a cluster has told, also before its disk was lost."""
        cluster, seen = self._world.clusters[alias], self._seen[alias]
        now = cluster.views[seen][1]
        if not cluster.wiped:
            return now
        return merge([*(view for _, view in cluster.views[:seen] if view.state is not None), now])

    def view(self) -> View:
        return self._merged

    def _confirmed(self, cluster: str) -> float:
        """When the last question was asked whose answer has been read."""
        now, views = self._world.sim.now, self._world.clusters[cluster].views
        unread = self._seen[cluster] + 1
        limit = min(now, self._world.clusters[cluster].silent_since) - 0.005
        since, until = self._process.cuts.get(cluster, (0.0, 0.0))
        limit = min(limit, since) if since <= now < until else limit
        limit = min(limit, views[unread][0]) if unread < len(views) else limit
        asked = limit - (limit - self._phase) % ASK_S
        woken = self._process.woken
        if asked >= max(self._began, woken + _AFTER_STOP_S):
            return asked
        # at once after a start or a stop: the heartbeat is due then too, and answered sooner
        first = max(self._began, woken + _AFTER_STOP_S if woken else 0.0)
        return first if first <= limit else float("-inf")

    def fresh(self, cluster: str) -> bool:
        now, woken = self._world.sim.now, self._process.woken
        if now - self._confirmed(cluster) >= FRESH_S:
            return False
        heard = all(self._confirmed(alias) >= woken for alias in self._world.clusters)
        return heard or not woken or now - woken >= HEAR_S

    def confirmed_after(self, cluster: str, instant: float) -> bool:
        return self._confirmed(cluster) > instant

    def deaf_to(self, cluster: str) -> bool:
        """Say whether a cluster's state is not followed now; nor would anything else be read."""
        return self._deaf and self._world.sim.now < self._world.cut_until.get(cluster, 0.0)

    def listen(self, listener: Callable[[], None]) -> None:
        """Call this too whenever the view changes."""

    def unlisten(self, listener: object) -> None:
        """Nothing to do."""


@dataclass(slots=True)
class Sight:
    """Which cluster a process of the tool cannot reach, and for how long."""

    lacks: str = ""
    until: float = 0.0


class Port:
    """A port of one process of the tool: each call takes time, and may be its last."""

    def __init__(self, world: World, process: Process, sight: Sight) -> None:
        self._world, self._process, self._sight = world, process, sight

    def _blind(self, alias: str) -> bool:
        """Say whether this process cannot reach a cluster now."""
        unseen = alias == self._sight.lacks and self._world.sim.now < self._sight.until
        return unseen or not self._world.clusters[alias].answers

    def _slow(self, *aliases: str) -> float:
        """Return how long a call takes longer because somebody does not answer."""
        return 0.3 if any(map(self._blind, aliases)) else 0.0

    def _call(self, act: Callable[[], T], *, slow: float = 0.0) -> T:
        self._process.call()
        world = self._world
        world.sim.block(self._process, world.sim.between(0.0005, 0.003) + slow)
        result = act()
        self._process.call()
        return result


class SimStore(Port):
    """The state store of one process of the tool."""

    def __init__(self, world: World, process: Process, sight: Sight) -> None:
        super().__init__(world, process, sight)
        self._mine: dict[str, int] = {}
        self._fenced: set[str] = set()
        self._held: tuple[str, ...] = ()
        self._written: set[str] = set()
        self._run = ""
        self._beat = 0
        self._connecting: float | None = None

    def warm_s(self) -> float:
        begun = self._connecting
        return 0.0 if begun is None else max(0.0, begun + self._world.warm_s - self._world.sim.now)

    def acquire(self, aliases: Iterable[str]) -> Mapping[str, Outcome]:
        return {alias: self._call(lambda a=alias: self._acquire(a), slow=0.3) for alias in aliases}

    def _acquire(self, alias: str) -> Outcome:
        cluster = self._world.clusters[alias]
        if self._blind(alias):
            return Outcome(Status.FAILED, f"{alias} cannot be reached")
        if alias in self._held and self._supplanted(alias, cluster.view.mark):
            raise FencedError(f"another run holds, or held, the mark on {alias}")
        self._mine[alias] = cluster.acquire()
        self._fenced.discard(alias)
        return _DONE

    def _supplanted(self, alias: str, mark: Mark | None) -> bool:
        if mark is None:
            return alias in self._written
        return mark.owner != self._process.name

    def publish(self, writes: Mapping[str, Sequence[Record]]) -> Mapping[str, Outcome]:
        """Write all clusters at once: each has its own time, and one can be missed by a crash."""
        outcomes, fenced = {}, None
        aliases = sorted(writes)
        self._world.sim.rng.shuffle(aliases)
        for alias in aliases:
            try:
                outcomes[alias] = self._publish(alias, writes[alias])
            except FencedError as error:
                fenced = error
        if fenced is not None:
            raise fenced
        return outcomes

    def _publish(self, alias: str, records: Sequence[Record]) -> Outcome:
        sim, cluster = self._world.sim, self._world.clusters[alias]
        self._process.call()
        if alias in self._fenced:
            raise FencedError(alias)
        if self._blind(alias):
            return Outcome(Status.FAILED, f"{alias} cannot be reached")
        if alias not in self._mine:
            return Outcome(Status.FAILED, f"{alias}: no writer; acquire first")
        if self._mine[alias] != cluster.fence:
            self._fenced.add(alias)
            raise FencedError(alias)
        transaction = cluster.begin(records)
        self._process.call()  # dying here leaves the transaction open
        how = self._world.faults.write_outcome()
        sim.block(self._process, sim.between(0.001, 0.008 if how != "slow" else 1.5))
        if transaction.status == "aborted":
            self._fenced.add(alias)
            raise FencedError(alias)
        if not cluster.answers:  # it fell silent in between: the transaction stays open
            del self._mine[alias]
            return Outcome(Status.UNKNOWN, f"{alias}: no answer")
        if how in {"refused", "lost", "unheard"}:
            return self._badly(alias, transaction, how)
        dies = self._dies_after(records)
        if dies:
            self._world.cut(alias)
        cluster.settle(transaction, "committed")
        if dies:
            self._process.kill()
            raise Killed
        sim.block(self._process, sim.between(0.0, 0.004))
        self._process.call()
        return _DONE

    def _badly(self, alias: str, transaction: Transaction, how: str) -> Outcome:
        cluster = self._world.clusters[alias]
        if how == "refused":
            cluster.settle(transaction, "aborted")
            return Outcome(Status.FAILED, f"{alias}: refused")
        if how == "unheard":
            cluster.settle(transaction, "committed")
        del self._mine[alias]  # an open transaction is settled by the next writer
        return Outcome(Status.UNKNOWN, f"{alias}: no answer")

    def _dies_after(self, records: Sequence[Record]) -> bool:
        state, faults = fold(View(), SCOPE, records).state, self._world.faults
        commits = state is not None and state.epoch.counter > self._world.epoch
        return commits and not faults.over and self._world.sim.chance(faults.commit_crash)

    def views(self, aliases: Iterable[str] | None = None) -> Mapping[str, View]:
        clusters = self._world.clusters
        if self._connecting is None:
            self._connecting = self._world.sim.now
        asked = tuple(clusters) if aliases is None else tuple(aliases)
        return self._call(
            lambda: {a: clusters[a].view for a in asked if not self._blind(a)},
            slow=self._slow(*asked),
        )

    def clients(self, aliases: Iterable[str]) -> Mapping[str, Mapping[str, Registration]]:
        clusters = self._world.clusters
        return self._call(
            lambda: {a: dict(clusters[a].clients) for a in aliases if not self._blind(a)}
        )

    def manifests(self, alias: str) -> Iterable[Manifest]:
        return tuple(self._world.clusters[alias].manifests.values())

    def hold(self, run: str, aliases: Iterable[str]) -> Mapping[str, Outcome]:
        self.release()
        self._run, self._held, self._beat, self._written = run, tuple(aliases), 0, set()
        outcomes = self._renew()
        self._later()
        return outcomes

    def _later(self) -> None:
        held = self._held
        self._world.sim.after(1.0, lambda: self._tick(held), self._process, main=False)

    def _tick(self, held: tuple[str, ...]) -> None:
        """A beat of the renewing thread: it may be refused, which ends it."""
        if held is not self._held or not held:
            return
        self._beat += 1
        for alias in held:
            cluster = self._world.clusters[alias]
            if self._blind(alias):
                continue
            if self._mine.get(alias) == cluster.fence:
                record = Mark(self._run, self._process.name, self._beat).record(SCOPE)
                cluster.settle(cluster.begin([record]), "committed")
            elif alias in self._mine:
                return
        self._later()

    def _renew(self) -> Mapping[str, Outcome]:
        self._beat += 1
        record = Mark(self._run, self._process.name, self._beat).record(SCOPE)
        outcomes = self.publish({alias: [record] for alias in self._held})
        self._written |= {alias for alias, outcome in outcomes.items() if outcome.done}
        return outcomes

    def release(self) -> None:
        held, self._held = self._held, ()
        if held:
            with contextlib.suppress(FencedError):
                self.publish({alias: [mark_released(SCOPE)] for alias in held})

    def close(self) -> None:
        pass


class SimAdmin(Port):
    """`Admin` over the fake clusters."""

    def _ask(self, alias: str, act: Callable[[], T]) -> T:
        def answer() -> T:
            if self._blind(alias):
                raise ClusterUnreachableError(f"{alias} cannot be reached")
            return act()

        return self._call(answer, slow=self._slow(alias))

    def probe(self, alias: str, within_s: float) -> Callable[[], bool]:
        return lambda: self._call(lambda: not self._blind(alias), slow=self._slow(alias))

    def _logs(self, alias: str, parts: Iterable[Partition]) -> dict[Partition, Offset]:
        logs = self._world.clusters[alias].logs
        return {part: logs[part.topic][part.number].end for part in parts}

    def partitions(self, alias: str) -> Mapping[str, int]:
        logs = self._world.clusters[alias].logs
        return self._ask(alias, lambda: {topic: len(by) for topic, by in logs.items()})

    def cluster_id(self, alias: str) -> str:
        return self._ask(alias, lambda: self._world.clusters[alias].ident)

    def starts(self, alias: str, partitions: Iterable[Partition]) -> Mapping[Partition, Offset]:
        return self._ask(alias, lambda: dict.fromkeys(partitions, 0))

    def ends(self, alias: str, partitions: Iterable[Partition]) -> Mapping[Partition, Offset]:
        return self._ask(alias, lambda: self._logs(alias, list(partitions)))

    def stable_ends(
        self, alias: str, partitions: Iterable[Partition]
    ) -> Mapping[Partition, Offset]:
        return self._ask(alias, lambda: self._logs(alias, list(partitions)))

    def topic_settings(self, alias: str, topics: Iterable[str]) -> Mapping[str, Mapping[str, str]]:
        return self._ask(alias, lambda: {topic: {} for topic in topics})

    def create_topics(self, alias: str, topics: Mapping[str, NewTopic]) -> None:
        for name, topic in topics.items():
            self._ask(
                alias, lambda n=name, t=topic: self._world.clusters[alias].create(n, t.partitions)
            )

    def commits(
        self, alias: str, groups: Iterable[str]
    ) -> Mapping[str, Mapping[Partition, Commit]]:
        known = self._world.clusters[alias].groups
        return self._ask(
            alias,
            lambda: {
                name: {
                    Partition(*where): Commit(offset, metadata)
                    for where, (offset, metadata) in known[name].commits.items()
                }
                if name in known
                else {}
                for name in groups
            },
        )


class SimReader(Port):
    """`LogReader` over the fake logs."""

    def warm(
        self, alias: str, topics: Iterable[str], *, committed: bool = False, many: bool = False
    ) -> None:
        pass

    def read(
        self, alias: str, windows: Mapping[Partition, Window], *, committed: bool = False
    ) -> Mapping[Partition, Records]:
        logs = self._world.clusters[alias].logs
        if self._blind(alias):
            self._call(lambda: None, slow=0.3)
            raise ClusterUnreachableError(f"{alias} cannot be reached")
        return self._call(
            lambda: {
                part: Records(tuple(logs[part.topic][part.number].read(w.start, w.end, w.limit)))
                for part, w in windows.items()
            }
        )
