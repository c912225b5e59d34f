"""`failover init`: control topics on every cluster, and the first epoch. Idempotent."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from clientlib.protocol.errors import FencedError, RemoteError
from clientlib.protocol.naming import Naming
from clientlib.protocol.state import State, View, merge
from clientlib.protocol.types import ClusterAlias, Epoch, Partition
from clientlib.settings import Control, Scope, Settings
from failover.core import report
from failover.core.publish import lacking
from failover.core.result import ExitCode, Finding, RunResult, Severity, SwitchRequest
from failover.io.ports import NewTopic, Ports

_ATTEMPTS = 5
_PAUSE_S = 0.5
_COMPACTED = {"cleanup.policy": "compact"}


def control_topics(control: Control) -> dict[str, NewTopic]:
    """Return what every cluster needs: partitions and settings by topic name."""
    return {
        control.state_topic: NewTopic(control.state_partitions, _COMPACTED),
        control.clients_topic: NewTopic(
            1, {**_COMPACTED, "message.timestamp.type": "LogAppendTime"}
        ),
        control.progress_topic: NewTopic(
            # whoever needs a report reads them all, and only whole segments are deleted
            1,
            {"cleanup.policy": "delete", "retention.ms": "600000", "segment.ms": "60000"},
        ),
    }


class Initialisation:
    """Initialises one scope."""

    def __init__(self, settings: Settings, scope: Scope, naming: Naming, ports: Ports) -> None:
        self._settings = settings
        self._scope = scope
        self._naming = naming
        self._ports = ports

    def run(self, request: SwitchRequest, *, adopt: bool = False) -> RunResult:
        """Initialise with ``request.to`` active, or say why not; nothing is changed then.

        A cluster that was added later gets its control topics and the state. Raises
        ConfigurationError when the settings do not name a cluster that has been active.
        """
        admin = self._ports.admin
        try:
            ids, found = self._look(request, adopt=adopt)
        except RemoteError as error:
            return report.refused(request, "unreachable", ExitCode.UNREACHABLE, str(error))
        if found and self._known() is None:
            message = "; ".join(f"{f.subject}: {f.what}" for f in found)
            return report.refused(request, "refused", ExitCode.REFUSED, message, findings=found)
        for alias in ids:
            admin.create_topics(alias, control_topics(self._settings.control))
        try:
            return self._write_patiently(request, ids)
        except FencedError as error:
            return report.refused(request, "locked", ExitCode.LOCKED, str(error))

    def _look(
        self, request: SwitchRequest, *, adopt: bool
    ) -> tuple[dict[ClusterAlias, str], tuple[Finding, ...]]:
        """Return every cluster's id, and what stands in the way; a busy cluster is asked twice."""
        admin = self._ports.admin
        for last in (False, True):
            try:
                ids = {alias: admin.cluster_id(alias) for alias in self._settings.aliases}
                return ids, () if adopt else tuple(self._occupied(request.to))
            except RemoteError as error:
                if last or not error.retriable:
                    raise
                self._ports.clock.sleep(_PAUSE_S)
        raise AssertionError("unreachable")  # pragma: no cover - the last look returns or raises

    def _write_patiently(
        self, request: SwitchRequest, ids: Mapping[ClusterAlias, str]
    ) -> RunResult:
        """Write again what a cluster has not acknowledged: its control topics are new."""
        for _ in range(_ATTEMPTS - 1):
            result = self._write(request, ids)
            if result.exit_code is not ExitCode.INCOMPLETE:
                return result
            self._ports.clock.sleep(_PAUSE_S)
        return self._write(request, ids)

    def _write(self, request: SwitchRequest, ids: Mapping[ClusterAlias, str]) -> RunResult:
        """Write the state where it is missing, under the lock."""
        known = self._known()
        if known is not None:
            self._settings.named(known.activated)
            refusal = self._contradiction(request, known, ids)
            if refusal is not None:
                return refusal
        store = self._ports.store
        if not _behind(store.views(), ids):
            message = f"{known.active if known else ''} is active already; nothing to do"
            return report.refused(request, "unchanged", ExitCode.OK, message)
        store.acquire(sorted(ids))
        views = store.views()
        merged = merge(views.values())
        behind = _behind(views, ids)
        state = merged.state or State(request.scope, (Epoch(1, request.to),), 0)
        state = replace(state, clusters=ids)
        outcomes = store.publish(
            {
                alias: [
                    *lacking(request.scope, merged.ledger, views.get(alias, View())),
                    (state.key(), state.value()),
                ]
                for alias in behind
            }
        )
        return self._told(request, state, [o.why for o in outcomes.values() if not o.done])

    def _told(self, request: SwitchRequest, state: State, failed: list[str]) -> RunResult:
        return RunResult(
            run="",
            scope=request.scope,
            source=state.active,
            target=state.active,
            epoch=state.epoch.counter,
            changed=not failed,
            result="incomplete" if failed else "initialised",
            exit_code=ExitCode.INCOMPLETE if failed else ExitCode.OK,
            message="; ".join(failed) or f"{state.active} is active, epoch {state.epoch.counter}",
            remedy="run `failover init` again" if failed else "",
        )

    def _known(self) -> State | None:
        return merge(self._ports.store.views().values()).state

    def _contradiction(
        self, request: SwitchRequest, known: State, ids: Mapping[ClusterAlias, str]
    ) -> RunResult | None:
        if known.active != request.to:
            message = f"scope {known.scope} is initialised, and {known.active} is active"
            return report.refused(
                request,
                "refused",
                ExitCode.REFUSED,
                message,
                remedy=f"`failover switch --to {request.to}` changes the active cluster",
            )
        wrong = [a for a, ident in ids.items() if known.clusters.get(a, ident) != ident]
        if wrong:
            message = f"{', '.join(wrong)}: not the cluster that was initialised (wrong-cluster)"
            return report.refused(request, "refused", ExitCode.REFUSED, message)
        return None

    def _occupied(self, active: ClusterAlias) -> Iterable[Finding]:
        """Yield a finding for each topic of a standby's own that already holds records."""
        admin = self._ports.admin
        for alias in self._settings.aliases:
            if alias == active:
                continue
            parts = [
                Partition(name, number)
                for name, count in admin.partitions(alias).items()
                if self._own(name, alias)
                for number in range(count)
            ]
            starts, ends = admin.starts(alias, parts), admin.ends(alias, parts)
            for topic in sorted({p.topic for p in parts if ends[p] > starts[p]}):
                yield Finding(
                    id="standby-not-empty",
                    severity=Severity.BLOCK,
                    subject=f"{topic} on {alias}",
                    what="the standby's own topic holds records",
                    reason=f"groups would read them after {topic} of {active}, as its second epoch",
                    remedy="delete the topic there, or accept it with --adopt",
                )

    def _own(self, name: str, alias: ClusterAlias) -> bool:
        return self._naming.origin_of(name, alias) == (alias, name) and self._scope.has_topic(name)


def _behind(views: Mapping[ClusterAlias, View], ids: Mapping[ClusterAlias, str]) -> list[str]:
    """Return the clusters that lack the newest state, or every cluster's id in it."""
    known = merge(views.values()).state
    return sorted(alias for alias in ids if not _has(views.get(alias), known, ids))


def _has(view: View | None, known: State | None, ids: Mapping[ClusterAlias, str]) -> bool:
    if view is None or view.state is None or known is None:
        return False
    return view.state.order >= known.order and dict(view.state.clusters) == dict(ids)
