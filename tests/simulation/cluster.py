"""A fake cluster: topics, groups, registrations, and the state topic with its transactions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clientlib.protocol.state import View, fold
from tests.simulation.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clientlib.io.ports import Publish
    from clientlib.protocol.clients import Registration
    from tests.simulation.clock import Scheduler
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
    reports: list[Publish] = field(default_factory=list)
    state: list[Transaction] = field(default_factory=list)
    fence: int = 0
    views: list[tuple[float, View]] = field(default_factory=lambda: [(0.0, View())])
    watchers: list[Callable[[], None]] = field(default_factory=list)
    _folded: int = 0

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
