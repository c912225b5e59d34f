"""`failover abort`: undo a run that was left unfinished."""

import typer

from failover.cli import invocation, options


def abort(context: typer.Context, run: options.RunId = "") -> None:
    """Undo an unfinished run: writes reopen on the old side.

    Refused with exit code 3 when the run is past its point of no return; `failover resume`
    completes it then.

    Example: `failover abort`
    """
    from failover.cli import perform  # noqa: PLC0415 - keeps --help fast

    call = invocation.of(context)
    settings = call.settings()
    with call.orchestrator(settings) as orchestrator:
        perform.perform(call, orchestrator, lambda: orchestrator.abort(run))
