"""`failover init`: control topics on every cluster, and the first epoch."""

from typing import Annotated

import typer

from failover.cli import complete, invocation
from failover.cli.output import emit


def init(
    context: typer.Context,
    active: Annotated[
        str,
        typer.Option(
            "--active",
            help="Alias of the cluster that takes writes.",
            show_default=False,
            autocompletion=complete.clusters,
        ),
    ],
    *,
    print_: Annotated[
        bool, typer.Option("--print", help="Print the topics to create and change nothing.")
    ] = False,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Accept a standby whose own topics hold records.")
    ] = False,
) -> None:
    """Create the control topics on every cluster and say which one is active.

    Until then wrapped clients wait and say so. Safe to repeat; a cluster that was added later gets
    its topics this way.

    Examples: `failover init --active LEFT` · `failover init --active LEFT --print`
    """
    call = invocation.of(context)
    settings = call.settings()
    alias = settings.cluster(active).alias
    if print_:
        from failover.cli import documents, render  # noqa: PLC0415 - keeps --help fast

        document = documents.control_topics(settings)
        emit(call.form, document, lambda: render.control_topics(document))
        return
    from failover.cli import perform  # noqa: PLC0415 - keeps --help fast

    with call.orchestrator(settings) as orchestrator:
        perform.finish(call, orchestrator.init(alias, adopt=adopt))
