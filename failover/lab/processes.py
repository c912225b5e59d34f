"""Processes that outlive their starter, and of which nothing survives.

A process is known by its pid *and* the time it was started: both stand in a file beside its log,
so that another run of the tool can go on with it, and a pid that the system gave to somebody else
is never signalled. Each process leads a session of its own; signals go to all of it.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from clientlib.protocol.errors import TimedOutError

_POLL_S = 0.02
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Identity:
    """A process that cannot be mistaken for a later one with the same pid."""

    pid: int
    started: str


def identify(pid: int) -> Identity | None:
    """Return the identity of a running process; None when it ended (a zombie has ended)."""
    started = _started_linux(pid) if _PROC.joinpath("self").exists() else _started_ps(pid)
    return None if started is None else Identity(pid, started)


def _started_linux(pid: int) -> str | None:
    try:
        stat = _PROC.joinpath(str(pid), "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in parentheses, may hold anything; state is the field behind it, start time the
    # 20th behind it (proc(5)).
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else f"ticks:{fields[19]}"


def _started_ps(pid: int) -> str | None:
    answer = _ps("-o", "state=,lstart=", "-p", str(pid)).split(maxsplit=1)
    return None if not answer or answer[0].startswith("Z") else f"at:{answer[1].strip()}"


def _ps(*arguments: str) -> str:
    return subprocess.run(
        ["/bin/ps", *arguments], capture_output=True, text=True, check=False
    ).stdout


class ManagedProcess:
    """One process by the file that remembers it; the file need not exist yet."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def spawn(self, command: Sequence[str], *, log: Path, env: Mapping[str, str]) -> None:
        """Start ``command`` in a session of its own, its output appended to ``log``."""
        log.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        pid = os.posix_spawn(
            command[0],
            list(command),
            dict(env),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        identity = identify(pid)
        if identity is not None:
            write_atomically(self._file, json.dumps(asdict(identity)))

    @property
    def pid(self) -> int | None:
        """The pid if the process runs, else None."""
        identity = self._running()
        return None if identity is None else identity.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs (a paused one does)."""
        return self._running() is not None

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone. Nothing happens when it does not run."""
        identity = self._running()
        if identity is not None:
            end_process(identity, timeout_s=10)
        self._file.unlink(missing_ok=True)

    def terminate(self, timeout_s: float = 30) -> None:
        """SIGTERM, and SIGKILL for one that is still there after ``timeout_s``."""
        identity = self._running()
        if identity is not None:
            try:
                end_process(identity, signal.SIGTERM, timeout_s=timeout_s)
            except TimedOutError:
                end_process(identity, timeout_s=10)
        self._file.unlink(missing_ok=True)

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        identity = self._running()
        if identity is not None:
            os.killpg(identity.pid, number)

    def _running(self) -> Identity | None:
        try:
            remembered = Identity(**json.loads(self._file.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        _reap(remembered.pid)
        return remembered if identify(remembered.pid) == remembered else None


def end_process(
    identity: Identity, number: signal.Signals = signal.SIGKILL, *, timeout_s: float
) -> None:
    """Signal the session of a process until the process is gone; TimedOutError if it stays."""
    try:
        os.killpg(identity.pid, number)
        os.killpg(identity.pid, signal.SIGCONT)  # a paused one would not end
    except ProcessLookupError:
        return
    except PermissionError:  # macOS says so of a session whose last process is a zombie
        pass
    wait_until(
        lambda: _gone(identity), timeout_s=timeout_s, what=f"process {identity.pid} did not end"
    )


def _gone(identity: Identity) -> bool:
    _reap(identity.pid)
    return identify(identity.pid) != identity


def _reap(pid: int) -> None:
    """Take the exit status of a child of ours; children of others belong to their parents."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def processes_with_argument(argument: str) -> Iterator[Identity]:
    """Yield the running processes that have exactly this among their arguments."""
    for pid, arguments in _command_lines():
        if argument in arguments and pid != os.getpid():
            identity = identify(pid)
            if identity is not None:
                yield identity


def _command_lines() -> Iterator[tuple[int, list[str]]]:
    if not _PROC.joinpath("self").exists():
        for line in _ps("-axww", "-o", "pid=,command=").splitlines():
            pid, *arguments = line.split()
            yield int(pid), arguments
        return
    for entry in _PROC.iterdir():
        if entry.name.isdecimal():
            yield int(entry.name), _arguments_linux(entry)


def _arguments_linux(entry: Path) -> list[str]:
    try:
        return entry.joinpath("cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:  # it ended meanwhile
        return []


def write_atomically(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` in one step, so that a reader sees the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    staging.write_text(text, encoding="utf-8")
    staging.replace(path)


def wait_until(condition: Callable[[], bool], *, timeout_s: float, what: str) -> None:
    """Return as soon as ``condition()`` holds; raises TimedOutError with ``what`` otherwise."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimedOutError(f"{what} within {timeout_s:g} s")
        time.sleep(_POLL_S)
