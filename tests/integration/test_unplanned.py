"""Unplanned switches of a living application: the active cluster is killed under load."""

import logging
import os
import random
import signal
import threading
from functools import partial

import pytest
from application import Application, tool
from disaster import (
    complete,
    deafen,
    give_up_left,
    leave_a_tail,
    rejoin,
    switched,
    work_on,
    work_on_up_to,
)
from repeating import Log

from clientlib import FailoverProducer
from clientlib.protocol.state import merge
from failover.core.result import ExitCode
from failover.engine import connect
from failover.lab.processes import wait_until

log = logging.getLogger("tests.unplanned")

ROUNDS = int(os.environ.get("FAILOVER_ROUNDS", "2"))


@pytest.mark.timeout(300 + 100 * ROUNDS)
def test_left_is_killed_at_random_moments_comes_back_and_takes_over_again(
    app: Application, chance: random.Random
) -> None:
    """As often as ``FAILOVER_ROUNDS`` says."""
    app.produce(2, rate=500)
    app.consume(3, commit="batch")
    app.wait_flowing()
    for number in range(ROUNDS):
        try:
            lost = give_up_left(app, chance)
            log.info("round %d: given up %s", number + 1, lost.measured)
            work_on_up_to(2.0, chance)
        finally:
            app.lab.start("LEFT")
        work_on_up_to(1.0, chance)
        back = app.switch("LEFT", retry_s=120)
        switched(back)
        log.info("round %d: back %s", number + 1, back.measured)
    verdict = app.finish()
    log.info("%d rounds: %s", ROUNDS, verdict.to_json())
    assert verdict.ok, verdict.to_json()


def test_consumers_are_killed_together_with_left_and_others_start_afresh(app: Application) -> None:
    """They go on by the last report: what was processed since, a second or two, comes again."""
    app.produce(1, rate=300)
    victims = [app.consume_apart(commit="batch") for _ in range(2)]
    for victim in victims:
        wait_until(lambda v=victim: v.delivered() > 300, timeout_s=60, what="nothing is read")
    work_on(2.0)  # what had piled up before they began was read within one report's second
    try:
        app.lab.kill("LEFT")
        for victim in victims:
            victim.signal(signal.SIGKILL)
        switched(app.emergency("RIGHT"))
        app.consume(2, commit="batch")
        app.wait_caught_up(120)
    finally:
        app.lab.start("LEFT")
    verdict = app.finish(strict=False)
    complete(verdict)
    assert verdict.repeated + verdict.repeats_allowed <= 300 * 3, verdict.to_json()


def test_a_producer_is_killed_too_and_its_last_records_are_late_not_lost(
    app: Application, chance: random.Random
) -> None:
    app.produce(1, rate=200)
    app.consume(2, commit="batch")
    back = leave_a_tail(app, chance)
    assert back.measured["replayed"] > 0, back
    assert not rejoin(app).changed
    switched(app.switch("LEFT", retry_s=120))
    verdict = app.finish()
    complete(verdict)
    assert verdict.repeated == 0, verdict.to_json()


def test_left_is_paused_and_what_it_takes_after_the_switch_is_not_given_twice(
    app: Application,
) -> None:
    app.produce(2, rate=300)
    app.consume(2, commit="batch")
    app.wait_flowing()
    app.lab.pause("LEFT")
    try:
        result = app.emergency("RIGHT")
        switched(result)
        work_on(1.0)
    finally:
        app.lab.resume_process("LEFT")
    switched(app.switch("LEFT", retry_s=120))
    work_on(0.5)
    verdict = app.finish()
    assert verdict.ok, verdict.to_json()


def test_right_dies_too_and_left_is_activated_by_emergency(
    app: Application, chance: random.Random
) -> None:
    app.produce(2, rate=200)
    app.consume(2, commit="batch")
    app.wait_flowing()
    try:
        give_up_left(app, chance)
        work_on(0.5)
    finally:
        app.lab.start("LEFT")
    assert rejoin(app).exit_code == ExitCode.OK
    app.wait_flowing()
    work_on_up_to(1.0, chance)
    app.lab.kill("RIGHT")
    try:
        switched(app.emergency("LEFT"))
        work_on(0.5)
    finally:
        app.lab.start("RIGHT")
    verdict = app.finish()
    assert verdict.ok, verdict.to_json()


def test_the_tool_dies_at_several_steps_of_an_emergency_and_is_resumed(
    app: Application, chance: random.Random
) -> None:
    """Before the intent it is undone and asked for again, after it completed."""
    undone = chance.choice(["prepare", "close", "settle"])
    completed_from = chance.choice(["commit", "move", "verify"])
    log.info("the tool is killed at %s, then at %s", undone, completed_from)
    app.produce(1, rate=200)
    app.consume(2, commit="batch")
    app.wait_flowing()
    app.lab.kill("LEFT")
    try:
        died = tool(app, "RIGHT", undone, "SIGKILL", "--emergency")
        assert died.returncode == -signal.SIGKILL, died.stderr
        app.note_epoch_of("RIGHT")
        died = tool(app, "RIGHT", completed_from, "SIGKILL", "--emergency")
        assert died.returncode == -signal.SIGKILL, died.stderr
        with connect(app.settings) as orchestrator:
            completed = orchestrator.resume()
        assert completed.exit_code == ExitCode.OK, completed
        app.active = "RIGHT"
    finally:
        app.lab.start("LEFT")
    verdict = app.finish()
    assert verdict.ok, verdict.to_json()


def test_an_application_starts_for_the_first_time_while_left_is_dead(app: Application) -> None:
    app.produce(1, rate=200)
    app.consume(1, group="old", commit="batch")
    app.wait_flowing()
    app.lab.kill("LEFT")
    try:
        switched(app.emergency("RIGHT"))
        app.consume(2, group="new", commit="batch")
        app.wait_caught_up(120)
        with connect(app.settings) as orchestrator:
            state = merge(orchestrator.ports.store.views(["RIGHT"]).values()).state
        assert state is not None
        assert (state.active, state.lost) == ("RIGHT", "LEFT")
    finally:
        app.lab.start("LEFT")
    verdict = app.finish()
    assert verdict.ok, verdict.to_json()


def test_members_end_although_their_cluster_died_with_commits_on_their_way(
    app: Application,
) -> None:
    """librdkafka alone waits for ever then: seen with plain members, too.

    Nor do those members say farewell. Of 25 restarts after a kill one, perhaps two, left Kafka
    4.3.1 with such members that never expired; a new one waits for `max.poll.interval.ms` then.
    """
    app.produce(1, rate=200)
    members = app.consume(4, commit="unwaited", **{"max.poll.interval.ms": 20_000})
    wait_until(
        lambda: all(member.count > 50 for member in members),
        timeout_s=60,
        what="not every member reads",
    )
    app.lab.kill("LEFT")
    try:
        app.stop(members)
    finally:
        app.lab.start("LEFT")
    app.consume(1)  # so that nothing is missing in the end
    app.wait_flowing()
    verdict = app.finish(strict=False)
    assert verdict.ok, verdict.to_json()


def test_left_dies_while_a_member_gives_its_partitions_back(app: Application) -> None:
    """Its commit in the callback would not end before LEFT is back, and it would not go on."""
    app.produce(1, rate=200)
    first = app.consume(1, commit="rare")[0]
    app.wait_flowing()
    died = threading.Event()

    def die() -> None:
        if not died.is_set():
            app.lab.kill("LEFT")
            died.set()

    first.at_revoke = die
    try:
        app.consume(1, commit="rare")  # it gets some of them
        assert died.wait(60)
        switched(app.emergency("RIGHT"))
        app.wait_caught_up(120)
    finally:
        app.lab.start("LEFT")
    verdict = app.finish()
    assert verdict.ok, verdict.to_json()


def test_left_is_killed_while_a_busy_producers_connection_to_it_is_gone(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it could never hand over is written on RIGHT, once and in order, and reported there."""
    app.consume(1, commit="batch")
    deafen(monkeypatch, "LEFT")
    reports: list[tuple[int, bool]] = []
    producer = FailoverProducer({"failover.config": app.config})
    wait_until(lambda: producer.state == "open", timeout_s=60, what="it does not open")
    for number in range(500):
        told = partial(lambda number, error, _: reports.append((number, error is None)), number)
        producer.produce(app.topic, b"%d" % number, b"one partition", on_delivery=told)
        producer.poll(0)
    assert not reports
    app.lab.kill("LEFT")
    try:
        switched(app.emergency("RIGHT"))
        assert producer.flush(60) == 0
        assert producer.active == "RIGHT"
        producer.close()
        assert reports == [(number, True) for number in range(500)]
        held = Log(app.lab, "RIGHT", app.topic, "read_uncommitted")
        assert held.values == {str(number): 1 for number in range(500)}
    finally:
        app.lab.start("LEFT")


def test_loss_that_nobody_accepted_and_an_old_side_that_answers_are_refused(
    app: Application,
) -> None:
    app.produce(1)
    app.consume(1)
    app.wait_flowing()
    with connect(app.settings) as orchestrator:
        alive = orchestrator.switch(app.request("RIGHT", emergency=True, allow_data_loss=True))
    assert (alive.exit_code, [f.id for f in alive.findings]) == (
        ExitCode.REFUSED,
        ["old-side-alive"],
    )
    app.lab.kill("LEFT")
    try:
        with connect(app.settings) as orchestrator:
            refused = orchestrator.switch(app.request("RIGHT", emergency=True))
        assert (refused.exit_code, refused.changed) == (ExitCode.DATA_LOSS, False), refused
        assert refused.measured["lost_at_most"] == 0, refused
        app.note_epoch_of("RIGHT")
        with connect(app.settings) as orchestrator:
            switched(orchestrator.switch(app.request("RIGHT", emergency=True, max_lost=0)))
        app.active = "RIGHT"
    finally:
        app.lab.start("LEFT")
    verdict = app.finish()
    assert verdict.ok, verdict.to_json()
