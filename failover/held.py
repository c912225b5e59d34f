"""Finds the oldest record that a target holds of each log, seen from the active cluster.

A copy that was begun late, or that retention has shortened, begins elsewhere than its origin, and
offsets alone do not tell how far apart the two are.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from clientlib.protocol.align import Aligner, Alignment, AlignRequest, AtMost, Exact, NotYet
from clientlib.protocol.errors import LedgerUnknownError, RemoteError
from clientlib.protocol.fingerprint import LogRecord, fingerprint
from clientlib.protocol.ledger import Ledger
from clientlib.protocol.naming import Naming
from clientlib.protocol.syncs import Bracket, Pair
from clientlib.protocol.types import ClusterAlias, Offset, Partition
from clientlib.protocol.windows import Span
from failover.copies import sync_pairs
from failover.core.segments import Unread, unread
from failover.core.snapshot import Oldest, Snapshot, stable_end
from failover.io.ports import Ports, Window


@dataclass(frozen=True, slots=True)
class _Log:
    """One partition of an origin's log: on the active cluster, and on the target."""

    origin: ClusterAlias
    here: Partition
    there: Partition
    ours: Span
    theirs: Span
    shift: int
    use_timestamp: bool


class Held:
    """Looks at the beginnings of the target's logs that a group has still to read."""

    def __init__(self, naming: Naming, ports: Ports) -> None:
        self._naming, self._ports = naming, ports

    def oldest(
        self, snapshot: Snapshot, active: ClusterAlias, target: ClusterAlias
    ) -> Mapping[Partition, Oldest]:
        """Return the oldest record by partition of the active cluster; what cannot be read, too."""
        wanted = {one.log: one for one in unread(snapshot, self._naming)}
        logs = [*self._logs(snapshot, target, wanted.values())]
        try:
            return self._oldest(active, target, logs)
        except RemoteError as error:
            return {log.here: Oldest(None, why=str(error)) for log in logs}

    def _logs(
        self, snapshot: Snapshot, target: ClusterAlias, wanted: Iterable[Unread]
    ) -> Iterator[_Log]:
        """Yield the logs that the target has begun to hold; what is not there yet will come."""
        state = snapshot.view.state
        for one in wanted:
            assert state is not None  # noqa: S101 - else there is nothing unread
            name, number = self._naming.log_name(one.origin, one.topic, target), one.log.number
            ours = snapshot.clusters[state.active].topics[one.log.topic]
            theirs = snapshot.clusters[target].topics.get(name)
            if theirs is None or number >= theirs.partitions or not stable_end(theirs, number):
                continue
            ledger = Ledger(state.epochs, snapshot.view.ledger.get(one.topic, {}))
            yield _Log(
                one.origin,
                one.log,
                Partition(name, number),
                Span(ours.starts[number], ours.ends[number]),
                Span(theirs.starts[number], max(theirs.starts[number], stable_end(theirs, number))),
                _shift(ledger, one, state.active, target, theirs.starts[number]),
                not (ours.log_append_time or theirs.log_append_time),
            )

    def _oldest(
        self, active: ClusterAlias, target: ClusterAlias, logs: Iterable[_Log]
    ) -> dict[Partition, Oldest]:
        found: dict[Partition, Oldest] = {}
        first = self._first_of(target, {g.there: g.theirs for g in logs}, logs)
        guesses: dict[Partition, Span] = {}
        for log in logs:
            if log.there not in first:  # emptied: nothing is there to be compared
                found[log.here] = Oldest(log.ours.clip(log.theirs.end + log.shift), exact=False)
                continue
            guess = first[log.there].offset + log.shift
            if log.ours.start <= guess < log.ours.end:
                guesses[log.here] = Span(guess, guess + 1)
        ours = self._first_of(active, guesses, logs)
        pairs: Mapping[Partition, tuple[Pair, ...]] | None = None
        for log in logs:
            if log.here in found:
                continue
            record = first[log.there]
            if log.here in ours and _same(log, ours[log.here], record):
                found[log.here] = Oldest(ours[log.here].offset)
                continue
            if pairs is None:
                ports = self._ports
                pairs = sync_pairs(ports.admin, ports.reader, self._naming, active, target)
            found[log.here] = self._searched(log, active, target, record, pairs.get(log.here, ()))
        return found

    def _first_of(
        self, alias: ClusterAlias, spans: Mapping[Partition, Span], logs: Iterable[_Log]
    ) -> dict[Partition, LogRecord]:
        """Return the first record of each span that has one; copies as applications read them."""
        found: dict[Partition, LogRecord] = {}
        origins = {part: log.origin for log in logs for part in (log.here, log.there)}
        for committed in (False, True):
            waiting = {
                part: span.start
                for part, span in spans.items()
                if span.end > span.start and (origins[part] != alias) is committed
            }
            topics = sorted({part.topic for part in waiting})
            self._ports.reader.warm(alias, topics, committed=committed)
            while waiting:
                windows = {part: Window(at, spans[part].end, 1) for part, at in waiting.items()}
                answers = self._ports.reader.read(alias, windows, committed=committed)
                found |= {part: a.records[0] for part, a in answers.items() if a.records}
                waiting = {
                    part: answer.covered_to
                    for part, answer in answers.items()
                    if not answer.records and answer.covered_to is not None
                }
        return found

    def _searched(
        self,
        log: _Log,
        active: ClusterAlias,
        target: ClusterAlias,
        record: LogRecord,
        pairs: Iterable[Pair],
    ) -> Oldest:
        """Look for the target's first record on the active cluster, by offset syncs or reading."""
        position = record.offset + 1
        aligner = Aligner(
            AlignRequest(
                source=log.theirs,
                target=log.ours,
                position=position,
                bracket=_bracket(position, pairs),
                use_timestamp=log.use_timestamp,
            )
        )
        sides = {"source": (target, log.there), "target": (active, log.here)}
        while (window := aligner.next_request()) is not None:
            alias, part = sides[window.side]
            wanted = {part: Window(window.start, window.end, window.limit)}
            committed = log.origin != alias
            answer = self._ports.reader.read(alias, wanted, committed=committed)[part]
            aligner.feed(answer.records, answer.covered_to)
        return _oldest_of(log, aligner.result)


def _oldest_of(log: _Log, found: Alignment | None) -> Oldest:
    if isinstance(found, Exact | AtMost):
        exact = isinstance(found, Exact)
        return Oldest(max(log.ours.start, found.offset - 1), exact=exact)
    if isinstance(found, NotYet):  # the target goes back further than the active cluster
        return Oldest(log.ours.start)
    return Oldest(None, why=found.reason if found is not None else "it was not read")


def _same(log: _Log, ours: LogRecord, theirs: LogRecord) -> bool:
    prints = {fingerprint(r, use_timestamp=log.use_timestamp) for r in (ours, theirs)}
    return len(prints) == 1


def _shift(
    ledger: Ledger, one: Unread, active: ClusterAlias, target: ClusterAlias, at: Offset
) -> int:
    """Return how far the two logs are apart at an offset of the target, by the ledger."""
    shift = 0
    try:
        pairs = zip(
            ledger.ranges(one.log.number, active),
            ledger.ranges(one.log.number, target),
            strict=True,
        )
        for here, there in pairs:
            if here.epoch.cluster == one.origin and there.start <= at:
                shift = here.start - there.start
    except LedgerUnknownError:
        pass  # the ends that the target lacks are found out when the switch prepares
    return shift


def _bracket(position: int, pairs: Iterable[Pair]) -> Bracket:
    """Return the offset syncs around a position of the copy, seen from the copy."""
    lower: Pair | None = None
    for pair in (p.swapped() for p in pairs):
        if pair.source >= position:
            return Bracket(lower, pair)
        lower = pair
    return Bracket(lower, None)
