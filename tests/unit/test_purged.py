"""The order of records that a given-up cluster never acknowledged."""

from collections.abc import Iterable
from itertools import pairwise

from clientlib.core.purged import in_order, in_turn
from clientlib.core.replay_buffer import Kept


def tell(_error: object, _message: object) -> None:
    """The application's callback."""


def returned(*produced: float, taken: Iterable[float]) -> list[Kept]:
    """Reports, made at once, of records produced then, and when the process got to take each."""
    found = []
    for number, (at, (before, now)) in enumerate(
        zip(produced, pairwise([100.0, *taken]), strict=True)
    ):
        latency = before - at
        window = (before - latency, now - latency)
        found.append(purged(number, window, guessed=True))
    return found


def purged(number: int, window: tuple[float, float], *, partition: int = 0, guessed: bool) -> Kept:
    """Return a record as its report tells it, without offset and time."""
    value, at_ms = str(number).encode(), int(window[0] * 1000)
    found = Kept("T", partition, None, value, None, at_ms, None, tell)
    return found._replace(window=window, guessed=guessed)


def numbers(kept: Iterable[Kept]) -> list[int]:
    return [int(one.value) for one in kept]


def test_what_was_on_its_way_was_produced_before_what_waited() -> None:
    """librdkafka reports what waits first, then what it had packed, then what it had sent."""
    reports = returned(3.0, 4.0, 5.0, 2.0, 2.1, 1.0, 1.1, taken=[100.0] * 7)
    assert numbers(in_order(reports)) == [5, 6, 3, 4, 0, 1, 2]


def test_a_report_that_is_taken_half_a_second_late_does_not_move_its_record() -> None:
    """Seen with two busy cores: one record of 782 came 270 records late."""
    reports = returned(1.0, 1.125, 1.25, 1.375, taken=[100.0, 100.5, 100.5, 100.5])
    ordered = in_order(reports)
    assert numbers(ordered) == [0, 1, 2, 3]
    assert [one.at_ms for one in ordered] == [1000, 1250, 1250, 1375]


def test_a_late_report_at_the_end_of_what_waited_stays_there() -> None:
    reports = returned(5.0, 5.1, 1.0, 1.1, taken=[100.0, 100.5, 100.5, 100.5])
    assert numbers(in_order(reports)) == [2, 3, 0, 1]


def test_times_that_an_application_gives_do_not_decide_the_order_of_a_partition() -> None:
    """They may run backwards; partitions are merged by them, that is all."""
    times = [(0, 50), (1, 40), (0, 20), (0, 60), (1, 70)]
    records = [
        purged(n, (at / 1000, at / 1000), partition=part, guessed=False)
        for n, (part, at) in enumerate(times)
    ]
    merged = in_turn(records)
    assert numbers(merged) == [1, 0, 2, 3, 4]
