"""A transaction that may have to change its cluster: every call in every stage."""

from collections.abc import Callable

import pytest

from clientlib.core.transaction import Next, Refused, Stage, Transaction, Why

Step = Callable[[Transaction], object]


def at(stage: Stage) -> Transaction:
    """Return a transaction that has come to a stage as an application brings it there."""
    transaction = Transaction()
    steps: dict[Stage, list[Step]] = {
        Stage.READY: [Transaction.initialised],
        Stage.BEGUN: [Transaction.begin],
        Stage.OPEN: [lambda t: t.bound("LEFT")],
        Stage.COMMITTING: [lambda t: t.commit(handed_over=True)],
        Stage.COMMITTED: [Transaction.committed],
    }
    if stage is Stage.DOOMED:
        transaction = at(Stage.OPEN)
        transaction.shut("closed")
    elif stage is Stage.CARRIED:
        transaction = at(Stage.COMMITTING)
        transaction.lost("gone")
    elif stage is not Stage.IDLE:
        for reached, along in steps.items():
            for step in along:
                step(transaction)
            if reached is stage:
                break
    assert transaction.stage is stage
    return transaction


def commit(transaction: Transaction) -> Next:
    return transaction.commit(handed_over=True)


CALLS: dict[str, Step] = {
    "initialised": Transaction.initialised,
    "begin": Transaction.begin,
    "produce": Transaction.check_produce,
    "commit": commit,
    "abort": Transaction.abort,
}
NO, LATER, ABORT = Why.MISUSE, Why.CONFLICT, Why.MUST_ABORT

# by stage: what the application's calls come to
TABLE: dict[Stage, dict[str, object]] = {
    Stage.IDLE: {"initialised": None, "begin": NO, "produce": NO, "commit": NO, "abort": NO},
    Stage.READY: {"initialised": NO, "begin": None, "produce": NO, "commit": NO, "abort": NO},
    Stage.BEGUN: {
        "initialised": NO, "begin": NO, "produce": None, "commit": Next.WAIT, "abort": Next.DONE,
    },
    Stage.OPEN: {
        "initialised": NO, "begin": NO, "produce": None, "commit": Next.ASK, "abort": Next.ASK,
    },
    Stage.COMMITTING: {
        "initialised": NO, "begin": LATER, "produce": NO, "commit": Next.ASK, "abort": LATER,
    },
    Stage.COMMITTED: {
        "initialised": NO, "begin": None, "produce": NO, "commit": Next.DONE, "abort": NO,
    },
    Stage.CARRIED: {
        "initialised": NO, "begin": LATER, "produce": NO, "commit": Next.WAIT, "abort": LATER,
    },
    Stage.DOOMED: {
        "initialised": NO, "begin": ABORT, "produce": ABORT, "commit": ABORT, "abort": Next.ASK,
    },
}  # fmt: skip


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize("call", CALLS)
def test_what_an_application_may_do(stage: Stage, call: str) -> None:
    transaction, wanted = at(stage), TABLE[stage][call]
    if not isinstance(wanted, Why):
        assert CALLS[call](transaction) is wanted
        return
    with pytest.raises(Refused) as refused:
        CALLS[call](transaction)
    assert refused.value.why is wanted
    assert transaction.stage is stage


def test_what_is_open_when_writes_close_is_aborted_at_its_cluster_then_by_the_application() -> None:
    transaction = at(Stage.OPEN)
    assert transaction.shut("writes are closed")
    assert transaction.owes_abort
    transaction.aborted()
    assert transaction.settled
    with pytest.raises(Refused, match="writes are closed"):
        commit(transaction)
    assert transaction.abort() is Next.DONE
    transaction.begin()


def test_a_commit_under_way_is_completed_when_writes_close() -> None:
    transaction = at(Stage.COMMITTING)
    assert not transaction.shut("writes are closed")
    assert not transaction.settled
    transaction.committed()
    assert transaction.settled
    assert commit(transaction) is Next.DONE
    assert transaction.stage is Stage.READY


def test_what_has_begun_while_writes_are_closed_stands_nowhere() -> None:
    transaction = at(Stage.BEGUN)
    assert not transaction.shut("writes are closed")
    assert transaction.settled
    assert not transaction.lost("gone")
    assert transaction.stage is Stage.BEGUN


def test_a_commit_waits_until_every_record_is_handed_over() -> None:
    transaction = at(Stage.OPEN)
    assert transaction.commit(handed_over=False) is Next.WAIT
    assert transaction.stage is Stage.OPEN


@pytest.mark.parametrize(
    ("stage", "carried", "after"),
    [
        (Stage.READY, False, Stage.READY),
        (Stage.OPEN, False, Stage.DOOMED),
        (Stage.DOOMED, False, Stage.DOOMED),
        (Stage.COMMITTING, True, Stage.CARRIED),
        (Stage.CARRIED, True, Stage.CARRIED),
        (Stage.COMMITTED, False, Stage.COMMITTED),
    ],
)
def test_a_lost_cluster_owes_nothing_any_more(stage: Stage, carried: bool, after: Stage) -> None:
    transaction = at(stage)
    assert transaction.lost("LEFT was given up") is carried
    assert (transaction.stage, transaction.settled) == (after, True)


def test_what_was_carried_to_another_cluster_is_committed_there() -> None:
    transaction = at(Stage.CARRIED)
    transaction.committed()
    assert commit(transaction) is Next.DONE
