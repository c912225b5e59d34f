"""An application that produces: the real ``FailoverProducer`` over fake handles."""

from __future__ import annotations

import threading
from dataclasses import replace
from itertools import permutations
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from clientlib import producer as producer_module
from clientlib.core.producer_session import Stage
from clientlib.io import copies as copies_module
from clientlib.io.registry import Registry
from clientlib.producer import FailoverProducer
from clientlib.protocol.clients import Registration, decode_client
from clientlib.protocol.records import decode_key
from clientlib.protocol.replay import decode_manifest
from failover.checkers import Acked, EpochSeen, SendFailed, Sent
from tests.simulation.clock import Killed, Process
from tests.simulation.control import SimWatch
from tests.simulation.handle import FakeHandle
from tests.simulation.jobs import SimLogs
from tests.simulation.world import CONFIG

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.cluster import Cluster
    from tests.simulation.world import World


class SimRegistry(Registry):
    """The real registry, writing into a fake clients topic."""

    def __init__(self, world: World, cluster: Cluster, process: Process) -> None:
        self._world, self._where, self._process = world, cluster, process
        self._last, self._renewed, self.since = None, 0.0, None

    def _write(self, key: bytes, value: bytes | None) -> bool:
        world = self._world
        if not self._where.answers_to(self._process) or world.faults.commit_outcome() == "before":
            return False
        if value is None:
            self._where.clients.pop(decode_key(key)[2], None)
            return True
        if decode_key(key)[0] == "replay":
            manifest = decode_manifest(key, value)
            self._where.manifests[manifest.client, manifest.epoch] = manifest
            world.count("replayed", manifest.replayed)
            world.count("declared lost", manifest.lost)
            return True
        client = decode_client(key, value)
        self._where.clients[client.id] = Registration(client, world.now_ms)
        return True


class _NoThreads:
    """The threads of the shell: the simulation takes their turns."""

    def __init__(self, _name: str) -> None:
        self.stopping = threading.Event()

    def start(self, _what: str, _target: Any) -> None:
        pass


class SimProducer(FailoverProducer):
    """The real producer; its handles are fakes, also the one that replaces a purged one."""

    def __init__(self, app: ProducerApp, settings: dict[str, Any]) -> None:
        self.app = app
        super().__init__(settings)

    def _conf(self, alias: str) -> Any:
        world = self.app.world
        return lambda: FakeHandle(
            world.clusters[alias], self.app.process, markers=world.plan.source_markers
        )


def handle_of(conf: Callable[[], FakeHandle]) -> FakeHandle:
    """Stand in for ``confluent_kafka.Producer``: what `SimProducer` gives as settings makes it."""
    return conf()


class ProducerApp:
    """One producer process: keyed records to several partitions, in order."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.sim = world, world.sim
        self.process = Process(name)
        self.stopped = False
        self._seq = 0
        self._agent_busy = False
        self._epoch = 0
        world.heard[self.process] = 0
        self._stamps = self.sim.chance(0.5)
        self._keys = [f"{name}k{n}" for n in range(5)]
        self.watch = SimWatch(world, self.process, self._nudge)
        self.producer = self._build(name)
        self.sim.after(0.05, self._produce, self.process)
        self.sim.after(0.05, self._follow, self.process, main=False)
        self.sim.after(self.sim.between(0.5, 1.5), self._confirm, self.process, main=False)
        for alias in world.clusters:
            self.sim.after(0.05, lambda a=alias: self._stay(a), self.process, main=False)

    def _build(self, name: str) -> FailoverProducer:
        world, module = self.world, producer_module

        def registry(_: Any, alias: str) -> SimRegistry:
            return SimRegistry(world, world.clusters[alias], self.process)

        with (
            patch.object(module, "shared_watch", lambda *_: self.watch),
            patch.object(module, "Threads", _NoThreads),
            patch.object(module, "Registry", registry),
        ):
            producer = SimProducer(self, {"failover.config": CONFIG, "failover.ttl.ms": 10_000})
        agent = producer._agent
        agent._options = replace(agent._options, ident=name)
        with patch.object(copies_module, "LogReader", lambda _: SimLogs(world, self.process)):
            for source, standby in permutations(world.clusters, 2):
                producer._rescuer._probe(source, standby)  # each reads by this process's network
        if world.plan.disaster is not None:  # else the answers are never used
            producer._rescuer._asked = self._slowly(producer._rescuer._asked)  # type: ignore[method-assign]  # it takes time
        return producer

    def _slowly(self, ask: Callable[..., Any]) -> Callable[..., Any]:
        """What is replicated is read some time after it was asked for, and heard later still."""

        def asked(*question: Any) -> Any:
            before, after = self.world.faults.job_times()
            self.sim.block(self.process, before, main=False)
            try:
                return ask(*question)
            finally:
                self.sim.block(self.process, after, main=False)

        return asked

    def _nudge(self) -> None:
        self.sim.after(self.sim.between(0.0, 0.002), self._agent, self.process, main=False)

    def _follow(self) -> None:
        self._agent()
        self.sim.after(0.05, self._follow, self.process, main=False)

    def _agent(self) -> None:
        """One turn of the agent's thread, which a flush can hold up."""
        if self._agent_busy:
            return
        self._agent_busy = True
        try:
            state = self.watch.view().state
            if state is not None and state.epoch.counter > self._epoch:
                self._epoch = state.epoch.counter
                self.world.heard[self.process] = self._epoch
                self.world.events.append(
                    EpochSeen(self.process.name, *state.epoch, self.world.stamp)
                )
            self.producer._agent.turn()
        except Killed:
            return
        finally:
            self._agent_busy = False

    def _confirm(self) -> None:
        producer = self.producer
        target = producer._intake.target
        writes = bool(target) and producer._agent.session.stage is Stage.OPEN
        if writes and not self.watch.deaf_to(self.world.other(target)):
            try:
                producer._rescuer.confirm(target)
            except Killed:
                return
        self.sim.after(1.0, self._confirm, self.process, main=False)

    def _stay(self, alias: str) -> None:
        if self.watch.view().state is not None:
            self.producer._agent.register(alias)
        self.sim.after(0.4, lambda: self._stay(alias), self.process, main=False)

    def stall(self, seconds: float) -> None:
        """Stop for less than a registration lives."""
        if self.process.alive and self.process.frozen_until <= self.sim.now:
            self.world.count("producer stalls")
            self.sim.log(self.process.name, f"stalls for {seconds:.1f} s")
            self.process.frozen_until = self.process.woken = self.sim.now + seconds

    def cut(self, alias: str, seconds: float) -> None:
        """Nothing gets through between this process and a cluster."""
        self.process.cuts[alias] = (self.sim.now, self.sim.now + seconds)

    def kill(self) -> None:
        self.world.count("producer crashes")
        self.sim.log(self.process.name, "dies")
        self.process.fuse = 0
        self.process.kill()

    @property
    def idle(self) -> bool:
        return not self.process.alive or (self.stopped and not len(self.producer))

    def _produce(self) -> None:
        self.producer.poll(0)
        if not self.stopped:
            self._send_one()
        pause = self.world.plan.pause_s if not self.stopped else 0.05
        self.sim.after(self.sim.between(0.2, 1.8) * pause, self._produce, self.process)

    def _send_one(self) -> None:
        rng, world = self.sim.rng, self.world
        topic = rng.choice(tuple(world.plan.topics))
        number = rng.randrange(len(self._keys))
        key, partition = self._keys[number], number % world.plan.topics[topic]
        seq, self._seq = self._seq, self._seq + 1
        name = self.process.name
        key = f"{topic}{key}"
        world.events.append(Sent(name, seq, topic, partition, key, world.stamp))

        def report(error: Any, message: Any) -> None:
            origin = self.producer.origin(message)
            if error is not None or origin is None:
                world.events.append(SendFailed(name, seq, str(error), world.stamp))
                self.sim.log(name, f"failed {seq}: {error}")
                return
            cluster, offset = origin.cluster, origin.offset
            acked = Acked(name, seq, cluster, topic, partition, offset, world.stamp)
            world.events.append(acked)
            self.sim.log(name, f"acked {seq} {cluster}:{topic}[{partition}]@{offset}")

        try:
            self.producer.produce(
                topic,
                value=f"{name}:{seq}:{key}",
                key=key,
                partition=partition,
                timestamp=world.now_ms if self._stamps else 0,
                on_delivery=report,
            )
        except BufferError:
            world.events.append(SendFailed(name, seq, "queue full", world.stamp))
