"""Where a closed epoch ends in the log of the cluster that had held it, by a copy of that log.

The copy ends with the last record that was copied; what the log at home holds behind that record is
the tail. Logs may be of any size, so the cheapest evidence is asked for first:

1. *dense*: from where both logs still begin alike, or behind the copy's last repeat, up to as far
   as the copy reaches. That is a handful of reads, whatever lies between.
2. *sync*: from MirrorMaker 2's newest offset sync before the end. It bridges what only one of the
   logs holds: markers of transactions, what compaction took on one side.
3. *whole*: everything, as far as that can be read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from clientlib.protocol.align import Aligner, AlignRequest, Exact
from clientlib.protocol.fingerprint import LogRecord
from clientlib.protocol.skips import Skip, Squeezed, within
from clientlib.protocol.syncs import Bracket, Pair
from clientlib.protocol.types import ClusterAlias, Offset, Partition
from clientlib.protocol.windows import ReadWindow, Span
from failover.io.ports import LogReader, Window

_BATCH = 5_000
_GAPS = 1_024


@dataclass(frozen=True, slots=True)
class Sides:
    """A log at home and its copy elsewhere, both of one closed epoch.

    ``copied``: the epoch's range in the copy, ``start``: where it starts at home. ``end``: where
    the log at home ends. ``skip``: what the copy repeats. ``first``: what retention has left of
    the copy and of the log at home. ``pairs``: offset syncs, home offset first.
    """

    copy: Partition
    home: Partition
    copied: Span
    start: Offset
    end: Offset
    skip: Skip = ()
    first: tuple[Offset, Offset] = (0, 0)
    pairs: tuple[Pair, ...] = ()


class EpochEnd:
    """Finds the end of an epoch at ``home``, by what ``survivor`` holds."""

    def __init__(self, reader: LogReader, home: ClusterAlias, survivor: ClusterAlias) -> None:
        self._reader, self._home, self._survivor = reader, home, survivor

    def find(self, sides: Sides) -> Offset | None:
        """Return the end at home; None when the logs contradict each other, or nobody can tell."""
        last = self._behind_last(sides)  # markers may follow it, which no log at home has
        if last == sides.copied.start:
            return sides.start if sides.end >= sides.start else None
        if sides.end <= sides.start:
            return None
        stamped = self._stamped(sides, last)
        for committed in (True, False):
            for request in _requests(sides, last, stamped=stamped):
                found = self._aligned(sides, request, committed=committed)
                if found is not None:
                    return found
        return None

    def _aligned(self, sides: Sides, request: AlignRequest, *, committed: bool) -> Offset | None:
        aligner = Aligner(request)
        while (window := aligner.next_request()) is not None:
            aligner.feed(*self._read(sides, window, committed=committed))
        return aligner.result.offset if isinstance(aligner.result, Exact) else None

    def _behind_last(self, sides: Sides) -> Offset:
        """Return the offset behind the epoch's last record in the copy; its start if none is."""
        first, end = sides.copied.start, sides.copied.end
        while end > first:
            start = max(first, end - _BATCH)
            wanted = {sides.copy: Window(start, end, _BATCH)}
            found = self._reader.read(self._survivor, wanted, committed=True)[sides.copy]
            kept = [r.offset for r in found.records if not within(sides.skip, r.offset)]
            if kept:
                return kept[-1] + 1
            end = start
        return first

    def _stamped(self, sides: Sides, last: Offset) -> bool:
        """Say whether both logs carry their producers' time: of two one may be LogAppendTime."""
        asked = (
            (self._survivor, sides.copy, Window(last - 1, last, 1)),
            (self._home, sides.home, Window(max(sides.start, sides.first[1]), sides.end, 1)),
        )
        for alias, part, window in asked:
            found = self._reader.read(alias, {part: window}, committed=False)[part].records
            if found and found[0].timestamp is None:
                return False
        return True

    def _read(
        self, sides: Sides, window: ReadWindow, *, committed: bool
    ) -> tuple[list[LogRecord], Offset | None]:
        """Read a window; what the copy repeats is left out."""
        copied = window.side == "source"
        alias, part = (self._survivor, sides.copy) if copied else (self._home, sides.home)
        wanted: Mapping[Partition, Window] = {part: Window(window.start, window.end, window.limit)}
        found = self._reader.read(alias, wanted, committed=committed or copied)[part]
        covered, records = found.covered_to, list(found.records)
        if window.side == "target" or not sides.skip:
            return records, covered
        if covered is None and len(records) >= window.limit:
            covered = records[-1].offset + 1
        return [r for r in records if not within(sides.skip, r.offset)], covered


def _requests(sides: Sides, last: Offset, *, stamped: bool) -> Iterator[AlignRequest]:
    """Yield what to ask, the cheapest evidence first."""
    copied, squeezed = sides.copied, Squeezed(sides.skip)

    def at_home(offset: Offset) -> Offset:
        """Return where a record of the copy is at home if no record is missing on either side."""
        return sides.start + squeezed.inward(offset) - squeezed.inward(copied.start)

    guess = at_home(last)
    behind = max([copied.start, *(end for _, end in sides.skip if end < last)])
    low = max(behind, sides.first[0], behind + sides.first[1] - at_home(behind))
    if low < last and guess <= sides.end:
        home = at_home(behind) + low - behind
        yield _dense(Span(low, last), Span(home, guess), stamped=stamped)
    pair = _newest_before(sides, last)
    if pair is not None:
        known, even = Bracket(pair), pair.target + last - pair.source
        since = Span(pair.source, last)
        if even <= sides.end:
            yield replace(_dense(since, Span(pair.target, even), stamped=stamped), bracket=known)
        # further on it need not be looked for: so many gaps are not between a sync and the end
        far = pair.target + 2 * (last - pair.source) + _GAPS
        at_most = Span(pair.target, min(sides.end, far))
        yield AlignRequest(since, at_most, last, even, known, use_timestamp=stamped)
    whole = Span(copied.start, last), Span(sides.start, sides.end)
    yield AlignRequest(*whole, last, guess, use_timestamp=stamped)


def _dense(source: Span, target: Span, *, stamped: bool) -> AlignRequest:
    """Return the question whether two logs of one length begin and end alike."""
    return AlignRequest(source, target, source.end, target.end, use_timestamp=stamped, budget=0)


def _newest_before(sides: Sides, last: Offset) -> Pair | None:
    """Return the last offset sync of the epoch, as a pair of the copy and the log at home."""
    within_both = (
        Pair(pair.target, pair.source)
        for pair in sides.pairs
        if max(sides.copied.start, sides.first[0]) <= pair.target < last
        and max(sides.start, sides.first[1]) <= pair.source < sides.end
        and not within(sides.skip, pair.target)
    )
    return max(within_both, default=None, key=lambda pair: pair.source)
