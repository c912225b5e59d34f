"""The command line: global options, one module per verb, and how errors end.

Nothing slow is imported before a command runs (`failover --help` takes no Kafka client).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotation
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from failover.cli import help as help_texts
from failover.cli import invocation
from failover.cli.abort import abort
from failover.cli.active import active
from failover.cli.clients import clients
from failover.cli.config import config_app
from failover.cli.demo import demo
from failover.cli.errors import tell
from failover.cli.failback import failback
from failover.cli.history import history
from failover.cli.init import init
from failover.cli.invocation import CONFIG_VARIABLE, Form, Invocation
from failover.cli.lab import lab_app
from failover.cli.plan import plan
from failover.cli.preflight import preflight
from failover.cli.rejoin import rejoin
from failover.cli.report import report
from failover.cli.resume import resume
from failover.cli.status import status
from failover.cli.switch import switch
from failover.core.result import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

_HOISTED = {"-c", "--config", "--scope", "-o", "--output"}
_HOISTED_FLAGS = {"--verbose"}
# These have options of the same names that mean something else.
_OWN_OPTIONS = {"lab", "demo"}


class FailoverGroup(TyperGroup):
    """Takes the global options on either side of the command, and ends every error in one place."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Move global options before the command."""
        return super().parse_args(ctx, hoisted(args))

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an error becomes a message and an exit code."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo("\nfailover: interrupted", err=True)
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except (typer.Exit, typer.Abort):
            raise
        except BrokenPipeError:
            # Whoever read our output has seen enough; the interpreter must not complain at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(ExitCode.OK) from None
        except Exception as error:
            if is_usage(error):
                raise
            raise typer.Exit(tell(error, verbose=invocation.of(ctx).verbose)) from error


def is_usage(error: Exception) -> bool:
    """Say whether typer itself will report the error, with exit code 2."""
    return hasattr(error, "show") and hasattr(error, "exit_code")


def hoisted(args: Sequence[str]) -> list[str]:
    """Return the arguments with the global options first: ``status -o json`` works as well."""
    front: list[str] = []
    rest: list[str] = []
    command = ""
    waiting = iter(args)
    for arg in waiting:
        if arg == "--" or command in _OWN_OPTIONS:
            rest += [arg, *waiting]
            break
        name, equals, _ = arg.partition("=")
        if name in _HOISTED or arg in _HOISTED_FLAGS:
            front.append(arg)
            if name in _HOISTED and not equals:
                front += [value for value in (next(waiting, None),) if value is not None]
            continue
        if not command and not arg.startswith("-"):
            command = arg
        rest.append(arg)
    return front + rest


app = typer.Typer(
    name="failover",
    cls=FailoverGroup,
    help="Move applications between Kafka clusters joined by MirrorMaker 2: nothing lost, "
    "repeated or reordered.",
    epilog="First steps:\n"
    "$ failover lab up               two clusters and MirrorMaker 2 on this machine\n"
    "$ failover init --active LEFT   say which one takes writes\n"
    "$ failover status               who is active, and is it well\n"
    "$ failover plan --to RIGHT      what a switch would do; changes nothing\n"
    "$ failover switch --to RIGHT    do it",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - slow

        try:
            typer.echo(f"failover {version('kafka-failover')}")
        except PackageNotFoundError:
            typer.echo("failover (not installed)")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    *,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            envvar=CONFIG_VARIABLE,
            help="The configuration; else ./failover.yaml, else .lab/failover.yaml.",
            show_default=False,
        ),
    ] = None,
    scope: Annotated[str, typer.Option(help="Topics and groups that switch as one.")] = "default",
    form: Annotated[Form, typer.Option("--output", "-o", help="Form of the output.")] = Form.TABLE,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show where errors come from.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Keep the global options for the command."""
    del version
    context.obj = Invocation(config, scope, form, verbose)


for verb in (
    init,
    status,
    clients,
    active,
    plan,
    preflight,
    switch,
    failback,
    abort,
    resume,
    rejoin,
    report,
    history,
):
    help_texts.add(app, verb)
app.add_typer(config_app, name="config")
app.add_typer(lab_app, name="lab")
help_texts.add(app, demo)


def main() -> None:
    """Run the command line; the entry point of ``failover``."""
    app(prog_name="failover")
