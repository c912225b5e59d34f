"""The orchestrator as a library: init, plan, switch, resume, abort. It wires and delegates."""

import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from clientlib.protocol.errors import FailoverError
from clientlib.protocol.naming import DefaultReplicationPolicy, Naming
from clientlib.protocol.state import merge
from clientlib.settings import Settings
from failover.core import standing, stranded
from failover.core.estimate import PROVED, Outlook, estimate
from failover.core.findings import findings as find
from failover.core.fitness import Command
from failover.core.plan import Plan, make_plan
from failover.core.result import PATIENCE_S, Finding, Progress, RunResult, SwitchRequest
from failover.core.snapshot import Snapshot
from failover.core.unplanned import outlook, with_outlook
from failover.execution import PROBE_S, Context, Execution
from failover.initialise import Initialisation
from failover.io.clock import SystemClock
from failover.io.log_reader import KafkaLogReader
from failover.io.observe import Observer
from failover.io.ports import Ports
from failover.io.state_store import KafkaStateStore
from failover.io.switch_admin import KafkaSwitchAdmin
from failover.rejoin import Rejoining
from failover.settled import Seen, seen
from failover.survey import Survey

Observe = Callable[[frozenset[str]], Snapshot]
"""Observes all clusters but those that are given up."""
Preflight = Callable[[Snapshot, SwitchRequest], tuple[Finding, ...]]
MakeSurvey = Callable[[Naming, Ports], Callable[[Snapshot, SwitchRequest], Snapshot]]
"""Makes what looks at records before a request is judged; see `Survey`."""
OnProgress = Callable[[Progress], None]
NewId = Callable[[int], str]


def new_run_id(now_ms: int) -> str:
    """Return a run id that sorts by time."""
    stamp = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
    return f"{stamp}-{uuid.uuid4().hex[:6]}"


def connect(
    settings: Settings,
    scope: str = "default",
    *,
    store: KafkaStateStore | None = None,
    on_progress: OnProgress = lambda _: None,
    timeout_s: float = 5.0,
) -> "Orchestrator":
    """Return an orchestrator on real clusters; close it, or use it as a context manager.

    ``timeout_s`` bounds each question to one cluster. Connects when first used. ``store`` is one
    that was made before, of the same scope; it is closed with the orchestrator. Raises
    ConfigurationError for an unknown scope.
    """
    resources = ExitStack()
    if store is None:
        store = KafkaStateStore(settings, scope, timeout_s=timeout_s)
    resources.callback(store.close)
    reader = KafkaLogReader(settings, timeout_s=timeout_s)
    resources.callback(reader.close)
    observer = Observer(settings, scope, timeout_s=timeout_s)
    resources.callback(observer.close)
    return Orchestrator(
        settings,
        scope,
        Ports(store, KafkaSwitchAdmin(settings, timeout_s=timeout_s), reader, SystemClock()),
        observe=observer.snapshot,
        preflight=lambda snapshot, request: find(snapshot, settings, request),
        survey=Survey,
        on_progress=on_progress,
        resources=resources,
    )


class Orchestrator:
    """Switches one scope.

    ``observe``, ``survey`` and ``preflight`` are injected. ``on_progress`` hears when a step
    begins, advances or ends, from the thread that runs the command; it may be replaced at any time.
    ``resources`` are closed with the orchestrator.
    """

    def __init__(
        self,
        settings: Settings,
        scope: str,
        ports: Ports,
        *,
        observe: Observe,
        preflight: Preflight,
        survey: MakeSurvey | None = None,
        on_progress: OnProgress = lambda _: None,
        new_id: NewId = new_run_id,
        resources: ExitStack | None = None,
    ) -> None:
        self.settings = settings
        self.scope = settings.scope(scope)
        self.ports = ports
        self.on_progress = on_progress
        self.naming = Naming(DefaultReplicationPolicy(settings.separator), settings.origins)
        self._new_id = new_id
        self._resources = resources
        self._observe = observe
        self._preflight = preflight
        self._survey = survey(self.naming, ports) if survey is not None else _as_seen
        self._execution: Execution | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection. Nothing is written: an unfinished run stays unfinished."""
        if self._resources is not None:
            self._resources.close()

    def init(self, active: str, *, adopt: bool = False) -> RunResult:
        """Create the control topics on every cluster and write the first epoch; idempotent.

        ``adopt``: accept standbys whose own topics hold records already. Raises ConfigurationError
        for an unknown alias.
        """
        self.settings.cluster(active)
        request = SwitchRequest(scope=self.scope.name, to=active)
        return Initialisation(self.settings, self.scope, self.naming, self.ports).run(
            request, adopt=adopt
        )

    def plan(self, request: SwitchRequest) -> Plan:
        """Return what a switch would do, with every finding. Changes nothing.

        Of an unplanned one also whether the old side answers and what may be lost. Raises
        ConfigurationError for an unknown alias.
        """
        self.settings.cluster(request.to)
        gone = self._given_up(request)
        probes = [self.ports.admin.probe(alias, PROBE_S) for alias in gone]
        made = self._plan(request, gone)
        if not probes:
            return made
        answers = any(probe() for probe in probes)
        return with_outlook(made, request, self._outlook(made, request, answers=answers))

    def _outlook(self, made: Plan, request: SwitchRequest, *, answers: bool) -> Outlook:
        if made.declares:
            return Outlook(answers, PROVED, accepted=True)
        clients = self.ports.store.clients([request.to]).get(request.to, {})
        found = estimate(clients, self.ports.clock.now_ms(), made.others, made.heard_ms)
        return outlook(request, found, answers=answers)

    def _warm(self, request: SwitchRequest) -> Seen:
        """Ask what a run will ask, for the sake of the connections; the plan sees what fails."""
        found = Seen()
        if not request.to:
            return found  # to end a run that there is
        with suppress(FailoverError):
            snapshot = self._observe(self._given_up(request))
            found = seen(snapshot, request.to, self.ports.clock.now_ms())
            self.ports.store.clients([request.to])
            self.ports.admin.partitions(request.to)
            topics = [self.settings.control.state_topic]
            self.ports.reader.warm(request.to, topics, committed=True, many=True)
        return found

    def _plan_again(self, request: SwitchRequest) -> Plan:
        """Plan for a run, which asks by itself whether the old side answers."""
        return self._plan(request, self._given_up(request))

    def _plan(self, request: SwitchRequest, gone: frozenset[str]) -> Plan:
        snapshot = self._survey(self._observe(gone), request)
        findings = self._preflight(snapshot, request)
        if not any(finding.id == "wrong-cluster" for finding in findings):
            findings = (*findings, *_wrong_clusters(snapshot))
        return make_plan(snapshot, request, self.scope, self.naming, self.settings.flows, findings)

    def _given_up(self, request: SwitchRequest) -> frozenset[str]:
        """Return the clusters that an unplanned switch asks nothing of."""
        if not request.emergency:
            return frozenset()
        state = merge(self.ports.store.views([request.to]).values()).state
        lost = stranded.gone(state, request.to) if state is not None else ""
        return frozenset({lost} - {""})

    def switch(self, request: SwitchRequest) -> RunResult:
        """Make ``request.to`` active; see `RunResult` for how it can end.

        Raises ConfigurationError for an unknown alias.
        """
        return self.start("switch", request).run()

    def resume(self, run: str = "") -> RunResult:
        """Take up the unfinished run: undo it without intent, complete it with one."""
        return self.start("resume", self._for(run)).run()

    def abort(self, run: str = "") -> RunResult:
        """Undo the unfinished run, if it is not past the point of no return."""
        return self.start("abort", self._for(run)).run()

    def rejoin(self, cluster: str, wait_s: float = PATIENCE_S) -> RunResult:
        """Bring a cluster that was given up back as a standby; see `Rejoining`.

        ``wait_s``: for how long it may not answer yet. Raises ConfigurationError for an unknown
        alias.
        """
        self.settings.cluster(cluster)
        request = SwitchRequest(scope=self.scope.name, to=cluster, timeout_s=wait_s)
        aliases = self.settings.aliases
        return Rejoining(aliases, self.scope, self.naming, self.ports).run(request)

    def start(self, command: Command, request: SwitchRequest) -> Execution:
        """Return a command as turns, not begun yet."""
        if command == "switch":
            self.settings.cluster(request.to)
        context = Context(
            settings=self.settings,
            naming=self.naming,
            ports=self.ports,
            warm=self._warm,
            plan=self._plan_again,
            progress=self._tell,
            new_id=self._new_id,
        )
        self._execution = Execution(context, command, request)
        return self._execution

    def interrupt(self) -> None:
        """Ask the running command to stop; safe to call from a signal handler."""
        if self._execution is not None:
            self._execution.interrupt()

    def _tell(self, progress: Progress) -> None:
        self.on_progress(progress)

    def _for(self, run: str) -> SwitchRequest:
        return SwitchRequest(scope=self.scope.name, to="", run=run)


def _as_seen(snapshot: Snapshot, _request: SwitchRequest) -> Snapshot:
    return snapshot


def _wrong_clusters(snapshot: Snapshot) -> tuple[Finding, ...]:
    """Return a finding for each cluster whose own id is not the one fixed at init."""
    state = snapshot.view.state
    fixed = state.clusters if state is not None else {}
    return tuple(
        standing.wrong_cluster(alias, cluster.cluster_id, fixed[alias])
        for alias, cluster in snapshot.clusters.items()
        if cluster.cluster_id and fixed.get(alias, cluster.cluster_id) != cluster.cluster_id
    )
