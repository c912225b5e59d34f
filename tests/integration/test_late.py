"""What an application chooses, on real clusters: what becomes of late records, and identity."""

import random
import signal
import threading
import time
from collections import Counter
from typing import Any

import pytest
from application import Application
from disaster import give_up_left, leave_a_tail, rejoin, switched, work_on

from clientlib import FailoverConsumer, FailoverProducer
from failover.checkers import Expected
from failover.lab.processes import wait_until

BURST = 20


def test_late_records_are_delivered_held_back_or_asked_about_as_each_group_wants(
    app: Application, chance: random.Random
) -> None:
    def wants(_consumer: Any, message: Any) -> bool:
        """Take every other record, by the number in its value."""
        return int(message.value().decode().split()[1]) % 2 == 0

    app.produce(1, rate=200)
    app.consume(1, group="first", commit="batch")
    late = leave_a_tail(app, chance).measured["late"]
    # these have read nothing on LEFT, so that to them every late record is new
    (deliver,) = app.consume(1, commit="batch")
    app.consume(1, group="held", commit="batch", **{"failover.late.records": "hold"})
    app.consume(1, group="asked", commit="batch", **{"failover.late.records": wants})
    switched(app.switch("LEFT", retry_s=120))
    app.stop(app.producers)
    app.wait_caught_up(groups=[app.group("first"), app.group()])
    assert len(deliver.late) == late
    held, odd = frozenset(deliver.late), frozenset(one for one in deliver.late if one[1] % 2)
    app.wait_caught_up(groups=[app.group("held")], but=held)
    app.wait_caught_up(groups=[app.group("asked")], but=odd)
    expected = [
        app.group("first"),
        app.group(),
        Expected(app.group("held"), but=held),
        Expected(app.group("asked"), but=odd),
    ]
    verdict = app.finish(expected=expected)
    assert verdict.ok, verdict.to_json()
    got = app.journal.got
    assert not got[app.group("held")] & held
    assert not got[app.group("asked")] & odd


@pytest.mark.parametrize("until", ["rejoin", "failback"])
def test_a_producer_that_slept_until_left_was_taken_in_writes_again_what_was_late(
    app: Application, until: str
) -> None:
    """When `rejoin` looked, nobody could know that it would: each of its records came twice."""
    app.produce(1, rate=200)
    app.consume(1, commit="batch")
    sender = app.produce_apart(rate=300)
    wait_until(lambda: sender.acknowledged() > 300, timeout_s=60, what="the sender is not heard")
    app.wait_flowing()
    app.lab.pause("mm2")  # so that there is a tail for certain
    work_on(0.5)
    app.lab.kill("LEFT")
    sender.signal(signal.SIGSTOP)
    try:
        app.lab.resume_process("mm2")
        switched(app.emergency("RIGHT"))
        app.consume(1, group="new", commit="batch")  # to which all that was not copied is new
        app.lab.start("LEFT")
        back = rejoin(app)
        assert back.measured["late"] > 0, back
        if until == "failback":
            switched(app.switch("LEFT", retry_s=120))
    finally:
        app.lab.start("LEFT")
        sender.signal(signal.SIGCONT)
    heard = sender.acknowledged()
    wait_until(lambda: sender.acknowledged() > heard + 300, timeout_s=90, what="it stays asleep")
    if until == "rejoin":
        switched(app.switch("LEFT", retry_s=120))
    verdict = app.finish()
    assert verdict.ok, verdict.to_json()


class Bursts(threading.Thread):
    """Writes bursts of records that are alike to the millisecond; counts what is acknowledged."""

    def __init__(self, app: Application) -> None:
        super().__init__(daemon=True)
        self.stopping = threading.Event()
        self.acked: Counter[str] = Counter()
        self.topic = app.topic
        self.producer = FailoverProducer(
            {"failover.config": app.config, "failover.record.identity": "header", "linger.ms": 1}
        )

    def run(self) -> None:
        number = 0
        while not self.stopping.is_set():
            self._burst(f"burst {number}")
            number += 1
            self.producer.poll(0.02)
        self.producer.flush(30)
        self.producer.close()

    def _burst(self, value: str) -> None:
        at = int(time.time() * 1000)
        for _ in range(BURST):
            self.producer.produce(
                self.topic, value, value, timestamp=at, on_delivery=self._reported
            )

    def _reported(self, error: Any, message: Any) -> None:
        assert error is None, error
        self.acked[message.value().decode()] += 1


class Counting(threading.Thread):
    """Counts what one group gets."""

    def __init__(self, app: Application) -> None:
        super().__init__(daemon=True)
        self.stopping = threading.Event()
        self.got: Counter[str] = Counter()
        self.consumer = FailoverConsumer(
            {
                "failover.config": app.config,
                "group.id": app.group("alike"),
                "auto.offset.reset": "earliest",
                "session.timeout.ms": 6000,
            }
        )
        self.consumer.subscribe([app.topic])

    def run(self) -> None:
        while not self.stopping.is_set():
            message = self.consumer.poll(0.1)
            if message is not None and message.error() is None:
                self.got[message.value().decode()] += 1
        self.consumer.close()


def test_records_that_are_alike_to_the_millisecond_survive_by_their_identity(
    app: Application, chance: random.Random
) -> None:
    """Each of them once: what the copy holds of a burst is told from what it lacks."""
    writing, reading = Bursts(app), Counting(app)
    for thread in (writing, reading):
        thread.start()
    try:
        wait_until(lambda: reading.got.total() > 200, timeout_s=60, what="nothing is read")
        app.lab.pause("mm2")  # so that it stops in the middle of a burst, as a rule
        work_on(0.3)
        app.lab.resume_process("mm2")
        try:
            give_up_left(app, chance)
            work_on(0.5)
        finally:
            app.lab.start("LEFT")
        switched(app.switch("LEFT", retry_s=120))
        work_on(0.5)
        writing.stopping.set()
        writing.join(60)
        wait_until(
            lambda: reading.got.total() >= writing.acked.total(),
            timeout_s=60,
            what="records are lost",
        )
        assert reading.got == writing.acked
        assert set(writing.acked.values()) == {BURST}
    finally:
        for thread in (writing, reading):
            thread.stopping.set()
            thread.join(30)
