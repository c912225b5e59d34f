"""How long a person waits for commands that should answer at once."""

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from figures import Figures, milliseconds

_PROMISED_MS = {"--help": 400, "status": 1500}
# status exits with 10 when something is degraded, and that is an answer too
_ANSWERS = (0, 10)


def measure(config: Path, repeats: int) -> Figures:
    """Time ``failover --help`` and ``failover status`` in processes of their own."""
    start = [sys.executable, "-c", "from failover.cli.app import main; main()"]
    rows = [
        _row("failover --help", [*start, "--help"], repeats, _PROMISED_MS["--help"]),
        _row(
            "failover status",
            [*start, "-c", str(config), "status"],
            repeats,
            _PROMISED_MS["status"],
        ),
    ]
    return Figures(
        "Commands",
        ("command", "median", "longest", "promised"),
        rows,
        [f"Wall time of {repeats} runs each, after one that does not count."],
    )


def _row(name: str, command: list[str], repeats: int, promised_ms: int) -> list[str]:
    took = [_time(command) for _ in range(repeats + 1)][1:]
    return [
        f"`{name}`",
        milliseconds(median(took)),
        milliseconds(max(took)),
        f"{promised_ms:,} ms",
    ]


def _time(command: list[str]) -> float:
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode not in _ANSWERS:
        raise RuntimeError(f"{command} ended with {done.returncode}: {done.stderr.decode()}")
    return time.perf_counter() - begun
