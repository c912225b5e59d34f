"""A cluster dies while a planned switch is under way: nothing stays closed, nobody waits."""

from collections.abc import Callable

import pytest

from clientlib.protocol.clients import Client, Role, Seen
from clientlib.protocol.state import Phase, State
from clientlib.protocol.types import Epoch
from failover.core.machine import RunPhase
from failover.core.result import ExitCode, RunResult
from tests.unit.switch_world import LEFT, OTHER, RIGHT, SCOPE, Crash, World
from tests.unit.test_switch_engine_fake import lively


@pytest.fixture
def world() -> World:
    return lively()


def shown(world: World, alias: str) -> State:
    found = world.clusters[alias].view().state
    assert found is not None
    return found


def dies_in(world: World, phase: RunPhase, *, before_telling: bool = False) -> None:
    """Let a planned switch to RIGHT die with its process when it has entered a phase."""
    live = world.on_publish
    execution = world.orchestrator().start("switch", world.request(RIGHT))

    def die() -> None:
        live()
        if before_telling and shown(world, RIGHT).epoch.counter == 2:
            raise Crash

    def drive() -> None:
        while execution.turn():
            world.now_ms += 1
            world.on_sleep()
            if execution.current is not None and execution.current.phase is phase:
                raise Crash

    world.on_publish = die
    with pytest.raises(Crash):
        drive()
    world.on_publish = live


def emergency(world: World, to: str, *, insist: bool = False) -> RunResult:
    asked = world.request(to, emergency=True, allow_data_loss=True, old_side_alive=insist)
    return world.orchestrator().switch(asked)


def without(world: World, alias: str) -> None:
    """Take a cluster away; what lives goes on with the other one."""
    world.clusters[alias].up = False


@pytest.mark.parametrize("committed", [False, True])
def test_the_target_dies_and_nobody_can_say_whether_the_commit_stands_on_it(
    world: World, committed: bool
) -> None:
    if committed:
        dies_in(world, RunPhase.DONE, before_telling=True)
        assert shown(world, RIGHT).epoch.counter == 2
    else:
        dies_in(world, RunPhase.COMMITTING)
        assert shown(world, RIGHT).epoch.counter == 1
    assert (shown(world, LEFT).epoch.counter, shown(world, LEFT).phase) == (1, Phase.INTENT)
    without(world, RIGHT)
    stuck = world.orchestrator().switch(world.request(LEFT))
    assert stuck.exit_code == ExitCode.INCOMPLETE
    assert f"--to {LEFT} --emergency" in stuck.remedy
    result = emergency(world, LEFT)
    assert (result.result, result.epoch) == ("switched", 3), result
    state = shown(world, LEFT)
    assert (state.active, state.phase, state.unplanned) == (LEFT, Phase.ACTIVE, (3,))
    assert state.epochs == (Epoch(1, LEFT), Epoch(2, RIGHT), Epoch(3, LEFT))
    rows = world.clusters[LEFT].view().ledger["T1"]
    assert rows[1].ends == {LEFT: {0: 20, 1: 20}, RIGHT: {0: 20, 1: 20}}
    world.clusters[RIGHT].up = True
    assert world.orchestrator().rejoin(RIGHT).exit_code == ExitCode.OK
    assert world.active_sides() == [LEFT]
    assert world.orchestrator().switch(world.request(RIGHT)).result == "switched"
    assert world.merged().ledger["T1"][1].ends == rows[1].ends


@pytest.mark.parametrize("phase", [RunPhase.QUIESCING, RunPhase.COPYING, RunPhase.COMMITTING])
def test_the_source_dies_while_a_switch_is_under_way(world: World, phase: RunPhase) -> None:
    dies_in(world, phase)
    without(world, LEFT)
    result = emergency(world, RIGHT)
    assert (result.result, result.epoch) == ("switched", 2), result
    assert shown(world, RIGHT).unplanned == (2,)
    world.clusters[LEFT].up = True
    assert world.orchestrator().rejoin(LEFT).exit_code == ExitCode.OK
    assert world.active_sides() == [RIGHT]
    assert world.orchestrator().switch(world.request(LEFT)).result == "switched"


def test_the_target_dies_before_the_intent_and_writes_reopen(world: World) -> None:
    dies_in(world, RunPhase.COPYING)
    without(world, RIGHT)
    result = emergency(world, LEFT)
    assert (result.result, result.epoch) == ("unchanged", 1), result
    assert (shown(world, LEFT).phase, shown(world, LEFT).epoch.counter) == (Phase.ACTIVE, 1)


def test_the_target_dies_while_groups_are_moving(world: World) -> None:
    dies_in(world, RunPhase.VERIFYING)
    assert shown(world, LEFT).epoch.counter == 2
    without(world, RIGHT)
    result = emergency(world, LEFT)
    assert (result.result, result.epoch) == ("switched", 3), result


def groups_stay(world: World) -> Callable[[], None]:
    """Let no group move any more; return what lets them move again."""
    live = world.on_sleep
    world.on_sleep = world.on_publish = lambda: (
        world.replicate(), world.quiesce("p1", shown(world, RIGHT).active),
    )  # fmt: skip
    return live


def test_the_source_dies_just_after_the_commit_and_groups_wait_for_it(world: World) -> None:
    live = groups_stay(world)
    result = world.orchestrator().switch(world.request(RIGHT))
    assert result.result == "incomplete"
    refused = emergency(world, RIGHT)
    assert (refused.result, refused.exit_code) == ("refused", ExitCode.REFUSED)
    assert {finding.id for finding in refused.findings} == {"old-side-alive"}
    without(world, LEFT)
    world.on_sleep = world.on_publish = live
    given_up = emergency(world, RIGHT)
    assert (given_up.result, given_up.changed, given_up.epoch) == ("switched", True, 2), given_up
    assert f"{LEFT} is given up" in given_up.message
    state = shown(world, RIGHT)
    assert (state.epoch, state.revision, state.unplanned) == (Epoch(2, RIGHT), 1, (2,))
    again = emergency(world, RIGHT)
    assert (again.result, again.changed) == ("unchanged", False)
    world.clusters[LEFT].up = True
    assert world.orchestrator().rejoin(LEFT).exit_code == ExitCode.OK
    assert shown(world, LEFT).unplanned == (2,)
    assert world.orchestrator().switch(world.request(LEFT)).result == "switched"


@pytest.mark.parametrize("happened", [False, True])
@pytest.mark.parametrize("number", range(1, 16))
def test_no_answer_to_what_gives_a_cluster_up_after_the_fact(number: int, happened: bool) -> None:
    """A standby that dies just now is not the user's mistake: no traceback, and asked again."""
    world = lively()
    live = groups_stay(world)
    assert world.orchestrator().switch(world.request(RIGHT)).result == "incomplete"
    without(world, LEFT)
    world.on_sleep = world.on_publish = live
    world.unknown = {world.calls + number: happened}
    first = emergency(world, RIGHT)
    assert first.exit_code in {ExitCode.OK, ExitCode.UNREACHABLE}, first
    if first.exit_code == ExitCode.UNREACHABLE:
        assert "ask again" in first.message
        assert emergency(world, RIGHT).exit_code == ExitCode.OK
    assert shown(world, RIGHT).unplanned == (2,)


def test_a_plan_to_give_up_the_cluster_that_was_left_says_so(world: World) -> None:
    assert world.orchestrator().switch(world.request(RIGHT)).result == "switched"
    without(world, LEFT)
    plan = world.orchestrator().plan(world.request(RIGHT, emergency=True))
    assert (plan.source, plan.target, plan.epoch, plan.unchanged) == (LEFT, RIGHT, 2, False)
    assert [step.name for step in plan.steps] == ["lock", "give up", "move"]
    assert OTHER[plan.target] in plan.steps[1].what


def test_the_target_dies_after_a_switch_that_could_not_tell_the_source(world: World) -> None:
    """Its end is not journalled where its commit is not: that side would think nothing is open."""
    live = world.on_publish

    def cut() -> None:
        live()
        world.clusters[LEFT].up = shown(world, RIGHT).epoch.counter < 2

    world.on_publish = cut
    world.orchestrator().switch(world.request(RIGHT))
    assert shown(world, RIGHT).epoch.counter == 2
    world.on_publish = live
    world.clusters[LEFT].up = True
    assert shown(world, LEFT).phase is Phase.INTENT
    without(world, RIGHT)
    result = emergency(world, LEFT)
    assert (result.result, result.epoch) == ("switched", 3), result


def test_a_cluster_is_waited_for_and_can_take_over_when_the_other_one_is_lost(world: World) -> None:
    world.replicate()
    without(world, LEFT)
    assert emergency(world, RIGHT).result == "switched"
    assert world.orchestrator().rejoin(LEFT, 0.0).exit_code == ExitCode.UNREACHABLE
    live, begun = world.on_sleep, world.now_ms

    def come_back() -> None:
        live()
        world.clusters[LEFT].up = world.now_ms - begun > 3_600_000

    world.on_sleep = come_back
    assert world.orchestrator().rejoin(LEFT, 4_000.0).exit_code == ExitCode.OK
    world.on_sleep = live
    without(world, RIGHT)
    assert (emergency(world, LEFT).result, shown(world, LEFT).epoch.counter) == ("switched", 3)


def test_a_returned_cluster_that_was_not_brought_up_to_date_says_that_it_does_not_know(
    world: World,
) -> None:
    """LEFT dies, RIGHT goes on; LEFT is back, nobody rejoins it, and RIGHT dies."""
    without(world, LEFT)
    assert emergency(world, RIGHT).result == "switched"
    world.clusters[LEFT].up = True
    without(world, RIGHT)
    assert (emergency(world, LEFT).result, shown(world, LEFT).epoch.counter) == ("unchanged", 1)
    seen = Seen(2, 0, "run")
    world.register(LEFT, Client("c1", Role.CONSUMER, SCOPE, group="g", seen=seen))
    refused = emergency(world, LEFT)
    assert (refused.result, refused.exit_code) == ("refused", ExitCode.REFUSED)
    assert [finding.id for finding in refused.findings] == ["epoch-unknown"]
    assert "epoch 2" in refused.message
    assert "rejoin" in refused.remedy
