"""Where members begin to read, when they are assigned again before anything was read."""

from typing import Any

import pytest
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from clientlib.io.runtime import Runtime
from tests.unit.test_assigned_anew import NAMING, reading_from
from tests.unit.test_runtime import ManualClock, Member, record


class Log(Member):
    """A member that notes where it begins to read; its logs end at 40, if they tell."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock, 0.0)
        self.begun: list[dict[int, int]] = []
        self.tells = True

    def get_watermark_offsets(self, _part: TopicPartition, _timeout: float) -> tuple[int, int]:
        if not self.tells:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return 2, 40

    def assign(self, partitions: list[Any]) -> None:
        self.begun.append({tp.partition: tp.offset for tp in partitions})

    def incremental_assign(self, partitions: list[Any]) -> None:
        self.assign(partitions)

    def incremental_unassign(self, partitions: list[Any]) -> None:
        pass

    def resume(self, partitions: list[Any]) -> None:
        pass


def _assigned(
    offset: int, *, tells: bool = True, incremental: bool = False
) -> tuple[Runtime, Log, Any]:
    """Let the application ask for ``offset`` in ``on_assign``; partition 1 comes a moment later."""
    clock = ManualClock()
    members = {alias: Log(clock) for alias in NAMING.aliases}
    members["LEFT"].tells = tells
    runtime = reading_from(members, clock, 0, 1, incremental=incremental)
    later = runtime.tracks.pop(("T", 1))
    runtime.asked([TopicPartition("T", 0, offset)])
    runtime.assignment.apply("LEFT")
    return runtime, members["LEFT"], later


def _begins(offset: int, *, read: bool = False, **options: Any) -> list[dict[int, int]]:
    """Return where both begin, each time; ``read``: a record of partition 0 came in between."""
    runtime, member, later = _assigned(offset, **options)
    if read:
        member.fetched = [record("T", 0, 3)]
        assert runtime.poll(0.1) is not None
    runtime.tracks["T", 1] = later
    runtime.assignment.apply("LEFT")
    return member.begun


@pytest.mark.parametrize(
    ("asked", "first", "again"),
    [
        (OFFSET_BEGINNING, OFFSET_BEGINNING, OFFSET_BEGINNING),
        (OFFSET_END, 40, 40),  # what is written in between would not be read
        (6, 6, 6),
    ],
)
def test_where_the_application_wants_to_begin_counts_until_something_was_read(
    asked: int, first: int, again: int
) -> None:
    assert _begins(asked) == [{0: first}, {0: again, 1: 8}]
    assert _begins(asked, incremental=True) == [{0: first}, {1: 8}]


def test_what_was_read_counts_from_then_on() -> None:
    assert _begins(OFFSET_BEGINNING, read=True) == [{0: OFFSET_BEGINNING}, {0: 4, 1: 8}]


def test_an_end_that_nobody_knew_is_not_another_one_later() -> None:
    assert _begins(OFFSET_END, tells=False) == [{0: OFFSET_END}, {0: 8, 1: 8}]


def test_a_place_is_forgotten_with_its_partition() -> None:
    runtime, member, _ = _assigned(OFFSET_BEGINNING)
    track = runtime.tracks.pop(("T", 0))
    runtime.assignment.forget(("T", 0))
    runtime.assignment.apply("LEFT")
    runtime.tracks["T", 0] = track
    runtime.assignment.apply("LEFT")
    assert member.begun == [{0: OFFSET_BEGINNING}, {}, {0: 8}]
