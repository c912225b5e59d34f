"""`failover switch` and what `failover failback` shares with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer  # noqa: TC002 - typer reads the annotations

from clientlib.protocol.errors import ConfigurationError
from failover.cli import invocation, options
from failover.core.result import SwitchRequest

if TYPE_CHECKING:
    from clientlib.settings import Settings
    from failover.cli.invocation import Invocation

TIMEOUT_S = 30.0


def switch(
    context: typer.Context,
    to: options.To,
    *,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    expect_active: options.ExpectActive = "",
    timeout: options.Timeout = TIMEOUT_S,
    skip_client: options.SkipClient = None,
    tolerate_late: options.TolerateLate = False,
    ignore: options.Ignore = None,
    emergency: options.Emergency = False,
    old_side_alive: options.OldSideAlive = False,
    allow_data_loss: options.AllowDataLoss = False,
    max_lost: options.MaxLost = None,
) -> None:
    """Make another cluster active; wrapped applications follow by themselves.

    Writes are closed for well under a second, and reopen on the old side if anything stands in
    the way for longer than `--timeout`. When the cluster is active already, nothing happens and
    the exit code is 0.

    When the active cluster is gone, `--emergency` asks nothing of it. Producers that live write
    again what had not been copied; what may be lost all the same is told before anything is
    changed, and must be accepted with `--allow-data-loss` or `--max-lost N`.

    Exit codes: 0 done; 3 refused, nothing changed; 4 timed out, rolled back; 5 operator needed;
    6 another run holds the scope; 7 cluster unreachable; 8 data loss not accepted;
    130 interrupted.

    Examples: `failover switch --to RIGHT --dry-run` · `failover switch --to RIGHT --yes` ·
    `failover switch --to RIGHT --emergency --allow-data-loss --yes`
    """
    call = invocation.of(context)
    settings = call.settings()
    request = SwitchRequest(
        scope=call.scope,
        to=settings.cluster(to).alias,
        timeout_s=timeout,
        expect_active=expect_active,
        skip_clients=tuple(skip_client or ()),
        tolerate_late=tolerate_late,
        ignore=tuple(ignore or ()),
        emergency=emergency,
        old_side_alive=old_side_alive,
        allow_data_loss=allow_data_loss,
        max_lost=max_lost,
    )
    check(request)
    go(call, settings, request, dry_run=dry_run, yes=yes)


def check(request: SwitchRequest) -> None:
    """Raise ConfigurationError for options that mean nothing in a planned switch."""
    given = {
        "--old-side-alive": request.old_side_alive,
        "--allow-data-loss": request.allow_data_loss,
        "--max-lost": request.max_lost is not None,
    }
    wrong = [name for name, there in given.items() if there]
    if wrong and not request.emergency:
        raise ConfigurationError(f"{', '.join(wrong)} means something with --emergency only")


def go(
    call: Invocation, settings: Settings, request: SwitchRequest, *, dry_run: bool, yes: bool
) -> None:
    """Show the plan, ask, and switch."""
    ahead = () if dry_run else (request.to,) if request.emergency else settings.aliases
    with call.orchestrator(settings, ahead) as orchestrator:
        from failover.cli import perform, planning  # noqa: PLC0415 - keeps --help fast

        if dry_run:
            planning.show(call, settings, orchestrator, request)
            return
        if not yes:
            made = planning.preview(call, settings, orchestrator, request)
            if not made.unchanged:
                planning.refuse(made, request)
            if not made.unchanged:
                question = f"Switch scope {call.scope} from {made.source} to {made.target}?"
                perform.confirm(question, made.target, yes=yes)
        perform.perform(call, orchestrator, lambda: orchestrator.switch(request))
