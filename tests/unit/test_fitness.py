"""What the state alone refuses, and where an unfinished run goes on: both as tables."""

from dataclasses import replace
from typing import Any

import pytest

from clientlib.protocol.state import Phase, State, View, fold
from clientlib.protocol.types import Epoch
from failover.core import journal
from failover.core.fitness import Case, Command, unfit
from failover.core.machine import Run, RunPhase
from failover.core.result import ExitCode, SwitchRequest
from failover.core.resumption import taken_up

HOME = State("s", (Epoch(1, "LEFT"),), 3)
CLOSING = replace(HOME, revision=4, phase=Phase.CLOSING, run="r", target="RIGHT")
INTENT = replace(CLOSING, revision=5, phase=Phase.INTENT)
UNDONE = replace(HOME, revision=6)
MOVED = State("s", (*HOME.epochs, Epoch(2, "RIGHT")), 0)
GIVEN_UP = replace(MOVED, unplanned=(2,))
BACK = State("s", (*MOVED.epochs, Epoch(3, "LEFT")), 0)
RUN = Run("r", SwitchRequest("s", "RIGHT", run="r"), HOME, RunPhase.COPYING)


def view(state: State | None, run: Run | None = None) -> View:
    known = View(state)
    return known if run is None else fold(known, "s", [journal.entry(run)])


def case(
    left: View | None = None,
    right: View | None = None,
    *,
    command: Command = "switch",
    to: str = "RIGHT",
    emergency: bool = False,
    expect: str = "",
    **done: Any,
) -> Case:
    views = {a: v for a, v in (("LEFT", left), ("RIGHT", right)) if v is not None}
    request = SwitchRequest("s", to, emergency=emergency, expect_active=expect, run="now")
    return Case(request, command, views, ("LEFT", "RIGHT"), **done)


BOTH = (view(HOME), view(HOME))
OPEN = (view(INTENT, RUN), view(HOME))
DONE = replace(RUN, phase=RunPhase.DONE)
LOCKED_OUT = (view(INTENT, DONE), view(INTENT, DONE))
"""The state names a run that has ended, and yet its intent stands: another tool is in between."""


@pytest.mark.parametrize(
    ("asked", "result", "code", "said"),
    [
        (case(*BOTH), None, None, ""),
        (case(), "unreachable", ExitCode.UNREACHABLE, "LEFT, RIGHT cannot be reached from here"),
        (case(view(None), view(None)), "refused", ExitCode.REFUSED, "scope s has no state"),
        (case(view(None)), "unreachable", ExitCode.UNREACHABLE, "RIGHT cannot be reached"),
        # who is needed
        (case(view(HOME)), "unreachable", ExitCode.UNREACHABLE, "both sides: RIGHT cannot"),
        (case(None, view(HOME)), "unreachable", ExitCode.UNREACHABLE, "both sides: LEFT cannot"),
        (case(None, view(HOME), emergency=True, gone="LEFT"), None, None, ""),
        (
            case(view(HOME), emergency=True, gone="LEFT"),
            *("unreachable", ExitCode.UNREACHABLE, "RIGHT cannot be reached"),
        ),
        # there already
        (case(*BOTH, to="LEFT"), "unchanged", ExitCode.OK, "LEFT is active already, epoch 1"),
        (case(view(MOVED), view(MOVED), emergency=True, gone="LEFT"), None, None, ""),
        (
            case(view(MOVED), view(MOVED), emergency=True, gone="MIDDLE"),
            *("unchanged", ExitCode.OK, "RIGHT is active already"),
        ),
        (
            case(view(GIVEN_UP), view(GIVEN_UP), emergency=True, declared="LEFT", acted=True),
            *("switched", ExitCode.OK, "LEFT is given up"),
        ),
        (
            case(view(MOVED), view(MOVED), completed=DONE, acted=True),
            *("switched", ExitCode.OK, ""),
        ),
        # who was expected
        (case(*BOTH, expect="LEFT"), None, None, ""),
        (case(*BOTH, expect="RIGHT"), "refused", ExitCode.REFUSED, "LEFT is active, not RIGHT"),
        (case(*BOTH, expect="RIGHT", acted=True), None, None, ""),
        (case(*OPEN, expect="LEFT"), None, None, ""),
        (case(*BOTH, expect="RIGHT", command="resume"), None, None, ""),
        # a run in between
        (case(*OPEN), None, None, ""),
        (case(*OPEN, command="abort"), None, None, ""),
        (
            case(view(INTENT, RUN), view(MOVED), command="abort"),
            *("refused", ExitCode.REFUSED, "past the point of no return"),
        ),
        (case(view(INTENT, RUN), view(MOVED), command="resume"), None, None, ""),
        (case(*LOCKED_OUT), None, None, ""),
        (case(*LOCKED_OUT, to="LEFT"), "refused", ExitCode.REFUSED, "writes are closed on LEFT"),
        (
            case(LOCKED_OUT[0], to="LEFT"),
            *("unreachable", ExitCode.UNREACHABLE, "leaving for RIGHT, which cannot be reached"),
        ),
    ],
)
def test_what_the_state_alone_says_of_a_command(
    asked: Case, result: str | None, code: ExitCode | None, said: str
) -> None:
    told = unfit(asked)
    if result is None:
        assert told is None
        return
    assert told is not None
    assert (told.result, told.exit_code) == (result, code)
    assert said in told.message
    assert told.remedy or told.exit_code is ExitCode.OK
    assert ("planned" in told.message) <= (not asked.request.emergency)


@pytest.mark.parametrize(
    ("left", "right", "gone", "abort", "goes_on"),
    [
        # committed: it goes on, whatever is asked
        (INTENT, MOVED, "", False, (RunPhase.MOVING, "")),
        (INTENT, MOVED, "", True, (RunPhase.MOVING, "")),
        (None, MOVED, "LEFT", False, (RunPhase.MOVING, "")),
        # somebody has switched since
        (BACK, BACK, "", False, (RunPhase.DONE, "")),
        # the intent stands where it counts
        (INTENT, HOME, "", False, (RunPhase.RESOLVING, "")),
        (INTENT, None, "", False, (RunPhase.RESOLVING, "")),
        (INTENT, HOME, "", True, (RunPhase.UNDOING, "aborted")),
        # only the target heard of it
        (None, INTENT, "", False, (RunPhase.UNDOING, "resumed")),
        (CLOSING, INTENT, "", False, (RunPhase.UNDOING, "resumed")),
        # closed, no intent
        (CLOSING, HOME, "", False, (RunPhase.UNDOING, "resumed")),
        (CLOSING, HOME, "", True, (RunPhase.UNDOING, "aborted")),
        # open again at home: nothing is left to do
        (UNDONE, HOME, "", False, (RunPhase.UNDONE, "resumed")),
        (HOME, HOME, "", True, (RunPhase.UNDONE, "resumed")),
        # open again, as the target knows; home has to be asked, but for one that is given up
        (None, UNDONE, "", False, (RunPhase.UNDOING, "resumed")),
        (CLOSING, UNDONE, "", False, (RunPhase.UNDOING, "resumed")),
        (None, UNDONE, "LEFT", False, (RunPhase.UNDONE, "resumed")),
    ],
)
def test_where_an_unfinished_run_goes_on(
    left: State | None,
    right: State | None,
    gone: str,
    abort: bool,
    goes_on: tuple[RunPhase, str],
) -> None:
    states = {"LEFT": left, "RIGHT": right}
    views = {alias: view(state) for alias, state in states.items() if state is not None}
    run = taken_up(RUN, views, gone, now_ms=900, abort=abort)
    assert (run.phase, run.cause) == goes_on


def test_a_run_whose_intent_is_completed_gets_its_time_anew() -> None:
    run = replace(RUN, times={RunPhase.CLOSING.value: 100})
    views = {"LEFT": view(INTENT), "RIGHT": view(HOME)}
    assert taken_up(run, views, "", now_ms=900, abort=False).times["closing"] == 900
    assert taken_up(run, views, "", now_ms=900, abort=True).times["closing"] == 100
