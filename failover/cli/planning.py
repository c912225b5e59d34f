"""Makes a plan and shows it: as the answer (``plan``, ``--dry-run``) or before the question."""

from typing import Any

import typer

from clientlib.settings import Settings
from failover.cli import documents, guards, render_run
from failover.cli.errors import RefusedError
from failover.cli.invocation import Invocation
from failover.cli.output import console, emit
from failover.core import unplanned
from failover.core.findings import NEVER_IGNORED
from failover.core.plan import Plan
from failover.core.result import ExitCode, SwitchRequest
from failover.core.snapshot import Snapshot
from failover.engine import Orchestrator


def show(
    call: Invocation, settings: Settings, orchestrator: Orchestrator, request: SwitchRequest
) -> None:
    """Print the plan on stdout; ends with 3 or 8 when the switch would be refused."""
    snapshot, made = _plan(call, settings, orchestrator, request)
    groups = documents.groups(snapshot)
    emit(
        call.form,
        documents.plan(made, groups),
        lambda: render_run.plan(made, groups, request.timeout_s),
    )
    if made.refusals and not made.unchanged:
        raise typer.Exit(ExitCode.DATA_LOSS if made.only_loss else ExitCode.REFUSED)
    if made.unaccepted:
        raise typer.Exit(ExitCode.DATA_LOSS)


def preview(
    call: Invocation, settings: Settings, orchestrator: Orchestrator, request: SwitchRequest
) -> Plan:
    """Print the plan on stderr, for the person who will be asked."""
    snapshot, made = _plan(call, settings, orchestrator, request)
    groups: list[dict[str, Any]] = documents.groups(snapshot)
    console(stderr=True).print(render_run.plan(made, groups, request.timeout_s))
    return made


def refuse(made: Plan, request: SwitchRequest) -> None:
    """Raise RefusedError for blocking findings that stay, or loss that nobody has accepted."""
    if made.lasting:
        ids = dict.fromkeys(finding.id for finding in made.refusals)
        able = [ident for ident in ids if ident not in NEVER_IGNORED]
        despite = f", or go on despite it with --ignore {' --ignore '.join(able)}" if able else ""
        raise RefusedError(
            f"refused, nothing was changed: {', '.join(ids)}",
            f"do what the findings say{despite if len(able) == len(ids) else ''}",
            ExitCode.DATA_LOSS if made.only_loss else ExitCode.REFUSED,
        )
    if made.unaccepted is not None:
        told = unplanned.not_accepted(made.unaccepted)
        raise RefusedError(told, unplanned.remedy(request), ExitCode.DATA_LOSS)


def _plan(
    call: Invocation, settings: Settings, orchestrator: Orchestrator, request: SwitchRequest
) -> tuple[Snapshot, Plan]:
    snapshot = call.snapshot(settings)
    source = guards.active(snapshot)
    guards.needed(snapshot, *(() if request.emergency else (source,)), request.to)
    return snapshot, orchestrator.plan(request)
