"""What is told before an unplanned switch, over clusters in memory; nothing is changed by it."""

import pytest

from clientlib.protocol.clients import Client, Role
from failover.core.result import Severity
from tests.unit.switch_world import LEFT, RIGHT, SCOPE, World


@pytest.fixture
def world() -> World:
    """LEFT is dead, a producer lives; everything was copied."""
    world = World({"T1": 1})
    for n in range(3):
        world.write(LEFT, "T1", 0, f"a{n}")
    world.replicate()
    world.register(RIGHT, Client("p1", Role.PRODUCER, SCOPE, at_risk=2))
    world.clusters[LEFT].up = False
    return world


def untouched(world: World) -> bool:
    return all(c.generation == 0 and len(c.state) == 1 for c in world.clusters.values())


def test_plan_tells_what_may_be_lost_and_that_the_old_side_is_silent(world: World) -> None:
    made = world.orchestrator().plan(world.request(RIGHT, emergency=True, max_lost=1))
    assert made.outlook is not None
    assert made.outlook.answers is False
    assert made.outlook.estimate.records == 2
    assert "1 living producer" in made.outlook.estimate.source
    assert made.unaccepted == made.outlook.estimate
    assert not made.refusals
    assert (
        world.orchestrator().plan(world.request(RIGHT, emergency=True, max_lost=2)).unaccepted
        is None
    )
    assert untouched(world)


@pytest.mark.parametrize("insisted", [False, True])
def test_plan_refuses_while_the_old_side_answers_unless_it_is_insisted(
    world: World, insisted: bool
) -> None:
    world.clusters[LEFT].up = True
    asked = world.request(RIGHT, emergency=True, allow_data_loss=True, old_side_alive=insisted)
    made = world.orchestrator().plan(asked)
    assert made.outlook is not None
    assert made.outlook.answers is True
    severity = Severity.WARN if insisted else Severity.BLOCK
    assert [(f.id, f.severity) for f in made.findings] == [("old-side-alive", severity)]
    assert untouched(world)


def test_plan_of_a_planned_switch_estimates_nothing(world: World) -> None:
    world.clusters[LEFT].up = True
    assert world.orchestrator().plan(world.request(RIGHT)).outlook is None


def test_plan_to_the_active_cluster_estimates_nothing(world: World) -> None:
    made = world.orchestrator().plan(world.request(LEFT, emergency=True))
    assert (made.unchanged, made.outlook) == (True, None)
