"""How long a window of a log may take."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException

from clientlib.io import kafka
from tests.unit.test_runtime import ManualClock, record


class Slow:
    """Gives a record a second, up to one at which it falls silent."""

    def __init__(self, clock: ManualClock, silent_at: int) -> None:
        self.clock, self.silent_at, self.next = clock, silent_at, 0

    def consume(self, _count: int, _wait: float) -> list[Any]:
        self.clock.at += 1.0
        if self.next == self.silent_at:
            return []
        self.next += 1
        return [record("T", 0, self.next - 1)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    clock = ManualClock()
    monkeypatch.setattr(kafka, "time", SimpleNamespace(monotonic=clock.now))
    return clock


def test_a_window_that_takes_long_is_read_to_its_end(clock: ManualClock) -> None:
    """A partition with a long lag would be read from the same start again and again."""
    slow: Any = Slow(clock, silent_at=100)
    assert len(list(kafka.records_of(slow, 0, 60, most=200, silent_s=5.0))) == 60


def test_a_log_that_falls_silent_is_not_waited_for(clock: ManualClock) -> None:
    slow: Any = Slow(clock, silent_at=30)
    with pytest.raises(KafkaException, match="could not be read"):
        list(kafka.records_of(slow, 0, 60, most=200, silent_s=5.0))
    assert clock.at < 200


class Held:
    """A log that is there already; ``waits`` counts the calls that got less than they wanted."""

    def __init__(self, *offsets: int, error: KafkaError | None = None) -> None:
        self._coming: list[Any] = [record("T", 0, offset) for offset in offsets]
        last = error if error is not None else KafkaError(KafkaError._PARTITION_EOF)
        self._coming.append(SimpleNamespace(error=lambda: last, offset=lambda: offsets[-1] + 1))
        self.waits = 0

    def consume(self, count: int, _wait: float) -> list[Any]:
        given, self._coming = self._coming[:count], self._coming[count:]
        self.waits += len(given) < count
        return given


@pytest.mark.parametrize(
    ("held", "end", "most", "expected", "waits"),
    [
        (range(5000), 5000, 9999, range(5000), 0),  # a wait for each window made switches slow
        (range(5000), 3000, 9999, range(3000), 0),
        (range(5000), 5000, 2500, range(2500), 0),
        (range(5000), 0, 10, [], 0),
        ([0, 1, 7, 9], 10, 99, [0, 1, 7, 9], 1),  # compacted
        ([0, 1, 7, 12], 10, 99, [0, 1, 7], 1),
        ([0, 1], 10, 99, [0, 1], 1),  # its end is a marker
        ([20, 21], 10, 99, [], 1),  # retention has passed the window
    ],
)
def test_a_window_is_read_without_waiting_for_what_is_not_there(
    held: list[int], end: int, most: int, expected: list[int], waits: int
) -> None:
    log: Any = Held(*held)
    found = kafka.records_of(log, 0, end, most=most, silent_s=5.0)
    assert [message.offset() for message in found] == list(expected)
    assert log.waits == waits


def test_a_log_that_was_cut_short_is_not_read_from_its_beginning_instead() -> None:
    log: Any = Held(0, 1, 2)
    with pytest.raises(KafkaException, match="OFFSET_OUT_OF_RANGE"):
        list(kafka.records_of(log, 10, 20, most=99, silent_s=5.0))


def test_a_log_that_ends_early_is_not_whole() -> None:
    """Just after a leader has changed it ends before what was told everybody."""
    found = kafka.records_of(cast("Any", Held(0, 1)), 0, 5, most=99, silent_s=5.0, whole=True)
    assert [next(found).offset(), next(found).offset()] == [0, 1]
    with pytest.raises(KafkaException, match="_TIMED_OUT"):
        next(found)
    compacted = kafka.records_of(cast("Any", Held(0, 4)), 0, 5, most=99, silent_s=5.0, whole=True)
    assert len(list(compacted)) == 2


def test_an_error_of_the_log_is_raised_behind_what_was_read() -> None:
    log: Any = Held(0, 1, error=KafkaError(KafkaError._TRANSPORT))
    found = kafka.records_of(log, 0, 10, most=99, silent_s=5.0)
    assert [next(found).offset(), next(found).offset()] == [0, 1]
    with pytest.raises(KafkaException, match="_TRANSPORT"):
        next(found)
