"""`failover preflight`: every check that a switch makes before it closes anything."""

import typer

from failover.cli import invocation, options
from failover.cli.output import emit
from failover.cli.switch import check
from failover.core.result import ExitCode, SwitchRequest


def preflight(
    context: typer.Context,
    to: options.To,
    *,
    expect_active: options.ExpectActive = "",
    skip_client: options.SkipClient = None,
    ignore: options.Ignore = None,
    emergency: options.Emergency = False,
    old_side_alive: options.OldSideAlive = False,
    allow_data_loss: options.AllowDataLoss = False,
    max_lost: options.MaxLost = None,
) -> None:
    """Check whether the scope could be switched now; changes nothing.

    With `--emergency` the checks are those of a switch without the active cluster; what may be
    lost by it is in `failover plan --emergency`.

    Ends with 0 when it could and with 3 when a finding would stop it.

    Examples: `failover preflight --to RIGHT` · `failover -o json preflight --to RIGHT`
    """
    from failover.cli import documents, guards, render  # noqa: PLC0415 - keeps --help fast

    call = invocation.of(context)
    settings = call.settings()
    target = guards.target(settings, to)
    request = SwitchRequest(
        scope=call.scope,
        to=target,
        expect_active=expect_active,
        skip_clients=tuple(skip_client or ()),
        ignore=tuple(ignore or ()),
        emergency=emergency,
        old_side_alive=old_side_alive,
        allow_data_loss=allow_data_loss,
        max_lost=max_lost,
    )
    check(request)
    snapshot = call.snapshot(settings)
    source = guards.active(snapshot)
    guards.needed(snapshot, *(() if emergency else (source,)), target)
    with call.orchestrator(settings) as orchestrator:
        found = orchestrator.plan(request).findings
    document = documents.preflight(call.scope, source, target, found, request.ignore)
    emit(call.form, document, lambda: render.preflight(document, found))
    if not document["ok"]:
        raise typer.Exit(ExitCode.REFUSED)
