"""`failover preflight`: every check that a planned switch makes before it closes anything."""

import typer

from failover.cli import invocation, options
from failover.cli.output import emit
from failover.core.result import ExitCode, SwitchRequest


def preflight(
    context: typer.Context,
    to: options.To,
    expect_active: options.ExpectActive = "",
    skip_client: options.SkipClient = None,
    ignore: options.Ignore = None,
) -> None:
    """Check whether the scope could be switched now; changes nothing.

    Ends with 0 when it could and with 3 when a finding would stop it.

    Examples: `failover preflight --to RIGHT` · `failover -o json preflight --to RIGHT`
    """
    from failover.cli import documents, guards, render  # noqa: PLC0415 - keeps --help fast
    from failover.core.findings import findings  # noqa: PLC0415 - as above

    call = invocation.of(context)
    settings = call.settings()
    target = guards.target(settings, to)
    snapshot = call.snapshot(settings)
    source = guards.active(snapshot)
    guards.needed(snapshot, source, target)
    request = SwitchRequest(
        scope=call.scope,
        to=target,
        expect_active=expect_active,
        skip_clients=tuple(skip_client or ()),
        ignore=tuple(ignore or ()),
    )
    found = findings(snapshot, settings, request)
    document = documents.preflight(call.scope, source, target, found, request.ignore)
    emit(call.form, document, lambda: render.preflight(document, found))
    if not document["ok"]:
        raise typer.Exit(ExitCode.REFUSED)
