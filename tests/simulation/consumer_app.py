"""An application that consumes: the real runtime, and a loop that commits in some way."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException, TopicPartition

from clientlib.io.runtime import Callbacks, Options, Runtime
from clientlib.protocol.clients import Client, Registration, Role
from failover.checkers import (
    ConsumerCrashed,
    ConsumerStalled,
    ConsumerStarted,
    Delivered,
    Revoked,
)
from tests.simulation.clock import Act, Killed, Process, SimClock
from tests.simulation.cluster import SCOPE
from tests.simulation.control import SimWatch
from tests.simulation.group import Group
from tests.simulation.jobs import SimJobs
from tests.simulation.member import FakeMember, Rebalance, SimPatience
from tests.simulation.world import NAMING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clientlib.core.tracker import Span
    from clientlib.io.ports import Publish
    from clientlib.protocol.types import Partition
    from tests.simulation.faults import GroupSpec
    from tests.simulation.message import FakeMessage
    from tests.simulation.world import World

AGENT_S = 0.05
_MOST_REWOUND = 30


class ObservedRuntime(Runtime):
    """The real runtime; it only writes down when partitions were taken from the application."""

    app: ConsumerApp

    def _stop(self, spans: Mapping[Partition, Span], *, lost: bool) -> None:
        keys = [(span.topic, partition.number) for partition, span in spans.items()]
        kept = {key: part for key, part in zip(keys, spans, strict=True) if self._handed_over(key)}
        super()._stop(spans, lost=lost)
        self.app.gave_up([key for key in keys if key not in kept])
        self.app.hands_over(kept)

    def _handed_over(self, key: tuple[str, int]) -> bool:
        """Say whether what is committed travels by a report, which counts when it is written."""
        track = self.tracks.get(key)
        return track is not None and track.cluster == self._commits.lost


class ConsumerApp:
    """One consumer process."""

    def __init__(self, world: World, name: str, spec: GroupSpec, mode: str) -> None:
        self.world, self.spec, self.mode = world, spec, mode
        self.sim = world.sim
        self.process = Process(name, on_death=self._died)
        world.nudges[self.process] = self.wake
        self.members = {alias: self._member(alias) for alias in world.clusters}
        self.watch = SimWatch(world, self.process, self.wake)
        self.jobs = SimJobs(world, self.process, NAMING, spec.name, spec.policy, self.wake)
        options = Options(
            group=spec.name,
            incremental=spec.incremental,
            auto_commit=mode == "auto",
            auto_commit_interval_s=self.sim.rng.choice((0.3, 1.0, 5.0)),
            auto_store=mode != "stored",
        )
        self.runtime = ObservedRuntime(
            options,
            NAMING,
            self.members,
            jobs=self.jobs,
            watch=self.watch,
            clock=SimClock(self.sim, self.process),
            reset=lambda *_: None,
            waiting=SimPatience(self._given_up),
        )
        self.runtime.app = self
        self.jobs.on_written = self._reported
        self.runtime.callbacks = Callbacks(self, self._on_assign, self._on_revoke)
        self._ticket = 0
        self._due = 0.0
        self._agent_at = 0.0
        self._since_commit = 0
        self._batch = self.sim.rng.choice((5, 20, 100))
        self._in_callback = False
        self._unfinished: Act | None = None
        self._late: dict[tuple[str, int], TopicPartition] = {}
        self._late_turn = 0
        self._late_at = 0.0
        self._handing: dict[Partition, set[tuple[str, int]]] = {}
        self.closed = False
        self._recent: deque[FakeMessage] = deque(maxlen=_MOST_REWOUND)
        world.events.append(ConsumerStarted(name, spec.name, world.stamp))
        self.sim.log(name, f"starts: {spec.name}, {mode}")
        for alias, member in self.members.items():
            member.subscribe(self._rebalance(alias))
        self._schedule(0.0)
        self.sim.after(0.0, self._register, self.process, main=False)

    def _member(self, alias: str) -> FakeMember:
        cluster = self.world.clusters[alias]
        spec = self.spec
        if spec.name not in cluster.groups:
            cluster.groups[spec.name] = Group(cluster, spec.name, spec.incremental, spec.topics)
        group = cluster.groups[spec.name]
        return FakeMember(cluster, self.process, group, partial(self._committed, alias))

    def _committed(self, alias: str, error: Any, tps: list[TopicPartition]) -> None:
        self.runtime.on_commit(alias, error, tps)

    def _given_up(self, alias: str) -> bool:
        state = self.watch.view().state
        return state is not None and state.lost == alias

    def _rebalance(self, alias: str) -> Rebalance:
        def on_assign(tps: list[TopicPartition]) -> None:
            self.runtime.on_owned(alias, tps)

        def on_revoke(tps: list[TopicPartition]) -> None:
            self.runtime.on_disowned(alias, tps, lost=False)

        def on_lost(tps: list[TopicPartition]) -> None:
            self.runtime.on_disowned(alias, tps, lost=True)

        return Rebalance(on_assign, on_revoke, on_lost)

    # -- faults ----------------------------------------------------------------------------

    def _died(self) -> None:
        for member in self.members.values():
            member.silent()
        self.world.events.append(
            ConsumerCrashed(self.process.name, self.spec.name, self.world.stamp)
        )
        self.sim.log(self.process.name, "dies")
        self.world.count("consumer crashes")

    def stall(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT ``seconds`` later."""
        process, name = self.process, self.process.name
        if not process.alive or process.frozen_until > self.sim.now:
            return
        self.world.count("consumer stalls")
        self.sim.log(name, f"stalls for {seconds:.1f} s")
        process.frozen_until = process.woken = self.sim.now + seconds
        for member in self.members.values():
            member.silent()
        self.world.events.append(ConsumerStalled(name, self.spec.name, self.world.stamp))
        self.sim.after(seconds, self._goes_on)

    def _goes_on(self) -> None:
        """SIGCONT: the agent's timer is due, so it runs before the application gets far."""
        self.runtime.attention = True
        self.world.events.append(
            ConsumerStalled(self.process.name, self.spec.name, self.world.stamp)
        )

    def cut(self, alias: str, seconds: float) -> None:
        """Nothing gets through between this process and a cluster."""
        until = self.sim.now + seconds
        self.process.cuts[alias] = (self.sim.now, until)
        self.members[alias].silent()

        def tell() -> None:
            """What it knows does not get out: for the checkers it is as if it stopped all along."""
            name, group = self.process.name, self.spec.name
            self.world.events.append(ConsumerStalled(name, group, self.world.stamp))
            if self.sim.now < until and self.process.alive:
                self.sim.after(min(0.1, until - self.sim.now), tell)

        tell()

    def close(self) -> None:
        """Leave the groups as ``close()`` does."""
        self.sim.after(0.0, self._close, self.process)

    def _close(self) -> None:
        if self.closed:
            return
        try:
            self.runtime.leave()
            for member in self.members.values():
                member.unsubscribe()
        except Killed:
            return
        self.closed = True
        self.sim.log(self.process.name, "leaves")
        for cluster in self.world.clusters.values():
            if cluster.answers_to(self.process):
                cluster.clients.pop(self.process.name, None)
        self.process.on_death = None
        self.sim.after(3.0, self.process.kill)  # its last reports are waited for

    # -- the agent -------------------------------------------------------------------------

    def _register(self) -> None:
        state = self.watch.view().state
        if state is not None:
            client = Client(
                id=self.process.name,
                role=Role.CONSUMER,
                scope=SCOPE,
                group=self.spec.name,
                topics=self.spec.topics,
                seen=self.runtime.seen,
            )
            registration = Registration(client, self.world.now_ms)
            if self.world.clusters[state.active].answers_to(self.process):
                self.world.clusters[state.active].clients[client.id] = registration
        self.sim.after(1.0 if state is not None else 0.1, self._register, self.process, main=False)

    def wake(self) -> None:
        self.runtime.attention = True
        if self._due > self.sim.now + 0.01 and self._unfinished is None:
            self._schedule(self.sim.between(0.0, 0.005))

    # -- the application -------------------------------------------------------------------

    def _schedule(self, seconds: float) -> None:
        self._ticket += 1
        ticket = self._ticket
        self._due = self.sim.now + seconds
        self.sim.after(seconds, lambda: self._step(ticket), self.process)

    def _step(self, ticket: int) -> None:
        if ticket != self._ticket or self.closed:
            return
        self._due = float("inf")
        if self.sim.now >= self._agent_at:
            self._agent_at = self.sim.now + AGENT_S
            self.runtime.attention = True
        try:
            got = self._work()
        except Killed:
            return
        look = self.runtime.session.next_look()
        wait = self.sim.between(0.001, 0.01) if got else self.sim.between(0.03, 0.1)
        if look is not None and look > self.sim.now:  # else a read is under way, and wakes us
            wait = min(wait, max(0.001, look - self.sim.now))
        if self._due == float("inf"):
            self._schedule(wait)

    def _work(self) -> bool:
        rng = self.sim.rng
        then, self._unfinished = self._unfinished, None
        if then is not None:
            then()
        if self.mode == "batch":
            batch = self.runtime.consume(rng.randrange(1, 6 if self._slow else 40), 0)
            for message in batch:
                self._got(message)
            self._works(len(batch), self._commit_batch)
            return bool(batch)
        for _ in range(1 if self._slow else rng.randrange(1, 12)):
            message = self.runtime.poll(0)
            if message is None:
                return False
            self._got(message)
            self._works(1, lambda m=message: self._commit_after(m))
        return True

    @property
    def _slow(self) -> bool:
        return bool(self.spec.cost) and self.sim.now < self.spec.fast

    def _works(self, records: int, then: Act) -> None:
        """The application's own work, then its commit; a slow one does not poll meanwhile."""
        if self._slow and records:
            self._unfinished = then
            self._schedule(self.spec.cost * records)
        else:
            then()

    def _commit_batch(self) -> None:
        if self._since_commit >= self._batch:
            self._commit(None)

    def _got(self, message: FakeMessage) -> None:
        value = (message.value() or b"").decode()
        producer, seq, key = value.split(":")
        self._recent.append(message)
        self._since_commit += 1
        if self.world.was_rewound(self.spec.name, value):
            self.sim.log(self.process.name, f"gets {value} again, as it has asked for")
            return
        self.world.delivered(self.spec.name, message)
        self.world.events.append(
            Delivered(
                self.process.name,
                self.spec.name,
                producer,
                int(seq),
                message.topic(),
                message.cluster,
                message.partition(),
                message.offset(),
                key,
                self.world.stamp,
            )
        )
        self.sim.log(
            self.process.name,
            f"gets {value} {message.cluster}:{message.topic()}[{message.partition()}]"
            f"@{message.offset()}",
        )

    def rewind(self) -> None:
        """Go back to a record that was processed a moment ago, and commit that."""
        if self.mode in {"each", "offsets"}:
            self.sim.after(0.0, self._rewind, self.process)

    def _rewind(self) -> None:
        member = self.runtime.member
        last = self._recent[-1] if self._recent else None
        key = (last.topic(), last.partition()) if last is not None else ("", 0)
        track = self.runtime.tracks.get(key)
        if member is None or track is None or last is None or last.cluster != track.cluster:
            return
        if self._unfinished is not None:
            return  # it would commit what it is at work on, and so take it back
        mine = (*key, last.cluster)
        ours = [m for m in self._recent if (m.topic(), m.partition(), m.cluster) == mine]
        first = self.sim.rng.choice(ours)
        here = TopicPartition(*key, first.offset())
        values = [(m.value() or b"").decode() for m in ours if m.offset() >= first.offset()]
        committed = False
        try:
            member.seek(here)
            self.runtime.sought(track, first.offset())
            self.runtime.commit([here], covering=False, asynchronous=False)
            committed = True
        except KafkaException as error:
            self.sim.log(self.process.name, f"going back failed: {error}")
        except Killed:
            return
        finally:
            self.sim.log(self.process.name, f"goes back to {key}@{here.offset}")
            self.world.rewound(self.spec.name, values, committed=committed)

    def _commit_after(self, message: FakeMessage) -> None:
        here = TopicPartition(message.topic(), message.partition(), message.offset() + 1)
        if self.mode == "each":
            self._commit([here], covering=True)
        elif self.mode == "late":  # a worker commits when it is done, even if that was revoked
            self._late[message.topic(), message.partition()] = here
            if self.sim.chance(0.3):
                due = max(self._late_at, self.sim.now + self.sim.between(0.0, 0.8))
                self._late_at = due
                turn = self._late_turn
                self.sim.after(
                    due - self.sim.now, lambda: self._commit_late(here, turn), self.process
                )
        elif self.mode == "offsets":
            self._commit([here], covering=False)
        elif self.mode == "rarely" and self._since_commit >= 200:
            self._commit([here], covering=True)
        elif self.mode == "stored":
            try:
                self.runtime.store_offsets([here])
            except KafkaException:
                self.world.count("stores refused")
            if self._since_commit >= self._batch:
                self._commit(None)

    def _commit_late(self, here: TopicPartition, turn: int) -> None:
        given_up = turn != self._late_turn
        newest = self._late.get((here.topic, here.partition))
        if self.closed or (given_up and newest is not here):
            return  # only the last record was still being worked on
        if given_up:
            self.world.count("late commits")
        try:
            self._commit([here], covering=True)
        except Killed:
            return

    def _commit(self, offsets: list[TopicPartition] | None, *, covering: bool = False) -> None:
        self._since_commit = 0
        asynchronous = self.mode in {"batch", "stored"} and not self._in_callback
        try:
            self.runtime.commit(offsets, covering=covering, asynchronous=asynchronous)
        except KafkaException as error:
            self.sim.log(self.process.name, f"commit failed: {error}")
            self.world.count("commits refused")

    def _on_assign(self, _: Any, tps: list[TopicPartition]) -> None:
        self.process.call()
        self.sim.log(self.process.name, f"on_assign {[(t.topic, t.partition) for t in tps]}")

    def _on_revoke(self, _: Any, tps: list[TopicPartition]) -> None:
        self.process.call()
        self.sim.log(self.process.name, f"on_revoke {[(t.topic, t.partition) for t in tps]}")
        self._late_turn += 1
        if self.mode in {"batch", "stored"} and self._since_commit:
            self._in_callback = True
            try:
                self._commit(None)
            finally:
                self._in_callback = False

    def hands_over(self, kept: Mapping[tuple[str, int], Partition]) -> None:
        """Physical partitions were taken from the application; a report is to say how far it is."""
        for key, part in kept.items():
            self._handing.setdefault(part, set()).add(key)

    def _reported(self, job: Publish) -> None:
        """A hand-over stands: what was read of a lost cluster is committed by it, and given up.

        Given up is what the application has read last, and the log in which its commits are, which
        may be an earlier epoch's. No commit is what nobody believes, because the partition had been
        another member's for long.
        """
        if not job.handed_over:
            return
        for part, progress in job.parts.items():
            names = {o: NAMING.log_name(o, part.topic, job.cluster) for o in progress.offsets}
            items = [(names[o], part.number, at, "") for o, at in progress.offsets.items()]
            if self.jobs.believed(job.to, part):
                self.world.committed(job.cluster, self.spec.name, self.process, items)
            gone = self._handing.pop(part, set())
            if progress.log:
                gone.add((names[progress.log], part.number))
            self.gave_up(sorted(gone))

    def gave_up(self, keys: list[tuple[str, int]]) -> None:
        now, group = self.world.stamp, self.spec.name
        for topic, number in keys:
            self.world.events.append(Revoked(self.process.name, group, topic, number, now))
