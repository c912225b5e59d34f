"""`failover history`: the runs that the journal knows."""

from typing import Annotated

import typer

from failover.cli import invocation
from failover.cli.output import emit


def history(
    context: typer.Context,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")] = 20,
) -> None:
    """List the runs of this scope, newest first.

    Examples: `failover history` · `failover -o json history -n 1`
    """
    from failover.cli import documents, guards, render  # noqa: PLC0415 - keeps --help fast
    from failover.core.report import reports  # noqa: PLC0415 - as above

    call = invocation.of(context)
    snapshot = call.snapshot(call.settings())
    guards.active(snapshot)
    newest = tuple(reversed(reports(snapshot.view, call.scope)))[:limit]
    document = documents.history(call.scope, newest)
    emit(call.form, document, lambda: render.history(document))
