"""Options that several commands share."""

from typing import Annotated

import typer

from failover.cli import complete

To = Annotated[
    str,
    typer.Option(
        "--to",
        help="Alias of the cluster to go to.",
        show_default=False,
        autocompletion=complete.clusters,
    ),
]
ExpectActive = Annotated[
    str,
    typer.Option(
        "--expect-active", help="Refuse unless this cluster is active.", show_default=False
    ),
]
SkipClient = Annotated[
    list[str] | None,
    typer.Option("--skip-client", metavar="ID", help="Do not wait for this client. Repeatable."),
]


def _ignorable(idents: list[str] | None) -> list[str] | None:
    from failover.cli import guards  # noqa: PLC0415 - keeps --help fast

    for ident in idents or ():
        guards.ignorable(ident)
    return idents


Ignore = Annotated[
    list[str] | None,
    typer.Option(
        "--ignore",
        metavar="FINDING",
        help="Go on despite this finding. Repeatable.",
        callback=_ignorable,
        autocompletion=complete.findings,
    ),
]
Timeout = Annotated[
    float,
    typer.Option("--timeout", metavar="S", min=1.0, help="Writes reopen when closed for longer."),
]
TolerateLate = Annotated[
    bool,
    typer.Option("--tolerate-late", help="Go on although somebody still writes to the old side."),
]
Emergency = Annotated[
    bool,
    typer.Option("--emergency", help="The active cluster is gone: ask nothing of it."),
]
OldSideAlive = Annotated[
    bool,
    typer.Option("--old-side-alive", help="With --emergency, although the active cluster answers."),
]
AllowDataLoss = Annotated[
    bool,
    typer.Option(
        "--allow-data-loss", help="With --emergency: accept that records may be lost or late."
    ),
]
MaxLost = Annotated[
    int | None,
    typer.Option(
        "--max-lost",
        metavar="N",
        min=0,
        help="With --emergency: accept it up to N records, by the estimate.",
        show_default=False,
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan and change nothing.")]
RunId = Annotated[
    str, typer.Argument(metavar="[RUN]", help="Id of the run; the newest if left out.")
]
