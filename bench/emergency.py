"""LEFT is killed under load: where the time of ``failover switch --emergency`` goes, by its steps.

Until writes could be closed on RIGHT by what the tool asked of Kafka, afterwards by its own report.
"""

import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from figures import Figures, milliseconds

from failover.demo.application import Application
from failover.demo.story import LEFT, RIGHT, create_topics, stage
from failover.demo.tool import Tool
from failover.io.history import HistoryWriter
from failover.lab.lab import Lab

_TRACED = str(Path(__file__).with_name("traced.py"))
_GIVEN_UP = ("switch", "--to", RIGHT, "--emergency", "--allow-data-loss", "--yes")
_PARTITIONS, _BEHIND = 6, 300
_FLOW_S, _READY_S, _AFTER_S = 180.0, 180.0, 2.0
_START, _IMPORT, _FIRST, _OWN = (
    "Python starts",
    "the tool and confluent-kafka are imported",
    "arguments, configuration, handles",
    "the rest: findings, plan, journal; pauses between two looks",
)

Say = Callable[[str], None]


def measure(rounds: int, say: Say) -> Figures:
    """Kill LEFT so often, each time in a lab of its own, and give it up by command."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for number in range(1, rounds + 1):
        with stage(None, keep=False, say=lambda _: None) as (lab, home):
            took = _round(lab, home)
        for name, seconds in took.items():
            found[name].append(seconds)
        say(f"round {number} of {rounds}: " + ", ".join(_told(took)))
    rows = [
        [name, str(len(took)), milliseconds(median(took)), milliseconds(max(took))]
        for name, took in found.items()
    ]
    return Figures(
        "Unplanned: where the time of the command goes",
        ("step", "number", "median", "longest"),
        rows,
        [
            (
                "In order of their first time. Names with a dot are what was asked of Kafka: all "
                "calls of a name together, from the command's own thread."
            ),
            "2 producers of 500 records/s, 3 consumers; LEFT was killed (SIGKILL) just before.",
        ],
    )


def _told(took: Mapping[str, float]) -> list[str]:
    return [f"{name} {milliseconds(seconds)}" for name, seconds in took.items()]


def _round(lab: Lab, home: Path) -> dict[str, float]:
    create_topics(lab, ["orders"], _PARTITIONS)
    with (
        HistoryWriter(home / "tool.jsonl") as history,
        Application(lab.config_path, home / "application", "orders", "billing") as application,
    ):
        tool = Tool(lab.config_path, history, lambda _: None, home / "tool.log")
        tool.init(LEFT)
        application.consume(("auto", "batch", "message"))
        application.produce(2, 500.0)
        application.wait_flowing(_PARTITIONS, _BEHIND, timeout_s=_FLOW_S)
        tool.until_ready(RIGHT, timeout_s=_READY_S)
        lab.kill(LEFT)
        took = _switch(lab, home)
        application.run_on(_AFTER_S)
        application.stop_producers()
        application.stop_consumers()
    return took


def _switch(lab: Lab, home: Path) -> dict[str, float]:
    path = home / "trace.json"
    options = ("-c", str(lab.config_path), "-o", "json", *_GIVEN_UP)
    command = [sys.executable, _TRACED, str(path), *options]
    begun = time.time()
    done = subprocess.run(command, capture_output=True, check=False)
    ended = time.time()
    if done.returncode:
        raise RuntimeError(f"the switch ended with {done.returncode}: {done.stderr.decode()}")
    trace = json.loads(path.read_text(encoding="utf-8"))
    return steps(begun, ended, trace, json.loads(done.stdout)["measured"])


def steps(
    begun: float, ended: float, trace: Mapping[str, Any], measured: Mapping[str, Any]
) -> dict[str, float]:
    """Return how long each step took, in seconds; together they are the whole command."""
    closing, moved = (measured[name] / 1000 for name in ("closing_at_ms", "committed_at_ms"))
    before = [(name, at, min(until, closing)) for name, at, until in trace["calls"] if at < closing]
    took = {_START: trace["begun"] - begun, _IMPORT: trace["ready"] - trace["begun"]}
    took[_FIRST] = before[0][1] - trace["ready"]
    for name, at, until in before:
        took[name] = took.get(name, 0.0) + until - at
    took[_OWN] = closing - begun - sum(took.values())
    took["**until the first write of the run**"] = closing - begun
    for name, phase_ms in measured["phases_ms"].items():
        took[f"phase `{name}`"] = phase_ms / 1000
    took["**until the commit**"] = moved - begun
    took["clients move, verification, end of the process"] = ended - moved
    return took
