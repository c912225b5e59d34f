"""What scenarios share: moments, lost clusters, commands that must succeed, verdicts."""

import logging
import random
import signal
import time
from typing import Any

import pytest
from application import Application

from clientlib.io.options import ClientOptions
from failover.checkers import Verdict
from failover.core.result import ExitCode, RunResult
from failover.engine import connect
from failover.lab.processes import wait_until

log = logging.getLogger("tests.disaster")


def work_on(seconds: float) -> None:
    """Let the application work for a while: the load is the scenario, nothing is awaited."""
    time.sleep(seconds)


def work_on_up_to(seconds: float, chance: random.Random) -> None:
    """Let the application work until a random moment."""
    moment = chance.uniform(0, seconds)
    log.info("going on for %.3f s", moment)
    work_on(moment)


def switched(result: RunResult) -> None:
    assert (result.exit_code, result.result) == (ExitCode.OK, "switched"), result


def give_up_left_now(app: Application) -> RunResult:
    """Kill LEFT, and go on at RIGHT."""
    app.lab.kill("LEFT")
    result = app.emergency("RIGHT")
    log.info("given up: %s", result.measured)
    switched(result)
    return result


def give_up_left(app: Application, chance: random.Random) -> RunResult:
    """Kill LEFT at a random moment under load, and go on at RIGHT."""
    work_on_up_to(1.0, chance)
    return give_up_left_now(app)


def leave_a_tail(app: Application, chance: random.Random) -> RunResult:
    """Lose LEFT and a producer with records that were not copied; LEFT comes back with them."""
    sender = app.produce_apart(rate=300)
    wait_until(lambda: sender.acknowledged() > 300, timeout_s=60, what="the sender is not heard")
    app.wait_flowing()
    app.lab.pause("mm2")  # so that there is a tail for certain
    work_on(0.5)
    try:
        work_on_up_to(0.5, chance)
        app.lab.kill("LEFT")
        sender.signal(signal.SIGKILL)
        app.lab.resume_process("mm2")
        switched(app.emergency("RIGHT"))
    finally:
        app.lab.start("LEFT")
    back = rejoin(app)
    assert (back.exit_code, back.changed) == (ExitCode.OK, True), back
    log.info("rejoined: %s", back.message)
    assert back.measured["late"] > 0, back
    return back


def back_and_forth(app: Application, *targets: str) -> None:
    for to in targets:
        switched(app.switch(to, retry_s=120))
        work_on(0.5)


def ask_for(app: Application, to: str) -> RunResult:
    """Ask for a switch until a cluster that has just started can answer."""
    results: list[RunResult] = []

    def answered() -> bool:
        with connect(app.settings) as orchestrator:
            results.append(orchestrator.switch(app.request(to, timeout_s=10.0)))
        return results[-1].exit_code != ExitCode.UNREACHABLE

    wait_until(answered, timeout_s=60, what=f"{to} is not ready for an answer")
    return results[-1]


def rejoin(app: Application, alias: str = "LEFT") -> RunResult:
    with connect(app.settings) as orchestrator:
        return orchestrator.rejoin(alias)


def complete(verdict: Verdict) -> None:
    """Nothing is lost or out of order; repeats are for the scenario to judge."""
    bad = (verdict.lost, verdict.skipped, verdict.reordered, verdict.phantoms)
    assert bad == (0, 0, 0, 0), verdict.to_json()


def deafen(monkeypatch: pytest.MonkeyPatch, cluster: str) -> set[str]:
    """Let each client's first handle at a cluster never get there; returns whose it was."""
    deaf, real = set[str](), ClientOptions.conf

    def conf(options: ClientOptions, alias: str) -> dict[str, Any]:
        found = real(options, alias)
        if alias != cluster or options.ident in deaf:
            return found
        deaf.add(options.ident)
        return {**found, "bootstrap.servers": "127.0.0.1:1"}

    monkeypatch.setattr(ClientOptions, "conf", conf)
    return deaf
