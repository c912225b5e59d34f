"""What a consumer commits: tokens, vectors, what is due, what was refused and is asked for again.

Positions are decided by ``core.session`` and ``core.tracker``; here they become requests to the
group member of one cluster, one request for all partitions at a time.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from threading import local
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from clientlib.core.seat import Seat, SeatKey, Stage
from clientlib.core.session import Session
from clientlib.core.tracker import Span, changed
from clientlib.io.ports import MemberPort, Waiting
from clientlib.protocol import token as tokens
from clientlib.protocol.naming import Naming
from clientlib.protocol.token import Token
from clientlib.protocol.types import ClusterAlias, Partition, Position

log = logging.getLogger("clientlib.consumer")

PhysicalKey = tuple[str, int]

_REFUSALS = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.STALE_MEMBER_EPOCH,
    }
)
"""The group's coordinator has looked at the commit and has not taken it."""

_OWN_S = 1.0
"""How long a commit of our own may hold up the application, which has not asked for it."""


@dataclass(slots=True)
class Track:
    """A physical partition that the application reads: its seat and span."""

    seat: Seat
    span: Span
    cluster: ClusterAlias
    lost: bool = False
    """Another member may read it already: what is committed of it now would set that one back."""


@dataclass(slots=True)
class _Sent:
    """What a seat's commits were last asked to be, and whether that must be asked again."""

    vector: dict[ClusterAlias, int] = field(default_factory=dict)
    dirty: bool = False


class _Thread(local):
    """The cluster in whose callback a thread is: only it may use that handle meanwhile."""

    inside: ClusterAlias | None = None


class Commits:
    """The commits of one consumer. ``tracks`` is shared with the runtime, which changes it."""

    def __init__(
        self,
        naming: Naming,
        members: Mapping[ClusterAlias, MemberPort],
        session: Session,
        tracks: Mapping[PhysicalKey, Track],
        *,
        waiting: Waiting,
        auto_commit: bool,
        auto_store: bool,
    ) -> None:
        self._naming, self._members, self._session = naming, members, session
        self._tracks, self._waiting = tracks, waiting
        self.thread = _Thread()
        self._auto_commit, self._auto_store = auto_commit, auto_store
        self._sent: dict[SeatKey, _Sent] = {}
        self.lost: ClusterAlias | None = None
        """The cluster that was given up: commits there are kept, and travel with the hand-over."""

    def begin(self, seat: Seat) -> None:
        """A seat reads a span: its first one begins from what the group has committed."""
        base = dict(seat.base.offsets) if seat.base else {}
        self._sent.setdefault(seat.key, _Sent(base))
        if seat.tracker is not None and len(seat.tracker.spans) == 1:
            self._sent[seat.key] = _Sent(base)

    def forget(self, key: SeatKey) -> None:
        """The group has taken the partition back."""
        self._sent.pop(key, None)

    def _tps(
        self,
        key: SeatKey,
        epoch: int,
        offsets: Mapping[ClusterAlias, int],
        beyond: Mapping[ClusterAlias, int],
    ) -> list[TopicPartition]:
        """Return the commit of some origins of one logical partition, with its token."""
        topic, number = key.partition
        token = Token(epoch, key.cluster)
        return [
            TopicPartition(
                self._naming.log_name(origin, topic, key.cluster),
                number,
                offset,
                tokens.encode(token, beyond=beyond.get(origin)),
            )
            for origin, offset in offsets.items()
        ]

    def commit_vectors(
        self, cluster: ClusterAlias, positions: Mapping[Partition, Position]
    ) -> dict[Partition, bool | None]:
        """Commit positions with their tokens, and wait.

        Says for each whether it was accepted (True), refused (False), or that nobody knows (None).
        """
        by_partition = {
            partition: self._tps(
                SeatKey(cluster, partition), position.epoch, position.offsets, position.beyond
            )
            for partition, position in positions.items()
        }
        request = [tp for tps in by_partition.values() for tp in tps]
        if not request:
            return dict.fromkeys(positions, True)
        try:
            answer = self._commit_now(cluster, request, _OWN_S)
        except KafkaException as error:
            log.info("commit on %s failed, trying again: %s", cluster, error)
            refused_it = error.args[0].code() in _REFUSALS
            return dict.fromkeys(positions, False if refused_it else None)
        bad = {(tp.topic, tp.partition) for tp in answer or [] if tp.error is not None}
        return {
            partition: not any((tp.topic, tp.partition) in bad for tp in tps)
            for partition, tps in by_partition.items()
        }

    def _due(self, seat: Seat) -> list[TopicPartition]:
        """Return what must be committed for a seat, and note it as asked for."""
        if seat.tracker is None or seat.base is None:
            return []
        sent, vector = self._sent.setdefault(seat.key, _Sent()), seat.tracker.vector()
        offsets = vector if sent.dirty else changed(sent.vector, vector)
        sent.vector, sent.dirty = vector, False
        base = seat.base
        kept = {o: at for o, at in base.beyond.items() if vector.get(o) == base.offsets.get(o)}
        return self._tps(seat.key, seat.base.epoch, offsets, kept)

    def _reading_seats(self) -> list[Seat]:
        return [track.seat for track in tuple(self._tracks.values()) if not track.lost]

    def in_background(self, *, due: bool) -> None:
        """Commit automatically, and again what a rebalance has refused while we still own it."""
        seats = [seat for seat in self._reading_seats() if due or self._is_dirty(seat)]
        if due:
            self._store(seats)
        self._send(seats, asynchronous=True)

    def _is_dirty(self, seat: Seat) -> bool:
        sent = self._sent.get(seat.key)
        return sent is not None and sent.dirty

    def _store(self, seats: Iterable[Seat]) -> None:
        for seat in seats:
            if seat.tracker is not None:
                if self._auto_store:
                    seat.tracker.store_delivered()
                seat.tracker.commit_stored()

    def at_revoke(self, seats: list[Seat]) -> None:
        """Commit at a revoke: what automatic commit would have, and what was refused before."""
        if self._auto_commit:
            self._store(seats)
        try:
            self._send(seats, asynchronous=False, within=_OWN_S)
        except KafkaException as error:
            log.info("last commit before a revoke failed: %s", error)

    def _send(
        self, seats: Iterable[Seat], *, asynchronous: bool, within: float | None = None
    ) -> list[TopicPartition]:
        """Send what is due for some seats, as soon as it can be: one request per cluster."""
        requests: dict[ClusterAlias, list[TopicPartition]] = {}
        chosen = list(seats)
        for seat in chosen:
            requests.setdefault(seat.key.cluster, []).extend(self._due(seat))
        done: list[TopicPartition] = []
        for cluster, request in requests.items():
            if request and cluster == self.lost:
                done += request
            elif request:
                try:
                    if not asynchronous:
                        self._commit_now(cluster, request, within)
                    elif self._waiting.busy(cluster):
                        self._again(seat for seat in chosen if seat.key.cluster == cluster)
                    else:
                        self._members[cluster].commit(offsets=request, asynchronous=True)
                except KafkaException:
                    self._again(chosen)
                    raise
                done += request
        return done

    def _commit_now(
        self, cluster: ClusterAlias, request: list[TopicPartition], within: float | None
    ) -> Any:
        member = self._members[cluster]
        if cluster == self.thread.inside:
            return self._waiting.commit_inside(cluster, member, request)
        return self._waiting.commit(cluster, member, request, within)

    def _again(self, seats: Iterable[Seat]) -> None:
        for seat in seats:
            self._sent.setdefault(seat.key, _Sent()).dirty = True

    def on_result(self, error: Any, partitions: list[TopicPartition]) -> None:
        """An asynchronous commit was answered: ask again for what was refused."""
        if error is not None or any(tp.error is not None for tp in partitions):
            names = {(tp.topic, tp.partition) for tp in partitions}
            self._again([seat for seat in self._reading_seats() if names & self._logs_of(seat)])
            log.info("commit refused, trying again if still owned: %s", error)

    def _logs_of(self, seat: Seat) -> set[PhysicalKey]:
        """Return the physical partitions whose commits make up a seat's vector."""
        topic, number = seat.key.partition
        vector = seat.tracker.vector() if seat.tracker is not None else {}
        return {(self._naming.log_name(o, topic, seat.key.cluster), number) for o in vector}

    def store_offsets(self, active: ClusterAlias | None, offsets: Iterable[TopicPartition]) -> None:
        """Store offsets for the next ``commit()``. Raises KafkaException for foreign ones."""
        for tp in offsets:
            seat = self._seat_of(active, tp)
            if seat is None or seat.tracker is None:
                raise KafkaException(KafkaError(KafkaError._STATE, f"{tp} is not assigned"))  # noqa: SLF001
            if not seat.tracker.store(tp.topic, tp.offset):
                raise refused(tp)

    def _seat_of(self, active: ClusterAlias | None, tp: TopicPartition) -> Seat | None:
        """Return the seat that reads the logical partition of a physical one."""
        track = self._tracks.get((tp.topic, tp.partition))
        if track is not None:
            return None if track.lost else track.seat
        found = self._naming.origin_of(tp.topic, active) if active else None
        if found is None or active is None:
            return None
        seat = self._session.seats.get(SeatKey(active, Partition(found[1], tp.partition)))
        # what was released belongs to somebody else already
        return seat if seat is not None and seat.stage is Stage.READING else None

    def commit(
        self,
        active: ClusterAlias | None,
        offsets: list[TopicPartition] | None,
        *,
        covering: bool,
        asynchronous: bool,
    ) -> list[TopicPartition]:
        """Commit stored offsets (None), or these; ``covering`` finishes earlier epochs too.

        Returns the commits that were sent, without tokens. Raises KafkaException: _NO_OFFSET when
        there is nothing to commit, ILLEGAL_GENERATION for a partition that this member has given
        up or an offset that it was never given.
        """
        if offsets is None:
            seats = self._reading_seats()
            if self._auto_store:
                for seat in seats:
                    if seat.tracker is not None:
                        seat.tracker.store_delivered()
            moved = [s for s in seats if s.tracker is not None and s.tracker.commit_stored()]
            if not moved and not any(self._is_dirty(s) for s in seats):
                if asynchronous:
                    return []
                raise KafkaException(KafkaError(KafkaError._NO_OFFSET))  # noqa: SLF001
            return [plain(tp) for tp in self._send(seats, asynchronous=asynchronous)]
        touched = {}
        for tp in offsets:
            owner = self._seat_of(active, tp)
            tracker = owner.tracker if owner is not None else None
            if owner is None or tracker is None:
                raise refused(tp)
            if not tracker.commit(tp.topic, tp.offset, covering=covering):
                raise refused(tp)
            touched[owner.key] = owner
        self._send(touched.values(), asynchronous=asynchronous)
        return [plain(tp) for tp in offsets]


def plain(tp: TopicPartition) -> TopicPartition:
    """Return a commit as the application knows it: without our token."""
    if tp.error is not None:
        return tp  # its error cannot be set on a copy
    user = tokens.decode(tp.metadata).user
    metadata = (user,) if user else ()  # confluent-kafka refuses None where it takes a str
    return TopicPartition(tp.topic, tp.partition, tp.offset, *metadata)


def refused(tp: TopicPartition) -> KafkaException:
    """Return the error of a stale member's commit."""
    reason = f"{tp.topic} [{tp.partition}] @ {tp.offset} is not this member's to commit any more"
    return KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION, reason))
