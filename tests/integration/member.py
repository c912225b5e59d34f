"""A consumer in a process of its own, for scenarios that kill or stop it.

Usage: member.py CONFIG NAME GROUP TOPIC EVENTS [KEY=VALUE ...]
"""

import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from application import Consuming

from failover.io.history import HistoryWriter


def main(argv: list[str]) -> None:
    config, name, group, topic, events, *pairs = argv
    settings: dict[str, Any] = dict(pair.split("=", 1) for pair in pairs)
    with HistoryWriter(Path(events)) as journal:
        app: Any = SimpleNamespace(config=config, journal=journal, active=None)
        member = Consuming(app, name, group, [topic], **settings)
        signal.signal(signal.SIGTERM, lambda *_: member.stopping.set())
        member.start()
        while member.is_alive():
            member.join(0.2)
        if member.error is not None:
            raise member.error


if __name__ == "__main__":
    main(sys.argv[1:])
