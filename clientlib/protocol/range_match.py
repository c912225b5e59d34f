"""Prove that a copy holds a whole range, and find what it holds twice.

MM2 killed within its offset flush interval sends again what it had sent since its last flush, so a
copy may read 0..999, 400..999, 1000... The proof walks both logs from a place where they correspond
and keeps one invariant: the copy below ``there``, without the spans to skip, is exactly the
source's range below ``at``. A record of the copy is either the next one of the source, or equal to
one that was passed already (a repeat, to be skipped); anything else ends the walk unproved. The
first place of a record is the one that is kept, so a span to skip never holds the only one. Of
records equal in everything it does not matter which is kept.

* *Leap*: where both logs go on at the same distance, the first and the last 16 records of the
  stretch are compared, and no offset sync in it may contradict. If they differ, halving finds how
  far the distance holds. Two changes that cancel each other are seen only by their offset syncs.
* *Stream*: everywhere else every record is compared. Gaps (transaction markers) then do not count.

Repeats are looked up backwards in the source, beyond the start of the range too: what MM2 sends
again after a switch belongs to an earlier epoch. ``budget`` bounds how many records are streamed.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from clientlib.protocol.skips import Skip
from clientlib.protocol.syncs import Pair
from clientlib.protocol.windows import Entry, Logs, Reader, Side, Span, Steps

_EDGE = 16  # records compared at each end of a stretch
_CHUNK = 1_024  # offsets below which a stretch is streamed; records read at a time
_MOST_CHUNKS = 64  # streamed before a leap is tried again, where leaps do not lead far
_BUDGET = 500_000
_MOST_PAIRS = 64  # checked one by one: each costs two reads, and writes may be closed meanwhile


@dataclass(frozen=True, slots=True)
class Match:
    """What a proof came to.

    The copy from where the walk began to ``there``, without ``skip``, is the source's range up to
    ``at``. ``complete``: that is the whole range, and ``there`` is its end in the copy. ``reason``:
    the evidence, or what is missing. ``differs``: the copy goes on with another record.
    """

    complete: bool
    reason: str
    at: int = 0
    there: int = 0
    skip: Skip = ()
    differs: bool = False


class RangeMatch(Reader[Match]):
    """Prove that the target holds the whole range of the source; driven like `align.Aligner`.

    Both spans begin at the same place. ``target.end`` is the copy's end now: it may hold less than
    the range, or more. ``back``: the first offset of the source whose records may be repeated (its
    log start). ``pairs`` in downstream order, as `SyncIndex.pairs` gives them. When the result is
    not complete, ask again from ``result.at`` and ``result.there`` when the copy has grown.

    Beyond the budget, and where compaction has removed different records on both sides, a range of
    more than 1,024 offsets without a repeat counts as complete if the records of the pairs are the
    same (of 64 among them, if there are more) and so is everything after the last one.
    """

    __slots__ = ()

    def __init__(
        self,
        source: Span,
        target: Span,
        pairs: Sequence[Pair] = (),
        *,
        back: int | None = None,
        use_timestamp: bool = True,
        budget: int = _BUDGET,
    ) -> None:
        low = source.start if back is None else min(back, source.start)
        walk = _Walk(source, target, pairs, Logs(use_timestamp), low, budget)
        super().__init__(walk.run())


@dataclass(slots=True)
class _Walk:
    """The walk, whose next offsets are ``at`` and ``there``.

    ``passed``: prints of the source below ``at``, all from ``low`` on and perhaps others.
    """

    source: Span
    target: Span
    pairs: Sequence[Pair]
    logs: Logs
    back: int
    budget: int
    at: int = field(init=False)
    there: int = field(init=False)
    low: int = field(init=False)
    left: int = field(init=False)
    passed: set[bytes] = field(default_factory=set)
    skip: list[tuple[int, int]] = field(default_factory=list)
    ours: deque[Entry] = field(default_factory=deque)
    copies: deque[Entry] = field(default_factory=deque)
    skipping: bool = False
    differs: bool = False

    def __post_init__(self) -> None:
        self.at = self.low = self.source.start
        self.there, self.left = self.target.start, self.budget

    def run(self) -> Steps[Match]:
        chunks = 1
        while self.at < self.source.end:
            before = self.at
            yield from self._leap()
            if self.at == self.source.end:
                break
            chunks = 1 if self.at - before > _CHUNK else min(2 * chunks, _MOST_CHUNKS)
            for _ in range(chunks):
                why = yield from self._stream()
                if why:
                    return (yield from self._unproved(why))
        by = "without what it repeats, the same records" if self.skip else "the same records"
        return self._match(complete=True, reason=by)

    def _match(self, *, complete: bool, reason: str) -> Match:
        differs = self.differs and not complete
        return Match(complete, reason, self.at, self.there, tuple(self.skip), differs)

    # -- leaps -----------------------------------------------------------------------------------

    def _leap(self) -> Steps[None]:
        """Pass a stretch in which both logs go on at the same distance, as far as that holds."""
        self.ours.clear()
        self.copies.clear()
        length = self._undisputed(min(self.source.end - self.at, self.target.end - self.there))
        if length <= 0:
            return
        head = yield from self.logs.read("source", Span(self.at, self.source.end), _EDGE)
        if not head:
            self.at = self.source.end
            return
        copied = yield from self.logs.read("target", Span(self.there, self.target.end), _EDGE)
        ahead, there = (
            [e for e in read if e.offset < start + length]
            for read, start in ((head, self.at), (copied, self.there))
        )
        if not self._same(ahead, there):
            return
        if (yield from self._holds(length)):
            self._pass(length)
            return
        least, most = 0, length
        while most - least > _CHUNK:
            middle = (least + most) // 2
            if (yield from self._holds(middle)):
                least = middle
            else:
                most = middle
        self._pass(least)

    def _undisputed(self, length: int) -> int:
        """Return how much of a stretch no offset sync contradicts."""
        shift = self.there - self.at
        for pair in self.pairs:
            ahead = pair.target - self.there
            if 0 <= ahead < length and pair.target - pair.source != shift:
                return ahead
        return length

    def _holds(self, length: int) -> Steps[bool]:
        """Tell whether the last records of a stretch are the same at the same distance."""
        stretch = Span(self.at, self.at + length)
        tail = yield from self.logs.read_last("source", stretch, _EDGE)
        stretch = Span(self.there, self.there + length)
        return self._same(tail, (yield from self.logs.read_last("target", stretch, _EDGE)))

    def _same(self, ours: Sequence[Entry], copies: Sequence[Entry]) -> bool:
        """Tell whether these are the same records, each at the distance of both places."""
        shift = self.there - self.at
        return [Entry(e.offset + shift, e.print) for e in ours] == list(copies)

    def _pass(self, length: int) -> None:
        if length:
            self.at, self.there = self.at + length, self.there + length
            self.low, self.skipping = self.at, False

    # -- streams ---------------------------------------------------------------------------------

    def _stream(self) -> Steps[str]:
        """Compare a chunk of the copy record by record; return why that cannot go on."""
        for _ in range(_CHUNK):
            ours = yield from self._next("source", self.ours, Span(self.at, self.source.end))
            if ours is None:
                self.at = self.source.end
                return ""
            copy = yield from self._next("target", self.copies, Span(self.there, self.target.end))
            if self.left <= 0:
                return f"not proved within a budget of {self.budget} records"
            if copy is None:
                return f"the copy lacks the record at {ours.offset} of the origin"
            if copy.print == ours.print:
                self.ours.popleft()
                self.passed.add(ours.print)
                self.at, self.skipping = ours.offset + 1, False
            elif (yield from self._is_repeat(copy.print)):
                self._skip(copy.offset)
            elif self.left <= 0:
                return f"not proved within a budget of {self.budget} records"
            else:
                self.differs = True
                return f"the record at {copy.offset} of the copy is not the origin's {ours.offset}"
            self.copies.popleft()
            self.there = copy.offset + 1
        return ""

    def _next(self, side: Side, read: deque[Entry], rest: Span) -> Steps[Entry | None]:
        """Return the next record of a side, None at its end."""
        if not read:
            found = yield from self.logs.read(side, rest, _CHUNK)
            self.left -= len(found)
            read.extend(found)
        return read[0] if read else None

    def _skip(self, offset: int) -> None:
        """Skip a record; successive ones are one span, whatever gaps lie between them."""
        first = self.skip.pop()[0] if self.skipping else offset
        self.skip.append((first, offset + 1))
        self.skipping = True

    def _is_repeat(self, print_: bytes) -> Steps[bool]:
        """Tell whether a record was passed already, looking as far back as is needed."""
        reach = _CHUNK
        while print_ not in self.passed:
            if self.low <= self.back or self.left <= 0:
                return False
            start = max(self.back, self.low - reach)
            found = yield from self.logs.read("source", Span(start, self.low), reach)
            self.left -= len(found)
            self.passed.update(entry.print for entry in found)
            self.low, reach = start, 2 * reach
        return True

    # -- what remains ----------------------------------------------------------------------------

    def _unproved(self, why: str) -> Steps[Match]:
        """Give up, or take the offset syncs for it: see `RangeMatch`."""
        inside = [pair for pair in self.pairs if self._covers(pair)]
        forward = all(a.source < b.source for a, b in pairwise(inside))
        long = max(self._lengths()) > _CHUNK
        if long and inside and forward and not self.skip and self.there < self.target.end:
            some = _spread(inside, _MOST_PAIRS)
            known = yield from self._checked(some)
            if known is not None and (yield from self._same_after(known)):
                self.at, self.there = self.source.end, self.target.end
                by = f"the same records at {len(some)} offset syncs and after them"
                return self._match(complete=True, reason=by)
        return self._match(complete=False, reason=why)

    def _lengths(self) -> tuple[int, int]:
        return self.source.end - self.source.start, self.target.end - self.target.start

    def _covers(self, pair: Pair) -> bool:
        return (
            self.source.start <= pair.source < self.source.end
            and self.target.start <= pair.target < self.target.end
        )

    def _checked(self, pairs: Sequence[Pair]) -> Steps[Pair | None]:
        """Return the last pair that has its records; None if any pair's records differ."""
        first = Pair(self.source.start, self.target.start)
        ours = yield from self.logs.read("source", Span(first.source, self.source.end), 1)
        copy = yield from self.logs.read("target", Span(first.target, self.target.end), 1)
        if not ours or not copy or ours[0].print != copy[0].print:
            return None
        known = None
        for pair in pairs:
            ours = yield from self.logs.read("source", Span(pair.source, pair.source + 1), 1)
            copy = yield from self.logs.read("target", Span(pair.target, pair.target + 1), 1)
            if ours and copy:
                if ours[0].print != copy[0].print:
                    return None
                known = pair
        return known

    def _same_after(self, known: Pair) -> Steps[bool]:
        ours, copies = Span(known.source, self.source.end), Span(known.target, self.target.end)
        rest = yield from self.logs.read("source", ours, ours.end - ours.start)
        copy = yield from self.logs.read("target", copies, copies.end - copies.start)
        return [entry.print for entry in rest] == [entry.print for entry in copy]


def _spread(pairs: Sequence[Pair], most: int) -> Sequence[Pair]:
    """Return at most so many of the pairs, evenly spread, the last among them."""
    step = -(-len(pairs) // most)
    return pairs[::-1][::step][::-1]
