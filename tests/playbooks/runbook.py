"""Runs real `ansible-playbook` and reads what it says."""

import json
import os
import re
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
PLAYBOOKS = ROOT / "playbooks"
ANSIBLE = ROOT / ".venv-ansible" / "bin"
FAILOVER = Path(sys.executable).with_name("failover")

# Types what it is told, once the runbook asks, at a terminal of its own.
_AT_TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"


@dataclass(frozen=True)
class Ran:
    """How a playbook ended: exit code, everything it said, and the recap of its only host."""

    code: int
    out: str

    def count(self, word: str) -> int:
        found = re.search(rf"^scope +: .*\b{word}=(\d+)", self.out, re.MULTILINE)
        assert found, self.out
        return int(found[1])

    @property
    def changed(self) -> int:
        assert self.code == 0, self.out
        return self.count("changed")

    @property
    def failure(self) -> str:
        """The message that the playbook ended with."""
        assert self.code != 0, self.out
        last = self.out[self.out.rindex("\nfatal: [scope]") :]
        message = json.JSONDecoder().raw_decode(last[last.index("{") :])[0]["msg"]
        assert isinstance(message, str)
        return message


class Runbooks:
    """The playbooks on one scope, with an inventory and a directory of reports of its own."""

    def __init__(self, directory: Path, config: str) -> None:
        self.reports = directory / "reports"
        self.directory = directory
        self.inventory = directory / "inventory.yml"
        scope = {
            "ansible_connection": "local",
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "failover_executable": str(FAILOVER),
            "failover_config": config,
            "failover_report_dir": str(self.reports),
            "failover_settle_delay": 0.5,
        }
        body = {"failover": {"hosts": {"scope": scope}}}
        self.inventory.write_text(yaml.safe_dump(body))

    def command(self, name: str, *flags: str, **variables: Any) -> list[str]:
        extra = {f"failover_{key}": value for key, value in variables.items()}
        playbook = str(PLAYBOOKS / f"{name}.yml")
        inventory = ["-i", str(self.inventory), "-e", json.dumps(extra)]
        return [str(ANSIBLE / "ansible-playbook"), playbook, *inventory, *flags]

    def run(self, name: str, *flags: str, **variables: Any) -> Ran:
        """Run a playbook with nobody at the terminal."""
        done = subprocess.run(
            self.command(name, *flags, **variables),
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        return Ran(done.returncode, done.stdout)

    def run_at_terminal(self, typed: str, name: str, **variables: Any) -> Ran:
        """Run a playbook at a terminal, and type when it asks."""
        command = self.command(name, **variables)
        with subprocess.Popen(
            [sys.executable, "-c", _AT_TERMINAL, *command],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            try:
                out = _converse(process, typed)
            finally:
                process.kill()  # whatever happened, its terminal ends with it
        return Ran(process.returncode, out.replace("\r\n", "\n"))

    def report(self) -> str:
        """Return the newest report."""
        newest = max(self.reports.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        return newest.read_text()

    def hook(self, name: str, marks: Path) -> str:
        """Write a task file that notes its name and the active cluster; return its path."""
        line = f"{name} {{{{ failover_active }}}}"
        tasks = [
            {
                "name": f"Note {name}",
                "ansible.builtin.lineinfile": {
                    "path": str(marks), "line": line, "create": True, "mode": "0600",
                },
            }
        ]  # fmt: skip
        path = self.directory / f"{name}.yml"
        path.write_text(yaml.safe_dump(tasks))
        return str(path)


def _converse(process: "subprocess.Popen[bytes]", typed: str) -> str:
    """Type whenever the question stands there and nothing moves; return all that was said.

    What is typed before Ansible listens is thrown away, so it may have to be typed again.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    out, deadline = b"", time.monotonic() + 120
    while True:
        assert time.monotonic() < deadline, out.decode()
        if not select.select([process.stdout], [], [], 0.3)[0]:
            if b"to go on" in out and b"TASK [failover : Require approval]" not in out:
                process.stdin.write(typed.encode() + b"\r")
                process.stdin.flush()
            continue
        read = os.read(process.stdout.fileno(), 65536)
        if not read:
            process.wait(30)
            return out.decode()
        out += read


def environment() -> dict[str, str]:
    """Return an environment without anybody's own Ansible settings."""
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("ANSIBLE_", "FAILOVER_"))}
    return {**mine, "ANSIBLE_NOCOLOR": "1", "LC_ALL": "C.UTF-8"}
