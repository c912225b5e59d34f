"""A fake group member: the methods of ``confluent_kafka.Consumer`` that the runtime calls."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from tests.simulation.group import SESSION_S, Group, Logical
from tests.simulation.message import FakeMessage

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.clock import Process, Scheduler
    from tests.simulation.cluster import Cluster

_TIMED_OUT = KafkaError._TIMED_OUT
_STATE = KafkaError._STATE
_CONFLICT = KafkaError._CONFLICT
_INVALID = KafkaError._INVALID_ARG


@dataclass(slots=True)
class _Fetch:
    at: int
    ready: float
    eof: int = -1


@dataclass(slots=True, eq=False)
class _Request:
    """An OffsetCommit request on its way."""

    generation: int
    ident: str
    tps: list[TopicPartition]
    lost: bool
    done: bool = False
    code: int | None = None
    waits: bool = False


@dataclass(slots=True)
class Rebalance:
    """The callbacks that ``subscribe`` was given; ``lost`` is told apart from ``revoke``."""

    on_assign: Callable[[list[TopicPartition]], None]
    on_revoke: Callable[[list[TopicPartition]], None]
    on_lost: Callable[[list[TopicPartition]], None]


class FakeMember:
    """The member of one process in the group of one cluster."""

    def __init__(
        self, cluster: Cluster, process: Process, group: Group, on_commit: Callable[..., None]
    ) -> None:
        self.cluster, self.process, self.group = cluster, process, group
        self.sim = cluster.sim
        self.ident = f"{process.name}-{self.sim.rng.randrange(10**6)}"
        self.generation = -1
        self.rebalance: Rebalance | None = None
        self._on_commit = on_commit
        self._answers: deque[tuple[Any, list[TopicPartition]]] = deque()
        self._outbox: deque[_Request] = deque()
        self._owned: frozenset[Logical] = frozenset()
        self._todo: deque[tuple[str, frozenset[Logical]]] = deque()
        self._mail: deque[Callable[[], None]] = deque()
        self._fetches: dict[tuple[str, int], _Fetch] = {}
        self._paused: set[tuple[str, int]] = set()
        self._turn = 0
        self._fetched: dict[tuple[str, int], int] = {}
        self.impatient: Callable[[], bool] = lambda: False
        self.stuck: _Request | None = None
        self.busy: Callable[[], bool] = lambda: False

    # -- the group -------------------------------------------------------------------------

    def subscribe(self, rebalance: Rebalance) -> None:
        self.rebalance = rebalance
        self.sim.after(self.sim.between(0.0, 0.2), self._join, self.process, main=False)

    def _join(self) -> None:
        if self._later(self._join):
            return
        if self._outbox:
            self._send(self._outbox[-1])  # one connection: what was sent before gets there before
        if self.rebalance is not None:
            self.group.join(self, self._owned if self.group.incremental else frozenset())

    def unsubscribe(self) -> None:
        self.rebalance = None
        self._owned, self._fetches = frozenset(), {}
        self._todo.clear()
        self.group.leave(self.ident)

    def post(self, wait: float, act: Callable[[], None]) -> None:
        """Let the coordinator tell something: one connection keeps the order of what it tells."""
        self._mail.append(act)
        self.sim.after(wait, self._open, self.process, main=False)

    def _open(self) -> None:
        if self.cluster.cut_until(self.process):
            until = self.cluster.cut_until(self.process)
            self.sim.at(until, self._open, self.process, main=False)
            return
        self._mail.popleft()()

    def _later(self, act: Callable[[], None]) -> bool:
        """If nothing comes through to the coordinator, do it when it does."""
        return self.cluster.when_reached(self.process, act)

    def joined_as(self, ident: str, generation: int) -> None:
        """The JoinGroup answer."""
        if ident == self.ident:
            self.generation = generation

    def learn_rebalance(self, ident: str) -> None:
        """A heartbeat's answer: the group rebalances, rejoin."""
        if self.rebalance is None or ident != self.ident:
            return
        if self.group.incremental:
            if self._todo:
                self._todo.append(("join", frozenset()))
            else:
                self._join()
        else:
            self._todo.append(("revoke", frozenset()))
        self._stir()

    def learn_topics(self, ident: str) -> None:
        """The topics' metadata has changed: join again.

        Where an assignment waits to be taken up, librdkafka does so without a revoke, and the
        application takes it up all the same.
        """
        waits = any(what == "assign" for what, _ in self._todo)
        if waits and self.rebalance is not None and ident == self.ident:
            self._join()
        else:
            self.learn_rebalance(ident)

    def assigned_to(self, ident: str, generation: int, parts: frozenset[Logical]) -> None:
        """The SyncGroup answer."""
        if self.rebalance is None or ident != self.ident or generation != self.generation:
            return
        if not self.group.incremental:
            self._todo.append(("assign", parts))
        else:
            gone = self._owned - parts
            if gone:
                self._todo.append(("give", gone))
            self._todo.append(("add", parts - self._owned))
            if gone:
                self._todo.append(("join", frozenset()))
        self._stir()

    def silent(self) -> None:
        """The process stopped or died: its session ends unless it comes back in time."""
        ident = self.ident

        def expire() -> None:
            cut = self.cluster.cut_until(self.process)
            back = self.process.alive and max(self.process.frozen_until, cut) <= self.sim.now
            if back:
                return
            self.sim.log(self.process.name, f"session on {self.cluster.alias} ends")
            self.group.leave(ident)
            if self.process.alive:  # it looks at the clock when it runs: librdkafka does, too
                wait = self.sim.between(0.001, 0.01)
                self.sim.after(wait, lambda: self.unknown(ident), self.process, main=False)

        self.sim.after(SESSION_S - self.sim.between(0.0, 1.0), expire)

    def unknown(self, ident: str) -> None:
        """Its session has ended: what it owned is lost, and it joins again."""
        if ident == self.ident and self.rebalance is not None:
            self.ident = f"{self.process.name}-{self.sim.rng.randrange(10**6)}"
            self.generation = -1
            self._todo.clear()
            self._todo.append(("lost", frozenset()))
            self._stir()

    def _stir(self) -> None:
        self.cluster.world.nudge(self.process)

    def _run_rebalance(self) -> None:
        while self._todo and self.rebalance is not None:
            what, parts = self._todo.popleft()
            calls = self.rebalance
            if what in {"assign", "add"}:
                self._owned |= parts
                calls.on_assign(_tps(parts))
            elif what == "give":
                self._owned -= parts
                calls.on_revoke(_tps(parts))
            elif what in {"revoke", "lost"}:
                gone, self._owned = self._owned, frozenset()
                if gone and what == "lost":
                    calls.on_lost(_tps(gone))
                elif gone:
                    calls.on_revoke(_tps(gone))
            if what in {"join", "revoke", "lost"}:
                self._join()

    # -- records ---------------------------------------------------------------------------

    def poll(self, timeout: float) -> FakeMessage | None:
        return None if self._serve() else self._next()

    def consume(self, num_messages: int, timeout: float) -> list[FakeMessage]:
        self._serve()
        batch: list[FakeMessage] = []
        while len(batch) < num_messages:
            message = self._next()
            if message is None:
                break
            batch.append(message)
        return batch

    def _call(self) -> None:
        """Enter the handle. A process that does so while a commit is inside would hang."""
        self.process.call()
        assert not self.busy(), f"{self.process.name} calls {self.cluster.alias} while it is busy"

    def _serve(self) -> bool:
        """Run the callbacks that wait; say whether the group has moved partitions."""
        self._call()
        while self._answers:
            error, tps = self._answers.popleft()
            self._on_commit(error, tps)
        if not self._todo:
            return False
        self._run_rebalance()
        return True

    def _next(self) -> FakeMessage | None:
        keys = list(self._fetches)
        for step in range(len(keys)):
            at = (self._turn + step) % len(keys)
            key = keys[at]
            message = self._of(key) if key not in self._paused else None
            if message is not None:
                self._turn = at if self.sim.chance(0.8) else at + 1
                return message
        return None

    def _of(self, key: tuple[str, int]) -> FakeMessage | None:
        fetch = self._fetches[key]
        if fetch.ready > self.sim.now:
            return None
        log = self.cluster.logs[key[0]][key[1]]
        if self.cluster.answers_to(self.process):
            self._fetched.clear()
        elif not self._was_fetched(key, fetch.at, log.end):
            return None
        if fetch.at > log.end and self.cluster.truncated:
            return None  # out of range: `ResetPolicy` is not simulated
        if fetch.at > log.end:
            raise AssertionError(f"{self.process.name} reads {key} at {fetch.at}, end {log.end}")
        while fetch.at < log.end:
            record = log.entries[fetch.at]
            fetch.at += 1
            if record is not None:
                return FakeMessage(self.cluster.alias, key, record.offset, record)
        if fetch.eof == fetch.at:
            return None
        fetch.eof = fetch.at
        return FakeMessage(self.cluster.alias, key, fetch.at, None)

    def _was_fetched(self, key: tuple[str, int], at: int, end: int) -> bool:
        """Say whether a record had been fetched before its cluster fell silent."""
        if key not in self._fetched:
            self._fetched[key] = min(end, at + self.sim.rng.choice((0, 0, 1, 5, 50)))
        return at < self._fetched[key]

    def _fetch(self, tp: TopicPartition) -> None:
        self._fetched[tp.topic, tp.partition] = -1  # a new position: nothing is at hand
        if tp.topic not in self.cluster.logs:
            raise AssertionError(f"{self.process.name}: {tp.topic} is not on {self.cluster.alias}")
        assert tp.offset >= 0, tp
        self._fetches[tp.topic, tp.partition] = _Fetch(
            tp.offset, self.sim.now + self.sim.between(0.0, 0.05)
        )

    def assign(self, partitions: list[TopicPartition]) -> None:
        self._call()
        _require(not self.group.incremental, _STATE)
        self._fetches = {}
        for tp in partitions:
            self._fetch(tp)

    def unassign(self) -> None:
        self.assign([])

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        self._call()
        _require(self.group.incremental, _STATE)
        for tp in partitions:
            _require((tp.topic, tp.partition) not in self._fetches, _CONFLICT)
            self._fetch(tp)

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        self._call()
        _require(self.group.incremental, _STATE)
        for tp in partitions:
            _require((tp.topic, tp.partition) in self._fetches, _INVALID)
            del self._fetches[tp.topic, tp.partition]

    def pause(self, partitions: list[TopicPartition]) -> None:
        self._paused |= {(tp.topic, tp.partition) for tp in partitions}

    def resume(self, partitions: list[TopicPartition]) -> None:
        self._paused -= {(tp.topic, tp.partition) for tp in partitions}

    def seek(self, partition: TopicPartition) -> None:
        key = (partition.topic, partition.partition)
        _require(key in self._fetches, _STATE)
        self._fetch(partition)

    # -- commits ---------------------------------------------------------------------------

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> Any:
        """Commit; answers can be slow or lost, and the process can die before or after."""
        self._call()
        sim, how = self.sim, self.cluster.world.faults.commit_outcome()
        request = _Request(self.generation, self.ident, offsets, lost=how == "before")
        self._outbox.append(request)
        if asynchronous:
            wait = sim.between(0.0, 0.5 if how == "slow" else 0.01)
            sim.after(wait, lambda: self._send(request))
            return None
        if how == "slow":
            sim.block(self.process, sim.between(0.0, 0.5))
        self._send(request)
        if not request.done:
            self._await(request)
        if how in {"before", "after"}:
            sim.block(self.process, sim.between(0.1, 1.0))
            raise KafkaException(KafkaError(_TIMED_OUT))
        if how == "slow":
            sim.block(self.process, sim.between(0.0, 0.5))
        self.process.call()
        if request.code is not None:
            raise KafkaException(KafkaError(request.code))
        return offsets

    def _await(self, request: _Request) -> None:
        """Wait for a cluster that does not answer. Raises KafkaException when that is in vain."""
        until = self.sim.now + self.sim.between(0.2, 1.5)
        while not request.done and self.sim.now < until:
            self.sim.block(self.process, 0.01)
            if self.impatient():
                self.stuck = request
                break
        self.process.call()
        if not request.done:
            raise KafkaException(KafkaError(_TIMED_OUT))

    def _send(self, last: _Request) -> None:
        """Requests up to ``last`` reach the coordinator: one connection keeps their order."""
        if not self.cluster.answers_to(self.process):
            self._hold_back(last)
            return
        while not last.done:
            request = self._outbox.popleft()
            request.done = True
            items = [(tp.topic, tp.partition, tp.offset, tp.metadata or "") for tp in request.tps]
            request.code = (
                int(_TIMED_OUT)
                if request.lost
                else self.group.commit(request.ident, request.generation, items)
            )
            if request.code is None:
                self.cluster.world.committed(
                    self.cluster.alias, self.group.name, self.process, items
                )
            self.sim.log(
                self.process.name, f"commit {self.cluster.alias} {items} -> {request.code}"
            )
            error = None if request.code is None else KafkaError(request.code)
            self._answers.append((error, request.tps))

    def _hold_back(self, last: _Request) -> None:
        """What is sent to a stopped cluster is taken when it goes on; of a dead one, some are."""
        if last.waits:
            return
        last.waits = True
        last.lost |= not self.cluster.paused and self.sim.chance(0.5)
        self._later(lambda: self._send(last))


class SimPatience:
    """`Patience` without threads: waits for a commit until its time is over or the cluster lost."""

    def __init__(self, given_up: Callable[[str], bool]) -> None:
        self._given_up = given_up
        self._stuck: dict[str, tuple[_Request, Scheduler, float]] = {}

    def busy(self, cluster: str) -> bool:
        if cluster not in self._stuck:
            return False
        request, sim, until = self._stuck[cluster]
        return not request.done and sim.now < until

    def commit(
        self,
        cluster: str,
        member: FakeMember,
        offsets: list[TopicPartition],
        within: float | None = None,
    ) -> Any:
        sim = member.sim
        if self.busy(cluster):
            raise KafkaException(KafkaError(_TIMED_OUT))
        until = float("inf") if within is None else sim.now + within
        member.impatient, member.stuck = lambda: self._given_up(cluster) or sim.now >= until, None
        try:
            return member.commit(offsets=offsets, asynchronous=False)
        finally:
            if member.stuck is not None:
                ends = sim.now + sim.between(1.0, 20.0)
                self._stuck[cluster] = member.stuck, sim, ends
                member.busy = lambda: self.busy(cluster)
            member.impatient, member.stuck = (lambda: False), None

    def commit_inside(self, cluster: str, member: FakeMember, offsets: list[TopicPartition]) -> Any:
        del cluster
        if member.cluster.answers_to(member.process):
            return member.commit(offsets=offsets, asynchronous=False)
        member.commit(offsets=offsets, asynchronous=True)
        raise KafkaException(KafkaError(_TIMED_OUT))


def _tps(parts: frozenset[Logical]) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for topic, number in sorted(parts)]


def _require(condition: bool, code: int) -> None:
    if not condition:
        raise KafkaException(KafkaError(code))
