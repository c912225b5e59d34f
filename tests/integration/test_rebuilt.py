"""A cluster whose disks are gone: refused under its alias, and taken in again under a new one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from application import Application
from disaster import ask_for, back_and_forth, rejoin, switched, work_on

from failover.core.result import ExitCode, RunResult
from failover.engine import connect
from failover.lab.lab import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A lab of its own: this one loses a cluster for good."""
    with Lab.create(tmp_path / "lab") as running:
        yield running


def refused(result: RunResult, *findings: str) -> None:
    assert (result.exit_code, result.changed) == (ExitCode.REFUSED, False), result
    assert set(findings) <= {one.id for one in result.findings}, result
    told = next(one for one in result.findings if one.id == findings[0])
    assert "retired: [LEFT]" in told.remedy


def restart_clients(app: Application) -> None:
    """As an operator does who has given all applications another failover.yaml."""
    app.stop([*app.producers, *app.consumers])
    app.produce(2, rate=200)
    app.consume(2, commit="batch")
    app.consume(1, group="other", commit="batch")
    app.wait_flowing()


@pytest.mark.timeout(1200)  # it starts clusters eight times
def test_left_comes_back_empty_and_is_taken_in_under_a_new_alias(app: Application) -> None:
    app.produce(2, rate=200)
    app.consume(2, commit="batch")
    app.consume(1, group="other", commit="batch")
    app.wait_flowing()
    switched(app.switch("RIGHT"))  # so that there is more than one epoch to know of
    switched(app.switch("LEFT"))
    app.lab.kill("LEFT")
    switched(app.emergency("RIGHT"))

    app.lab.rebuild("LEFT", same_id=True)
    app.lab.start("LEFT")
    refused(rejoin(app), "diverged")
    refused(ask_for(app, "LEFT"), "diverged")
    app.lab.kill("LEFT")
    app.lab.rebuild("LEFT")
    app.lab.start("LEFT")
    refused(rejoin(app), "wrong-cluster")
    refused(ask_for(app, "LEFT"), "wrong-cluster")

    for name in ("LEFT", "mm2"):
        app.lab.kill(name)
    app.lab.rebuild("LEFT", to="LEFT2")
    for name in ("LEFT2", "mm2"):
        app.lab.start(name)
    app.reconfigure(retired=["LEFT"])
    with connect(app.settings) as orchestrator:
        assert orchestrator.init("RIGHT").exit_code == ExitCode.OK
    restart_clients(app)
    back_and_forth(app, "LEFT2", "RIGHT", "LEFT2")
    app.lab.kill("LEFT2")
    switched(app.emergency("RIGHT"))
    work_on(0.5)
    verdict = app.finish()
    assert verdict.ok, verdict.to_json()
