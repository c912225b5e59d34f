"""Errors to messages and exit codes: the one place that decides both.

A message says what happened and to what; the second line says what to do next. A traceback is shown
only with ``--verbose``, because most errors here are about clusters and files, not about code.
"""

import traceback
from dataclasses import dataclass

import typer

from clientlib.protocol.errors import (
    ClusterUnreachableError,
    ConfigurationError,
    FencedError,
    LedgerUnknownError,
    LocalError,
    RecordFormatError,
    RemoteError,
    TimedOutError,
)
from clientlib.protocol.records import TooNewError
from failover.core.result import ExitCode


class RefusedError(LocalError):
    """A guard refused the command; nothing was changed. ``remedy`` says how to go on."""

    def __init__(self, message: str, remedy: str = "", code: ExitCode = ExitCode.REFUSED) -> None:
        super().__init__(message)
        self.remedy = remedy
        self.code = code


@dataclass(frozen=True, slots=True)
class _Answer:
    """How a class of errors ends the command."""

    code: ExitCode
    remedy: str


_TABLE: tuple[tuple[type[Exception], _Answer], ...] = (
    (
        ConfigurationError,
        _Answer(
            ExitCode.USAGE,
            "correct the command, or the file and check it: failover config validate",
        ),
    ),
    (LocalError, _Answer(ExitCode.USAGE, "see failover COMMAND --help")),
    (
        ClusterUnreachableError,
        _Answer(ExitCode.UNREACHABLE, "check the brokers and bootstrap.servers, then try again"),
    ),
    (
        TimedOutError,
        _Answer(ExitCode.UNREACHABLE, "look at the brokers' load and log: failover status"),
    ),
    (FencedError, _Answer(ExitCode.LOCKED, "another run took over; see failover status")),
    (TooNewError, _Answer(ExitCode.REFUSED, "a newer version wrote this: upgrade kafka-failover")),
    (
        RecordFormatError,
        _Answer(
            ExitCode.REFUSED,
            "something else wrote to the control topics; see docs/operators/trouble.md",
        ),
    ),
    (LedgerUnknownError, _Answer(ExitCode.INCOMPLETE, "failover resume")),
    (RemoteError, _Answer(ExitCode.INTERNAL, "see the broker's log, then failover status")),
)
"""First match wins, so narrower classes stand before wider ones."""


def answer(error: Exception) -> tuple[ExitCode, str]:
    """Return exit code and remedy for an error."""
    if isinstance(error, RefusedError):
        return error.code, error.remedy
    for kind, found in _TABLE:
        if isinstance(error, kind):
            return found.code, found.remedy
    return ExitCode.INTERNAL, "this is a fault of failover itself; --verbose shows where"


def tell(error: Exception, *, verbose: bool) -> ExitCode:
    """Tell the operator on stderr; return the exit code."""
    code, remedy = answer(error)
    if verbose:
        typer.echo("".join(traceback.format_exception(error)), err=True)
    kind = "" if code is not ExitCode.INTERNAL else f"{type(error).__name__}: "
    typer.echo(f"failover: {kind}{error}", err=True)
    if remedy:
        typer.echo(f"    next: {remedy}", err=True)
    return code
