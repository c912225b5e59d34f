"""A command's docstring as its help: flowing paragraphs, and the examples one a line at the end.

Docstrings stay as they are read in the code, with lines of at most 100 columns and the examples in
one sentence; what a terminal shows is cut to its own width.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import typer

_EXAMPLES = ("Example: ", "Examples: ")


@dataclass(frozen=True, slots=True)
class Help:
    """What ``--help`` says: paragraphs of text, and commands to copy."""

    text: tuple[str, ...]
    examples: tuple[str, ...]


def read(docstring: str | None) -> Help:
    """Return the parts of a docstring."""
    cleaned = inspect.cleandoc(docstring or "")
    paragraphs = [" ".join(part.split()) for part in cleaned.split("\n\n")]
    text = tuple(part for part in paragraphs if not part.startswith(_EXAMPLES))
    told = (part.partition(": ")[2] for part in paragraphs if part.startswith(_EXAMPLES))
    examples = (one.strip().strip("`") for part in told for one in part.split(" · "))
    return Help(text, tuple(examples))


def add(app: typer.Typer, verb: Callable[..., Any], name: str | None = None) -> None:
    """Make a function a command of ``app``, with the help that its docstring holds."""
    found = read(verb.__doc__)
    lines = ("Examples:", *(f"$ {one}" for one in found.examples))
    epilog = "\n".join(lines) if found.examples else None
    app.command(name, help="\n\n".join(found.text), epilog=epilog)(verb)
