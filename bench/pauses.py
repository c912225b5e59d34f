"""Switch and failback, again and again, under load: what the application noticed."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from figures import Figures, histogram, milliseconds, spread

from failover.demo.story import Script, play
from failover.demo.timeline import Pauses, Told
from failover.lab.lab import Lab

_BOUNDS = (25, 50, 100, 200, 500, 1000, 5000)


def measure(
    lab: Lab, directory: Path, rounds: int, disasters: int, say: Callable[[str], None]
) -> tuple[Told, list[Figures]]:
    """Play the demo's story in one go, so often; 2 producers x 500/s, 3 consumers."""
    commits = ("auto", "batch", "message")
    script = Script(rounds, rate=500, pause_s=2.0, commits=commits, disasters=disasters)
    told = play(lab, directory, script, say)
    planned = [one for one in told.pauses if not one.ran.unplanned]
    unplanned = [one for one in told.pauses if one.ran.unplanned]
    found = [verdict(told, rounds, disasters)]
    if planned:
        found += [pauses(planned), histograms(planned), phases(planned)]
    return told, [*found, *(losses(unplanned) if unplanned else ())]


def verdict(told: Told, rounds: int, disasters: int) -> Figures:
    """Return what became of the records."""
    found = told.verdict
    counts = (found.sent, found.acked, found.delivered, found.lost, found.repeated, found.reordered)
    heads = ("rounds", "sent", "acknowledged", "delivered", "lost", "repeated", "reordered")
    remark = (
        f"A round is a switch and a failback. So often LEFT is then killed under load, given up, "
        f"started again and taken back: {disasters}. {told.producers} producers of "
        f"{told.rate:g} records/s, {told.consumers} consumers (automatic commit, every 100 "
        f"records, every record), {told.partitions} partitions."
    )
    row = (str(rounds), *(f"{count:,}" for count in counts))
    return Figures("What became of the records", heads, [row], [remark])


def pauses(switches: Sequence[Pauses]) -> Figures:
    """Return the pauses over all switches."""
    rows = [
        _row("writes, all producers together", _writes(switches)),
        _row("writes, each producer", [p.seconds for one in switches for p in one.by_producer]),
        _row("reads, each partition", _reads(switches)),
    ]
    closed = [one.closed_ms / 1000 for one in switches if one.closed_ms is not None]
    commands = [one.ran.ended_at - one.ran.begun_at for one in switches]
    rows.append(_row("writes closed, by the tool's clock", closed))
    rows.append(_row("the command, start to end", commands))
    return Figures(
        "Pauses, by the application's own clock",
        ("pause", "number", "median", "95 %", "longest"),
        [row for row in rows if row],
        [
            "Writes: from the last acknowledgement of the old cluster to the first of the new one.",
            "Reads: the longest gap between two records of one partition around the switch.",
            "A pause of reads contains the pause of the writes.",
            "Promised: medians under 100 ms for writes and 200 ms for reads.",
        ],
    )


def _writes(switches: Sequence[Pauses]) -> list[float]:
    return [one.writes.seconds for one in switches if one.writes is not None]


def _reads(switches: Sequence[Pauses]) -> list[float]:
    return [read.seconds for one in switches for read in one.reads.values()]


def _row(name: str, seconds: Sequence[float]) -> list[str]:
    if not seconds:
        return []
    return [name, str(len(seconds)), *(milliseconds(value) for value in spread(seconds))]


def histograms(switches: Sequence[Pauses]) -> Figures:
    """Return how the pauses are distributed."""
    labels = [*(f"up to {bound:,} ms" for bound in _BOUNDS), "longer"]
    writes, reads = histogram(_writes(switches), _BOUNDS), histogram(_reads(switches), _BOUNDS)
    rows = list(zip(labels, writes, reads, strict=True))
    return Figures("Distribution", ("pause", "writes", "reads"), rows)


def losses(switches: Sequence[Pauses]) -> list[Figures]:
    """Return how long it takes to go on without the active cluster, and where that time goes."""
    acked = [p.writes.first_at - p.ran.begun_at for p in switches if p.writes is not None]
    read = [min(r.first_at for r in p.reads.values()) - p.ran.begun_at for p in switches if p.reads]
    everywhere = [
        max(r.first_at for r in p.reads.values()) - p.ran.begun_at for p in switches if p.reads
    ]
    closing = [
        at - p.ran.begun_at for p in switches if (at := p.ran.at("closing_at_ms")) is not None
    ]
    again = [float(p.ran.document["measured"].get("replayed", 0)) for p in switches]
    rows = [
        _row("from the command to its first write (start, lock, preflight)", closing),
        _row("from the command to the first acknowledgement on RIGHT", acked),
        _row("from the command to the first record read on RIGHT", read),
        _row("from the command until all partitions are read", everywhere),
    ]
    counted = ", ".join(f"{value:,.0f}" for value in sorted(again))
    return [
        Figures(
            "Unplanned: LEFT is killed (SIGKILL) under load",
            ("time", "number", "median", "95 %", "longest"),
            [row for row in rows if row],
            [
                "Promised: less than 2 s from the command to the first record, median.",
                f"Records that their producers wrote again, each time: {counted}.",
            ],
        ),
        phases(switches, "Unplanned: where the time goes"),
    ]


def phases(switches: Sequence[Pauses], title: str = "Where the time goes") -> Figures:
    """Return where the time goes: the tool's own phases, then the clients."""
    by_phase: defaultdict[str, list[float]] = defaultdict(list)
    for one in switches:
        for name, took in one.phases_ms.items():
            by_phase[name].append(took / 1000)
        committed = one.ran.at("committed_at_ms")
        if committed is not None and one.writes is not None:
            by_phase["commit to first acknowledgement"].append(one.writes.first_at - committed)
        if committed is not None and one.reads:
            firsts = [read.first_at - committed for read in one.reads.values()]
            by_phase["commit to reading, median partition"].append(median(firsts))
    return Figures(
        title,
        ("phase", "number", "median", "95 %", "longest"),
        [_row(name, seconds) for name, seconds in by_phase.items()],
        ["The first phases are those of `failover -o json switch` (`measured.phases_ms`)."],
    )
