"""Watches copies until they hold a range of their origin: the heart of "nothing is lost".

Each log's range is proved by `clientlib.protocol.range_match`, all logs in lock-step, so that a
round of reads costs the same for one partition as for many. What can be compared before the copy is
complete is compared while it is awaited; what a copy repeats is found before writes close.

Copies are read as applications read them (read_committed): what MM2 in exactly-once mode began to
send before it was killed is no record of the copy. Their origin is read as MM2 reads it, which
nobody can ask: as read_committed at first, and where the copy goes on with another record, the
other way. Only an origin with aborted transactions shows a difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from clientlib.protocol.errors import RecordFormatError
from clientlib.protocol.fingerprint import LogRecord, fingerprint
from clientlib.protocol.mm2_records import OffsetSync
from clientlib.protocol.naming import Naming
from clientlib.protocol.range_match import Match, RangeMatch
from clientlib.protocol.skips import Skip, join, within
from clientlib.protocol.syncs import Pair, SyncIndex
from clientlib.protocol.types import ClusterAlias, Offset, Partition
from clientlib.protocol.windows import ReadWindow, Side, Span
from failover.io.ports import Admin, LogReader, Records, Window

_HEAD = 16
_BATCH = 5_000
_MOST_SYNCS = 200_000  # the newest offset syncs are read, no more
_STALLED = 20  # looks without growth after which a copy is no longer expected to be dense
_SIDES: tuple[Side, Side] = ("source", "target")


@dataclass(frozen=True, slots=True)
class Route:
    """What is compared: the log of ``origin`` on ``source`` with its log on ``target``."""

    origin: ClusterAlias
    source: ClusterAlias
    target: ClusterAlias


@dataclass(slots=True)
class _Log:
    """One logical partition on both sides.

    ``floor`` and ``base``: where its range starts by the ledger. ``first`` and ``there_first``:
    where the comparison starts: retention may have passed the beginning on either side, and what
    was proved is not compared again. ``skip``: what the copy repeats before there_first.
    ``uneven``: the lengths differ, so the copy's end is not known beforehand. ``back``: the
    source's log start. ``committed``: the origin is read without what was aborted.
    """

    here: Partition
    there: Partition
    floor: Offset
    base: Offset
    first: Offset = 0
    there_first: Offset = 0
    back: Offset = 0
    skip: Skip = ()
    uneven: bool = False
    use_timestamp: bool = True
    heads: dict[Side, tuple[LogRecord, ...]] = field(default_factory=dict)
    match: RangeMatch | None = None
    tried: Offset = -1
    seen: Offset = -1
    stalled: int = 0
    fed: bool = False
    committed: bool = True

    def physical(self, side: Side) -> Partition:
        return self.here if side == "source" else self.there

    def begin(self, side: Side) -> Offset:
        return self.first if side == "source" else self.there_first

    def read_otherwise(self) -> None:
        """Read the origin the other way from now on."""
        self.committed = not self.committed
        self.heads.clear()
        self.match, self.tried = None, -1

    def start(self, first: Offset, there_first: Offset) -> None:
        self.first, self.there_first = first, there_first
        self.heads.clear()

    def adopt(self, match: Match) -> None:
        """Go on where a proof that is not complete has come to."""
        self.skip = join(self.skip, match.skip)
        self.uneven = self.uneven or match.there - match.at != self.there_first - self.first
        self.start(match.at, match.there)

    def begins_alike(self) -> bool | None:
        """Say whether the first records are the same; None while one side has none."""
        ours, copies = self.heads.get("source"), self.heads.get("target")
        if not ours or not copies:
            return None
        self.use_timestamp = ours[0].timestamp is not None and copies[0].timestamp is not None
        prints = [fingerprint(r[0], use_timestamp=self.use_timestamp) for r in (ours, copies)]
        shift = self.there_first - self.first
        return prints[0] == prints[1] and ours[0].offset + shift == copies[0].offset


class CopyWatch:
    """Watches the copies of logical partitions along one route.

    ``starts`` says, by logical partition, where its range starts on the source and the target.
    ``closed``: the copy may go on behind the range (an older epoch), and waits for nothing.
    ``repeats``: what nobody is to read on the source, where that is a copy itself.
    """

    def __init__(
        self,
        admin: Admin,
        reader: LogReader,
        naming: Naming,
        route: Route,
        starts: Mapping[Partition, tuple[Offset, Offset]],
        *,
        closed: bool = False,
        repeats: Mapping[Partition, Skip] | None = None,
    ) -> None:
        self._closed = closed
        self._skips: dict[Partition, Skip] = {}
        self._admin = admin
        self._reader = reader
        self._naming = naming
        self._route = route
        self._logs = {part: self._log(part, *bounds) for part, bounds in starts.items()}
        self._repeats = {self._logs[part].here: skip for part, skip in (repeats or {}).items()}
        self._pairs: Mapping[Partition, tuple[Pair, ...]] | None = None

    def look_ahead(self) -> None:
        """Find where both sides begin and what the copies repeat, before anything waits for it."""
        logs = list(self._logs.values())
        for side in _SIDES:
            topics = {log.physical(side).topic for log in logs}
            self._reader.warm(self._alias(side), sorted(topics), committed=True)
        ours = self._admin.starts(self._route.source, [log.here for log in logs])
        copies = self._admin.starts(self._route.target, [log.there for log in logs])
        for log in logs:
            log.back = ours[log.here]
            shift = log.base - log.floor
            first = max(log.floor, ours[log.here], copies[log.there] - shift)
            log.start(first, first + shift)
        self._read_heads(logs)
        # MM2 may have begun when retention had passed the origin's beginning already.
        other = [log for log in logs if log.begins_alike() is False]
        for log in other:
            low, there_low = max(log.floor, ours[log.here]), max(log.base, copies[log.there])
            log.start(*self._common_start(log, low, there_low))
        self._read_heads(other)
        if not self._closed:  # else the range is asked for at once, and ends before the log does
            self._look_at_repeats(logs)

    def _common_start(self, log: _Log, low: Offset, there_low: Offset) -> tuple[Offset, Offset]:
        """Return where both logs still hold the same record.

        Where retention has passed the copy's beginning, the first offset sync that both hold says
        how far the two are apart.
        """
        if there_low > log.base:
            for pair in self._pairs_of(log.here):
                if pair.source >= low and pair.target >= there_low:
                    back = min(pair.source - low, pair.target - there_low)
                    return pair.source - back, pair.target - back
        return low, there_low

    def _look_at_repeats(self, logs: Sequence[_Log]) -> None:
        """Compare what both sides hold already; where they go on evenly, the start stays."""
        ends = self._admin.stable_ends(self._route.source, [log.here for log in logs])
        now = self._admin.stable_ends(self._route.target, [log.there for log in logs])
        for log in logs:
            ours = Span(log.first, max(log.first, ends[log.here]))
            log.match = self._proof(log, ours, max(log.there_first, now[log.there]))
        self._drive(logs, now)
        for log in logs:
            match = log.match.result if log.match is not None else None
            log.match = None
            if match is not None and match.there - match.at != log.there_first - log.first:
                log.adopt(match)

    def too_short(self, ends: Mapping[Partition, Offset]) -> tuple[str, ...]:
        """Return the logs that end before their range starts: recreated or truncated."""
        wrong = sorted(part for part, end in ends.items() if end < self._logs[part].floor)
        return tuple(f"{_name(p)} ends at {ends[p]}, before its range starts" for p in wrong)

    def look(
        self, ends: Mapping[Partition, Offset]
    ) -> tuple[Mapping[Partition, Offset], tuple[str, ...]]:
        """Compare once, up to ``ends`` on the source.

        Returns the ends of the copies by logical partition, and what is still missing; the ends
        count only when nothing is missing. Waits for nothing but single reads.
        """
        copies = {part: self._logs[part].base for part in ends}
        busy = {part: log for part, log in self._logs.items() if ends.get(part, 0) > log.floor}
        now = self._admin.stable_ends(self._route.target, [log.there for log in busy.values()])
        for part, log in busy.items():
            self._aim(log, ends[part], now[log.there])
        self._drive(list(busy.values()), now)
        missing, self._skips = [], {}
        for part, log in busy.items():
            match = log.match.result if log.match is not None else None
            if match is not None and match.complete:
                copies[part] = match.there
                self._skips[part] = join(log.skip, match.skip)
                continue
            missing.append(_missing(log, ends[part], now[log.there]))
            if match is not None and match.at > log.first:
                log.adopt(match)
            if match is not None and match.differs and not self._is_copy("source"):
                log.read_otherwise()
        return copies, tuple(missing)

    @property
    def skips(self) -> Mapping[Partition, Skip]:
        """What the copies repeat below the ends that `look` returned: nobody is to read it."""
        return {part: skip for part, skip in self._skips.items() if skip}

    def _aim(self, log: _Log, end: Offset, now: Offset) -> None:
        """Choose what to prove: an even copy, else (stalled or longer) what the copy holds now."""
        ours = Span(min(log.first, end), end)
        even = log.there_first + ours.end - ours.start
        log.stalled = log.stalled + 1 if now == log.seen else 0
        log.seen = now
        waits = now <= even and log.stalled < _STALLED and not (self._closed or log.uneven)
        want = even if waits else max(now, log.there_first)
        if want != log.tried or log.match is None:
            log.tried = want
            log.match = self._proof(log, ours, want)

    def _proof(self, log: _Log, ours: Span, want: Offset) -> RangeMatch:
        return RangeMatch(
            ours,
            Span(log.there_first, want),
            self._pairs_of(log.here),
            back=min(log.back, ours.start),
            use_timestamp=log.use_timestamp,
        )

    def _drive(self, logs: Sequence[_Log], now: Mapping[Partition, Offset]) -> None:
        """Feed every proof as far as the logs reach now, one round of reads for all of them."""
        while True:
            wanted: dict[Side, dict[Partition, tuple[_Log, ReadWindow]]] = {s: {} for s in _SIDES}
            for log in logs:
                request = log.match.next_request() if log.match is not None else None
                if request is None or self._from_heads(log, request):
                    continue
                if request.side == "source" or request.end <= now[log.there]:
                    wanted[request.side][log.physical(request.side)] = (log, request)
            if not any(wanted.values()) and not any(_fed(log) for log in logs):
                return
            for side, requests in wanted.items():
                self._read(side, requests)

    def _read(self, side: Side, requests: Mapping[Partition, tuple[_Log, ReadWindow]]) -> None:
        windows = {p: Window(r.start, r.end, r.limit) for p, (_, r) in requests.items()}
        found = self._found(side, windows, {p: log for p, (log, _) in requests.items()})
        for part, (log, request) in requests.items():
            if log.match is not None:
                log.match.feed(*self._wanted(side, part, request, found[part]))

    def _found(
        self, side: Side, windows: Mapping[Partition, Window], logs: Mapping[Partition, _Log]
    ) -> Mapping[Partition, Records]:
        """Read windows of one side, each log as it is to be read."""
        found: dict[Partition, Records] = {}
        for committed in (True, False):
            chosen = {
                part: window
                for part, window in windows.items()
                if committed is (self._is_copy(side) or logs[part].committed)
            }
            if chosen:
                found |= self._reader.read(self._alias(side), chosen, committed=committed)
        return found

    def _wanted(
        self, side: Side, part: Partition, request: ReadWindow, found: Records
    ) -> tuple[Sequence[LogRecord], Offset | None]:
        """Leave out what nobody is to read on the source."""
        kept, covered = self._kept(side, part, found.records), found.covered_to
        if len(kept) < len(found.records) and covered is None:
            full = len(found.records) >= request.limit
            covered = found.records[-1].offset + 1 if full else None
        return kept, covered

    def _kept(
        self, side: Side, part: Partition, records: tuple[LogRecord, ...]
    ) -> tuple[LogRecord, ...]:
        skip = self._repeats.get(part, ()) if side == "source" else ()
        return tuple(r for r in records if not within(skip, r.offset)) if skip else records

    def _from_heads(self, log: _Log, request: ReadWindow) -> bool:
        """Answer a window at the beginning with what was read ahead."""
        head = log.heads.get(request.side, ())
        if log.match is None or not head or request.start != log.begin(request.side):
            return False
        if len(head) < request.limit and request.end > head[-1].offset + 1:
            return False
        log.match.feed([r for r in head if r.offset < request.end][: request.limit])
        log.fed = True
        return True

    def _read_heads(self, logs: Sequence[_Log]) -> None:
        ends: dict[Side, Mapping[Partition, Offset]] = {
            side: self._admin.stable_ends(self._alias(side), [log.physical(side) for log in logs])
            for side in _SIDES
        }
        for side in _SIDES:
            windows = {}
            for log in logs:
                part, start = log.physical(side), log.begin(side)
                if ends[side][part] > start:
                    windows[part] = Window(start, ends[side][part], _HEAD)
            found = self._found(side, windows, {log.physical(side): log for log in logs})
            for log in logs:
                if log.physical(side) in found:
                    log.heads[side] = self._kept(side, log.here, found[log.physical(side)].records)

    def _pairs_of(self, here: Partition) -> tuple[Pair, ...]:
        """Return the offset syncs of a log; their topic is read once."""
        if self._route.origin != self._route.source:
            return ()  # MM2 keeps no syncs between two copies
        if self._pairs is None:
            self._pairs = sync_pairs(
                self._admin, self._reader, self._naming, self._route.source, self._route.target
            )
        return self._pairs.get(here, ())

    def _is_copy(self, side: Side) -> bool:
        return self._alias(side) != self._route.origin

    def _alias(self, side: Side) -> ClusterAlias:
        return self._route.source if side == "source" else self._route.target

    def _log(self, part: Partition, floor: Offset, base: Offset) -> _Log:
        names = (
            self._naming.log_name(self._route.origin, part.topic, on)
            for on in (self._route.source, self._route.target)
        )
        here, there = (Partition(name, part.number) for name in names)
        return _Log(here, there, floor, base, floor, base)


def sync_pairs(
    admin: Admin, reader: LogReader, naming: Naming, source: ClusterAlias, target: ClusterAlias
) -> dict[Partition, tuple[Pair, ...]]:
    """Read the newest offset syncs of a flow, wherever MM2 is told to keep them."""
    for alias, other in ((source, target), (target, source)):
        topic = naming.policy.offset_syncs_topic(other)
        if topic in admin.partitions(alias):
            return _read_syncs(admin, reader, alias, Partition(topic, 0))
    return {}


def _read_syncs(
    admin: Admin, reader: LogReader, alias: ClusterAlias, part: Partition
) -> dict[Partition, tuple[Pair, ...]]:
    end, at = admin.ends(alias, [part])[part], admin.starts(alias, [part])[part]
    at = max(at, end - _MOST_SYNCS)
    indexes: dict[Partition, SyncIndex] = {}
    while at < end:
        found = reader.read(alias, {part: Window(at, end, _BATCH)})[part]
        for record in found.records:
            _add_sync(indexes, record)
        at = _next(found.records, found.covered_to, end)
    return {part: index.pairs() for part, index in indexes.items()}


def _next(records: Sequence[LogRecord], covered_to: Offset | None, end: Offset) -> Offset:
    if covered_to is not None:
        return covered_to
    return records[-1].offset + 1 if len(records) == _BATCH else end


def _add_sync(indexes: dict[Partition, SyncIndex], record: LogRecord) -> None:
    try:
        sync = OffsetSync.decode(record.key, record.value)
    except RecordFormatError:
        return
    if sync is None:
        return
    indexes.setdefault(Partition(sync.topic, sync.partition), SyncIndex()).add(sync)


def _fed(log: _Log) -> bool:
    """Say whether a proof was fed without a read since the last question."""
    fed, log.fed = log.fed, False
    return fed


def _name(part: Partition) -> str:
    return f"{part.topic}[{part.number}]"


def _missing(log: _Log, end: Offset, now: Offset) -> str:
    lacks = max(0, end - log.first - (now - log.there_first))
    match = log.match.result if log.match is not None else None
    why = f" ({match.reason})" if match is not None else ""
    return f"{_name(log.there)}: {lacks} records behind{why}"
