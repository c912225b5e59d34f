"""The demo as a user starts it, on a short scale; and that nothing of it is left, whatever ends it.

It brings a lab of its own, because that it takes it down again is part of what it promises.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from failover.lab.processes import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("lab"), pytest.mark.timeout(600)]

_START = "from failover.cli.app import main; main()"
_PROC = Path("/proc")


@contextmanager
def _demo(home: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Start the demo; whatever the test does, it is ended as a user would end it."""
    command = [sys.executable, "-c", _START, "demo", "--dir", str(home), *options]
    with (home.parent / "progress").open("w", encoding="utf-8") as progress:
        demo = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=progress, text=True)
        try:
            yield demo
        finally:
            if demo.poll() is None:
                demo.send_signal(signal.SIGTERM)
                demo.communicate(timeout=60)


def _left(home: Path) -> list[str]:
    """Command lines of processes that have to do with the demo."""
    if not _PROC.joinpath("self").exists():
        lines = subprocess.run(
            ["/bin/ps", "-axww", "-o", "command="], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        return [line for line in lines if str(home) in line]
    found = []
    for entry in _PROC.iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                line = entry.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:  # it ended meanwhile
                continue
            if str(home) in line:
                found.append(line)
    return found


def _progress(home: Path) -> str:
    return (home.parent / "progress").read_text(encoding="utf-8")


def test_the_story_ends_well_and_leaves_nothing(tmp_path: Path) -> None:
    home = tmp_path / "demo"
    with _demo(home, "--rounds", "1", "--rate", "100") as demo:
        output, _ = demo.communicate(timeout=590)
    assert demo.returncode == 0, output + _progress(home)
    assert "VERDICT: good" in output
    assert "0 lost   0 repeated   0 reordered" in output
    counts = re.search(r"([\d,]+) records sent, ([\d,]+) acknowledged, ([\d,]+) delivered", output)
    assert counts is not None
    assert len(set(counts.groups())) == 1
    assert int(counts[1].replace(",", "")) > 1000
    assert "LEFT -> RIGHT" in output
    assert "RIGHT -> LEFT" in output
    assert not _left(home)
    assert not home.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_in_the_middle_it_leaves_nothing(tmp_path: Path, number: int) -> None:
    home = tmp_path / "demo"
    with _demo(home) as demo:
        wait_until(
            lambda: (
                len(list(home.glob("application/consumer-*.jsonl"))) > 0 or demo.poll() is not None
            ),
            timeout_s=400,
            what="the application was not started",
        )
        assert len(_left(home)) > len(("demo", "LEFT", "RIGHT", "mm2"))
        demo.send_signal(number)
        demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert not _left(home)
    assert not home.exists()
