"""`failover rejoin`: a cluster that was given up is brought up to date, and compared."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace

from clientlib.protocol.errors import FencedError, RemoteError, TimedOutError
from clientlib.protocol.ledger import ClosedEpoch, tail_of
from clientlib.protocol.naming import Naming
from clientlib.protocol.state import State, View, merge
from clientlib.protocol.types import ClusterAlias, Partition
from clientlib.settings import Scope
from failover.core import report, standing
from failover.core.plan import logical_topics
from failover.core.publish import lacking
from failover.core.quiescence import replayed_into, replaying
from failover.core.result import ExitCode, Finding, RunResult, SwitchRequest
from failover.io.ports import Ports, Record
from failover.replays import manifests_since
from failover.returned import Compared, Comparison, lost_epoch, outgrown, owing, written_again
from failover.settled import UnsettledError

_MARK_LIVES_S = 3.2
_LOOKS, _LOOK_PAUSE_S = 20, 0.5
_WRONG = {"diverged": "diverged", "wrong-cluster": "is another cluster"}
_WHEN_IT_HAS_ENDED = "wait until it has ended, then ask again"


def _tails(
    alias: ClusterAlias, state: State, ledger: Mapping[str, Mapping[int, ClosedEpoch]]
) -> tuple[int, int]:
    """Return the late records of a cluster's last epoch in all topics, and those written again."""
    counter = max((e.counter for e in state.epochs if e.cluster == alias), default=0)
    tails = [tail_of(rows[counter]) for rows in ledger.values() if counter in rows]
    return sum(late for late, _ in tails), sum(again for _, again in tails)


def _ask_again(request: SwitchRequest) -> str:
    return f"when that is done, `failover rejoin {request.to}` again"


class Rejoining:
    """Brings one cluster back into one scope. ``request.to`` names it."""

    def __init__(
        self, aliases: Iterable[ClusterAlias], scope: Scope, naming: Naming, ports: Ports
    ) -> None:
        self._aliases, self._scope = tuple(aliases), scope
        self._naming, self._ports = naming, ports

    def run(self, request: SwitchRequest) -> RunResult:
        """Compare, and write state and ledger wherever they are behind; idempotent."""
        try:
            return self._run(request)
        except FencedError as error:
            return report.refused(
                request, "locked", ExitCode.LOCKED, str(error), remedy=_WHEN_IT_HAS_ENDED
            )
        except UnsettledError as error:
            return report.refused(
                request, "incomplete", ExitCode.INCOMPLETE, str(error), remedy=_ask_again(request)
            )
        except RemoteError as error:
            return report.refused(
                request,
                "unreachable",
                ExitCode.UNREACHABLE,
                str(error),
                remedy=_ask_again(request),
            )

    def _run(self, request: SwitchRequest) -> RunResult:
        store = self._ports.store
        views = self._patiently(request.to, request.timeout_s)
        state = merge(views.values()).state
        stranger = self._stranger(request.to, views, state)
        if state is not None and stranger is not None:
            return self._told(request, state, (0, 0), (stranger,), changed=False)
        refusal = self._unfit(request, views, state)
        if refusal is not None or state is None:
            return refusal or report.refused(request, "refused", ExitCode.REFUSED, "no state")
        store.acquire(sorted(views))
        views = store.views()
        merged = merge(views.values())
        bad = tuple(self._shortened(request.to, state, merged))
        compared = {} if bad else self._compare_patiently(request.to, state, merged)
        ledger = {topic: dict(rows) for topic, rows in merged.ledger.items()}
        bad += tuple(text for one in compared.values() for text in one.diverged)
        for (topic, counter), one in compared.items():
            if not one.diverged:
                ledger.setdefault(topic, {})[counter] = one.row
        changed = self._publish(state, ledger, views)
        tails = _tails(request.to, state, ledger)
        what = "; ".join(bad[:3])
        found = (standing.diverged(f"cluster {request.to}", request.to, what),) if bad else ()
        return self._told(request, state, tails, found, changed=changed)

    def _patiently(self, alias: ClusterAlias, wait_s: float) -> Mapping[ClusterAlias, View]:
        """Read all states; a cluster that has just come back needs a moment to elect leaders.

        Where it alone answers and calls itself active, it is the others that may know better.
        """
        until_ms = self._ports.clock.now_ms() + wait_s * 1000
        views = self._ports.store.views()
        while (alias not in views or self._unheard(alias, views)) and (
            self._ports.clock.now_ms() < until_ms
        ):
            self._ports.clock.sleep(_LOOK_PAUSE_S)
            views = self._ports.store.views()
        return views

    def _unheard(
        self, alias: ClusterAlias, views: Mapping[ClusterAlias, View]
    ) -> tuple[ClusterAlias, ...]:
        """Return the silent clusters that may know of a later epoch than the one of ``alias``."""
        state = merge(views.values()).state
        if state is None or state.active != alias:
            return ()
        return tuple(other for other in self._aliases if other not in views)

    def _unfit(
        self, request: SwitchRequest, views: Mapping[ClusterAlias, View], state: State | None
    ) -> RunResult | None:
        if request.to not in views:
            message = f"{request.to} cannot be reached"
            remedy = f"`failover rejoin {request.to} --wait S` waits for it"
            return report.refused(
                request, "unreachable", ExitCode.UNREACHABLE, message, remedy=remedy
            )
        unheard = ", ".join(self._unheard(request.to, views))
        if unheard:
            message = (
                f"{request.to} calls itself active, and {unheard}, which may know of a later "
                "epoch, cannot be reached"
            )
            remedy = f"make {unheard} reachable from here, then ask again"
            return report.refused(
                request, "unreachable", ExitCode.UNREACHABLE, message, remedy=remedy
            )
        if state is None:
            message = f"scope {request.scope} has no state"
            return report.refused(
                request, "refused", ExitCode.REFUSED, message, remedy="failover init --active ALIAS"
            )
        if state.active == request.to:
            message = f"{request.to} is active; there is nothing to rejoin"
            return report.refused(request, "unchanged", ExitCode.OK, message, source=state.active)
        if self._locked(views):
            return report.refused(
                request, "locked", ExitCode.LOCKED, "a run is at work", remedy=_WHEN_IT_HAS_ENDED
            )
        return None

    def _stranger(
        self, alias: ClusterAlias, views: Mapping[ClusterAlias, View], state: State | None
    ) -> Finding | None:
        """Return what shows that the cluster is not the one that was initialised."""
        known = state.clusters.get(alias) if state is not None else None
        if known is None or alias not in views:
            return None
        ident = self._ports.admin.cluster_id(alias)
        if ident != known:
            return standing.wrong_cluster(alias, ident, known)
        if views[alias].state is None:
            what = "its state topic is gone or empty, and `failover init` had written it"
            return standing.diverged(f"cluster {alias}", alias, what)
        return None

    def _shortened(self, alias: ClusterAlias, state: State, merged: View) -> Iterator[str]:
        """Yield which logs of the cluster are shorter than the ledger has recorded."""
        admin = self._ports.admin
        listed, active = admin.partitions(alias), admin.partitions(state.active)
        rows = [
            (self._naming.log_name(row.epoch.cluster, topic, alias), row)
            for topic, by in merged.ledger.items()
            for row in by.values()
            if topic in active and self._scope.has_topic(topic)
        ]
        names = {name for name, _ in rows} & listed.keys()
        parts = [Partition(name, n) for name in sorted(names) for n in range(listed[name])]
        ends = admin.ends(alias, parts)
        for name, row in rows:
            known = {n: ends[Partition(name, n)] for n in range(listed.get(name, 0))}
            yield from standing.shortened(row, alias, name, known if name in names else None)

    def _locked(self, views: Mapping[ClusterAlias, View]) -> bool:
        marks = {alias: view.mark for alias, view in views.items() if view.mark is not None}
        if not marks:
            return False
        self._ports.clock.sleep(_MARK_LIVES_S)
        now = self._ports.store.views()
        return any(now[a].mark not in {mark, None} for a, mark in marks.items() if a in now)

    def _compare_patiently(
        self, alias: ClusterAlias, state: State, merged: View
    ) -> dict[tuple[str, int], Compared]:
        """Compare; whoever had a transaction open there needs a moment to abort it."""
        for _ in range(_LOOKS):
            with suppress(TimedOutError):
                return self._compare(alias, state, merged)
            self._ports.clock.sleep(_LOOK_PAUSE_S)
        return self._compare(alias, state, merged)

    def _compare(
        self, alias: ClusterAlias, state: State, merged: View
    ) -> dict[tuple[str, int], Compared]:
        self._require_replayed(state)
        admin = self._ports.admin
        listed = {a: admin.partitions(a) for a in (state.active, alias)}
        topics = logical_topics(listed, self._scope, self._naming, state.active)
        compare = Comparison(self._naming, self._ports, state, state.active)
        found: dict[tuple[str, int], Compared] = {}
        for topic, rows in merged.ledger.items():
            for home, counter in owing(state, rows):
                if home == alias and topic in topics and state.active in rows[counter].ends:
                    found[topic, counter] = compare.topic(topic, topics[topic], rows, counter)
        lost = lost_epoch(state, alias)
        if lost is not None:
            counter, grown = lost.counter, outgrown(admin, state, topics, merged.ledger, lost)
            told = manifests_since(self._ports.store, state, counter)
            again = written_again(told, merged.ledger, counter)
            for topic in sorted((grown | again) & topics.keys()):
                rows = merged.ledger[topic]
                found[topic, counter] = compare.topic(topic, topics[topic], rows, counter)
            here = listed[alias]
            own = {name: min(count, here[name]) for name, count in topics.items() if name in here}
            for topic, one in compare.uncopied(own, merged.ledger, lost):
                found[topic, counter] = one
        return found

    def _require_replayed(self, state: State) -> None:
        """Wait for the producers: what one has yet to write again would count as late for good.

        Raises UnsettledError.
        """
        if not replayed_into(state):
            return
        clients = self._ports.store.clients([state.active]).get(state.active, {})
        waiting = replaying(clients.values(), state.epoch.counter, self._ports.clock.now_ms())
        if waiting:
            told = ", ".join(client.id for client in waiting)
            raise UnsettledError(
                f"{state.active} does not have yet what {told} must write again: nothing can be "
                f"said of what {state.lost} holds behind the ledger's end"
            )

    def _publish(
        self,
        state: State,
        ledger: Mapping[str, Mapping[int, ClosedEpoch]],
        views: Mapping[ClusterAlias, View],
    ) -> bool:
        """Write to every readable cluster what it lacks; say whether any did."""
        writes: dict[ClusterAlias, list[Record]] = {}
        for alias, view in views.items():
            records: list[Record] = list(lacking(state.scope, ledger, view))
            if view.state is None or view.state.order < state.order:
                records.append((state.key(), state.value()))
            if records:
                writes[alias] = records
        outcomes = self._ports.store.publish(writes) if writes else {}
        failed = [outcome.why for outcome in outcomes.values() if not outcome.done]
        if failed:
            raise RemoteError("; ".join(failed))
        return bool(writes)

    def _told(
        self,
        request: SwitchRequest,
        state: State,
        tails: tuple[int, int],
        findings: tuple[Finding, ...],
        *,
        changed: bool,
    ) -> RunResult:
        late, replayed = tails
        message = (
            "; ".join(f"{request.to} {_WRONG[f.id]}: {f.what}" for f in findings)
            if findings
            else f"{request.to} agrees with the ledger; behind it: {late:,} late records, "
            f"{replayed:,} that were written again"
        )
        base = report.refused(
            replace(request, run=""),
            "refused" if findings else "rejoined" if changed else "unchanged",
            ExitCode.REFUSED if findings else ExitCode.OK,
            message,
            source=request.to,
            epoch=state.epoch.counter,
            findings=findings,
            remedy=findings[0].remedy if findings else "",
        )
        return replace(base, changed=changed, measured={"late": late, "replayed": replayed})
