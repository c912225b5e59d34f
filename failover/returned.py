"""A cluster that was given up is back: what its logs hold, held against the ledger.

For each log of the returned cluster's own last epoch: where the epoch ends there (the record that
the surviving copy ends with), and what lies behind, the **tail**. What producers have written again
elsewhere is skipped in the tail, the rest is late. A log that is shorter than the copy, or holds
other records, is **diverged**: no offset of it means anything any more.

A tail can grow after it was looked at: a packet that was under way comes through, a client that has
not heard of the loss writes on. Then it is looked at again; the end of the epoch stays.

What a transaction has aborted is no part of a log, here as for the applications that read it. Only
a mirror that copies what is not committed makes it one: then the copy ends with such a record.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

from clientlib.protocol.align import Aligner, AlignRequest, Exact
from clientlib.protocol.errors import TimedOutError
from clientlib.protocol.fingerprint import LogRecord
from clientlib.protocol.ledger import ClosedEpoch, Ledger
from clientlib.protocol.naming import Naming
from clientlib.protocol.replay import Manifest, likely_prints, original, original_print
from clientlib.protocol.skips import Skip, Squeezed, join, within
from clientlib.protocol.state import State
from clientlib.protocol.types import ClusterAlias, Epoch, Offset, Partition
from clientlib.protocol.windows import ReadWindow
from clientlib.protocol.windows import Span as Offsets
from failover.io.ports import Admin, Ports, Window
from failover.settled import held_open, settled_ends

_BATCH = 5_000


class UnsettledError(TimedOutError):
    """What a returned cluster holds cannot be judged yet: somebody has to finish something."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One topic of a returned cluster: its ledger row with the ends there, or how it diverged.

    ``late`` and ``replayed`` count records of the tail.
    """

    row: ClosedEpoch
    diverged: tuple[str, ...] = ()
    late: int = 0
    replayed: int = 0


@dataclass(frozen=True, slots=True)
class _Log:
    """One partition: its epoch's range in the surviving copy, and where it starts at home."""

    copy: Partition
    home: Partition
    copied: tuple[Offset, Offset]
    start: Offset
    end: Offset


def owing(state: State, rows: Mapping[int, ClosedEpoch]) -> Iterator[tuple[ClusterAlias, int]]:
    """Yield (cluster, epoch) of what was never compared with the cluster that had held it."""
    for counter, row in sorted(rows.items()):
        if row.epoch.cluster not in row.ends and counter < state.epoch.counter:
            yield row.epoch.cluster, counter


def outgrown(
    admin: Admin,
    state: State,
    topics: Mapping[str, int],
    ledger: Mapping[str, Mapping[int, ClosedEpoch]],
    home: ClusterAlias,
) -> tuple[int, frozenset[str]]:
    """Return the topics whose log at home has grown behind the known tail of its last epoch.

    And that epoch's counter, 0 if it did not end with a loss. One question for all logs.
    """
    lost = [e.counter for e, after in pairwise(state.epochs) if _gave_up(state, e, after)]
    own = [e.counter for e in state.epochs if e.cluster == home]
    counter = own[-1] if own and own[-1] in lost else 0
    known: dict[Partition, Offset] = {}
    for topic, partitions in topics.items() if counter else ():
        rows = ledger.get(topic, {})
        if counter not in rows or home not in rows[counter].ends:
            continue
        book = Ledger(state.epochs, rows)
        behind = {
            Partition(topic, number): book.behind(number, home) for number in range(partitions)
        }
        known |= {part: end for part, end in behind.items() if end is not None}
    now = admin.ends(home, list(known)) if known else {}
    return counter, frozenset(part.topic for part, end in known.items() if now[part] > end)


def written_again(
    manifests: Iterable[Manifest], rows: Mapping[str, Mapping[int, ClosedEpoch]], counter: int
) -> frozenset[str]:
    """Return the topics of which something late in this epoch may have been written again since.

    Whoever could not be reached when the cluster was taken in comes back with what it kept.
    """
    told = [one.ranges for one in manifests if one.epoch == counter + 1]
    return frozenset(
        topic
        for topic, by in rows.items()
        if counter in by
        for number in by[counter].late.get(by[counter].epoch.cluster, {})
        if any(number in ranges.get(topic, {}) for ranges in told)
    )


def _gave_up(state: State, epoch: Epoch, after: Epoch) -> bool:
    return after.counter in state.unplanned and epoch.cluster != after.cluster


class Comparison:
    """Compares one returned cluster with the ledger, topic by topic."""

    def __init__(self, naming: Naming, ports: Ports, state: State, survivor: ClusterAlias) -> None:
        self._naming, self._ports, self._state = naming, ports, state
        self._survivor = survivor

    def topic(
        self, name: str, partitions: int, rows: Mapping[int, ClosedEpoch], counter: int
    ) -> Compared:
        """Compare one topic's log of a closed epoch. Raises RemoteError when a side is away.

        An end that is known already stays what it is.
        """
        row = rows[counter]
        home = row.epoch.cluster
        ledger = Ledger(self._state.epochs, rows)
        ends: dict[int, Offset] = {}
        skip: dict[int, Skip] = {}
        late: dict[int, Skip] = {}
        diverged: list[str] = []
        for log in self._logs(name, partitions, ledger, row):
            number = log.home.number
            end = self._known_end(log, row, ledger)
            if end is None:
                diverged.append(self._told(log, home))
                continue
            if end > log.start:
                ends[number] = end
            skip[number], late[number] = self._tail(log, home, counter, end)
        found = replace(
            row,
            ends={**row.ends, home: ends},
            skip=_added(row.skip, home, skip),
            late=_added(row.late, home, late),
        )
        return Compared(found, tuple(diverged), _count(late), _count(skip))

    def _logs(self, name: str, partitions: int, ledger: Ledger, row: ClosedEpoch) -> Iterator[_Log]:
        home, there = row.epoch.cluster, self._survivor
        copied = row.ends[there]
        homes = [Partition(name, number) for number in range(partitions)]
        ends = self._settled_ends(home, homes)
        copy = self._naming.log_name(home, name, there)
        for part in homes:
            first = ledger.start(row.epoch.counter, part.number, there)
            last = max(first, copied.get(part.number, first))
            start = ledger.start(row.epoch.counter, part.number, home)
            yield _Log(Partition(copy, part.number), part, (first, last), start, ends[part])

    def _known_end(self, log: _Log, row: ClosedEpoch, ledger: Ledger) -> Offset | None:
        home, number = row.epoch.cluster, log.home.number
        if home in row.ends:
            return row.ends[home].get(number, log.start)
        return self._end(log, home, ledger.skipped(number, self._survivor, home))

    def _settled_ends(
        self, home: ClusterAlias, parts: list[Partition]
    ) -> Mapping[Partition, Offset]:
        """Return the ends. Raises UnsettledError while a transaction is open there."""
        ends, hanging = settled_ends(self._ports.admin, home, parts)
        if hanging:
            told = f"{home}: {'; '.join(hanging[:3])}"
            raise UnsettledError(f"{told}; end one that stays by kafka-transactions.sh abort")
        return ends

    def _end(self, log: _Log, home: ClusterAlias, skip: Skip) -> Offset | None:
        """Return where the epoch ends at home; None when the logs contradict each other."""
        first = log.copied[0]
        last = self._behind_last(log, skip)  # markers may follow it, which no log at home has
        if last == first:
            return log.start if log.end >= log.start else None
        if log.end <= log.start:
            return None
        committed = self._found_end(log, home, skip, last, committed=True)
        if committed is not None:
            return committed
        return self._found_end(log, home, skip, last, committed=False)

    def _found_end(
        self, log: _Log, home: ClusterAlias, skip: Skip, last: Offset, *, committed: bool
    ) -> Offset | None:
        first, squeezed = log.copied[0], Squeezed(skip)
        aligner = Aligner(
            AlignRequest(
                source=Offsets(first, last),
                target=Offsets(log.start, log.end),
                position=last,
                guess=log.start + squeezed.inward(last) - squeezed.inward(first),
            )
        )
        while (window := aligner.next_request()) is not None:
            aligner.feed(*self._read(log, home, window, skip, committed=committed))
        return aligner.result.offset if isinstance(aligner.result, Exact) else None

    def _behind_last(self, log: _Log, skip: Skip) -> Offset:
        """Return the offset behind the epoch's last record in the copy; its start if none is."""
        first, end = log.copied
        while end > first:
            start = max(first, end - _BATCH)
            found = [r.offset for r in self._all(self._survivor, log.copy, start, end)]
            kept = [offset for offset in found if not within(skip, offset)]
            if kept:
                return kept[-1] + 1
            end = start
        return first

    def _read(
        self, log: _Log, home: ClusterAlias, window: ReadWindow, skip: Skip, *, committed: bool
    ) -> tuple[list[LogRecord], Offset | None]:
        """Read a window; what the copy repeats is left out."""
        copied = window.side == "source"
        alias, part = (self._survivor, log.copy) if copied else (home, log.home)
        wanted = {part: Window(window.start, window.end, window.limit)}
        found = self._ports.reader.read(alias, wanted, committed=committed or copied)[part]
        covered, records = found.covered_to, list(found.records)
        if window.side == "target" or not skip:
            return records, covered
        if covered is None and len(records) >= window.limit:
            covered = records[-1].offset + 1
        return [r for r in records if not within(skip, r.offset)], covered

    def _tail(self, log: _Log, home: ClusterAlias, counter: int, end: Offset) -> tuple[Skip, Skip]:
        """Return the tail's spans that were written again, and those that are late."""
        if log.end <= end:
            return (), ()
        offsets, prints = self._replays(log.home, home, counter)
        again: list[tuple[Offset, Offset]] = []
        late: list[tuple[Offset, Offset]] = []
        for record in self._all(home, log.home, end, log.end):
            known = next((p for p in likely_prints(record) if prints[p] > 0), None)
            if record.offset in offsets:
                again.append((record.offset, record.offset + 1))
            elif known is not None:
                prints[known] -= 1
                again.append((record.offset, record.offset + 1))
            else:
                late.append((record.offset, record.offset + 1))
        return join(again), join(late)

    def _replays(
        self, part: Partition, home: ClusterAlias, counter: int
    ) -> tuple[set[Offset], Counter[bytes]]:
        """Return what producers have written again of a log: by offset, else by content."""
        offsets: set[Offset] = set()
        prints: Counter[bytes] = Counter()
        for first, end in self._ranges(part):
            for record in self._all(self._survivor, part, first, end):
                for one in original(record.headers)[0]:
                    if (one.cluster, one.epoch) != (home, counter):
                        continue
                    if one.offset is not None:
                        offsets.add(one.offset)
                    else:
                        prints[original_print(record)] += 1
        return offsets, prints

    def _ranges(self, part: Partition) -> Skip:
        """Return where replays of a partition stand on the survivor, by the manifests."""
        self._ports.store.clients([self._survivor])
        manifests: Iterable[Manifest] = self._ports.store.manifests(self._survivor)
        spans = (m.ranges.get(part.topic, {}).get(part.number) for m in manifests)
        return join(span for span in spans if span is not None)

    def _all(
        self, alias: ClusterAlias, part: Partition, start: Offset, end: Offset
    ) -> Iterator[LogRecord]:
        at = start
        while at < end:
            wanted = {part: Window(at, end, _BATCH)}
            found = self._ports.reader.read(alias, wanted, committed=True)[part]
            yield from found.records
            if found.covered_to is not None:
                if found.covered_to == at:
                    raise UnsettledError(f"{alias}: {held_open(part, at)}")
                at = found.covered_to
            else:
                full = len(found.records) == _BATCH
                at = found.records[-1].offset + 1 if full else end

    def _told(self, log: _Log, home: ClusterAlias) -> str:
        first, last = log.copied
        name = f"{log.home.topic}[{log.home.number}] on {home}"
        if log.end - log.start < last - first:
            return f"{name} holds {log.end - log.start:,} offsets, its copy {last - first:,}"
        return f"{name} does not hold the record that its copy ends with"


def _added(
    known: Mapping[ClusterAlias, Mapping[int, Skip]], home: ClusterAlias, spans: Mapping[int, Skip]
) -> dict[ClusterAlias, dict[int, Skip]]:
    """Add spans of the tail; its copies get theirs when the epoch that they stand in is closed."""
    result = {cluster: dict(by) for cluster, by in known.items()}
    for number, found in spans.items():
        if found:
            into = result.setdefault(home, {})
            into[number] = join(into.get(number, ()), found)
    return result


def _count(spans: Mapping[int, Skip]) -> int:
    return sum(end - first for by in spans.values() for first, end in by)
