"""`failover clients`: who is registered."""

import typer

from failover.cli import invocation
from failover.cli.output import emit


def clients(context: typer.Context) -> None:
    """Show the clients that are registered on the active cluster.

    When that does not answer, those of the clusters that do. Their ids are what
    `failover switch --skip-client` takes.

    Examples: `failover clients` · `failover -o json clients`
    """
    from failover.cli import documents, guards, render  # noqa: PLC0415 - keeps --help fast

    call = invocation.of(context)
    settings = call.settings()
    snapshot = call.snapshot(settings)
    active = guards.active(snapshot)
    known = documents.clients(snapshot)
    document = {
        "schema": 1,
        "scope": call.scope,
        "active": active,
        "registered_on": documents.registered_on(snapshot),
        "clients": known,
    }
    emit(call.form, document, lambda: render.clients(document))
