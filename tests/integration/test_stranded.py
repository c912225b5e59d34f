"""A cluster dies while a planned switch is under way, and an unplanned one gets out of it."""

import signal

from application import Application, tool
from disaster import rejoin, switched

from failover.core.result import ExitCode
from failover.engine import connect
from failover.lab.processes import wait_until


def test_the_target_dies_and_nobody_can_say_whether_the_commit_stands_on_it(
    app: Application,
) -> None:
    app.produce(2, rate=300)
    app.consume(2, commit="batch")
    app.wait_flowing()
    died = tool(app, "RIGHT", "commit", "SIGKILL")
    assert died.returncode == -signal.SIGKILL, died.stderr
    app.note_epoch_of("RIGHT")
    app.lab.kill("RIGHT")
    try:
        switched(app.emergency("LEFT"))
        app.wait_flowing()
    finally:
        app.lab.start("RIGHT")
    assert rejoin(app, "RIGHT").exit_code == ExitCode.OK
    switched(app.switch("RIGHT", retry_s=120))
    app.wait_flowing()
    verdict = app.finish()
    assert verdict.ok, verdict.to_json()


def test_the_source_dies_after_the_commit_and_a_member_waits_for_it(app: Application) -> None:
    """The member sleeps while the others move; awake again it finds its old cluster dead."""
    app.produce(2, rate=300)
    sleeper = app.consume_apart(commit="batch")
    wait_until(lambda: sleeper.delivered() > 300, timeout_s=60, what="nothing is read")
    sleeper.signal(signal.SIGSTOP)
    try:
        incomplete = app.switch("RIGHT", timeout_s=1.5)
        assert (incomplete.result, incomplete.changed) == ("incomplete", True), incomplete
        app.lab.kill("LEFT")
    finally:
        sleeper.signal(signal.SIGCONT)
    try:
        with connect(app.settings, timeout_s=3.0) as orchestrator:
            given_up = orchestrator.switch(app.request("RIGHT", emergency=True, timeout_s=20.0))
        switched(given_up)
        assert (given_up.changed, given_up.source, given_up.epoch) == (True, "LEFT", 2), given_up
        app.wait_flowing()
    finally:
        app.lab.start("LEFT")
    # the sleeper's group on LEFT has been seen to take more than 30 s on a busy machine
    switched(app.switch("LEFT", retry_s=120, timeout_s=90.0))
    verdict = app.finish()
    assert verdict.ok, verdict.to_json()
