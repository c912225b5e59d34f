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

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, pairwise

from clientlib.protocol.ledger import ClosedEpoch, Ledger
from clientlib.protocol.naming import Naming
from clientlib.protocol.replay import Manifest, likely_prints
from clientlib.protocol.skips import Skip, join, size
from clientlib.protocol.state import State
from clientlib.protocol.syncs import Pair
from clientlib.protocol.types import ClusterAlias, Epoch, Offset, Partition
from clientlib.protocol.windows import Span
from failover.copies import sync_pairs
from failover.homecoming import EpochEnd, Sides
from failover.io.ports import Admin, Ports
from failover.replays import Replays, records_of
from failover.settled import UnsettledError, settled_ends


@dataclass(frozen=True, slots=True)
class Compared:
    """One topic of a returned cluster: its ledger row with the ends there, or how it diverged.

    ``late`` and ``replayed`` count records of the tail.
    """

    row: ClosedEpoch
    diverged: tuple[str, ...] = ()
    late: int = 0
    replayed: int = 0


def owing(state: State, rows: Mapping[int, ClosedEpoch]) -> Iterator[tuple[ClusterAlias, int]]:
    """Yield (cluster, epoch) of what was never compared with the cluster that had held it."""
    for counter, row in sorted(rows.items()):
        if row.epoch.cluster not in row.ends and counter < state.epoch.counter:
            yield row.epoch.cluster, counter


def lost_epoch(state: State, home: ClusterAlias) -> Epoch | None:
    """Return the last epoch of a cluster, if it ended with its loss."""
    lost = [e for e, after in pairwise(state.epochs) if _gave_up(state, e, after)]
    own = [e for e in state.epochs if e.cluster == home]
    return own[-1] if own and own[-1] in lost else None


def outgrown(
    admin: Admin,
    state: State,
    topics: Mapping[str, int],
    ledger: Mapping[str, Mapping[int, ClosedEpoch]],
    lost: Epoch,
) -> frozenset[str]:
    """Return the topics whose log at home has grown behind the known tail of a lost epoch.

    One question for all logs.
    """
    counter, home = lost.counter, lost.cluster
    known: dict[Partition, Offset] = {}
    for topic, partitions in topics.items():
        rows = ledger.get(topic, {})
        if counter not in rows or home not in rows[counter].ends:
            continue
        book = Ledger(state.epochs, rows)
        behind = {
            Partition(topic, number): book.behind(number, home) for number in range(partitions)
        }
        known |= {part: end for part, end in behind.items() if end is not None}
    now = admin.ends(home, list(known)) if known else {}
    return frozenset(part.topic for part, end in known.items() if now[part] > end)


def written_again(
    manifests: Iterable[Manifest], rows: Mapping[str, Mapping[int, ClosedEpoch]], counter: int
) -> frozenset[str]:
    """Return the topics of which something late in this epoch may have been written again since.

    Whoever could not be reached when the cluster was taken in comes back with what it kept.
    """
    told = [one.ranges for one in manifests if one.epoch > counter]
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

    def __init__(
        self,
        naming: Naming,
        ports: Ports,
        state: State,
        survivor: ClusterAlias,
        *,
        hasty: bool = False,
    ) -> None:
        """``hasty``: writes are closed, and what takes long was looked for before."""
        self._naming, self._ports, self._state = naming, ports, state
        self._survivor = survivor
        self._replays = Replays(ports, state, near=not hasty)
        self._pairs: dict[ClusterAlias, Mapping[Partition, tuple[Pair, ...]]] = {}

    def uncopied(
        self,
        topics: Mapping[str, int],
        ledger: Mapping[str, Mapping[int, ClosedEpoch]],
        epoch: Epoch,
    ) -> Iterator[tuple[str, Compared]]:
        """Yield topics of a lost epoch that has no end in them, with what was written to them.

        The survivor had never heard of them: MirrorMaker 2 had not begun to copy them.
        """
        for name, partitions in topics.items():
            rows = ledger.get(name, {})
            if epoch.counter in rows:
                continue
            copies = {self._survivor, *self._state.clusters} - {epoch.cluster}
            row = ClosedEpoch(epoch, {alias: {} for alias in sorted(copies)})
            found = self.topic(name, partitions, {**rows, epoch.counter: row}, epoch.counter)
            if found.late or found.replayed:
                yield name, found

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
            end = self._known_end(log, row)
            if end is None:
                diverged.append(_told(log, home))
                continue
            if end > log.start:
                ends[number] = end
            skip[number], late[number] = self._tail(log, ledger, counter, end)
        found = replace(
            row,
            ends={**row.ends, home: ends},
            skip=_added(row.skip, home, skip),
            late=_added(row.late, home, late),
        )
        late_count, again = (sum(map(size, by.values())) for by in (late, skip))
        return Compared(found, tuple(diverged), late_count, again)

    def _logs(
        self, name: str, partitions: int, ledger: Ledger, row: ClosedEpoch
    ) -> Iterator[Sides]:
        home, there, admin = row.epoch.cluster, self._survivor, self._ports.admin
        copied = row.ends[there]
        homes = [Partition(name, number) for number in range(partitions)]
        ends, starts = self._settled_ends(home, homes), admin.starts(home, homes)
        name_of_copy = self._naming.log_name(home, name, there)
        copies = {p: Partition(name_of_copy, p.number) for p in homes}
        width = admin.partitions(there).get(name_of_copy, 0)
        firsts = admin.starts(there, [copy for copy in copies.values() if copy.number < width])
        for part, copy in copies.items():
            first = ledger.start(row.epoch.counter, part.number, there)
            yield Sides(
                copy=copy,
                home=part,
                copied=Span(first, max(first, copied.get(part.number, first))),
                start=ledger.start(row.epoch.counter, part.number, home),
                end=ends[part],
                skip=ledger.skipped(part.number, there, home),
                first=(firsts.get(copy, 0), starts[part]),
            )

    def _known_end(self, log: Sides, row: ClosedEpoch) -> Offset | None:
        home = row.epoch.cluster
        if home in row.ends:
            return row.ends[home].get(log.home.number, log.start)
        pairs = self._syncs(home).get(log.home, ())
        finder = EpochEnd(self._ports.reader, home, self._survivor)
        return finder.find(replace(log, pairs=pairs))

    def _syncs(self, home: ClusterAlias) -> Mapping[Partition, tuple[Pair, ...]]:
        if home not in self._pairs:
            ports, naming = self._ports, self._naming
            self._pairs[home] = sync_pairs(ports.admin, ports.reader, naming, home, self._survivor)
        return self._pairs[home]

    def _settled_ends(
        self, home: ClusterAlias, parts: list[Partition]
    ) -> Mapping[Partition, Offset]:
        """Return the ends. Raises UnsettledError while a transaction is open there."""
        ends, hanging = settled_ends(self._ports.admin, home, parts)
        if hanging:
            told = f"{home}: {'; '.join(hanging[:3])}"
            raise UnsettledError(f"{told}; end one that stays by kafka-transactions.sh abort")
        return ends

    def _tail(self, log: Sides, ledger: Ledger, counter: int, end: Offset) -> tuple[Skip, Skip]:
        """Return the tail's spans that were written again, and those that are late."""
        home = ledger.closed[counter].epoch.cluster
        tail = records_of(self._ports.reader, home, log.home, end, log.end)
        first = next(tail, None)
        if first is None:
            return (), ()
        stamped = first.timestamp is not None
        offsets, prints = self._replays.of(log.home, counter, ledger, stamped=stamped)
        again: list[tuple[Offset, Offset]] = []
        late: list[tuple[Offset, Offset]] = []
        for record in chain([first], tail):
            likely = likely_prints(record, use_timestamp=stamped)
            known = next((p for p in likely if prints[p] > 0), None)
            if record.offset in offsets:
                again.append((record.offset, record.offset + 1))
            elif known is not None:
                prints[known] -= 1
                again.append((record.offset, record.offset + 1))
            else:
                late.append((record.offset, record.offset + 1))
        return join(again), join(late)


def _told(log: Sides, home: ClusterAlias) -> str:
    name = f"{log.home.topic}[{log.home.number}] on {home}"
    held, copied = log.end - log.start, log.copied.end - log.copied.start
    if held < copied:
        return f"{name} holds {held:,} offsets, its copy {copied:,}"
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
