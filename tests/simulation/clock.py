"""Virtual time: one heap of events, processes that block, freeze and die, and no threads.

A call that takes time is `Scheduler.block`: it runs everybody else's events until its time is over.
So the real code, written with plain calls, is interleaved with all others at each of its calls.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

Act = Callable[[], None]
EPOCH_MS = 1_700_000_000_000


class Killed(BaseException):
    """The process dies here: kill -9. Nothing of it runs after this."""


class StuckError(Exception):
    """The world did not settle within its bound of virtual time or events."""


@dataclass(eq=False, slots=True)
class Process:
    """A process: alive or dead, running or frozen; `fuse` counts port calls down to its death."""

    name: str
    alive: bool = True
    frozen_until: float = 0.0
    woken: float = 0.0
    fuse: int | None = None
    busy: int = 0
    deferred: list[Act] = field(default_factory=list)
    on_death: Act | None = None
    cuts: dict[str, tuple[float, float]] = field(default_factory=dict)
    """By cluster: from when until when the network between the two lets nothing through."""

    def call(self) -> None:
        """Count a port call; the process may die here."""
        if not self.alive:
            raise Killed
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse <= 0:
                self.kill()
                raise Killed

    def kill(self) -> None:
        if self.alive:
            self.alive = False
            if self.on_death is not None:
                self.on_death()


class Scheduler:
    """The heap, the clock and the only source of randomness."""

    def __init__(self, seed: int, *, keep_trace: bool = False) -> None:
        self.seed, self.rng = seed, random.Random(seed)
        self.now = 0.0
        self.events = 0
        self.limit = 400_000
        self.keep_trace = keep_trace
        self.trace: list[str] = []
        self._heap: list[tuple[float, int, Process | None, bool, Act]] = []
        self._count = 0

    def log(self, who: str, what: str) -> None:
        if self.keep_trace:
            self.trace.append(f"{self.now:9.4f} {who:<12} {what}")

    def after(
        self, seconds: float, act: Act, process: Process | None = None, *, main: bool = True
    ) -> None:
        """Run ``act`` later; ``main``: on the process's main thread, which a call may block."""
        self.at(self.now + seconds, act, process, main=main)

    def at(
        self, moment: float, act: Act, process: Process | None = None, *, main: bool = True
    ) -> None:
        """Run ``act`` at a moment: what is put off to the same moment keeps its order."""
        self._count += 1
        heapq.heappush(self._heap, (moment, self._count, process, main, act))

    def run_until(self, until: float) -> None:
        heap = self._heap
        while heap and heap[0][0] <= until:
            at, _, process, main, act = heapq.heappop(heap)
            self.now = max(self.now, at)
            if process is not None and not self._may_run(process, act, main=main):
                continue
            self.events += 1
            if self.events > self.limit:
                raise StuckError(f"more than {self.limit} events by {self.now:.1f} s")
            act()
        self.now = max(self.now, until)

    def _may_run(self, process: Process, act: Act, *, main: bool) -> bool:
        if not process.alive:
            return False
        if process.frozen_until > self.now:
            self.at(process.frozen_until + 1e-6, act, process, main=main)
            return False
        if main and process.busy:
            process.deferred.append(act)
            return False
        return True

    def block(self, process: Process, seconds: float, *, main: bool = True) -> None:
        """Let time pass inside a call of a process; raises Killed when it died meanwhile."""
        process.busy += main
        self.run_until(self.now + seconds)
        while process.alive and process.frozen_until > self.now:
            self.run_until(process.frozen_until)
        process.busy -= main
        if not process.busy:
            waiting, process.deferred = process.deferred, []
            for act in waiting:
                self.after(0.0, act, process)
        if not process.alive:
            raise Killed

    def chance(self, probability: float) -> bool:
        return probability > 0 and self.rng.random() < probability

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self.rng.random()


class SimClock:
    """The clock of one process: the ports of the clients and of the orchestrator in one."""

    def __init__(self, sim: Scheduler, process: Process, *, main: bool = True) -> None:
        self._sim, self._process, self._main = sim, process, main

    def now(self) -> float:
        return self._sim.now

    monotonic = now

    def time(self) -> float:
        return self.wall_ms() / 1000

    def wall_ms(self) -> int:
        return EPOCH_MS + int(self._sim.now * 1000)

    now_ms = wall_ms

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self._sim.block(self._process, seconds, main=self._main)
