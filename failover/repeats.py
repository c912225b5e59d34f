"""Looks for what a lost cluster's copies hold twice; the rules are `core.restarts`, `core.resent`.

Where MM2 was not killed that costs one read of Connect's status topic. It is begun before writes
close, so that only what has come since is looked at while they are closed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from clientlib.protocol.errors import RemoteError, TimedOutError
from clientlib.protocol.fingerprint import LogRecord
from clientlib.protocol.ledger import Ledger
from clientlib.protocol.naming import Naming
from clientlib.protocol.skips import Skip, clip
from clientlib.protocol.state import View
from clientlib.protocol.syncs import Pair
from clientlib.protocol.types import ClusterAlias, Offset, Partition
from clientlib.protocol.windows import Span
from clientlib.settings import Settings
from failover.core import journal, publish
from failover.core.machine import Run
from failover.core.resent import CLOCKS_MS, Evidence, Resent, Search, entered
from failover.core.restarts import Commits, kills, resumes, since_ms
from failover.io.ports import Ports, Window

_BATCH = 5_000
_NEWEST = 50_000
"""How much of each partition of Connect's topics is read."""
_SOME = 100  # the reader that was warmed is that of many records
_MOST_MS = 5_000
"""How long all of it may take: writes may be closed."""
_AGAIN = "a group that lags may get records twice"


class Repeats:
    """What is known of one run's copies. ``skips`` and ``warnings`` belong to the last `look`."""

    def __init__(self, settings: Settings, naming: Naming, ports: Ports) -> None:
        self._separators = sorted({".", settings.separator})
        self._naming, self._ports = naming, ports
        self._ends: Mapping[Partition, Offset] | None = None
        self._unknown: tuple[str, ...] = ()
        self._given_up = False
        self._kills: tuple[int, ...] = ()
        self._late: tuple[int, ...] = ()
        self._starts: Mapping[Partition, Offset] = {}
        self._first_ms: dict[Partition, int] = {}
        self._commits = Commits("")
        self._evidence: dict[Partition, Evidence] = {}
        self._found: dict[Partition, Resent] = {}
        self._spent_ms = self._deadline_ms = 0

    @property
    def skips(self) -> Mapping[Partition, Skip]:
        """What nobody is to read, by logical partition."""
        return {part: found.skip for part, found in self._found.items() if found.skip}

    @property
    def warnings(self) -> tuple[str, ...]:
        """Say where repeats may be left, and why."""
        unproved = ((p, found.unproved) for p, found in sorted(self._found.items()))
        told = (f"{p.topic}[{p.number}]: {why}: {_AGAIN}" for p, why in unproved if why)
        return (*self._unknown, *told)

    def look(self, run: Run, known: View, ends: Mapping[Partition, Offset]) -> None:
        """Search the copies, by logical partition, that have grown since the last call."""
        begun_ms = self._ports.clock.now_ms()
        self._deadline_ms = begun_ms + _MOST_MS - self._spent_ms
        try:
            if ends != self._ends and not self._given_up:
                self._ends = dict(ends)
                self._ask(run, known)
            if self._kills and not self._given_up:
                self._search(run, known, ends)
        except RemoteError as error:
            self._give_up(f"what MirrorMaker 2 may have sent twice is not known: {error}")
        self._spent_ms += self._ports.clock.now_ms() - begun_ms

    def _give_up(self, why: str) -> None:
        """Skip nothing: what looked like a repeat may have gone on otherwise."""
        self._unknown = (f"{why}: {_AGAIN}",)
        self._given_up = True  # not once more: a failure may take its time
        self._found.clear()

    # -- what Connect keeps ----------------------------------------------------------------------

    def _ask(self, run: Run, known: View) -> None:
        """Read when MM2 was killed, and only if it was, where it went on."""
        topics = self._ports.admin.partitions(run.target)
        status = self._internal("status", run, topics)
        if not status:
            self._give_up(f"MirrorMaker 2 keeps no status on {run.target}, it may have been killed")
            return
        every = kills(chain.from_iterable(self._read(run.target, status)))
        if every == self._kills:
            return
        begun_ms = since_ms(journal.runs(known, run.scope), run.base.epochs) - CLOCKS_MS
        late = tuple(at_ms for at_ms in every if at_ms >= begun_ms)
        if not late and not (every and self._unfinished(run, known)):
            return
        offsets = self._internal("offsets", run, topics)
        if not offsets:
            self._give_up(f"MirrorMaker 2 was killed, and keeps no offsets on {run.target}")
            return
        self._commits = Commits(run.source)
        for log in self._read(run.target, offsets):
            self._commits.add(log)
        self._kills, self._late = every, late

    def _internal(self, kind: str, run: Run, topics: Mapping[str, int]) -> tuple[Partition, ...]:
        names = (f"mm2-{kind}{by}{run.source}{by}internal" for by in self._separators)
        return tuple(Partition(n, number) for n in names for number in range(topics.get(n, 0)))

    def _read(
        self, alias: ClusterAlias, parts: tuple[Partition, ...]
    ) -> Iterable[Sequence[LogRecord]]:
        """Return the newest records of each of these logs."""
        admin = self._ports.admin
        self._warm(alias, parts)
        starts, ends = admin.starts(alias, parts), admin.stable_ends(alias, parts)
        at = {part: max(starts[part], ends[part] - _NEWEST) for part in parts}
        logs: dict[Partition, list[LogRecord]] = {part: [] for part in parts}
        while wanted := {p: Window(at[p], ends[p], _BATCH) for p in parts if at[p] < ends[p]}:
            if self._late_already():
                raise TimedOutError(f"cluster {alias}: {parts[0].topic} takes too long to read")
            for part, found in self._ports.reader.read(alias, wanted, committed=True).items():
                full = len(found.records) == _BATCH and found.covered_to is None
                to = found.records[-1].offset + 1 if full else found.covered_to or ends[part]
                logs[part] += found.records
                at[part] = to
        return logs.values()

    def _warm(self, alias: ClusterAlias, parts: Iterable[Partition]) -> None:
        topics = sorted({part.topic for part in parts})
        self._ports.reader.warm(alias, topics, committed=True, many=True)

    # -- searches --------------------------------------------------------------------------------

    def _search(self, run: Run, known: View, ends: Mapping[Partition, Offset]) -> None:
        copies = {part: self._copy(run, part) for part in ends}
        if not self._starts:
            self._warm(run.target, copies.values())
            self._starts = self._ports.admin.starts(run.target, copies.values())
        stable = self._ports.admin.stable_ends(run.target, copies.values())
        logs = {p: Span(min(self._starts[c], stable[c]), stable[c]) for p, c in copies.items()}
        now = dict(self._evidences(run, known, logs))
        changed = {part: one for part, one in now.items() if self._evidence.get(part) != one}
        self._evidence = now
        for part in changed:
            self._found.pop(part, None)  # what looked like a repeat may go on otherwise
        searches = {copies[part]: Search(one) for part, one in changed.items()}
        self._drive(run.target, searches)
        for part in changed:
            found = searches[copies[part]].result or Resent((), "to look at it takes too long")
            skip = clip(found.skip, publish.start(run.base, part, known, run.target), None)
            self._found[part] = replace(found, skip=skip)

    def _drive(self, alias: ClusterAlias, searches: Mapping[Partition, Search]) -> None:
        """Feed the searches, one round of reads for all of them, while there is time."""
        while (wanted := dict(_windows(searches))) and not self._late_already():
            for copy, found in self._ports.reader.read(alias, wanted, committed=True).items():
                if found.covered_to == wanted[copy].start:
                    raise TimedOutError(f"cluster {alias}: {copy.topic} cannot be read to its end")
                searches[copy].feed(found.records, found.covered_to)

    def _late_already(self) -> bool:
        return self._ports.clock.now_ms() > self._deadline_ms

    def _evidences(
        self, run: Run, known: View, logs: Mapping[Partition, Span]
    ) -> Iterator[tuple[Partition, Evidence]]:
        """Yield what is known of each copy that may repeat something.

        A kill before its first record was written means nothing to it.
        """
        firsts = self._firsts(run, known, logs)
        for part, log in logs.items():
            begin, skip, goes_on = _begin(run, known, part)
            # what goes on behind the end of an older epoch began with an older kill
            killed = self._kills if goes_on else self._late
            first_ms = firsts.get(self._copy(run, part))
            if first_ms is None:
                continue  # empty
            before_ms = first_ms - CLOCKS_MS
            new_ms = before_ms if begin.source == 0 and log.start <= begin.target else 0
            after = [at_ms for at_ms in killed if at_ms >= before_ms]
            found, _ = resumes(self._commits, part, after, new_ms)
            surely = [at_ms for at_ms in after if at_ms >= first_ms]
            _, complete = resumes(self._commits, part, surely, new_ms)
            if after:
                noted = self._commits.by.get(part, ())
                committed = noted[-1].at if noted else begin.source
                yield part, Evidence(begin, log, found, committed, skip, complete)

    def _firsts(
        self, run: Run, known: View, logs: Mapping[Partition, Span]
    ) -> Mapping[Partition, int]:
        """Return when the first record of the epoch was written, of each copy that has one."""
        wanted: dict[Partition, Window] = {}
        for part, log in logs.items():
            copy, start = self._copy(run, part), _begin(run, known, part)[0].target
            if copy not in self._first_ms and log.end > max(start, log.start):
                wanted[copy] = Window(max(start, log.start), log.end, _SOME)
        if wanted:
            read = self._ports.reader.read(run.target, wanted, committed=True)
            firsts = {copy: found.records[0] for copy, found in read.items() if found.records}
            self._first_ms |= {copy: one.timestamp or 0 for copy, one in firsts.items()}
        return self._first_ms

    @staticmethod
    def _unfinished(run: Run, known: View) -> bool:
        return any(_begin(run, known, part)[2] for part in publish.partitions(run.topics))

    def _copy(self, run: Run, part: Partition) -> Partition:
        return Partition(self._naming.log_name(run.source, part.topic, run.target), part.number)


def _begin(run: Run, known: View, part: Partition) -> tuple[Pair, Skip, bool]:
    """Return what `entered` says, and whether a repeat goes on from the epoch before."""
    ledger = Ledger(run.base.epochs, known.ledger.get(part.topic, {}))
    home, copy = (publish.start(run.base, part, known, on) for on in (run.source, run.target))
    begin, skip = entered(home, copy, ledger.skipped(part.number, run.target, run.source))
    return begin, skip, begin.target < copy


def _windows(searches: Mapping[Partition, Search]) -> Iterator[tuple[Partition, Window]]:
    for copy, search in searches.items():
        request = search.next_request()
        if request is not None:
            yield copy, Window(request.start, request.end, request.limit)
