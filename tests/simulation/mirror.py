"""A model of MirrorMaker 2: copies in order with lag, and writes sparse offset syncs.

Rules: reference/mm2.md 4a. A sync is due for the first record of a task, every ``offset.lag.max``
records, and after any gap; otherwise it is remembered and promoted when the task commits.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clientlib.protocol.fingerprint import LogRecord
from clientlib.protocol.mm2_records import OffsetSync
from tests.simulation.log import Log

if TYPE_CHECKING:
    from tests.simulation.world import World

LAG_MAX = 100
_TASK = b"status-task-MirrorSourceConnector-0"
_BATCH = 50


@dataclass(slots=True)
class _Flow:
    """One partition on its way from one cluster to the other."""

    source: str
    target: str
    topic: str
    number: int
    at: int = 0
    flushed: int = 0
    flushes: int = 0
    reached: int = 0
    busy: bool = False
    where: dict[int, int] = field(default_factory=dict)
    last: tuple[int, int] | None = None
    synced: int | None = None
    delayed: OffsetSync | None = None

    @property
    def sides(self) -> tuple[str, str]:
        return self.source, self.target


class Mirror:
    """All flows. ``stopped_until`` pauses everything; ``markers`` is exactly-once mode.

    Its own offsets are flushed every ``flush_s``: killed, it goes on where it flushed them last,
    and sends again what it had sent since. In exactly-once mode it flushes with what it sends.
    """

    def __init__(self, world: World, *, markers: bool, lag_s: float, flush_s: float) -> None:
        self._world, self._markers, self._lag_s = world, markers, lag_s
        self._flush_s = flush_s
        self._flows: dict[tuple[str, str, int], _Flow] = {}
        self.stopped_until = 0.0
        self.repeats: set[tuple[str, str, int, int]] = set()
        """Where a copy holds a record once more: cluster, topic, partition, offset."""
        self.copied = 0
        self._starts = 0

    def start(self) -> None:
        """Run for the first time: Connect creates its topics."""
        for alias, cluster in self._world.clusters.items():
            cluster.logs[f"mm2-offsets.{self._world.other(alias)}.internal"] = [Log()]
        self._started()

    def kill(self, seconds: float) -> None:
        """SIGKILL, and a restart ``seconds`` later: what the tasks knew is forgotten."""
        self.stopped_until = max(self.stopped_until, self._world.sim.now + seconds)
        self._world.sim.after(seconds, self._started)
        for flow in self._flows.values():
            self._flush(flow)
            flow.last = flow.synced = flow.delayed = None
            if not self._markers:
                flow.at = flow.flushed
                if flow.at < flow.reached:
                    self._world.count("flows sent again")
                    self._wake(flow)

    def _started(self) -> None:
        """Let the task of each direction write that it runs, into Connect's status topic."""
        self._starts += 1
        state = json.dumps({"state": "RUNNING", "generation": self._starts}).encode()
        for target in self._world.clusters:
            source = self._world.other(target)
            self._note(target, f"mm2-status.{source}.internal", _TASK, state, self._world.now_ms)

    def _note(self, target: str, topic: str, key: bytes, value: bytes, at_ms: int) -> None:
        logs = self._world.clusters[target].logs.setdefault(topic, [Log()])
        logs[0].append(LogRecord(0, at_ms, key, value))

    def wiped(self, alias: str) -> None:
        """A cluster has lost what was copied there, and how far that was."""
        for flow in self._flows.values():
            if flow.target == alias:
                flow.at = flow.flushed = flow.reached = 0
                flow.last = flow.synced = flow.delayed = None
                flow.where.clear()
                self._wake(flow)

    def _flush(self, flow: _Flow) -> None:
        """Take note of the last flush that is over; asked before every move of the flow."""
        due = int(self._world.sim.now / self._flush_s)
        if due > flow.flushes:
            flow.flushes, flow.flushed = due, flow.at
            place = {"cluster": flow.source, "topic": flow.topic, "partition": flow.number}
            key = json.dumps(["MirrorSourceConnector", place]).encode()
            value = json.dumps({"offset": flow.at - 1}).encode()
            at_ms = self._world.now_ms - int((self._world.sim.now - due * self._flush_s) * 1000)
            self._note(flow.target, f"mm2-offsets.{flow.source}.internal", key, value, at_ms)

    def look(self, source: str, topic: str) -> None:
        """Follow the partitions of a cluster's own topic."""
        if "." in topic:
            return
        world = self._world
        for number, log in enumerate(world.clusters[source].logs[topic]):
            if (source, topic, number) in self._flows:
                continue
            flow = _Flow(source, world.other(source), topic, number)
            self._flows[source, topic, number] = flow
            log.listeners.append(lambda f=flow: self._wake(f))

    def where(self, source: str, topic: str, number: int) -> dict[int, int]:
        """Return which records were copied, by their first offset in the copy."""
        flow = self._flows.get((source, topic, number))
        return flow.where if flow is not None else {}

    def _wake(self, flow: _Flow) -> None:
        if not flow.busy:
            flow.busy = True
            sim = self._world.sim
            wait = sim.between(0.002, self._lag_s) + max(0.0, self.stopped_until - sim.now)
            sim.after(wait, lambda: self._copy(flow))

    def _copy(self, flow: _Flow) -> None:
        flow.busy = False
        sim, clusters = self._world.sim, self._world.clusters
        if self.stopped_until > sim.now:
            self._wake(flow)
            return
        if any(clusters[side].when_back(lambda: self._wake(flow)) for side in flow.sides):
            return
        target = clusters[flow.target]
        name = f"{flow.source}.{flow.topic}"
        target.create(name, len(clusters[flow.source].logs[flow.topic]))
        log, copy = (
            clusters[flow.source].logs[flow.topic][flow.number],
            target.logs[name][flow.number],
        )
        self._flush(flow)
        if flow.at > log.end:  # it reads from the earliest offset where its own is gone
            self._world.count("flows begun again")
            flow.at = 0
        upto = min(log.end, flow.at + sim.rng.randrange(1, _BATCH))
        if flow.at < flow.reached:
            self._world.count("batches sent again")
        self._carry(flow, log, copy, upto)
        flow.at = upto
        flow.reached = max(flow.reached, upto)
        if self._markers:
            copy.append(None)
            if flow.delayed is not None:
                self._emit(flow, flow.delayed)
        if flow.at < log.end:
            self._wake(flow)

    def _carry(self, flow: _Flow, log: Log, copy: Log, upto: int) -> None:
        for offset in range(flow.at, upto):
            record = log.entries[offset]
            if record is not None:
                at = copy.append(record)
                if flow.where.setdefault(offset, at) != at:
                    self.repeats.add((flow.target, f"{flow.source}.{flow.topic}", flow.number, at))
                self._sync(flow, offset, at)
                self.copied += 1

    def _sync(self, flow: _Flow, up: int, down: int) -> None:
        sync = OffsetSync(flow.topic, flow.number, up, down)
        last, flow.last = flow.last, (up, down)
        due = last is None or flow.synced is None or down - (flow.synced + 1) >= LAG_MAX
        if due or (last is not None and (up != last[0] + 1 or down < last[1])):
            self._emit(flow, sync)
        else:
            flow.delayed = sync

    def _emit(self, flow: _Flow, sync: OffsetSync) -> None:
        flow.delayed, flow.synced = None, sync.downstream_offset
        source = self._world.clusters[flow.source]
        name = f"mm2-offset-syncs.{flow.target}.internal"
        logs = source.logs.setdefault(name, [Log()])
        key, value = sync.encode()
        logs[0].append(LogRecord(0, 0, key, value))
