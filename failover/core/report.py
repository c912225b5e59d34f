"""From a run, as the journal keeps it, to what is told about it: result, steps, measured times."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

from clientlib.protocol.skips import size
from clientlib.protocol.state import View
from clientlib.protocol.types import ClusterAlias
from failover.core import journal, standing
from failover.core.machine import CLOSED, PHASES, Run, RunPhase
from failover.core.result import (
    ExitCode,
    Finding,
    Progress,
    RunResult,
    Severity,
    StepRecord,
    SwitchRequest,
)
from failover.core.steps import steps_of as known_steps

_P = RunPhase
_ORDER = (
    _P.PREPARING,
    _P.CLOSING,
    _P.QUIESCING,
    _P.MEASURING,
    _P.COPYING,
    _P.CONFIRMING,
    _P.INTENDING,
    _P.COMMITTING,
    _P.MOVING,
    _P.VERIFYING,
)
_EMERGENCY_ORDER = (
    _P.PREPARING,
    _P.CLOSING,
    _P.SETTLING,
    _P.INTENDING,
    _P.COMMITTING,
    _P.MOVING,
    _P.VERIFYING,
)
_AT = {
    "closing_at_ms": _P.CLOSING,
    "quiesced_at_ms": _P.MEASURING,
    "ends_at_ms": _P.COPYING,
    "copied_at_ms": _P.CONFIRMING,
    "intent_at_ms": _P.INTENDING,
    "commit_at_ms": _P.COMMITTING,
    "committed_at_ms": _P.MOVING,
    "moved_at_ms": _P.VERIFYING,
}
_UNDONE: Mapping[str, tuple[str, ExitCode]] = {
    "timed-out": ("rolled-back", ExitCode.TIMED_OUT),
    "rogue-writer": ("rolled-back", ExitCode.REFUSED),
    "diverged": ("refused", ExitCode.REFUSED),
    "unreachable": ("rolled-back", ExitCode.UNREACHABLE),
    "interrupted": ("interrupted", ExitCode.INTERRUPTED),
    "internal": ("rolled-back", ExitCode.INTERNAL),
    "aborted": ("aborted", ExitCode.OK),
    "resumed": ("rolled-back", ExitCode.OK),
}


def result_of(run: Run) -> RunResult:
    """Return what the run came to, as far as it has come."""
    result, code = _verdict(run)
    return RunResult(
        run=run.id,
        scope=run.scope,
        source=run.source,
        target=run.target,
        epoch=(run.epoch if run.committed else run.base.epoch).counter,
        changed=run.committed,
        result=result,
        exit_code=code,
        steps=steps_of(run),
        findings=(*_rogue_writers(run), *_diverged(run)),
        measured=measured(run),
        warnings=run.warnings,
        message=_message(run),
        remedy=_remedy(run),
    )


def refused(
    request: SwitchRequest,
    result: str,
    code: ExitCode,
    message: str,
    *,
    source: ClusterAlias = "",
    epoch: int = 0,
    remedy: str = "",
    findings: tuple[Finding, ...] = (),
) -> RunResult:
    """Return the result of a request that became no run; nothing was changed."""
    return RunResult(
        run=request.run,
        scope=request.scope,
        source=source,
        target=request.to,
        epoch=epoch,
        changed=False,
        result=result,
        exit_code=code,
        findings=findings,
        message=message,
        remedy=remedy,
    )


def report(view: View, scope: str, ident: str) -> RunResult | None:
    """Return the result of a run from the journal alone; None for an unknown run."""
    entries = journal.history(view, scope, ident)
    if not entries:
        return None
    times = {name: at for entry in entries for name, at in entry.times.items()}
    return result_of(replace(entries[-1], times=times))


def reports(view: View, scope: str) -> tuple[RunResult, ...]:
    """Return the results of all runs that the journal knows, oldest first."""
    found = (report(view, scope, run.id) for run in journal.runs(view, scope))
    return tuple(result for result in found if result is not None)


def measured(run: Run) -> dict[str, Any]:
    """Return the times of a run by the tool's own clock; durations only where both ends are known.

    ``closed_ms``: from asking producers to stop until the commit (or the reopening) was
    acknowledged. ``move_ms``: from the commit until every live group had moved.
    """
    times = _first_times(run)
    at = {name: times[phase.value] for name, phase in _AT.items() if phase.value in times}
    found: dict[str, Any] = dict(at)
    open_again = times.get(_P.MOVING.value, times.get(_P.UNDONE.value))
    if "closing_at_ms" in at and open_again is not None:
        found["closed_ms"] = open_again - at["closing_at_ms"]
        found["phases_ms"] = phases_ms(run)
    if "committed_at_ms" in at and "moved_at_ms" in at:
        found["move_ms"] = at["moved_at_ms"] - at["committed_at_ms"]
    if run.committed and any(run.skips.values()):
        found["repeats_skipped"] = _skipped(run)
    if run.estimate is not None:
        found["lost_at_most"] = run.estimate.records
        found["lost_at_most_source"] = run.estimate.source
        if run.phase is _P.DONE:
            found |= {"replayed": run.replayed, "lost": run.lost}
    return found


def _first_times(run: Run) -> dict[str, int]:
    """Return when each phase was entered; a run that was taken up committed before that."""
    again = {_P.MOVING.value: run.committed_ms} if run.committed_ms else {}
    return {**run.times, **again}


def _order(run: Run) -> tuple[RunPhase, ...]:
    return _EMERGENCY_ORDER if run.request.emergency else _ORDER


def phases_ms(run: Run) -> dict[str, int]:
    """Return how long each closed phase took, by the name of its step."""
    entered = sorted((at, name) for name, at in _first_times(run).items())
    return {
        PHASES[RunPhase(name)].step: following - at
        for (at, name), (following, _) in pairwise(entered)
        if RunPhase(name) in PHASES and PHASES[RunPhase(name)].deadline == CLOSED
    }


def steps_of(run: Run) -> tuple[StepRecord, ...]:
    """Return every step with what became of it."""
    return tuple(_step(run, phase) for phase in _order(run))


def progress_of(run: Run) -> Progress:
    """Return where the run is, for a watching human."""
    order = _order(run)
    if run.phase in order:
        record = _step(run, run.phase)
        detail = "; ".join(run.pending) or record.detail
        return Progress(replace(record, detail=detail), order.index(run.phase), len(order))
    what = "reopen writes on " + run.source if run.phase is _P.UNDOING else run.phase.value
    record = StepRecord(run.phase.value, what, "running", run.times.get(run.phase.value, 0))
    return Progress(replace(record, detail="; ".join(run.pending)), len(order), len(order))


def ended(before: Run, after: Run) -> Progress:
    """Return the end of the phase that a step has left."""
    current = progress_of(before)
    now = after.times.get(after.phase.value, 0)
    outcome = "undone" if after.phase in {_P.UNDOING, _P.INCOMPLETE} else "done"
    detail = "; ".join(after.pending)
    return replace(
        current, step=replace(current.step, outcome=outcome, ended_ms=now, detail=detail)
    )


def _step(run: Run, phase: RunPhase) -> StepRecord:
    known = known_steps(emergency=run.request.emergency)
    step = next(step for step in known if step.name == PHASES[phase].step)
    what = step.sentence(run.source, run.target)
    started = run.times.get(phase.value)
    if started is None:
        return StepRecord(step.name, what)
    later = [at for name, at in run.times.items() if at >= started and _after(name, phase)]
    outcome = "running" if run.phase is phase else "done" if _passed(run, phase) else "undone"
    return StepRecord(step.name, what, outcome, started, min(later, default=0))


def _after(name: str, phase: RunPhase) -> bool:
    return list(RunPhase).index(RunPhase(name)) > list(RunPhase).index(phase)


def _passed(run: Run, phase: RunPhase) -> bool:
    order = _order(run)
    at = order.index(phase)
    if phase is _P.VERIFYING:
        return run.phase is _P.DONE
    return any(later.value in run.times for later in order[at + 1 :])


def _verdict(run: Run) -> tuple[str, ExitCode]:
    if run.phase is _P.DONE:
        return "switched", ExitCode.OK
    if run.phase is _P.UNDONE:
        return _UNDONE.get(run.cause, ("rolled-back", ExitCode.INTERNAL))
    if run.cause == "interrupted":
        return "interrupted", ExitCode.INTERRUPTED
    return "incomplete", ExitCode.INCOMPLETE


def _rogue_writers(run: Run) -> Iterable[Finding]:
    for growth in run.growth:
        where = f"{growth.topic}[{growth.partition}] on {run.source}"
        yield Finding(
            id="rogue-writer",
            severity=Severity.BLOCK,
            subject=where,
            what=f"{growth.now - growth.was} records were written after every producer was quiet",
            reason=f"offsets {growth.was} to {growth.now - 1} came from a writer that is not ours",
            remedy="stop that writer, or switch with --tolerate-late if its records may come late",
        )


def _diverged(run: Run) -> Iterable[Finding]:
    if run.cause == "diverged":
        yield standing.diverged(f"cluster {run.target}", run.target, run.detail)


def _message(run: Run) -> str:
    if run.phase is _P.DONE:
        return f"{run.target} is active, epoch {run.epoch.counter}{_told_of_repeats(run)}"
    if run.phase is _P.UNDONE:
        told = [f"{run.source} stays active, epoch {run.base.epoch.counter}", run.cause, run.detail]
        missing = f"still missing: {', '.join(run.pending)}" if run.pending else ""
        return "; ".join(part for part in (*told, missing) if part)
    if run.committed:
        return f"{run.target} is active, but not moved yet: {', '.join(run.pending) or 'unknown'}"
    return f"writes are closed in phase {run.phase}: {', '.join(run.pending) or run.detail}"


def _skipped(run: Run) -> int:
    return sum(map(size, run.skips.values()))


def _told_of_repeats(run: Run) -> str:
    """Say what nobody is to read in the copies that the run has closed."""
    parts = sum(bool(spans) for spans in run.skips.values())
    if not parts:
        return ""
    what = f"{_skipped(run):,} records that MirrorMaker 2 has sent twice"
    return f"; {what} are skipped, in {parts} partition{'s' if parts > 1 else ''}"


_AFTER_UNDOING = {
    "timed-out": "see to what was still missing, then ask for the switch again",
    "rogue-writer": "stop that writer, then ask for the switch again",
    "unreachable": "make the cluster reachable, then ask for the switch again",
}


def _remedy(run: Run) -> str:
    if run.phase is _P.UNDONE and run.cause == "diverged":
        return standing.diverged(f"cluster {run.target}", run.target, run.detail).remedy
    if run.finished:
        return _AFTER_UNDOING.get(run.cause, "") if run.phase is _P.UNDONE else ""
    if run.committed:
        gone = f"if {run.source} is gone, `failover switch --to {run.target} --emergency`"
        resume = "look at the listed groups, then `failover resume`"
        return resume if run.request.emergency else f"{resume}; {gone}"
    if run.intent and not run.request.emergency:
        return (
            f"make {run.target} reachable, then `failover resume`; "
            f"if it is gone, `failover switch --to {run.source} --emergency`"
        )
    return "make the listed cluster reachable, then `failover resume` or `failover abort`"
