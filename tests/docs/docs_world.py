"""The reader's terminal: a directory of its own, the session's lab in it, commands run for real."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
import yaml
from docs_pages import DOCS, Block

from failover.lab.lab import Lab

_TIMEOUT_S = 60
_LOOKS = ("failover status", "failover plan", "failover failback --dry-run", "failover clients",
          "failover lab kill")  # fmt: skip
_SHOWN_HOST = "app1"
_SHOWN_HOME = "/home/you/try"
_TOLD = {"cluster-unreachable"}  # what a page has brought about itself
_CLOSING = """
for _name in ("consumer", "producer"):
    if _name in globals():
        globals()[_name].close()
"""
_MOVING = (
    (re.compile(r"\d{8}T\d{6}\.\d{3}-[0-9a-f]{6}"), "RUN"),
    (re.compile(r"\bdigest [0-9a-f]{12}\b"), "digest DIGEST"),
    (re.compile(r"\b(reader|writer|app)-[0-9a-f]{10}\b"), r"\1-ID"),
    (re.compile(r"(?<!\S)[A-Za-z0-9_-]{22}(?!\S)"), "CLUSTER-ID"),
    (re.compile(r"\d[\d,.]*"), "#"),
    (re.compile(r"# (ms|s|min)\b"), "# s"),
    (re.compile(r"\s+"), " "),
)


def shape(line: str) -> str:
    """Return a line without what differs from one run to the next."""
    for pattern, sign in _MOVING:
        line = pattern.sub(sign, line)
    return line.strip()


def _host(found: re.Match[str]) -> str:
    """Return the shown host's name, columns kept."""
    return _SHOWN_HOST.ljust(len(found[0])) if len(_SHOWN_HOST) < len(found[0]) else _SHOWN_HOST


def same(documented: tuple[str, ...], printed: list[str]) -> bool:
    """Say whether the output has the documented shape; a line of three dots stands for any."""
    wanted = "\n".join(".*" if line.strip() == "..." else re.escape(shape(line))
                       for line in documented if line.strip())  # fmt: skip
    got = "\n".join(shape(line) for line in printed if line.strip())
    return re.fullmatch(wanted.replace("\n.*", "(?:\n.*)?"), got, re.DOTALL) is not None


def _apart(lab: Lab, names: dict[str, str]) -> str:
    """Return the lab's configuration with a scope and control topics of its own."""
    body = yaml.safe_load(lab.config_path.read_text())
    scope = {"topics": [names["TOPIC1"]], "groups": [names["billing"]]}
    body["scopes"] = {"default": scope}
    body["control"] = {"prefix": f"docs-{names['TOPIC1']}"}
    return yaml.safe_dump(body)


class World:
    """Runs blocks one after the other, as a reader would."""

    def __init__(self, lab: Lab, home: Path) -> None:
        self._home = home
        self._running: list[subprocess.Popen[str]] = []
        self._exported: dict[str, str] = {}
        # The reader's directory of the lab: its processes are the session's.
        (home / ".lab").mkdir()
        for entry in lab.directory.iterdir():
            (home / ".lab" / entry.name).symlink_to(entry)
        # Names of the same width that nobody else uses on this lab.
        tag = uuid.uuid4().hex
        self._names = {"TOPIC1": f"T{tag[:5]}", "billing": f"b{tag[:6]}"}
        (home / "docs" / "examples").mkdir(parents=True)
        for example in (DOCS / "examples").iterdir():
            text = self._renamed(example.read_text(encoding="utf-8"))
            (home / "docs" / "examples" / example.name).write_text(text, encoding="utf-8")
        self._config = home / "apart.yaml"
        self._config.write_text(_apart(lab, self._names))
        (home / "failover.yaml").symlink_to(self._config)

    @property
    def _environment(self) -> dict[str, str]:
        own = {k: v for k, v in os.environ.items() if not k.startswith("FAILOVER_")}
        path = f"{Path(sys.executable).parent}:{own['PATH']}"
        return {**own, "PATH": path, "PYTHONUNBUFFERED": "1", **self._exported}

    def run(self, block: Block, command: str) -> list[str]:
        """Run a command of a block; return what a terminal shows. Fails on an unexpected exit."""
        if command.startswith("export "):
            self._export(command)
            return []
        if block.note("background") is not None:
            return self._start(command)
        if self._running and command.startswith(_LOOKS):
            self._settle()
        return self._finish(block, command)

    def _settle(self) -> None:
        """Wait until the scope is well: a reader is slower than we are."""
        until = time.monotonic() + _TIMEOUT_S
        while time.monotonic() < until:
            look = self._popen("failover -o json status")
            document = json.loads(look.communicate(timeout=_TIMEOUT_S)[0])
            wrong = {f["id"] for f in document["findings"] if f["severity"] != "info"}
            if wrong <= _TOLD:
                return
        pytest.fail(f"still not well: {document['findings']}")

    def run_python(self, block: Block) -> None:
        """Run a python snippet to its end, and close what it has made."""
        code = self._renamed("\n".join(block.lines)) + _CLOSING
        process = subprocess.run(
            [sys.executable, "-c", code],
            cwd=self._home,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        assert process.returncode == 0, f"{block.place}\n{process.stderr}"

    def _export(self, command: str) -> None:
        """Set a variable for what follows; the configuration is the one kept apart."""
        name, _, value = command.removeprefix("export ").partition("=")
        self._exported[name] = str(self._config) if name == "FAILOVER_CONFIG" else value

    def _renamed(self, text: str, *, back: bool = False) -> str:
        for shown, used in self._names.items():
            text = text.replace(used, shown) if back else text.replace(shown, used)
        return text

    def _popen(self, command: str) -> "subprocess.Popen[str]":
        command = self._renamed(command)
        return subprocess.Popen(
            ["bash", "-c", command] if set("|><&;#") & set(command) else shlex.split(command),
            cwd=self._home,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _finish(self, block: Block, command: str) -> list[str]:
        process = self._popen(command)
        try:
            out, _ = process.communicate(timeout=_TIMEOUT_S)
        finally:
            process.kill()
        expected = int(block.note("exit") or 0)
        assert process.returncode == expected, f"{block.place}: $ {command}\n{out}"
        return self._shown(out)

    def _start(self, command: str) -> list[str]:
        process = self._popen(command)
        self._running.append(process)
        assert process.stdout is not None
        return self._shown(process.stdout.readline())

    def _shown(self, text: str) -> list[str]:
        text = self._renamed(text, back=True).replace(str(self._config), ".lab/failover.yaml")
        host = socket.gethostname()
        text = re.sub(rf"\b{re.escape(host)}\b( {{0,4}})", _host, text)
        text = text.replace(str(self._home), _SHOWN_HOME)
        return [line.rstrip() for line in text.splitlines()]

    def end(self) -> list[str]:
        """End what runs in the background as Ctrl-C would; return the last line of each."""
        last = []
        for process in self._running:
            process.send_signal(signal.SIGINT)
        for process in self._running:
            try:
                out, _ = process.communicate(timeout=_TIMEOUT_S)
            finally:
                process.kill()
            last.append(out.splitlines()[-1] if out else "")
        self._running.clear()
        return last
