"""An assignment that comes without a revoke before it: what is held is finished first.

librdkafka joins again without a revoke where an assignment still waits for a poll; the application
takes that one up, reads by it, and is given another.
"""

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from clientlib.core.seat import Seat, SeatKey, Stage
from clientlib.core.tracker import Span, Tracker
from clientlib.io.commits import Track
from clientlib.io.runtime import Options, Runtime
from clientlib.protocol.naming import DefaultReplicationPolicy, Naming
from clientlib.protocol.types import Partition, Position
from tests.unit.test_runtime import FixedWatch, ManualClock, Member

NAMING = Naming(DefaultReplicationPolicy("."), ("LEFT", "RIGHT"))
P0, P1, P2 = (TopicPartition("T", number) for number in range(3))


class Group(Member):
    """Takes every commit, and notes it in order with what else happens."""

    def __init__(self, clock: ManualClock, done: list[str]) -> None:
        super().__init__(clock, 0.0)
        self.done = done

    def commit(self, *, offsets: list[Any], asynchronous: bool) -> Any:
        self.done += [f"commits {tp.partition} at {tp.offset}" for tp in offsets]
        return offsets

    def assign(self, partitions: list[Any]) -> None:
        self.done.append(f"assigns {len(partitions)}")

    def resume(self, _partitions: list[Any]) -> None:
        self.done.append("goes on")

    def unassign(self) -> None:
        self.done.append("assigns 0")

    def incremental_assign(self, partitions: list[Any]) -> None:
        self.done.append(f"adds {len(partitions)}")


class Jobs:
    def submit(self, job: Any) -> None:
        """The group's commits are not read here."""

    def collect(self) -> tuple[()]:
        return ()


def reading(*numbers: int, **options: Any) -> tuple[Runtime, list[str]]:
    """Return a runtime that reads partitions of T on LEFT and is at 8, and what it does then."""
    clock, done = ManualClock(), list[str]()
    members = {alias: Group(clock, done) for alias in NAMING.aliases}
    return reading_from(members, clock, *numbers, **options), done


def reading_from(
    members: Any, clock: ManualClock, *numbers: int, waiting: Any = None, **options: Any
) -> Runtime:
    """Return a runtime over these members that reads partitions of T on LEFT and is at 8."""
    runtime = Runtime(
        Options("g", **{"auto_commit": False, **options}),
        NAMING,
        members,
        jobs=Jobs(),  # type: ignore[arg-type]  # what the runtime calls here
        watch=FixedWatch(),  # type: ignore[arg-type]  # as above
        clock=clock,
        reset=lambda *_: None,
        waiting=waiting,
    )
    for number in numbers:
        key = SeatKey("LEFT", Partition("T", number))
        tracker, span = Tracker({"LEFT": 5}), Span("LEFT", "T", 5, None, next=8)
        tracker.begin(span)
        base = Position(1, "LEFT", {"LEFT": 5})
        seat = Seat(key, stage=Stage.READING, tracker=tracker, base=base)
        runtime.session.seats[key] = seat
        runtime.tracks["T", number] = Track(seat, span, "LEFT")
        runtime._commits.begin(seat)
    runtime._active = "LEFT"
    return runtime


def _owned(runtime: Runtime) -> set[int]:
    return {key.partition.number for key in runtime.session.seats}


def test_what_stays_is_revoked_and_committed_before_it_is_assigned() -> None:
    runtime, done = reading(0, 1, auto_commit=True)

    def on_revoke(_: Any, partitions: list[TopicPartition]) -> None:
        done.append(f"revokes {[tp.partition for tp in partitions]}")

    runtime.callbacks.on_revoke = on_revoke
    runtime.on_owned("LEFT", [P0, P1])
    assert done == ["revokes [0, 1]", "commits 0 at 8", "commits 1 at 8", "assigns 0"]
    assert all(seat.stage is Stage.LOOKING for seat in runtime.session.seats.values())


def test_what_went_to_another_member_is_lost_and_cannot_be_committed() -> None:
    """The broker would take it: the member's generation is a new one, that of the new owner."""
    runtime, done = reading(0, 1, auto_commit=True)
    refused: list[KafkaException] = []

    def on_lost(_: Any, partitions: list[TopicPartition]) -> None:
        done.append(f"loses {[tp.partition for tp in partitions]}")
        for offsets in ([TopicPartition("T", 1, 8)], None):
            with pytest.raises(KafkaException) as caught:
                runtime.commit(offsets, covering=True, asynchronous=False)
            refused.append(caught.value)

    runtime.callbacks.on_lost = on_lost
    runtime.on_owned("LEFT", [P0])
    assert done == ["commits 0 at 8", "loses [1]", "assigns 0"]
    assert [error.args[0].code() for error in refused] == [
        KafkaError.ILLEGAL_GENERATION,
        KafkaError._NO_OFFSET,
    ]
    assert _owned(runtime) == {0}


def test_what_an_incremental_assignment_adds_leaves_the_rest_alone() -> None:
    runtime, done = reading(0, 1, incremental=True)
    runtime.on_owned("LEFT", [P2])
    assert done == ["adds 0"]
    assert _owned(runtime) == {0, 1, 2}
    stages = {k.partition.number: s.stage for k, s in runtime.session.seats.items()}
    assert stages == {0: Stage.READING, 1: Stage.READING, 2: Stage.LOOKING}


def test_a_first_assignment_revokes_nothing() -> None:
    runtime, done = reading()
    runtime.on_owned("LEFT", [P0, P1])
    assert done == ["assigns 0"]
    assert _owned(runtime) == {0, 1}


@pytest.mark.parametrize("classic", [True, False])
def test_a_member_whose_session_has_ended_is_away_until_it_hears_of_its_next_assignment(
    classic: bool,
) -> None:
    """By `group.protocol=consumer` it stays the member that it was, and hears of no empty one."""
    runtime, _ = reading(0, classic=classic)
    runtime.on_disowned("LEFT", [P0], lost=False)
    assert runtime.away == set()
    runtime.on_owned("LEFT", [P0])
    runtime.on_disowned("LEFT", [P0], lost=True)
    assert runtime.away == ({"LEFT"} if classic else set())
    runtime.on_owned("LEFT", [])
    assert runtime.away == set()
