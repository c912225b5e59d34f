"""A producer at a steady rate: memory and processor time, wrapped against plain.

Each run is a process of its own, because memory that was given back once tells nothing afterwards:
``python steady.py '{...}'`` is one, and prints what it took as JSON.
"""

import json
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from confluent_kafka import Producer
from figures import Figures

from clientlib import FailoverProducer
from failover.demo.story import create_topics
from failover.lab.lab import Lab

RATE = 10_000
_VALUE = b"v" * 100
_KEYS = [f"key-{number}".encode() for number in range(256)]
_DURABLE = {"acks": "all", "enable.idempotence": True, "linger.ms": 5}
_WARM_S, _TICK_S, _FLUSH_S = 3.0, 0.005, 60.0
_MIB = 1024  # /proc tells KiB
_NO_BUFFER = (("failover.replay.bytes", 0),)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Way:
    name: str
    wrapped: bool
    mm2: bool = True
    settings: tuple[tuple[str, Any], ...] = ()


_WAYS = (
    _Way("plain", wrapped=False),
    _Way("wrapped", wrapped=True),
    _Way(
        "wrapped, replay buffer of 0 bytes", wrapped=True, settings=(("failover.replay.bytes", 0),)
    ),
    _Way("wrapped, and nothing is copied: all is kept", wrapped=True, mm2=False),
)


def measure(lab: Lab, seconds: float, repeats: int, say: Say) -> Figures:
    """Run each way so often, in turn, for so many seconds."""
    topic = f"steady-{uuid.uuid4().hex[:6]}"
    create_topics(lab, [topic, *(f"{alias}.{topic}" for alias in lab.aliases)], 6)
    found: list[list[dict[str, float]]] = [[] for _ in _WAYS]
    for _ in range(repeats):
        for index, way in enumerate(_WAYS):
            found[index].append(_run(lab, topic, way, seconds))
            say(f"{way.name}: {found[index][-1]}")
    rows = [_row(way, took, found[0]) for way, took in zip(_WAYS, found, strict=True)]
    heads = (
        *("", "CPU for 10,000 records", "against plain", "memory (RSS)"),
        *("against plain", "growth of memory", "records acknowledged"),
    )
    return Figures(
        f"A producer of {RATE:,} records/s: memory and processor",
        heads,
        rows,
        [
            f"Medians of {repeats} runs in turn, each a process of its own of {seconds:g} s.",
            "100 bytes with a key, 6 partitions, acks=all, idempotence, a callback that counts.",
            "Memory at the end; its growth since the third second.",
        ],
    )


def _row(
    way: _Way, found: Sequence[dict[str, float]], plain: Sequence[dict[str, float]]
) -> list[str]:
    pairs = list(zip(found, plain, strict=True))
    cpu = median(mine["cpu_s"] for mine in found)
    more = median(mine["cpu_s"] - base["cpu_s"] for mine, base in pairs)
    rss = median(mine["rss_mib"] for mine in found)
    larger = median(mine["rss_mib"] - base["rss_mib"] for mine, base in pairs)
    growth = median(mine["growth_mib"] for mine in found)
    return [
        way.name,
        f"{cpu * 1000:,.0f} ms",
        f"{more * 1000:+,.0f} ms",
        f"{rss:,.0f} MiB",
        f"{larger:+,.0f} MiB",
        f"{growth:+,.0f} MiB",
        f"{median(mine['acked'] for mine in found):,.0f}",
    ]


def _run(lab: Lab, topic: str, way: _Way, seconds: float) -> dict[str, float]:
    given = {
        "address": lab.bootstrap(lab.aliases[0]),
        "config": str(lab.config_path) if way.wrapped else None,
        "topic": topic,
        "seconds": seconds,
        "settings": dict(way.settings),
    }
    if not way.mm2:
        lab.stop("mm2")
    try:
        command = [sys.executable, __file__, json.dumps(given)]
        done = subprocess.run(command, capture_output=True, check=True, timeout=seconds + 120)
    finally:
        if not way.mm2:
            lab.start("mm2")
    taken: dict[str, float] = json.loads(done.stdout)
    return taken


# -- one run, in a process of its own ------------------------------------------------------------


def _produce(given: dict[str, Any]) -> dict[str, float]:
    """Produce at the steady rate; what is measured begins when everything has settled."""
    if given["config"] is None:
        producer: Any = Producer({"bootstrap.servers": given["address"], **_DURABLE})
    else:
        producer = FailoverProducer(
            {"failover.config": given["config"], **_DURABLE, **given["settings"]}
        )
    reported = 0

    def report(error: object, _message: object) -> None:
        nonlocal reported
        reported += error is None

    def work(seconds: float) -> int:
        begun, sent = time.monotonic(), 0
        while (elapsed := time.monotonic() - begun) < seconds:
            for _ in range(int(elapsed * RATE) - sent):
                producer.produce(given["topic"], _VALUE, _KEYS[sent % 256], on_delivery=report)
                sent += 1
            producer.poll(_TICK_S)
        return sent

    work(_WARM_S)
    before, rss = time.process_time(), _rss_kib()
    sent = work(given["seconds"])
    cpu, after = time.process_time() - before, _rss_kib()
    if producer.flush(_FLUSH_S):
        raise RuntimeError("not every record was acknowledged")
    return {
        "cpu_s": round(cpu / sent * RATE, 4),
        "rss_mib": round(after / _MIB, 1),
        "growth_mib": round((after - rss) / _MIB, 1),
        "acked": reported,
    }


def _rss_kib() -> int:
    told = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    if told is None:
        raise RuntimeError("this system does not tell a process's memory")
    return int(told[1])


if __name__ == "__main__":
    print(json.dumps(_produce(json.loads(sys.argv[1]))))
