"""`failover resume`: take up a run that was left unfinished."""

import typer

from failover.cli import invocation, options


def resume(context: typer.Context, run: options.RunId = "") -> None:
    """Finish an unfinished run: completed if its intent was written, else undone.

    Safe to repeat, from any machine.

    Example: `failover resume`
    """
    from failover.cli import perform  # noqa: PLC0415 - keeps --help fast

    call = invocation.of(context)
    settings = call.settings()
    with call.orchestrator(settings) as orchestrator:
        perform.perform(call, orchestrator, lambda: orchestrator.resume(run))
