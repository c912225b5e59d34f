"""One command of the orchestrator: drives the machine through the ports, one turn at a time.

A turn looks at what the current stage needs, performs at most one act and feeds its event to the
machine. It never sleeps: `Execution.pause_s` says how long the next turn can wait, and only `run`
waits. So a simulation can drive turns, drop the object between any two port calls, and start
another.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from zlib import crc32

from clientlib.protocol.errors import FencedError, RemoteError
from clientlib.protocol.naming import Naming
from clientlib.protocol.state import Mark, View, merge
from clientlib.protocol.types import ClusterAlias, Revision
from clientlib.settings import Settings
from failover.acts import Acts
from failover.core import journal, report, stranded, unplanned
from failover.core.estimate import acceptable, estimate
from failover.core.fitness import UNREACHABLE, Case, Command, refusal, too_late, unfit
from failover.core.machine import (
    TERMINAL,
    TRANSITIONS,
    DeadlinePassed,
    Event,
    Interrupted,
    Pending,
    Run,
    RunPhase,
    deadline_ms,
    interruptible,
    step,
)
from failover.core.plan import LONGER_COPY, Plan
from failover.core.result import (
    ExitCode,
    Progress,
    RunResult,
    SwitchRequest,
)
from failover.core.resumption import taken_up
from failover.core.rules.control import newest_seen, unknown_epoch
from failover.io.ports import Outcome, Ports
from failover.settled import Seen

_MARK_LIVES_MS = 3_000
_MARK_PAUSE_S = 0.1
_CONSIDER_PAUSE_S = 0.2
_ATTEMPTS = 3
PROBE_S = 1.5
_LOOKS, _LOOK_PAUSE_S = 2, 0.2


@dataclass(frozen=True, slots=True)
class Context:
    """What an execution is given: its scope's settings, the ports, and who is asked and told.

    ``warm`` connects ahead what a plan and its run will ask, and says what it has seen by that.
    """

    settings: Settings
    naming: Naming
    ports: Ports
    warm: Callable[[SwitchRequest], Seen]
    plan: Callable[[SwitchRequest], Plan]
    progress: Callable[[Progress], None]
    new_id: Callable[[int], str]


class Execution:
    """One command as turns. ``result`` is there when a turn returns False."""

    def __init__(self, context: Context, command: Command, request: SwitchRequest) -> None:
        self._context = context
        self._ports = context.ports
        self._command = command
        self._request = request
        self._wanted = request.run if command != "switch" else ""
        self._stage: Callable[[], None] = self._look
        self._acts: Acts | None = None
        self._run: Run | None = None
        self._planned_on = Revision(0, 0)
        self._seen = Seen()
        self._marks: dict[ClusterAlias, Mark] = {}
        self._marks_since = 0
        self._considered_since = 0
        self._failed: dict[ClusterAlias, str] = {}
        self._ended: set[str] = set()
        self._completed: Run | None = None
        """The run that was found unfinished, and that this command has completed."""
        self._views: Mapping[ClusterAlias, View] = {}
        self._tried: set[RunPhase] = set()
        self._presumed = ""
        self._looks = 0
        self._gone: ClusterAlias = ""
        self._declared: ClusterAlias = ""
        self._probe: Callable[[], bool] | None = None
        self._attempts = 0
        self._stop = ""
        self._failure = ""
        self.pause_s = 0.0
        self.result: RunResult | None = None

    @property
    def current(self) -> Run | None:
        """The run as it stands; None before there is one."""
        return self._run

    def interrupt(self, why: str = "interrupted") -> None:
        """Ask to stop: undone before the intent, completed after it."""
        self._stop = self._stop or why

    def turn(self) -> bool:
        """Do one act; return whether there is more to do. Never sleeps."""
        self.pause_s = 0.0
        try:
            self._stage()
        except FencedError as error:
            self._fenced(error)
        return self.result is None

    def _fenced(self, error: FencedError) -> None:
        """Give up; two that fenced each other while locking look again, each after its own time."""
        if self._stage == self._lock_others and self._attempts < _ATTEMPTS:
            self._attempts += 1
            self._stage = self._lock_again
            return
        locking = self._stage in {self._claim, self._lock_again}
        if locking and self._look_again():
            self.pause_s = 0.1 + crc32(self._request.run.encode()) % 2_000 / 1_000
            return
        locked = self._refusal("locked", ExitCode.LOCKED, str(error))
        if self._run is not None and self._run.committed:
            told = f"{self._run.target} is active; {error}, which completes this one"
            locked = replace(locked, changed=True, epoch=self._run.epoch.counter, message=told)
        self._finish(locked)

    def _look_again(self) -> bool:
        """Let go of the lock and begin anew; False when that was tried often enough."""
        if self._attempts >= _ATTEMPTS:
            return False
        self._attempts += 1
        self._ports.store.release()
        self._stage = self._look
        return True

    def run(self) -> RunResult:
        """Take turns until the end. Ctrl-C is a request to stop, at whatever point it comes."""
        try:
            while self._guarded_turn():
                self._sleep()
        finally:
            self._ports.store.release()
        if self.result is None:  # pragma: no cover - a turn that ends leaves a result
            raise AssertionError("the command ended without a result")
        return self.result

    def _guarded_turn(self) -> bool:
        try:
            return self.turn()
        except KeyboardInterrupt:
            self.interrupt()
        except Exception as error:
            # Whatever went wrong in us must not leave writes closed.
            if self._failure or self._run is None or not interruptible(self._run):
                raise
            self._failure = repr(error)
            self.interrupt("internal")
        return True

    def _sleep(self) -> None:
        if self.pause_s > 0:
            try:
                self._ports.clock.sleep(self.pause_s)
            except KeyboardInterrupt:
                self.interrupt()

    # -- stages before there is a run ------------------------------------------------------------

    def _look(self) -> None:
        """Read the state and refuse what can be refused without touching anything."""
        self._views = self._ports.store.views(self._asked())
        merged = merge(self._views.values())
        refusal = unfit(self._case)
        if refusal is not None and refusal.result == "unreachable" and self._looks < _LOOKS:
            self._looks += 1  # a cluster that is busy is not gone
            self.pause_s = _LOOK_PAUSE_S
            return
        if refusal is not None:
            self._finish(self._outdated(refusal, merged) or refusal)
            return
        if self._request.emergency and merged.state is not None:
            self._give_up(stranded.gone(merged.state, self._request.to))
        assert merged.state is not None  # noqa: S101 - `unfit` refuses a scope without a state
        self._planned_on = merged.state.order
        self._marks = _marks(self._views)
        self._marks_since = self._ports.clock.now_ms()
        self._stage = self._watch_marks

    def _outdated(self, refusal: RunResult, merged: View) -> RunResult | None:
        """Contradict "it is active already" where clients know a later epoch."""
        if not self._request.emergency or refusal.result != "unchanged" or merged.state is None:
            return None
        to, known = self._request.to, merged.state.epoch.counter
        ahead = newest_seen(self._ports.store.clients([to]).get(to, {}).values())
        if ahead is None or ahead.seen.epoch <= known:
            return None
        found = unknown_epoch(self._request.scope, ahead, known)
        told = self._refusal("refused", ExitCode.REFUSED, found.what, remedy=found.remedy)
        return replace(told, findings=(found,))

    def _asked(self) -> Iterable[ClusterAlias] | None:
        """Return the clusters that are asked anything; None for all of them.

        An unplanned switch begins with the target alone, which says who is given up.
        """
        if not self._request.emergency:
            return None
        if not self._gone:
            return (self._request.to,)
        return tuple(a for a in self._context.settings.aliases if a != self._gone)

    def _give_up(self, gone: ClusterAlias) -> None:
        """Ask nothing of the lost cluster any more, but whether it lives after all."""
        if gone and not self._gone:
            self._gone = gone
            self._probe = self._ports.admin.probe(gone, PROBE_S)
            if len(self._context.settings.aliases) > 2:  # noqa: PLR2004 - others may know more
                self._views = self._ports.store.views(self._asked())

    def _watch_marks(self) -> None:
        """Wait as long as a living run needs to show that it lives."""
        if self._stop:
            self._finish(self._refusal("interrupted", ExitCode.INTERRUPTED, "nothing was changed"))
            return
        if not self._marks:
            self._stage = self._lock
            return
        now = _marks(self._ports.store.views(self._asked()))
        moved = [mark for alias, mark in now.items() if mark != self._marks.get(alias)]
        if moved:
            message = f"run {moved[0].run} is at work on scope {self._request.scope}"
            remedy = "wait until it has ended, then look at `failover status`"
            self._finish(self._refusal("locked", ExitCode.LOCKED, message, remedy=remedy))
        elif not now or self._ports.clock.now_ms() - self._marks_since > _MARK_LIVES_MS:
            self._stage = self._lock
        self.pause_s = _MARK_PAUSE_S

    def _lock(self) -> None:
        """Wait until the writers can fence at once: no other tool may come in between.

        What the plan will ask is connected in the meantime, unless a cluster does not answer.
        """
        ident = self._request.run or self._context.new_id(self._ports.clock.now_ms())
        self._request = replace(self._request, run=ident)
        asked = self._asked() or self._context.settings.aliases
        if self._ports.store.warm_s() > 0 and self._views.keys() >= set(asked):
            self._seen = self._context.warm(self._request)
        self.pause_s = self._ports.store.warm_s()
        self._stage = self._claim

    def _claim(self) -> None:
        """Take one cluster first: of two that begin at once it fences all but the last."""
        ident, arbiter = self._request.run, sorted(self._views)[:1]
        now = _marks(self._ports.store.views(arbiter))
        if any(mark != self._marks.get(alias) for alias, mark in now.items()):
            self._marks |= now  # somebody was faster, and must not be fenced while at work
            self._marks_since = self._ports.clock.now_ms()
            self._stage = self._watch_marks
            return
        self._failed = _failures(self._ports.store.acquire(arbiter))
        marked = {} if self._failed else self._ports.store.hold(ident, arbiter)
        self._stage = self._lock_again if _failures(marked) else self._lock_others

    def _lock_again(self) -> None:
        """Whoever holds the first cluster keeps it, also when another tool was faster elsewhere.

        Raises FencedError when the first cluster has another's mark.
        """
        self._failed |= _failures(self._ports.store.acquire(sorted(self._views)[:1]))
        self._stage = self._lock_others

    def _lock_others(self) -> None:
        """Fence every other reachable cluster, then require what was read before."""
        others = sorted(self._views)[1:]
        self._failed |= _failures(self._ports.store.acquire(others))
        self._views = {
            alias: view
            for alias, view in self._ports.store.views(self._asked()).items()
            if alias not in self._failed
        }
        merged = merge(self._views.values())
        if merged.state is None or merged.state.order != self._planned_on:
            if not self._look_again():
                message = "the state changed while the lock was taken: another run was faster"
                self._finish(self._refusal("locked", ExitCode.LOCKED, message))
            return
        refusal = unfit(self._case)
        if refusal is not None:
            told = "; ".join((refusal.message, *self._failed.values()))
            self._finish(replace(refusal, message=told))
            return
        unmarked = _failures(self._ports.store.hold(self._request.run, sorted(self._views)))
        if unmarked and self._attempts < _ATTEMPTS:
            self._attempts += 1  # nothing could be written there before it is acquired again
            self._stage = self._lock_again
            return
        self._stage = self._decide

    def _decide(self) -> None:
        """Under the lock: take up what is unfinished, else start what was asked for."""
        self._views = self._ports.store.views(self._asked())
        merged = merge(self._views.values())
        known = self._context
        self._acts = Acts(
            known.settings, self._request.scope, known.naming, self._ports, self._seen
        )
        self._acts.knows(self._views)
        old = journal.unfinished(merged, self._request.scope)
        named = self._wanted
        if named and (old is None or old.id != named):
            message = f"run {named} is not unfinished"
            remedy = f"`failover resume` takes up {old.id}" if old is not None else ""
            self._finish(self._refusal("refused", ExitCode.REFUSED, message, remedy=remedy))
        elif old is not None:
            self._settle(old, merged)
        elif self._command != "switch":
            self._finish(self._refusal("unchanged", ExitCode.OK, "no run is unfinished"))
        elif self._case.declares:
            self._declare(merged)
        else:
            self._considered_since = self._ports.clock.now_ms()
            self._stage = self._consider

    def _settle(self, old: Run, merged: View) -> None:
        """Take an unfinished run up, unless an unplanned switch gives up what it needs."""
        todo = stranded.Remedy.TAKE_UP
        if self._request.emergency and self._command == "switch":
            todo = stranded.remedy(old, merged, self._gone)
        if todo is stranded.Remedy.TAKE_UP:
            if self._case.declares:
                self._declare(merged)
            else:
                now = self._ports.clock.now_ms()
                abort = self._command == "abort"
                self._begin(taken_up(old, self._views, self._gone, now_ms=now, abort=abort))
        elif self._answers():
            self._finish(self._alive(self._gone))
        elif todo is stranded.Remedy.LEAVE:
            self._considered_since = self._ports.clock.now_ms()
            self._stage = self._consider
        else:
            assert self._acts is not None  # noqa: S101 - made before
            presumed = replace(old, phase=RunPhase.MOVING, intent=True, cause="")
            self._write_and_decide(partial(self._acts.presume_commit, presumed))
            if self.result is None:
                self._presumed = f"the switch to {old.target} counts as committed now"

    def _declare(self, merged: View) -> None:
        """Give up the cluster before the current epoch, so that nobody waits for it any more."""
        assert self._acts is not None  # noqa: S101 - made before
        assert merged.state is not None  # noqa: S101 - `declares` looked
        if self._answers():
            self._finish(self._alive(self._gone))
            return
        self._declared = self._gone
        declared = stranded.declared(merged.state, self._request.run)
        self._write_and_decide(partial(self._acts.declare, declared, list(self._views)))

    def _write_and_decide(self, write: Callable[[], None]) -> None:
        """Write what belongs to no run of ours, then look again at what there is to do."""
        try:
            write()
        except FencedError:
            raise
        except RemoteError as error:
            told = f"{error}; what gives {self._gone} up may be written or not: ask again"
            self._finish(self._refusal(*UNREACHABLE, told))
            return
        self._stage = self._decide

    def _answers(self) -> bool:
        """Say whether the cluster that is to be given up answers, and nobody insists."""
        insists = self._request.old_side_alive
        return not insists and self._probe is not None and self._probe()

    def _consider(self) -> None:
        """Refuse what stands in the way; wait for what passes by itself."""
        if self._stop:
            self._finish(self._refusal("interrupted", ExitCode.INTERRUPTED, "nothing was closed"))
            return
        state = merge(self._views.values()).state
        refusal = unfit(self._case)
        if refusal is not None or state is None or self._acts is None:
            self._finish(refusal or self._refusal("refused", ExitCode.REFUSED, "no state"))
            return
        # what was expected has been judged already, by who was active when the command began
        asked = replace(self._request, expect_active="") if self._acted else self._request
        plan = self._context.plan(asked)
        if not plan.refusals:
            self._begin_if_accepted(Run(self._request.run, self._request, state), plan)
            return
        waited_ms = self._ports.clock.now_ms() - self._considered_since
        if plan.lasting or waited_ms >= plan.patience_s(self._request.timeout_s) * 1000:
            self._finish(self._refused_by(plan))
            return
        self._acts.create(plan.creations)
        told = tuple(f"{f.subject}: {f.what}" for f in plan.refusals)
        waiting = Run(self._request.run, self._request, state, pending=told)
        self._context.progress(report.progress_of(waiting))
        self.pause_s = _CONSIDER_PAUSE_S

    def _begin_if_accepted(self, run: Run, plan: Plan) -> None:
        """Begin; an unplanned switch only if the old side is gone and the loss is accepted."""
        if not run.request.emergency:
            self._begin(run)
            return
        if self._answers():
            self._finish(self._alive(run.source))
            return
        clients = self._ports.store.clients([run.target]).get(run.target, {})
        found = estimate(clients, self._ports.clock.now_ms(), plan.others, plan.heard_ms)
        allowed, most = run.request.allow_data_loss, run.request.max_lost
        if acceptable(found, allowed=allowed, most=most):
            told = tuple(f"{f.subject} {f.what}" for f in plan.findings if f.id == LONGER_COPY)
            self._begin(replace(run, estimate=found, warnings=told))
            return
        result = self._refusal(
            "data-loss-not-accepted",
            ExitCode.DATA_LOSS,
            unplanned.not_accepted(found),
            remedy=unplanned.remedy(run.request),
        )
        measured = {"lost_at_most": found.records, "lost_at_most_source": found.source}
        self._finish(replace(result, measured=measured))

    def _alive(self, cluster: ClusterAlias) -> RunResult:
        finding = unplanned.old_side_alive(cluster, self._request.to, insisted=False)
        told = f"{finding.subject} {finding.what}: it is not gone; nothing was changed"
        refusal = self._refusal("refused", ExitCode.REFUSED, told, remedy=finding.remedy)
        return replace(refusal, findings=(finding,))

    def _refused_by(self, plan: Plan) -> RunResult:
        told = "; ".join(f"{f.id}: {f.subject} {f.what}" for f in plan.refusals)
        refusal = self._refusal("refused", ExitCode.REFUSED, told)
        if plan.only_loss:
            remedy = plan.refusals[0].remedy
            loss = "data-loss-not-accepted", ExitCode.DATA_LOSS
            refusal = self._refusal(*loss, f"{told}; nothing was changed", remedy=remedy)
        return replace(refusal, findings=plan.findings)

    def _begin(self, run: Run) -> None:
        now = self._ports.clock.now_ms()
        self._run = replace(run, times={**run.times, run.phase.value: now})
        self._tried = set()
        self._stage = self._advance
        self._tell(self._run)
        if run.phase in TERMINAL:
            self._end(self._run)

    # -- the run ---------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Perform the phase's act, or take notice of time and operator, and step."""
        run = self._run
        assert run is not None  # noqa: S101 - the stage is entered with a run
        decision = step(run, self._due(run) or self._perform(run), self._ports.clock.now_ms())
        self._tried.add(run.phase)
        self.pause_s = decision.pause_s
        self._run = decision.run
        if decision.run.phase is not run.phase:
            self._tell(decision.run, run)
        elif decision.run.pending != run.pending:
            self._tell(decision.run)
        if decision.run.phase in TERMINAL:
            self._end(decision.run)

    def _tell(self, run: Run, before: Run | None = None) -> None:
        """Tell a watching human that a step ended, and which one began."""
        if before is not None:
            self._context.progress(report.ended(before, run))
        if run.phase not in TERMINAL:
            self._context.progress(report.progress_of(run))

    def _due(self, run: Run) -> Event | None:
        """Return the stop or the deadline, if it is due; a phase is tried once before that.

        Once in all: some phases alternate, each beginning anew when the other ends.
        """
        if self._stop and interruptible(run):
            return Interrupted(self._stop)
        limit = deadline_ms(run)
        late = limit is not None and self._ports.clock.now_ms() >= limit
        if late and run.phase in self._tried and (run.phase, DeadlinePassed) in TRANSITIONS:
            return DeadlinePassed()
        return None

    def _perform(self, run: Run) -> Event:
        assert self._acts is not None  # noqa: S101 - made before the run
        try:
            return self._acts.table[run.phase](run)
        except FencedError:
            raise
        except RemoteError as error:
            if (run.phase, Pending) not in TRANSITIONS:
                raise
            return Pending((str(error),))

    def _end(self, run: Run) -> None:
        """Journal the end; a switch that only cleared up after another one goes on."""
        assert self._acts is not None  # noqa: S101 - made before the run
        try:
            self._acts.record(run)
        except FencedError as error:
            run = replace(run, warnings=(*run.warnings, f"the end was not journalled: {error}"))
        other = run.id != self._request.run
        again = run.id in self._ended  # its end could not be written: somebody must look
        self._ended.add(run.id)
        if other and run.phase is RunPhase.DONE:
            self._completed = run
        if other and run.finished and self._command == "switch" and not self._stop and not again:
            self._stage = self._decide
            return
        result = report.result_of(run)
        if other and self._command == "abort" and run.committed:
            result = too_late(self._case, run)
        self._finish(
            replace(result, message="; ".join(filter(None, (result.message, self._failure))))
        )

    def _finish(self, result: RunResult) -> None:
        if self._presumed and not result.changed:
            told = f"{result.message} but for one thing: {self._presumed}"
            result = replace(result, changed=True, message=told)
        self.result = result
        self._ports.store.release()

    # -- refusals --------------------------------------------------------------------------------

    @property
    def _case(self) -> Case:
        asked = tuple(self._asked() or self._context.settings.aliases)
        return Case(
            request=self._request,
            command=self._command,
            views=self._views,
            asked=asked,
            gone=self._gone,
            acted=self._acted,
            declared=self._declared,
            completed=self._completed,
        )

    @property
    def _acted(self) -> bool:
        """Whether this command has dealt with an older run, or given a cluster up."""
        return bool(self._ended or self._declared or self._presumed)

    def _refusal(self, result: str, code: ExitCode, message: str, *, remedy: str = "") -> RunResult:
        return refusal(self._case, result, code, message, remedy=remedy)


def _failures(outcomes: Mapping[ClusterAlias, Outcome]) -> dict[ClusterAlias, str]:
    return {alias: outcome.why for alias, outcome in outcomes.items() if not outcome.done}


def _marks(views: Mapping[ClusterAlias, View]) -> dict[ClusterAlias, Mark]:
    return {alias: view.mark for alias, view in views.items() if view.mark is not None}
