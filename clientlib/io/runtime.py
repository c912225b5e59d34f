"""The consumer's shell: performs the session's commands on the members of all clusters.

One thread at a time may be inside. `Runtime.turn` is one step of the loop: take what has happened
(states, finished jobs, drained spans), let the session decide, perform. Nothing here decides about
positions; that is ``core.session``, ``core.duty`` and ``core.tracker``.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from confluent_kafka import OFFSET_END, OFFSET_INVALID, KafkaException, TopicPartition

from clientlib.core.next_span import Late
from clientlib.core.seat import (
    Align,
    Command,
    CommitVectors,
    HandOver,
    ReadCommits,
    ReadEvidence,
    Recover,
    ResolveReset,
    SeatKey,
    Start,
    Stop,
)
from clientlib.core.session import Session
from clientlib.core.tracker import Span
from clientlib.io.assignment import Assignment
from clientlib.io.commits import Commits, PhysicalKey, Track, plain
from clientlib.io.fetched import Fetched, ResetPolicy
from clientlib.io.patience import Direct
from clientlib.io.ports import (
    AlignDone,
    Callback,
    Clock,
    CommitsDone,
    EvidenceDone,
    JobDone,
    Jobs,
    MemberPort,
    Message,
    Publish,
    RecoverDone,
    ResetDone,
    Waiting,
    Watch,
)
from clientlib.protocol.clients import Seen
from clientlib.protocol.naming import Naming
from clientlib.protocol.progress import Progress
from clientlib.protocol.recover import Recovered
from clientlib.protocol.state import Phase
from clientlib.protocol.types import ClusterAlias, Partition

log = logging.getLogger("clientlib.consumer")

REPORT_S = 1.0
IDLE_SLICE_S = 0.02
BUSY_SLICE_S = 0.005
AWAKE_S = 1.0
_END_S = 5.0

_NOWHERE = ("", -1, Span("", "", 0, None))
"""Stands for the partition of the last record, which a lookup need not find again."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the runtime needs of the application's settings.

    ``classic``: of the group protocols the one where each member hears of its assignment, also of
    an empty one, and comes back as another member after its session has ended.
    """

    group: str
    incremental: bool = False
    classic: bool = True
    auto_commit: bool = True
    auto_commit_interval_s: float = 5.0
    auto_store: bool = True
    partition_eof: bool = False
    late: Late = Late.DELIVER


@dataclass(slots=True)
class Callbacks:
    """The application's callbacks; ``facade`` is the consumer object that it knows."""

    facade: Any = None
    on_assign: Callback | None = None
    on_revoke: Callback | None = None
    on_lost: Callback | None = None
    on_commit: Callable[[Any, list[Any]], None] | None = None
    late: Callable[[Any, Message], bool] | None = None


def _warn(key: SeatKey, found: Mapping[ClusterAlias, tuple[Recovered, int]] | None) -> None:
    for origin, (one, _) in (found or {}).items():
        if one.again:
            log.warning(
                "%s: up to %d records of %s may come again (%s)", key, one.again, origin, one.by
            )


class Runtime:
    """One wrapped consumer: members on all clusters, one session, one application."""

    def __init__(
        self,
        options: Options,
        naming: Naming,
        members: Mapping[ClusterAlias, MemberPort],
        *,
        jobs: Jobs,
        watch: Watch,
        clock: Clock,
        reset: ResetPolicy,
        waiting: Waiting | None = None,
        renew: Callable[[ClusterAlias], None] = lambda _: None,
    ) -> None:
        self.options = options
        self.naming = naming
        self.members = members
        self.callbacks = Callbacks()
        self.session = Session(naming, members, options.late)
        self.attention = True
        self.tracks: dict[PhysicalKey, Track] = {}
        self._near = _NOWHERE
        self._commits = Commits(
            naming,
            members,
            self.session,
            self.tracks,
            waiting=waiting or Direct(),
            auto_commit=options.auto_commit,
            auto_store=options.auto_store,
        )
        self._busy, self._renew = (waiting or Direct()).busy, renew
        self._fetched = Fetched(
            self.tracks,
            members,
            partition_eof=options.partition_eof,
            reset=reset,
            wanted=self._wants,
            drained=self._drained_now,
        )
        self.assignment = Assignment(
            self.tracks, members, busy=self._busy, incremental=options.incremental
        )
        self.seen = Seen()
        self._jobs, self._watch, self._clock = jobs, watch, clock
        self._now, self._awake_until = clock.now, 0.0
        self._version = -1
        self._reading_under = self._last_word = 0
        self._next_report = 0.0
        self._closing = False
        self._fresh = False
        self._active: ClusterAlias | None = None
        self._drained: list[Partition] = []
        self.away: set[ClusterAlias] = set()
        """Where the member's session has ended and it is not back in the group yet."""
        self.deaf: dict[ClusterAlias, MemberPort] = {}
        """Members that do not hear their cluster any more; another thread says so."""
        self._raised: Exception | None = None
        self._unreturned: list[Message] = []
        self._next_commit = clock.now() + options.auto_commit_interval_s

    # -- the loop --------------------------------------------------------------------------

    @property
    def active(self) -> ClusterAlias | None:
        """The cluster that the application reads from; None while no state is known."""
        return self._active

    @property
    def member(self) -> MemberPort | None:
        """The group member on the active cluster."""
        return self.members[self._active] if self._active else None

    def poll(self, timeout: float = -1.0) -> Message | None:
        """Return the next record of the logical topics, as confluent-kafka's ``poll`` does."""
        # a process that was stopped must look at the state before it goes on delivering
        awake = not self.attention and self._now() < self._awake_until
        if awake and self._active is not None:
            message = self.members[self._active].poll(0)
            if message is not None and message.error() is None:
                topic, number, span = self._near
                if message.partition() == number and message.topic() == topic:
                    span.next = message.offset() + 1
                    span.memory.append(message)
                    return message
                track = self.tracks.get((message.topic(), message.partition()))
                if track is not None and track.span.plain:
                    track.span.next = message.offset() + 1
                    track.span.memory.append(message)
                    self._near = (message.topic(), message.partition(), track.span)
                    return message
            if message is not None:
                taken = self._fetched.take(message)
                if taken is not None:
                    return taken
        return self._poll_slowly(timeout)

    def _poll_slowly(self, timeout: float) -> Message | None:
        deadline = self._clock.now() + timeout if timeout >= 0 else float("inf")
        while True:
            self.turn()
            left = max(0.0, deadline - self._clock.now())
            member = self.member
            if member is None or not self._fresh:
                self._clock.sleep(min(left, BUSY_SLICE_S))
            else:
                asked = self._clock.now()
                message = member.poll(min(left, self._slice()))
                if message is not None and self._overslept(asked):
                    self._put_back(member, [message])
                elif message is not None:
                    taken = self._fetched.take(message)
                    if taken is not None:
                        return taken
            if self._clock.now() >= deadline:
                return None

    def consume(self, num_messages: int, timeout: float) -> list[Message]:
        """Return up to ``num_messages`` records, in slices so that a switch can get in between.

        The batch ends early where the application's callbacks must run, so that they never run
        between records that it has and records that it has not been given yet.
        """
        deadline = self._clock.now() + timeout if timeout >= 0 else float("inf")
        result = self._unreturned = []
        while len(result) < num_messages:
            if self.attention:
                if not result:
                    self.turn()
                elif self._pressing():
                    break
                else:
                    self._breathe()
            left = max(0.0, deadline - self._clock.now())
            member = self.member
            if member is None or not self._fresh:
                self._clock.sleep(min(left, BUSY_SLICE_S))
            else:
                asked = self._clock.now()
                batch = member.consume(num_messages - len(result), min(left, self._slice()))
                if self._overslept(asked):
                    self._put_back(member, batch)
                    batch = []
                self._fetched.take_all(batch, result)
                if not batch:
                    self.attention = True
            if self._clock.now() >= deadline:
                break
        self._unreturned = []
        self.attention = True
        return result

    def _pressing(self) -> bool:
        """Say whether something waits that must not happen in the middle of a batch."""
        moved = self._watch.version != self._version
        return moved or bool(self._drained) or not self.session.settled

    def _breathe(self) -> None:
        """Do what a long batch cannot put off, and nothing that runs callbacks or commits."""
        self.attention = False
        self._serve_standbys()
        fresh = self._active is not None and self._watch.fresh(self._active)
        self._fresh = fresh and self._watch.version == self._version and not self._stuck()

    def _stuck(self) -> bool:
        """Say whether the active member's handle is busy with a commit that nobody waits for."""
        return self._active is not None and self._busy(self._active)

    def _overslept(self, asked: float) -> bool:
        """Say whether this process was stopped inside a call: what it got may be another's now."""
        return self._clock.now() - asked > AWAKE_S

    def _put_back(self, member: MemberPort, messages: Iterable[Message]) -> None:
        """Have records fetched again, if they are still ours after a look at the state.

        And events: the end of a log is not told a second time unless something is read there.
        """
        self.attention = True
        first: dict[PhysicalKey, int] = {}
        for message in messages:
            key = (message.topic(), message.partition())
            if key in self.tracks:
                event = message.error() is not None
                first.setdefault(key, self.tracks[key].span.next if event else message.offset())
        for key, offset in first.items():
            member.seek(TopicPartition(*key, offset))

    def _slice(self) -> float:
        return BUSY_SLICE_S if self._closing or not self.session.settled else IDLE_SLICE_S

    def turn(self) -> None:
        """Let everything that has happened since the last turn take effect."""
        self.attention = False
        now = self._clock.now()
        # asked before the version: what was confirmed by now is in the view that is read next
        fresh = {alias for alias in self.members if self._watch.fresh(alias)}
        if self._watch.version != self._version:
            self._on_state(now)
        for done in self._jobs.collect():
            self._run(self._on_done(done, now))
        for cluster in tuple(self.deaf):
            self._replace(cluster)
        self.assignment.catch_up()
        if self._drained:
            noted, self._drained = set(self._drained), []
            tracks = tuple(self.tracks.values())  # a seek since then takes a drained span back
            drained = {t.seat.key.partition for t in tracks if t.span.drained} & noted
            self._run(self.session.on_drained(sorted(drained)))
        self._run(self.session.on_tick(now))
        self._serve_standbys()
        slept = self._overslept(now)  # inside a commit, say: what was asked above is long ago
        self._fresh = self._active in fresh and not slept and not self._stuck()
        self.attention = self.attention or slept
        self._awake_until = now + AWAKE_S if self._fresh else 0.0
        due = self.options.auto_commit and now >= self._next_commit
        if due:
            self._next_commit = now + self.options.auto_commit_interval_s
        self._commits.in_background(due=due)
        if self._fresh:
            self._report_all(now)
        self.raise_pending()

    def _on_state(self, now: float) -> None:
        self._version = self._watch.version
        view = self._watch.view()
        if view.state is None:
            return
        state = view.state
        self._closing = state.phase is not Phase.ACTIVE
        if self._active != state.active:
            log.info("group %s: active cluster is %s", self.options.group, state.active)
        # a cluster that was given up takes no commits; they travel with the hand-over
        self._commits.lost = state.lost
        given_up = state.lost is not None and state.epoch.counter > self._last_word
        if given_up and state.epoch.counter == self._reading_under:
            # the epoch began by plan, and its commits were still to come from there
            self._reading_under, self._active = state.epochs[-2]
        # the application finishes what it reads before the other cluster becomes its own
        self._run(self.session.on_state(view, now))
        if given_up:
            self._last_word = state.epoch.counter
            self._report(state.active, {}, handed_over=state.epoch.counter)
        self._active = state.active
        self.seen = Seen(state.epoch.counter, state.revision, state.run)
        self._reading_under = state.epoch.counter

    def _report(
        self,
        to: ClusterAlias,
        parts: Mapping[Partition, Progress],
        *,
        handed_over: int = 0,
        leaving: bool = False,
    ) -> None:
        """Tell another cluster what is read here."""
        under, cluster = self._reading_under, self._active or ""
        self._jobs.submit(Publish(to, under, cluster, dict(parts), handed_over, leaving))

    def _report_all(self, now: float) -> None:
        """Tell every standby once a second what is read, and what of it is committed."""
        if self._active is None or now < self._next_report:
            return
        parts = self.session.progress(self._active)
        if not parts or self._commits.lost == self._active:
            return
        self._next_report = now + REPORT_S
        for alias in self.members:
            if alias != self._active:
                self._report(alias, parts)

    def _report_given_up(self, cluster: ClusterAlias, gone: Iterable[Partition]) -> None:
        """Tell the standbys where partitions stand that go to another member.

        If the cluster dies before that one has read anything, nobody else can tell. Who has lost
        them tells too: it may have claimed them just before, and its word does not count any more.
        """
        if cluster != self._active or cluster == self._commits.lost:
            return
        known = self.session.progress(cluster)
        parts = {partition: known[partition] for partition in gone if partition in known}
        for alias in self.members:
            if parts and alias != cluster:
                self._report(alias, parts, leaving=True)

    def _on_done(self, done: JobDone, now: float) -> list[Command]:
        match done:
            case CommitsDone(cluster, ticket, vectors):
                return self.session.on_commits(cluster, ticket, vectors, now)
            case AlignDone(key, ticket, offsets, warnings):
                for warning in warnings:
                    log.warning("%s: %s", key, warning)
                return self.session.on_aligned(key, ticket, offsets, now)
            case ResetDone(key, ticket, offsets):
                return self.session.on_resolved(key, ticket, offsets, now)
            case EvidenceDone(key, ticket, evidence, why):
                if evidence is not None:
                    log.info("%s: position by %s", key, evidence.by)
                return self.session.on_evidence(key, ticket, evidence, why, now)
            case RecoverDone(key, ticket, found, stamped):
                _warn(key, found)
                return self.session.on_recovered(key, ticket, found, stamped=stamped, now=now)

    def _serve_standbys(self) -> None:
        """Let the members of the other clusters run their rebalances; they fetch nothing."""
        for alias, member in self.members.items():
            if alias != self._active and not self._busy(alias):
                member.poll(0)

    def _wants(self, message: Message) -> bool:
        """Ask the application whether it wants a late record."""
        ask = self.callbacks.late
        return ask is None or ask(self.callbacks.facade, message)

    def _drained_now(self, track: Track) -> None:
        self._drained.append(track.seat.key.partition)
        self.attention = True

    # -- commands --------------------------------------------------------------------------

    def _run(self, commands: Iterable[Command]) -> None:
        queue = deque(commands)
        if not queue:
            return
        while queue:
            queue.extend(self._perform(queue.popleft()))
        for cluster in self.members:
            self.assignment.apply(cluster)

    def _perform(self, command: Command) -> list[Command]:
        match command:
            case ReadCommits() | Align() | ResolveReset() | ReadEvidence() | Recover():
                self._jobs.submit(command)
            case HandOver(to, epoch, partition, progress):
                self._report(to, {partition: progress}, handed_over=epoch)
            case CommitVectors(cluster, positions):
                results = self._commits.commit_vectors(cluster, positions)
                return self.session.on_committed(cluster, results, self._clock.now())
            case Start(cluster, spans):
                self._start(cluster, spans)
            case Stop(cluster, spans, lost):
                self._stop(spans, lost=lost)
                return self.session.on_stopped(cluster, spans, self._clock.now())
        return []

    def _start(self, cluster: ClusterAlias, spans: Mapping[Partition, Span]) -> None:
        """Give physical partitions to the application."""
        self._next_report = 0.0  # who reads a partition now must be known before its cluster dies
        given = []
        for partition, span in spans.items():
            seat = self.session.seats[SeatKey(cluster, partition)]
            key = (span.topic, partition.number)
            self.tracks[key] = Track(seat, span, cluster)
            self._near = _NOWHERE
            self._commits.begin(seat)
            given.append(TopicPartition(*key))
        self._call(self.callbacks.on_assign, given)

    def _call(self, callback: Callback | None, partitions: list[TopicPartition]) -> None:
        """Run the application's callback; what it raises is raised when everything is whole."""
        if callback is None:
            return
        try:
            callback(self.callbacks.facade, partitions)
        except Exception as error:  # noqa: BLE001 - raised again by raise_pending
            self.raise_later(error)

    def raise_later(self, error: Exception) -> None:
        """Keep the first error of a callback until everything is whole."""
        self._raised = self._raised or error

    def raise_pending(self) -> None:
        """Raise what a callback of the application has raised, as confluent-kafka's poll does."""
        error, self._raised = self._raised, None
        if error is not None:
            raise error

    def sought(self, track: Track, offset: int) -> None:
        """Let the application read on from elsewhere; what nobody is to read may lie ahead."""
        track.span.seek(offset)
        self._near = _NOWHERE

    def asked(self, partitions: Iterable[TopicPartition]) -> None:
        """Let the application choose where to begin: ``assign`` inside its ``on_assign``."""
        ends = True
        for wanted in partitions:
            key = (wanted.topic, wanted.partition)
            track = self.tracks.get(key)
            if track is None or wanted.offset in {OFFSET_INVALID, track.span.next}:
                continue
            offset = wanted.offset
            if offset == OFFSET_END and ends:
                offset = self._end(track, wanted)
                ends = offset != OFFSET_END  # a silent cluster is not asked for each one
            self.sought(track, offset)
            if offset < 0:
                self.assignment.begin_at(key, offset, track.span)

    def _end(self, track: Track, part: TopicPartition) -> int:
        """Return where a log ends now: what is written later is not to be passed over."""
        try:
            return self.members[track.cluster].get_watermark_offsets(part, _END_S)[1]
        except KafkaException as error:
            log.warning("%s [%d]: its end is not known: %s", part.topic, part.partition, error)
            return OFFSET_END

    def _stop(self, spans: Mapping[Partition, Span], *, lost: bool) -> None:
        """Take physical partitions from the application, and commit what it stored."""
        keys = [(span.topic, partition.number) for partition, span in spans.items()]
        self._take_back(keys)
        callback = self.callbacks.on_revoke
        if lost:
            callback = self.callbacks.on_lost or callback
            for key in self.tracks.keys() & keys:
                self.tracks[key].lost = True
        self._call(callback, [TopicPartition(*key) for key in keys])
        if not lost:
            self._commits.at_revoke([self.tracks[key].seat for key in keys if key in self.tracks])
        for key in keys:
            self.tracks.pop(key, None)
            self._near = _NOWHERE
            self.assignment.forget(key)

    def _take_back(self, keys: Iterable[PhysicalKey]) -> None:
        """Records of a batch that the application never got do not count as delivered."""
        gone = set(keys)
        for message in reversed(self._unreturned):
            key = (message.topic(), message.partition())
            if key in gone and key in self.tracks:
                self.tracks[key].span.next = message.offset()
                self.tracks[key].span.drained = False
        self._unreturned[:] = [
            m for m in self._unreturned if (m.topic(), m.partition()) not in gone
        ]

    # -- the groups ------------------------------------------------------------------------

    def on_owned(self, cluster: ClusterAlias, partitions: Iterable[TopicPartition]) -> None:
        """Rebalance callback of a member: hold the partitions without fetching."""
        owned = [Partition(tp.topic, tp.partition) for tp in partitions]
        log.debug("group %s on %s: owns %s", self.options.group, cluster, owned)
        self.away.discard(cluster)
        with self.called_by(cluster):
            self._give_up_held(cluster, owned)
            self.assignment.hold(cluster)
            self._run(self.session.on_owned(cluster, owned, self._clock.now()))
        self.attention = True

    def _give_up_held(self, cluster: ClusterAlias, owned: list[Partition]) -> None:
        """Make up for a revoke that did not come before this assignment.

        librdkafka joins again without one where an assignment still waits for a poll, which takes
        effect all the same (``rd_kafka_cgrp_revoke_all_rejoin``). What stays ours is finished and
        committed by the new generation; what does not may be read by another member already.
        """
        held = {key.partition for key in self.session.seats if key.cluster == cluster}
        stays = [partition for partition in owned if partition in held]
        goes = [] if self.options.incremental else sorted(held.difference(owned))
        if stays or goes:
            log.info("group %s on %s: assigned anew without a revoke", self.options.group, cluster)
            self._give_up(cluster, stays, lost=False)
            self._give_up(cluster, goes, lost=True)

    def on_disowned(
        self, cluster: ClusterAlias, partitions: Iterable[TopicPartition], *, lost: bool
    ) -> None:
        """Rebalance callback of a member: the application finishes, then the partitions go."""
        gone = [Partition(tp.topic, tp.partition) for tp in partitions]
        log.debug("group %s on %s: loses %s", self.options.group, cluster, gone)
        if lost and self.options.classic:
            self.away.add(cluster)
        with self.called_by(cluster):
            self._give_up(cluster, gone, lost=lost)
            self.assignment.give_back(cluster)
        self.attention = True

    def _give_up(self, cluster: ClusterAlias, gone: list[Partition], *, lost: bool) -> None:
        """Let the application finish with partitions, and forget them."""
        for command in self.session.on_disowned(cluster, gone, lost=lost):
            if isinstance(command, Stop):
                self._stop(command.spans, lost=command.lost)
        self._report_given_up(cluster, gone)
        for partition in gone:
            self._commits.forget(SeatKey(cluster, partition))
        self.session.forget(cluster, gone)

    def _replace(self, cluster: ClusterAlias) -> None:
        """Go on with another member in place of a deaf one: what it owned is lost."""
        if self.deaf.pop(cluster) is not self.members[cluster]:
            return
        log.warning(
            "group %s: the member on %s had lost all brokers and is made anew",
            *(self.options.group, cluster),
        )
        held = [key.partition for key in self.session.seats if key.cluster == cluster]
        if self.options.classic:
            self.away.add(cluster)
        self._give_up(cluster, held, lost=True)
        self.assignment.lost(cluster)
        self._renew(cluster)

    # -- commits ---------------------------------------------------------------------------

    def commit(
        self, offsets: list[TopicPartition] | None, *, covering: bool, asynchronous: bool
    ) -> list[TopicPartition]:
        """Commit for the application; see `Commits.commit`."""
        return self._commits.commit(
            self._active, offsets, covering=covering, asynchronous=asynchronous
        )

    def store_offsets(self, offsets: Iterable[TopicPartition]) -> None:
        """Store offsets for the application; see `Commits.store_offsets`."""
        self._commits.store_offsets(self._active, offsets)

    def on_commit(
        self, cluster: ClusterAlias, error: Any, partitions: list[TopicPartition]
    ) -> None:
        """Take the result of an asynchronous commit of a member, and tell the application."""
        self._commits.on_result(error, partitions)
        if self.callbacks.on_commit is not None:
            with self.called_by(cluster):
                self.callbacks.on_commit(error, [plain(tp) for tp in partitions])

    @contextmanager
    def called_by(self, cluster: ClusterAlias) -> Iterator[None]:
        """Note in whose callback this thread is: no other one may use that handle meanwhile."""
        thread = self._commits.thread
        before, thread.inside = thread.inside, cluster
        try:
            yield
        finally:
            thread.inside = before

    @property
    def in_callback(self) -> bool:
        """Say whether this thread is in a callback of a member."""
        return self._commits.thread.inside is not None

    def leave(self) -> None:
        """Finish before closing: revoke everything, commit as at any revoke, own nothing."""
        if self.tracks:
            given = {t.seat.key.partition: t.span for t in self.tracks.values()}
            self._stop(given, lost=False)
            if self._active is not None:
                self._report_given_up(self._active, given)
        self.session.seats.clear()
