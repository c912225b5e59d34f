"""The producer's session: every state it can see, in every stage."""

import pytest

from clientlib.core.producer_session import (
    Command,
    Flush,
    Open,
    ProducerSession,
    Rescue,
    Shut,
    Stage,
)
from clientlib.protocol.clients import Seen
from clientlib.protocol.state import Phase, State
from clientlib.protocol.types import Epoch

ONE, TWO = Epoch(1, "LEFT"), Epoch(2, "RIGHT")


def state(revision: int, phase: Phase = Phase.ACTIVE, *epochs: Epoch) -> State:
    return State("s", epochs or (ONE,), revision, phase, "r")


def opened() -> ProducerSession:
    session = ProducerSession()
    session.on_state(state(1))
    assert session.on_registered("LEFT", ok=True) == [Open("LEFT")]
    return session


def test_nothing_is_written_before_the_registration_stands() -> None:
    session = ProducerSession()
    assert session.on_state(state(1)) == []
    assert session.on_registered("LEFT", ok=False) == []
    assert session.stage is Stage.WAITING
    assert session.quiesced


def test_a_registration_under_closing_does_not_open() -> None:
    session = ProducerSession()
    session.on_state(state(2, Phase.CLOSING))
    assert session.on_registered("LEFT", ok=True) == []


@pytest.mark.parametrize(
    ("seen", "commands"),
    [
        (state(2, Phase.CLOSING), [Shut(), Flush("LEFT")]),
        (state(2, Phase.INTENT), [Shut(), Flush("LEFT")]),
        (state(1, Phase.ACTIVE, ONE, TWO), [Shut(), Flush("LEFT")]),
        (state(2, Phase.ACTIVE), []),
        (state(1, Phase.CLOSING), []),
    ],
    ids=["closing", "intent", "new-epoch", "same", "older"],
)
def test_an_open_producer_obeys_newer_states_only(seen: State, commands: list[Command]) -> None:
    assert opened().on_state(seen) == commands


def test_it_is_quiesced_only_when_everything_is_reported() -> None:
    session = opened()
    session.on_state(state(2, Phase.CLOSING))
    assert not session.quiesced
    assert session.seen == Seen(1, 2, "r")
    session.on_flushed()
    assert session.quiesced
    assert session.stage is Stage.QUIESCED


def test_it_does_not_open_again_while_it_flushes() -> None:
    session = opened()
    session.on_state(state(2, Phase.CLOSING))
    session.on_state(state(3))
    assert session.on_registered("LEFT", ok=True) == []
    session.on_flushed()
    assert session.on_registered("LEFT", ok=True) == [Open("LEFT")]


def test_an_undone_closing_opens_the_same_cluster() -> None:
    session = opened()
    session.on_state(state(2, Phase.CLOSING))
    session.on_flushed()
    assert session.on_registered("LEFT", ok=True) == []
    assert session.on_state(state(3)) == []
    assert session.on_registered("LEFT", ok=True) == [Open("LEFT")]


def test_the_new_epoch_opens_the_new_cluster() -> None:
    session = opened()
    session.on_state(state(2, Phase.CLOSING))
    session.on_flushed()
    session.on_state(state(0, Phase.ACTIVE, ONE, TWO))
    assert session.on_registered("RIGHT", ok=True) == [Open("RIGHT")]
    assert session.seen == Seen(2, 0, "r")


def test_a_lapsed_registration_shuts() -> None:
    session = opened()
    assert session.on_lapsed() == [Shut(), Flush("LEFT")]
    assert session.on_lapsed() == []
    assert not session.quiesced
    session.on_flushed()
    assert session.on_registered("LEFT", ok=True) == [Open("LEFT")]


def lost(*clusters: str, revision: int = 1) -> State:
    """Return the state after all but the last of these were given up, one after the other."""
    epochs = tuple(Epoch(number, cluster) for number, cluster in enumerate(clusters, 1))
    unplanned = tuple(range(2, len(clusters) + 1))
    return State("s", epochs, revision, Phase.ACTIVE, "r", unplanned=unplanned)


@pytest.mark.parametrize("third", ["THIRD", "LEFT"])
def test_a_second_loss_before_the_first_is_made_good_has_the_next_cluster_asked(third: str) -> None:
    """RIGHT will not answer any more: who waits for it never writes again."""
    session = opened()
    assert session.on_state(lost("LEFT", "RIGHT")) == [Shut(), Rescue("LEFT", "RIGHT", 2)]
    assert session.on_state(lost("LEFT", "RIGHT", revision=2)) == []
    assert session.on_state(lost("LEFT", "RIGHT", third)) == [Shut(), Rescue("LEFT", third, 3)]
    session.on_rescued()
    assert session.on_state(lost("LEFT", "RIGHT", third, revision=2)) == []
    assert session.on_registered(third, ok=True) == [Open(third)]


def test_a_loss_that_was_made_good_is_not_made_good_again() -> None:
    session = opened()
    session.on_state(lost("LEFT", "RIGHT"))
    session.on_rescued()
    assert session.on_state(lost("LEFT", "RIGHT", revision=2)) == []
    assert session.on_registered("RIGHT", ok=True) == [Open("RIGHT")]
    assert session.on_state(lost("LEFT", "RIGHT", "LEFT")) == [Shut(), Rescue("RIGHT", "LEFT", 3)]
