"""A fake cluster: topics, groups, registrations, and the state topic with its transactions.

It can die, be stopped, and come back; whoever waits for it meanwhile is woken in order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clientlib.protocol.state import View, fold
from tests.simulation.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clientlib.protocol.clients import Registration
    from clientlib.protocol.replay import Manifest
    from tests.simulation.clock import Process, Scheduler
    from tests.simulation.group import Group
    from tests.simulation.world import World

SCOPE = "default"
Record = tuple[bytes, bytes | None]


@dataclass(slots=True)
class Transaction:
    """Records of the state topic that become visible together, or never."""

    records: list[Record]
    written: float
    status: str = "open"


@dataclass(eq=False)
class Cluster:
    """One cluster."""

    alias: str
    world: World
    sim: Scheduler
    logs: dict[str, list[Log]] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    clients: dict[str, Registration] = field(default_factory=dict)
    manifests: dict[tuple[str, int], Manifest] = field(default_factory=dict)
    state: list[Transaction] = field(default_factory=list)
    fence: int = 0
    views: list[tuple[float, View]] = field(default_factory=lambda: [(0.0, View())])
    watchers: list[Callable[[], None]] = field(default_factory=list)
    up: bool = True
    paused: bool = False
    truncated: bool = False
    ident: str = ""
    wiped: bool = False
    deaths: int = 0
    silent_since: float = float("inf")
    _waiting: list[Callable[[], None]] = field(default_factory=list)
    _folded: int = 0

    @property
    def answers(self) -> bool:
        """Whether it is alive and running."""
        return self.up and not self.paused

    def kill(self) -> None:
        """SIGKILL: nothing answers any more; the logs stay."""
        self.up, self.silent_since = False, self.sim.now
        self.deaths += 1
        self.sim.log("cluster", f"{self.alias} dies")

    def pause(self) -> None:
        """SIGSTOP: what is sent to it waits in its sockets."""
        self.paused, self.silent_since = True, self.sim.now
        self.sim.log("cluster", f"{self.alias} is stopped")

    def wipe(self, ident: str) -> None:
        """Lose the disk: topics are made anew and empty; no groups, clients or state."""
        self.ident, self.wiped, self.truncated = ident, True, True
        for logs in self.logs.values():
            for log in logs:
                log.truncate(0)
        for group in self.groups.values():
            group.forget()
        self.clients.clear()
        self.manifests.clear()
        self.state.clear()
        self.views.append((self.sim.now, View()))
        self._folded, self.fence = 0, self.fence + 1
        self.sim.log("cluster", f"{self.alias} has lost everything")

    def come_back(self) -> None:
        """It answers again: what has waited for it goes on, in order."""
        self.up, self.paused, self.silent_since = True, False, float("inf")
        self.sim.log("cluster", f"{self.alias} is back")
        waiting, self._waiting = self._waiting, []
        for act in waiting:
            act()
        for watcher in self.watchers:
            watcher()

    def cut_until(self, process: Process) -> float:
        """Return when the network to a process lets something through again; 0: it does."""
        since, until = process.cuts.get(self.alias, (0.0, 0.0))
        return until if since <= self.sim.now < until else 0.0

    def answers_to(self, process: Process) -> bool:
        """Whether it answers, and the network to a process is up."""
        return self.answers and not self.cut_until(process)

    def when_reached(self, process: Process, act: Callable[[], None]) -> bool:
        """As `when_back`, also if it is only a process that does not reach it."""
        if self.when_back(lambda: self.when_reached(process, act) or act()):
            return True
        until = self.cut_until(process)
        if until:
            self.sim.at(until, lambda: self.when_reached(process, act) or act())
        return until > 0

    def when_back(self, act: Callable[[], None]) -> bool:
        """If it does not answer, do something when it does again; say whether that is so."""
        if not self.answers:
            self._waiting.append(act)
        return not self.answers

    def create(self, topic: str, partitions: int) -> None:
        """Create a topic or add partitions; its groups learn of it."""
        logs = self.logs.setdefault(topic, [])
        if len(logs) >= partitions:
            return
        while len(logs) < partitions:
            logs.append(Log())
        self.sim.log("cluster", f"{self.alias}: {topic} has {partitions} partitions")
        for group in self.groups.values():
            if topic in group.topics:
                self.sim.after(self.sim.between(0.0, 1.0), group.refresh)
        self.world.mirror.look(self.alias, topic)

    def begin(self, records: Sequence[Record]) -> Transaction:
        transaction = Transaction(list(records), self.sim.now)
        self.state.append(transaction)
        return transaction

    def settle(self, transaction: Transaction, status: str) -> None:
        """Commit or abort: readers see what is before the first open transaction."""
        if transaction.status != "open":
            return
        transaction.status = status
        before = self._folded
        while self._folded < len(self.state) and self.state[self._folded].status != "open":
            done = self.state[self._folded]
            self._folded += 1
            if done.status == "committed":
                view = fold(self.views[-1][1], SCOPE, done.records)
                self.views.append((self.sim.now, view))
                self.world.state_seen(self.alias, view)
        if self._folded != before:
            for watcher in self.watchers:
                watcher()

    def acquire(self) -> int:
        """Fence older writers and abort what they left open."""
        self.fence += 1
        for transaction in self.state[self._folded :]:
            self.settle(transaction, "aborted")
        return self.fence

    @property
    def view(self) -> View:
        return self.views[-1][1]
