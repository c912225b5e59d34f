"""The fake group coordinator gives each partition to one member, as Kafka's does."""

import pytest

from tests.simulation.clock import Process, Scheduler
from tests.simulation.group import Group
from tests.simulation.member import FakeMember, Rebalance
from tests.simulation.world import LEFT, World


class _Reader:
    """A process with one member that polls and notes what it owns."""

    def __init__(self, world: World, group: Group, name: str) -> None:
        self.sim, self.process = world.sim, Process(name)
        self.owned: set[tuple[str, int]] = set()
        self.member = FakeMember(group.cluster, self.process, group, lambda *_: None)
        self.member.subscribe(Rebalance(self._take, self._give, self._give))
        self._poll()

    def _take(self, tps: list) -> None:
        self.owned |= {(tp.topic, tp.partition) for tp in tps}

    def _give(self, tps: list) -> None:
        self.owned -= {(tp.topic, tp.partition) for tp in tps}

    def _poll(self) -> None:
        self.member.poll(0)
        self.sim.after(0.05, self._poll, self.process)


@pytest.mark.parametrize("incremental", [True, False])
def test_a_member_stopped_while_its_assignment_is_on_the_way(*, incremental: bool) -> None:
    """Told to rejoin and given partitions meanwhile, it takes both in the order of their sending.

    Else it claims nothing, then holds what it was given first and the other is given too.
    """
    for seed in range(100):
        world = World(Scheduler(seed))
        sim, cluster = world.sim, world.clusters[LEFT]
        group = Group(cluster, "g", incremental, tuple(world.plan.topics))
        first = _Reader(world, group, "first")
        while group.state != "STABLE":
            sim.run_until(sim.now + 0.001)
        first.process.frozen_until = sim.now + 2.5
        sim.run_until(sim.now + 1.0)
        second = _Reader(world, group, "second")
        sim.run_until(sim.now + 10.0)
        assert not first.owned & second.owned, seed
        assert first.owned | second.owned == {
            (topic, n) for topic, many in world.plan.topics.items() for n in range(many)
        }, seed
