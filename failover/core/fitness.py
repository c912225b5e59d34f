"""What the state alone says of a command: that it cannot be served, or that it is served already.

What a snapshot shows is the findings' business; here only what the clusters in reach have written
down is looked at, before anything is closed and again under the lock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from clientlib.protocol.state import Phase, State, View, merge
from clientlib.protocol.types import ClusterAlias
from failover.core import journal, publish, report, stranded
from failover.core.machine import Run
from failover.core.result import ExitCode, RunResult, SwitchRequest

Command: TypeAlias = Literal["switch", "resume", "abort"]

UNREACHABLE = ("unreachable", ExitCode.UNREACHABLE)


@dataclass(frozen=True, slots=True)
class Case:
    """A command, what it has been told, and what it has done so far.

    ``asked``: the clusters that are asked anything; ``views`` are of those that answer. ``gone`` is
    given up by an unplanned switch; ``declared`` has been, after the fact. ``acted``: an older run
    was dealt with, or a cluster given up; ``completed`` is the older run that was completed.
    """

    request: SwitchRequest
    command: Command
    views: Mapping[ClusterAlias, View]
    asked: tuple[ClusterAlias, ...]
    gone: ClusterAlias = ""
    acted: bool = False
    declared: ClusterAlias = ""
    completed: Run | None = None

    @property
    def merged(self) -> View:
        """What the clusters in reach say together."""
        return merge(self.views.values())

    @property
    def state(self) -> State | None:
        """The state that they show."""
        return self.merged.state

    @property
    def declares(self) -> bool:
        """Whether what is asked for is to give up the cluster that a planned switch has left."""
        asked = self.request.emergency and self.command == "switch"
        state, to = self.state, self.request.to
        if state is None or not asked or not stranded.declares(state, to):
            return False
        # a run that was undone meanwhile may have been to a third one, and that was given up
        return self.gone in {"", stranded.gone(state, to)}


def refusal(
    case: Case, result: str, code: ExitCode, message: str, *, remedy: str = ""
) -> RunResult:
    """Return the result of a command that became no run."""
    state = case.state
    return report.refused(
        case.request,
        result,
        code,
        message,
        source=state.active if state is not None else "",
        epoch=state.epoch.counter if state is not None else 0,
        remedy=remedy,
    )


def unfit(case: Case) -> RunResult | None:
    """Return why a command cannot be served by this state, or that it is served already."""
    merged = case.merged
    if merged.state is None:
        return _without_state(case)
    old = journal.unfinished(merged, case.request.scope)
    unexpected = _unexpected(case, merged.state, old)
    if unexpected is not None:
        return unexpected
    if case.command == "abort" and old is not None and publish.shows_commit(old, merged):
        return too_late(case, old)
    if old is not None or case.command != "switch":
        return None
    return _unfit_switch(case, merged.state)


def too_late(case: Case, run: Run) -> RunResult:
    """Refuse to abort what is committed."""
    message = f"run {run.id} is past the point of no return: {run.target} is active"
    return refusal(case, "refused", ExitCode.REFUSED, message, remedy="failover resume")


def _without_state(case: Case) -> RunResult:
    """Tell a scope that nobody has initialised from one of which nobody can be asked."""
    silent = ", ".join(alias for alias in case.asked if alias not in case.views)
    seen = ", ".join(case.views)
    if not seen:
        message = f"{silent} cannot be reached from here: which cluster is active is not known"
        remedy = "look at this machine's way there; `failover status` shows what each one says"
        return refusal(case, *UNREACHABLE, message, remedy=remedy)
    message = f"scope {case.request.scope} has no state on {seen}"
    if silent:
        message = f"{message}, and {silent} cannot be reached"
        return refusal(case, *UNREACHABLE, message, remedy=f"make {silent} reachable")
    remedy = "run `failover init --active ALIAS` first"
    return refusal(case, "refused", ExitCode.REFUSED, message, remedy=remedy)


def _unexpected(case: Case, state: State, old: Run | None) -> RunResult | None:
    """Refuse when another cluster is active than was expected, before anything was done.

    Who was active when the unfinished run to the same target began is expected, too.
    """
    expected, known = case.request.expect_active, {state.active}
    if old is not None and old.target == case.request.to:
        known.add(old.source)
    if case.command != "switch" or not expected or expected in known or case.acted:
        return None
    message = f"{state.active} is active, not {expected} as expected"
    remedy = "somebody has switched since: look at `failover status`"
    return refusal(case, "refused", ExitCode.REFUSED, message, remedy=remedy)


def _unfit_switch(case: Case, state: State) -> RunResult | None:
    to = case.request.to
    if state.active == to and state.phase is Phase.ACTIVE:
        return None if case.declares else _active_already(case, state)
    if state.active == to or (state.phase is not Phase.ACTIVE and state.target != to):
        return _between(case, state)
    needed = {to} if case.request.emergency else {state.active, to}
    missing = sorted(needed - case.views.keys())
    if not missing:
        return None
    message = f"{', '.join(missing)} cannot be reached"
    if not case.request.emergency:
        message = f"a planned switch needs both sides: {message}"
    remedy = f"make {', '.join(missing)} reachable"
    if missing == [state.active]:
        remedy = f"{remedy}; if it is gone, `failover switch --to {to} --emergency`"
    return refusal(case, *UNREACHABLE, message, remedy=remedy)


def _active_already(case: Case, state: State) -> RunResult:
    message = f"{case.request.to} is active already, epoch {state.epoch.counter}"
    if case.declared:
        told = f"{message}; {case.declared} is given up: no group waits for it any more"
        done = refusal(case, "switched", ExitCode.OK, told)
        return replace(done, source=case.declared, changed=True)
    if case.completed is not None and case.completed.target == case.request.to:
        return report.result_of(case.completed)
    return refusal(case, "unchanged", ExitCode.OK, message)


def _between(case: Case, state: State) -> RunResult:
    """Refuse while another run's intent stands, of which nobody here knows what became.

    It may have been committed on its target, so that one must be asked.
    """
    if state.target in case.views:
        message = f"writes are closed on {state.active}, on the way to {state.target}"
        return refusal(case, "refused", ExitCode.REFUSED, message, remedy="failover resume")
    message = f"{state.active} is leaving for {state.target}, which cannot be reached"
    return refusal(case, *UNREACHABLE, message, remedy=f"make {state.target} reachable")
