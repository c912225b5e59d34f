"""Offset syncs of a partition: an index that brackets any position, and MM2's own store.

`SyncIndex` is ours: it keeps every sync and answers with the interval of the other log in which a
position must lie, in both directions. `OffsetSyncStore` is a model of what MM2 itself does with its
64 slots; simulations use it to predict MM2's checkpoints.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from clientlib.protocol.mm2_records import OffsetSync


@dataclass(frozen=True, slots=True)
class Pair:
    """One record's offsets in the two logs that are being compared."""

    source: int
    target: int

    def swapped(self) -> "Pair":
        """Return the same record seen from the other side."""
        return Pair(self.target, self.source)


@dataclass(frozen=True, slots=True)
class Bracket:
    """What the syncs say of a position: the nearest known records before it, and at or after it.

    The position in the target is at least ``lower.target + 1`` and at most ``upper.target``.
    ``repeats_from``: from this offset at or after the position on, the source is known to repeat
    records from before the position, so that they must not be taken for the next ones.
    """

    lower: Pair | None = None
    upper: Pair | None = None
    repeats_from: int | None = None


@dataclass(frozen=True, slots=True)
class Rewind:
    """A place where the copy goes back, or may: MM2 restarted and sent a suffix again.

    The record at ``downstream`` in the copy is ``upstream`` of the source. Before it the copy had
    reached at least ``seen`` and at most ``reach`` (upstream offsets of records).
    """

    downstream: int
    upstream: int
    seen: int
    reach: int

    @property
    def certain(self) -> bool:
        """Tell a repeat from what may as well be a gap in the copy (transaction markers)."""
        return self.upstream <= self.seen


class SyncIndex:
    """All offset syncs of one partition, added in the order of the offset-syncs topic.

    A sync whose upstream offset does not grow starts a new *run* (a restart of MM2, or a recreated
    source topic), and so does one whose downstream offset has grown by more: a repeat within
    MM2's ``offset.lag.max`` looks like this, and so does a gap in the copy. A sync whose downstream
    offset does not grow means that the target topic was recreated: everything before it is
    forgotten.
    """

    __slots__ = ("_runs",)

    def __init__(self, syncs: Iterable[OffsetSync] = ()) -> None:
        self._runs: list[list[Pair]] = []
        for sync in syncs:
            self.add(sync)

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def add(self, sync: OffsetSync) -> None:
        """Add the next sync; one equal to the last (a producer's retry) changes nothing."""
        pair = Pair(sync.upstream_offset, sync.downstream_offset)
        last = self._runs[-1][-1] if self._runs else None
        if pair == last:
            return
        if last is not None and pair.target <= last.target:
            self._runs.clear()
            last = None
        if last is None or pair.source <= last.source or _outgrows(last, pair):
            self._runs.append([])
        self._runs[-1].append(pair)

    def pairs(self) -> tuple[Pair, ...]:
        """Return every sync as (source = upstream, target = downstream), in downstream order."""
        return tuple(pair for run in self._runs for pair in run)

    def rewinds(self) -> tuple[Rewind, ...]:
        """Return the places where the copy goes back, in downstream order."""
        found = []
        for before, after in pairwise(self._runs):
            last, first = before[-1], after[0]
            reach = last.source + first.target - 1 - last.target
            found.append(Rewind(first.target, first.source, last.source, reach))
        return tuple(found)

    def bracket(self, position: int) -> Bracket:
        """Bracket an upstream position in the copy.

        Of a repeated suffix it is the last repeat that counts, but only once that repeat has
        caught up with everything the copy had reached before; until then, the run before it.
        """
        if not self._runs:
            return Bracket()
        chosen = self._run_of(position)
        run = self._runs[chosen]
        at = bisect_left(run, position, key=lambda pair: pair.source)
        upper = run[at] if at < len(run) else self._next_run(chosen, position)
        return Bracket(run[at - 1] if at else None, upper)

    def bracket_reverse(self, position: int) -> Bracket:
        """Bracket a position in the copy (downstream) in the source (``target`` = upstream).

        What the copy repeats has been read once already: where the copy is behind what it had
        reached before, the sync next to the position says nothing and is left out.
        """
        pairs = self.pairs()
        at = bisect_left(pairs, position, key=lambda pair: pair.target)
        reached = max((pair.source for pair in pairs[:at]), default=-1)
        lower = pairs[at - 1] if at and pairs[at - 1].source == reached else None
        next_ = pairs[at] if at < len(pairs) else None
        if next_ is not None and next_.source <= reached:
            return Bracket(lower and lower.swapped(), None, next_.target)
        return Bracket(lower and lower.swapped(), next_ and next_.swapped())

    def _next_run(self, chosen: int, position: int) -> Pair | None:
        """Return the first pair of the next run, if it lies at or after the position."""
        after = self._runs[chosen + 1][0] if chosen + 1 < len(self._runs) else None
        return after if after is not None and after.source >= position else None

    def _run_of(self, position: int) -> int:
        """Return the last run that begins at or before the position and has caught up."""
        reaches = [rewind.reach for rewind in self.rewinds()]
        for chosen in range(len(self._runs) - 1, 0, -1):
            known = max(run[-1].source for run in self._runs[chosen:])
            caught_up = known >= max(reaches[:chosen])
            if caught_up and self._runs[chosen][0].source <= position:
                return chosen
        return 0


def _outgrows(last: Pair, pair: Pair) -> bool:
    """Tell whether the copy has more offsets between two syncs than the source."""
    return pair.target - last.target > pair.source - last.source


_SLOTS = 64


class OffsetSyncStore:
    """MM2's own store of syncs, 64 slots per source partition, newest first.

    Rules as in Kafka 4.3 (restated in `_thin`). ``read_to_end`` is the mode of a checkpoint task
    that could not load its old checkpoints: until `started`, it keeps only the newest sync.
    """

    __slots__ = ("_read_to_end", "_slots", "_started")

    def __init__(self, *, read_to_end: bool = False) -> None:
        self._slots: dict[tuple[str, int], list[OffsetSync]] = {}
        self._read_to_end = read_to_end
        self._started = False

    def started(self) -> None:
        """Mark the initial read of the offset-syncs topic as finished."""
        self._started = True

    def add(self, sync: OffsetSync) -> None:
        """Take the next sync of any partition."""
        where = (sync.topic, sync.partition)
        slots = self._slots.get(where)
        initial = self._read_to_end and not self._started
        if slots is None or initial or sync.upstream_offset < slots[0].upstream_offset:
            self._slots[where] = [sync] * _SLOTS
        else:
            self._slots[where] = _thin(slots, sync)

    def translate(self, topic: str, partition: int, offset: int) -> int | None:
        """Translate a group's committed offset as MM2 would.

        None: the store is not ready or knows no sync. -1: the oldest sync is past the offset.
        """
        slots = self._slots.get((topic, partition))
        if slots is None or not self._started:
            return None
        usable = (sync for sync in slots if sync.upstream_offset <= offset)
        sync = next(usable, slots[-1])
        if sync.upstream_offset > offset:
            return -1
        return sync.downstream_offset + (sync.upstream_offset < offset)

    def kept(self, topic: str, partition: int) -> tuple[OffsetSync, ...]:
        """Return the distinct syncs that are kept, oldest first."""
        slots = self._slots.get((topic, partition), [])
        unique = {id(sync): sync for sync in slots}
        return tuple(reversed(unique.values()))


def _near(newer: OffsetSync, older: OffsetSync, i: int, j: int) -> bool:
    """Tell whether slot j is not too far behind slot i (same sync, or within 2^j - 2^i)."""
    return newer is older or (newer.upstream_offset <= older.upstream_offset + (1 << j) - (1 << i))


def _apart(newer: OffsetSync, older: OffsetSync, i: int) -> bool:
    """Tell whether slot i is far enough ahead of the next (the same sync, or 2^(i-2) at least)."""
    return newer is older or (newer.upstream_offset >= older.upstream_offset + (1 << max(i - 2, 0)))


def _thin(old: list[OffsetSync], new: OffsetSync) -> list[OffsetSync]:
    """Put the new sync in front and move older ones back, dropping as few as possible."""
    slots = [new, *old[1:]]
    candidate, cursor = new, 0
    for k in range(1, _SLOTS):
        cursor, chosen = _candidate(old, slots, k, cursor)
        candidate = chosen or candidate
        if _near(slots[k - 1], slots[k], k - 1, k):
            break
        slots[k] = candidate
    return slots


def _candidate(
    old: list[OffsetSync], slots: list[OffsetSync], k: int, cursor: int
) -> tuple[int, OffsetSync | None]:
    """Look in the old slots for a sync that may stand in slot k; return the cursor and it."""
    while True:
        sync = old[cursor]
        apart = _apart(slots[k - 1], sync, k - 1)
        fits_next = k == _SLOTS - 1 or _apart(sync, slots[k + 1], k)
        if apart and fits_next and _near(slots[k - 1], sync, k - 1, k):
            return cursor + 1, sync
        again = cursor < _SLOTS - 1 and sync is old[cursor + 1]
        if apart and not again:
            return cursor, None
        cursor += 1
        if cursor >= k:
            return cursor, None
