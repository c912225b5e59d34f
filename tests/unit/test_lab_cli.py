"""`failover lab` without Kafka: what it says, and to which stream."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from clientlib.protocol.errors import ConfigurationError
from failover.cli.lab import lab_app
from failover.lab.lab import Lab
from failover.lab.processes import identify, processes_with_argument, wait_until


def _run(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(lab_app, arguments)


@pytest.fixture
def laid_out(tmp_path: Path) -> Path:
    """A lab of which nothing runs."""
    Lab.create(tmp_path / "lab")
    return tmp_path / "lab"


def test_status_as_json_is_one_document_on_stdout(laid_out: Path) -> None:
    result = _run("status", "-o", "json", "--dir", str(laid_out))
    document = json.loads(result.stdout)
    assert (document["schema"], document["healthy"]) == (1, False)
    assert [cluster["alias"] for cluster in document["clusters"]] == ["LEFT", "RIGHT"]
    assert document["mm2"] == {"pid": None, "alive": False}


def test_status_as_table_has_a_line_for_each_process(laid_out: Path) -> None:
    lines = _run("status", "--dir", str(laid_out)).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["NAME", "LEFT", "RIGHT", "mm2"]
    assert all(line.endswith("not running") for line in lines[1:])


@pytest.mark.parametrize("command", ["kill", "stop", "start", "pause", "continue"])
def test_an_unknown_name_is_refused_with_those_there_are(laid_out: Path, command: str) -> None:
    result = _run(command, "MIDDLE", "--dir", str(laid_out))
    assert isinstance(result.exception, ConfigurationError)
    assert "it has LEFT, RIGHT, mm2" in str(result.exception)


@pytest.mark.parametrize("command", ["kill", "stop", "pause", "continue"])
def test_what_does_not_run_cannot_be_signalled(laid_out: Path, command: str) -> None:
    result = _run(command, "LEFT", "--dir", str(laid_out))
    assert "LEFT does not run" in str(result.exception)


def test_a_property_of_mm2_that_is_none_is_refused(tmp_path: Path) -> None:
    result = _run("up", "--mm2-property", "no-value", "--dir", str(tmp_path / "lab"))
    assert "'no-value' is not KEY=VALUE" in str(result.exception)


def test_no_lab_is_said_so(tmp_path: Path) -> None:
    result = _run("status", "--dir", str(tmp_path))
    assert isinstance(result.exception, ConfigurationError)
    assert "failover lab up" in str(result.exception)


def test_down_removes_the_files_and_is_harmless_again(laid_out: Path) -> None:
    assert _run("down", "--dir", str(laid_out)).exit_code == 0
    assert not laid_out.exists()
    again = _run("down", "--dir", str(laid_out))
    assert again.exit_code == 0
    assert "nothing to take down" in again.stderr


def test_down_leaves_files_that_are_not_the_labs(laid_out: Path) -> None:
    (laid_out / "notes.txt").write_text("mine")
    assert _run("down", "--dir", str(laid_out)).exit_code == 0
    assert [path.name for path in laid_out.iterdir()] == ["notes.txt"]


def test_down_ends_a_lost_process_without_any_file_of_the_lab(tmp_path: Path) -> None:
    mark = f"-Dfailover.lab={tmp_path}"
    lost = subprocess.Popen(
        [sys.executable, "-c", "input()", mark], stdin=subprocess.PIPE, start_new_session=True
    )
    wait_until(
        lambda: any(processes_with_argument(mark)), timeout_s=20, what="the process did not start"
    )
    result = _run("down", "--dir", str(tmp_path))
    assert "lost processes ended: 1" in result.stderr
    assert identify(lost.pid) is None
    lost.communicate()


@pytest.mark.parametrize(
    "arguments", [("up", "--mm2", "connect"), ("status", "-o", "yaml"), ("kill",)]
)
def test_wrong_usage_is_exit_2(arguments: tuple[str, ...]) -> None:
    assert _run(*arguments).exit_code == 2


def test_wrong_aliases_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    result = _run("up", "--clusters", "LEFT,LEFT", "--dir", str(tmp_path / "lab"))
    assert "must differ" in str(result.exception)
    assert not (tmp_path / "lab").exists()


def test_help_does_not_load_the_lab() -> None:
    program = "import sys, failover.cli.lab; sys.exit('failover.lab.lab' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ)
