"""Spans of offsets: the part of some that others do not cover."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clientlib.protocol.ledger import ClosedEpoch, tail_of
from clientlib.protocol.skips import Skip, join, without
from clientlib.protocol.types import Epoch

SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 8))).map(
    lambda spans: join((first, first + size) for first, size in spans)
)


@pytest.mark.parametrize(
    ("skip", "other", "left"),
    [
        ((), ((1, 2),), ()),
        (((1, 9),), (), ((1, 9),)),
        (((1, 9),), ((1, 9),), ()),
        (((1, 9),), ((0, 3), (5, 6)), ((3, 5), (6, 9))),
        (((1, 3), (5, 9)), ((2, 7),), ((1, 2), (7, 9))),
    ],
)
def test_without(skip: Skip, other: Skip, left: Skip) -> None:
    assert without(skip, other) == left


@given(SPANS, SPANS)
def test_an_offset_is_left_if_it_was_there_and_is_not_covered(skip: Skip, other: Skip) -> None:
    def offsets(spans: Skip) -> set[int]:
        return {offset for first, end in spans for offset in range(first, end)}

    assert offsets(without(skip, other)) == offsets(skip) - offsets(other)


def test_what_was_late_and_has_been_written_again_since_is_not_late() -> None:
    row = ClosedEpoch(
        Epoch(1, "LEFT"),
        {},
        {"LEFT": {0: ((12, 15),)}, "RIGHT": {0: ((1, 9),)}},
        {"LEFT": {0: ((10, 20),), 1: ((4, 5),)}},
    )
    assert tail_of(row) == (8, 3)
