"""`failover demo`: the whole promise on real Kafka, in about a minute."""

from __future__ import annotations

import sys
import time
from pathlib import Path  # noqa: TC003 - typer reads the annotation
from typing import TYPE_CHECKING, Annotated

import typer

from failover.cli.output import console
from failover.cli.output import say as tell

if TYPE_CHECKING:
    from failover.demo.tool import Say


def demo(
    rounds: Annotated[
        int, typer.Option(min=1, help="How often to switch to RIGHT and fail back.")
    ] = 1,
    rate: Annotated[
        float, typer.Option(min=1, help="Records a second that each of 2 producers writes.")
    ] = 500.0,
    directory: Annotated[
        Path | None,
        typer.Option("--dir", help="Where to work; else a temporary one.", show_default=False),
    ] = None,
    *,
    disaster: Annotated[
        bool,
        typer.Option(
            "--disaster/--no-disaster",
            help="Then kill LEFT under load, give it up, start it again, and fail back.",
        ),
    ] = True,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the lab up and all files there, to look around.")
    ] = False,
) -> None:
    """Move a working application to the other Kafka cluster and back, and check every record.

    Starts two real Kafka clusters and MirrorMaker 2 on this machine, and an application of 2
    producers and 3 consumers in processes of their own; switches to RIGHT under load, fails back,
    and judges what happened to each record. Leaves nothing behind.

    Exit codes: 0 nothing lost, repeated or reordered; 1 something was, or the demo failed.

    Examples: `failover demo` · `failover demo --rounds 5 --rate 1000`
    """
    from failover.demo import render, story  # noqa: PLC0415 - keeps --help fast

    say = _clocked()
    script = story.Script(rounds=rounds, rate=rate, disasters=int(disaster))
    with story.stage(directory, keep=keep, say=say) as (lab, home):
        told = story.play(lab, home, script, say)
    console().print(render.story(told))
    if not told.good:
        raise typer.Exit(1)


def _clocked() -> Say:
    """Return a function that tells a waiting person what happens, with the seconds so far."""
    begun = time.monotonic()

    def say(line: str) -> None:
        tell(f"[{time.monotonic() - begun:5.1f} s] {line}")
        sys.stderr.flush()

    return say
