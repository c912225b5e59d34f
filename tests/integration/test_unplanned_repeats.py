"""Unplanned switches to copies that repeat records, on real Kafka: the original is gone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from application import Application
from disaster import switched, work_on
from repeating import kill_between_flushes, skipped, wait_repeated

from failover.engine import connect
from failover.lab.lab import Lab

SLOW = {
    "LEFT.consumer.fetch.max.wait.ms": "400",
    "LEFT.consumer.fetch.min.bytes": "1000000",
    "LEFT.consumer.max.partition.fetch.bytes": "2048",
}
"""So that MirrorMaker 2 sends some ten records of a partition at a time, and then waits."""


@pytest.fixture
def app(lab: Lab, tmp_path: Path) -> Iterator[Application]:
    found = Application(lab, tmp_path, partitions=3)
    yield found
    found.close()


def test_an_unplanned_switch_skips_what_a_killed_mirrormaker_has_sent_again(
    app: Application,
) -> None:
    """The original is out of reach; a group lags far behind the repeats, and meets them later."""
    copy = f"LEFT.{app.topic}"
    app.produce(2, rate=250)
    app.consume(2, commit="batch")
    app.wait_flowing()
    lagging = app.consume(1, group="lagging", commit="batch", delay=0.01)
    kill_between_flushes(app, "LEFT", "RIGHT")
    wait_repeated(app, "RIGHT", copy)
    try:
        app.lab.kill("LEFT")
        result = app.emergency("RIGHT")
        switched(result)
        found = skipped(app)[1, "RIGHT"]
        assert found > 100, result
        assert result.measured["repeats_skipped"] == found, result
        assert not result.warnings, result
        lagging[0].delay = 0.0
        app.wait_caught_up(60, behind=200)  # over what was repeated
    finally:
        app.lab.start("LEFT")
    switched(app.switch("LEFT", retry_s=120))
    verdict = app.finish()
    assert verdict.lost == verdict.repeated == verdict.reordered == 0, verdict.to_json()


def unfinished(app: Application) -> int:
    """Return how many copies end within a repeat."""
    with connect(app.settings) as orchestrator:
        row = orchestrator.ports.store.views()["RIGHT"].ledger[app.topic][1]
    ends = row.ends["RIGHT"]
    return sum(spans[-1][1] == ends[number] for number, spans in row.skip["RIGHT"].items())


def test_left_is_lost_while_mirrormaker_sends_again(app: Application) -> None:
    """It goes on with that when LEFT is back, and is killed once more on the way."""
    app.produce(2, rate=500)
    app.consume(2, commit="batch")
    app.wait_flowing()
    lagging = app.consume(1, group="lagging", commit="batch", delay=0.01)
    try:
        kill_between_flushes(app, "LEFT", "RIGHT", seconds=4.0, overrides=SLOW)
        wait_repeated(app, "RIGHT", f"LEFT.{app.topic}")
        app.lab.kill("LEFT")
        result = app.emergency("RIGHT")
        switched(result)
        assert skipped(app)[1, "RIGHT"] > 100, result
        assert unfinished(app) > 0, result
        assert not result.warnings, result
        lagging[0].delay = 0.0
        app.wait_caught_up(60, behind=200)  # over what was repeated
        app.lab.start("LEFT")
        switched(app.switch("LEFT", retry_s=120))
        work_on(1.0)
    finally:
        app.lab.start("LEFT")
        app.lab.kill("mm2")
        app.lab.override_mm2({})
        app.lab.start("mm2")
    switched(app.switch("RIGHT", retry_s=120))
    verdict = app.finish()
    assert verdict.lost == verdict.repeated == verdict.reordered == 0, verdict.to_json()
