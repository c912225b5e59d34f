"""Performs a run while a person watches: confirmation, progress, Ctrl-C, result, exit code."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from failover.cli.errors import RefusedError
from failover.cli.output import console, emit, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.status import Status

    from failover.cli.invocation import Invocation
    from failover.core.result import Progress, RunResult
    from failover.engine import Orchestrator


def confirm(question: str, answer: str, *, yes: bool) -> None:
    """Ask for ``answer`` to be typed, on stderr.

    Raises RefusedError when something else is typed, or when nobody is there to ask.
    """
    if yes:
        return
    if not at_terminal():
        raise RefusedError(
            "nobody is there to confirm: standard input is no terminal", "add --yes to go on"
        )
    typer.echo(f"{question} Type {answer} to go on: ", nl=False, err=True)
    try:
        typed = input().strip()
    except EOFError:
        typed = ""
    if typed != answer:
        raise RefusedError(f"not confirmed: {typed!r} is not {answer!r}; nothing was changed")


def at_terminal() -> bool:
    """Say whether somebody can be asked."""
    return sys.stdin.isatty()


class Watcher:
    """Tells a run on stderr: a line for each step that ended, a moving one on a terminal."""

    def __init__(self) -> None:
        self._console = console(stderr=True)
        self._status: Status | None = None

    def __call__(self, progress: Progress) -> None:
        """Take what the engine says."""
        step = progress.step
        detail = f": {step.detail}" if step.detail else ""
        if step.ended_ms:
            took = f"{step.ended_ms - step.started_ms:,} ms" if step.started_ms else ""
            line = f"{step.outcome:<8}{step.name:<10}{took:>10}  {step.what}{detail}"
            self._console.print(Text(line), no_wrap=True, overflow="ellipsis")
        elif self._status is not None:
            place = f"{progress.index + 1}/{progress.total}"
            self._status.update(Text(f"{place} {step.what}{detail}"))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Show the moving line while the run lasts, if stderr is a terminal."""
        if not self._console.is_terminal:
            yield
            return
        with self._console.status("taking the lock, looking at the clusters") as status:
            self._status = status
            try:
                yield
            finally:
                self._status = None


@contextmanager
def interruptible(orchestrator: Orchestrator) -> Iterator[None]:
    """Turn Ctrl-C into a request: the engine undoes before the intent and completes after it."""

    def stop(_signal: int, _frame: object) -> None:
        say("\ninterrupted: ending the run in good order, so that writes do not stay closed")
        orchestrator.interrupt()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def perform(call: Invocation, orchestrator: Orchestrator, act: Callable[[], RunResult]) -> None:
    """Run ``act`` under the eyes of a person, print its result and end with its exit code."""
    watcher = Watcher()
    orchestrator.on_progress = watcher
    with interruptible(orchestrator), watcher.watching():
        result = act()
    finish(call, result)


def finish(call: Invocation, result: RunResult) -> None:
    """Print a run's result and end with its exit code."""
    from failover.cli import documents, render_run  # noqa: PLC0415 - keeps --help fast

    emit(call.form, documents.run(result), lambda: render_run.run(result, steps=False))
    if result.exit_code:
        raise typer.Exit(result.exit_code)
