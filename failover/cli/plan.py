"""`failover plan`: the steps of a switch and what each group will see."""

import typer

from failover.cli import invocation, options
from failover.cli.switch import TIMEOUT_S
from failover.core.result import SwitchRequest


def plan(
    context: typer.Context,
    to: options.To,
    *,
    expect_active: options.ExpectActive = "",
    timeout: options.Timeout = TIMEOUT_S,
    skip_client: options.SkipClient = None,
    ignore: options.Ignore = None,
) -> None:
    """Show what `failover switch` would do, step by step; changes nothing.

    Ends with 0 when the switch could begin and with 3 when a finding would stop it.

    Examples: `failover plan --to RIGHT` · `failover -o json plan --to RIGHT`
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
    )
    with call.orchestrator(settings) as orchestrator:
        planning.show(call, settings, orchestrator, request)
