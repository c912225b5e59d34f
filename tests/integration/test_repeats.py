"""Copies that repeat records, on real Kafka: MirrorMaker 2 killed between two offset flushes.

Each scenario first makes sure that the copy really holds what it is about.
"""

import pytest
from application import Application
from disaster import switched, work_on
from repeating import Log, kill_between_flushes, skipped, wait_repeated

EXACTLY_ONCE = {
    f"{alias}.{key}": value
    for alias in ("LEFT", "RIGHT")
    for key, value in {
        "exactly.once.source.support": "enabled",
        # what a killed MirrorMaker 2 has left open hides what follows it for so long
        "producer.transaction.timeout.ms": "4000",
    }.items()
}


@pytest.fixture
def partitions() -> int:
    return 3


def switch(app: Application, to: str) -> None:
    switched(app.switch(to))


def test_what_a_killed_mirrormaker_sends_again_reaches_nobody(app: Application) -> None:
    """There and back, with a group that is caught up and one that meets the repeats afterwards."""
    copy = f"LEFT.{app.topic}"
    app.produce(2, rate=250)
    app.consume(2, commit="batch")
    app.wait_flowing()
    lagging = app.consume(1, group="lagging", commit="batch", delay=0.01)
    kill_between_flushes(app, "LEFT", "RIGHT")
    wait_repeated(app, "RIGHT", copy)
    switch(app, "RIGHT")
    assert skipped(app)[1, "RIGHT"] > 100
    work_on(1.0)  # both groups read on there, one of them among the repeats
    switch(app, "LEFT")
    lagging[0].delay = 0.0
    verdict = app.finish()
    assert verdict.lost == verdict.repeated == verdict.reordered == 0, verdict.to_json()


def test_with_mirrormaker_in_exactly_once_mode(app: Application) -> None:
    """Its markers take offsets, and what it began to send when it was killed is no record."""
    app.lab.kill("mm2")
    app.lab.override_mm2(EXACTLY_ONCE)
    try:
        app.lab.start("mm2")
        app.produce(2, rate=250)
        app.consume(2, commit="batch")
        app.wait_flowing()
        app.consume(1, group="lagging", commit="batch", delay=0.004)
        switch(app, "RIGHT")
        log = Log(app.lab, "RIGHT", f"LEFT.{app.topic}", "read_committed")
        assert log.repeated == 0
        assert log.offsets > log.values.total(), "no markers: it does not run in that mode"
        work_on(1.0)
        app.lab.kill("mm2")  # in the middle of a transaction
        # in the same mode: in the other it takes uncommitted source offsets for good ones, and
        # leaves out what it had sent with them
        app.lab.start("mm2")
        switch(app, "LEFT")
        for member in app.consumers:
            member.delay = 0.0  # the lag has been lived through; what is left need not be slow
        verdict = app.finish()
    finally:
        status = app.lab.status().mm2
        if status is not None and status.alive:
            app.lab.kill("mm2")
        app.lab.override_mm2({})
        app.lab.start("mm2")
    assert verdict.lost == verdict.repeated == verdict.reordered == 0, verdict.to_json()
