"""The machine of a run: its table, its invariants, and its journal."""

from dataclasses import replace
from pathlib import Path

import pytest

from clientlib.protocol.ledger import ClosedEpoch
from clientlib.protocol.state import Phase, State, View
from clientlib.protocol.types import Epoch, Partition
from failover.core import journal, machine, publish, report
from failover.core.machine import (
    PHASES,
    TERMINAL,
    TRANSITIONS,
    ClosingAcknowledged,
    CommitAcknowledged,
    CopyHolds,
    DeadlinePassed,
    EndsConfirmed,
    EndsGrew,
    EndsRead,
    GroupsMoved,
    Growth,
    IllegalEventError,
    IntentAcknowledged,
    Interrupted,
    InvariantError,
    OutcomeUnknown,
    Pending,
    Prepared,
    ProducersQuiesced,
    Reopened,
    Run,
    RunPhase,
    Verified,
    WriteFailed,
    step,
)
from failover.core.result import ExitCode, SwitchRequest

GOLDEN = Path(__file__).parent / "golden" / "switch_machine.txt"
BASE = State("default", (Epoch(1, "LEFT"),), 4, clusters={"LEFT": "l", "RIGHT": "r"})
ONE = Partition("T1", 0)
PATH = (
    Prepared({"T1": 1}, {}),
    ClosingAcknowledged(),
    ProducersQuiesced(("p9: skipped",)),
    EndsRead({ONE: 10}),
    CopyHolds({ONE: 12}),
    EndsConfirmed(),
    IntentAcknowledged(),
    CommitAcknowledged(),
    GroupsMoved(),
    Verified(),
)


def fresh() -> Run:
    return Run("run-1", SwitchRequest("default", "RIGHT"), BASE, times={"preparing": 100})


def after(events: int) -> Run:
    run = fresh()
    for at, event in enumerate(PATH[:events]):
        run = step(run, event, 200 + 10 * at).run
    return run


def test_the_table_is_the_reviewed_one() -> None:
    """A change of the table is a change of this file, so that a reviewer sees it."""
    assert machine.dump() == GOLDEN.read_text(encoding="utf-8")


def test_a_switch_walks_through_every_phase() -> None:
    run = after(len(PATH))
    assert run.phase is RunPhase.DONE
    assert run.committed
    assert run.ends == {ONE: 10}
    assert run.copies == {ONE: 12}
    assert run.warnings == ("p9: skipped",)


EVENTS = sorted({event for _, event in TRANSITIONS}, key=lambda event: event.__name__)


@pytest.mark.parametrize("phase", list(RunPhase))
@pytest.mark.parametrize("event", EVENTS)
def test_an_event_that_the_table_does_not_know_changes_nothing(
    phase: RunPhase, event: type
) -> None:
    if (phase, event) in TRANSITIONS:
        assert TRANSITIONS[phase, event].to in RunPhase
        return
    run = replace(fresh(), phase=phase)
    made = event(*[()] * len(getattr(event, "__match_args__", ())))
    with pytest.raises(IllegalEventError):
        step(run, made, 1)
    assert run == replace(fresh(), phase=phase)


def test_every_phase_can_be_reached_and_left() -> None:
    reached = {row.to for row in TRANSITIONS.values()}
    assert set(RunPhase) - {RunPhase.PREPARING} <= reached
    assert {phase for phase, _ in TRANSITIONS} == set(RunPhase) - TERMINAL == set(PHASES)


def test_only_waiting_repeats_a_phase() -> None:
    loops = {key for key, row in TRANSITIONS.items() if row.to is key[0]}
    assert {event for _, event in loops} == {Pending}


def test_every_phase_ends_by_time() -> None:
    bounded = {phase for phase, event in TRANSITIONS if event is DeadlinePassed}
    assert bounded == set(PHASES)


def test_nothing_is_stopped_between_intent_and_move() -> None:
    stoppable = {phase for phase, event in TRANSITIONS if event is Interrupted}
    assert not stoppable & {RunPhase.COMMITTING, RunPhase.RESOLVING, RunPhase.UNDOING}


def test_moving_is_entered_only_by_a_commit() -> None:
    doors = {event.__name__ for (_, event), row in TRANSITIONS.items() if row.to is RunPhase.MOVING}
    assert doors - {"Pending"} == {"CommitAcknowledged", "CommitFound"}


def test_the_invariants_refuse() -> None:
    with pytest.raises(InvariantError, match="intent"):
        step(replace(after(7), phase=RunPhase.RESOLVING, intent=False), machine.CommitMissing(), 1)
    with pytest.raises(InvariantError, match="both sides"):
        step(replace(after(5), copies={}), EndsConfirmed(), 1)
    with pytest.raises(InvariantError, match="decided once"):
        step(replace(after(3), ends={ONE: 9}), EndsRead({ONE: 10}), 1)
    with pytest.raises(InvariantError, match="already active"):
        step(replace(fresh(), request=SwitchRequest("default", "LEFT")), PATH[0], 1)
    with pytest.raises(InvariantError, match="intent"):
        publish.committed(after(3))


@pytest.mark.parametrize("events", range(1, 7))
@pytest.mark.parametrize(
    ("stop", "cause", "code"),
    [
        (DeadlinePassed(), "timed-out", ExitCode.TIMED_OUT),
        (Interrupted(), "interrupted", ExitCode.INTERRUPTED),
        (Interrupted("aborted"), "aborted", ExitCode.OK),
    ],
)
def test_before_the_intent_a_stop_reopens(
    events: int, stop: machine.Event, cause: str, code: ExitCode
) -> None:
    run = step(after(events), stop, 300).run
    assert (run.phase, run.cause) == (RunPhase.UNDOING, cause)
    done = report.result_of(step(run, Reopened(), 310).run)
    assert (done.exit_code, done.changed, done.epoch) == (code, False, 1)


def test_a_rogue_writer_is_named_in_the_result() -> None:
    run = step(after(5), EndsGrew((Growth("T1", 0, 10, 13),)), 300).run
    result = report.result_of(step(run, Reopened(), 310).run)
    assert (result.result, result.exit_code) == ("rolled-back", ExitCode.REFUSED)
    (finding,) = result.findings
    assert (finding.id, finding.subject) == ("rogue-writer", "T1[0] on LEFT")
    assert "offsets 10 to 12" in finding.reason


def test_what_came_through_to_a_returned_target_replaces_what_was_found_before() -> None:
    first = ClosedEpoch(Epoch(1, "LEFT"), {"RIGHT": {0: 4}})
    seen = ClosedEpoch(first.epoch, first.ends, {"RIGHT": {0: ((4, 5),)}})
    owed = {"T1": (first, ClosedEpoch(Epoch(2, "RIGHT"), {}))}
    run = step(replace(after(5), owed=owed), EndsConfirmed((), {"T1": (seen,)}), 300).run
    assert run.owed == {"T1": (seen, owed["T1"][1])}
    assert step(replace(after(5), owed=owed), EndsConfirmed(), 300).run.owed == owed


@pytest.mark.parametrize("event", [WriteFailed("no"), OutcomeUnknown("no answer")])
def test_a_commit_without_a_good_answer_is_looked_at(event: machine.Event) -> None:
    assert step(after(7), event, 300).run.phase is RunPhase.RESOLVING


def test_revisions_are_ordered_and_only_the_commit_changes_the_active_cluster() -> None:
    run = after(6)
    states = [
        BASE, publish.closing(run), publish.intent(run), publish.reopened(run),
        publish.committed(run),
    ]  # fmt: skip
    assert [state.order for state in states] == sorted({state.order for state in states})
    assert [state.active for state in states] == ["LEFT"] * 4 + ["RIGHT"]
    assert [state.phase for state in states] == [
        Phase.ACTIVE, Phase.CLOSING, Phase.INTENT, Phase.ACTIVE, Phase.ACTIVE,
    ]  # fmt: skip


@pytest.mark.parametrize("events", range(len(PATH) + 1))
def test_a_journal_entry_is_the_run(events: int) -> None:
    run = replace(
        after(events),
        growth=(Growth("T1", 0, 1, 2),),
        owed={"T1": (ClosedEpoch(Epoch(1, "LEFT"), {"LEFT": {0: 3}, "RIGHT": {0: 4}}),)},
        pending=("x",),
    )
    body = journal.encode(run)
    decoded = journal.decode("default", "run-1", run.sequence, body)
    assert decoded == replace(run, request=replace(run.request, run="run-1"))


def test_the_newest_entry_counts_and_a_finished_run_is_not_taken_up() -> None:
    entries = {after(n).sequence: journal.encode(after(n)) for n in (0, 1, 6, 7)}
    view = View(journal={"run-1": entries})
    found = journal.unfinished(view, "default")
    assert found is not None
    assert found.phase is RunPhase.COMMITTING
    entries[after(10).sequence] = journal.encode(after(10))
    assert journal.unfinished(view, "default") is None
    assert [run.phase for run in journal.history(view, "default", "run-1")][-1] is RunPhase.DONE


def test_a_report_from_the_journal_has_the_measured_times() -> None:
    entries = {after(n).sequence: journal.encode(after(n)) for n in (0, 1, 6, 10)}
    result = report.report(View(journal={"run-1": entries}), "default", "run-1")
    assert result is not None
    assert (result.result, result.epoch) == ("switched", 2)
    assert result.measured["closed_ms"] == 70
    assert result.measured["move_ms"] == 10
    assert [one.outcome for one in result.steps] == ["done"] * 10
    assert report.report(View(), "default", "run-1") is None


def test_old_runs_are_forgotten() -> None:
    view = View(journal={f"run-{n:03}": {0: {}, 1: {}} for n in range(journal.KEPT_RUNS + 2)})
    gone = list(journal.expired(view, "default"))
    assert len(gone) == 4
    assert all(value is None for _, value in gone)


def test_the_ledger_has_what_was_written_and_is_written_once() -> None:
    run = replace(after(6), topics={"T1": 2, "T2": 1}, ends={ONE: 10, Partition("T1", 1): 5},
                  copies={ONE: 12, Partition("T1", 1): 5})  # fmt: skip
    old = ClosedEpoch(Epoch(1, "LEFT"), {"LEFT": {1: 5}, "RIGHT": {1: 5}})
    later = replace(
        run, base=replace(BASE, epochs=(*BASE.epochs, Epoch(2, "RIGHT"), Epoch(3, "LEFT")))
    )
    known = View(ledger={"T1": {1: old}})
    ledger = publish.ledger_of(later, known)
    assert ledger["T1"][3].ends == {"LEFT": {0: 10}, "RIGHT": {0: 12}}
    assert "T2" not in ledger
    assert len(list(publish.lacking("default", ledger, known))) == 1
    assert publish.ledger_of(later, View(ledger=ledger)) == ledger
    contradicting = View(
        ledger={"T1": {1: old, 3: ClosedEpoch(Epoch(3, "LEFT"), {"LEFT": {0: 9}})}}
    )
    with pytest.raises(InvariantError):
        publish.ledger_of(later, contradicting)
