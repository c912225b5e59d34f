"""Two clusters in memory behind the engine's four ports, with a crash before or after any call."""

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from clientlib.protocol.clients import Client, Registration, Role, Seen
from clientlib.protocol.errors import ClusterUnreachableError, FencedError
from clientlib.protocol.fingerprint import LogRecord
from clientlib.protocol.replay import Manifest
from clientlib.protocol.state import Mark, Phase, State, View, fold, mark_released, merge
from clientlib.protocol.token import Token, encode
from clientlib.protocol.types import Epoch, Offset, Partition
from clientlib.settings import parse
from failover.core.result import Finding, SwitchRequest
from failover.core.snapshot import ClusterSnapshot, Commit, Snapshot, TopicInfo
from failover.engine import Orchestrator
from failover.io.ports import NewTopic, Outcome, Ports, Record, Records, Status, Window
from failover.survey import Survey

T = TypeVar("T")
SCOPE = "default"
LEFT, RIGHT = "LEFT", "RIGHT"
SETTINGS = parse(
    {
        "clusters": {LEFT: {"bootstrap.servers": "left"}, RIGHT: {"bootstrap.servers": "right"}},
        "scopes": {SCOPE: {"topics": ["T.*"]}},
    },
    environ={},
)
OTHER = {LEFT: RIGHT, RIGHT: LEFT}


class Crash(BaseException):
    """The tool's process dies here."""


@dataclass
class Cluster:
    """One cluster: its logs, state topic, registrations, commits and fencing generation."""

    logs: dict[str, list[list[LogRecord]]] = field(default_factory=dict)
    state: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    clients: dict[str, Registration] = field(default_factory=dict)
    commits: dict[str, dict[Partition, Commit]] = field(default_factory=dict)
    manifests: list[Manifest] = field(default_factory=list)
    generation: int = 0
    up: bool = True

    def view(self) -> View:
        return fold(View(), SCOPE, self.state)


class World:
    """Everything that outlives the tool."""

    settings = SETTINGS
    survey: type[Survey] | None = None

    def __init__(self, topics: Mapping[str, int]) -> None:
        self.clusters = {LEFT: Cluster(), RIGHT: Cluster()}
        self.now_ms = 1_000_000
        self.copying = True
        self.calls = 0
        self.crash_at: int | None = None
        self.crash_after = False
        self.unknown: dict[int, bool] = {}  # call number -> whether the write happened
        self.on_sleep: Callable[[], None] = lambda: None
        self.on_publish: Callable[[], None] = lambda: None
        self.findings: tuple[Finding, ...] = ()
        self.refusing: set[str] = set()  # they can be fenced and read, and take no writes
        self.warming_s = 0.0  # for how long writers that connect cannot fence yet
        self.observed: list[int] = []  # at each observation, how often RIGHT had been fenced
        self.steps: list[str] = []
        self.again: dict[tuple[str, str, int], int] = {}  # by log: what MM2 has sent twice
        self.keep_status()
        for name, count in topics.items():
            self.clusters[LEFT].logs[name] = [[] for _ in range(count)]
        state = State(SCOPE, (Epoch(1, LEFT),), 0, clusters={LEFT: "l", RIGHT: "r"})
        for cluster in self.clusters.values():
            cluster.state.append((state.key(), state.value()))

    def write(self, alias: str, topic: str, number: int, text: str) -> None:
        log = self.clusters[alias].logs[topic][number]
        log.append(LogRecord(len(log), self.now_ms, None, text.encode()))

    def keep_status(self) -> None:
        """Create Connect's topics of each flow, as MM2 does; its tasks run."""
        for source in self.clusters:
            for alias, cluster in self.clusters.items():
                if alias != source:
                    cluster.logs[f"mm2-offsets.{source}.internal"] = [[]]
                    cluster.logs[f"mm2-status.{source}.internal"] = [[]]
                    self.task(alias, source, "RUNNING", 1)

    def task(self, on: str, source: str, state: str, generation: int) -> None:
        """Let a task of MM2 write its state."""
        key = b"status-task-MirrorSourceConnector-0"
        value = json.dumps({"state": state, "generation": generation}).encode()
        log = self.clusters[on].logs[f"mm2-status.{source}.internal"][0]
        log.append(LogRecord(len(log), self.now_ms, key, value))

    def flush(self, source: str = LEFT, target: str = RIGHT) -> None:
        """Let MM2 note how far it has copied."""
        noted = self.clusters[target].logs[f"mm2-offsets.{source}.internal"][0]
        for name in [name for name in self.clusters[source].logs if "." not in name]:
            for number, copy in enumerate(self.clusters[target].logs[f"{source}.{name}"]):
                at = len(copy) - self.again.get((source, name, number), 0)
                place = {"cluster": source, "topic": name, "partition": number}
                key = json.dumps(["MirrorSourceConnector", place]).encode()
                value = json.dumps({"offset": at - 1}).encode()
                noted.append(LogRecord(len(noted), self.now_ms, key, value))

    def kill_mirror(
        self, back: Mapping[tuple[str, int], int], source: str = LEFT, target: str = RIGHT
    ) -> None:
        """Kill and start MM2: it goes back by so many records in these partitions."""
        for (name, number), count in back.items():
            where = source, name, number
            self.again[where] = self.again.get(where, 0) + count
        generation = len(self.clusters[target].logs[f"mm2-status.{source}.internal"][0]) + 1
        self.task(target, source, "RUNNING", generation)

    def replicate(self, most: int = 1 << 30) -> None:
        """Copy, as MM2 does, at most so many records of each log; nothing when it is stopped."""
        if not self.copying:
            return
        for source, target in ((LEFT, RIGHT), (RIGHT, LEFT)):
            self.flow(source, target, most=most)

    def flow(self, source: str, target: str, lag: int = 0, most: int = 1 << 30) -> None:
        """Copy from one cluster to another, but for the newest records of each partition.

        At most so many of each; what MM2 has sent twice is there once more.
        """
        here, there = self.clusters[source], self.clusters[target]
        if not here.up:
            return
        for name, log in list(here.logs.items()):
            if "." in name:
                continue
            copy = there.logs.setdefault(f"{source}.{name}", [[] for _ in log])
            for number, (ours, theirs) in enumerate(zip(log, copy, strict=True)):
                at = len(theirs) - self.again.get((source, name, number), 0)
                for record in ours[at : max(at, min(at + most, len(ours) - lag))]:
                    theirs.append(replace(record, offset=len(theirs)))

    def merged(self) -> View:
        return merge(cluster.view() for cluster in self.clusters.values())

    def register(self, alias: str, client: Client) -> None:
        self.clusters[alias].clients[client.id] = Registration(client, self.now_ms)

    def quiesce(self, ident: str, alias: str) -> None:
        """Let a producer answer whatever state its cluster shows."""
        state = self.clusters[alias].view().state
        assert state is not None
        seen = Seen(*state.order, state.run)
        quiet = state.phase is not Phase.ACTIVE
        again = max(state.unplanned, default=0)
        client = Client(ident, Role.PRODUCER, SCOPE, seen=seen, quiesced=quiet, replayed=again)
        self.register(alias, client)

    def move(self, group: str, topics: Mapping[str, int], on: str) -> None:
        """Let a group commit with the newest token."""
        state = self.merged().state
        assert state is not None
        metadata = encode(Token(state.epoch.counter, on))
        self.clusters[on].commits[group] = {
            Partition(topic, n): Commit(0, metadata)
            for topic, c in topics.items()
            for n in range(c)
        }

    def active_sides(self) -> list[str]:
        """Return the clusters whose own state lets producers write there."""
        states = {alias: cluster.view().state for alias, cluster in self.clusters.items()}
        return [
            alias
            for alias, state in states.items()
            if state is not None and state.phase is Phase.ACTIVE and state.active == alias
        ]

    def call(self, act: Callable[[], T]) -> T:
        """Perform one port call; the process may die before or after it."""
        self.calls += 1
        if self.crash_at is not None and self.calls > self.crash_at:
            raise Crash  # a dead process calls nothing, not even to clean up
        if self.crash_at == self.calls and not self.crash_after:
            raise Crash
        result = act()
        if self.crash_at == self.calls:
            raise Crash
        return result

    def orchestrator(self) -> Orchestrator:
        """Return a new process of the tool."""
        ports = Ports(Store(self), Admin(self), Reader(self), Clock(self))
        return Orchestrator(
            self.settings,
            SCOPE,
            ports,
            observe=self.observe,
            preflight=self.preflight,
            survey=self.survey,
            on_progress=lambda progress: self.steps.append(progress.step.name),
            new_id=lambda now_ms: f"run-{now_ms:012d}-{self.calls:05d}",
        )

    def preflight(self, snapshot: Snapshot, request: SwitchRequest) -> tuple[Finding, ...]:
        return self.findings

    def request(self, to: str, **more: object) -> SwitchRequest:
        return replace(SwitchRequest(SCOPE, to, timeout_s=2.0), **more)

    def observe(self, without: frozenset[str] = frozenset()) -> Snapshot:
        self.observed.append(self.clusters[RIGHT].generation)
        clusters = {
            alias: ClusterSnapshot(
                alias,
                reachable=cluster.up and alias not in without,
                topics={
                    name: TopicInfo(tuple(0 for _ in log), tuple(len(part) for part in log))
                    for name, log in cluster.logs.items()
                },
            )
            for alias, cluster in self.clusters.items()
        }
        return Snapshot(SCOPE, self.now_ms, clusters, view=self.merged())


class Clock:
    def __init__(self, world: World) -> None:
        self._world = world

    def now_ms(self) -> int:
        return self._world.now_ms

    def sleep(self, seconds: float) -> None:
        self._world.now_ms += max(1, int(seconds * 1000))
        self._world.on_sleep()


class Store:
    """The state store of one process: it knows the generation that it acquired."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._mine: dict[str, int] = {}
        self._held: tuple[str, ...] = ()

    def warm_s(self) -> float:
        return self._world.warming_s

    def acquire(self, aliases: Iterable[str]) -> Mapping[str, Outcome]:
        return self._world.call(lambda: {alias: self._acquire(alias) for alias in aliases})

    def _acquire(self, alias: str) -> Outcome:
        cluster = self._world.clusters[alias]
        if not cluster.up:
            return Outcome(Status.FAILED, f"{alias} is down")
        cluster.generation += 1
        self._mine[alias] = cluster.generation
        return Outcome(Status.DONE)

    def publish(self, writes: Mapping[str, Sequence[Record]]) -> Mapping[str, Outcome]:
        outcomes = {}
        for alias, records in writes.items():  # one call each: a crash may come between the two
            outcomes[alias] = self._world.call(lambda a=alias, r=records: self._publish(a, r))
        self._world.on_publish()
        return outcomes

    def _publish(self, alias: str, records: Sequence[Record]) -> Outcome:
        cluster = self._world.clusters[alias]
        if not cluster.up or alias not in self._mine:
            return Outcome(Status.FAILED, f"{alias} is down")
        if self._mine[alias] != cluster.generation:
            raise FencedError(alias)
        if alias in self._world.refusing:
            return Outcome(Status.FAILED, f"{alias}: NOT_ENOUGH_REPLICAS")
        happened = self._world.unknown.pop(self._world.calls, None)
        if happened is not False:
            cluster.state.extend(records)
        if happened is not None:
            del self._mine[alias]
            return Outcome(Status.UNKNOWN, f"{alias}: no answer")
        return Outcome(Status.DONE)

    def views(self, aliases: Iterable[str] | None = None) -> Mapping[str, View]:
        clusters = self._world.clusters
        wanted = set(clusters if aliases is None else aliases)
        return self._world.call(
            lambda: {a: c.view() for a, c in clusters.items() if c.up and a in wanted}
        )

    def clients(self, aliases: Iterable[str]) -> Mapping[str, Mapping[str, Registration]]:
        return self._world.call(
            lambda: {
                alias: dict(self._world.clusters[alias].clients)
                for alias in aliases
                if self._world.clusters[alias].up
            }
        )

    def manifests(self, alias: str) -> Iterable[Manifest]:
        return tuple(self._world.clusters[alias].manifests)

    def hold(self, run: str, aliases: Iterable[str]) -> Mapping[str, Outcome]:
        self._held = tuple(aliases)
        return self.publish({alias: [Mark(run, "me", 1).record(SCOPE)] for alias in self._held})

    def release(self) -> None:
        held, self._held = self._held, ()
        with contextlib.suppress(FencedError):
            self.publish({alias: [mark_released(SCOPE)] for alias in held})

    def close(self) -> None:
        pass


class Admin:
    def __init__(self, world: World) -> None:
        self._world = world

    def _cluster(self, alias: str) -> Cluster:
        cluster = self._world.clusters[alias]
        if not cluster.up:
            raise ClusterUnreachableError(alias)
        return cluster

    def partitions(self, alias: str) -> Mapping[str, int]:
        return self._world.call(
            lambda: {t: len(log) for t, log in self._cluster(alias).logs.items()}
        )

    def cluster_id(self, alias: str) -> str:
        return self._world.call(alias[0].lower)

    def probe(self, alias: str, within_s: float) -> Callable[[], bool]:
        up = self._world.clusters[alias].up
        return lambda: self._world.call(lambda: up)

    def starts(self, alias: str, partitions: Iterable[Partition]) -> Mapping[Partition, Offset]:
        return self._world.call(lambda: dict.fromkeys(partitions, 0))

    def ends(self, alias: str, partitions: Iterable[Partition]) -> Mapping[Partition, Offset]:
        return self._world.call(
            lambda: {p: len(self._cluster(alias).logs[p.topic][p.number]) for p in partitions}
        )

    stable_ends = ends

    def topic_settings(self, alias: str, topics: Iterable[str]) -> Mapping[str, Mapping[str, str]]:
        return {topic: {} for topic in topics}

    def create_topics(self, alias: str, topics: Mapping[str, NewTopic]) -> None:
        def create() -> None:
            for name, topic in topics.items():
                self._cluster(alias).logs.setdefault(name, [[] for _ in range(topic.partitions)])

        self._world.call(create)

    def commits(
        self, alias: str, groups: Iterable[str]
    ) -> Mapping[str, Mapping[Partition, Commit]]:
        return self._world.call(
            lambda: {group: self._cluster(alias).commits.get(group, {}) for group in groups}
        )


class Reader:
    def __init__(self, world: World) -> None:
        self._world = world

    def warm(
        self, alias: str, topics: Iterable[str], *, committed: bool = False, many: bool = False
    ) -> None:
        pass

    def read(
        self, alias: str, windows: Mapping[Partition, Window], *, committed: bool = False
    ) -> Mapping[Partition, Records]:
        def one(part: Partition, window: Window) -> Records:
            log = self._world.clusters[alias].logs[part.topic][part.number]
            return Records(tuple(log[window.start : window.end][: window.limit]))

        return self._world.call(lambda: {part: one(part, w) for part, w in windows.items()})
