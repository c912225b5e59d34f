"""An unplanned switch over clusters in memory whose mirror was killed and has sent it twice."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from clientlib.protocol.errors import TimedOutError
from clientlib.protocol.fingerprint import LogRecord
from clientlib.protocol.skips import Skip
from clientlib.protocol.types import Partition
from failover.core import report
from failover.core.restarts import kills
from failover.core.result import ExitCode, RunResult
from failover.io.ports import Records, Window
from tests.unit.switch_world import LEFT, RIGHT, SCOPE, Crash, Reader, World
from tests.unit.test_switch_engine_fake import lively, state

STATUS, OFFSETS = "mm2-status.LEFT.internal", "mm2-offsets.LEFT.internal"


def write(world: World, count: int, on: str = LEFT) -> None:
    """Write to T1[0], a record each 100 ms, and copy it."""
    for _ in range(count):
        world.now_ms += 100
        world.write(on, "T1", 0, f"at {world.now_ms}")
    world.replicate()


def repeating(*, back: int = 30, again: int | None = None) -> World:
    """50 records are flushed, 30 more sent; then MM2 is killed and sends ``again`` of them."""
    world = lively()
    write(world, 30)
    world.flush()
    write(world, 30)
    world.kill_mirror({("T1", 0): back})
    if again is None:
        world.replicate()
        write(world, 10)
    else:
        world.replicate(again)
    world.clusters[LEFT].up = False
    world.now_ms += 5_000
    return world


def emergency(world: World, to: str = RIGHT) -> RunResult:
    asked = world.request(to, emergency=True, allow_data_loss=True)
    return world.orchestrator().switch(asked)


def skips(world: World, counter: int = 1) -> Mapping[str, Mapping[int, Skip]]:
    return world.merged().ledger["T1"][counter].skip


def test_what_was_sent_twice_is_skipped_and_told() -> None:
    world = repeating()
    result = emergency(world)
    assert (result.exit_code, result.warnings) == (ExitCode.OK, ())
    assert skips(world) == {RIGHT: {0: ((80, 110),)}}
    assert world.merged().ledger["T1"][1].ends == {RIGHT: {0: 120, 1: 20}}
    assert "; 30 records that MirrorMaker 2 has sent twice are skipped, in 1 part" in result.message
    assert result.measured["repeats_skipped"] == 30
    told = report.report(world.clusters[RIGHT].view(), SCOPE, result.run)
    assert told is not None
    assert (told.message, told.measured) == (result.message, result.measured)


def test_a_repeat_that_ends_with_its_cluster_is_skipped_as_far_as_it_came() -> None:
    world = repeating(again=20)
    emergency(world)
    assert skips(world) == {RIGHT: {0: ((80, 100),)}}


def test_what_comes_again_while_the_run_waits_for_the_mirror_is_found_too() -> None:
    """It was begun before writes close, and the copy has grown since."""
    world = repeating(again=5)
    sleeps, live = [], world.on_sleep
    world.clusters[LEFT].up = True  # what the mirror has read already, it still sends
    world.copying = False
    answers = world.orchestrator()
    answers.ports.admin.probe = lambda alias, within_s: lambda: False

    def send_on() -> None:
        sleeps.append(world.now_ms)
        world.copying = 3 < len(sleeps) < 10
        world.replicate(2)
        world.copying = False
        live()

    world.on_sleep = send_on
    result = answers.switch(world.request(RIGHT, emergency=True, allow_data_loss=True))
    assert result.exit_code is ExitCode.OK, result
    (span,) = skips(world)[RIGHT][0]
    assert span[0] == 80
    assert span[1] == len(world.clusters[RIGHT].logs["LEFT.T1"][0]) > 85


class Counting(Reader):
    """Notes which topics are read, as often as they are."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.topics: list[str] = []

    def read(
        self, alias: str, windows: Mapping[Partition, Window], *, committed: bool = False
    ) -> Mapping[Partition, Records]:
        self.topics.extend(part.topic for part in windows)
        return super().read(alias, windows, committed=committed)


def test_where_it_was_not_killed_one_read_is_all_that_it_costs() -> None:
    world = lively()
    write(world, 60)
    world.task(RIGHT, LEFT, "UNASSIGNED", 1)  # a new topic: the task is given back
    world.task(RIGHT, LEFT, "RUNNING", 2)
    world.clusters[LEFT].up = False
    reader = Counting(world)
    result = switched_with(world, reader)
    assert (result.exit_code, result.warnings, reader.topics) == (ExitCode.OK, (), [STATUS])
    assert skips(world) == {}
    assert "twice" not in result.message


def switched_with(world: World, reader: Reader) -> RunResult:
    orchestrator = world.orchestrator()
    ports = orchestrator.ports
    orchestrator.ports = type(ports)(ports.store, ports.admin, reader, ports.clock)
    return orchestrator.switch(world.request(RIGHT, emergency=True, allow_data_loss=True))


@pytest.mark.parametrize(
    ("topic", "told"),
    [(STATUS, "keeps no status on RIGHT"), (OFFSETS, "keeps no offsets on RIGHT")],
)
def test_without_connects_topics_nothing_is_skipped_and_that_is_told(topic: str, told: str) -> None:
    world = repeating()
    del world.clusters[RIGHT].logs[topic]
    result = emergency(world)
    assert result.exit_code is ExitCode.OK
    assert skips(world) == {}
    (warning,) = result.warnings
    assert told in warning


@pytest.mark.parametrize("topic", [STATUS, OFFSETS, "LEFT.T1"])
def test_what_cannot_be_read_is_no_evidence_and_no_failure(topic: str) -> None:
    world = repeating()

    class Blind(Reader):
        def read(
            self, alias: str, windows: Mapping[Partition, Window], *, committed: bool = False
        ) -> Mapping[Partition, Records]:
            if any(part.topic == topic for part in windows):
                raise TimedOutError(f"{topic} cannot be read")
            return super().read(alias, windows, committed=committed)

    result = switched_with(world, Blind(world))
    assert result.exit_code is ExitCode.OK
    assert skips(world) == {}
    assert any(f"{topic} cannot be read" in warning for warning in result.warnings)


def compact(world: World, *before: LogRecord) -> None:
    """Let the offsets topic lack a record, behind those that are written ``before`` what it has."""
    log = world.clusters[RIGHT].logs[OFFSETS][0]
    log[:] = [*before, *(replace(r, offset=r.offset + len(before) + 1) for r in log)]


def test_a_kill_before_the_topic_held_anything_means_nothing_to_it() -> None:
    world = repeating()
    status = world.clusters[RIGHT].logs[STATUS][0]
    long_ago = [replace(status[0], timestamp=n * 1_000) for n in (1, 2)]
    given_back = replace(status[0], timestamp=3_000, value=b'{"state": "UNASSIGNED"}')
    status[:] = [*long_ago, given_back, *status]
    assert kills(status)[:-1] == (2_000,)
    compact(world)
    result = emergency(world)
    assert (result.exit_code, result.warnings) == (ExitCode.OK, ())
    assert skips(world) == {RIGHT: {0: ((80, 110),)}}


def killed_before_the_first_flush(begun_ms: int = 0) -> World:
    """MM2 is killed before it has noted anything, and again when it has: then it repeats 30."""
    world = lively()
    world.now_ms += begun_ms
    write(world, 30)
    world.kill_mirror({})
    world.now_ms += 1_000
    write(world, 30)
    world.flush()
    write(world, 30)
    world.kill_mirror({("T1", 0): 30})
    write(world, 10)
    world.clusters[LEFT].up = False
    world.now_ms += 5_000
    return world


def test_a_kill_of_which_the_offsets_are_gone_is_told_and_the_others_count() -> None:
    world = killed_before_the_first_flush()
    compact(world)
    result = emergency(world)
    assert result.exit_code is ExitCode.OK
    assert skips(world) == {RIGHT: {0: ((110, 140),)}}
    assert [w.partition(": ")[0] for w in result.warnings] == ["T1[0]", "T1[1]"]
    assert all("before one of its kills is not known" in w for w in result.warnings)


def test_a_new_topic_lacks_nothing_that_was_noted_before_it() -> None:
    """Seen on a busy machine: tasks ran anew, not given back, when it had just been written to.

    What was gone from the offsets were end markers of transactions, long before.
    """
    world = killed_before_the_first_flush(60_000)
    long_ago = LogRecord(0, 1, None, None), LogRecord(2, 2, None, None)
    compact(world, *long_ago)
    result = emergency(world)
    assert (result.exit_code, result.warnings) == (ExitCode.OK, ())
    assert skips(world) == {RIGHT: {0: ((110, 140),)}}


def test_what_was_found_before_the_copies_grew_is_not_taken_when_they_cannot_be_read() -> None:
    """Here it goes on with other records: it was no repeat."""
    world = repeating(again=20)
    looked: list[str] = []
    live = world.on_sleep

    class Fickle(Reader):
        def read(
            self, alias: str, windows: Mapping[Partition, Window], *, committed: bool = False
        ) -> Mapping[Partition, Records]:
            if "LEFT.T1" in looked and any(part.topic == STATUS for part in windows):
                raise TimedOutError("not now")
            looked.extend(part.topic for part in windows)
            return super().read(alias, windows, committed=committed)

    def grow() -> None:
        if looked[-1:] == ["LEFT.T1"]:
            world.write(RIGHT, "LEFT.T1", 0, "something else")
            looked.append("")
        live()

    world.on_sleep = grow
    result = switched_with(world, Fickle(world))
    assert result.exit_code is ExitCode.OK
    assert skips(world) == {}
    assert any("not now" in warning for warning in result.warnings)


def test_a_partition_of_which_it_is_not_known_is_named() -> None:
    """MM2 went back to another place than it had noted."""
    world = repeating(back=29)
    result = emergency(world)
    assert result.exit_code is ExitCode.OK
    assert skips(world) == {}
    (warning,) = result.warnings
    assert warning.startswith("T1[0]: ")
    assert "a group that lags may get records twice" in warning


def calls_of_an_emergency() -> int:
    world = repeating()
    before = world.calls
    emergency(world)
    return world.calls - before


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, calls_of_an_emergency() + 1))
def test_a_crash_at_any_call_changes_nothing_of_it(at: int, after: bool) -> None:
    world = repeating()
    world.crash_at, world.crash_after = world.calls + at, after
    with pytest.raises(Crash):
        emergency(world)
    world.crash_at = None
    resumed = world.orchestrator().resume()
    assert resumed.exit_code is ExitCode.OK, resumed
    again = emergency(world)
    assert again.exit_code is ExitCode.OK, again
    assert state(world).active == RIGHT
    assert skips(world) == {RIGHT: {0: ((80, 110),)}}


@pytest.mark.parametrize("again", [None, 20])
def test_the_cluster_that_returns_is_equal_and_its_mirror_repeats_on(again: int | None) -> None:
    """What follows behind the lost epoch's end is found by the next switch, planned or not."""
    world = repeating(again=again)
    emergency(world)
    world.clusters[LEFT].up = True
    world.replicate()
    write(world, 5, on=RIGHT)
    back = world.orchestrator().switch(world.request(LEFT))
    assert (back.result, back.epoch) == ("switched", 3), back
    home = 90 if again is None else 80
    assert world.merged().ledger["T1"][1].ends[LEFT] == {0: home, 1: 20}
    assert world.merged().ledger["T1"][1].late == {}
    write(world, 40)
    world.clusters[LEFT].up = False
    lost = emergency(world)
    assert (lost.exit_code, lost.warnings) == (ExitCode.OK, ())
    left = {} if again is None else {RIGHT: {0: ((100, 110),)}}
    assert skips(world, 3) == left


def test_a_planned_switch_after_it_proves_the_rest() -> None:
    world = repeating(again=20)
    emergency(world)
    world.clusters[LEFT].up = True
    world.replicate()
    world.orchestrator().switch(world.request(LEFT))
    write(world, 40)
    assert world.orchestrator().switch(world.request(RIGHT)).result == "switched"
    assert skips(world, 3) == {RIGHT: {0: ((100, 110),)}}


def test_a_mirror_that_is_killed_in_the_next_epoch_goes_back_to_the_one_before() -> None:
    world = lively()
    write(world, 30)
    world.flush()
    write(world, 30)
    assert world.orchestrator().switch(world.request(RIGHT)).result == "switched"
    assert world.orchestrator().switch(world.request(LEFT)).result == "switched"
    write(world, 20)
    world.kill_mirror({("T1", 0): 50})
    write(world, 20)
    world.clusters[LEFT].up = False
    world.now_ms += 5_000
    result = emergency(world)
    assert (result.exit_code, result.warnings) == (ExitCode.OK, ())
    assert skips(world, 3) == {RIGHT: {0: ((100, 150),)}}


def test_a_kill_of_an_epoch_that_is_closed_costs_nothing_in_the_next() -> None:
    world = lively()
    write(world, 60)
    world.flush()
    world.kill_mirror({})
    world.now_ms += 60_000
    for to in (RIGHT, LEFT):
        assert world.orchestrator().switch(world.request(to)).result == "switched"
        world.now_ms += 60_000
    write(world, 20)
    world.clusters[LEFT].up = False
    reader = Counting(world)
    assert switched_with(world, reader).exit_code is ExitCode.OK
    assert reader.topics == [STATUS]
