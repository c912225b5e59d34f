"""`failover plan`: the steps of a switch and what each group will see."""

import typer

from failover.cli import invocation, options
from failover.cli.switch import TIMEOUT_S, check
from failover.core.result import SwitchRequest


def plan(
    context: typer.Context,
    to: options.To,
    *,
    expect_active: options.ExpectActive = "",
    timeout: options.Timeout = TIMEOUT_S,
    skip_client: options.SkipClient = None,
    ignore: options.Ignore = None,
    emergency: options.Emergency = False,
    old_side_alive: options.OldSideAlive = False,
    allow_data_loss: options.AllowDataLoss = False,
    max_lost: options.MaxLost = None,
) -> None:
    """Show what `failover switch` would do, step by step; changes nothing.

    With `--emergency` it says whether the active cluster answers, and what may be lost.

    Ends with 0 when the switch could begin, with 3 when a finding would stop it, and with 8 when
    loss that cannot be excluded would.

    Examples: `failover plan --to RIGHT` · `failover -o json plan --to RIGHT` ·
    `failover plan --to RIGHT --emergency`
    """
    from failover.cli import planning  # noqa: PLC0415 - keeps --help fast

    call = invocation.of(context)
    settings = call.settings()
    request = SwitchRequest(
        scope=call.scope,
        to=settings.cluster(to).alias,
        timeout_s=timeout,
        expect_active=expect_active,
        skip_clients=tuple(skip_client or ()),
        ignore=tuple(ignore or ()),
        emergency=emergency,
        old_side_alive=old_side_alive,
        allow_data_loss=allow_data_loss,
        max_lost=max_lost,
    )
    check(request)
    with call.orchestrator(settings) as orchestrator:
        planning.show(call, settings, orchestrator, request)
