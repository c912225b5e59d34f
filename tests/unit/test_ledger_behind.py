"""How far a lost cluster's own log reached when it came back."""

from clientlib.protocol.ledger import ClosedEpoch, Ledger
from clientlib.protocol.types import Epoch

EPOCHS = (Epoch(1, "LEFT"), Epoch(2, "RIGHT"), Epoch(3, "LEFT"))


def test_it_reaches_behind_its_epoch_as_far_as_anything_was_found() -> None:
    row = ClosedEpoch(
        EPOCHS[0],
        {"RIGHT": {0: 10}, "LEFT": {0: 10}},
        {"LEFT": {0: ((10, 13),)}},
        {"LEFT": {0: ((13, 14),)}},
    )
    ledger = Ledger(EPOCHS, {1: row})
    assert (ledger.behind(0, "LEFT"), ledger.behind(1, "LEFT")) == (14, 0)


def test_nobody_knows_before_it_was_compared() -> None:
    row = ClosedEpoch(EPOCHS[0], {"RIGHT": {0: 10}})
    assert Ledger(EPOCHS, {1: row}).behind(0, "LEFT") is None
    assert Ledger(EPOCHS).behind(0, "LEFT") is None
