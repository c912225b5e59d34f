"""`failover rejoin`: a cluster that was given up is back."""

from typing import Annotated

import typer

from failover.cli import invocation


def rejoin(
    context: typer.Context,
    cluster: Annotated[
        str, typer.Argument(metavar="CLUSTER", help="Alias of the cluster that is back.")
    ],
) -> None:
    """Bring a cluster that was given up back into the scope, as a standby.

    Its state topic is brought up to date, so that clients which reach only it stop writing there.
    Its logs are compared with the ledger: what it holds behind the end is counted, and marked as
    written again by its producers or as late. `failback` does the same by itself.

    Exit codes: 0 done; 3 refused: its logs contradict the ledger; 6 a run is at work; 7 cluster
    unreachable.

    Examples: `failover rejoin LEFT` · `failover -o json rejoin LEFT`
    """
    from failover.cli import perform  # noqa: PLC0415 - keeps --help fast

    call = invocation.of(context)
    settings = call.settings()
    alias = settings.cluster(cluster).alias
    with call.orchestrator(settings) as orchestrator:
        perform.finish(call, orchestrator.rejoin(alias))
