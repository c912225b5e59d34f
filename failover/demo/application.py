"""The application's processes, and what they have written down so far."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

from clientlib.protocol.errors import RemoteError, TimedOutError
from failover.checkers import Acked, Delivered, History, decode
from failover.io.history import read_history

_POLL_S = 0.1
_END_S = 45.0
_KILL_S = 10.0
_PROGRAM = ("-m", "failover.demo.app")

Record = tuple[str, int]


@dataclass
class Process:
    """One producer or consumer: its process, its history, its log."""

    name: str
    role: str
    history: Path
    log: Path
    handle: subprocess.Popen[bytes]
    acked: set[Record] = field(default_factory=set)
    delivered: set[Record] = field(default_factory=set)
    partitions: set[int] = field(default_factory=set)
    _offset: int = 0

    def catch_up(self) -> None:
        """Take in what the process has written since the last call."""
        if not self.history.exists():
            return
        with self.history.open("rb") as file:
            file.seek(self._offset)
            fresh = file.read()
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            if line[2:3] in b"AD":
                self._note(line.decode())

    def _note(self, line: str) -> None:
        match decode(line):
            case Acked(producer=producer, seq=seq):
                self.acked.add((producer, seq))
            case Delivered(producer=producer, seq=seq, partition=partition):
                self.delivered.add((producer, seq))
                self.partitions.add(partition)


class Application:
    """Producers and consumers in processes of their own, as a context manager.

    Leaving it ends every process, with SIGKILL those that do not end when asked. ``directory``
    keeps their histories and logs. ``program``: what Python is to run, with the demo's arguments.
    """

    def __init__(
        self,
        config: Path | str,
        directory: Path,
        topic: str,
        group: str,
        program: Sequence[str] = _PROGRAM,
    ) -> None:
        self._config, self._directory = config, directory
        self._topic, self.group = topic, group
        self._program = program
        self._processes: list[Process] = []
        directory.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()

    @property
    def producers(self) -> list[Process]:
        """The producers, running or ended."""
        return [process for process in self._processes if process.role == "producer"]

    @property
    def consumers(self) -> list[Process]:
        """The consumers, running or ended."""
        return [process for process in self._processes if process.role == "consumer"]

    def produce(self, count: int, rate: float, firsts: Mapping[str, int] | None = None) -> None:
        """Start producers of ``rate`` records a second each.

        ``firsts``: with which number each begins, if not with 0.
        """
        for number in range(1, count + 1):
            name = f"producer-{number}"
            first = (firsts or {}).get(name, 0)
            self._start("producer", name, "--rate", str(rate), "--first", str(first))

    def consume(self, commits: Iterable[str]) -> None:
        """Start one consumer of the group for each way to commit."""
        for number, commit in enumerate(commits, 1):
            name = f"consumer-{number}"
            self._start("consumer", name, "--group", self.group, "--commit", commit)

    def _start(self, role: str, name: str, *options: str) -> None:
        history, log = self._directory / f"{name}.jsonl", self._directory / f"{name}.log"
        command = [
            *(sys.executable, *self._program, role, "--with-parent"),
            *("--config", str(self._config), "--name", name, "--topic", self._topic),
            *("--history", str(history), *options),
        ]
        with log.open("ab") as output:
            # A session of its own: Ctrl-C is for whoever started the demo, who ends us in order.
            handle = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._processes.append(Process(name, role, history, log, handle))

    # -- what has happened so far ------------------------------------------------------------

    def catch_up(self) -> None:
        """Take in what every process has written; raise RemoteError if one has ended."""
        for process in self._processes:
            process.catch_up()
            code = process.handle.poll()
            if code:
                raise RemoteError(f"{process.name} ended with {code}:\n{_tail(process.log)}")

    @property
    def acked(self) -> int:
        """How many records were acknowledged."""
        return sum(len(process.acked) for process in self.producers)

    @property
    def missing(self) -> int:
        """How many acknowledged records the group has not got yet."""
        acked = set[Record]().union(*(process.acked for process in self.producers))
        return len(acked.difference(*(process.delivered for process in self.consumers)))

    def wait_flowing(self, partitions: int, behind: int, *, timeout_s: float) -> None:
        """Wait until all read, every partition is read, and the group is caught up, nearly."""
        self._wait(
            lambda: (
                all(process.acked for process in self.producers)
                and all(process.delivered for process in self.consumers)
                and len(set().union(*(p.partitions for p in self.consumers))) == partitions
                and self.missing <= behind
            ),
            timeout_s,
            "the application does not read everything that it writes",
        )

    def wait_drained(self, *, timeout_s: float) -> bool:
        """Wait until the group has got every acknowledged record; False if it has not in time."""
        try:
            self._wait(lambda: not self.missing, timeout_s, "records are missing")
        except TimedOutError:
            return False
        return True

    def run_on(self, seconds: float) -> None:
        """Let the application work for a while; raise RemoteError if a process ends."""
        end = time.monotonic() + seconds
        self._wait(lambda: time.monotonic() >= end, seconds + 1, "")

    def _wait(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            self.catch_up()
            if condition():
                return
            if time.monotonic() > deadline:
                raise TimedOutError(f"{what} within {timeout_s:g} s")
            time.sleep(_POLL_S)

    # -- the end -----------------------------------------------------------------------------

    def stop_producers(self) -> None:
        """Let every producer flush and end."""
        _end(self.producers)

    def stop_consumers(self) -> None:
        """Let every consumer commit, leave its group and end."""
        _end(self.consumers)

    def abandon(self, patience_s: float) -> None:
        """End every process as an operator does whose cluster is gone: ask, wait a little, kill."""
        for process in self._processes:
            process.handle.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + patience_s
        for process in self._processes:
            with suppress(subprocess.TimeoutExpired):
                process.handle.wait(max(0.0, deadline - time.monotonic()))
        self._kill()
        for process in self._processes:
            process.catch_up()

    def _kill(self) -> None:
        for process in self._processes:
            if process.handle.poll() is None:
                process.handle.kill()
        for process in self._processes:
            process.handle.wait(_KILL_S)
            _close(process.handle.stdin)

    def history(self, *others: Path) -> History:
        """Merge what all processes have written."""
        return read_history([*others, *(p.history for p in self._processes if p.history.exists())])


def _end(processes: list[Process]) -> None:
    """Ask all to end, then wait. Raises RemoteError for one that fails or does not end."""
    for process in processes:
        process.handle.send_signal(signal.SIGTERM)
    for process in processes:
        try:
            code = process.handle.wait(_END_S)
        except subprocess.TimeoutExpired:
            raise RemoteError(f"{process.name} does not end:\n{_tail(process.log)}") from None
        if code:
            raise RemoteError(f"{process.name} ended with {code}:\n{_tail(process.log)}")
        process.catch_up()


def _close(stream: IO[bytes] | None) -> None:
    if stream is not None:
        stream.close()


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
