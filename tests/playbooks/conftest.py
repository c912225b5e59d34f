"""Ansible in a virtual environment of its own, and one application for all runbooks."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from application import Application
from runbook import ROOT, Runbooks

from failover.lab.lab import Lab


@pytest.fixture(scope="session")
def ansible() -> None:
    """Make `.venv-ansible` unless it is there."""
    made = subprocess.run(
        ["make", "ansible"],  # noqa: S607 - wherever it is installed
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr


@pytest.fixture(scope="module")
def app(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """An application under load, whose records are judged when all runbooks have been run."""
    found = Application(lab, tmp_path_factory.mktemp("app"), partitions=3)
    try:
        found.produce(1, rate=50)
        found.consume(2, commit="batch")
        found.wait_flowing()
        yield found
        verdict = found.finish()
        assert verdict.ok, verdict.to_json()
    finally:
        found.close()


@pytest.fixture
def runbooks(ansible: None, app: Application, tmp_path: Path) -> Runbooks:
    return Runbooks(tmp_path, app.config)
