"""`failover active`: where to connect, for applications and scripts that are not wrapped."""

import typer

from failover.cli import invocation
from failover.cli.invocation import Form
from failover.cli.output import emit


def active(context: typer.Context) -> None:
    """Print which cluster is active and its address.

    With `-o properties` the output is a Java properties file.

    Examples: `failover active` · `failover -o properties active > kafka.properties`
    """
    from failover.cli import documents, guards  # noqa: PLC0415 - keeps --help fast

    call = invocation.of(context)
    settings = call.settings(properties=True)
    snapshot = call.snapshot(settings)
    guards.active(snapshot)
    document = documents.active(snapshot, settings)
    if call.form is Form.PROPERTIES:
        for key in ("active", "epoch", "bootstrap.servers"):
            typer.echo(f"{key}={document[key]}")
        return
    emit(call.form, document, lambda: f"{document['active']}  {document['bootstrap.servers']}")
