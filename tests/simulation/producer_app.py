"""An application that produces: the real ``FailoverProducer`` over fake handles."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

from clientlib import producer as producer_module
from clientlib.io.registry import Registry
from clientlib.producer import FailoverProducer
from clientlib.protocol.clients import Registration, decode_client
from clientlib.protocol.fingerprint import LogRecord
from clientlib.protocol.records import decode_key
from failover.checkers import Acked, EpochSeen, SendFailed, Sent
from tests.simulation.clock import Killed, Process
from tests.simulation.control import SimWatch
from tests.simulation.world import CONFIG

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.world import World

_LIMIT = 5_000
Report = Callable[[Any, Any], None]


class SimRegistry(Registry):
    """The real registry, writing into a fake clients topic."""

    def __init__(self, world: World, cluster: Cluster) -> None:
        self._world, self._where = world, cluster
        self._last, self._renewed, self.since = None, 0.0, None

    def _write(self, key: bytes, value: bytes | None) -> bool:
        world = self._world
        if world.faults.commit_outcome() == "before":
            return False
        if value is None:
            self._where.clients.pop(decode_key(key)[2], None)
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


class _Produced(NamedTuple):
    topic: str
    partition: int
    record: LogRecord
    report: Report


class FakeHandle:
    """A producer's handle on one cluster: ordered, acknowledged later, reports by ``poll``."""

    def __init__(self, cluster: Cluster, process: Process, markers: bool) -> None:
        self.cluster, self.process, self.markers = cluster, process, markers
        self.sim = cluster.sim
        self._queue: deque[_Produced] = deque()
        self._waiting = 0
        self._reports: deque[tuple[Report, Any]] = deque()
        self._wire = 0.0

    def produce(  # noqa: PLR0917 - the signature is confluent-kafka's
        self,
        topic: str,
        value: str,
        key: str,
        partition: int,
        callback: Report,
        _on_delivery: None,
        timestamp: int,
        _headers: None,
    ) -> None:
        if len(self) >= _LIMIT:
            raise BufferError
        record = LogRecord(0, timestamp, key.encode(), value.encode())
        self._queue.append(_Produced(topic, partition, record, callback))
        if len(self._queue) == 1:
            self.sim.after(self.sim.between(0.0, 0.01), self._send, self.process, main=False)

    def _send(self) -> None:
        slow = self.cluster.world.faults.commit_outcome() == "slow"
        batch, self._queue = list(self._queue), deque()
        self._waiting += len(batch)
        self._wire = max(self._wire, self.sim.now) + self.sim.between(
            0.0005, 0.5 if slow else 0.005
        )
        self.sim.after(self._wire - self.sim.now, lambda: self._arrive(batch))

    def _arrive(self, batch: list[_Produced]) -> None:
        if self.process.fuse == 0 and self.sim.chance(0.5):
            return  # the connection broke with the process
        acked = []
        for one in batch:
            log = self.cluster.logs[one.topic][one.partition]
            message = SimpleNamespace(offset=log.append(one.record), cluster=self.cluster.alias)
            acked.append((one.report, message))
            self.cluster.world.count("written")
            if self.markers and self.sim.chance(0.2):
                log.append(None)
        wait = self.sim.between(0.0005, 0.005)
        self.sim.after(wait, lambda: self._acked(acked), self.process, main=False)

    def _acked(self, acked: list[tuple[Report, Any]]) -> None:
        self._waiting -= len(acked)
        self._reports.extend(acked)

    def poll(self, timeout: float) -> int:
        served = 0
        while self._reports:
            report, message = self._reports.popleft()
            report(None, message)
            served += 1
        return served

    def flush(self, timeout: float) -> int:
        deadline = self.sim.now + timeout
        while len(self) and self.sim.now < deadline:
            self.sim.block(self.process, 0.002, main=False)
            self.poll(0)
        return len(self)

    def __len__(self) -> int:
        return len(self._queue) + self._waiting + len(self._reports)


class ProducerApp:
    """One producer process: keyed records to several partitions, in order."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.sim = world, world.sim
        self.process = Process(name)
        self.stopped = False
        self._seq = 0
        self._agent_busy = False
        self._epoch = 0
        self._keys = [f"{name}k{n}" for n in range(5)]
        self.watch = SimWatch(world, self.process, self._nudge)
        self.producer = self._build(name)
        self.sim.after(0.05, self._produce, self.process)
        self.sim.after(0.05, self._follow, self.process, main=False)
        for alias in world.clusters:
            self.sim.after(0.05, lambda a=alias: self._stay(a), self.process, main=False)

    def _build(self, name: str) -> FailoverProducer:
        world, module = self.world, producer_module
        aliases = iter(world.clusters)  # handles and registries are made in this order
        markers = world.plan.source_markers
        with (
            patch.object(module, "shared_watch", lambda *_: self.watch),
            patch.object(module, "Threads", _NoThreads),
            patch.object(module, "Registry", lambda _, a: SimRegistry(world, world.clusters[a])),
            patch.object(
                module,
                "Producer",
                lambda _: FakeHandle(world.clusters[next(aliases)], self.process, markers),
            ),
        ):
            producer = FailoverProducer({"failover.config": CONFIG, "failover.ttl.ms": 10_000})
        producer._options = replace(producer._options, ident=name)
        return producer

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
                self.world.events.append(
                    EpochSeen(self.process.name, *state.epoch, self.world.stamp)
                )
            self.producer._step()
            for alias, handle in self.producer._handles.items():
                if alias != self.producer._target:
                    handle.poll(0)
        except Killed:
            return
        finally:
            self._agent_busy = False

    def _stay(self, alias: str) -> None:
        if self.watch.view().state is not None:
            self.producer._register(alias)
        self.sim.after(0.4, lambda: self._stay(alias), self.process, main=False)

    def stall(self, seconds: float) -> None:
        """Stop for less than a registration lives."""
        if self.process.alive and self.process.frozen_until <= self.sim.now:
            self.world.count("producer stalls")
            self.sim.log(self.process.name, f"stalls for {seconds:.1f} s")
            self.process.frozen_until = self.process.woken = self.sim.now + seconds

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
            acked = Acked(name, seq, message.cluster, topic, partition, message.offset, world.stamp)
            world.events.append(acked)
            self.sim.log(
                name, f"acked {seq} {message.cluster}:{topic}[{partition}]@{message.offset}"
            )

        try:
            self.producer.produce(
                topic,
                value=f"{name}:{seq}:{key}",
                key=key,
                partition=partition,
                timestamp=world.now_ms,
                on_delivery=report,
            )
        except BufferError:
            world.events.append(SendFailed(name, seq, "queue full", world.stamp))
