"""`failover rejoin`: a cluster that was given up is back."""

from typing import Annotated

import typer

from failover.cli import invocation
from failover.core.result import PATIENCE_S


def rejoin(
    context: typer.Context,
    cluster: Annotated[
        str, typer.Argument(metavar="CLUSTER", help="Alias of the cluster that is back.")
    ],
    wait: Annotated[
        float, typer.Option("--wait", metavar="S", min=0.0, help="Wait so long until it answers.")
    ] = PATIENCE_S,
) -> None:
    """Bring a cluster that was given up back into the scope, as a standby.

    Its state topic is brought up to date, so that clients which reach only it stop writing there.
    Its logs are compared with the ledger: what it holds behind the end is counted, and marked as
    written again by its producers or as late. `failback` does the same by itself.

    Left running with a long `--wait` while the cluster is down it acts as soon as that is back:
    until then the cluster cannot take over if the other one is lost too.

    Exit codes: 0 done; 3 refused: its logs contradict the ledger; 5 somebody is to be waited for:
    a producer that has yet to write again, an open transaction; 6 a run is at work; 7 cluster
    unreachable.

    Examples: `failover rejoin LEFT` · `failover rejoin LEFT --wait 86400` ·
    `failover -o json rejoin LEFT`
    """
    from failover.cli import perform  # noqa: PLC0415 - keeps --help fast

    call = invocation.of(context)
    settings = call.settings()
    alias = settings.cluster(cluster).alias
    with call.orchestrator(settings) as orchestrator:
        if wait > PATIENCE_S:
            typer.echo(f"waiting up to {wait:,.0f} s for {alias} to answer", err=True)
        perform.finish(call, orchestrator.rejoin(alias, wait))
