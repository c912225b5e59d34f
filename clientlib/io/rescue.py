"""A producer's memory of what it wrote, and what becomes of it when the cluster is given up.

`Rescuer.keep` takes each acknowledged record, as `Kept` or as a tuple of its first fields. Threads
of the producer call `gather` (often) and `confirm` (once a second). After an unplanned switch
`take` says what the copies lack, and the reports of what is written again come to `Replay`, until
its manifest can be written.
"""

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, NamedTuple

from clientlib.core.producer_session import Rescue
from clientlib.core.purged import in_order, in_turn
from clientlib.core.replay_buffer import Headers, Kept, Key, ReplayBuffer, missing
from clientlib.io.copies import CopyProbe
from clientlib.io.options import ClientOptions
from clientlib.io.outgoing import Report, ignore
from clientlib.protocol.errors import ClusterUnreachableError
from clientlib.protocol.replay import Manifest, header
from clientlib.protocol.state import View
from clientlib.protocol.types import ClusterAlias, Offset

_EVERYTHING = 1 << 62
_UNIT = attrgetter("unit")

log = logging.getLogger("clientlib.producer")


class Again(NamedTuple):
    """A record to be written again: to which partition, and with which headers.

    ``report`` is the application's, if it is still owed one. ``note`` is ours: it does not wait for
    the application to poll.
    """

    kept: Kept
    headers: Headers
    report: Report | None
    note: Report

    def tell(self, error: Any, message: Any) -> None:
        """Tell all who want to hear of it."""
        self.note(error, message)
        if self.report is not None:
            self.report(error, message)


class Copied(NamedTuple):
    """A record that was never acknowledged and yet is in the copy; ``offset``: in the lost log."""

    kept: Kept
    offset: Offset | None


class Taken(NamedTuple):
    """What an unplanned switch leaves a producer to do, in order."""

    again: list[Again]
    copied: list[Copied]


@dataclass(slots=True)
class Replay:
    """What is being written again after one unplanned switch, until all of it is reported."""

    epoch: int
    wanted: int = 0
    lost: int = 0
    ranges: dict[str, dict[int, tuple[Offset, Offset]]] = field(default_factory=dict)
    reported: int = 0
    failed: int = 0

    @property
    def done(self) -> bool:
        """Whether every record that is written again has been reported."""
        return self.reported + self.failed >= self.wanted

    def note(self, error: Any, message: Any) -> None:
        """Take the report of a record that was written again."""
        if error is not None:
            self.failed += 1
            log.error("a record could not be written again: %s", error)
            return
        self.reported += 1
        by, offset = self.ranges.setdefault(message.topic(), {}), message.offset()
        first, end = by.get(message.partition(), (offset, offset + 1))
        by[message.partition()] = min(first, offset), max(end, offset + 1)

    def manifest(self, client: str) -> Manifest:
        """Return what is told about it."""
        return Manifest(client, self.epoch, self.ranges, self.reported, self.lost + self.failed)


class Rescuer:
    """One producer's replay buffer on real clusters.

    That of a ``transactional`` producer keeps what was committed: a transaction's records count
    when `committed` says so, and go with `aborted`. `carry` keeps what was being committed.
    """

    def __init__(
        self,
        options: ClientOptions,
        seconds: float,
        most_bytes: int,
        *,
        transactional: bool = False,
    ) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._buffer = ReplayBuffer(seconds, most_bytes)
        self._probes: dict[tuple[ClusterAlias, ClusterAlias], CopyProbe] = {}
        self._warned = 0
        self._found: dict[Key, Offset] = {}
        self.source: ClusterAlias = ""
        """The cluster whose records are kept."""
        self._turns = 0
        self._transactional = transactional
        self._current: deque[Any] = deque()
        self.keep = (self._current if transactional else self._buffer.fresh).append
        self.carried = 0
        self._open: dict[tuple[ClusterAlias, ClusterAlias], dict[Key, Kept]] = {}
        self.returned: deque[Kept] = deque()
        self.replay: Replay | None = None

    @property
    def at_risk(self) -> int:
        """Acknowledged records that are held no more and not known to be replicated."""
        return self._buffer.at_risk

    def committed(self) -> None:
        """A transaction was committed: what was kept since the last one is to be replicated."""
        with self._lock:
            kept = tuple(self._current.popleft() for _ in range(len(self._current)))
            if kept:
                self._buffer.add(kept, time.monotonic())

    def aborted(self) -> None:
        """A transaction was aborted: nobody is ever to get its records."""
        self._current.clear()
        self.returned.clear()

    def carry(self) -> None:
        """The cluster was lost while it was asked to commit: its records are written again."""
        with self._lock:
            kept = tuple(self._current.popleft() for _ in range(len(self._current)))
            self.carried = self._buffer.add(kept, time.monotonic())

    def gather(self) -> None:
        """Take in the reports since the last call, and hold the bounds."""
        with self._lock:
            self._buffer.gather(time.monotonic())
        risk = self._buffer.at_risk
        if risk and not self._warned:
            log.warning(
                "%d acknowledged records are not known to be replicated and did not fit the replay "
                "buffer: raise failover.replay.ms or failover.replay.bytes", risk,
            )  # fmt: skip
        self._warned = risk

    def confirm(self, source: ClusterAlias) -> None:
        """Ask the standbys what they hold of this cluster's records; any one of them will do.

        The answers count a turn later: by then a state that was written before them is known. What
        a mirror copies behind the end of a lost epoch is late, and must be written again. A record
        that is not copied yet is asked for again: a mirror may always be a moment behind. Answers
        that come when another cluster is written to are nothing: its offsets are other ones.
        """
        with self._lock:
            turn = self._turns
            if source != self.source:
                return
            self._buffer.confirm(self._found)
            self._found = {}
        for standby in self._options.failover.aliases:
            if standby == source:
                continue
            with self._lock:
                probes = self._buffer.probes()
            if not probes:
                return
            try:
                found, still_open = self._asked(source, standby, probes)
            except ClusterUnreachableError as error:
                log.debug("%s cannot say what is replicated: %s", standby, error)
                continue
            with self._lock:
                if turn != self._turns:
                    return
                self._found |= found
                self._open[source, standby] = still_open

    def _asked(
        self, source: ClusterAlias, standby: ClusterAlias, newest: dict[Key, Kept]
    ) -> tuple[dict[Key, Offset], dict[Key, Kept]]:
        """Return the origin offsets up to which a standby has all, and what to ask for again."""
        probe = self._probe(source, standby)
        before = self._open.get((source, standby), {})
        found = probe.confirm(newest)
        older = {key: before[key] for key in newest if key in before and key not in found}
        found |= probe.confirm(older)
        return found, {key: older.get(key, one) for key, one in newest.items() if key not in found}

    def turn_to(self, cluster: ClusterAlias) -> None:
        """Keep this cluster's records from now on; the copies of the one before are complete.

        Or it was lost, and what they lack waits already.
        """
        with self._lock:
            self._begin_anew(cluster)
            self._buffer.clear()

    def _begin_anew(self, source: ClusterAlias) -> None:
        self.source = source
        self._turns += 1
        self._found, self._open = {}, {}

    def take(self, order: Rescue, view: View) -> Taken:
        """Return what the copies lack. Raises ClusterUnreachableError; nothing is lost by that."""
        with self._lock:
            self._begin_anew(order.to)
            self._buffer.gather(time.monotonic())
            kept = self._buffer.records()
        returned = [one._replace(unit=self.carried) for one in in_order(self.returned)]
        unsent = [one for one in returned if one.unsent]
        for one in returned:
            if not one.unsent:
                kept.setdefault(one.where, []).append(one)
        probe = self._probe(order.lost, order.to)
        again: list[Kept] = []
        copied: list[Copied] = []
        reached: dict[Key, Offset] = {}
        for key, records in kept.items():
            # it may have all of it itself, if it is back: late, and not to be written again
            end = _EVERYTHING if order.to == order.lost else _end(view, order, key)
            copy, tolerance = probe.tail(key, records, end)
            lacks, has = missing(records, copy, tolerance)
            again += lacks
            for one, at in has:
                if not one.acknowledged:
                    # transaction markers make the distance of the two logs uncertain
                    offset = None if self._transactional else probe.origin_offset(key, at)
                    copied.append(Copied(one, offset))
            reached[key] = _EVERYTHING if has else records[0].offset or 0
        with self._lock:
            lost = self._buffer.lost_before(reached)
            self._buffer.clear()
        self.returned.clear()
        self.replay = Replay(order.epoch, len(again), lost)
        again += unsent
        # stable: the order within a partition stays
        again = sorted(again, key=_UNIT) if self._transactional else in_turn(again)
        log.info(
            "%s was given up: %d records are written again to %s, %d were copied unacknowledged, "
            "%d are lost", order.lost, len(again), order.to, len(copied), lost,
        )  # fmt: skip
        epoch = _epoch_of(view, order)
        return Taken([self._again(one, order, epoch) for one in again], copied)

    def _again(self, one: Kept, order: Rescue, epoch: int) -> Again:
        if one.unsent:  # no log can hold it: it is not written again, but for the first time
            return Again(one, list(one.headers or ()), one.report, ignore)
        headers = [*(one.headers or ()), header(epoch, order.lost, one.origin_offset)]
        note = self.replay.note if self.replay is not None else ignore
        return Again(one, headers, None if one.acknowledged else one.report, note)

    def _probe(self, source: ClusterAlias, standby: ClusterAlias) -> CopyProbe:
        found = self._probes.get((source, standby))
        if found is None:
            failover = self._options.failover
            found = CopyProbe(failover.clusters, self._options.naming, source, standby)
            self._probes[source, standby] = found
        return found

    def close(self) -> None:
        """Close the connections."""
        for probe in self._probes.values():
            probe.close()


def _epoch_of(view: View, order: Rescue) -> int:
    """Return the counter of the epoch that ended with the loss."""
    epochs = view.state.epochs if view.state is not None else ()
    return max((e.counter for e in epochs if e.cluster == order.lost), default=0)


def _end(view: View, order: Rescue, key: Key) -> Offset:
    """Return where the lost epoch ends in the copy, by the ledger."""
    topic, number = key
    lost = _epoch_of(view, order)
    for span in view.of_topic(topic).ranges(number, order.to):
        if span.epoch.counter == lost and span.end is not None:
            return span.end
    return 0
