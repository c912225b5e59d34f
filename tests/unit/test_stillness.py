"""Since when copies have not grown: what was seen ahead of the lock counts, and only if it held."""

from collections.abc import Mapping, Sequence

import pytest

from clientlib.protocol.types import Partition
from failover.core.result import ExitCode, RunResult
from failover.settled import Seen, Stillness
from tests.unit.switch_world import LEFT, RIGHT, World
from tests.unit.test_switch_engine_fake import lively

A, B = Partition("LEFT.T", 0), Partition("LEFT.T", 1)
AHEAD = Seen({A: 5, B: 7, Partition("T", 0): 1}, 1_000)


@pytest.mark.parametrize(
    ("first", "looks", "since_ms"),
    [
        (Seen(), [({A: 5}, 2_000)], 2_000),
        (Seen(), [({A: 5}, 2_000), ({A: 5}, 2_200)], 2_000),
        (Seen(), [({A: 5}, 2_000), ({A: 6}, 2_200)], 2_200),
        (AHEAD, [({A: 5, B: 7}, 2_000)], 1_000),
        (AHEAD, [({A: 5, B: 8}, 2_000)], 2_000),
        (AHEAD, [({A: 5, B: 8}, 2_000), ({A: 5, B: 8}, 2_200)], 2_000),
        (AHEAD, [({A: 5, B: 7}, 2_000), ({A: 6, B: 7}, 2_200)], 2_200),
        (AHEAD, [({A: 5, Partition("LEFT.new", 0): 0}, 2_000)], 2_000),
    ],
)
def test_since_when_logs_have_not_grown(
    first: Seen, looks: Sequence[tuple[Mapping[Partition, int], int]], since_ms: int
) -> None:
    stillness = Stillness(first)
    told = [stillness.since_ms(ends, now_ms) for ends, now_ms in looks]
    assert told[-1] == since_ms


def emergency(world: World) -> RunResult:
    world.clusters[LEFT].up = False
    result = world.orchestrator().switch(world.request(RIGHT, emergency=True, allow_data_loss=True))
    assert result.exit_code == ExitCode.OK, result
    return result


def settled_ms(world: World) -> int:
    return int(emergency(world).measured["phases_ms"]["settle"])


def still() -> World:
    world = lively()
    world.replicate()
    return world


def test_a_quiet_mirror_is_not_waited_for_once_more() -> None:
    world = still()
    assert settled_ms(world) >= 300
    world = still()
    world.warming_s = 0.5
    assert settled_ms(world) == 0


def test_a_mirror_that_still_wrote_while_the_lock_was_taken_is_waited_for() -> None:
    world = still()
    world.warming_s = 0.5
    live, late = world.on_sleep, list(world.clusters[LEFT].logs["T1"][0][:3])

    def write_on() -> None:
        if late:
            world.clusters[RIGHT].logs["LEFT.T1"][0].append(late.pop())
        live()

    world.on_sleep = write_on
    assert settled_ms(world) >= 200
