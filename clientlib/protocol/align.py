"""Exact translation: find in one log the position that corresponds to a position in another.

The aligner does no I/O. It asks for windows of records and is fed with them::

    aligner = Aligner(AlignRequest(source=Span(0, 900), target=Span(0, 905), position=500))
    while (window := aligner.next_request()) is not None:
        aligner.feed(read(window))
    outcome = aligner.result

It works the same forward (origin to copy), in reverse and sideways (copy to copy). A position
names the next record to read. The answer is never past the true position: whatever the target holds
of the records from the position on is found at or after it.

How a position is found, cheapest evidence first:

1. *sync*: an offset sync for the record just before or at the position, its record verified.
2. *whole interval*: between the two nearest verified syncs (else the whole ranges) both logs are
   read and compared by the rules of `locate`, if that is at most ``whole`` offsets each.
3. *window*: at a guess, up to 16 records on each side of the position match, nowhere else in the
   window, **and** both the beginning and the end of the interval match at the same shift. Equal
   shifts leave no room for a repeat or a gap in between (unless two of them cancel each other).
4. *whole interval* again, if it is at most ``budget`` offsets; beyond it `Unknown`.

The one thing that contents cannot tell apart: records equal in everything, of which compaction took
different ones on the two sides. To take one for the other skips nothing but equal content.
"""

from dataclasses import dataclass, field
from typing import TypeAlias

from clientlib.protocol.fingerprint import LogRecord, fingerprint
from clientlib.protocol.locate import Located, NotReached, Problem, Unrelated, locate
from clientlib.protocol.syncs import Bracket, Pair
from clientlib.protocol.windows import Entry, Logs, Reader, ReadWindow, Span, Steps

__all__ = [
    "AlignRequest",
    "Aligner",
    "Alignment",
    "AtMost",
    "Exact",
    "LogRecord",
    "NotYet",
    "ReadWindow",
    "Span",
    "Unknown",
    "fingerprint",
]


_CONTEXT = 16  # records on each side of a position, and at each end, that are compared


@dataclass(frozen=True, slots=True)
class Exact:
    """The position corresponds to ``offset``; ``by`` names the evidence."""

    offset: int
    by: str


@dataclass(frozen=True, slots=True)
class AtMost:
    """``offset`` is safe; the true position is at most ``records`` records further on.

    What the copy itself repeats later (MM2 restarted) is not counted.
    """

    offset: int
    records: int
    by: str = ""


@dataclass(frozen=True, slots=True)
class NotYet:
    """The target does not hold everything before the position yet.

    ``target`` is its end as given, ``source`` the position in the source that it has reached.
    """

    target: int
    source: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nothing can be said; ``reason`` is for the operator."""

    reason: str


Alignment: TypeAlias = Exact | AtMost | NotYet | Unknown


@dataclass(frozen=True, slots=True)
class AlignRequest:
    """What to align.

    ``source`` and ``target``: corresponding ranges; their starts are the same place (an epoch's
    start, not where retention has moved a log's start to). ``complete``: their ends are the same
    place too (a closed epoch whose copy was proved complete); else the target may lag.
    ``from_origin``: the source is the origin, so that whatever the target holds twice is a repeat.
    ``position``: in the source's range, ends included. ``guess``: offset in the target to look at
    first. ``bracket``: from `SyncIndex`. ``use_timestamp``: False where either log uses
    LogAppendTime. ``window``: records read on each side of a guess. ``whole`` and ``budget``: see
    above, in offsets.
    """

    source: Span
    target: Span
    position: int
    guess: int | None = None
    bracket: Bracket = field(default_factory=Bracket)
    use_timestamp: bool = True
    complete: bool = False
    from_origin: bool = False
    window: int = 64
    whole: int = 1_024
    budget: int = 200_000

    def __post_init__(self) -> None:
        if not self.source.start <= self.position <= self.source.end:
            raise ValueError(f"position {self.position} is outside {self.source}")


class Aligner(Reader[Alignment]):
    """One alignment: ask `next_request`, `feed` the answer, until `result` is there."""

    __slots__ = ()

    def __init__(self, request: AlignRequest) -> None:
        super().__init__(_align(request))


@dataclass(frozen=True, slots=True)
class _Zone:
    """The part of both logs in which the answer must be found, and how its bounds are known.

    With a lower / upper pair its record is the first / last of both spans.
    """

    source: Span
    target: Span
    lower: Pair | None
    upper: Pair | None
    open_end: bool

    @property
    def size(self) -> int:
        spans = (self.source, self.target)
        return max(span.end - span.start for span in spans)


def _align(request: AlignRequest) -> Steps[Alignment]:
    if request.position == request.source.start:
        return Exact(request.target.start, "start")
    if request.position == request.source.end and request.complete:
        return Exact(request.target.end, "end")
    logs = Logs(request.use_timestamp)
    bracket = yield from _verified(request, logs)
    hit = _by_sync(request.position, bracket)
    if hit is not None:
        return hit
    zone = _zone_of(request, bracket)
    if zone.size > request.whole:
        found = yield from _by_tail(request, zone, logs)
        if found is None:
            found = yield from _by_window(request, zone, logs)
        if found is not None or zone.size > request.budget:
            return found or _beyond_budget(request, zone)
    return (yield from _whole(request, zone, logs))


def _by_sync(position: int, bracket: Bracket) -> Exact | None:
    lower, upper = bracket.lower, bracket.upper
    if lower is not None and lower.source == position - 1:
        return Exact(lower.target + 1, "sync")
    if upper is not None and upper.source == position:
        return Exact(upper.target, "sync")
    return None


def _beyond_budget(request: AlignRequest, zone: _Zone) -> Alignment:
    if zone.lower is None:
        return Unknown(f"{zone.size} offsets to compare, more than the budget of {request.budget}")
    offset = zone.lower.target + 1
    return AtMost(offset, zone.target.end - offset, "sync before")


def _verified(request: AlignRequest, logs: Logs) -> Steps[Bracket]:
    """Keep the pairs of the bracket whose records are equal; a recreated topic has stale ones.

    One pair that contradicts the logs makes the other worthless too.
    """
    lower, upper = request.bracket.lower, request.bracket.upper
    kept: list[Pair | None] = []
    for pair in (lower, upper):
        if pair is None or not _usable(request, pair, before=pair is lower):
            kept.append(None)
            continue
        source = yield from logs.read("source", Span(pair.source, pair.source + 1), 1)
        target = yield from logs.read("target", Span(pair.target, pair.target + 1), 1)
        if not source or not target:
            kept.append(None)
            continue
        if source[0].print != target[0].print:
            return Bracket()
        kept.append(pair)
    return Bracket(kept[0], kept[1], request.bracket.repeats_from)


def _usable(request: AlignRequest, pair: Pair, *, before: bool) -> bool:
    source, target = request.source, request.target
    inside = source.start <= pair.source < source.end and target.start <= pair.target < target.end
    return inside and (pair.source < request.position) is before


def _zone_of(request: AlignRequest, bracket: Bracket) -> _Zone:
    lower, upper = bracket.lower, bracket.upper
    source = Span(lower.source if lower else request.source.start, request.source.end)
    target = Span(lower.target if lower else request.target.start, request.target.end)
    if upper is not None:
        source, target = Span(source.start, upper.source + 1), Span(target.start, upper.target + 1)
        return _Zone(source, target, lower, upper, open_end=False)
    repeats = bracket.repeats_from
    if repeats is not None and request.position <= repeats < source.end:
        return _Zone(Span(source.start, repeats), target, lower, None, open_end=True)
    if not request.complete:
        # The target cannot hold more records than offsets; what the source has far beyond the
        # position need not be compared with it. Twice as many, because of gaps in the source.
        most = request.position + 2 * (target.end - target.start) + request.whole
        source = Span(source.start, source.clip(most))
    return _Zone(source, target, lower, None, open_end=not request.complete)


def _whole(request: AlignRequest, zone: _Zone, logs: Logs) -> Steps[Alignment]:
    """Read both sides of the zone and apply the rules of `locate`."""
    source = yield from logs.read("source", zone.source, zone.size + 1)
    target = yield from logs.read("target", zone.target, zone.size + 1)
    position = request.position
    cut = sum(entry.offset < position for entry in source)
    begin_alike = (
        bool(source and target)
        and source[0].offset - zone.source.start == target[0].offset - zone.target.start == 0
    )
    outcome = locate(
        Problem(
            source=[entry.print for entry in source],
            target=[entry.print for entry in target],
            cut=cut,
            after_previous=cut > 0 and source[cut - 1].offset == position - 1,
            at_next=cut < len(source) and source[cut].offset == position,
            pinned_low=zone.lower is not None,
            pinned_high=zone.upper is not None,
            starts_match=begin_alike,
            ends_match=not zone.open_end,
            strict=not request.use_timestamp,
            from_origin=request.from_origin,
        )
    )
    return _answer(outcome, (source, target), zone, request)


def _answer(
    outcome: Located | NotReached | Unrelated,
    entries: tuple[list[Entry], list[Entry]],
    zone: _Zone,
    request: AlignRequest,
) -> Alignment:
    source, target = entries
    if isinstance(outcome, Unrelated):
        return Unknown("the two ranges have no record in common")
    if isinstance(outcome, NotReached):
        reached = outcome.reached
        at = request.source.start if reached is None else source[reached].offset + 1
        return NotYet(request.target.end, at)
    offset = zone.target.start
    if outcome.low > 0:
        offset = target[outcome.low - 1].offset + 1
    if outcome.low == len(target) and not zone.open_end:
        offset = zone.target.end
    if outcome.low == outcome.high:
        return Exact(offset, outcome.by)
    return AtMost(offset, outcome.high - outcome.low, outcome.by)


def _by_tail(request: AlignRequest, zone: _Zone, logs: Logs) -> Steps[Alignment | None]:
    """Look where the target's last records are in the source: it may not reach the position yet.

    Sound only if the zone's begin is a verified pair, or its first records match, and the last
    ones match at the same shift: then the target is a dense copy up to its end.
    """
    if not zone.open_end:
        return None
    tail = yield from logs.read_last("target", zone.target, _CONTEXT)
    if not tail:
        return None if zone.target.start < zone.target.end else _nothing(request)
    shift = zone.target.start - zone.source.start
    reached = tail[-1].offset - shift + 1
    if reached >= request.position or not (yield from logs.same("source", tail, -shift)):
        return None
    if (yield from _begins_alike(zone, logs)):
        return NotYet(request.target.end, reached)
    return None


def _nothing(request: AlignRequest) -> Alignment:
    return NotYet(request.target.end, request.source.start)


def _begins_alike(zone: _Zone, logs: Logs) -> Steps[bool]:
    if zone.lower is not None:
        return True
    head = yield from logs.read("source", zone.source, _CONTEXT)
    shift = zone.target.start - zone.source.start
    return (yield from logs.same("target", head, shift))


def _by_window(request: AlignRequest, zone: _Zone, logs: Logs) -> Steps[Alignment | None]:
    """Compare the records around the position at each guess, then both ends of the zone."""
    position, source = request.position, zone.source
    width = max(request.window, 2 * _CONTEXT)
    before = yield from logs.read_last("source", Span(source.start, position), _CONTEXT)
    after = yield from logs.read("source", Span(position, source.end), _CONTEXT)
    context = [entry.print for entry in (*before, *after)]
    if not before or len(context) < _CONTEXT:
        return None
    for guess in _guesses(request, zone):
        begin = zone.target.clip(guess - width)
        near = Span(begin, zone.target.clip(guess + width))
        entries = yield from logs.read("target", near, 2 * width)
        prints = [entry.print for entry in entries]
        size = len(context)
        starts = range(len(prints) - size + 1)
        hits = [at for at in starts if prints[at : at + size] == context]
        if len(hits) != 1:
            continue
        shift = entries[hits[0]].offset - before[0].offset
        if (yield from _shift_holds(request, zone, shift, logs)):
            return Exact(position + shift, "window")
    return None


def _guesses(request: AlignRequest, zone: _Zone) -> list[int]:
    """Return where to look: the caller's guess, then by arithmetic from both ends."""
    position = request.position
    guesses = [] if request.guess is None else [zone.target.clip(request.guess)]
    guesses.append(zone.target.clip(zone.target.start + position - zone.source.start))
    guesses.append(zone.target.clip(zone.target.end - (zone.source.end - position)))
    return list(dict.fromkeys(guesses))


def _shift_holds(request: AlignRequest, zone: _Zone, shift: int, logs: Logs) -> Steps[bool]:
    """Tell whether the zone begins and ends at this shift, so that nothing repeats in between.

    The begin is dispensable where the end is settled and timestamps make records distinct: a repeat
    that ends where everything ends cannot be an unfinished one.
    """
    settled = request.complete or zone.upper is not None
    if not (settled and request.use_timestamp):
        if zone.target.start - zone.source.start != shift:
            return False
        if not (yield from _begins_alike(zone, logs)):
            return False
    if zone.upper is not None:
        return zone.upper.target - zone.upper.source == shift
    tail = yield from logs.read_last("target", zone.target, _CONTEXT)
    if zone.open_end:
        inside = zone.target.end - shift <= zone.source.end
        return inside and (yield from logs.same("source", tail, -shift))
    last = yield from logs.read_last("source", zone.source, _CONTEXT)
    return tail == [Entry(entry.offset + shift, entry.print) for entry in last]
