"""Where the position of a lost log is in its copy, by what its reader remembers."""

import pytest

from clientlib.protocol.fingerprint import LogRecord, fingerprint
from clientlib.protocol.recover import Memory, Print, Recovered, RecoverRequest, Recovery
from clientlib.protocol.windows import Span


def record(number: int, offset: int) -> LogRecord:
    return LogRecord(offset, 1000 + number, None, f"v{number}".encode())


def remembered(numbers: range) -> Memory:
    return Memory(tuple(Print(n, fingerprint(record(n, n))) for n in numbers))


def recovered(copy: list[LogRecord], memory: Memory, position: int, **more: int) -> Recovered:
    target = Span(more.get("first", 0), more.get("end", len(copy)))
    request = RecoverRequest(memory, position, 0, target, more.get("floor", target.start))
    return answer(copy, request)


def answer(copy: list[LogRecord], request: RecoverRequest) -> Recovered:
    search = Recovery(request)
    while (window := search.next_request()) is not None:
        search.feed([r for r in copy if window.start <= r.offset < window.end][: window.limit])
    assert search.result is not None
    return search.result


def copy_of(numbers: list[int]) -> list[LogRecord]:
    return [record(number, offset) for offset, number in enumerate(numbers)]


@pytest.mark.parametrize("position", [1, 40, 99, 100])
def test_a_position_that_the_copy_holds_is_found_exactly(position: int) -> None:
    memory = remembered(range(max(0, position - 20), position))
    found = recovered(copy_of(list(range(100))), memory, position)
    assert (found.offset, found.again, found.beyond) == (position, 0, False)


def test_a_position_beyond_the_copy_is_its_end_and_says_what_was_processed_there() -> None:
    memory = remembered(range(80, 130))
    found = recovered(copy_of(list(range(100))), memory, 120)
    assert (found.offset, found.beyond, found.again) == (100, True, 0)
    assert found.ahead == tuple(p.print for p in memory.prints if 100 <= p.offset < 120)


def test_a_copy_that_ends_before_everything_remembered_is_known_to() -> None:
    found = recovered(copy_of(list(range(10))), remembered(range(50, 60)), 60)
    assert (found.offset, found.beyond) == (10, True)


def test_a_copy_that_repeats_itself_and_ends_before_everything_remembered_is_known_to() -> None:
    """17 records and 16 of them once more are not 33: all of them were read again."""
    numbers = [*range(17), *range(1, 17)]
    found = recovered(copy_of(numbers), remembered(range(23, 65)), 65)
    assert (found.offset, found.beyond, len(found.ahead)) == (len(numbers), True, 42)


def test_markers_in_the_copy_do_not_count_as_records() -> None:
    """A mirror in exactly-once mode writes one behind each batch: two offsets for each record."""
    copy = [record(number, 2 * number) for number in range(3)]
    found = recovered(copy, remembered(range(3, 4)), 4, end=6)
    assert (found.offset, found.beyond) == (6, True)


def test_a_marker_at_the_position_hides_no_record_where_everything_since_is_remembered() -> None:
    """A member took the partition over where a transaction of the origin ended."""
    kept = [n for n in range(20) if n != 3]
    prints = tuple(Print(n, fingerprint(record(n, n))) for n in kept if n > 3)
    assert recovered(copy_of(kept), Memory(prints, start=3), 3).offset == 3
    assert recovered(copy_of(kept), Memory(prints), 3).offset == 0


def test_an_empty_copy_is_behind_every_position() -> None:
    found = recovered([], remembered(range(10)), 10)
    assert (found.offset, found.beyond) == (0, True)


def test_an_empty_copy_is_behind_a_position_that_was_taken_over() -> None:
    """Its reader remembers what it has read since: the records before were another member's."""
    memory = Memory(remembered(range(5, 13)).prints, start=5)
    found = recovered([], memory, 5)
    assert (found.offset, found.beyond, found.ahead) == (0, True, ())


def test_offsets_differ_where_the_origin_has_gaps() -> None:
    kept = [n for n in range(100) if n % 10]  # markers at every tenth offset of the origin
    memory = Memory(tuple(Print(n, fingerprint(record(n, n))) for n in kept if 40 <= n < 60))
    assert recovered(copy_of(kept), memory, 60).offset == kept.index(59) + 1


def test_gaps_of_the_origin_do_not_make_a_long_copy_look_shorter_than_the_position() -> None:
    """One record for each transaction: two offsets at home for each in the copy."""
    memory = Memory(tuple(Print(2 * n, fingerprint(record(n, n))) for n in range(7_000, 7_020)))
    request = RecoverRequest(memory, 14_040, 0, Span(0, 8_000), 0, budget=2_000)
    assert answer(copy_of(list(range(8_000))), request).offset == 7_020
    far = RecoverRequest(memory, 14_040, 0, Span(0, 12_000), 0, budget=2_000)
    found = answer(copy_of(list(range(12_000))), far)
    assert (found.offset, found.beyond) == (0, False), "rather again than never"


def test_nothing_remembered_is_the_floor_and_tells_how_much_may_come_again() -> None:
    found = recovered(copy_of(list(range(100))), Memory(), 60, floor=50)
    assert (found.offset, found.beyond) == (50, False)
    assert found.again >= 10


def test_a_repeat_that_the_loss_cut_short_does_not_hide_what_stands_before_it() -> None:
    """MirrorMaker 2 was killed, sent a suffix again, then its source died: 5 records were lost."""
    known = remembered(range(40, 55))
    cut_short = copy_of([*range(60), *range(25, 55)])
    assert recovered(cut_short, known, 55).offset == 55
    whole = copy_of([*range(60), *range(25, 70)])
    assert recovered(whole, known, 55).offset == 60 + 30


@pytest.mark.parametrize("begin", [0, 10, 25, 39])
@pytest.mark.parametrize("seen", [1, 3, 20])
def test_nothing_is_skipped_in_a_copy_that_repeats_itself(begin: int, seen: int) -> None:
    for position in range(1, 45, 3):
        for stop in range(begin + 1, 48, 2):
            numbers = [*range(40), *range(begin, stop)]
            memory = remembered(range(max(0, position - seen), position))
            found = recovered(copy_of(numbers), memory, position)
            behind = set(numbers[found.offset :])
            assert {n for n in numbers if n >= position} <= behind, (position, stop, found)


def test_the_answer_is_never_past_the_position() -> None:
    for position in range(1, 100, 7):
        for seen in (1, 5, 30):
            memory = remembered(range(max(0, position - seen), position))
            assert recovered(copy_of(list(range(90))), memory, position).offset <= position


def test_a_group_that_lags_by_more_than_is_read_is_found_where_it_should_be() -> None:
    """All from its checkpoint on came again."""
    copy = copy_of(list(range(20_000)))
    request = RecoverRequest(remembered(range(5_000, 5_020)), 5_020, 0, Span(0, 20_000), 0, 4_000)
    found = answer(copy, request)
    assert (found.offset, found.again, found.beyond) == (5_020, 0, False)


def test_a_window_that_ends_before_the_copy_does_is_not_its_end() -> None:
    copy = copy_of([*range(100), *range(1_000, 20_000)])
    memory = remembered(range(90, 110))
    found = answer(copy, RecoverRequest(memory, 110, 0, Span(0, len(copy)), 0, 50))
    assert (found.beyond, found.offset) == (False, 0)
