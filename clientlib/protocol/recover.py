"""Exact translation when the origin is dead: by what its reader remembers.

A reader of the lost log remembers the fingerprints of the records that it read last, with their
offsets. `Recovery` finds them in a copy, sans I/O like `align.Aligner`, and answers where the
reader's position is there:

* the records around the position are found: **exact** (by the rules of `locate`);
* the copy ends before the position: the copy's end, and the records **beyond** it that the reader
  has processed already, whose replays nobody must give to it again;
* nothing is found: ``floor``, a lower bound (a checkpoint, or the range's start).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from clientlib.protocol.fingerprint import LogRecord
from clientlib.protocol.locate import Located, NotReached, Problem, Unrelated, locate
from clientlib.protocol.replay import original_print
from clientlib.protocol.types import Offset
from clientlib.protocol.windows import Answer, Reader, ReadWindow, Span, Steps

_MARGIN = 1_024


@dataclass(frozen=True, slots=True)
class Print:
    """A record of the lost log as its reader remembers it."""

    offset: Offset
    print: bytes


@dataclass(frozen=True, slots=True)
class Memory:
    """The records that were read last, oldest first; ``stamped``: prints contain timestamps.

    ``start``: no record was read from this offset on that is not among them; None: nobody knows.
    """

    prints: tuple[Print, ...] = ()
    stamped: bool = True
    start: Offset | None = None


@dataclass(frozen=True, slots=True)
class RecoverRequest:
    """What to find.

    ``position``: in the lost log; ``start``: where the range begins there. ``target``: the range in
    the copy. ``floor``: a safe answer. ``budget``: how many offsets of the copy may be read.
    """

    memory: Memory
    position: Offset
    start: Offset
    target: Span
    floor: Offset
    budget: int = 200_000


@dataclass(frozen=True, slots=True)
class Recovered:
    """Where the position is in the copy, and how well that is known.

    ``again``: at most so many records may be read again. ``beyond``: the position lies behind the
    copy's end; ``ahead`` are the prints of what was processed there, as far as remembered.
    """

    offset: Offset
    by: str
    again: int = 0
    beyond: bool = False
    ahead: tuple[bytes, ...] = ()


class Recovery(Reader[Recovered]):
    """One search: ask `next_request`, `feed` the answer, until `result` is there."""

    __slots__ = ()

    def __init__(self, request: RecoverRequest) -> None:
        super().__init__(_recover(request))


def _recover(request: RecoverRequest) -> Steps[Recovered]:
    if request.position <= request.start:
        return Recovered(request.target.start, "start")
    if not request.memory.prints:
        return _floor(request, "nothing is remembered")
    span = request.target
    guess = span.start + request.memory.prints[0].offset - request.start
    low = span.clip(guess - _MARGIN)  # a later place of the same records only means to read again
    near = Span(low, min(span.end, low + request.budget))
    found = yield from _within(request, near)
    read = near
    if isinstance(found, int) and near.start > span.start:
        read = Span(max(span.start, span.end - request.budget), span.end)
        found = yield from _within(request, read)
    if isinstance(found, Recovered):
        return found
    whole = read == span and span.end - span.start <= request.budget
    held = found if whole else span.end - span.start
    if held <= request.memory.prints[0].offset - request.start and (whole or _dense(request)):
        # it holds fewer records than there were before the first that is remembered
        return _beyond(request, 0)
    return _floor(request, "no record that is remembered was found")


def _dense(request: RecoverRequest) -> bool:
    """Say whether offsets count records, as far as is remembered: a transaction leaves gaps."""
    offsets = [one.offset for one in request.memory.prints]
    return offsets[-1] - offsets[0] == len(offsets) - 1


def _within(request: RecoverRequest, span: Span) -> Steps[Recovered | int]:
    """Read a part of the copy and look for the position in it.

    Returns how many records it holds at most when nothing else is known by it.
    """
    if span.end - span.start > request.budget:
        return span.end - span.start
    entries: list[tuple[Offset, bytes]] = []
    at = span.start
    while at < span.end:
        answer: Answer = yield ReadWindow("target", at, span.end, span.end - at)
        records, covered = answer
        entries += [(r.offset, _print(request, r)) for r in records if at <= r.offset < span.end]
        at = span.end if covered is None else min(covered, span.end)
    if not entries:  # whatever the position is, nothing of the log before it is here
        return 0
    prints = request.memory.prints
    cut = sum(one.offset < request.position for one in prints)
    start = request.memory.start  # a transaction marker may stand at the position
    all_since = start is not None and cut == 0 and start <= request.position
    outcome = locate(
        Problem(
            source=[one.print for one in prints],
            target=[print_ for _, print_ in entries],
            cut=cut,
            after_previous=cut > 0 and prints[cut - 1].offset == request.position - 1,
            at_next=cut < len(prints) and (all_since or prints[cut].offset == request.position),
            strict=not request.memory.stamped,
            from_origin=True,
        )
    )
    found = _answer(request, outcome, [offset for offset, _ in entries], span)
    # what a mirror has sent twice is one record
    return len({print_ for _, print_ in entries}) if found is None else found


def _answer(
    request: RecoverRequest,
    outcome: Located | NotReached | Unrelated,
    offsets: Sequence[Offset],
    span: Span,
) -> Recovered | None:
    if isinstance(outcome, Unrelated):
        return None
    if isinstance(outcome, NotReached):
        if outcome.reached is None or span.end < request.target.end:
            return None
        return _beyond(request, outcome.reached + 1)
    if outcome.low == 0 and outcome.high > 0:
        return None  # what lies before the window is not known
    low = offsets[outcome.low - 1] + 1 if outcome.low else span.start
    return Recovered(max(low, request.floor), outcome.by, again=outcome.high - outcome.low)


def _beyond(request: RecoverRequest, first: int) -> Recovered:
    """The copy ends before the position: the prints from ``first`` on are ahead of it."""
    ahead = [p.print for p in request.memory.prints[first:] if p.offset < request.position]
    return Recovered(request.target.end, "end of the copy", beyond=True, ahead=tuple(ahead))


def _floor(request: RecoverRequest, why: str) -> Recovered:
    again = min(request.position - request.start, request.target.end - request.floor)
    return Recovered(request.floor, why, again=max(0, again))


def _print(request: RecoverRequest, record: LogRecord) -> bytes:
    return original_print(record, use_timestamp=request.memory.stamped)
