"""Processes on this system, without Kafka."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clientlib.protocol.errors import TimedOutError
from failover.lab import probes
from failover.lab.processes import (
    ManagedProcess,
    identify,
    processes_with_argument,
    wait_until,
)

# Says that it is ready and waits; a TERM is ignored if asked.
_WAITING = (
    "import signal, sys\n"
    "if 'stubborn' in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "print('ready', flush=True)\n"
    "while True: signal.pause()\n"
)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[ManagedProcess]:
    managed = ManagedProcess(tmp_path / "pid.json")
    yield managed
    managed.kill()


def _spawn(process: ManagedProcess, tmp_path: Path, *arguments: str) -> int:
    log = tmp_path / "log"
    process.spawn([sys.executable, "-c", _WAITING, *arguments], log=log, env=os.environ)
    wait_until(lambda: "ready" in log.read_text(), timeout_s=20, what="not ready")
    pid = process.pid
    assert pid is not None
    return pid


def test_another_run_of_the_tool_finds_it(process: ManagedProcess, tmp_path: Path) -> None:
    pid = _spawn(process, tmp_path)
    again = ManagedProcess(tmp_path / "pid.json")
    assert again.pid == pid
    assert os.getsid(pid) == pid
    again.kill()
    assert not process.alive
    assert identify(pid) is None


@pytest.mark.parametrize("arguments", [(), ("stubborn",)])
def test_terminate_ends_even_a_stubborn_one(
    process: ManagedProcess, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    pid = _spawn(process, tmp_path, *arguments)
    process.terminate(timeout_s=0.5)
    assert identify(pid) is None
    assert not (tmp_path / "pid.json").exists()


def test_a_paused_one_is_alive_and_can_be_terminated(
    process: ManagedProcess, tmp_path: Path
) -> None:
    _spawn(process, tmp_path)
    process.pause()
    assert process.alive
    process.terminate(timeout_s=20)
    assert not process.alive


def test_children_of_the_process_go_with_it(process: ManagedProcess, tmp_path: Path) -> None:
    mark = f"mark-{tmp_path.name}-{os.getpid()}"
    parent = (
        f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {_WAITING!r}, {mark!r}])"
    )
    process.spawn(
        [sys.executable, "-c", f"{parent}\n{_WAITING}"], log=tmp_path / "log", env=os.environ
    )
    wait_until(lambda: any(processes_with_argument(mark)), timeout_s=20, what="no child")
    process.kill()
    wait_until(lambda: not any(processes_with_argument(mark)), timeout_s=20, what="child stays")


def test_a_pid_with_another_start_is_somebody_else(tmp_path: Path) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        file = tmp_path / "pid.json"
        file.write_text(json.dumps({"pid": bystander.pid, "started": "ticks:1"}))
        process = ManagedProcess(file)
        assert not process.alive
        process.kill()
        assert bystander.poll() is None
    finally:
        bystander.communicate(b"\n", timeout=20)


@pytest.mark.parametrize("text", ["", "{}", "[1]", "nonsense", '{"pid": 1, "x": 2}'])
def test_a_damaged_file_is_no_process(tmp_path: Path, text: str) -> None:
    (tmp_path / "pid.json").write_text(text)
    assert not ManagedProcess(tmp_path / "pid.json").alive


def test_a_zombie_has_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    wait_until(lambda: identify(child.pid) is None, timeout_s=20, what="never a zombie")
    assert child.wait() == 0


def test_wait_until_says_what_did_not_happen() -> None:
    with pytest.raises(TimedOutError, match=r"nobody came within 0\.05 s"):
        wait_until(lambda: False, timeout_s=0.05, what="nobody came")


def test_ports_are_free_and_differ() -> None:
    first = probes.choose_ports(3, iter(probes.port_range()))
    assert len(set(first)) == 3
    repeated = [first[0], first[0], first[1]]
    assert probes.choose_ports(2, repeated) == first[:2]
    assert probes.choose_ports(5, first) == first


def test_a_flow_grew_only_if_its_copy_did() -> None:
    before = {("LEFT", "RIGHT"): 5}
    assert not probes.all_grew(before, {("LEFT", "RIGHT"): 5, ("RIGHT", "LEFT"): 1})
    assert not probes.all_grew(before, {("LEFT", "RIGHT"): 6, ("RIGHT", "LEFT"): 0})
    assert probes.all_grew(before, {("LEFT", "RIGHT"): 6, ("RIGHT", "LEFT"): 1})
