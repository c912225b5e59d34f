"""A producer in a process of its own, for scenarios that kill it.

Usage: sender.py CONFIG NAME GROUP TOPIC EVENTS rate=N
"""

import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from application import Producing

from failover.io.history import HistoryWriter


def main(argv: list[str]) -> None:
    config, name, _, topic, events, *pairs = argv
    settings = dict(pair.split("=", 1) for pair in pairs)
    with HistoryWriter(Path(events)) as journal:
        app: Any = SimpleNamespace(config=config, journal=journal)
        producer = Producing(app, name, float(settings["rate"]), topic)
        signal.signal(signal.SIGTERM, lambda *_: producer.stopping.set())
        producer.start()
        while producer.is_alive():
            producer.join(0.2)
        if producer.error is not None:
            raise producer.error


if __name__ == "__main__":
    main(sys.argv[1:])
