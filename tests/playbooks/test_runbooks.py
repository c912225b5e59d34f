"""The runbooks by real `ansible-playbook`, on real clusters, over a living application."""

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from application import Application
from control_plane import everything
from runbook import FAILOVER, Runbooks, environment

from failover.lab.lab import Lab
from failover.lab.processes import wait_until


def other(app: Application) -> str:
    """Return the standby, whatever a test that failed has left behind."""
    app.active = told(app, "status")["active"]
    return "RIGHT" if app.active == "LEFT" else "LEFT"


def told(app: Application, line: str) -> dict[str, Any]:
    """Return what the bare command says, whatever its exit code."""
    done = subprocess.run(
        [FAILOVER, "-o", "json", "-c", app.config, *line.split()],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def wait_flowing(app: Application, what: str) -> None:
    """Wait until records are acknowledged and read, wherever the application is now."""
    acked, got = app.producers[0].acked, sum(c.count for c in app.consumers)
    wait_until(
        lambda: (
            app.producers[0].acked > acked + 20 and sum(c.count for c in app.consumers) > got + 20
        ),
        timeout_s=90,
        what=what,
    )
    app.wait_settled()


@pytest.fixture
def dying(tmp_path: Path) -> str:
    """An executable like `failover` that is killed when the step DIE_AT begins."""
    script = Path(__file__).with_name("dying_failover.py")
    path = tmp_path / "failover"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_check_mode_shows_the_plan_and_leaves_every_byte_as_it_is(
    ansible: None, lab: Lab, tmp_path: Path
) -> None:
    quiet = Application(lab, tmp_path, partitions=2)
    try:
        quiet.produce(1, rate=200)
        quiet.consume(1, commit="batch")
        quiet.wait_flowing()
        assert quiet.finish().ok
        quiet.wait_copied()
        before = everything(quiet)
        assert before["LEFT"]["records"]
        assert before["LEFT"]["groups"]
        runbooks = Runbooks(tmp_path, quiet.config)
        switch = runbooks.run("switch", "--check", "--diff", to="RIGHT")
        assert switch.changed == 1, switch.out
        assert '-    "active": "LEFT"' in switch.out
        assert '+    "active": "RIGHT"' in switch.out
        resume = runbooks.run("resume", "--check")
        assert resume.changed == 0
        assert everything(quiet) == before
        assert not runbooks.reports.exists()
    finally:
        quiet.close()


def test_a_switch_reports_changed_the_second_one_not_and_failback_goes_back(
    runbooks: Runbooks, app: Application, tmp_path: Path
) -> None:
    to, home, marks = other(app), app.active, tmp_path / "marks"
    hooks = {f"hook_{name}": runbooks.hook(name, marks) for name in ("before", "after")}
    app.note_epoch_of(to)
    first = runbooks.run("switch", to=to, confirm=to, expect_active=home, **hooks)
    assert first.changed == 3, "the switch and its two hooks"
    app.active = to
    wait_flowing(app, "the application did not follow")
    assert marks.read_text() == f"before {home}\nafter {to}\n"
    assert "| commit | done |" in runbooks.report()
    marks.unlink()
    second = runbooks.run("switch", to=to, **hooks)
    assert second.changed == 1, "applications are started, perhaps a broken-off playbook did not"
    assert marks.read_text() == f"after {to}\n"
    assert "is active already" in second.out
    assert runbooks.run("switch", to=to).changed == 0, "nothing to do, so nobody is asked"
    app.note_epoch_of(home)
    assert runbooks.run("failback", confirm=home).changed == 1
    app.active = home
    wait_flowing(app, "the application did not come back")


def test_nobody_at_a_terminal_is_no_approval(runbooks: Runbooks, app: Application) -> None:
    to, epoch = other(app), told(app, "status")["epoch"]
    refused = runbooks.run("switch", to=to)
    assert f'Not approved, nothing was changed: expected {to}, got ""' in refused.failure
    assert f"state: {app.active} is active, epoch {epoch}, phase active" in refused.failure
    wrong = runbooks.run("switch", to=to, confirm="yes")
    assert f'expected {to}, got "yes"' in wrong.failure
    assert told(app, "status")["epoch"] == epoch


def test_the_alias_typed_at_a_terminal_is_an_approval(runbooks: Runbooks, app: Application) -> None:
    to = other(app)
    refused = runbooks.run_at_terminal("y", "switch", to=to)
    assert f'expected {to}, got "y"' in refused.failure
    app.note_epoch_of(to)
    assert runbooks.run_at_terminal(to, "switch", to=to).changed == 1
    app.active = to
    wait_flowing(app, "the application did not follow")


def test_a_switch_without_mm2_is_rolled_back_and_the_preflight_names_what_is_missing(
    runbooks: Runbooks, app: Application, tmp_path: Path
) -> None:
    to, home, marks = other(app), app.active, tmp_path / "marks"
    hooks = {f"hook_{name}": runbooks.hook(name, marks) for name in ("before", "after")}
    silent = ["flow-silent", "replication-lag-high"]
    app.lab.pause("mm2")
    try:
        late = runbooks.run("switch", to=to, confirm=to, timeout=2, ignore=silent, **hooks)
        assert "timed out and was rolled back" in late.failure
        assert "(exit code 4)" in late.failure
        assert f"state: {home} is active" in late.failure
        assert "no run is unfinished" in late.failure
        assert marks.read_text() == f"before {home}\nafter {home}\n", "started where they were"
        assert "| copy | undone |" in runbooks.report()
        wait_until(
            lambda: "flow-silent" in told(app, f"preflight --to {to}")["blocking"],
            timeout_s=90,
            what="the flow is not called silent",
        )
        for refused in (
            runbooks.run("preflight", to=to, settle_retries=0),
            runbooks.run("switch", to=to, confirm=to, settle_retries=0),
        ):
            assert f"flow-silent: flow {home}->{to}" in refused.failure
            assert "Remedy: start MirrorMaker 2" in refused.failure
    finally:
        app.lab.resume_process("mm2")
    wait_flowing(app, "writes stay closed")


def test_a_run_whose_tool_was_killed_is_undone_by_abort_or_completed_by_resume(
    runbooks: Runbooks, app: Application, dying: str
) -> None:
    to = other(app)
    wait_until(
        lambda: told(app, f"preflight --to {to}")["ok"], timeout_s=60, what="no switch can begin"
    )
    killed = runbooks.run(
        "switch", to=to, confirm=to, executable=dying, environment={"DIE_AT": "copy"}
    )
    assert "ended without an answer" in killed.failure
    assert "a run is unfinished" in killed.failure
    assert "next: ansible-playbook resume.yml -e failover_run=" in killed.failure
    assert runbooks.run("abort", "--check", "--diff").changed == 1
    assert told(app, "status")["phase"] == "closing", "check mode changes nothing"
    assert runbooks.run("abort").changed == 1
    assert f"{app.active} stays active" in runbooks.report()
    assert runbooks.run("abort").changed == 0
    wait_flowing(app, "writes stay closed")

    app.note_epoch_of(to)
    killed = runbooks.run(
        "switch", to=to, confirm=to, executable=dying, environment={"DIE_AT": "commit"}
    )
    run = killed.failure.partition("-e failover_run=")[2].partition(";")[0]
    assert runbooks.run("resume", run=run).changed == 1
    app.active = to
    assert f"{to} is active" in runbooks.report()
    assert runbooks.run("resume", run=run).changed == 0
    wait_flowing(app, "the application did not follow")


def test_status_tells_who_is_active_and_no_secret(runbooks: Runbooks, app: Application) -> None:
    secret = "open-sesame"  # noqa: S105 - what the output is searched for
    seen = runbooks.run("status", "-vvv", environment={"PASSWORD": secret}, require_healthy=False)
    assert seen.changed == 0
    assert f"{app.active} is active, epoch" in seen.out
    assert secret not in seen.out


def test_a_cluster_that_does_not_answer_is_named(
    runbooks: Runbooks, app: Application, tmp_path: Path
) -> None:
    body = yaml.safe_load(Path(app.config).read_text())
    body["clusters"][other(app)]["bootstrap.servers"] = "127.0.0.1:1"
    config = tmp_path / "failover.yaml"
    config.write_text(yaml.safe_dump(body))
    refused = runbooks.run(
        "switch", to=other(app), confirm=other(app), config=str(config), settle_retries=0
    )
    assert "a cluster cannot be reached (exit code 7)" in refused.failure
    assert other(app) in refused.failure
    degraded = runbooks.run("status", config=str(config))
    assert "is degraded" in degraded.failure
    assert "cluster-unreachable" in degraded.failure
