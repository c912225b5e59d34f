"""`failover status`: who is active, and is it well."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated

import typer

from failover.cli import invocation
from failover.cli.invocation import Form, Invocation
from failover.cli.output import console, emit, say
from failover.core.result import ExitCode

if TYPE_CHECKING:
    from clientlib.settings import Settings
    from failover.cli.documents import Document
    from failover.core.result import Finding
    from failover.io.observe import Observer

_CLEAR = "\x1b[2J\x1b[H"


def status(
    context: typer.Context,
    *,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again and again.")] = False,
    interval: Annotated[float, typer.Option(help="Seconds between looks.", min=0.1)] = 2.0,
) -> None:
    """Show who is active, the flows with their lag, groups, clients and findings.

    Ends with 0 when healthy and with 10 when degraded. `--watch` with `-o json` prints one
    document a line until Ctrl-C.

    Examples: `failover status` · `failover status --watch` · `failover -o json status`
    """
    call = invocation.of(context)
    settings = call.settings()
    with call.observer(settings) as observer:
        if watch:
            _watch(call, settings, observer, interval)
        document, found = _look(settings, observer)
        _show(call, document, found)
    if not document["healthy"]:
        raise typer.Exit(ExitCode.DEGRADED)


def _look(settings: Settings, observer: Observer) -> tuple[Document, tuple[Finding, ...]]:
    from failover.cli import documents  # noqa: PLC0415 - keeps --help fast
    from failover.core.findings import findings  # noqa: PLC0415 - as above

    snapshot = observer.snapshot()
    found = findings(snapshot, settings)
    return documents.status(snapshot, settings, found), found


def _show(call: Invocation, document: Document, found: tuple[Finding, ...]) -> None:
    from failover.cli import render  # noqa: PLC0415 - only tables need rich

    emit(call.form, document, lambda: render.status(document, found))


def _watch(call: Invocation, settings: Settings, observer: Observer, interval: float) -> None:
    """Look until Ctrl-C."""
    while True:
        document, found = _look(settings, observer)
        if call.form is Form.JSON:
            typer.echo(json.dumps(document))
        else:
            if console().is_terminal:
                typer.echo(_CLEAR, nl=False)
            _show(call, document, found)
            say(f"\n{time.strftime('%H:%M:%S')}, again every {interval:g} s; Ctrl-C ends it")
        time.sleep(interval)
