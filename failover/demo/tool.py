"""The tool as an operator uses it: a command, its exit code and its JSON."""

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clientlib.protocol.errors import RemoteError
from failover.checkers import EpochSeen
from failover.core.result import ExitCode
from failover.io.history import HistoryWriter

_START = "from failover.cli.app import main; main()"
_TIMEOUT_S = 180.0
_RETRY_S = 0.5
# A group that has just been joined, or MirrorMaker 2 behind on a busy machine: both pass.
_PASSES = frozenset({ExitCode.REFUSED, ExitCode.TIMED_OUT})

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command came to: exit code, document, and when it ran (monotonic seconds)."""

    command: str
    code: int
    document: Mapping[str, Any]
    begun_at: float
    ended_at: float


class Tool:
    """Runs ``failover`` commands on one configuration; ``say`` is told each command line.

    Writes into ``history`` which epoch a switch is about to begin, as the checkers need it.
    """

    def __init__(self, config: Path, history: HistoryWriter, say: Say, errors: Path) -> None:
        self._config, self._history, self._say, self._errors = config, history, say, errors
        self._epoch = 0

    def run(self, *arguments: str) -> Answer:
        """Run one command; whatever its exit code, return its answer."""
        shown = f"failover {shlex.join(arguments)}"
        self._say(f"$ {shown}")
        command = [sys.executable, "-c", _START, "-c", str(self._config), "-o", "json", *arguments]
        begun = time.monotonic()
        with self._errors.open("ab") as errors:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                timeout=_TIMEOUT_S,
                check=False,
            )
        document = json.loads(done.stdout) if done.stdout.strip() else {}
        return Answer(shown, done.returncode, document, begun, time.monotonic())

    def init(self, active: str) -> Answer:
        """Name the first active cluster."""
        answer = self._demand(self.run("init", "--active", active))
        self._begin(int(answer.document["epoch"]), active)
        return answer

    def until_ready(self, target: str, *, timeout_s: float) -> Answer:
        """Ask ``preflight`` until nothing stands in the way."""
        return self.patiently("preflight", "--to", target, timeout_s=timeout_s)

    def move(self, *arguments: str, target: str, timeout_s: float = 60.0) -> Answer:
        """Switch or fail back; waits out what refuses a switch for a moment only."""
        self._begin(self._epoch + 1, target)
        answer = self.patiently(*arguments, timeout_s=timeout_s)
        if answer.document["epoch"] != self._epoch:
            raise RemoteError(f"{answer.command}: epoch {answer.document['epoch']}?")
        return answer

    def _begin(self, epoch: int, cluster: str) -> None:
        self._epoch = epoch
        self._history.write(EpochSeen("tool", epoch, cluster, time.monotonic()))

    def patiently(self, *arguments: str, timeout_s: float) -> Answer:
        """Run one command, again while it is refused by what passes.

        Raises RemoteError when it fails, or time is over.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            answer = self.run(*arguments)
            if answer.code not in _PASSES or time.monotonic() > deadline:
                return self._demand(answer)
            self._say(f"  not yet: {_reason(answer)}")
            time.sleep(_RETRY_S)

    def _demand(self, answer: Answer) -> Answer:
        if answer.code != ExitCode.OK:
            raise RemoteError(
                f"`{answer.command}` ended with exit code {answer.code}: {_reason(answer)}"
            )
        return answer


def _reason(answer: Answer) -> str:
    document = answer.document
    blocking = ", ".join(
        f"{one['id']} ({one['subject']}: {one['what']})"
        for one in document.get("findings", ())
        if one["severity"] == "block"
    )
    return blocking or str(document.get("message") or "no reason given")
