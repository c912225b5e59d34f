"""Alignment: every kind of evidence, and what each costs."""

import pytest

from clientlib.protocol.align import (
    Aligner,
    AlignRequest,
    AtMost,
    Exact,
    LogRecord,
    NotYet,
    Span,
    Unknown,
    fingerprint,
)
from clientlib.protocol.syncs import Bracket, Pair
from tests.unit.alignment import World, numbered


def span(log: list[tuple[int, int]]) -> Span:
    return Span(log[0][0], log[-1][0] + 1)


def test_starts_and_ends_correspond_without_reading() -> None:
    first = Aligner(AlignRequest(Span(5, 90), Span(7, 95), 5))
    last = Aligner(AlignRequest(Span(5, 90), Span(7, 95), 90, complete=True))
    assert (first.result, first.next_request()) == (Exact(7, "start"), None)
    assert last.result == Exact(95, "end")


@pytest.mark.parametrize("position", [1, 400, 999])
@pytest.mark.parametrize("complete", [True, False])
def test_a_dense_copy(position: int, complete: bool) -> None:
    world = World(numbered(range(1000)), numbered(range(1000), 7))
    request = AlignRequest(span(world.source), span(world.target), position, complete=complete)
    found = world.align(request)
    assert isinstance(found, Exact)
    assert found.offset == position + 7


def test_the_end_of_an_open_range_is_looked_for() -> None:
    world = World(numbered(range(100)), numbered(range(100)))
    request = AlignRequest(Span(0, 100), Span(0, 100), 100)
    assert world.align(request) == Exact(100, "unique record")
    world = World(numbered(range(100)), numbered(range(60)))
    assert world.align(AlignRequest(Span(0, 100), Span(0, 60), 100)) == NotYet(60, 60)
    assert world.align(AlignRequest(Span(0, 60), Span(0, 60), 60)) == Exact(60, "unique record")


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        (300, 300),  # only the first repeat holds 299, and 500 to 999 come again anyway
        (500, 1000),
        (700, 1200),
        (1000, 1500),
        (1200, 1700),
    ],
)
def test_the_last_repeat_of_a_suffix(position: int, expected: int) -> None:
    world = World(numbered(range(1500)), numbered([*range(1000), *range(500, 1500)]))
    found = world.align(AlignRequest(Span(0, 1500), Span(0, 2000), position))
    assert isinstance(found, Exact)
    assert found.offset == expected


@pytest.mark.parametrize(("position", "expected"), [(300, 300), (700, 700), (1000, 1000)])
def test_an_unfinished_repeat_is_not_taken(position: int, expected: int) -> None:
    world = World(numbered(range(1500)), numbered([*range(1000), *range(500)]))
    found = world.align(AlignRequest(Span(0, 1500), Span(0, 1500), position))
    assert isinstance(found, Exact | NotYet)
    assert (found.offset if isinstance(found, Exact) else found.target) == expected


def test_a_repeat_at_the_end_counts_if_the_source_is_the_origin() -> None:
    world = World(numbered(range(100)), numbered([*range(100), *range(50, 100)]))
    request = AlignRequest(Span(0, 100), Span(0, 150), 100, from_origin=True)
    assert world.align(request) == Exact(150, "unique record")
    open_ = world.align(AlignRequest(Span(0, 100), Span(0, 150), 100))
    assert open_ == AtMost(50, 100, "earliest")


def test_equal_records_that_a_lagging_source_lacks_are_no_repeat() -> None:
    world = World(numbered(range(1)), numbered(range(2)), content=lambda _: 1)
    assert world.align(AlignRequest(Span(0, 1), Span(0, 2), 1)) == AtMost(0, 2, "earliest")


def test_a_repeat_in_the_source_counts_as_read() -> None:
    world = World(numbered([*range(1000), *range(500, 1500)]), numbered(range(1500)))
    found = world.align(AlignRequest(Span(0, 2000), Span(0, 1500), 1200))
    assert isinstance(found, Exact)
    assert found.offset == 1000


def test_a_million_records_with_syncs_cost_one_interval() -> None:
    source = range(1_000_000)
    bracket = Bracket(Pair(499_950, 499_960), Pair(500_051, 500_061))
    world = World(
        numbered(source[499_000:501_000], 499_000), numbered(source[499_000:501_000], 499_010)
    )
    request = AlignRequest(
        Span(0, 1_000_000), Span(10, 1_000_010), 500_000, bracket=bracket, complete=True
    )
    assert world.align(request) == Exact(500_010, "unique record")
    assert world.records < 250


def test_a_sync_at_the_position_costs_two_records() -> None:
    world = World(numbered(range(1000)), numbered(range(1000), 7))
    for position, pair in [(500, Pair(500, 507)), (501, Pair(500, 507))]:
        lower, upper = (pair, None) if pair.source < position else (None, pair)
        request = AlignRequest(
            Span(0, 1000), Span(7, 1007), position, bracket=Bracket(lower, upper)
        )
        assert world.align(request) == Exact(position + 7, "sync")
    assert world.records == 4


def test_stale_syncs_are_found_out() -> None:
    world = World(numbered(range(1000)), numbered(range(1000), 7))
    bracket = Bracket(Pair(499, 300), Pair(600, 400))
    request = AlignRequest(Span(0, 1000), Span(7, 1007), 500, bracket=bracket)
    assert world.align(request) == Exact(507, "unique record")


def test_a_big_dense_range_without_syncs_costs_a_few_windows() -> None:
    world = World(numbered(range(20_000)), numbered(range(20_000), 3))
    request = AlignRequest(Span(0, 20_000), Span(3, 20_003), 12_345, complete=True)
    assert world.align(request) == Exact(12_348, "window")
    assert world.records < 500


def test_a_guess_is_verified_before_anything_is_read_whole() -> None:
    target = numbered([*range(100), *range(50, 20_000)])
    world = World(numbered(range(20_000)), target)
    request = AlignRequest(Span(0, 20_000), span(target), 12_345, guess=12_390, complete=True)
    assert world.align(request) == Exact(12_395, "window")
    assert world.records < 500


def test_a_big_lagging_copy_is_not_read_whole() -> None:
    world = World(numbered(range(20_000)), numbered(range(8_000)))
    request = AlignRequest(Span(0, 20_000), Span(0, 8_000), 12_345)
    assert world.align(request) == NotYet(8_000, 8_000)
    assert world.records < 200


def test_a_big_range_with_a_repeat_and_no_syncs_is_read_whole_or_refused() -> None:
    target = numbered([*range(3000), *range(1000, 5000)])
    world = World(numbered(range(5000)), target)
    request = AlignRequest(Span(0, 5000), span(target), 2000)
    assert world.align(request) == Exact(4000, "unique record")
    refused = AlignRequest(Span(0, 5000), span(target), 1500, budget=2000)
    assert isinstance(world.align(refused), Unknown)
    bracket = Bracket(Pair(100, 100), None)
    bounded = AlignRequest(Span(0, 5000), span(target), 1500, budget=2000, bracket=bracket)
    assert world.align(bounded) == AtMost(101, len(target) - 101, "sync before")


def test_transaction_markers_on_both_sides() -> None:
    source = [(index + index // 10, index) for index in range(500)]
    target = [(index + index // 7, index) for index in range(500)]
    world = World(source, target)
    for index in (1, 9, 10, 77, 250, 499):
        request = AlignRequest(span(source), span(target), source[index][0])
        found = world.align(request)
        assert isinstance(found, Exact)
        assert next(at for offset, at in target if offset >= found.offset) == index


def test_a_position_behind_a_marker_at_the_end() -> None:
    world = World(numbered(range(10)), numbered(range(10)))
    found = world.align(AlignRequest(Span(0, 11), Span(0, 12), 11))
    assert found == Exact(10, "unique record")


def test_records_that_only_one_side_compacted() -> None:
    even = [(index, index) for index in range(0, 100, 2)]
    world = World(numbered(range(100)), even)
    assert world.align(AlignRequest(Span(0, 100), Span(0, 100), 51)) == Exact(51, "unique record")
    assert world.align(AlignRequest(Span(0, 100), Span(0, 100), 52)) == Exact(51, "unique record")
    world = World(even, numbered(range(100)))
    assert world.align(AlignRequest(Span(0, 99), Span(0, 100), 51)) == Exact(51, "previous record")
    assert world.align(AlignRequest(Span(0, 99), Span(0, 100), 52)) == Exact(52, "next record")


def test_equal_records_are_counted_between_bounds_that_match() -> None:
    world = World(numbered(range(100)), numbered(range(100), 5), content=lambda _: 1)
    request = AlignRequest(Span(0, 100), Span(5, 105), 40, complete=True)
    assert world.align(request) == Exact(45, "equal sequences")
    bracket = Bracket(Pair(30, 35), Pair(60, 65))
    request = AlignRequest(Span(0, 100), Span(5, 105), 40, bracket=bracket)
    assert world.align(request) == Exact(45, "equal sequences")


def test_equal_records_and_a_repeat_give_the_earliest_place() -> None:
    target = numbered([*range(60), *range(40, 100)])
    world = World(numbered(range(100)), target, content=lambda _: 1)
    found = world.align(AlignRequest(Span(0, 100), span(target), 50, complete=True))
    assert found == AtMost(0, 120, "earliest")


def test_nothing_in_common_is_unknown() -> None:
    world = World(numbered(range(100)), numbered(range(500, 600)))
    found = world.align(AlignRequest(Span(0, 100), Span(0, 100), 50))
    assert found == Unknown("the two ranges have no record in common")


def test_an_empty_copy_does_not_reach_the_position() -> None:
    world = World(numbered(range(100)), [])
    assert world.align(AlignRequest(Span(0, 100), Span(3, 3), 50)) == NotYet(3, 0)


def test_a_reader_may_answer_in_pieces() -> None:
    world = World(numbered(range(1000)), numbered(range(1000), 7), chunk=13)
    assert world.align(AlignRequest(Span(0, 1000), Span(7, 1007), 500)) == Exact(
        507, "unique record"
    )
    assert world.reads > 100


def test_misuse_is_refused() -> None:
    aligner = Aligner(AlignRequest(Span(0, 9), Span(0, 9), 0))
    with pytest.raises(RuntimeError, match="finished"):
        aligner.feed([])
    aligner = Aligner(AlignRequest(Span(0, 9), Span(0, 9), 3))
    with pytest.raises(RuntimeError, match="covers nothing"):
        aligner.feed([], covered_to=0)
    with pytest.raises(ValueError, match="outside"):
        AlignRequest(Span(0, 9), Span(0, 9), 10)
    with pytest.raises(ValueError, match="not a range"):
        Span(3, 2)


BASE = LogRecord(1, 5, b"k", b"v", (("h", b"x"),))


@pytest.mark.parametrize(
    "other",
    [
        LogRecord(1, 6, b"k", b"v", (("h", b"x"),)),
        LogRecord(1, None, b"k", b"v", (("h", b"x"),)),
        LogRecord(1, 5, None, b"v", (("h", b"x"),)),
        LogRecord(1, 5, b"", b"kv", (("h", b"x"),)),
        LogRecord(1, 5, b"k", None, (("h", b"x"),)),
        LogRecord(1, 5, b"k", b"v", (("h", None),)),
        LogRecord(1, 5, b"k", b"v", (("hx", b""),)),
        LogRecord(1, 5, b"k", b"v"),
        LogRecord(1, 5, b"k", b"v", (("h", b"x"), ("h", b"x"))),
    ],
)
def test_every_part_of_a_record_is_in_its_fingerprint(other: LogRecord) -> None:
    assert fingerprint(other) != fingerprint(BASE)


def test_a_fingerprint_knows_no_offset_and_may_ignore_the_timestamp() -> None:
    moved = LogRecord(9, 5, b"k", b"v", (("h", b"x"),))
    stamped = LogRecord(1, 6, b"k", b"v", (("h", b"x"),))
    assert fingerprint(moved) == fingerprint(BASE)
    assert len(fingerprint(BASE)) == 16
    assert fingerprint(stamped, use_timestamp=False) == fingerprint(BASE, use_timestamp=False)


def test_without_timestamps_a_lone_match_proves_nothing() -> None:
    world = World(numbered(range(9)), numbered([0, 0, 1, 2, 3, 4, 4]), lambda index: index % 5)
    request = AlignRequest(Span(0, 9), Span(0, 7), 4, use_timestamp=False, from_origin=True)
    assert world.align(request) == AtMost(0, 7, "earliest")


def test_an_unfinished_repeat_that_lacks_an_equal_record_is_not_taken() -> None:
    world = World(numbered(range(4)), numbered([0, 1, 2, 3, 0, 1, 2]), lambda index: index % 3)
    request = AlignRequest(Span(0, 4), Span(0, 7), 2, from_origin=True)
    assert world.align(request) == Exact(2, "unique record")
