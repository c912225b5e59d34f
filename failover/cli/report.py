"""`failover report`: what one run did and measured."""

import typer

from failover.cli import invocation, options
from failover.cli.output import emit


def report(context: typer.Context, run: options.RunId = "") -> None:
    """Show one run from the journal: steps, times, warnings.

    Examples: `failover report` · `failover -o json report 20260101T120000-ab12cd`
    """
    from failover.cli import documents, guards, render_run  # noqa: PLC0415 - keeps --help fast
    from failover.core.report import report as of_run  # noqa: PLC0415 - as above

    call = invocation.of(context)
    snapshot = call.snapshot(call.settings())
    guards.active(snapshot)
    ident = run or guards.newest_run(snapshot)
    result = of_run(snapshot.view, call.scope, ident)
    if result is None:
        guards.unknown_run(snapshot, ident)
    emit(call.form, documents.run(result), lambda: render_run.run(result))
