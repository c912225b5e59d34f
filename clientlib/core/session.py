"""The consumer's session: what a member does with each logical partition that it owns.

One *seat* per (cluster, logical partition) that the group gave to this member. A seat looks at the
group's commits, does its duty (``core.duty``) and, on the active cluster, reads by the gate::

    LOOKING --commits read--> duty --Read--------------------------> READING
       ^                       |----Retoken, Take, Reset--> COMMITTING --ok--^
       |                       |----Release--------------> COMMITTING --> RESTING
       |                       |----Recover--> RECOVERING --> COMMITTING
       |                       `----Wait--(look again)--.
       `------------------------------------------------'
    READING --drained--> READING (next span)      READING --epoch changed--> LOOKING or release

Events are methods, each returns the commands that the shell must perform, in order. No I/O, no
clock: ``now`` is passed in (seconds, monotonic).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from clientlib.core import duty as duties
from clientlib.core.duty import Vector
from clientlib.core.memory import Message, remembered
from clientlib.core.next_span import Late, Rules, next_span
from clientlib.core.seat import (
    Align,
    Command,
    CommitVectors,
    Evidence,
    HandOver,
    ReadCommits,
    ReadEvidence,
    Recover,
    ResolveReset,
    Seat,
    SeatKey,
    Stage,
    Start,
    Stop,
)
from clientlib.core.tracker import Span, Tracker
from clientlib.protocol import ledger as ledgers
from clientlib.protocol.errors import LedgerUnknownError
from clientlib.protocol.ledger import NeedsAlignment, Settled
from clientlib.protocol.naming import Naming
from clientlib.protocol.progress import Progress
from clientlib.protocol.recover import Memory, Recovered
from clientlib.protocol.state import Phase, View
from clientlib.protocol.types import ClusterAlias, Epoch, Offset, Partition, Position

REPORTED = 16
"""Records whose prints an ordinary report carries: enough to find the place again."""
HANDED_OVER = 1_000
"""Records whose prints a final report carries: what the dead cluster may have held alone."""


KEPT_S = 10.0
"""How long a member remembers what it has read of a partition that was taken from it."""


@dataclass(frozen=True, slots=True)
class _Left:
    """What was read last of a partition that the group has taken back, and how long it counts."""

    origin: ClusterAlias
    memory: Sequence[Message]
    until: float

    @property
    def reached(self) -> Offset:
        """The offset behind the last record that was read."""
        return self.memory[-1].offset() + 1 if self.memory else 0


@dataclass(slots=True)
class _Outstanding:
    ticket: int = 0
    done: bool = True


class Session:
    """All seats of one member, and the rules that move them."""

    def __init__(
        self, naming: Naming, aliases: Iterable[ClusterAlias], late: Late = Late.DELIVER
    ) -> None:
        self._naming, self._late = naming, late
        self._aliases = tuple(aliases)
        self._view = View()
        self._ticket = 0
        self._reads = {alias: _Outstanding() for alias in self._aliases}
        self._starting: list[Seat] = []
        self._losses: dict[int, ClusterAlias] = {}
        self._left: dict[SeatKey, _Left] = {}
        self._now = 0.0
        self.seats: dict[SeatKey, Seat] = {}

    # -- what the shell asks ---------------------------------------------------------------

    @property
    def epoch(self) -> Epoch | None:
        """The current epoch, None while no state is known."""
        return self._view.state.epoch if self._view.state else None

    def reading(self) -> dict[SeatKey, Seat]:
        """Return the seats that the application reads from."""
        return {key: seat for key, seat in self.seats.items() if seat.stage is Stage.READING}

    @property
    def settled(self) -> bool:
        """Say whether every seat reads or rests: nothing is on its way."""
        return all(seat.stage in {Stage.READING, Stage.RESTING} for seat in self.seats.values())

    def next_look(self) -> float | None:
        """Return when the next look at commits is due."""
        due = [seat.look_at for seat in self.seats.values() if seat.stage is Stage.LOOKING]
        return min(due, default=None)

    def log_name(self, origin: ClusterAlias, topic: str, cluster: ClusterAlias) -> str:
        """Return the physical topic that carries an origin's records on a cluster."""
        return self._naming.log_name(origin, topic, cluster)

    # -- events ----------------------------------------------------------------------------

    def on_state(self, view: View, now: float) -> list[Command]:
        """A state (or more of the ledger) was seen."""
        before, self._view = self.epoch, view
        if self.epoch is None:
            return []
        state, known = view.state, self._losses
        self._losses = duties.losses(state.epochs, state.unplanned) if state is not None else {}
        if before == self.epoch:
            given_up = self._losses.keys() - known.keys()
            return [*(self._on_given_up() if given_up else ()), *self._retry_ledger(now)]
        self._left.clear()
        commands = self._stop_all_reading()
        for seat in self.seats.values():
            if seat.stage is Stage.COMMITTING and seat.processed and seat.pending is not None:
                commands += self._finish_elsewhere(seat, seat.pending)
            elif seat.unsure and self._losses.get(self._counter) == seat.key.cluster:
                commands += self._hand_over_unsure(seat)
                seat.look(self._next_ticket())
            elif seat.stage is not Stage.READING:
                seat.look(self._next_ticket())
        return [*commands, *self._look(now)]

    def _on_given_up(self) -> list[Command]:
        """The cluster that a planned epoch left is gone since: nobody waits for its commits."""
        lost, commands = self._losses.get(self._counter), list[Command]()
        for seat in self.seats.values():
            if seat.key.cluster == lost and seat.tracker is not None and seat.pending is not None:
                commands += self._hand_over(seat, seat.pending.offsets)
            elif seat.key.cluster == lost:
                commands += self._hand_over_unsure(seat)
            if seat.stage not in {Stage.READING, Stage.COMMITTING} or seat.key.cluster == lost:
                seat.look(self._next_ticket())
        return commands

    def _finish_elsewhere(self, seat: Seat, processed: Position) -> list[Command]:
        """Take what was processed and is not committed yet into the new epoch."""
        if self._lost_since(seat.key.cluster, processed.epoch):
            handed = self._hand_over(seat, processed.offsets)
            seat.look(self._next_ticket())
            return handed
        seat.pending = replace(processed, epoch=self._counter)
        return []

    def _lost_since(self, cluster: ClusterAlias, epoch: int) -> bool:
        """Say whether a cluster was given up after this epoch: others may have gone on since."""
        return any(n > epoch and lost == cluster for n, lost in self._losses.items())

    def _hand_over_unsure(self, seat: Seat) -> list[Command]:
        """Report what was processed and perhaps committed on a cluster that cannot be asked now."""
        if seat.unsure is None:
            return []
        (position, seat.tracker), seat.unsure = seat.unsure, None
        return self._hand_over(seat, position.offsets)

    def _hand_over(self, seat: Seat, offsets: Mapping[ClusterAlias, Offset]) -> list[Command]:
        """Report what a lost cluster cannot tell, if the current epoch began with its loss."""
        epoch = self.epoch
        if epoch is None or self._losses.get(epoch.counter) != seat.key.cluster:
            return []
        span = seat.tracker.unfinished if seat.tracker is not None else None
        memory = Memory()
        if span is not None:
            memory = remembered(span.memory, None, HANDED_OVER, span.start)
        log = span.origin if span is not None else ""
        progress = Progress(dict(offsets), log, memory, seat.claim)
        return [HandOver(epoch.cluster, epoch.counter, seat.key.partition, progress)]

    def progress(self, cluster: ClusterAlias) -> dict[Partition, Progress]:
        """Return what is being read on a cluster, as a standby must know it."""
        found = {}
        for key, seat in self.reading().items():
            if key.cluster == cluster and seat.tracker is not None:
                span, offsets = seat.tracker.unfinished or _span(seat), seat.tracker.vector()
                memory = remembered(span.memory, offsets.get(span.origin), REPORTED)
                found[key.partition] = Progress(offsets, span.origin, memory, seat.claim)
        return found

    def on_owned(
        self, cluster: ClusterAlias, partitions: Iterable[Partition], now: float
    ) -> list[Command]:
        """The group of one cluster gave this member logical partitions."""
        for partition in partitions:
            key = SeatKey(cluster, partition)
            self.seats[key] = Seat(key)
            self.seats[key].look(self._next_ticket())
        return self._look(now)

    def on_disowned(
        self, cluster: ClusterAlias, partitions: Iterable[Partition], *, lost: bool
    ) -> list[Command]:
        """The group takes partitions back: stop what is read; forget them after ``disowned``."""
        spans = {}
        for partition in partitions:
            seat = self.seats.get(SeatKey(cluster, partition))
            if seat is not None and seat.stage is Stage.READING:
                spans[partition] = _span(seat)
        return [Stop(cluster, spans, lost)] if spans else []

    def forget(self, cluster: ClusterAlias, partitions: Iterable[Partition]) -> None:
        """Drop the seats of partitions that the group has taken back.

        What was read last is remembered for a while: a rebalance often gives them back, and if the
        cluster dies then, nobody else knows what its copy lacks.
        """
        for partition in partitions:
            seat = self.seats.pop(SeatKey(cluster, partition), None)
            span = seat.tracker.current if seat is not None and seat.tracker is not None else None
            if seat is not None and span is not None:
                until = self._now + KEPT_S
                self._left[seat.key] = _Left(span.origin, span.memory, until)

    def on_commits(
        self,
        cluster: ClusterAlias,
        ticket: int,
        vectors: Mapping[Partition, Vector] | None,
        now: float,
    ) -> list[Command]:
        """The commits of one cluster were read (None: it did not answer)."""
        read = self._reads[cluster]
        if ticket == read.ticket:
            read.done = True
        positions: dict[ClusterAlias, dict[Partition, Position]] = {}
        commands: list[Command] = []
        for seat in self.seats.values():
            if seat.stage is not Stage.LOOKING or ticket < seat.since:
                continue
            if vectors is None:
                seat.wait(f"{cluster} does not answer", now)
            elif seat.key.partition in vectors:
                seat.vectors[cluster] = vectors[seat.key.partition]
            own = cluster == seat.key.cluster and vectors is not None
            if not (own and self._commits_again(seat)):
                commands += self._decide(seat, now, first=own)
            self._collect(seat, positions)
        commands += [CommitVectors(on, by) for on, by in positions.items()]
        return [*commands, *self._start_ready(), *self._look(now)]

    def on_aligned(
        self, key: SeatKey, ticket: int, offsets: Mapping[ClusterAlias, Offset] | None, now: float
    ) -> list[Command]:
        """The aligner found the records (None: it could not, look again)."""
        seat = self.seats.get(key)
        if seat is None or seat.ticket != ticket or seat.stage is not Stage.ALIGNING:
            return []
        if offsets is None or seat.pending is None:
            return self._again(seat, "the records could not be aligned", now)
        known = {**seat.pending.offsets, **offsets}
        return self._commit(seat, replace(seat.pending, offsets=known))

    def on_evidence(
        self, key: SeatKey, ticket: int, evidence: Evidence | None, why: str, now: float
    ) -> list[Command]:
        """The reports on a lost cluster were read (None: somebody has yet to report)."""
        seat = self.seats.get(key)
        if seat is None or seat.ticket != ticket or seat.stage is not Stage.RECOVERING:
            return []
        if evidence is None or self.epoch is None:
            return self._again(seat, why, now)
        own = {o: c.offset for o, c in seat.vectors[key.cluster].commits.items()}
        floors = {
            o: max(own.get(o, 0), evidence.floors.get(o, 0)) for o in {*own, *evidence.floors}
        }
        if evidence.progress is not None:
            return self._recover(seat, evidence.progress, floors, now)
        if not floors:
            return self._reset(seat)
        here = _complete(seat.vectors[key.cluster], floors)
        return self._commit(seat, Position(self.epoch.counter, key.cluster, here))

    def _recover(
        self, seat: Seat, progress: Progress, floors: Mapping[ClusterAlias, Offset], now: float
    ) -> list[Command]:
        """Find the position of a lost cluster here: by the ledger, else by what was remembered."""
        epoch, (me, (topic, number)) = self.epoch, seat.key
        assert epoch is not None  # noqa: S101 - the caller has checked
        lost, book = self._losses[epoch.counter], self._view.of_topic(topic)

        def settle(origin: ClusterAlias, at: Offset) -> Settled | NeedsAlignment:
            return ledgers.settle_lost(book, number, origin=origin, at=at, source=lost, target=me)

        moved = self._moved(seat, progress.offsets, settle, now)
        if moved is None:
            return self._look(now)
        settled, tasks = moved
        here = _complete(seat.vectors[me], settled)
        seat.pending = Position(epoch.counter, me, here)
        if not tasks:
            return self._commit(seat, seat.pending)
        seat.stage, seat.ticket = Stage.ALIGNING, self._next_ticket()
        return [Recover(seat.key, tasks, progress.log, progress.memory, floors, seat.ticket)]

    def on_recovered(
        self,
        key: SeatKey,
        ticket: int,
        found: Mapping[ClusterAlias, tuple[Recovered, Offset]] | None,
        *,
        stamped: bool,
        now: float,
    ) -> list[Command]:
        """Positions of a lost cluster were found, with what they were there (None: not yet)."""
        seat = self.seats.get(key)
        if seat is None or seat.ticket != ticket or seat.stage is not Stage.ALIGNING:
            return []
        if found is None or seat.pending is None:
            return self._again(seat, "the records could not be found", now)
        offsets = {origin: one.offset for origin, (one, _) in found.items()}
        beyond = {origin: at for origin, (one, at) in found.items() if one.beyond}
        seat.ahead = Counter(print_ for one, _ in found.values() for print_ in one.ahead)
        seat.stamped = stamped
        known = {**seat.pending.offsets, **offsets}
        return self._commit(seat, replace(seat.pending, offsets=known, beyond=beyond))

    def on_resolved(
        self, key: SeatKey, ticket: int, offsets: Mapping[ClusterAlias, Offset] | None, now: float
    ) -> list[Command]:
        """``auto.offset.reset`` was resolved (None: the cluster did not answer)."""
        seat = self.seats.get(key)
        if seat is None or seat.ticket != ticket or seat.stage is not Stage.RESETTING:
            return []
        if offsets is None or self.epoch is None:
            return self._again(seat, "the logs' bounds could not be read", now)
        return self._commit(seat, Position(self.epoch.counter, key.cluster, offsets))

    def on_committed(
        self, cluster: ClusterAlias, results: Mapping[Partition, bool | None], now: float
    ) -> list[Command]:
        """Vectors were committed (True), refused (False), or nobody knows (None: look again)."""
        for partition, ok in results.items():
            seat = self.seats.get(SeatKey(cluster, partition))
            if seat is None or seat.stage is not Stage.COMMITTING:
                continue
            pending, epoch = seat.pending, self.epoch
            if epoch is not None and pending is not None and seat.processed and ok is False:
                # still its owner: what the application has processed is not given up
                seat.pending = replace(pending, epoch=epoch.counter)
                seat.wait("the commit was refused", now)
            elif not ok or pending is None or epoch is None or pending.epoch != epoch.counter:
                if ok is None and seat.processed and pending and seat.tracker:
                    seat.unsure = pending, seat.tracker
                self._look_again(seat, "the commit was refused", now)
            elif cluster != epoch.cluster:
                seat.stage, seat.processed = Stage.RESTING, False
            else:
                self._open(seat, pending, now)
        return [*self._start_ready(), *self._look(now)]

    def on_drained(self, partitions: Iterable[Partition]) -> list[Command]:
        """The application was given everything of the current spans: stop them, read the next."""
        commands: list[Command] = []
        for partition in partitions:
            for seat in self._of(partition):
                span = _span(seat)
                if seat.tracker is not None:
                    seat.tracker.drain()
                commands.append(Stop(seat.key.cluster, {partition: span}))
        return commands

    def on_stopped(
        self, cluster: ClusterAlias, partitions: Iterable[Partition], now: float
    ) -> list[Command]:
        """The application's ``on_revoke`` has run: read the next span, or commit the new token.

        On a cluster that is not active any more that commit releases the partition; on the active
        one (two switches were slept through) it is home still, and reads on from it.
        """
        releases: dict[Partition, Position] = {}
        commands: list[Command] = []
        for partition in partitions:
            seat = self.seats.get(SeatKey(cluster, partition))
            if seat is None or seat.tracker is None or seat.base is None or self.epoch is None:
                continue
            if seat.base.epoch == self.epoch.counter:
                self._next_span(seat)
            elif self._lost_since(cluster, seat.base.epoch):
                commands += self._hand_over(seat, seat.tracker.vector())
                seat.look(self._next_ticket())
            else:
                seat.stage, seat.processed, seat.looks = Stage.COMMITTING, True, 0
                vector, beyond = seat.tracker.vector(), seat.base.beyond
                seat.pending = Position(self.epoch.counter, cluster, vector, beyond)
                releases[partition] = seat.pending
        if releases:
            commands.append(CommitVectors(cluster, releases))
        return [*commands, *self._start_ready(), *self._look(now)]

    def on_tick(self, now: float) -> list[Command]:
        """Time has passed."""
        self._now = now
        if self._left:
            self._left = {key: left for key, left in self._left.items() if left.until > now}
        due: dict[ClusterAlias, dict[Partition, Position]] = {}
        for key, seat in self.seats.items():
            again = seat.stage is Stage.COMMITTING and seat.processed and seat.look_at <= now
            if again and seat.pending is not None:
                due.setdefault(key.cluster, {})[key.partition] = seat.pending
        return [*(CommitVectors(on, by) for on, by in due.items()), *self._look(now)]

    # -- rules -----------------------------------------------------------------------------

    @property
    def _counter(self) -> int:
        return self.epoch.counter if self.epoch is not None else 0

    def _next_ticket(self) -> int:
        self._ticket += 1
        return self._ticket

    def _of(self, partition: Partition) -> list[Seat]:
        return [s for s in self.reading().values() if s.key.partition == partition]

    def _stop_all_reading(self) -> list[Command]:
        by_cluster: dict[ClusterAlias, dict[Partition, Span]] = {}
        for key, seat in self.reading().items():
            by_cluster.setdefault(key.cluster, {})[key.partition] = _span(seat)
        return [Stop(cluster, spans) for cluster, spans in by_cluster.items()]

    def _retry_ledger(self, now: float) -> list[Command]:
        for seat in self.seats.values():
            if seat.stage is Stage.LOOKING:
                seat.look_at = min(seat.look_at, now)
        return self._look(now)

    def _wanted(self, seat: Seat) -> tuple[ClusterAlias, ...]:
        """Return the clusters whose commits this seat needs: its own first, the rest if unsure."""
        me = seat.key.cluster
        return tuple(a for a in self._aliases if a != me) if me in seat.vectors else (me,)

    def _look(self, now: float) -> list[Command]:
        """Ask for commits: one read per cluster at a time, for all seats that want it."""
        if self.epoch is None:
            return []
        wanted: dict[ClusterAlias, set[Partition]] = {}
        for seat in self.seats.values():
            if seat.stage is Stage.LOOKING and seat.look_at <= now:
                for cluster in self._wanted(seat):
                    wanted.setdefault(cluster, set()).add(seat.key.partition)
        commands: list[Command] = []
        for cluster, partitions in wanted.items():
            read = self._reads[cluster]
            if read.done:
                read.ticket, read.done = self._next_ticket(), False
                commands.append(ReadCommits(cluster, tuple(sorted(partitions)), read.ticket))
        return commands

    def _decide(self, seat: Seat, now: float, *, first: bool) -> list[Command]:
        """Do the seat's duty as far as it is known; ``first``: only its own commits are read."""
        if self._view.state is None:
            return []
        me, epochs = seat.key.cluster, self._view.state.epochs
        vectors = {alias: seat.vectors.get(alias) for alias in self._aliases}
        match duties.duty(me, epochs, vectors, self._view.state.unplanned):
            case duties.Read():
                self._open(seat, seat.vectors[me].position(), now)
            case duties.Retoken() | duties.Release():
                known = seat.vectors[me].position()
                offsets = _complete(seat.vectors[me], known.offsets)
                seat.pending = Position(epochs[-1].counter, me, offsets, known.beyond)
                seat.stage = Stage.COMMITTING
            case duties.Rest():
                seat.stage = Stage.RESTING
            case duties.Take(source):
                return self._take(seat, source, now)
            case duties.Recover(lost):
                seat.stage, seat.ticket = Stage.RECOVERING, self._next_ticket()
                reading, epoch = (one.counter for one in epochs[-2:])
                return [ReadEvidence(seat.key, lost, epoch, reading, seat.ticket, now)]
            case duties.Reset() if self._view.state.phase is Phase.ACTIVE:
                return self._reset(seat)
            case duties.Reset():  # it may be over elsewhere, and the group has begun there
                self._wait(seat, "a switch is under way", now, first=first)
            case duties.Wait(reason):
                self._wait(seat, reason, now, first=first)
        return []

    @staticmethod
    def _wait(seat: Seat, reason: str, now: float, *, first: bool) -> None:
        if first:
            seat.why, seat.look_at = reason, now  # the others are asked at once
        elif seat.key.cluster in seat.vectors:
            seat.wait(reason, now)

    def _take(self, seat: Seat, source: ClusterAlias, now: float) -> list[Command]:
        """Move the position that ``source`` has released, origin by origin."""
        assert self._view.state is not None  # noqa: S101 - the caller has checked
        me, (topic, number) = seat.key.cluster, seat.key.partition
        epoch, book = self._view.state.epoch, self._view.of_topic(topic)
        position = seat.vectors[source].position()

        def settle(origin: ClusterAlias, at: Offset) -> Settled | NeedsAlignment:
            return ledgers.settle(book, number, origin=origin, at=at, source=source, target=me)

        moved = self._moved(seat, position.offsets, settle, now)
        if moved is None:
            return []
        settled, tasks = moved
        beyond = dict(position.beyond)
        if source in self._losses.values() and position.offsets.get(source):
            # offsets of the copy cannot say what was read of a tail that is skipped there
            beyond[source] = position.offsets[source]
        if me in beyond and me in settled:  # what was read here before this cluster was lost
            back = book.behind(number, me)  # it may have come back without the end of its log
            settled[me] = max(settled[me], beyond[me] if back is None else min(beyond[me], back))
            if settled[me] >= beyond[me]:
                del beyond[me]
        here = _complete(seat.vectors[me], settled)
        seat.pending = Position(epoch.counter, me, here, beyond)
        if not tasks:
            seat.stage = Stage.COMMITTING
            return []
        seat.stage, seat.ticket = Stage.ALIGNING, self._next_ticket()
        return [Align(seat.key, source, tasks, seat.ticket)]

    def _moved(
        self,
        seat: Seat,
        offsets: Mapping[ClusterAlias, Offset],
        settle: Callable[[ClusterAlias, Offset], Settled | NeedsAlignment],
        now: float,
    ) -> tuple[dict[ClusterAlias, Offset], dict[ClusterAlias, NeedsAlignment]] | None:
        """Move a position origin by origin; None (and the seat waits) when something is missing.

        An origin that has no log where the position comes from has no commit there: what the
        ledger calls empty there is behind the position, and stays so.
        """
        me, topic = seat.key.cluster, seat.key.partition.topic
        offsets = {**dict.fromkeys(sorted(seat.vectors[me].logs), 0), **offsets}
        settled: dict[ClusterAlias, Offset] = {}
        tasks: dict[ClusterAlias, NeedsAlignment] = {}
        try:
            for origin, at in offsets.items():
                answer = settle(origin, at)
                if isinstance(answer, Settled):
                    settled[origin] = answer.offset
                else:
                    tasks[origin] = answer
        except LedgerUnknownError as error:
            self._wait_looking(seat, str(error), now)
            return None
        here = seat.vectors[me].logs
        absent = [o for o in (*tasks, *(o for o, at in settled.items() if at)) if o not in here]
        if absent:
            why = f"{me} has no copy of {topic} from {', '.join(absent)} yet"
            self._wait_looking(seat, why, now)
            return None
        return settled, tasks

    def _wait_looking(self, seat: Seat, why: str, now: float) -> None:
        if seat.stage is not Stage.LOOKING:
            looks = seat.looks
            seat.look(self._next_ticket())
            seat.looks = looks
        seat.wait(why, now)

    def _reset(self, seat: Seat) -> list[Command]:
        """Let ``auto.offset.reset`` decide, once, for all logs."""
        seat.stage, seat.ticket = Stage.RESETTING, self._next_ticket()
        origins = tuple(sorted(seat.vectors[seat.key.cluster].logs))
        return [ResolveReset(seat.key, origins, seat.ticket)]

    def _again(self, seat: Seat, why: str, now: float) -> list[Command]:
        self._look_again(seat, why, now)
        return self._look(now)

    def _look_again(self, seat: Seat, why: str, now: float) -> None:
        looks = seat.looks
        seat.look(self._next_ticket())
        seat.looks = looks
        seat.wait(why, now)

    def _commits_again(self, seat: Seat) -> bool:
        """Commit once more what was processed, if the commits show that it was not written.

        What they show is older: to release that would let others read again what was processed.
        """
        own, unsure = seat.vectors.get(seat.key.cluster), seat.unsure
        if own is None or unsure is None or self.epoch is None:
            return False
        seat.unsure = None
        if unsure[0].epoch != self.epoch.counter or own.token_epoch >= self.epoch.counter:
            return False
        (seat.pending, seat.tracker), seat.stage, seat.processed = unsure, Stage.COMMITTING, True
        return True

    def _commit(self, seat: Seat, position: Position) -> list[Command]:
        seat.stage, seat.pending = Stage.COMMITTING, position
        return [CommitVectors(seat.key.cluster, {seat.key.partition: position})]

    @staticmethod
    def _collect(seat: Seat, positions: dict[ClusterAlias, dict[Partition, Position]]) -> None:
        """Gather the commits that deciding has made due, so that one request carries them all."""
        if seat.stage is Stage.COMMITTING and seat.pending is not None:
            positions.setdefault(seat.key.cluster, {})[seat.key.partition] = seat.pending

    def _open(self, seat: Seat, position: Position, now: float) -> None:
        """Begin to read from a position that carries the current token."""
        seat.base, seat.tracker, seat.pending = position, Tracker(dict(position.offsets)), None
        seat.processed, seat.claim = False, self._next_ticket()
        try:
            self._next_span(seat)
        except LedgerUnknownError as error:
            seat.look(self._next_ticket())
            seat.wait(str(error), now)

    def _next_span(self, seat: Seat) -> None:
        """Add the next span by the gate."""
        rules = Rules(self._view, self._naming, self._losses, self._late)
        span, at = next_span(seat, rules)
        self._recall(seat.key, span, at)
        assert seat.tracker is not None  # noqa: S101 - set by _open
        seat.tracker.begin(span)
        seat.stage = Stage.READING
        self._starting.append(seat)

    def _recall(self, key: SeatKey, span: Span, at: Offset) -> None:
        """Remember what was read of the same log before the group took it away and gave it back.

        Not if another member has read on since: the records before ``at`` are those that it
        remembers, and its reports tell them.
        """
        left = self._left.pop(key, None)
        if left is not None and left.origin == span.origin and left.reached >= at:
            span.memory.extend(m for m in left.memory if m.offset() < span.start)

    def _start_ready(self) -> list[Command]:
        """Return one Start per cluster for the spans begun since the last call: add all at once."""
        by_cluster: dict[ClusterAlias, dict[Partition, Span]] = {}
        for seat in self._starting:
            if seat.stage is Stage.READING:
                by_cluster.setdefault(seat.key.cluster, {})[seat.key.partition] = _span(seat)
        self._starting.clear()
        return [Start(cluster, spans) for cluster, spans in by_cluster.items()]


def _complete(here: Vector, offsets: Mapping[ClusterAlias, Offset]) -> dict[ClusterAlias, Offset]:
    """Return a position for every log that exists on a cluster: one not started is at 0.

    So the whole vector carries the token, also in a log that appeared after the group began.
    """
    return {origin: offsets.get(origin, 0) for origin in sorted(here.logs)}


def _span(seat: Seat) -> Span:
    """Return what a reading seat reads."""
    if seat.tracker is None or seat.tracker.current is None:
        raise AssertionError(f"seat {seat.key} reads nothing")
    return seat.tracker.current
