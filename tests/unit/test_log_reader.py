"""How long a window of a log may take."""

from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaException

from clientlib.io import kafka
from clientlib.io.log_reader import _window
from clientlib.protocol.windows import ReadWindow
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
    assert len(_window(slow, ReadWindow("target", 0, 60, 200))) == 60


def test_a_log_that_falls_silent_is_not_waited_for(clock: ManualClock) -> None:
    slow: Any = Slow(clock, silent_at=30)
    with pytest.raises(KafkaException, match="could not be read"):
        _window(slow, ReadWindow("target", 0, 60, 200))
    assert clock.at < 200
