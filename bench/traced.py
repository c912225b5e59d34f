"""``failover`` with a clock at its edges: ``python traced.py TRACE.json -c FILE switch ...``.

Every call of a public method of what talks to Kafka is timed, from the command's own thread and
not within another such call. Nothing of the tool is changed for it.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import FunctionType
from typing import Any

BEGUN = time.time()  # before anything of the tool is imported


def main() -> None:
    """Run the command, then write when it began, was ready, and each call: what, from, until."""
    path = Path(sys.argv.pop(1))
    trace = _Trace()
    from failover.cli.app import main as failover  # noqa: PLC0415 - its time is what we measure
    from failover.io.log_reader import KafkaLogReader  # noqa: PLC0415 - as above
    from failover.io.observe import Observer  # noqa: PLC0415 - as above
    from failover.io.state_store import KafkaStateStore  # noqa: PLC0415 - as above
    from failover.io.switch_admin import KafkaSwitchAdmin  # noqa: PLC0415 - as above

    for kind, name in (
        (KafkaStateStore, "state"),
        (KafkaSwitchAdmin, "admin"),
        (KafkaLogReader, "log"),
        (Observer, "observer"),
    ):
        trace.time_methods(kind, name)
    ready = time.time()
    try:
        failover()
    finally:
        told = {"begun": BEGUN, "ready": ready, "calls": trace.calls, "ended": time.time()}
        path.write_text(json.dumps(told), encoding="utf-8")


class _Trace:
    """The calls, in order of their ends."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, float, float]] = []
        self._inside = False

    def time_methods(self, kind: type, name: str) -> None:
        """Time every public method of a class."""
        for method, function in list(vars(kind).items()):
            if isinstance(function, FunctionType) and not method.startswith("_"):
                setattr(kind, method, self._timed(f"{name}.{method}", function))

    def _timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if self._inside or threading.current_thread() is not threading.main_thread():
                return function(*args, **kwargs)
            self._inside, begun = True, time.time()
            try:
                result = function(*args, **kwargs)
            finally:
                self._inside = False
                self.calls.append((name, begun, time.time()))
            return self._timed(f"{name}: the answer", result) if callable(result) else result

        return call


if __name__ == "__main__":
    main()
