"""``make bench``: measures on real Kafka, prints tables, writes ``docs/benchmarks.md``."""

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import commands
import detection
import emergency
import pauses
import steady
import stock
import throughput
from figures import Figures, load, write
from rich.console import Console
from rich.markdown import Markdown

from clientlib.settings import load as read_settings
from failover.demo.story import stage
from failover.engine import connect

_PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
_PARTS = ("pauses", "commands", "throughput", "steady", "detection", "emergency", "stock")
_OWN_LABS = {"emergency", "stock"}

Say = Callable[[str], None]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="of switch and failback")
    parser.add_argument("--disasters", type=int, default=20, help="LEFT killed and taken back")
    parser.add_argument("--records", type=int, default=300_000, help="for each throughput run")
    parser.add_argument("--repeats", type=int, default=7, help="of each throughput run")
    parser.add_argument("--kills", type=int, default=3, help="rounds in which LEFT is killed")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each steady run")
    parser.add_argument("--seed", type=int, default=None, help="of when LEFT is killed")
    parser.add_argument("--only", choices=_PARTS, action="append", help="measure these parts only")
    parser.add_argument("--page", type=Path, default=_PAGE, help="where to write the results")
    parser.add_argument("--dir", type=Path, default=None, help="where to work")
    given = parser.parse_args()
    if given.seed is None:
        given.seed = random.SystemRandom().randrange(10_000)
    return given


def main() -> int:
    """Measure; return 1 if a record was lost, repeated or reordered, 130 when interrupted."""
    try:
        return _measure()
    except KeyboardInterrupt:
        print("interrupted; nothing is left, and nothing was written", file=sys.stderr)
        return 130


def _measure() -> int:
    given = _arguments()
    parts = given.only or _PARTS
    begun, before = time.monotonic(), load()
    figures: list[Figures] = []
    good = True

    def say(line: str) -> None:
        print(f"[{time.monotonic() - begun:6.1f} s] {line}", file=sys.stderr, flush=True)

    if set(parts) - _OWN_LABS:
        good = _on_one_lab(given, parts, figures, say)
    if "emergency" in parts:
        figures.append(emergency.measure(given.kills, say))
    if "stock" in parts:
        figures.append(stock.measure(given.kills, given.seed, say))
    write(given.page, figures, before=before, command="make bench")
    Console(width=100).print(Markdown("\n".join(one.markdown() for one in figures)))
    return 0 if good else 1


def _on_one_lab(
    given: argparse.Namespace, parts: Sequence[str], figures: list[Figures], say: Say
) -> bool:
    """Measure what leaves the lab as it was; return whether every record came once, in order."""
    good = True
    with stage(given.dir, keep=False, say=say) as (lab, home):
        if "pauses" in parts:
            told, found = pauses.measure(lab, home, given.rounds, given.disasters, say)
            good = told.good
            figures += found
        else:
            with connect(read_settings(lab.config_path)) as orchestrator:
                orchestrator.init(lab.aliases[0])
        if "commands" in parts:
            figures.append(commands.measure(lab.config_path, given.repeats))
        if "throughput" in parts:
            figures += throughput.measure(lab, given.records, given.repeats, say)
        if "steady" in parts:
            figures.append(steady.measure(lab, given.seconds, given.repeats, say))
        if "detection" in parts:
            figures.append(detection.measure(lab, given.kills, say))
    return good


if __name__ == "__main__":
    sys.exit(main())
