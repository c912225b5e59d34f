"""The consumer's shell over a fake member: what a simulation with virtual time cannot show."""

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError, TopicPartition

from clientlib.core.seat import Seat, SeatKey
from clientlib.core.tracker import Span
from clientlib.io.commits import Track
from clientlib.io.runtime import Options, Runtime
from clientlib.protocol.naming import DefaultReplicationPolicy, Naming
from clientlib.protocol.state import View
from clientlib.protocol.types import Partition

if TYPE_CHECKING:
    from collections.abc import Callable

NAMING = Naming(DefaultReplicationPolicy("."), ("LEFT", "RIGHT"))


class ManualClock:
    def __init__(self) -> None:
        self.at = 100.0

    def now(self) -> float:
        return self.at

    def wall_ms(self) -> int:
        return int(self.at * 1000)

    def sleep(self, seconds: float) -> None:
        self.at += seconds


class FixedWatch:
    version = -1

    def view(self) -> View:
        return View()

    def fresh(self, cluster: str) -> bool:
        return True


class NoJobs:
    def submit(self, job: Any) -> None:
        raise AssertionError(job)

    def collect(self) -> tuple[()]:
        return ()


class Member:
    """Gives records from a list, after ``takes`` seconds inside the call."""

    def __init__(self, clock: ManualClock, takes: float) -> None:
        self.clock, self.takes = clock, takes
        self.fetched: list[Any] = []
        self.sought: list[TopicPartition] = []

    def poll(self, timeout: float) -> Any:
        self.clock.at += self.takes if self.fetched else timeout
        return self.fetched.pop(0) if self.fetched else None

    def consume(self, count: int, timeout: float) -> list[Any]:
        self.clock.at += self.takes if self.fetched else timeout
        batch, self.fetched = self.fetched[:count], self.fetched[count:]
        return batch

    def seek(self, tp: TopicPartition) -> None:
        self.sought.append(tp)


def record(topic: str, partition: int, offset: int) -> Any:
    fields = {"topic": topic, "partition": partition, "offset": offset, "error": None}
    return SimpleNamespace(**{name: lambda v=value: v for name, value in fields.items()})


def reading(takes: float) -> tuple[Runtime, Member, Span]:
    """Return a runtime that reads T[0] of LEFT from offset 5."""
    clock = ManualClock()
    left, right = Member(clock, takes), Member(clock, 0.0)
    runtime = Runtime(
        Options("g"),
        NAMING,
        {"LEFT": left, "RIGHT": right},  # type: ignore[dict-item]  # only what the runtime calls here
        jobs=NoJobs(),  # type: ignore[arg-type]  # as above
        watch=FixedWatch(),  # type: ignore[arg-type]  # as above
        clock=clock,
        reset=lambda *_: None,
    )
    span = Span("LEFT", "T", 5, None)
    runtime.tracks["T", 0] = Track(Seat(SeatKey("LEFT", Partition("T", 0))), span, "LEFT")
    runtime._active = "LEFT"
    left.fetched = [record("T", 0, 5), record("T", 0, 6)]
    return runtime, left, span


def test_a_record_that_came_in_time_is_delivered() -> None:
    runtime, left, span = reading(takes=0.01)
    message = runtime.poll(0.1)
    assert message is not None
    assert (message.offset(), span.next, left.sought) == (5, 6, [])


def test_a_record_fetched_before_the_process_was_stopped_is_not_delivered_after_it() -> None:
    """Stopped inside the call, the partition may be another member's by the time it returns."""
    runtime, left, span = reading(takes=9.0)
    assert runtime.poll(0.1) is None
    assert (span.next, left.sought) == (5, [TopicPartition("T", 0, 5)])
    assert [tp.offset for tp in left.sought] == [5]


@pytest.mark.parametrize("code", [KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET])
def test_an_event_fetched_before_the_process_was_stopped_comes_again(code: int) -> None:
    """librdkafka tells the end of a log once: the partition would never be drained."""
    for fetch in (lambda r: r.poll(0.1), lambda r: r.consume(10, 0.1)):
        runtime, left, span = reading(takes=9.0)
        span.next = 7
        event = record("T", 0, 7)
        event.error = lambda: KafkaError(code)
        left.fetched = [event]
        assert not fetch(runtime)
        assert [(tp.partition, tp.offset) for tp in left.sought] == [(0, 7)]


class StoppedOnce(NoJobs):
    """The process is stopped once inside a turn."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock, self._seconds = clock, 14.0

    def collect(self) -> tuple[()]:
        self._clock.at, self._seconds = self._clock.at + self._seconds, 0.0
        return ()


def test_a_process_that_was_stopped_inside_a_turn_looks_again_before_it_delivers() -> None:
    """Inside a commit, say: its partitions were another member's by then; 2 records came again."""
    ways: list[Callable[[Runtime], Any]] = [lambda r: r.poll(0.0), lambda r: r.consume(10, 0.0)]
    for fetch in ways:
        runtime, left, _ = reading(takes=0.0)
        runtime._jobs = StoppedOnce(left.clock)  # type: ignore[assignment]  # only what a turn calls
        assert not fetch(runtime)
        assert len(left.fetched) == 2
        assert runtime.attention
        assert fetch(runtime)


def test_a_batch_fetched_before_the_process_was_stopped_is_fetched_again() -> None:
    runtime, left, span = reading(takes=9.0)
    assert runtime.consume(10, 0.1) == []
    assert [tp.offset for tp in left.sought] == [5]
    assert span.next == 5
