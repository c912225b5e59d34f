"""Find what a copy holds twice when its origin is out of reach: MM2 was killed and sent it again.

MM2 reads on from the offset that it has committed last. Killed in between it sends again whatever
it had sent since: the copy reads 0..999, 400..999, 1000... As long as its origin answers, a walk
over both logs proves such a repeat (`range_match`). Without it this is what counts as one. **All**
of it must be true, else nothing is skipped, because to skip a record that is none would lose it:

1. MM2 is known to have been killed, and its last commit before is known (`restarts`). Each kill
   accounts for one repeat at most, in their order.
2. The copy is dense from the epoch's beginning on: so many records behind the beginning as the
   committed offset is at home, not counting repeats, is the record at which the repeat begins.
3. From a place on the copy holds again, record by record, everything from that record to this
   place; or it ends within that; or, within that, another kill's repeat begins, for which the same
   is true. What follows is new.
4. Time goes back where it begins, and what is repeated can be told apart: either by 16 different
   records, or by a second and two different ones. Records with the same content that several
   producers send in turn are out of order by less, and equal ones of a millisecond not at all.
5. What went before was written before the kill (with 10 s for clocks that differ).
6. In all not more is skipped than the copy holds beyond the newest committed offset.

The first place of a record is the one that is kept. So a record is lost only if an origin itself
holds a stretch again, timestamps included, that begins at the very offset which MM2 had committed
last before it was killed and ends where it had come to, while that repeats nothing.

Only what lies behind the commit is read: the copy is entered there, by arithmetic.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from clientlib.protocol.fingerprint import LogRecord, fingerprint
from clientlib.protocol.skips import Skip, Squeezed, join, past, size, within
from clientlib.protocol.syncs import Pair
from clientlib.protocol.types import Offset
from clientlib.protocol.windows import Reader, ReadWindow, Span, Steps
from failover.core.restarts import Resume

CLOCKS_MS = 10_000
"""How far the clocks of producers and of MM2 may differ."""
_BACK_MS = 1_000
_DIFFERENT = 16
_LATER = 64  # successive records that were written after a kill: what was sent before it is over
_CHUNK = 5_000
_BUDGET = 500_000
_NEVER = 1 << 62


@dataclass(frozen=True, slots=True)
class Resent:
    """What nobody is to read, and why that may not be all of it (empty: it is).

    ``skip`` are spans of the copy's offsets.
    """

    skip: Skip = ()
    unproved: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one copy. ``begin``: where the epoch begins at home and in the copy.

    ``log``: the copy, from where retention has left it to the epoch's end. ``resumes``: see
    `restarts`. ``committed``: the newest committed offset (the next one at home). ``known``: what
    is skipped in the copy already. ``complete``: no kill is missing that came after a record.
    """

    begin: Pair
    log: Span
    resumes: Sequence[Resume]
    committed: Offset
    known: Skip = ()
    complete: bool = True


def entered(home: Offset, copy: Offset, known: Skip) -> tuple[Pair, Skip]:
    """Return where an epoch begins on both sides, and what is skipped in the copy before.

    A repeat that was not finished when the epoch before was closed goes on behind its end: it is
    looked at again from its beginning.
    """
    if known and known[-1][1] == copy:
        return Pair(home, known[-1][0]), known[:-1]
    return Pair(home, copy), known


class Search(Reader[Resent]):
    """Search one copy, sans I/O; driven like `align.Aligner`, all windows are of the target.

    ``budget`` bounds how many records are read.
    """

    __slots__ = ()

    def __init__(self, evidence: Evidence, *, budget: int = _BUDGET) -> None:
        super().__init__(_Search(evidence, Squeezed(evidence.known), budget, 4 * budget).run())


class _Seen(NamedTuple):
    offset: Offset
    at_ms: int
    print: bytes


@dataclass(slots=True)
class _Search:
    """The walk. *Coordinates* are offsets of the copy without what is known to be skipped.

    ``read``: the records from the coordinate ``base`` on; the walk has come to ``read[at]``.
    ``kept``: the first places among them, which are the records of home from ``home`` on.
    ``tries`` bounds comparisons. From ``read[gap]`` on coordinates say nothing: offsets are missing
    before it. ``twice``: a record came again that was older than another one.
    """

    evidence: Evidence
    known: Squeezed
    left: int
    tries: int
    base: int = 0
    home: Offset = 0
    next: Offset = 0
    at: int = 0
    read: list[_Seen] = field(default_factory=list)
    kept: list[_Seen] = field(default_factory=list)
    prints: set[bytes] = field(default_factory=set)
    skip: list[tuple[Offset, Offset]] = field(default_factory=list)
    gap: int = _NEVER
    newest_ms: int = 0
    twice: bool = False
    why: str = ""

    def run(self) -> Steps[Resent]:
        begin = self.evidence.begin
        self._enter(begin.source, self.known.inward(begin.target))
        if self._held() < self.evidence.committed - begin.source:
            return Resent((), "it has fewer records than MirrorMaker 2 has noted as sent")
        number, resumes = 0, self.evidence.resumes
        while number < len(resumes) and not self.why:
            self._reach(resumes[number].at)
            number = yield from self._find(number)
        return self._result()

    def _result(self) -> Resent:
        skip = join(self.skip)
        skipped = size(self.skip)
        noted = self.evidence.committed - self.evidence.begin.source
        if skip and skipped > self._held() - noted:
            return Resent((), "what it seems to repeat contradicts what MirrorMaker 2 has noted")
        if not self.evidence.complete and not self.why:
            self.why = "what MirrorMaker 2 had noted before one of its kills is not known"
        if self.twice and not self.why:
            self.why = "it holds records again that are not exactly what was sent before"
        return Resent(skip, self.why)

    def _held(self) -> int:
        """Return how many records the copy holds of the epoch, with what it repeats."""
        end, begin = self.evidence.log.end, self.evidence.begin.target
        return self.known.inward(end) - self.known.inward(begin)

    # -- where the walk is -----------------------------------------------------------------------

    def _enter(self, home: Offset, coordinate: int) -> None:
        """Go to a place, and forget what was read elsewhere."""
        self.home, self.base, self.at = home, coordinate, 0
        self.read, self.kept, self.prints, self.gap = [], [], set(), _NEVER
        self.next = past(self.evidence.known, self.known.outward(max(0, coordinate)))

    def _reach(self, home: Offset) -> None:
        """Go on at a record of home, unless it was passed already or begins what was read."""
        ahead = home - self.home - len(self.kept)
        first = not self.read and not self.kept
        if ahead > 0 or (first and ahead < 0):
            self._enter(home, self.base + self.at + ahead)
            if self.next < self.evidence.log.start or self.base < 0:
                self.why = "what MirrorMaker 2 went on from is not in the copy any more"

    def _find(self, number: int) -> Steps[int]:
        """Look for the repeat that a kill has caused; return which kill is the next to look at."""
        resumes = self.evidence.resumes
        limit, later = resumes[number].at_ms + CLOCKS_MS, 0
        while (record := (yield from self._get(self.at))) is not None:
            later = later + 1 if record.at_ms > limit else 0
            if later == _LATER:
                return number + 1
            found = yield from self._begins(number, record)
            if self.why:
                break
            if found is None:
                self._keep(record)
                continue
            end, after = found
            self.skip.append((record.offset, self.read[end - 1].offset + 1))
            self.at = end
            return after
        return len(resumes)

    def _keep(self, record: _Seen) -> None:
        self.twice = self.twice or (record.print in self.prints and record.at_ms < self.newest_ms)
        self.newest_ms = max(self.newest_ms, record.at_ms)
        self.prints.add(record.print)
        self.kept.append(record)
        self.at += 1

    # -- repeats ---------------------------------------------------------------------------------

    def _begins(self, number: int, record: _Seen) -> Steps[tuple[int, int] | None]:
        """Tell whether a repeat begins here: where it ends, and the next kill to look at."""
        if not self.kept or record.offset < self.evidence.begin.target:
            return None
        return (yield from self._repeat(number, self.at, len(self.kept)))

    def _repeat(self, number: int, at: int, reached: int) -> Steps[tuple[int, int] | None]:
        """Compare from ``read[at]`` on with what was ``kept`` before ``reached``; see condition 3.

        The kill is one from ``number`` on.
        """
        record = yield from self._get(at)
        if record is None or at >= self.gap or record.at_ms >= self.read[at - 1].at_ms:
            return None
        tried: set[Offset] = set()  # kills with nothing committed in between are one place
        for chosen in range(number, len(self.evidence.resumes)):
            resume = self.evidence.resumes[chosen]
            first = resume.at - self.home
            if resume.at in tried or not 0 <= first < reached:
                continue
            count, ended = yield from self._equal(first, at)
            if self.why or not self._tells(at, count, resume):
                continue
            tried.add(resume.at)
            if ended:
                return at + count, chosen + 1
            again = yield from self._repeat(chosen + 1, at + count, first + count)
            if again is not None:
                return again
        return None

    def _equal(self, first: int, at: int) -> Steps[tuple[int, bool]]:
        """Return how many records are the same; and whether they are all, or the copy ends."""
        count = 0
        while first + count < len(self.kept):
            record = yield from self._get(at + count)
            if record is None:
                return count, not self.why
            if at + count >= self.gap or record.print != self.kept[first + count].print:
                return count, False
            count += 1
            self.tries -= 1
            if self.tries < 0:
                self.why = "it took too many comparisons"
        return count, True

    def _tells(self, at: int, count: int, resume: Resume) -> bool:
        """Say whether a repeat can be told from records that are alike; see conditions 4 and 5."""
        before = self.read[at - 1].at_ms
        if before > resume.at_ms + CLOCKS_MS:
            return False
        back = before - self.read[at].at_ms
        different = len({seen.print for seen in self.read[at : at + count]})
        return different >= (2 if back >= _BACK_MS else _DIFFERENT)

    # -- reading ---------------------------------------------------------------------------------

    def _get(self, index: int) -> Steps[_Seen | None]:
        """Return a record that was read, or read on; None at the end, and where that is too far."""
        while index >= len(self.read) and self.next < self.evidence.log.end and not self.why:
            yield from self._fill()
        return self.read[index] if index < len(self.read) and not self.why else None

    def _fill(self) -> Steps[None]:
        if self.left <= 0:
            self.why = "it has too many records since MirrorMaker 2 was killed"
            return
        end, limit = self.evidence.log.end, min(_CHUNK, self.left)
        records, covered_to = yield ReadWindow("target", self.next, end, limit)
        to = end if covered_to is None else min(covered_to, end)
        wanted = [r for r in records if self.next <= r.offset < to][:limit]
        full = covered_to is None and len(wanted) == limit
        self.next = wanted[-1].offset + 1 if full else to
        self.left -= len(wanted)
        for record in wanted:
            if not within(self.evidence.known, record.offset):
                self._take(record)

    def _take(self, record: LogRecord) -> None:
        if record.timestamp is None:
            self.why = "its records do not carry the time at which they were written"
            return
        if self.known.inward(record.offset) != self.base + len(self.read):
            self.gap = min(self.gap, len(self.read))
        self.read.append(_Seen(record.offset, record.timestamp, fingerprint(record)))
