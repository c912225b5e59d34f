"""Transactional producers and read_committed consumers, on real Kafka.

MirrorMaker 2 reads committed records only, as applications with transactions need it.
"""

import logging
import re
import threading
import time
from collections.abc import Iterator

import pytest
from application import Application
from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaException,
    Producer,
    TopicPartition,
)
from disaster import deafen, give_up_left_now, switched, work_on
from transacting import Transacting

from failover.core.result import ExitCode
from failover.lab.lab import Lab
from failover.lab.processes import wait_until

log = logging.getLogger("tests.transactions")

READ_COMMITTED = {
    f"{alias}.consumer.isolation.level": "read_committed" for alias in ("LEFT", "RIGHT")
}


@pytest.fixture(scope="module")
def lab(lab: Lab) -> Iterator[Lab]:
    """The lab with a MirrorMaker 2 that copies committed records only."""
    lab.kill("mm2")
    lab.override_mm2(READ_COMMITTED)
    lab.start("mm2")
    yield lab
    lab.kill("mm2")
    lab.override_mm2({})
    lab.start("mm2")


@pytest.fixture
def partitions() -> int:
    return 3


@pytest.fixture
def held(app: Application) -> Iterator[Transacting]:
    """A producer whose transactions the test begins and ends."""
    one = Transacting(app, "held")
    one.producer.init_transactions(30)
    yield one
    one.producer.close()


def at_work(app: Application, count: int, members: int = 2) -> list[Transacting]:
    """Start producers with transactions, and a group that reads them."""
    started = []
    for _ in range(count):
        one = Transacting(app, f"t{len(app.producers)}")
        app.producers.append(one)  # type: ignore[arg-type]  # it has what is asked of them
        started.append(one)
        one.start()
    app.consume(members, commit="batch")
    app.wait_flowing()
    return started


def test_a_transactional_producer_whose_connection_is_gone_for_good_makes_it_anew(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As any client's; see `test_scenarios`."""
    deaf = deafen(monkeypatch, "RIGHT")
    at_work(app, 1, members=1)
    assert len(deaf) == 2
    switched(app.switch("RIGHT", retry_s=60))
    work_on(0.7)
    verdict = app.finish()
    assert verdict.ok, verdict.to_json()


def leave_open(held: Transacting) -> None:
    """Begin a transaction that its cluster knows all records of."""
    held.begin()
    for _ in range(20):
        held.send()
    assert held.producer.flush(10) == 0


def told_to_abort(held: Transacting) -> None:
    """The open transaction does not survive, but the next one is as any."""
    with pytest.raises(KafkaException) as refused:
        held.commit()
    assert refused.value.args[0].txn_requires_abort()
    held.abort()
    assert held.transaction(5)


def behind_stable_ends(app: Application) -> list[str]:
    """Return what LEFT holds of transactions that are open, and behind them: whose they are."""
    settings = {"bootstrap.servers": app.lab.bootstrap("LEFT"), "group.id": "open"}
    isolated = {"isolation.level": "read_uncommitted", "enable.partition.eof": True}
    stable = app.ends("LEFT", app.topic, IsolationLevel.READ_COMMITTED)
    parts = [TopicPartition(app.topic, number, end) for number, end in stable.items()]
    consumer, found, at_end = Consumer({**settings, **isolated}), [], 0
    consumer.assign(parts)
    while at_end < len(parts):
        message = consumer.poll(10)
        assert message is not None, found
        if message.error() is not None:
            at_end += 1
        else:
            found.append(f"{message.partition()}/{message.offset()}: {message.value().decode()}")
    consumer.close()
    return found


def come_back(app: Application) -> None:
    """Switch back, as an operator has to.

    What the coordinator of the lost cluster knows to be open ends by the producers' timeouts, 20 s.
    What it has forgotten hangs: Kafka 4.3.1 writes no marker to a partition that has no leader just
    then, as all have for a moment when a broker starts that is alone (KAFKA-20734).
    """
    result = app.switch("LEFT", retry_s=120, timeout_s=45.0)
    if result.result != "switched" and "a transaction is open" in result.message:
        log.warning("LEFT holds behind its stable ends: %s", behind_stable_ends(app)[:50])
        end_hanging(app)
        result = app.switch("LEFT", retry_s=120, timeout_s=90.0)
    switched(result)
    work_on(0.7)


def end_hanging(app: Application) -> None:
    """Abort what is open on LEFT, by Kafka's own tool and the offsets at which it stands."""

    def hanging() -> dict[int, int]:
        ends = app.ends("LEFT", app.topic)
        stable = app.ends("LEFT", app.topic, IsolationLevel.READ_COMMITTED)
        return {number: at for number, at in stable.items() if at < ends[number]}

    deadline = time.monotonic() + 60
    while found := hanging():
        assert time.monotonic() < deadline, found
        for number, at in found.items():
            where = ("--topic", app.topic, "--partition", str(number), "--start-offset", str(at))
            app.lab.transactions("LEFT", "abort", *where)


def complete(app: Application) -> None:
    verdict = app.finish()
    assert verdict.ok, verdict.to_json()
    for one in app.producers:
        assert isinstance(one, Transacting)
        log.info(
            "%s: %d sent, %d commits, %d aborts of which %d at switches",
            one.name, one.sent, one.commits, one.aborts, one.told_to_abort,
        )  # fmt: skip


def test_planned_switches_under_transactions_some_of_which_are_aborted(app: Application) -> None:
    started = at_work(app, 2)
    app.round_trip(2, between=lambda: work_on(0.7))
    complete(app)
    assert sum(one.aborts for one in started) > 10


def test_an_idle_open_transaction_holds_up_no_switch(app: Application, held: Transacting) -> None:
    at_work(app, 1, members=1)
    wait_copied(app)  # else nobody has the first records there, and none can be copied any more
    leave_open(held)
    switched(app.switch("RIGHT"))
    told_to_abort(held)
    complete(app)


def wait_copied(app: Application) -> None:
    """Wait until the mirror has begun with the application's topic."""
    consumer = Consumer({"bootstrap.servers": app.lab.bootstrap("RIGHT"), "group.id": "tx-test"})
    parts = [TopicPartition(f"LEFT.{app.topic}", number) for number in range(app.partitions)]

    def copied() -> bool:
        try:
            return any(consumer.get_watermark_offsets(part, 5)[1] > 0 for part in parts)
        except KafkaException:
            return False  # the topic is not there yet

    try:
        wait_until(copied, timeout_s=90, what="nothing is copied")
    finally:
        consumer.close()


def test_left_is_killed_with_an_open_transaction(app: Application, held: Transacting) -> None:
    """The application is told to abort it; nobody gets its records, nor when LEFT is back."""
    at_work(app, 2)
    wait_copied(app)
    leave_open(held)
    try:
        give_up_left_now(app)
        told_to_abort(held)
        work_on(0.7)
    finally:
        app.lab.start("LEFT")
    come_back(app)
    assert held.transaction(5)
    complete(app)


def test_a_transaction_that_hangs_on_the_returned_cluster_is_ended_as_the_message_says(
    app: Application,
) -> None:
    """It looks like one of a producer that is gone, with a timeout that nobody waits for."""
    at_work(app, 1)
    wait_copied(app)
    settings = {"transactional.id": f"gone-{app.tag}", "transaction.timeout.ms": 900_000}
    gone = Producer({"bootstrap.servers": app.lab.bootstrap("LEFT"), **settings})
    gone.init_transactions(30)
    gone.begin_transaction()
    gone.produce(app.topic, b"never committed", partition=1)
    assert gone.flush(10) == 0
    try:
        give_up_left_now(app)
        work_on(0.7)
    finally:
        app.lab.start("LEFT")
    result = app.switch("LEFT", retry_s=120, timeout_s=30.0)
    assert result.exit_code is ExitCode.TIMED_OUT, result
    (at,) = re.findall(
        rf"{app.topic}\[1\]: a transaction is open from offset (\d+)", result.message
    )
    assert "kafka-transactions.sh abort" in result.message
    assert int(at) == app.ends("LEFT", app.topic, IsolationLevel.READ_COMMITTED)[1]
    end_hanging(app)
    come_back(app)
    complete(app)


def test_what_was_committed_and_not_copied_when_left_was_killed_is_written_again(
    app: Application,
) -> None:
    at_work(app, 2)
    wait_copied(app)
    app.lab.pause("mm2")
    try:
        work_on(1.0)
        app.lab.kill("LEFT")
        app.lab.resume_process("mm2")
        switched(app.emergency("RIGHT"))
        work_on(0.7)
    finally:
        app.lab.start("LEFT")
    come_back(app)
    complete(app)


def test_left_falls_silent_and_is_killed_while_a_commit_is_under_way(
    app: Application, held: Transacting
) -> None:
    """Nobody knows whether LEFT has taken it. RIGHT commits it, once; LEFT's own is skipped."""
    at_work(app, 1)
    wait_copied(app)
    assert held.transaction(3)
    leave_open(held)
    app.lab.pause("LEFT")
    committing = threading.Thread(target=held.commit)
    try:
        committing.start()
        work_on(0.3)
        app.lab.kill("LEFT")
        switched(app.emergency("RIGHT"))
        committing.join(20)
        assert not committing.is_alive()
        assert held.commits == 2
        work_on(0.7)
    finally:
        app.lab.start("LEFT")
    come_back(app)
    assert held.transaction(5)
    complete(app)
