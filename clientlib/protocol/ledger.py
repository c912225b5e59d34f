"""The ledger of a logical topic, the gate and the move: the rules of order in one place.

Each origin (cluster on which a record was first written) has exactly one log on each cluster: the
topic itself at home, its remote copy elsewhere. Epochs cut those logs into ranges::

    epoch          1 (LEFT)          2 (RIGHT)        3 (LEFT)        4 (RIGHT, open)
    log of LEFT    [0, e1)                            [e1, e3)
    log of RIGHT                     [0, e2)                          [e2, ...

The *end* of an epoch is written once per (epoch, partition, cluster) and never decided again; its
start on a cluster is that log's previous end there, else 0.

* **Gate.** A group may read the first epoch that it has not finished, nothing else.
* **Move.** Each origin alone: start to start, end to end, inside to the same record.

Rules: DESIGN section 2. It is Kafka's leader-epoch cache, one level up.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from clientlib.protocol.errors import LedgerUnknownError
from clientlib.protocol.skips import Skip, clip, join, past, size, without
from clientlib.protocol.types import ClusterAlias, Epoch, Offset, Position


@dataclass(frozen=True, slots=True)
class ClosedEpoch:
    """The ends of one closed epoch of one topic.

    ``ends`` maps cluster, then partition, to the end of the epoch in the log that carries it
    there. A cluster without an entry has not been written yet; a partition without an entry in a
    cluster's map was empty. ``skip`` maps them to offsets that nobody is to read in the log which
    carries the epoch's cluster there: in a copy what MM2 has sent twice; in the cluster's own log,
    *behind* the epoch's end, records that it held when it died and that their producers have
    written again elsewhere. ``late`` maps them to the records behind the end that nobody has
    written again: they belong to the cluster's next epoch.
    """

    epoch: Epoch
    ends: Mapping[ClusterAlias, Mapping[int, Offset]]
    skip: Mapping[ClusterAlias, Mapping[int, Skip]] = field(default_factory=dict)
    late: Mapping[ClusterAlias, Mapping[int, Skip]] = field(default_factory=dict)


Spans = Mapping[ClusterAlias, Mapping[int, Skip]]
"""Offsets by cluster and partition."""


def tail_of(row: ClosedEpoch) -> tuple[int, int]:
    """Return how many records behind the end of an epoch at home are late, and written again.

    What was late and has been written again since stands in the row as both, and is not late.
    """
    home = row.epoch.cluster
    again, late = row.skip.get(home, {}), row.late.get(home, {})
    left = (without(spans, again.get(number, ())) for number, spans in late.items())
    return sum(map(size, left)), sum(map(size, again.values()))


def join_spans(one: Spans, other: Spans) -> dict[ClusterAlias, dict[int, Skip]]:
    """Return the union of what is skipped, or late, in the logs of an epoch."""
    return {
        cluster: {
            number: join(*(by[cluster].get(number, ()) for by in (one, other) if cluster in by))
            for number in sorted({*one.get(cluster, {}), *other.get(cluster, {})})
        }
        for cluster in {**one, **other}
    }


@dataclass(frozen=True, slots=True)
class Ledger:
    """Epochs of one logical topic, oldest first, the last one open.

    ``closed`` has an entry for each closed epoch in which the topic held records; an epoch
    without an entry was empty for this topic (the topic did not exist yet, say).
    """

    epochs: tuple[Epoch, ...]
    closed: Mapping[int, ClosedEpoch] = field(default_factory=dict)

    def end(self, counter: int, partition: int, cluster: ClusterAlias, start: Offset) -> Offset:
        """Return the end of a closed epoch on ``cluster``; an empty epoch ends at its start.

        Raises LedgerUnknownError when the ends on that cluster have not been written yet.
        """
        entry = self.closed.get(counter)
        if entry is None:
            return start
        if cluster not in entry.ends:
            raise LedgerUnknownError(f"epoch {counter} has no ends on {cluster} yet")
        return max(start, entry.ends[cluster].get(partition, start))

    def start(self, counter: int, partition: int, cluster: ClusterAlias) -> Offset:
        """Return where an epoch starts on ``cluster``: the end of its origin's epoch before it.

        Raises LedgerUnknownError when that is not written yet; its own end need not be.
        """
        home = next(epoch.cluster for epoch in self.epochs if epoch.counter == counter)
        begin: Offset = 0
        for epoch in self.epochs:
            if epoch.counter == counter:
                break
            if epoch.cluster == home:
                begin = self.end(epoch.counter, partition, cluster, begin)
        return begin

    def skipped(self, partition: int, cluster: ClusterAlias, origin: ClusterAlias) -> Skip:
        """Return the offsets that nobody is to read in an origin's log on a cluster."""
        rows = (entry for entry in self.closed.values() if entry.epoch.cluster == origin)
        return join(*(entry.skip.get(cluster, {}).get(partition, ()) for entry in rows))

    def behind(self, partition: int, home: ClusterAlias) -> Offset | None:
        """Return where a lost cluster's own log ended when it came back.

        That is the end of what was found behind its last closed epoch; None when nobody has looked.
        """
        rows = [row for row in self.closed.values() if row.epoch.cluster == home]
        if not rows or any(home not in row.ends for row in rows):
            return None
        last = max(rows, key=lambda row: row.epoch.counter)
        spans = [*last.skip.get(home, {}).get(partition, ())]
        spans += last.late.get(home, {}).get(partition, ())
        end = last.ends[home].get(partition, self.start(last.epoch.counter, partition, home))
        return max([end, *(stop for _, stop in spans)])

    def late(self, partition: int, cluster: ClusterAlias, origin: ClusterAlias) -> Skip:
        """Return the offsets of late records in an origin's log on a cluster."""
        rows = (entry for entry in self.closed.values() if entry.epoch.cluster == origin)
        return join(*(entry.late.get(cluster, {}).get(partition, ()) for entry in rows))

    def ranges(self, partition: int, cluster: ClusterAlias) -> Iterator["Range"]:
        """Yield each epoch's range on ``cluster``, in the order in which a group reads them."""
        start: dict[ClusterAlias, Offset] = {}
        for epoch in self.epochs:
            begin = start.get(epoch.cluster, 0)
            if epoch is self.epochs[-1]:
                yield Range(epoch, begin, None)
                return
            end = self.end(epoch.counter, partition, cluster, begin)
            yield Range(epoch, begin, end)
            start[epoch.cluster] = end


@dataclass(frozen=True, slots=True)
class Range:
    """An epoch's records in one log: ``[start, end)``; the open epoch has no end."""

    epoch: Epoch
    start: Offset
    end: Offset | None


@dataclass(frozen=True, slots=True)
class Read:
    """What a group may read now: the log of ``origin`` from ``at``, up to ``end`` if closed.

    ``skip`` is what nobody is to read of the epoch's range.
    """

    epoch: Epoch
    origin: ClusterAlias
    at: Offset
    end: Offset | None
    skip: Skip = ()


def gate(ledger: Ledger, position: Position, partition: int) -> Read:
    """Return the first range that the group has not finished; what is skipped is finished.

    Raises LedgerUnknownError when an end that decides it is not written yet.
    """
    skips: dict[ClusterAlias, Skip] = {}
    for span in ledger.ranges(partition, position.cluster):
        origin = span.epoch.cluster
        if origin not in skips:
            skips[origin] = ledger.skipped(partition, position.cluster, origin)
        skip = skips[origin]
        at = past(skip, max(position.offsets.get(origin, 0), span.start))
        if span.end is None or at < span.end:
            return Read(span.epoch, origin, at, span.end, clip(skip, span.start, span.end))
    raise AssertionError("the last epoch of a ledger is open")  # pragma: no cover


@dataclass(frozen=True, slots=True)
class Settled:
    """The ledger alone says where the position is on the other cluster."""

    offset: Offset


@dataclass(frozen=True, slots=True)
class NeedsAlignment:
    """The position lies inside a range: the same record must be found in the other log.

    ``source`` and ``target`` are the range's bounds in the two logs; None is the log's end.
    ``skips`` are what nobody is to read in them: no record there is the one that is looked for.
    """

    position: Offset
    source: tuple[Offset, Offset | None]
    target: tuple[Offset, Offset | None]
    skips: tuple[Skip, Skip] = ((), ())


def settle(
    ledger: Ledger,
    partition: int,
    *,
    origin: ClusterAlias,
    at: Offset,
    source: ClusterAlias,
    target: ClusterAlias,
) -> Settled | NeedsAlignment:
    """Say what the ledger knows of one origin's position when it moves from source to target.

    Raises LedgerUnknownError when an end on either cluster is not written yet.
    """
    there: Offset = 0
    begin: Offset = 0
    skips = (
        ledger.skipped(partition, source, origin),
        ledger.skipped(partition, target, origin),
    )
    aligned = _from_home if source == origin else NeedsAlignment
    pairs = zip(ledger.ranges(partition, source), ledger.ranges(partition, target), strict=True)
    for here, other in pairs:
        if here.epoch.cluster != origin:
            continue
        if here.end is not None and here.end <= here.start and here.start <= at:
            begin, there = here.end, other.end or 0  # empty there: whoever is there has passed it
            continue
        if at <= here.start:
            return Settled(other.start)
        if here.end is None or other.end is None:
            return aligned(at, (here.start, None), (other.start, None), skips)
        if at < here.end:
            return aligned(at, (here.start, here.end), (other.start, other.end), skips)
        begin, there = here.end, other.end
    if at == begin:
        return Settled(there)
    return aligned(at, (begin, None), (there, None), skips)


def _from_home(
    at: Offset,
    source: tuple[Offset, Offset | None],
    target: tuple[Offset, Offset | None],
    skips: tuple[Skip, Skip],
) -> NeedsAlignment:
    """Return what is to be aligned; what only its home skips stands in the copy like all else.

    Where the two logs have gaps of their own nobody could say by offsets where that is. What only a
    copy skips is what MM2 has sent twice.
    """
    ours, theirs = clip(skips[0], *source), clip(skips[1], *target)
    matched = size(theirs) >= size(ours)
    return NeedsAlignment(at, source, target, skips if matched else ((), skips[1]))


def settle_lost(
    ledger: Ledger,
    partition: int,
    *,
    origin: ClusterAlias,
    at: Offset,
    source: ClusterAlias,
    target: ClusterAlias,
) -> Settled | NeedsAlignment:
    """As `settle`, where the source was lost and so has no end for its last epoch.

    Raises LedgerUnknownError when an end on the target is not written yet.
    """
    begin: Offset = 0
    there: Offset = 0
    skips = (
        ledger.skipped(partition, source, origin),
        ledger.skipped(partition, target, origin),
    )
    for other in ledger.ranges(partition, target):
        if other.epoch.cluster != origin:
            continue
        row = ledger.closed.get(other.epoch.counter)
        known = other.end is not None and (row is None or source in row.ends)
        end = ledger.end(other.epoch.counter, partition, source, begin) if known else None
        if end is not None and end <= begin <= at:
            begin, there = end, other.end or 0  # empty there: whoever is there has passed it
            continue
        if at <= begin:
            return Settled(other.start)
        if end is None:
            return NeedsAlignment(at, (begin, None), (other.start, other.end), skips)
        if at < end:
            return NeedsAlignment(at, (begin, end), (other.start, other.end), skips)
        begin, there = end, other.end or 0
    if at <= begin:
        return Settled(there)
    return NeedsAlignment(at, (begin, None), (there, None), skips)


Align = Callable[[ClusterAlias, NeedsAlignment], Offset]
"""Finds the same record in the other log: (origin, task) to offset there."""


def move(
    ledger: Ledger,
    position: Position,
    partition: int,
    *,
    epoch: int,
    on: ClusterAlias,
    align: Align,
) -> Position:
    """Return the position on cluster ``on`` under the token of the epoch with that counter.

    Every origin moves alone; moving there and back is the identity at range bounds.
    """
    offsets: dict[ClusterAlias, Offset] = {}
    for origin, at in position.offsets.items():
        task = settle(ledger, partition, origin=origin, at=at, source=position.cluster, target=on)
        offsets[origin] = task.offset if isinstance(task, Settled) else align(origin, task)
    return Position(epoch, on, offsets)
