"""A history: everything that producers and consumers saw in one run, ready for the checkers."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import NamedTuple, TypeVar

from failover.checkers.events import (
    TAGS,
    Aborted,
    Acked,
    ClusterLost,
    Committed,
    ConsumerCrashed,
    ConsumerStalled,
    ConsumerStarted,
    Delivered,
    EpochSeen,
    Event,
    Revoked,
    SendFailed,
    Sent,
)

_AT = itemgetter(-1)
_Write = TypeVar("_Write", Sent, Acked, SendFailed)


class Log(NamedTuple):
    """A physical partition; ``cluster`` is None where the history does not tell."""

    cluster: str | None
    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class Reading:
    """Who got what: derived once, used by most checkers.

    ``firsts`` maps (group, producer) to the first delivery of each sequence number, in order of
    delivery; ``progress`` holds the same first deliveries of all groups in order of time;
    ``repeats`` pairs every further delivery with the one before it.
    """

    firsts: dict[tuple[str, str], dict[int, Delivered]]
    progress: tuple[Delivered, ...]
    repeats: tuple[tuple[Delivered, Delivered], ...]


@dataclass(frozen=True)
class History:
    """Events by type, each in order of time. Build it with ``History.of``.

    Without slots, because derived views are computed once and kept on the instance.
    """

    sent: tuple[Sent, ...] = ()
    acked: tuple[Acked, ...] = ()
    failed: tuple[SendFailed, ...] = ()
    aborted: tuple[Aborted, ...] = ()
    delivered: tuple[Delivered, ...] = ()
    committed: tuple[Committed, ...] = ()
    revoked: tuple[Revoked, ...] = ()
    broken: tuple[ConsumerStarted | ConsumerCrashed | ConsumerStalled, ...] = ()
    epochs: tuple[EpochSeen, ...] = ()
    clusters_lost: tuple[ClusterLost, ...] = ()

    @classmethod
    def of(cls, events: Iterable[Event]) -> "History":
        """Sort events by time; of two at the same instant the earlier in ``events`` stays first.

        So the events of one process must come in the order in which it wrote them.
        """
        by_type: dict[type[Event], list[Event]] = {kind: [] for kind in TAGS}
        for event in events:
            by_type[type(event)].append(event)
        broken = [
            *by_type[ConsumerStarted],
            *by_type[ConsumerCrashed],
            *by_type[ConsumerStalled],
        ]
        return cls(
            sent=_in_time(by_type[Sent]),  # type: ignore[arg-type]  # keyed by its own type
            acked=_in_time(by_type[Acked]),  # type: ignore[arg-type]  # as above
            failed=_in_time(by_type[SendFailed]),  # type: ignore[arg-type]  # as above
            aborted=_in_time(by_type[Aborted]),  # type: ignore[arg-type]  # as above
            delivered=_in_time(by_type[Delivered]),  # type: ignore[arg-type]  # as above
            committed=_in_time(by_type[Committed]),  # type: ignore[arg-type]  # as above
            revoked=_in_time(by_type[Revoked]),  # type: ignore[arg-type]  # as above
            broken=_in_time(broken),  # type: ignore[arg-type]  # as above
            epochs=_in_time(by_type[EpochSeen]),  # type: ignore[arg-type]  # as above
            clusters_lost=_in_time(by_type[ClusterLost]),  # type: ignore[arg-type]  # as above
        )

    @cached_property
    def sent_by(self) -> dict[str, dict[int, Sent]]:
        """The first Sent of each record, by producer and sequence number."""
        return _first_by_record(self.sent)

    @cached_property
    def acked_by(self) -> dict[str, dict[int, Acked]]:
        """The first Acked of each record, by producer and sequence number."""
        return _first_by_record(self.acked)

    @cached_property
    def failed_by(self) -> dict[str, dict[int, SendFailed]]:
        """The first SendFailed of each record, by producer and sequence number."""
        return _first_by_record(self.failed)

    @cached_property
    def reading(self) -> Reading:
        """First deliveries and repeats of every group."""
        firsts: defaultdict[tuple[str, str], dict[int, Delivered]] = defaultdict(dict)
        latest: dict[tuple[str, str, int], Delivered] = {}
        progress: list[Delivered] = []
        repeats: list[tuple[Delivered, Delivered]] = []
        for event in self.delivered:
            _, group, producer, seq, *_ = event
            first = firsts[group, producer].setdefault(seq, event)
            if first is event:
                progress.append(event)
                continue
            record = (group, producer, seq)
            repeats.append((latest.get(record, first), event))
            latest[record] = event
        return Reading(dict(firsts), tuple(progress), tuple(repeats))

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Every group that was given a record, by name."""
        return tuple(sorted({group for group, _ in self.reading.firsts}))

    def topic_of(self, event: Delivered) -> str:
        """Name the logical topic of a delivered record, else the physical one it came from."""
        sent = self.sent_by.get(event.producer, {}).get(event.seq)
        if sent is not None:
            return sent.topic
        acked = self.acked_by.get(event.producer, {}).get(event.seq)
        return event.topic if acked is None else acked.topic

    def lost_between(self, cluster: str | None, since: float, until: float) -> float | None:
        """Return when a cluster was lost in this time, the first if it was lost more often."""
        found = (e.at for e in self.clusters_lost if e.cluster == cluster)
        return next((at for at in found if since <= at <= until), None)

    def left_at(self, cluster: str | None, since: float) -> float | None:
        """Return when clients first heard, from then on, that another cluster is active."""
        found = (e.at for e in self.epochs if e.cluster != cluster and e.at >= since)
        return min(found, default=None)

    def lost_before(self, cluster: str | None, until: float) -> bool:
        """Say whether a cluster had been lost by then."""
        return any(e.cluster == cluster and e.at <= until for e in self.clusters_lost)

    def stale(self, event: Delivered, since_s: float = 0.0, *, copies: bool = False) -> bool:
        """Say whether a record was read of a cluster that was lost and is not active again.

        ``since_s``: not active any more for so long. ``copies``: also of copies there.
        """
        if not self.clusters_lost:
            return False
        lost = [e.at for e in self.clusters_lost if e.cluster == event.cluster and e.at < event.at]
        if not lost or (event.topic != self.topic_of(event) and not copies):
            return False
        moments = {event.at, event.at - since_s}
        return all(self._active_at(at) not in {None, event.cluster} for at in moments)

    def _active_at(self, moment: float) -> str | None:
        known = (e for e in self.epochs if e.at <= moment)
        newest = max(known, key=lambda e: e.epoch, default=None)
        return newest.cluster if newest is not None else None

    def log_of(self, event: Delivered) -> Log:
        """Name the physical partition of a delivery.

        Where the application could not tell the cluster and the topic is the record's own, it is
        an origin log, and the acknowledgement says where that is. A copy stays unknown.
        """
        cluster = event.cluster
        if cluster is None:
            acked = self.acked_by.get(event.producer, {}).get(event.seq)
            if acked is not None and acked.topic == event.topic:
                cluster = acked.cluster
        return Log(cluster, event.topic, event.partition)


def _in_time(events: list[Event]) -> tuple[Event, ...]:
    events.sort(key=_AT)
    return tuple(events)


def _first_by_record(events: Iterable[_Write]) -> dict[str, dict[int, _Write]]:
    found: defaultdict[str, dict[int, _Write]] = defaultdict(dict)
    for event in events:
        found[event.producer].setdefault(event.seq, event)
    return dict(found)
