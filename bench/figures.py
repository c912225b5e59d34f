"""What a benchmark returns: a titled table with remarks, and how it is written."""

import os
import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil
from pathlib import Path
from statistics import median

_GIB = 2**30


@dataclass(frozen=True, slots=True)
class Figures:
    """A table: cells are text already; ``remarks`` are sentences under it."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    remarks: Sequence[str] = ()

    def markdown(self) -> str:
        """Render as a Markdown section; the first column is text, the others are numbers."""
        rule = ["---"] + ["---:"] * (len(self.heads) - 1)
        lines = [f"## {self.title}", ""]
        lines += ["| " + " | ".join(row) + " |" for row in (self.heads, rule, *self.rows)]
        for remark in self.remarks:
            lines += ["", remark]
        return "\n".join(lines) + "\n"


def spread(values: Iterable[float]) -> tuple[float, float, float]:
    """Return median, 95th percentile (nearest rank) and largest of some values."""
    ordered = sorted(values)
    return median(ordered), ordered[ceil(0.95 * len(ordered)) - 1], ordered[-1]


def milliseconds(seconds: float) -> str:
    """Render a duration."""
    return f"{seconds * 1000:,.0f} ms"


def histogram(seconds: Iterable[float], bounds: Sequence[int]) -> list[str]:
    """Count durations up to each bound (ms), and above the last one."""
    values = [value * 1000 for value in seconds]
    edges = [float("-inf"), *bounds, float("inf")]
    return [str(sum(low < value <= high for value in values)) for low, high in pairwise(edges)]


def machine() -> str:
    """Say in words what this was measured on, and how busy it is now."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _GIB
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB of memory, {platform.system()}, "
        f"Python {platform.python_version()}"
    )


def load() -> str:
    """Say how busy the machine is: runnable processes, averaged over 1 minute."""
    return f"{os.getloadavg()[0]:.1f}"


def write(path: Path, figures: Iterable[Figures], *, before: str, command: str) -> None:
    """Write a Markdown page; sections of it that were not measured now stay as they are.

    ``before``: the load when it began.
    """
    head = f"""# Benchmarks

Real Kafka and MirrorMaker 2 of the lab; clusters, application and tool all on one machine:
{machine()}.
The load average says how busy it was with other things: the benchmark itself makes about 2 to 4.

To measure again: `{command}`, or one part with `--only`; it overwrites that part of this page.
"""
    told = f"Measured on {time.strftime('%Y-%m-%d')}; load average before {before}, after {load()}."
    known = sections(path.read_text(encoding="utf-8")) if path.exists() else {}
    for one in figures:
        known[one.title] = replace(one, remarks=[*one.remarks, told]).markdown()
    path.write_text("\n".join([head, *known.values()]), encoding="utf-8")


def sections(page: str) -> dict[str, str]:
    """Take a page apart: its sections by title, without what stands above the first."""
    parts = page.split("\n## ")[1:]
    return {part.partition("\n")[0]: f"## {part.rstrip()}\n" for part in parts}
