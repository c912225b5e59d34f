"""`failover failback`: a planned switch to the cluster that was active before."""

from collections.abc import Iterable
from typing import Annotated

import typer

from clientlib.protocol.state import State
from failover.cli import complete, invocation, options
from failover.cli.errors import RefusedError
from failover.cli.switch import TIMEOUT_S, go
from failover.core.result import SwitchRequest


def failback(
    context: typer.Context,
    *,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="Another cluster than the previous.",
            show_default=False,
            autocompletion=complete.clusters,
        ),
    ] = "",
    expect_active: options.ExpectActive = "",
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    timeout: options.Timeout = TIMEOUT_S,
    skip_client: options.SkipClient = None,
    tolerate_late: options.TolerateLate = False,
    ignore: options.Ignore = None,
) -> None:
    """Switch back to the cluster that was active before; a planned switch like any other.

    Examples: `failover failback --dry-run` · `failover failback --yes`
    """
    from failover.cli import guards  # noqa: PLC0415 - keeps --help fast

    call = invocation.of(context)
    settings = call.settings()
    target = settings.cluster(to).alias if to else ""
    if not target:
        snapshot = call.snapshot(settings)
        guards.active(snapshot)
        target = previous(snapshot.view.state, settings.aliases)
    request = SwitchRequest(
        scope=call.scope,
        to=target,
        timeout_s=timeout,
        expect_active=expect_active,
        skip_clients=tuple(skip_client or ()),
        tolerate_late=tolerate_late,
        ignore=tuple(ignore or ()),
    )
    go(call, settings, request, dry_run=dry_run, yes=yes)


def previous(state: State | None, aliases: Iterable[str]) -> str:
    """Return the cluster that was active before the current one.

    Where only retired ones were, it is the standby, if there is but one. Raises RefusedError when
    the scope has never been switched.
    """
    known = tuple(aliases)
    before = [e.cluster for e in state.epochs if e.cluster != state.active] if state else []
    others = [cluster for cluster in before if cluster in known]
    standbys = [alias for alias in known if state and alias != state.active]
    if before and not others and len(standbys) == 1:
        return standbys[0]
    if not others:
        never = "the scope has never been switched"
        why = "no cluster of the file was active before" if before else never
        raise RefusedError(f"there is nothing to go back to: {why}", "failover switch --to ALIAS")
    return others[-1]
