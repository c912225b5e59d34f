"""The engine over clusters in memory: every way a switch can go, and a crash at every port call."""

from collections.abc import Iterable, Mapping

import pytest

from clientlib.protocol.clients import Client, Role
from clientlib.protocol.errors import ClusterUnreachableError
from clientlib.protocol.state import Mark, Phase, State
from clientlib.protocol.types import Offset, Partition, Revision
from failover.core.result import ExitCode, Finding, RunResult, Severity
from failover.core.snapshot import Snapshot
from failover.execution import Execution
from failover.io.ports import Outcome
from tests.unit.switch_world import LEFT, OTHER, RIGHT, SCOPE, Admin, Crash, World

TOPICS = {"T1": 2, "T2": 1}


@pytest.fixture
def world() -> World:
    return lively()


def lively() -> World:
    """A world with records, a producer that answers and a group that follows."""
    world = World(TOPICS)
    for n in range(40):
        world.write(LEFT, "T1", n % 2, f"a{n}")
    world.quiesce("p1", LEFT)
    world.register(LEFT, Client("c1", Role.CONSUMER, SCOPE, group="g", topics=tuple(TOPICS)))

    def live() -> None:
        world.replicate()
        state = world.merged().state
        assert state is not None
        world.quiesce("p1", state.active)
        world.register(
            state.active, Client("c1", Role.CONSUMER, SCOPE, group="g", topics=tuple(TOPICS))
        )
        if state.phase is Phase.ACTIVE and state.epoch.counter > 1:
            world.move("g", TOPICS, state.active)

    world.on_sleep = world.on_publish = live
    return world


def state(world: World) -> State:
    found = world.merged().state
    assert found is not None
    return found


def test_switches_and_fails_back(world: World) -> None:
    there = world.orchestrator().switch(world.request(RIGHT))
    assert (there.result, there.exit_code, there.changed, there.epoch) == ("switched", 0, True, 2)
    world.write(RIGHT, "T1", 0, "b1")
    back = world.orchestrator().switch(world.request(LEFT))
    assert (back.result, back.epoch) == ("switched", 3)
    ledger = world.merged().ledger
    assert ledger["T1"][1].ends == {LEFT: {0: 20, 1: 20}, RIGHT: {0: 20, 1: 20}}
    assert ledger["T1"][2].ends == {RIGHT: {0: 1}, LEFT: {0: 1}}
    assert "T2" not in ledger  # nothing was written to it in either epoch
    for cluster in world.clusters.values():
        assert cluster.view().ledger == ledger
        assert cluster.view().state == state(world)
    assert world.active_sides() == [LEFT]


def test_creates_the_topic_and_its_copies_everywhere(world: World) -> None:
    world.copying = False
    world.orchestrator().switch(world.request(RIGHT, timeout_s=0.1))
    logs = {t: len(log) for t, log in world.clusters[RIGHT].logs.items() if "internal" not in t}
    assert logs == {"T1": 2, "T2": 1, "LEFT.T1": 2, "LEFT.T2": 1}
    assert {"RIGHT.T1", "RIGHT.T2"} <= world.clusters[LEFT].logs.keys()


def test_is_unchanged_where_it_is(world: World) -> None:
    result = world.orchestrator().switch(world.request(LEFT))
    assert (result.result, result.exit_code, result.changed) == ("unchanged", ExitCode.OK, False)
    assert world.clusters[LEFT].generation == 0  # nobody was fenced for it


@pytest.mark.parametrize(("warming_s", "fenced"), [(0.0, [1]), (0.5, [0, 1])])
def test_asks_ahead_only_while_it_waits_to_fence(
    world: World, warming_s: float, fenced: list[int]
) -> None:
    world.warming_s = warming_s
    assert world.orchestrator().switch(world.request(RIGHT)).result == "switched"
    assert world.observed == fenced


def test_what_fails_ahead_is_judged_under_the_lock(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.warming_s = 0.5
    seen, failures = world.observe, [ClusterUnreachableError("RIGHT does not answer")]

    def observe(without: frozenset[str] = frozenset()) -> Snapshot:
        if failures:
            raise failures.pop()
        return seen(without)

    monkeypatch.setattr(world, "observe", observe)
    assert world.orchestrator().switch(world.request(RIGHT)).result == "switched"
    assert not failures


def test_refuses_when_another_cluster_is_expected_to_be_active(world: World) -> None:
    result = world.orchestrator().switch(world.request(RIGHT, expect_active=RIGHT))
    assert (result.result, result.exit_code) == ("refused", ExitCode.REFUSED)


def test_refuses_by_finding_unless_it_is_ignored(world: World) -> None:
    world.findings = (Finding("trap", Severity.BLOCK, "x", "w", "r", "m"),)
    refused = world.orchestrator().switch(world.request(RIGHT))
    assert (refused.exit_code, refused.findings) == (ExitCode.REFUSED, world.findings)
    assert state(world).order == (1, 0)
    assert world.orchestrator().switch(world.request(RIGHT, ignore=("trap",))).exit_code == 0


def test_rolls_back_when_the_copy_stays_behind(world: World) -> None:
    world.copying = False
    result = world.orchestrator().switch(world.request(RIGHT))
    assert (result.result, result.exit_code) == ("rolled-back", ExitCode.TIMED_OUT)
    assert "LEFT.T1[0]" in result.message
    assert world.active_sides() == [LEFT]
    assert state(world).order == (1, 3)
    world.copying = True
    assert world.orchestrator().switch(world.request(RIGHT)).result == "switched"


def test_waits_for_holdouts_and_names_them(world: World) -> None:
    stubborn = Client("p9", Role.PRODUCER, SCOPE, host="h", pid=7)
    live = world.on_sleep
    world.on_sleep = lambda: (live(), world.register(LEFT, stubborn))
    world.on_sleep()
    result = world.orchestrator().switch(world.request(RIGHT))
    assert result.exit_code is ExitCode.TIMED_OUT
    assert "producer p9 on h (pid 7)" in result.message
    skipped = world.orchestrator().switch(world.request(RIGHT, skip_clients=("p9",)))
    assert skipped.result == "switched"
    assert any("p9" in warning for warning in skipped.warnings)


def test_does_not_wait_for_an_expired_producer(world: World) -> None:
    world.register(LEFT, Client("gone", Role.PRODUCER, SCOPE, ttl_ms=1))
    world.now_ms += 10
    result = world.orchestrator().switch(world.request(RIGHT))
    assert result.result == "switched"
    assert any("gone" in warning for warning in result.warnings)


@pytest.mark.parametrize("tolerate", [False, True])
def test_names_a_rogue_writer(world: World, tolerate: bool) -> None:
    live, ends = world.on_sleep, []

    class Rogue(Admin):
        def ends(self, alias: str, partitions: Iterable[Partition]) -> Mapping[Partition, Offset]:
            found = super().ends(alias, partitions)
            if (
                alias == LEFT
                and Partition("T1", 0) in found
                and state(world).phase is Phase.CLOSING
            ):
                ends.append(found)
                if len(ends) == 1:
                    world.write(LEFT, "T1", 0, "rogue")
            return found

    orchestrator = world.orchestrator()
    orchestrator.ports = type(orchestrator.ports)(
        orchestrator.ports.store, Rogue(world), orchestrator.ports.reader, orchestrator.ports.clock
    )
    world.on_sleep = live
    result = orchestrator.switch(world.request(RIGHT, tolerate_late=tolerate))
    if tolerate:
        assert result.result == "switched"
        assert "late: T1[0] grew from 20 to 21" in result.warnings
    else:
        assert (result.result, result.exit_code) == ("rolled-back", ExitCode.REFUSED)
        assert [(f.id, f.subject) for f in result.findings] == [("rogue-writer", "T1[0] on LEFT")]
        assert world.active_sides() == [LEFT]


def test_is_incomplete_while_a_group_has_not_moved_and_can_be_resumed(world: World) -> None:
    live = world.on_sleep
    world.on_sleep = world.on_publish = lambda: (
        world.replicate(), world.quiesce("p1", LEFT),
        world.register(LEFT, Client("c1", Role.CONSUMER, SCOPE, group="g", topics=("T1",))),
    )  # fmt: skip
    result = world.orchestrator().switch(world.request(RIGHT))
    assert (result.result, result.exit_code) == ("incomplete", ExitCode.INCOMPLETE)
    assert "group g: T1[0]" in result.message
    assert world.active_sides() == [RIGHT]
    refused = world.orchestrator().abort()
    assert (refused.result, refused.exit_code) == ("refused", ExitCode.REFUSED)
    world.on_sleep = world.on_publish = live
    resumed = world.orchestrator().resume()
    assert resumed.result == "switched"
    assert resumed.measured["closed_ms"] == result.measured["closed_ms"], "open since the commit"
    assert resumed.measured["phases_ms"] == result.measured["phases_ms"]
    assert resumed.measured["move_ms"] >= 2_000, "the time that the first one waited counts"
    assert world.orchestrator().resume().result == "unchanged"


def test_a_living_mark_locks(world: World) -> None:
    beats = iter(range(2, 10_000))

    def beat() -> None:
        mark = Mark("other", "o", next(beats)).record(SCOPE)
        world.clusters[LEFT].state.append(mark)

    beat()
    world.on_sleep = beat
    result = world.orchestrator().switch(world.request(RIGHT))
    assert (result.result, result.exit_code) == ("locked", ExitCode.LOCKED)


def test_a_dead_mark_does_not_lock(world: World) -> None:
    world.clusters[LEFT].state.append(Mark("other", "o", 1).record(SCOPE))
    assert world.orchestrator().switch(world.request(RIGHT)).result == "switched"


def test_needs_both_sides(world: World) -> None:
    world.clusters[RIGHT].up = False
    result = world.orchestrator().switch(world.request(RIGHT))
    assert (result.result, result.exit_code) == ("unreachable", ExitCode.UNREACHABLE)
    assert world.active_sides()[0] == LEFT


def calls_of_a_switch() -> int:
    world = lively()
    assert world.orchestrator().switch(world.request(RIGHT)).result == "switched"
    return world.calls


CALLS = calls_of_a_switch()


def settled(world: World) -> None:
    """Hold what must be true after any crash once somebody has cleared up."""
    assert len(world.active_sides()) == 1
    assert state(world).phase is Phase.ACTIVE
    ends = world.merged().ledger.get("T1", {})
    if state(world).epoch.counter > 1:
        assert ends[1].ends == {LEFT: {0: 20, 1: 20}, RIGHT: {0: 20, 1: 20}}


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, CALLS + 1))
def test_a_crash_at_any_call_is_cleared_up_by_resume(at: int, after: bool) -> None:
    world = lively()
    world.crash_at, world.crash_after = at, after
    with pytest.raises(Crash):
        world.orchestrator().switch(world.request(RIGHT))
    assert len(world.active_sides()) <= 1
    found = state(world)
    world.crash_at = None
    before_intent = found.phase is not Phase.INTENT and found.epoch.counter == 1
    result = world.orchestrator().resume()
    assert result.exit_code == ExitCode.OK, result
    settled(world)
    assert state(world).active == (LEFT if before_intent else RIGHT)
    again = world.orchestrator().switch(world.request(RIGHT))
    assert again.exit_code == ExitCode.OK
    assert state(world).active == RIGHT
    settled(world)


@pytest.mark.parametrize("at", range(1, CALLS + 1))
def test_a_crash_at_any_call_is_cleared_up_by_the_next_switch(at: int) -> None:
    world = lively()
    world.crash_at = at
    with pytest.raises(Crash):
        world.orchestrator().switch(world.request(RIGHT))
    world.crash_at = None
    result = world.orchestrator().switch(world.request(RIGHT))
    assert result.exit_code == ExitCode.OK, result
    assert world.active_sides() == [RIGHT]
    settled(world)


@pytest.mark.parametrize("at", range(1, CALLS + 1))
def test_a_crash_at_any_call_is_undone_by_abort_before_the_commit(at: int) -> None:
    world = lively()
    world.crash_at = at
    with pytest.raises(Crash):
        world.orchestrator().switch(world.request(RIGHT))
    world.crash_at = None
    committed = state(world).epoch.counter > 1
    result = world.orchestrator().abort()
    assert state(world).active == (RIGHT if committed else LEFT)
    assert result.result in {"aborted", "rolled-back", "unchanged", "refused"}
    if not committed:
        settled(world)


@pytest.mark.parametrize("happened", [False, True])
@pytest.mark.parametrize("at", range(1, CALLS + 1))
def test_an_unknown_outcome_of_any_write_ends_well(at: int, happened: bool) -> None:
    world = lively()
    world.unknown = {at: happened}
    result = world.orchestrator().switch(world.request(RIGHT))
    assert len(world.active_sides()) == 1
    assert result.result in {"switched", "rolled-back"}
    assert world.orchestrator().switch(world.request(RIGHT)).exit_code == ExitCode.OK
    assert world.active_sides() == [RIGHT]
    settled(world)


@pytest.mark.parametrize("turns", range(1, 40))
def test_a_stop_in_any_turn_undoes_before_the_intent_and_completes_after_it(turns: int) -> None:
    world = lively()
    execution = world.orchestrator().start("switch", world.request(RIGHT))
    taken = 0
    while execution.turn():
        taken += 1
        if taken == turns:
            intended = execution.current is not None and "intending" in execution.current.times
            execution.interrupt()
        world.now_ms += 1
        world.on_sleep()
    assert execution.result is not None
    if taken < turns:
        assert execution.result.result == "switched"
        return
    assert execution.result.exit_code in {ExitCode.INTERRUPTED, ExitCode.OK}
    found = state(world)
    assert found.phase is Phase.ACTIVE
    assert len(world.active_sides()) == 1
    if not intended:
        assert found.active == LEFT


def test_the_other_zombie_is_fenced(world: World) -> None:
    first = world.orchestrator().start("switch", world.request(RIGHT))
    while first.current is None:
        first.turn()
    world.clusters[LEFT].generation += 1  # a newer run
    while first.turn():
        world.now_ms += 1
    assert first.result is not None
    assert (first.result.result, first.result.exit_code) == ("locked", ExitCode.LOCKED)
    assert OTHER[LEFT] == RIGHT


def test_of_two_that_fence_each_other_while_locking_one_wins(world: World) -> None:
    """Each took one cluster from the other: nobody holds both, so they look again."""
    first, second = (world.orchestrator().start("switch", world.request(RIGHT)) for _ in range(2))
    for execution in (first, second):
        execution.turn()  # look
        execution.turn()  # no mark
    original = first._ports.store.hold
    stolen = []

    def hold(run: str, aliases: Iterable[str]) -> Mapping[str, Outcome]:
        if not stolen:
            stolen.append(run)
            world.clusters[RIGHT].generation += 1
        return original(run, aliases)

    first._ports.store.hold = hold
    while first.turn():
        world.now_ms += max(1, int(first.pause_s * 1000))
        world.on_sleep()
    assert stolen
    assert first.result is not None
    assert first.result.result == "switched"
    while second.turn():
        world.now_ms += 1
    assert second.result is not None
    assert second.result.result in {"locked", "unchanged"}


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("happened", [False, True])
def test_a_mark_without_a_known_outcome_is_written_again_before_anything_relies_on_it(
    world: World, nth: int, *, happened: bool
) -> None:
    """It ended a run as rolled back, since nothing could be written on that cluster after it."""
    execution = world.orchestrator().start("switch", world.request(RIGHT))
    original, held = execution._ports.store.hold, []

    def hold(run: str, aliases: Iterable[str]) -> Mapping[str, Outcome]:
        held.append(run)
        if len(held) == nth:
            world.unknown[world.calls + 1] = happened
        return original(run, aliases)

    execution._ports.store.hold = hold
    result = finish(execution, world)
    assert (result.result, len(held)) == ("switched", nth + 1)


def finish(execution: Execution, world: World) -> RunResult:
    while execution.turn():
        world.now_ms += max(1, int(execution.pause_s * 1000))
        world.on_sleep()
    assert execution.result is not None
    return execution.result


def test_a_tool_that_was_a_little_slower_does_not_fence_who_is_at_work(world: World) -> None:
    first, second = (world.orchestrator().start("switch", world.request(RIGHT)) for _ in range(2))
    for _ in range(2):
        second.turn()  # it looked, and saw no mark
    while first.current is None:
        first.turn()
    live, beats = world.on_sleep, iter(range(2, 10_000))

    def beat() -> None:
        live()
        holder = world.clusters[LEFT].view().mark
        assert holder is not None
        mark = Mark(holder.run, holder.owner, next(beats))
        world.clusters[LEFT].state.append(mark.record(SCOPE))

    world.on_sleep = beat
    locked = finish(second, world)
    assert (locked.result, locked.changed) == ("locked", False)
    world.on_sleep = live
    assert finish(first, world).result == "switched"


def test_a_run_that_was_fenced_after_its_commit_is_completed_by_who_fenced_it(
    world: World,
) -> None:
    first, second = (world.orchestrator().start("switch", world.request(RIGHT)) for _ in range(2))
    while first.current is None or not first.current.committed:
        first.turn()
        world.on_sleep()
    second._stage = second._lock  # it looked before, and saw no mark
    second._views = {alias: cluster.view() for alias, cluster in world.clusters.items()}
    second._marks = {a: v.mark for a, v in second._views.items() if v.mark is not None}
    second._planned_on = Revision(1, 0)
    assert finish(second, world).result == "switched"
    fenced = finish(first, world)
    assert (fenced.result, fenced.changed, fenced.epoch) == ("locked", True, 2)
    assert f"{RIGHT} is active" in fenced.message
    assert world.orchestrator().resume().result == "unchanged"


def test_an_old_side_that_lives_hears_that_it_was_given_up(world: World) -> None:
    """Who reaches only that one stops writing and reading there; it is compared all the same."""
    asked = world.request(RIGHT, emergency=True, allow_data_loss=True, old_side_alive=True)
    assert world.orchestrator().switch(asked).result == "switched"
    told = world.clusters[LEFT].view()
    assert told.state is not None
    assert (told.state.epoch.counter, told.state.active, told.state.unplanned) == (2, RIGHT, (2,))
    assert all(LEFT not in row.ends for rows in told.ledger.values() for row in rows.values())
    assert world.orchestrator().rejoin(LEFT).changed


def test_an_unplanned_switch_that_committed_is_not_undone_by_who_saw_only_the_returned_side(
    world: World,
) -> None:
    """Closing was tried on LEFT too, so its journal knows the run; the commit is on RIGHT alone."""
    live = world.on_publish

    def die() -> None:
        live()
        shown = world.clusters[RIGHT].view().state
        if shown is not None and shown.epoch.counter == 2:
            raise Crash

    world.on_publish = die
    asked = world.request(RIGHT, emergency=True, allow_data_loss=True, old_side_alive=True)
    with pytest.raises(Crash):
        world.orchestrator().switch(asked)
    world.on_publish = live
    world.clusters[RIGHT].up = False
    closing = world.clusters[LEFT].view().state
    assert closing is not None
    assert closing.phase is Phase.CLOSING
    sleeps = []

    def come_back() -> None:
        sleeps.append(world.now_ms)
        world.clusters[RIGHT].up = len(sleeps) > 5
        live()

    world.on_sleep = come_back
    world.orchestrator().resume()
    shown = world.clusters[RIGHT].view().state
    assert shown is not None
    assert (shown.epoch.counter, shown.active, shown.phase) == (2, RIGHT, Phase.ACTIVE)
