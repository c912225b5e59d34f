"""Unplanned switches to copies that repeat records, on real Kafka: the original is gone."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from application import Application
from confluent_kafka import Consumer, TopicPartition
from disaster import switched, work_on
from repeating import kill_between_flushes, skipped, wait_repeated

from failover.engine import connect

SMALL_STEPS = {"LEFT.consumer.max.poll.records": "1", "RIGHT.producer.batch.size": "0"}
"""One record a request, so that MirrorMaker 2 can be met while it sends again what it had sent."""


@pytest.fixture
def partitions() -> int:
    return 3


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
        app.wait_caught_up(120)  # over what was repeated
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


def stop_while_it_sends_again(app: Application) -> None:
    """Start MirrorMaker 2, and stop it when it has sent some records and by far not all of them."""
    copy = f"LEFT.{app.topic}"
    consumer = Consumer({"bootstrap.servers": app.lab.bootstrap("RIGHT"), "group.id": "repeats"})
    parts = [TopicPartition(copy, number) for number in range(app.partitions)]

    def held() -> int:
        return sum(consumer.get_watermark_offsets(part, 10)[1] for part in parts)

    with ThreadPoolExecutor(1) as pool:
        before, deadline = held(), time.monotonic() + 60
        starting = pool.submit(app.lab.start, "mm2")
        while held() < before + 150:  # each look asks the broker
            assert time.monotonic() < deadline, "it sends nothing again"
        app.lab.pause("mm2")
        app.lab.kill("LEFT")
        app.lab.kill("mm2")
        error = starting.exception(60)  # it may count as started before it sends anything
    assert error is None or "ended while starting" in str(error), error
    consumer.close()


def test_left_is_lost_while_mirrormaker_sends_again(app: Application) -> None:
    """So is that one; when both are back it goes back once more, behind the lost epoch's end."""
    app.produce(2, rate=500)
    app.consume(2, commit="batch")
    app.wait_flowing()
    lagging = app.consume(1, group="lagging", commit="batch", delay=0.01)
    app.wait_copied()  # who is far behind has sent little since its last flush
    try:
        kill_between_flushes(app, "LEFT", "RIGHT", seconds=4.0, start=False)
        app.lab.override_mm2(SMALL_STEPS)
        stop_while_it_sends_again(app)
        result = app.emergency("RIGHT")
        switched(result)
        assert skipped(app)[1, "RIGHT"] > 100, result
        assert unfinished(app) > 0, result
        assert not result.warnings, result
        lagging[0].delay = 0.0
        app.wait_caught_up(120)  # over what was repeated
    finally:
        app.lab.start("LEFT")
        app.lab.override_mm2({})
        app.lab.start("mm2")
    switched(app.switch("LEFT", retry_s=120))
    work_on(1.0)
    switched(app.switch("RIGHT", retry_s=120))
    verdict = app.finish()
    assert verdict.lost == verdict.repeated == verdict.reordered == 0, verdict.to_json()
