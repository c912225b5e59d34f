"""The story for people: a timeline, the pauses, the verdict, and what they mean."""

from collections.abc import Iterable, Iterator

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from failover.checkers import Verdict
from failover.demo.timeline import Moment, Pauses, Told

_COLOURS = {
    "you": "bold cyan",
    "lab": "bold red",
    "tool": "yellow",
    "producers": "green",
    "consumers": "magenta",
}
_SHOWN = 8


def story(told: Told) -> RenderableType:
    """Return the whole result of the demo."""
    return Group(
        Text("\nWhat happened", style="bold"),
        timeline(told.moments, told.begun_at),
        Text("\nHow long the application noticed it", style="bold"),
        pauses(told.pauses),
        *_reading_help(told),
        Text(),
        verdict(told),
    )


def timeline(moments: Iterable[Moment], begun_at: float) -> Table:
    """Return one line for each moment, seconds counted from ``begun_at``."""
    table = Table(box=None, pad_edge=True, padding=(0, 2, 0, 1), show_header=False)
    table.add_column(justify="right", no_wrap=True, style="dim")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for moment in moments:
        command = moment.who == "you"
        table.add_row(
            f"{moment.at - begun_at:.3f} s",
            Text(moment.who, style=_COLOURS.get(moment.who, "dim")),
            Text(f"$ {moment.what}" if command else moment.what, style="bold" if command else ""),
        )
    return table


def pauses(switches: Iterable[Pauses]) -> Table:
    """Return a row for each switch."""
    table = Table(box=None, pad_edge=True, padding=(0, 2, 0, 1), header_style="dim")
    table.add_column("switch")
    table.add_column("epoch", justify="right")
    table.add_column("writes paused", justify="right")
    table.add_column("reads paused, median", justify="right")
    table.add_column("longest", justify="right")
    table.add_column("closed by the tool", justify="right")
    for one in switches:
        table.add_row(
            f"{one.ran.source} -> {one.ran.target}",
            str(one.ran.epoch),
            milliseconds(one.writes.seconds if one.writes is not None else None),
            milliseconds(one.read_median),
            milliseconds(one.read_max),
            "-" if one.closed_ms is None else f"{one.closed_ms:,} ms",
        )
    return table


def milliseconds(seconds: float | None) -> str:
    """Return a duration as people read it; ``-`` when there is none."""
    return "-" if seconds is None else f"{seconds * 1000:,.0f} ms"


def _reading_help(told: Told) -> Iterator[Text]:
    yield Text(
        "\n  Writes: from the last record that the old cluster acknowledged to the first that the"
        "\n  new one did. Reads: the longest gap between two records of one partition, over all"
        f"\n  {told.partitions}. Nothing was restarted, and no line of the application knows of"
        " the switch.",
        style="dim",
    )


def verdict(told: Told) -> Panel:
    """Return the checkers' verdict in a frame."""
    found = told.verdict
    body = Text()
    counts = {"lost": found.lost, "repeated": found.repeated, "reordered": found.reordered}
    for what, count in counts.items():
        body.append(f"{count:,} {what}   ", style="bold green" if not count else "bold red")
    body.append(f"\n{found.sent:,} records sent, {found.acked:,} acknowledged, ")
    body.append(f"{found.delivered:,} delivered to {told.consumers} consumers in one group.")
    for line in _complaints(told, found):
        body.append(f"\n{line}", style="red")
    if told.good:
        body.append(
            "\nEvery record was followed from the call of produce() to its delivery, by key and"
            "\npartition: each came once, in the order in which it was sent.",
            style="dim",
        )
    colour = "green" if told.good else "red"
    return Panel(
        body,
        title="VERDICT: good" if told.good else "VERDICT: BAD",
        title_align="left",
        border_style=colour,
        expand=False,
        padding=(0, 2),
    )


def _complaints(told: Told, found: Verdict) -> Iterator[str]:
    if found.ok and not told.good:
        yield f"{found.sent - found.acked:,} records were never acknowledged"
    yield from (f"{anomaly.kind}: {anomaly.what}" for anomaly in found.anomalies[:_SHOWN])
    if len(found.anomalies) > _SHOWN:
        yield f"and {len(found.anomalies) - _SHOWN:,} more"
