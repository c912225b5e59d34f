"""The tool in a process of its own that sends itself a signal when a step begins.

Usage: tool.py CONFIG TARGET STEP SIGNAL [--emergency]; prints the result's exit code.
"""

import os
import signal
import sys

from clientlib.settings import load
from failover.core.result import Progress, SwitchRequest
from failover.engine import connect


def main(config: str, target: str, step: str, name: str, *options: str) -> None:
    sent: list[int] = []

    def watch(progress: Progress) -> None:
        if progress.step.name == step and not sent:
            sent.append(1)
            os.kill(os.getpid(), signal.Signals[name])

    with connect(load(config), on_progress=watch) as orchestrator:
        emergency = "--emergency" in options
        result = orchestrator.switch(
            SwitchRequest(
                "default", target, timeout_s=30.0, emergency=emergency, allow_data_loss=emergency
            )
        )
    assert sent, f"no step {step}: {result}"
    print(int(result.exit_code), result.result)  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main(*sys.argv[1:])
