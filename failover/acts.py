"""What each phase of a run does through the ports: one act, one event. No loops, no sleeping.

Every act is idempotent: done again after a crash or an unknown outcome, it comes to the same.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from clientlib.protocol.clients import Client, Registration, Role
from clientlib.protocol.errors import RemoteError
from clientlib.protocol.naming import Naming
from clientlib.protocol.state import State, View, merge, merge_ledger
from clientlib.protocol.token import Token, decode
from clientlib.protocol.types import ClusterAlias, Offset, Partition
from clientlib.settings import Settings
from failover.copies import CopyWatch, Route
from failover.core import journal, publish
from failover.core.machine import (
    ClosedWithout,
    ClosingAcknowledged,
    CommitAcknowledged,
    CommitFound,
    CommitMissing,
    CopiesSettled,
    CopyHolds,
    EndsConfirmed,
    EndsGrew,
    EndsRead,
    Event,
    GroupsMoved,
    Growth,
    IntentAcknowledged,
    OutcomeUnknown,
    Pending,
    Prepared,
    ProducersQuiesced,
    Reopened,
    Run,
    RunPhase,
    Verified,
    WriteFailed,
)
from failover.core.plan import Creation
from failover.core.quiescence import quiescence, replayed_into, replaying
from failover.io.ports import Outcome, Ports, Record, Status
from failover.prepare import Preparation, with_owed
from failover.repeats import Repeats
from failover.settled import Seen, Stillness, held_open, settled_ends

Act = Callable[[Run], Event]
OTHERS_MS = 1_000
"""For how long a run waits, when all is done, for copies on clusters that took no part."""
STILL_MS = 300
"""For how long no copy may have grown before the mirror counts as quiet: it polls every 500 ms at
most, and a dead cluster gives it nothing to poll."""

_NEWS_MS = 86_400_000
"""So long ago a producer may have ended and still be told as gone."""


class Acts:
    """The acts of one run, in one process. What they remember only saves time.

    ``first``: where the target's logs ended before the lock was taken, as far as that is known.
    """

    def __init__(
        self, settings: Settings, scope: str, naming: Naming, ports: Ports, first: Seen
    ) -> None:
        self._naming = naming
        self._aliases = settings.aliases
        self._ports = ports
        self._store = ports.store
        self._admin = ports.admin
        self._preparation = Preparation(settings, scope, naming, ports)
        self._views: Mapping[ClusterAlias, View] = {}
        self._known = View()
        self._noted = self._told = False
        self._heard: set[ClusterAlias] = set()
        self._watch: CopyWatch | None = None
        self._repeats = Repeats(settings, naming, ports)
        self._stillness = Stillness(first)
        self._suspect: set[ClusterAlias] = set()
        self.table: Mapping[RunPhase, Act] = {
            RunPhase.PREPARING: self._prepare,
            RunPhase.CLOSING: self._close,
            RunPhase.SETTLING: self._settle,
            RunPhase.QUIESCING: self._quiesce,
            RunPhase.MEASURING: self._measure,
            RunPhase.COPYING: self._compare,
            RunPhase.CONFIRMING: self._confirm,
            RunPhase.INTENDING: self._intend,
            RunPhase.COMMITTING: self._commit,
            RunPhase.RESOLVING: self._resolve,
            RunPhase.MOVING: self._move,
            RunPhase.VERIFYING: self._verify,
            RunPhase.UNDOING: self._undo,
        }

    def knows(self, views: Mapping[ClusterAlias, View]) -> None:
        """Take what was read under the lock: nobody else writes it from now on."""
        self._views = views
        self._known = merge(views.values())

    def create(self, missing: Iterable[Creation]) -> None:
        """Create topics that a plan found missing: a standby joins only where they are."""
        self._preparation.create(missing)

    def presume_commit(self, run: Run) -> None:
        """Write a run's commit on the source: the target may hold it, and cannot be asked.

        Raises RemoteError when it cannot be written.
        """
        self._must(self._store.publish({run.source: self._commit_for(run, run.source)}))

    def declare(self, state: State, on: Iterable[ClusterAlias]) -> None:
        """Write a state that belongs to no run. Raises RemoteError when it cannot be written."""
        self._must(self._store.publish({alias: [(state.key(), state.value())] for alias in on}))

    @staticmethod
    def _must(outcomes: Mapping[ClusterAlias, Outcome]) -> None:
        for outcome in outcomes.values():
            if not outcome.done:
                raise RemoteError(outcome.why)

    def record(self, run: Run) -> None:
        """Write the journal entry for a run that has ended, with old runs' entries deleted.

        Where it says that the run is over, the state must say what came of it.
        """
        ended: list[Record] = [journal.entry(run), *journal.expired(self._known, run.scope)]
        entries = {
            alias: [*untold, *ended]
            for alias in run.sides
            if (untold := self._untold(run, alias)) is not None
        }
        outcomes = self._store.publish(entries)
        left = {alias for alias, outcome in outcomes.items() if not outcome.done}
        if left:  # an end that is not written would be taken up again for ever
            self._suspect |= left
            self._reacquire()
            again = sorted(left - self._suspect)
            self._store.publish({alias: entries[alias] for alias in again})

    def _untold(self, run: Run, alias: ClusterAlias) -> list[Record] | None:
        """Return the commit for a side that may not have heard of it; None if it is not known."""
        if not run.committed or alias == run.target or alias in self._heard:
            return []
        return self._commit_for(run, alias) if run.intent else None

    # -- before anything is closed ---------------------------------------------------------------

    def _prepare(self, run: Run) -> Event:
        if not self._noted:
            writes = {alias: [journal.entry(run)] for alias in run.sides}
            noted = self._event(self._store.publish(writes), Pending(()))
            if not isinstance(noted, Pending):
                return noted
            self._noted = True
            self._store.clients(self._reach(run))  # connected before writes close
        event = self._preparation.look(run, self._known, self._views)
        if isinstance(event, Prepared):
            self._look_ahead(replace(run, topics=event.topics, owed=event.owed))
        return event

    def _look_ahead(self, run: Run) -> None:
        """Look at the copies before anything waits for what is found there."""
        if not run.request.emergency:
            self._copy_watch(run).look_ahead()
            return
        ends, _ = self._still_since(run)
        self._repeats.look(run, with_owed(self._known, run), ends)

    # -- closed: every millisecond counts --------------------------------------------------------

    def _close(self, run: Run) -> Event:
        outcomes = self._both(run, publish.closing(run))
        if run.request.emergency:
            self._close_old_side(run)
            return self._event(outcomes, ClosedWithout())
        return self._event(outcomes, ClosingAcknowledged())

    def _close_old_side(self, run: Run) -> None:
        """Try to stop whoever reaches only the old side, if it is said to live; once."""
        if run.request.old_side_alive:
            self._tell_old_side(run, self._records(run, publish.closing(run)))

    def _tell_old_side(self, run: Run, records: list[Record]) -> None:
        """Write on the cluster that is given up, if it takes it; nobody relies on that."""
        acquired = self._store.acquire([run.source])
        if acquired[run.source].done:
            self._store.publish({run.source: records})

    def _settle(self, run: Run) -> Event:
        """Wait until no copy grows any more; what comes later is late."""
        ends, since_ms = self._still_since(run)
        still_ms = self._ports.clock.now_ms() - since_ms
        self._repeats.look(run, with_owed(self._known, run), ends)
        if still_ms < STILL_MS:
            return Pending((f"the copies on {run.target} have been still for {still_ms} ms",))
        copies = {self._copy_of(run, part): end for part, end in ends.items()}
        stable = self._admin.stable_ends(run.target, list(copies))
        late = sorted(copy for copy, end in copies.items() if stable[copy] < end)
        if late:
            return Pending(tuple(held_open(copy, stable[copy]) for copy in late))
        return CopiesSettled(ends, self._repeats.skips, self._repeats.warnings)

    def _still_since(self, run: Run) -> tuple[dict[Partition, Offset], int]:
        """Return where the copies end, and since when they have ended there."""
        parts = {self._copy_of(run, part): part for part in publish.partitions(run.topics)}
        found = self._admin.ends(run.target, list(parts))
        since_ms = self._stillness.since_ms(found, self._ports.clock.now_ms())
        return {parts[copy]: end for copy, end in found.items()}, since_ms

    def _copy_of(self, run: Run, part: Partition) -> Partition:
        name = self._naming.log_name(run.source, part.topic, run.target)
        return Partition(name, part.number)

    def _quiesce(self, run: Run) -> Event:
        found = self._store.clients(run.sides)
        unread = sorted(set(run.sides) - found.keys())
        if unread:
            return Pending(tuple(f"cluster {alias} cannot be read" for alias in unread))
        closing = publish.closing(run).order
        now_ms = self._ports.clock.now_ms()
        told = quiescence(found.values(), closing, now_ms, replayed_into(run.base))
        skipped = [c.id for c in told.writing if c.id in run.request.skip_clients]
        waiting = tuple(_described(c) for c in told.writing if c.id not in skipped)
        if waiting:
            return Pending(waiting)
        return ProducersQuiesced(
            tuple(f"producer {c.id}: registration expired, not waited for" for c in told.gone)
            + tuple(f"producer {name}: skipped as asked, not quiesced" for name in skipped)
        )

    def _measure(self, run: Run) -> Event:
        unknown = self._preparation.unprepared(run)
        if unknown:
            return EndsGrew(unknown)
        parts = publish.partitions(run.topics)
        ends, hanging = settled_ends(self._admin, run.source, parts)
        if hanging:
            return Pending(hanging)
        return EndsRead(dict(ends))

    def _compare(self, run: Run) -> Event:
        watch = self._watch or self._copy_watch(run)
        wrong = watch.too_short(run.ends)
        if wrong:
            return Pending(wrong)
        copies, missing = watch.look(run.ends)
        if not missing:
            return CopyHolds(copies, watch.skips)
        growth = () if run.request.tolerate_late else self._growth(run)
        return EndsGrew(growth) if growth else Pending(missing)

    def _confirm(self, run: Run) -> Event:
        growth = self._growth(run)
        if growth and not run.request.tolerate_late:
            return EndsGrew(growth)
        owed = self._preparation.stragglers(run, self._known)
        return EndsConfirmed(tuple(f"late: {_grown(g)}" for g in growth), owed)

    def _intend(self, run: Run) -> Event:
        """Write the intent. Only the old side must have it: the commit asks the new one anyway."""
        outcomes = self._both(run, publish.intent(run))
        return self._event({run.witness: outcomes[run.witness]}, IntentAcknowledged())

    def _commit(self, run: Run) -> Event:
        outcome = self._store.publish({run.target: self._commit_for(run, run.target)})[run.target]
        if not outcome.done:
            self._suspect.add(run.target)
        return self._event({run.target: outcome}, CommitAcknowledged())

    def _commit_for(self, run: Run, alias: ClusterAlias) -> list[Record]:
        """Return the commit with every ledger record that the cluster lacks."""
        ledger = publish.ledger_of(run, self._known)
        lacks = publish.lacking(run.scope, ledger, self._views.get(alias, View()))
        return self._records(run, publish.committed(run), lacks)

    def _resolve(self, run: Run) -> Event:
        view = self._settled(run.target)
        if view is None:
            return Pending((f"cluster {run.target} cannot be read",))
        return CommitFound() if publish.shows_commit(run, view) else CommitMissing()

    # -- after the commit ------------------------------------------------------------------------

    def _move(self, run: Run) -> Event:
        self._tell_others(run)
        try:
            missing = self._unmoved(run)
        except RemoteError as error:
            return Pending((str(error),))
        return Pending(missing) if missing else GroupsMoved()

    def _verify(self, run: Run) -> Event:
        if run.request.emergency:
            return self._replays(run)
        try:
            growth = self._growth(run) if run.ends else ()
        except RemoteError as error:
            return Verified((f"the old side could not be looked at: {error}",))
        return self._with_others(run, Verified(tuple(f"late: {_grown(g)}" for g in growth)))

    def _with_others(self, run: Run, verified: Verified) -> Event:
        """Tell clusters that took no part where the closed epochs end there; soon, or not now."""
        missing: list[str] = []
        others = [a for a in self._reach(run) if a not in {run.source, run.target}]
        for alias in others:
            try:
                missing += [f"{alias}: {what}" for what in self._catch_up(run, alias)]
            except RemoteError as error:
                missing.append(f"{alias}: {error}")
        waited_ms = self._ports.clock.now_ms() - run.times.get(RunPhase.VERIFYING.value, 0)
        if missing and waited_ms < OTHERS_MS:
            return Pending(tuple(missing))
        told = tuple(f"{what}: not known yet where older epochs end there" for what in missing)
        return replace(verified, warnings=(*verified.warnings, *told))

    def _catch_up(self, run: Run, alias: ClusterAlias) -> tuple[str, ...]:
        """Write the ends that a cluster lacks of closed epochs; return what it does not hold."""
        views = self._store.views(self._reach(run))
        if alias not in views:
            return ("does not answer",)
        known = merge(views.values())
        found, missing = self._preparation.catch_up(run, known, alias, views)
        rows = {topic: {row.epoch.counter: row for row in rows} for topic, rows in found.items()}
        ledger = merge_ledger(known.ledger, rows)
        lacks = {a: list(publish.lacking(run.scope, ledger, view)) for a, view in views.items()}
        if found:
            self._store.publish({a: records for a, records in lacks.items() if records})
        return missing

    def _undo(self, run: Run) -> Event:
        """Reopen the old side; with an intent only if the new side shows that nothing committed.

        The intent of an unplanned switch stands on the new side alone: nobody else can deny it.
        """
        if run.intent or run.request.emergency:
            view = self._settled(run.target)
            if view is None:
                return Pending((f"cluster {run.target} must be readable: an intent was written",))
            if publish.shows_commit(run, view):
                return CommitFound()
        self._reacquire()
        outcomes = self._both(run, publish.reopened(run))
        if not outcomes[run.witness].done:
            return Pending((outcomes[run.witness].why,))
        if run.request.emergency and run.request.old_side_alive:
            self._tell_old_side(run, self._records(run, publish.reopened(run)))
        return Reopened()

    def _replays(self, run: Run) -> Event:
        """Wait until every living producer has written again what the copies lack."""
        found = self._store.clients([run.target]).get(run.target)
        if found is None:
            return Pending((f"cluster {run.target} cannot be read",))
        now_ms = self._ports.clock.now_ms()
        waiting = replaying(found.values(), run.epoch.counter, now_ms)
        if waiting:
            return Pending(tuple(_described(client) for client in waiting))
        told = [m for m in self._store.manifests(run.target) if m.epoch == run.epoch.counter]
        producers = [r for r in found.values() if r.client.role is Role.PRODUCER]
        since_ms = run.times.get(RunPhase.CLOSING.value, now_ms) - _NEWS_MS
        gone = [r.client.id for r in producers if r.expired(now_ms) and r.renewed_ms > since_ms]
        warnings = tuple(
            f"producer {ident}: gone, what it wrote last is late or lost" for ident in gone
        )
        replayed, lost = sum(m.replayed for m in told), sum(m.lost for m in told)
        return self._with_others(run, Verified(warnings, replayed, lost))

    def _reach(self, run: Run) -> tuple[ClusterAlias, ...]:
        """Return the clusters that are asked for anything: not the one that is given up."""
        gone = run.source if run.request.emergency else ""
        return tuple(alias for alias in self._aliases if alias != gone)

    # -- helpers ---------------------------------------------------------------------------------

    def _both(self, run: Run, state: State) -> Mapping[ClusterAlias, Outcome]:
        records = self._records(run, state)
        outcomes = self._store.publish(dict.fromkeys(run.sides, records))
        self._suspect |= {a for a, o in outcomes.items() if o.status is not Status.DONE}
        return outcomes

    def _records(self, run: Run, state: State, more: Iterable[Record] = ()) -> list[Record]:
        return [*more, journal.entry(run), (state.key(), state.value())]

    def _event(self, outcomes: Mapping[ClusterAlias, Outcome], done: Event) -> Event:
        for outcome in outcomes.values():
            if outcome.status is Status.UNKNOWN:
                return OutcomeUnknown(outcome.why)
        for outcome in outcomes.values():
            if outcome.status is Status.FAILED:
                return WriteFailed(outcome.why)
        return done

    def _reacquire(self) -> None:
        """Make the writers usable again whose last write failed or has no known outcome."""
        if self._suspect:
            outcomes = self._store.acquire(sorted(self._suspect))
            self._suspect -= {alias for alias, outcome in outcomes.items() if outcome.done}

    def _settled(self, alias: ClusterAlias) -> View | None:
        """Return a cluster's view after settling whatever write may be under way there."""
        self._suspect.add(alias)
        self._reacquire()
        return None if alias in self._suspect else self._store.views([alias]).get(alias)

    def _growth(self, run: Run) -> tuple[Growth, ...]:
        now = self._admin.ends(run.source, list(run.ends))
        return tuple(
            Growth(part.topic, part.number, end, now[part])
            for part, end in sorted(run.ends.items())
            if now[part] > end
        )

    def _copy_watch(self, run: Run) -> CopyWatch:
        known = with_owed(self._known, run)
        here = publish.starts(run.base, run.topics, known, run.source)
        there = publish.starts(run.base, run.topics, known, run.target)
        starts = {part: (here[part], there[part]) for part in here}
        route = Route(run.source, run.source, run.target)
        ports = self._ports
        self._watch = CopyWatch(
            ports.admin,
            ports.reader,
            self._naming,
            route,
            starts,
            closed=run.request.tolerate_late,  # then the copy goes on behind the range
        )
        return self._watch

    def _tell_others(self, run: Run) -> None:
        """Bring every readable cluster up to date, as far as it still lacks something."""
        if not self._told and (run.ends or run.copies):
            self._told = True
            others = [alias for alias in self._views if alias != run.target]
            told = self._store.publish({alias: self._commit_for(run, alias) for alias in others})
            self._heard |= {alias for alias, outcome in told.items() if outcome.done}
            if run.request.emergency and run.request.old_side_alive:
                self._tell_old_side(run, self._commit_for(run, run.source))
            return
        views = self._store.views(self._reach(run))
        everything = merge(views.values())
        if everything.state is None:
            return
        writes = {}
        for alias, view in views.items():
            if publish.shows_commit(run, view):
                self._heard.add(alias)
            lacks = list(publish.lacking(run.scope, everything.ledger, view))
            if lacks or view.state is None or view.state.order < everything.state.order:
                writes[alias] = self._records(run, everything.state, lacks)
        if writes:
            self._store.publish(writes)

    def _unmoved(self, run: Run) -> tuple[str, ...]:
        now_ms = self._ports.clock.now_ms()
        wanted = _subscriptions(self._store.clients(self._reach(run)), now_ms)
        if not wanted:
            return ()
        commits = self._admin.commits(run.target, sorted(wanted))
        token = Token(run.epoch.counter, run.target)
        return tuple(
            f"group {group}: {topic}[{number}]"
            for group, topics in sorted(wanted.items())
            for topic in sorted(topics & run.topics.keys())
            for number in range(run.topics[topic])
            if not _carries(commits[group].get(Partition(topic, number)), token)
        )


def _described(client: Client) -> str:
    where = f" on {client.host} (pid {client.pid})" if client.host else ""
    return f"producer {client.id}{where}"


def _grown(growth: Growth) -> str:
    return f"{growth.topic}[{growth.partition}] grew from {growth.was} to {growth.now}"


def _subscriptions(
    clients: Mapping[ClusterAlias, Mapping[str, Registration]], now_ms: int
) -> dict[str, set[str]]:
    """Return the logical topics of every group with a living member, on whatever cluster."""
    wanted: dict[str, set[str]] = {}
    for by in clients.values():
        for registration in by.values():
            client = registration.client
            if client.role is Role.CONSUMER and not registration.expired(now_ms):
                wanted.setdefault(client.group, set()).update(client.topics)
    return wanted


def _carries(commit: object, token: Token) -> bool:
    return commit is not None and decode(getattr(commit, "metadata", "")).token == token
