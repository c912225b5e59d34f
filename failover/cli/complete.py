"""What the shell may complete beyond option names: aliases and processes that there are.

Completion must never fail or ask a cluster: where nothing is known it offers nothing.
"""

from pathlib import Path

import typer

from clientlib.protocol.errors import LocalError
from failover.cli.invocation import Invocation


def clusters(context: typer.Context, incomplete: str) -> list[str]:
    """Return the aliases of the configuration that begin like this."""
    config = context.find_root().params.get("config")
    try:
        settings = Invocation(Path(config) if config else None).settings()
    except LocalError:
        return []
    return [alias for alias in settings.aliases if alias.startswith(incomplete)]


def findings(incomplete: str) -> list[str]:
    """Return the findings that begin like this and that one can go on despite."""
    from failover.core.findings import IDS, NEVER_IGNORED  # noqa: PLC0415 - keeps --help fast

    return sorted(ident for ident in IDS - NEVER_IGNORED if ident.startswith(incomplete))


def processes(context: typer.Context, incomplete: str) -> list[str]:
    """Return the names of the lab's processes that begin like this."""
    from failover.lab.lab import Lab  # noqa: PLC0415 - keeps `failover --help` fast

    try:
        lab = Lab.open(Path(context.params.get("directory") or ".lab"))
    except LocalError:
        return []
    return [name for name in lab.names if name.startswith(incomplete)]
