"""The command line on real clusters, as an operator would use it, in processes of its own."""

import json
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml

from failover.lab.lab import Lab

pytestmark = pytest.mark.lab
COMMAND = (sys.executable, "-c", "from failover.cli.app import main; main()")


class Operator:
    """Types commands for one scope of its own."""

    def __init__(self, config: Path) -> None:
        self.config = config

    def start(self, line: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*COMMAND, "-c", str(self.config), *line.split()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def types(self, line: str) -> tuple[int, str, str]:
        """Return exit code, stdout and stderr."""
        process = self.start(line)
        out, err = process.communicate(timeout=120)
        assert "Traceback" not in err
        return process.returncode, out, err

    def asks(self, line: str) -> tuple[int, dict[str, Any]]:
        """Return exit code and the JSON document."""
        code, out, err = self.types(f"-o json {line}")
        assert out, err
        return code, json.loads(out)


@pytest.fixture
def operator(lab: Lab, tmp_path: Path) -> Operator:
    name = f"cli-{uuid.uuid4().hex[:8]}"
    body = yaml.safe_load(lab.config_path.read_text())
    body["scopes"] = {"default": {"topics": [name], "groups": [f"{name}.*"]}}
    body["control"] = {"prefix": name}
    config = tmp_path / "failover.yaml"
    config.write_text(yaml.safe_dump(body))
    return Operator(config)


def test_story_of_an_operator(operator: Operator) -> None:
    """From nothing to a switch, a failback and their reports."""
    code, _, err = operator.types("switch --to RIGHT")
    assert (code, "failover init --active LEFT" in err) == (3, True)
    code, status = operator.asks("status")
    assert (code, status["active"]) == (10, None)
    assert status["findings"][0]["id"] == "not-initialised"

    assert operator.types("init --active LEFT")[0] == 0
    assert operator.asks("init --active LEFT")[1]["changed"] is False
    assert operator.types("init --active RIGHT")[0] == 3

    code, status = operator.asks("status")
    assert (code, status["active"], status["epoch"]) == (0, "LEFT", 1)
    code, out, _ = operator.types("-o properties active")
    assert out.startswith("active=LEFT\nepoch=1\nbootstrap.servers=127.0.0.1:")

    code, plan = operator.asks("plan --to RIGHT")
    assert (code, plan["result"], plan["epoch"]) == (0, "planned", 2)
    assert operator.asks("switch --to RIGHT --dry-run")[1]["changed"] is False
    assert operator.asks("status")[1]["epoch"] == 1, "a plan changes nothing"

    code, _, err = operator.types("switch --to RIGHT")
    assert (code, "--yes" in err) == (3, True)
    code, done = operator.asks("switch --to RIGHT --yes --expect-active LEFT")
    assert (code, done["result"], done["changed"], done["epoch"]) == (0, "switched", True, 2)
    assert done["measured"]["write_pause_ms"] > 0
    code, again = operator.asks("switch --to RIGHT --yes")
    assert (code, again["changed"]) == (0, False)
    assert operator.types("switch --to LEFT --yes --expect-active LEFT")[0] == 3

    code, back = operator.asks("failback --yes")
    assert (code, back["to"], back["epoch"]) == (0, "LEFT", 3)

    code, history = operator.asks("history")
    assert [run["to"] for run in history["runs"]] == ["LEFT", "RIGHT"]
    code, report = operator.asks(f"report {done['run']}")
    assert (code, report["run"], report["result"]) == (0, done["run"], "switched")
    assert report["measured"]["closed_ms"] == done["measured"]["closed_ms"]
    assert operator.asks("resume")[1]["changed"] is False
    assert operator.asks("abort")[1]["changed"] is False


def test_unreachable_cluster_ends_with_7(operator: Operator) -> None:
    assert operator.types("init --active LEFT")[0] == 0
    body = yaml.safe_load(operator.config.read_text())
    body["clusters"]["RIGHT"]["bootstrap.servers"] = "127.0.0.1:1"
    operator.config.write_text(yaml.safe_dump(body))
    for line in ("preflight --to RIGHT", "plan --to RIGHT", "switch --to RIGHT --yes"):
        code, out, err = operator.types(line)
        assert code == 7, line
        assert "RIGHT" in out + err
    code, status = operator.asks("status")
    assert (code, status["active"]) == (10, "LEFT")
    assert status["findings"][0]["id"] == "cluster-unreachable"


def test_two_at_once(operator: Operator) -> None:
    """One switches; the other is locked out, finds nothing to do, or completes what it fenced."""
    assert operator.types("init --active LEFT")[0] == 0
    both = [operator.start("-o json switch --to RIGHT --yes") for _ in range(2)]
    ended = [(p.communicate(timeout=120)[0], p.returncode) for p in both]
    told = [(d["result"], code, d["changed"], d["message"]) for d, code in _documents(ended)]
    assert sum(changed for _, _, changed, _ in told) == 1, told
    assert {(result, code) for result, code, _, _ in told} <= _ALLOWED, told
    assert any(code == 0 for _, code, _, _ in told), told
    status = operator.asks("status")[1]
    assert (status["active"], status["epoch"], status["phase"]) == ("RIGHT", 2, "active")
    assert operator.asks("resume")[1]["result"] == "unchanged"


_ALLOWED = {("switched", 0), ("unchanged", 0), ("locked", 6)}


def _documents(ended: list[tuple[str, int]]) -> list[tuple[dict[str, Any], int]]:
    return [(json.loads(out), code) for out, code in ended]


def test_watch_ends_with_ctrl_c(operator: Operator) -> None:
    process = operator.start("-o json status --watch --interval 0.1")
    assert process.stdout is not None
    lines = [json.loads(process.stdout.readline()) for _ in range(3)]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert [line["schema"] for line in lines] == [1, 1, 1]
