"""Proofs of completeness: hand-made copies with repeats, gaps and what must not be believed."""

import pytest

from clientlib.protocol.range_match import Match, RangeMatch
from clientlib.protocol.syncs import Pair
from clientlib.protocol.windows import Span
from tests.unit.alignment import Log, World, numbered


def end(log: Log) -> int:
    return log[-1][0] + 1 if log else 0


def proof(world: World, **more: object) -> Match:
    """Prove everything, from the beginning of both logs."""
    return world.match(RangeMatch(Span(0, end(world.source)), Span(0, end(world.target)), **more))


@pytest.mark.parametrize(
    ("source", "target", "there", "skip"),
    [
        (range(5000), range(5000), 5000, []),
        (range(100), [*range(60), *range(40, 100)], 120, [(60, 80)]),
        (range(100), [*range(100), *range(40, 80)], 100, []),
        (range(2000), [*range(1000), *range(1000), *range(1000, 2000)], 3000, [(1000, 2000)]),
        (range(90), [*range(60), *range(20, 50), *range(10, 90)], 170, [(60, 140)]),
        (range(90), [*range(60), *range(20, 70), *range(65, 90)], 135, [(60, 100), (110, 115)]),
        (range(20_000), [*range(9_000), *range(5_000, 20_000)], 24_000, [(9_000, 13_000)]),
        ([], [], 0, []),
    ],
)
def test_finds_what_a_copy_repeats(
    source: range, target: list[int], there: int, skip: list[tuple[int, int]]
) -> None:
    found = proof(World(numbered(source), numbered(target)))
    assert (found.complete, found.there, list(found.skip)) == (True, there, skip), found


@pytest.mark.parametrize(
    ("source", "target", "why"),
    [
        (range(5000), range(4999), "the copy lacks the record at 4999 of the origin"),
        (range(100), range(50, 100), "the record at 0 of the copy is not the origin's 0"),
        (range(100), [*range(50), *range(51, 100)], "is not the origin's 50"),
        (range(100), [*range(50), 777, *range(50, 100)], "the record at 50 of the copy"),
    ],
)
def test_says_why_a_copy_is_not_complete(source: range, target: list[int], why: str) -> None:
    found = proof(World(numbered(source), numbered(target)))
    assert not found.complete
    assert why in found.reason


def test_goes_on_where_a_proof_has_come_to() -> None:
    world = World(numbered(range(90)), numbered([*range(60), *range(20, 50)]))
    first = proof(world)
    assert (first.complete, first.at, first.there, first.skip) == (False, 60, 90, ((60, 90),))
    world.target = numbered([*range(60), *range(20, 90)])
    rest = world.match(RangeMatch(Span(first.at, 90), Span(first.there, 130), back=0))
    assert (rest.complete, rest.there, rest.skip) == (True, 130, ((90, 100),))


def test_repeats_of_an_earlier_epoch_are_found_behind_its_end() -> None:
    """The epoch before ended at 50 on both sides; then MM2 was killed and sent 30..49 again."""
    world = World(numbered(range(80)), numbered([*range(50), *range(30, 80)]))
    spans = Span(50, 80), Span(50, 100)
    found = world.match(RangeMatch(*spans, back=0))
    assert (found.complete, found.there, found.skip) == (True, 100, ((50, 70),))
    assert not world.match(RangeMatch(*spans, back=50)).complete


def test_markers_on_both_sides_do_not_count() -> None:
    source = [(index + index // 10, index) for index in range(3000)]
    sent = [*range(2000), *range(1500, 3000)]
    target = [(at + at // 7, index) for at, index in enumerate(sent)]
    found = proof(World(source, target))
    assert found.complete
    assert [target[i][1] for i in range(len(sent)) if not _inside(found, target[i][0])] == list(
        range(3000)
    )


def _inside(found: Match, offset: int) -> bool:
    return any(first <= offset < stop for first, stop in found.skip)


def test_a_large_even_copy_costs_a_few_records() -> None:
    world = World(numbered(range(300_000)), numbered(range(300_000)))
    assert proof(world).complete
    assert world.records < 200


def test_a_repeat_in_a_large_copy_costs_little_more_than_itself() -> None:
    sent = [*range(150_000), *range(149_000, 300_000)]
    world = World(numbered(range(300_000)), numbered(sent))
    assert proof(world).skip == ((150_000, 151_000),)
    assert world.records < 15_000
    with_sync = World(world.source, world.target)
    pairs = [Pair(0, 0), Pair(149_900, 149_900), Pair(149_000, 150_000)]
    assert proof(with_sync, pairs=pairs).skip == ((150_000, 151_000),)
    assert with_sync.records < world.records


def test_changes_that_cancel_each_other_are_seen_by_their_offset_syncs() -> None:
    """100 records sent twice, and 100 markers in the source: equal lengths, equal ends."""
    source = [(index if index < 6000 else index + 100, index) for index in range(9000)]
    target = numbered([*range(3000), *range(2900, 9000)])
    pairs = [Pair(0, 0), Pair(2900, 3000), Pair(6100, 6100)]
    found = proof(World(source, target), pairs=pairs)
    assert (found.complete, found.skip) == (True, ((3000, 3100),))


def test_beyond_the_budget_nothing_is_guessed() -> None:
    world = World(numbered(range(20_000)), numbered([*range(9_000), *range(20_000)]))
    found = proof(world, budget=5_000)
    assert (found.complete, found.reason) == (False, "not proved within a budget of 5000 records")


def test_beyond_the_budget_every_offset_sync_must_be_right() -> None:
    source = [(index + index // 10, index) for index in range(30_000)]
    target = numbered(range(30_000))
    pairs = [Pair(source[index][0], index) for index in range(0, 30_000, 50)]
    world = World(source, target)
    assert proof(world, pairs=pairs, budget=5_000).complete
    assert not proof(world, budget=5_000).complete
    wrong = [*pairs[:-1], Pair(20_000, 29_990)]
    assert not proof(world, pairs=wrong, budget=5_000).complete


@pytest.mark.parametrize("distance", [500, 50, 5])
def test_many_offset_syncs_cost_no_more_reads_than_a_few(distance: int) -> None:
    """Each is two reads: with thousands, a switch did not end within minutes (seed 6707)."""
    source = [(index + index // 10, index) for index in range(30_000)]
    world = World(source, numbered(range(30_000)))
    pairs = [Pair(source[index][0], index) for index in range(0, 30_000, distance)]
    match = RangeMatch(Span(0, end(world.source)), Span(0, 30_000), pairs, budget=5_000)
    assert world.match(match).complete
    assert world.reads < 2 * 64 + 100


def test_a_recreated_topic_of_which_only_the_end_was_copied_is_found_out() -> None:
    world = World(numbered(range(5000)), numbered(range(3000, 5000)))
    found = proof(world, pairs=[Pair(3000, 0), Pair(4900, 1900)])
    assert (found.complete, found.at) == (False, 0)
