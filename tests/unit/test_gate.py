"""The vectors of the design's section 2: gate and move over three closed epochs."""

import pytest

from clientlib.protocol.errors import LedgerUnknownError
from clientlib.protocol.ledger import (
    ClosedEpoch,
    Ledger,
    NeedsAlignment,
    Settled,
    gate,
    move,
    settle,
    settle_lost,
)
from clientlib.protocol.types import Epoch, Position

L, R = "LEFT", "RIGHT"
EPOCHS = (Epoch(1, L), Epoch(2, R), Epoch(3, L), Epoch(4, R))
CLOSED = {
    1: ClosedEpoch(EPOCHS[0], {L: {0: 30000}, R: {0: 30010}}),
    2: ClosedEpoch(EPOCHS[1], {L: {0: 5000}, R: {0: 5000}}),
    3: ClosedEpoch(EPOCHS[2], {L: {0: 40000}, R: {0: 40010}}),
}


def ledger(count: int) -> Ledger:
    return Ledger(EPOCHS[:count], {n: CLOSED[n] for n in range(1, count)})


@pytest.mark.parametrize(
    ("count", "on", "left", "right", "wanted"),
    [
        (2, R, 30010, 0, (R, 0, None)),
        (3, L, 30000, 5000, (L, 30000, None)),
        (2, R, 10000, 0, (L, 10000, 30010)),
        (3, L, 12000, 0, (L, 12000, 30000)),
        (4, R, 30010, 2000, (R, 2000, 5000)),
        (4, R, 30010, 5000, (L, 30010, 40010)),
        (4, R, 40010, 5000, (R, 5000, None)),
        (2, R, 0, 0, (L, 0, 30010)),
    ],
)
def test_gate(
    count: int, on: str, left: int, right: int, wanted: tuple[str, int, int | None]
) -> None:
    read = gate(ledger(count), Position(1, on, {L: left, R: right}), 0)
    assert (read.origin, read.at, read.end) == wanted


def test_a_position_inside_a_range_needs_alignment_within_that_range() -> None:
    asked = []

    def align(origin: str, task: NeedsAlignment) -> int:
        asked.append((origin, task))
        return 11990

    here = Position(2, R, {L: 12000, R: 0})
    moved = move(ledger(3), here, 0, epoch=3, on=L, align=align)
    assert moved == Position(3, L, {L: 11990, R: 0})
    assert asked == [(L, NeedsAlignment(12000, (0, 30010), (0, 30000)))]


def test_an_end_that_is_not_written_yet_is_never_guessed() -> None:
    unknown = Ledger(EPOCHS[:2], {1: ClosedEpoch(EPOCHS[0], {L: {0: 30000}})})
    with pytest.raises(LedgerUnknownError):
        gate(unknown, Position(1, R, {}), 0)


def test_what_a_rebuilt_cluster_has_no_copy_of_is_not_read_again_after_it() -> None:
    """NEW came in place of LEFT: LEFT's epoch is empty there, and read where it is not."""
    new = "NEW"
    epochs = (Epoch(1, L), Epoch(2, R), Epoch(3, new), Epoch(4, R))
    closed = {
        1: ClosedEpoch(epochs[0], {R: {0: 30010}, new: {}}),
        2: ClosedEpoch(epochs[1], {R: {0: 5000}, new: {0: 4990}}),
        3: ClosedEpoch(epochs[2], {new: {0: 70}, R: {0: 70}}),
    }
    book = Ledger(epochs, closed)
    sides = {"source": new, "target": R}
    assert settle(book, 0, origin=L, at=0, **sides) == Settled(30010)
    assert settle(book, 0, origin=R, at=0, **sides) == Settled(0)
    assert settle(book, 0, origin=R, at=4990, **sides) == Settled(5000)
    lost = Ledger(epochs, {**closed, 3: ClosedEpoch(epochs[2], {R: {0: 70}})})
    assert settle_lost(lost, 0, origin=L, at=0, **sides) == Settled(30010)
    assert settle_lost(lost, 0, origin=R, at=0, **sides) == Settled(0)
    assert settle_lost(lost, 0, origin=new, at=0, **sides) == Settled(0)
    assert isinstance(settle_lost(lost, 0, origin=new, at=9, **sides), NeedsAlignment)


def test_what_only_the_source_skips_is_looked_for_in_the_copy_like_everything_else() -> None:
    """Of logs with gaps nobody can say where in the copy it is: the position behind it is moved.

    Without the skip the position behind it and the one before it would be the same.
    """
    epochs = (Epoch(1, L), Epoch(2, R))
    ends = {L: {0: 196}, R: {0: 221}}
    alone = Ledger(epochs, {1: ClosedEpoch(epochs[0], ends, {L: {0: ((40, 85),)}})})
    both = {L: {0: ((40, 85),)}, R: {0: ((47, 98),)}}
    task = settle(alone, 0, origin=L, at=85, source=L, target=R)
    assert task == NeedsAlignment(85, (0, 196), (0, 221), ((), ()))
    known = Ledger(epochs, {1: ClosedEpoch(epochs[0], ends, both)})
    task = settle(known, 0, origin=L, at=85, source=L, target=R)
    assert task == NeedsAlignment(85, (0, 196), (0, 221), (((40, 85),), ((47, 98),)))
    back = Ledger(epochs, {1: ClosedEpoch(epochs[0], ends, {R: {0: ((47, 72),)}})})
    task = settle(back, 0, origin=L, at=98, source=R, target=L)
    assert task == NeedsAlignment(98, (0, 221), (0, 196), (((47, 72),), ())), "sent twice"
