"""Runs from which there was no way on: writes stayed closed, or nobody was told the truth."""

import pytest

from clientlib.protocol.clients import Client, Role
from clientlib.protocol.state import Phase, State
from clientlib.protocol.types import Epoch
from failover.core import journal
from failover.core.machine import Run, RunPhase
from failover.core.result import ExitCode, Finding, Severity, SwitchRequest
from tests.unit.switch_world import LEFT, RIGHT, SCOPE, World
from tests.unit.test_stranded import dies_in, emergency, shown, without
from tests.unit.test_switch_engine_fake import lively
from tests.unit.three_world import THIRD, ThreeWorld


@pytest.fixture
def world() -> World:
    return lively()


def lost_and_back(world: World) -> None:
    """Lose LEFT to RIGHT, and let it answer again; clients do nothing from then on."""
    without(world, LEFT)
    assert emergency(world, RIGHT).result == "switched"
    world.clusters[LEFT].up = True
    world.on_sleep = world.on_publish = lambda: None


@pytest.mark.parametrize("command", ["switch", "resume"])
def test_a_commit_that_is_never_taken_is_undone_when_its_time_is_over(
    world: World, command: str
) -> None:
    """Committing and looking what became of it took turns for ever."""
    dies_in(world, RunPhase.COMMITTING)
    world.refusing = {RIGHT}
    execution = world.orchestrator().start(command, world.request(RIGHT))
    for _ in range(400):
        if not execution.turn():
            break
        world.now_ms += max(20, int(execution.pause_s * 1000))
        world.on_sleep()
    assert execution.result is not None, execution.current
    assert shown(world, LEFT).phase is Phase.ACTIVE
    assert world.active_sides() == [LEFT]


def test_an_undo_that_only_the_new_side_has_taken_is_not_over(world: World) -> None:
    """LEFT stayed closed, and who asked again was told that nothing was unfinished."""
    dies_in(world, RunPhase.COPYING)
    without(world, LEFT)
    away = world.orchestrator().resume()
    assert away.exit_code == ExitCode.INCOMPLETE, away
    world.clusters[LEFT].up = True
    assert shown(world, LEFT).phase is Phase.CLOSING
    back = world.orchestrator().resume()
    assert back.result == "rolled-back", back
    assert shown(world, LEFT).phase is Phase.ACTIVE
    assert world.orchestrator().resume().result == "unchanged"


def test_an_undo_that_was_written_on_the_new_side_alone_is_completed(world: World) -> None:
    dies_in(world, RunPhase.COPYING)
    world.refusing = {LEFT}
    assert world.orchestrator().resume().exit_code == ExitCode.INCOMPLETE
    assert (shown(world, LEFT).phase, shown(world, RIGHT).phase) == (Phase.CLOSING, Phase.ACTIVE)
    world.refusing = set()
    assert world.orchestrator().resume().result == "rolled-back"
    assert shown(world, LEFT).phase is Phase.ACTIVE


def test_a_lost_old_side_holds_up_no_unplanned_switch(world: World) -> None:
    dies_in(world, RunPhase.COPYING)
    world.refusing = {LEFT}
    world.orchestrator().resume()
    without(world, LEFT)
    assert emergency(world, RIGHT).result == "switched"


def test_a_presumed_commit_is_told_though_the_loss_is_not_accepted(world: World) -> None:
    dies_in(world, RunPhase.COMMITTING)
    without(world, RIGHT)
    result = world.orchestrator().switch(world.request(LEFT, emergency=True))
    assert result.exit_code == ExitCode.DATA_LOSS
    assert shown(world, LEFT).active == RIGHT
    assert result.changed
    assert f"the switch to {RIGHT} counts as committed now" in result.message


def test_an_old_side_that_lives_is_told_when_its_loss_is_undone(world: World) -> None:
    asked = world.request(RIGHT, emergency=True, allow_data_loss=True, old_side_alive=True)
    execution = world.orchestrator().start("switch", asked)
    while execution.turn():
        world.now_ms += 1
        if execution.current is not None and execution.current.phase is RunPhase.SETTLING:
            assert shown(world, LEFT).phase is Phase.CLOSING
            execution.interrupt()
    assert execution.result is not None
    assert execution.result.exit_code == ExitCode.INTERRUPTED
    assert (shown(world, LEFT).phase, shown(world, RIGHT).phase) == (Phase.ACTIVE, Phase.ACTIVE)


def test_a_run_of_a_machine_whose_clock_is_behind_is_found(world: World) -> None:
    world.now_ms += 600_000
    assert world.orchestrator().switch(world.request(RIGHT)).result == "switched"
    world.now_ms -= 600_000
    world.quiesce("p1", RIGHT)
    execution = world.orchestrator().start("switch", world.request(LEFT))
    while execution.turn():
        world.now_ms += 1
        world.on_sleep()
        if execution.current is not None and execution.current.phase is RunPhase.COPYING:
            break
    assert shown(world, RIGHT).phase is Phase.CLOSING
    assert world.orchestrator().abort().result == "aborted"
    assert shown(world, RIGHT).phase is Phase.ACTIVE


@pytest.mark.parametrize("ident", ["wrong-cluster", "retired-unread", "not-initialised"])
def test_what_is_never_ignored_is_not_ignored_by_a_switch(world: World, ident: str) -> None:
    world.findings = (Finding(ident, Severity.BLOCK, "cluster RIGHT", "it is another one", "", ""),)
    result = world.orchestrator().switch(world.request(RIGHT, ignore=(ident,)))
    assert result.exit_code == ExitCode.REFUSED, result
    assert world.active_sides() == [LEFT]


def test_a_returned_cluster_is_not_compared_before_its_producers_have_written_again(
    world: World,
) -> None:
    """Its tail would count as late, and be delivered as that and as replays."""
    lost_and_back(world)
    behind = Client("slow", Role.PRODUCER, SCOPE, replayed=1, ttl_ms=600_000)
    world.register(RIGHT, behind)
    told = world.orchestrator().rejoin(LEFT)
    assert (told.result, told.exit_code) == ("incomplete", ExitCode.INCOMPLETE)
    assert "slow" in told.message
    assert "again" in told.remedy
    world.register(RIGHT, Client("slow", Role.PRODUCER, SCOPE, replayed=2))
    assert world.orchestrator().rejoin(LEFT).exit_code == ExitCode.OK


def test_a_returned_cluster_that_alone_answers_is_not_taken_for_the_active_one(
    world: World,
) -> None:
    """A job that waits for it would end well, and nobody would ever take it in."""
    lost_and_back(world)
    world.clusters[RIGHT].up = False
    told = world.orchestrator().rejoin(LEFT)
    assert (told.result, told.exit_code) == ("unreachable", ExitCode.UNREACHABLE)
    assert "RIGHT, which may know of a later epoch" in told.message
    waited = 0

    def comes_back() -> None:
        nonlocal waited
        waited += 1
        world.clusters[RIGHT].up = waited > 3

    world.on_sleep = comes_back
    told = world.orchestrator().rejoin(LEFT)
    assert (told.result, waited > 3) == ("rejoined", True), told


def test_nobody_is_told_to_initialise_what_cannot_be_reached(world: World) -> None:
    without(world, LEFT)
    without(world, RIGHT)
    for ask in (
        lambda: world.orchestrator().resume(),
        lambda: world.orchestrator().switch(world.request(RIGHT)),
        lambda: emergency(world, RIGHT),
    ):
        told = ask()
        assert (told.result, told.exit_code) == ("unreachable", ExitCode.UNREACHABLE), told
        assert "init" not in told.remedy
        assert "cannot be reached from here" in told.message


def test_what_was_expected_is_judged_by_who_was_active_when_the_command_began(
    world: World,
) -> None:
    """A script that is run again after its tool was killed: it had completed, and was refused."""
    dies_in(world, RunPhase.COMMITTING)
    again = world.orchestrator().switch(world.request(RIGHT, expect_active=LEFT))
    assert (again.result, again.changed, again.exit_code) == ("switched", True, ExitCode.OK), again
    other = world.orchestrator().switch(world.request(LEFT, expect_active=LEFT))
    assert (other.result, other.exit_code) == ("refused", ExitCode.REFUSED)
    assert "status" in other.remedy


def test_a_living_cluster_of_long_ago_is_not_given_up_in_place_of_the_lost_one() -> None:
    """An undone switch to RIGHT, which is lost: nobody waits for THIRD because of that."""
    world = ThreeWorld({"T1": 1})
    for to in (THIRD, LEFT):
        result = world.orchestrator().switch(world.request(to))
        assert result.result == "switched", result
    dies_in(world, RunPhase.QUIESCING)
    without(world, RIGHT)
    result = emergency(world, LEFT)
    assert (result.result, result.changed) == ("unchanged", False), result
    assert shown(world, LEFT).lost is None


def test_the_state_says_which_run_is_unfinished() -> None:
    """Whatever the clocks of two machines said when their runs began."""
    base = State(SCOPE, (Epoch(1, LEFT),), 0)
    world = World({"T1": 1})
    for ident, phase in (("run-9", RunPhase.UNDONE), ("run-1", RunPhase.COPYING)):
        run = Run(ident, world.request(RIGHT), base, phase=phase)
        world.clusters[LEFT].state.append(journal.entry(run))
    open_state = world.clusters[LEFT].view()
    assert journal.unfinished(open_state, SCOPE) is None
    closing = State(SCOPE, (Epoch(1, LEFT),), 1, Phase.CLOSING, run="run-1", target=RIGHT)
    world.clusters[LEFT].state.append((closing.key(), closing.value()))
    found = journal.unfinished(world.clusters[LEFT].view(), SCOPE)
    assert found is not None
    assert found.id == "run-1"


def test_a_commit_that_could_not_be_presumed_is_not_told_as_one(world: World) -> None:
    dies_in(world, RunPhase.COMMITTING)
    without(world, RIGHT)
    world.refusing = {LEFT}
    result = world.orchestrator().switch(world.request(LEFT, emergency=True))
    assert not result.changed
    assert "counts as committed" not in result.message


def test_a_failback_waits_for_who_has_yet_to_write_again(world: World) -> None:
    """It slept through the loss; its records came first as late ones, then as replays."""
    lost_and_back(world)
    world.register(RIGHT, Client("slow", Role.PRODUCER, SCOPE, replayed=1, ttl_ms=600_000))
    result = world.orchestrator().switch(world.request(LEFT))
    assert (result.result, result.changed) != ("switched", True), result
    assert "slow has yet to write again" in result.message
    assert shown(world, RIGHT).phase is Phase.ACTIVE


def test_an_unplanned_switch_is_not_held_up_by_a_topic_that_was_never_copied(
    world: World,
) -> None:
    """The target has it as its own, and MirrorMaker 2 had not begun to copy the lost one's."""
    world.clusters[RIGHT].logs["T9"] = [[], []]
    without(world, LEFT)
    result = emergency(world, RIGHT)
    assert (result.result, result.exit_code) == ("switched", ExitCode.OK), result
    assert len(world.clusters[RIGHT].logs[f"{LEFT}.T9"]) == 2


def test_a_cluster_that_is_taken_in_again_tells_once_more_what_it_holds(world: World) -> None:
    world.replicate()
    world.copying = False
    world.write(LEFT, "T1", 0, "only here")
    lost_and_back(world)
    told = [world.orchestrator().rejoin(LEFT) for _ in range(2)]
    assert [one.measured["late"] for one in told] == [1, 1], told
    assert [one.result for one in told] == ["rejoined", "unchanged"]


@pytest.mark.parametrize("rejoins", [True, False])
def test_what_was_written_to_a_topic_that_was_never_copied_comes_late(
    world: World, rejoins: bool
) -> None:
    """Its survivor had never heard of it: all of it was taken for the cluster's next epoch."""
    world.replicate()
    world.copying = False
    world.clusters[LEFT].logs["T9"] = [[], []]
    for number in range(3):
        world.write(LEFT, "T9", 1, f"nine {number}")
    without(world, LEFT)
    assert emergency(world, RIGHT).result == "switched"
    world.clusters[LEFT].up = world.copying = True
    if rejoins:
        assert world.orchestrator().rejoin(LEFT).measured["late"] == 3
    assert world.orchestrator().switch(world.request(LEFT)).result == "switched"
    assert world.merged().ledger["T9"][1].late == {LEFT: {1: ((0, 3),)}}


@pytest.mark.parametrize("lost", [LEFT, RIGHT])
def test_who_was_expected_to_be_active_is_not_asked_again_behind_what_was_presumed(
    world: World, lost: str
) -> None:
    """A playbook expects who was active when it began; the plan would have refused it then."""
    dies_in(world, RunPhase.COMMITTING)
    without(world, lost)
    to = RIGHT if lost == LEFT else LEFT
    mismatch = Finding("active-mismatch", Severity.BLOCK, "scope", "another is active", "", "")

    def preflight(_: object, request: SwitchRequest) -> tuple[Finding, ...]:
        active = shown(world, to).active
        return (mismatch,) if request.expect_active not in {"", active} else ()

    world.preflight = preflight  # type: ignore[method-assign]  # the rule that the real one has
    asked = world.request(to, emergency=True, allow_data_loss=True, expect_active=LEFT)
    result = world.orchestrator().switch(asked)
    assert (result.result, result.exit_code) == ("switched", ExitCode.OK), result
    assert shown(world, to).active == to
