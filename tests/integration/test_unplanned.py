"""Unplanned switches of a living application: the active cluster is killed under load."""

import logging
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from application import Application

from failover.core.result import ExitCode, RunResult
from failover.lab.lab import Lab

log = logging.getLogger("tests.unplanned")


@pytest.fixture
def app(lab: Lab, tmp_path: Path) -> Iterator[Application]:
    found = Application(lab, tmp_path)
    yield found
    found.close()


def work_on(seconds: float) -> None:
    """Let the application work for a while: the load is the scenario, nothing is awaited."""
    time.sleep(seconds)


def switched(result: RunResult) -> None:
    assert (result.exit_code, result.result) == (ExitCode.OK, "switched"), result


def give_up_left(app: Application) -> RunResult:
    """Kill LEFT at a random moment under load, and go on at RIGHT."""
    moment = random.random()
    log.info("LEFT is killed after another %.3f s", moment)
    work_on(moment)
    app.lab.kill("LEFT")
    result = app.emergency("RIGHT")
    switched(result)
    return result


def test_left_is_killed_under_load_comes_back_and_takes_over_again(app: Application) -> None:
    app.produce(2, rate=500)
    app.consume(3, commit="batch")
    app.wait_flowing()
    try:
        give_up_left(app)
        work_on(1.0)
    finally:
        app.lab.start("LEFT")
    switched(app.switch("LEFT", retry_s=120))
    work_on(1.0)
    verdict = app.finish()
    assert verdict.ok, verdict.to_json()
