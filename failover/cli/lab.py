"""`failover lab`: real Kafka clusters and MirrorMaker 2 on this machine, for trying and testing."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clientlib.protocol.errors import ConfigurationError
from failover.cli import complete
from failover.cli import help as help_texts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from failover.lab.lab import Lab
    from failover.lab.status import LabStatus

lab_app = typer.Typer(
    help="Real Kafka clusters and MirrorMaker 2 on this machine, for trying and testing.",
    no_args_is_help=True,
)

Directory = Annotated[Path, typer.Option("--dir", help="Where the lab lives.")]
Name = Annotated[
    str,
    typer.Argument(
        help="A cluster alias, or mm2.", show_default=False, autocompletion=complete.processes
    ),
]
DEFAULT_DIRECTORY = Path(".lab")


class Mm2Mode(StrEnum):
    """How MirrorMaker 2 runs in the lab."""

    DEDICATED = "dedicated"


class Output(StrEnum):
    """Form of what goes to stdout."""

    TABLE = "table"
    JSON = "json"


def say(line: str) -> None:
    """Print progress, which belongs on stderr."""
    typer.echo(line, err=True)


def up(
    clusters: Annotated[
        str, typer.Option(help="Aliases of the clusters, separated by commas.")
    ] = "LEFT,RIGHT",
    mm2: Annotated[Mm2Mode, typer.Option(help="How MirrorMaker 2 runs.")] = Mm2Mode.DEDICATED,
    mm2_property: Annotated[
        list[str] | None,
        typer.Option(help="A line of mm2.properties for a new lab, KEY=VALUE; can be repeated."),
    ] = None,
    directory: Directory = DEFAULT_DIRECTORY,
) -> None:
    """Start the clusters and MirrorMaker 2, and return when records flow both ways.

    The first time, Maven downloads Kafka. A lab that runs already is left as it is; what was
    killed or stopped is started again.

    Examples: `failover lab up` · `failover lab up --clusters LEFT,RIGHT,THIRD --dir /tmp/lab3` ·
    `failover lab up --mm2-property RIGHT.exactly.once.source.support=enabled`
    """
    from failover.lab.lab import Lab  # noqa: PLC0415 - keeps `failover --help` fast

    del mm2  # there is one way so far; the option refuses any other by name
    aliases = tuple(alias.strip() for alias in clusters.split(","))
    lab = Lab.create(directory, aliases, mm2_overrides=_properties(mm2_property or ()), say=say)
    started = lab.up()
    say("the lab is up" if started else "the lab was up already")
    say(f"configuration: {lab.config_path}")
    _print(lab.status(), Output.TABLE)
    say(f"next: failover init --active {lab.aliases[0]}   (end it with: failover lab down)")


def _properties(lines: Iterable[str]) -> dict[str, str]:
    """Take KEY=VALUE apart. Raises ConfigurationError for anything else."""
    found = {}
    for line in lines:
        key, separator, value = line.partition("=")
        if not key.strip() or not separator:
            raise ConfigurationError(f"--mm2-property {line!r} is not KEY=VALUE")
        found[key.strip()] = value.strip()
    return found


def down(directory: Directory = DEFAULT_DIRECTORY) -> None:
    """End every process of the lab and remove its files; harmless when there is no lab.

    Example: `failover lab down`
    """
    from failover.lab.lab import end_lost_processes  # noqa: PLC0415 - as in up

    try:
        _open(directory).down()
    except ConfigurationError as error:
        lost = end_lost_processes(directory)
        say(f"lost processes ended: {lost}" if lost else f"nothing to take down: {error}")
    else:
        say("the lab is down")


def status(
    directory: Directory = DEFAULT_DIRECTORY,
    output: Annotated[Output, typer.Option("--output", "-o", help="Form.")] = Output.TABLE,
) -> None:
    """Show each process of the lab, and whether its cluster answers.

    Examples: `failover lab status` · `failover lab status -o json`
    """
    _print(_open(directory).status(), output)


def kill(name: Name, directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Kill a process with SIGKILL, as a crash would.

    Examples: `failover lab kill LEFT` · `failover lab kill mm2`
    """
    _open(directory).kill(name)
    say(f"{name} is killed")


def stop(name: Name, directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Stop a process in good order, with SIGTERM.

    Example: `failover lab stop mm2`
    """
    _open(directory).stop(name)
    say(f"{name} is stopped")


def start(name: Name, directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Start a process that was killed or stopped, on the same port with the same data.

    Example: `failover lab start LEFT`
    """
    started = _open(directory).start(name)
    say(f"{name} is ready" if started else f"{name} was running already")


def pause(name: Name, directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Freeze a process: its connections stay open, and it answers nothing.

    Example: `failover lab pause RIGHT`
    """
    _open(directory).pause(name)
    say(f"{name} is paused")


def continue_(name: Name, directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Let a paused process go on.

    Example: `failover lab continue RIGHT`
    """
    _open(directory).resume_process(name)
    say(f"{name} goes on")


for _verb in (up, down, status, kill, stop, start, pause):
    help_texts.add(lab_app, _verb)
help_texts.add(lab_app, continue_, "continue")


def _open(directory: Path) -> Lab:
    from failover.lab.lab import Lab  # noqa: PLC0415 - keeps `failover --help` fast

    return Lab.open(directory, say=say)


def _print(observed: LabStatus, output: Output) -> None:
    if output is Output.JSON:
        document = {"schema": 1, "healthy": observed.healthy, **asdict(observed)}
        typer.echo(json.dumps(document, indent=2))
        return
    row = "{:<12} {:>8}  {:<22} {}"
    typer.echo(row.format("NAME", "PID", "BOOTSTRAP", "STATE"))
    for cluster in observed.clusters:
        state = _state(alive=cluster.alive, reachable=cluster.reachable)
        typer.echo(row.format(cluster.alias, cluster.pid or "-", cluster.bootstrap, state))
    if observed.mm2 is not None:
        state = _state(alive=observed.mm2.alive, reachable=True)
        typer.echo(row.format("mm2", observed.mm2.pid or "-", "-", state))


def _state(*, alive: bool, reachable: bool) -> str:
    if not alive:
        return "not running"
    return "running" if reachable else "running, does not answer"
