"""The run of a switch as a table: phases, events, and the one function that moves it.

Three rules carry everything:

* **Writes are closed on the old side before anything is measured**, and open on the new side only
  by the commit. Between the two no cluster is active.
* **The intent stands on the old side before the commit is written on the new one.** An intent is
  undone only where the new side can be read and shows no commit.
* **An unknown outcome is looked at, never guessed.** It leads to a phase that observes.

An unplanned switch (``request.emergency``) asks nothing of the old side: closing, intent and undo
count on the new one alone, and the epoch ends where the copies end once the mirror is still.

Nothing here performs, reads a clock or sleeps. Each phase has one act, named by the phase; the
engine performs it and hands back the event that it came to. An event that the table does not know
in a phase raises `IllegalEventError` and changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeAlias

from clientlib.protocol.errors import FailoverError
from clientlib.protocol.ledger import ClosedEpoch
from clientlib.protocol.skips import Skip
from clientlib.protocol.state import State
from clientlib.protocol.types import ClusterAlias, Epoch, Offset, Partition
from failover.core.estimate import Estimate
from failover.core.result import SwitchRequest


class IllegalEventError(FailoverError):
    """The machine was given an event that its phase does not know."""


class InvariantError(FailoverError):
    """A step would break what the run promises; nothing was done."""


class RunPhase(StrEnum):
    """Where a run stands, in the order in which the journal numbers its entries.

    Each phase has one number, so an entry that is written twice is one entry, and the highest
    number is the newest entry: an incomplete run that is taken up again can only end.
    """

    PREPARING = "preparing"
    CLOSING = "closing"
    SETTLING = "settling"
    QUIESCING = "quiescing"
    MEASURING = "measuring"
    COPYING = "copying"
    CONFIRMING = "confirming"
    INTENDING = "intending"
    COMMITTING = "committing"
    RESOLVING = "resolving"
    MOVING = "moving"
    VERIFYING = "verifying"
    UNDOING = "undoing"
    INCOMPLETE = "incomplete"
    DONE = "done"
    UNDONE = "undone"


@dataclass(frozen=True, slots=True)
class PhaseRule:
    """A phase's step and limits: ``pause_s`` between repeated looks, which deadline bounds it."""

    step: str
    pause_s: float = 0.0
    deadline: str = ""


CLOSED, MOVE, UNDO = "closed", "move", "undo"

PHASES: Mapping[RunPhase, PhaseRule] = {
    RunPhase.PREPARING: PhaseRule("prepare", 0.2, CLOSED),
    RunPhase.CLOSING: PhaseRule("close", 0.1, CLOSED),
    RunPhase.SETTLING: PhaseRule("settle", 0.02, CLOSED),
    RunPhase.QUIESCING: PhaseRule("quiesce", 0.001, CLOSED),
    RunPhase.MEASURING: PhaseRule("ends", 0.001, CLOSED),
    RunPhase.COPYING: PhaseRule("copy", 0.001, CLOSED),
    RunPhase.CONFIRMING: PhaseRule("confirm", 0.001, CLOSED),
    RunPhase.INTENDING: PhaseRule("intent", 0.1, CLOSED),
    RunPhase.COMMITTING: PhaseRule("commit", 0.1, CLOSED),
    RunPhase.RESOLVING: PhaseRule("commit", 0.2, CLOSED),
    RunPhase.MOVING: PhaseRule("move", 0.01, MOVE),
    RunPhase.VERIFYING: PhaseRule("verify", 0.1, MOVE),
    RunPhase.UNDOING: PhaseRule("undo", 0.2, UNDO),
}
TERMINAL = frozenset({RunPhase.DONE, RunPhase.UNDONE, RunPhase.INCOMPLETE})
UNDO_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class Growth:
    """Records that appeared in a log after its end had been read."""

    topic: str
    partition: int
    was: Offset
    now: Offset


Owed: TypeAlias = Mapping[str, tuple[ClosedEpoch, ...]]
"""By topic, what has been found out of older closed epochs."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Topics exist; ``owed`` are older closed epochs completed by the target's ends."""

    topics: Mapping[str, int]
    owed: Owed


@dataclass(frozen=True, slots=True)
class Pending:
    """The phase's condition is not true yet; ``what`` lists, for the operator, what is missing."""

    what: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Diverged:
    """The target had been given up, and its logs contradict the ledger: ``what`` names them."""

    what: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClosingAcknowledged:
    """Both sides have acknowledged that writes close."""


@dataclass(frozen=True, slots=True)
class ClosedWithout:
    """The new side has acknowledged that writes close; the old one was not waited for."""


@dataclass(frozen=True, slots=True)
class CopiesSettled:
    """MirrorMaker 2 writes no more: where the copies end is where the epoch ends.

    ``skips`` is what the copies are known to repeat below their ends; ``warnings`` say of which
    that is not known.
    """

    copies: Mapping[Partition, Offset]
    skips: Mapping[Partition, Skip] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProducersQuiesced:
    """Every registered producer has flushed and holds its records; others are in ``warnings``."""

    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EndsRead:
    """The end of each log on the old side, with no transaction open below it."""

    ends: Mapping[Partition, Offset]


@dataclass(frozen=True, slots=True)
class CopyHolds:
    """The target holds every record up to the ends; ``copies`` are the ends of its copies.

    ``skips`` is what the copies repeat below their ends.
    """

    copies: Mapping[Partition, Offset]
    skips: Mapping[Partition, Skip] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EndsConfirmed:
    """Nothing was written since the ends were read, or it is tolerated (``warnings``).

    ``owed``: what a returned target has got since it was compared.
    """

    warnings: tuple[str, ...] = ()
    owed: Owed = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EndsGrew:
    """Somebody who is not registered writes on the old side."""

    growth: tuple[Growth, ...]


@dataclass(frozen=True, slots=True)
class IntentAcknowledged:
    """The old side holds the intent."""


@dataclass(frozen=True, slots=True)
class CommitAcknowledged:
    """The new side is active."""


@dataclass(frozen=True, slots=True)
class OutcomeUnknown:
    """No answer came to a write; it may have happened."""

    why: str


@dataclass(frozen=True, slots=True)
class WriteFailed:
    """A write was refused or could not be sent; it has not happened."""

    why: str


@dataclass(frozen=True, slots=True)
class CommitFound:
    """The new side was read: it holds the commit."""


@dataclass(frozen=True, slots=True)
class CommitMissing:
    """The new side was fenced and read: it holds no commit, and none is under way."""


@dataclass(frozen=True, slots=True)
class GroupsMoved:
    """Every live group carries the new token on every partition."""


@dataclass(frozen=True, slots=True)
class Verified:
    """The boundaries were audited; what deserves attention is in ``warnings``.

    ``replayed`` and ``lost`` are what producers say after an unplanned switch, in records.
    """

    warnings: tuple[str, ...] = ()
    replayed: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Reopened:
    """The old side takes writes again, in the same epoch."""


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The phase's time is over."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The operator stopped the run (``why``: interrupted or aborted)."""

    why: str = "interrupted"


Event: TypeAlias = (
    Prepared
    | Pending
    | Diverged
    | ClosingAcknowledged
    | ClosedWithout
    | CopiesSettled
    | ProducersQuiesced
    | EndsRead
    | CopyHolds
    | EndsConfirmed
    | EndsGrew
    | IntentAcknowledged
    | CommitAcknowledged
    | OutcomeUnknown
    | WriteFailed
    | CommitFound
    | CommitMissing
    | GroupsMoved
    | Verified
    | Reopened
    | DeadlinePassed
    | Interrupted
)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: the next phase and the operator's sentence."""

    to: RunPhase
    says: str


_P = RunPhase
_UNDO_TIME = Row(_P.UNDOING, "time is over; writes reopen on the old side")
_UNDO_STOP = Row(_P.UNDOING, "stopped by the operator; writes reopen on the old side")

TRANSITIONS: Mapping[tuple[RunPhase, type], Row] = {
    (_P.PREPARING, Pending): Row(_P.PREPARING, "topics are being prepared"),
    (_P.PREPARING, Prepared): Row(_P.CLOSING, "prepared; closing writes"),
    (_P.PREPARING, Diverged): Row(_P.UNDONE, "the target diverged; nothing was closed"),
    (_P.PREPARING, DeadlinePassed): Row(_P.UNDONE, "not prepared in time; nothing was closed"),
    (_P.PREPARING, Interrupted): Row(_P.UNDONE, "stopped by the operator; nothing was closed"),
    (_P.PREPARING, WriteFailed): Row(_P.UNDONE, "the journal was refused; nothing was closed"),
    (_P.PREPARING, OutcomeUnknown): Row(_P.UNDONE, "no answer to the journal; nothing was closed"),
    (_P.CLOSING, ClosingAcknowledged): Row(_P.QUIESCING, "writes close; waiting for producers"),
    (_P.CLOSING, ClosedWithout): Row(_P.SETTLING, "writes close; waiting for the mirror"),
    (_P.CLOSING, WriteFailed): Row(_P.UNDOING, "closing was refused; writes reopen"),
    (_P.CLOSING, OutcomeUnknown): Row(_P.UNDOING, "closing was not answered; writes reopen"),
    (_P.CLOSING, DeadlinePassed): _UNDO_TIME,
    (_P.CLOSING, Interrupted): _UNDO_STOP,
    (_P.SETTLING, Pending): Row(_P.SETTLING, "the mirror still writes"),
    (_P.SETTLING, CopiesSettled): Row(_P.INTENDING, "the copies are still; writing the intent"),
    (_P.SETTLING, DeadlinePassed): _UNDO_TIME,
    (_P.SETTLING, Interrupted): _UNDO_STOP,
    (_P.QUIESCING, Pending): Row(_P.QUIESCING, "producers still flush"),
    (_P.QUIESCING, ProducersQuiesced): Row(_P.MEASURING, "producers are quiet; reading the ends"),
    (_P.QUIESCING, DeadlinePassed): _UNDO_TIME,
    (_P.QUIESCING, Interrupted): _UNDO_STOP,
    (_P.MEASURING, Pending): Row(_P.MEASURING, "a transaction is still open"),
    (_P.MEASURING, EndsRead): Row(_P.COPYING, "ends are known; waiting for the copy"),
    (_P.MEASURING, EndsGrew): Row(_P.UNDOING, "a topic appeared after preparing; writes reopen"),
    (_P.MEASURING, DeadlinePassed): _UNDO_TIME,
    (_P.MEASURING, Interrupted): _UNDO_STOP,
    (_P.COPYING, Pending): Row(_P.COPYING, "the copy is behind"),
    (_P.COPYING, CopyHolds): Row(_P.CONFIRMING, "the copy is complete; reading the ends again"),
    (_P.COPYING, EndsGrew): Row(_P.UNDOING, "an unknown writer was found; writes reopen"),
    (_P.COPYING, DeadlinePassed): _UNDO_TIME,
    (_P.COPYING, Interrupted): _UNDO_STOP,
    (_P.CONFIRMING, Pending): Row(_P.CONFIRMING, "the old side cannot be read yet"),
    (_P.CONFIRMING, EndsConfirmed): Row(_P.INTENDING, "nobody wrote; writing the intent"),
    (_P.CONFIRMING, EndsGrew): Row(_P.UNDOING, "an unknown writer was found; writes reopen"),
    (_P.CONFIRMING, DeadlinePassed): _UNDO_TIME,
    (_P.CONFIRMING, Interrupted): _UNDO_STOP,
    (_P.INTENDING, IntentAcknowledged): Row(_P.COMMITTING, "the intent stands; committing"),
    (_P.INTENDING, WriteFailed): Row(_P.UNDOING, "the intent was refused; writes reopen"),
    (_P.INTENDING, OutcomeUnknown): Row(_P.UNDOING, "the intent was not answered; writes reopen"),
    (_P.INTENDING, DeadlinePassed): _UNDO_TIME,
    (_P.INTENDING, Interrupted): _UNDO_STOP,
    (_P.COMMITTING, CommitAcknowledged): Row(_P.MOVING, "committed; groups are moving"),
    (_P.COMMITTING, WriteFailed): Row(_P.RESOLVING, "the commit failed; looking at the new side"),
    (_P.COMMITTING, OutcomeUnknown): Row(_P.RESOLVING, "no answer; looking at the new side"),
    (_P.COMMITTING, DeadlinePassed): Row(
        _P.UNDOING, "time is over; reopening if nothing committed"
    ),
    (_P.RESOLVING, CommitFound): Row(_P.MOVING, "the commit is there; groups are moving"),
    (_P.RESOLVING, CommitMissing): Row(_P.COMMITTING, "there is no commit; committing again"),
    (_P.RESOLVING, Pending): Row(_P.RESOLVING, "the new side cannot be read yet"),
    (_P.RESOLVING, DeadlinePassed): Row(_P.UNDOING, "time is over; reopening if nothing committed"),
    (_P.MOVING, Pending): Row(_P.MOVING, "groups are still moving"),
    (_P.MOVING, GroupsMoved): Row(_P.VERIFYING, "every live group has moved; verifying"),
    (_P.MOVING, DeadlinePassed): Row(_P.INCOMPLETE, "switched, but some groups have not moved"),
    (_P.MOVING, Interrupted): Row(_P.INCOMPLETE, "switched; stopped before all groups had moved"),
    (_P.VERIFYING, Verified): Row(_P.DONE, "verified"),
    (_P.VERIFYING, Pending): Row(_P.VERIFYING, "a side cannot be read yet"),
    (_P.VERIFYING, DeadlinePassed): Row(_P.INCOMPLETE, "switched, but it could not be verified"),
    (_P.VERIFYING, Interrupted): Row(_P.INCOMPLETE, "switched; stopped before it was verified"),
    (_P.UNDOING, Reopened): Row(_P.UNDONE, "writes are open again on the old side"),
    (_P.UNDOING, CommitFound): Row(_P.MOVING, "the commit had been written; groups are moving"),
    (_P.UNDOING, Pending): Row(_P.UNDOING, "the old side cannot be reopened yet"),
    (_P.UNDOING, DeadlinePassed): Row(_P.INCOMPLETE, "writes stay closed: operator needed"),
}


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a switch: everything that another process needs to go on with it.

    ``base`` is the state that the run was planned on. ``ends`` and ``copies`` are by logical
    partition: where T[p] ends on the source, and where its copy ends on the target; ``skips`` is
    what the copies repeat. ``times`` says when each phase was entered last (Unix ms), and
    ``committed_ms`` when a run had committed that was taken up after that, else 0. ``cause`` is
    why it is undone, if it is. Of an unplanned switch: what it may lose as estimated before, and
    what producers have ``replayed`` and declared ``lost`` after it.
    """

    id: str
    request: SwitchRequest
    base: State
    phase: RunPhase = RunPhase.PREPARING
    topics: Mapping[str, int] = field(default_factory=dict)
    owed: Owed = field(default_factory=dict)
    ends: Mapping[Partition, Offset] = field(default_factory=dict)
    copies: Mapping[Partition, Offset] = field(default_factory=dict)
    skips: Mapping[Partition, Skip] = field(default_factory=dict)
    times: Mapping[str, int] = field(default_factory=dict)
    committed_ms: int = 0
    intent: bool = False
    pending: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    growth: tuple[Growth, ...] = ()
    cause: str = ""
    detail: str = ""
    estimate: Estimate | None = None
    replayed: int = 0
    lost: int = 0

    @property
    def scope(self) -> str:
        """The scope that is switched."""
        return self.base.scope

    @property
    def source(self) -> ClusterAlias:
        """The old active cluster."""
        return self.base.active

    @property
    def target(self) -> ClusterAlias:
        """The new active cluster."""
        return self.request.to

    @property
    def sides(self) -> tuple[ClusterAlias, ...]:
        """The clusters that the run writes to: both, or the new one alone."""
        return (self.target,) if self.request.emergency else (self.source, self.target)

    @property
    def witness(self) -> ClusterAlias:
        """The cluster on which closing, intent and undo must be acknowledged."""
        return self.target if self.request.emergency else self.source

    @property
    def epoch(self) -> Epoch:
        """The epoch that the commit opens."""
        return Epoch(self.base.epoch.counter + 1, self.target)

    @property
    def sequence(self) -> int:
        """Number of the journal entry that says where the run stands."""
        return list(RunPhase).index(self.phase)

    @property
    def finished(self) -> bool:
        """Whether nothing remains to be done by anyone (an incomplete run is not finished)."""
        return self.phase in {RunPhase.DONE, RunPhase.UNDONE}

    @property
    def committed(self) -> bool:
        """Whether the run is known to be past the point of no return."""
        return "moving" in self.times


@dataclass(frozen=True, slots=True)
class Decision:
    """What a step came to: the run after it, what to tell, and how long to wait before the next."""

    run: Run
    says: str
    pause_s: float


def step(run: Run, event: Event, now_ms: int) -> Decision:
    """Return the run after an event.

    Raises IllegalEventError for an event that the phase does not know, and InvariantError when the
    next phase must not be entered; ``run`` is a value, so nothing changes then.
    """
    row = TRANSITIONS.get((run.phase, type(event)))
    if row is None:
        raise IllegalEventError(f"{type(event).__name__} means nothing while {run.phase}")
    if row.to == run.phase:
        assert isinstance(event, Pending)  # noqa: S101 - the table is checked for it by a test
        return Decision(replace(run, pending=event.what), row.says, PHASES[row.to].pause_s)
    after = replace(_take(run, event), phase=row.to, pending=_left(run, event, row))
    after = replace(
        after,
        times={**run.times, row.to.value: now_ms},
        intent=run.intent or row.to is RunPhase.INTENDING,
    )
    _check(run, after)
    return Decision(after, row.says, 0.0)


def _left(run: Run, event: Event, row: Row) -> tuple[str, ...]:
    """Return what was still missing: kept when time or the operator ended the phase."""
    if isinstance(event, DeadlinePassed | Interrupted) or row.to is RunPhase.INCOMPLETE:
        return run.pending
    return run.pending if row.to is RunPhase.UNDONE else ()


def joined(owed: Owed, more: Owed) -> dict[str, tuple[ClosedEpoch, ...]]:
    """Return what is owed after more was found out: of two rows of an epoch the newer one."""
    result = dict(owed)
    for topic, rows in more.items():
        newer = {row.epoch.counter: row for row in (*result.get(topic, ()), *rows)}
        result[topic] = tuple(newer[counter] for counter in sorted(newer))
    return result


def _take(run: Run, event: Event) -> Run:
    """Keep what the event says."""
    match event:
        case Prepared(topics, owed):
            run = replace(run, topics=topics, owed=owed)
        case EndsRead(ends):
            run = replace(run, ends=ends)
        case CopyHolds(copies, skips):
            run = replace(run, copies=copies, skips=skips)
        case CopiesSettled(copies, skips, warnings):
            told = (*run.warnings, *warnings)
            run = replace(run, copies=copies, skips=skips, warnings=told)
        case ProducersQuiesced(warnings):
            run = replace(run, warnings=(*run.warnings, *warnings))
        case EndsConfirmed(warnings, owed):
            told = (*run.warnings, *warnings)
            run = replace(run, warnings=told, owed=joined(run.owed, owed))
        case Verified(warnings, replayed, lost):
            told = (*run.warnings, *warnings)
            run = replace(run, warnings=told, replayed=replayed, lost=lost)
        case CommitFound() | CommitAcknowledged():
            run = replace(run, cause="", detail="")
        case _:
            run = _blame(run, event)
    return run


def _blame(run: Run, event: Event) -> Run:
    """Keep why a run is undone or left; the first cause stays."""
    match event:
        case EndsGrew(growth):
            run = replace(run, growth=growth, cause="rogue-writer")
        case Diverged(what):
            run = replace(run, cause="diverged", detail="; ".join(what))
        case WriteFailed(why) | OutcomeUnknown(why):
            run = replace(run, cause=run.cause or "unreachable", detail=why)
        case Interrupted(why):
            run = replace(run, cause=run.cause or why)
        case DeadlinePassed():
            detail = run.detail or f"while {run.phase}"
            run = replace(run, cause=run.cause or "timed-out", detail=detail)
        case _:
            pass
    return run


def _check(before: Run, after: Run) -> None:
    """Hold what the run promises; see the module's rules."""
    if after.phase is RunPhase.COMMITTING and not after.intent:
        raise InvariantError("a commit needs an intent")
    if after.phase is RunPhase.INTENDING and before.ends.keys() - before.copies.keys():
        raise InvariantError("the intent needs the end of every log on both sides")
    if before.ends and after.ends != before.ends:
        raise InvariantError("an end is decided once")
    if after.target == after.source:
        raise InvariantError("the target is already active")


def deadline_ms(run: Run) -> int | None:
    """Return when the current phase must be over (Unix ms), None when nothing bounds it.

    The closed phases share one deadline, which starts when writes close; undoing has a fresh one.
    """
    rule = PHASES.get(run.phase)
    if rule is None:
        return None
    start = {CLOSED: RunPhase.CLOSING, MOVE: RunPhase.MOVING, UNDO: RunPhase.UNDOING}[rule.deadline]
    began = run.times.get(start.value, run.times.get(RunPhase.PREPARING.value, 0))
    limit_s = UNDO_TIMEOUT_S if rule.deadline == UNDO else run.request.timeout_s
    return began + int(limit_s * 1000)


def interruptible(run: Run) -> bool:
    """Whether the operator's stop has an effect in this phase (else it is kept for later)."""
    return (run.phase, Interrupted) in TRANSITIONS


def dump() -> str:
    """Return the table as text, one row a line: for the documentation and its golden test."""
    rows = (
        f"{phase.value:<11} {event.__name__:<20} {row.to.value:<11} {row.says}"
        for (phase, event), row in TRANSITIONS.items()
    )
    return "\n".join(rows) + "\n"
