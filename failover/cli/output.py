"""Where output goes: one document on stdout, what a waiting person reads on stderr."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import typer

from clientlib.protocol.errors import ConfigurationError
from failover.cli.invocation import Form

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rich.console import Console, RenderableType

WIDTH = 100


def console(*, stderr: bool = False) -> Console:
    """Return a console of at most 100 columns; colour by terminal and ``NO_COLOR``."""
    from rich.console import Console  # noqa: PLC0415 - JSON and help need no tables

    found = Console(stderr=stderr, highlight=False, soft_wrap=False)
    stream = sys.stderr if stderr else sys.stdout
    wide = min(found.width, WIDTH) if stream.isatty() else WIDTH
    return Console(stderr=stderr, highlight=False, width=wide)


def emit(form: Form, document: Mapping[str, Any], table: Callable[[], RenderableType]) -> None:
    """Print one document on stdout in the form that was asked for."""
    if form is Form.JSON:
        typer.echo(json.dumps(document, indent=2))
    elif form is Form.YAML:
        import yaml  # noqa: PLC0415 - only this form needs it

        typer.echo(yaml.safe_dump(dict(document), sort_keys=False), nl=False)
    elif form is Form.TABLE:
        console().print(table())
    else:
        raise ConfigurationError(f"-o {form} is no form of this output")


def say(line: str) -> None:
    """Tell a waiting person something, on stderr."""
    typer.echo(line, err=True)
