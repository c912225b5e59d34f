"""The emergency runbook: the active cluster is killed under a living application."""

from application import Application
from runbook import Runbooks

from failover.lab.processes import wait_until


def test_emergency_refuses_while_the_old_side_lives_tells_what_may_be_lost_and_switches(
    runbooks: Runbooks, app: Application
) -> None:
    alive = runbooks.run("emergency", to="RIGHT", confirm="RIGHT", allow_data_loss=True)
    assert "old-side-alive: cluster LEFT" in alive.failure
    assert "(exit code 3)" in alive.failure

    app.lab.kill("LEFT")
    try:
        unasked = runbooks.run("emergency", to="RIGHT", allow_data_loss=True)
        assert "Not approved, nothing was changed" in unasked.failure
        unaccepted = runbooks.run("emergency", to="RIGHT", confirm="RIGHT")
        assert "(exit code 8)" in unaccepted.failure
        assert "records that may be lost" in unaccepted.failure
        assert "-e failover_allow_data_loss=true" in unaccepted.failure
        assert "state: LEFT is active, epoch 1" in unaccepted.failure

        app.note_epoch_of("RIGHT")
        lost = {"allow_data_loss": True, "max_lost": 1000}
        done = runbooks.run("emergency", to="RIGHT", confirm="RIGHT", **lost)
        assert done.changed == 1
        app.active = "RIGHT"
        assert "When LEFT is back" in done.out
        assert "| lost_at_most | 0 |" in runbooks.report()
        assert runbooks.run("emergency", to="RIGHT", **lost).changed == 0
        acked = app.producers[0].acked
        wait_until(
            lambda: app.producers[0].acked > acked + 20,
            timeout_s=90,
            what="writes stay closed",
        )
    finally:
        app.lab.start("LEFT")
    rehearsed = runbooks.run("rejoin", "--check", cluster="LEFT")
    assert rehearsed.changed == 0
    back = runbooks.run("rejoin", cluster="LEFT", wait=60)
    assert back.changed == 1
    assert "LEFT agrees with the ledger" in back.out
    assert "| late | 0 |" in runbooks.report()
    assert runbooks.run("rejoin", cluster="LEFT").changed == 0
