"""Planned switches of a living application on real Kafka and real MirrorMaker 2."""

import signal
import threading
from functools import partial

import pytest
from application import Application, Consuming, tool
from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException, Producer, TopicPartition
from disaster import deafen, switched, work_on

from clientlib import FailoverConsumer, FailoverProducer
from failover.checkers import Delivered, Expected
from failover.core.result import ExitCode, RunResult
from failover.engine import connect
from failover.lab.processes import wait_until


class Background(threading.Thread):
    """A switch that runs while the test does something else."""

    def __init__(self, app: Application, to: str) -> None:
        super().__init__(daemon=True)
        self.app, self.to = app, to
        self.results: list[RunResult] = []
        self.start()

    def run(self) -> None:
        self.results.append(self.app.switch(self.to))

    def result(self) -> RunResult:
        self.join(90)
        assert self.results, "the switch did not end"
        return self.results[0]


def wait_writing(app: Application) -> None:
    acked = app.producers[0].acked
    wait_until(lambda: app.producers[0].acked > acked + 50, timeout_s=90, what="writes stay closed")


def test_planned_switch_and_failback_five_rounds(app: Application) -> None:
    app.produce(2, rate=250)
    app.consume(3)
    app.wait_flowing()
    app.round_trip(5, between=lambda: work_on(0.5))
    verdict = app.finish()
    assert verdict.ok, verdict.to_json()


@pytest.mark.parametrize("settings", [{}, {"group.protocol": "consumer"}], ids=["classic", "new"])
def test_clients_whose_connection_to_the_target_is_gone_for_good_make_it_anew_before_the_switch(
    app: Application, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]
) -> None:
    """librdkafka forgets all brokers where a cluster that comes back names none for a moment."""
    deaf = deafen(monkeypatch, "RIGHT")
    app.produce(1, rate=200)
    app.consume(2, commit="batch", **settings)
    assert len(deaf) == 3
    app.wait_flowing()
    switched(app.switch("RIGHT", retry_s=60))
    work_on(1.0)
    switched(app.switch("LEFT"))
    verdict = app.finish()
    assert verdict.ok, verdict.to_json()


@pytest.mark.parametrize("more", [{}, {"transactional.id": "idle"}])
def test_an_idle_producer_whose_connection_to_the_active_cluster_is_gone_makes_it_anew(
    app: Application, monkeypatch: pytest.MonkeyPatch, more: dict[str, str]
) -> None:
    deafen(monkeypatch, "LEFT")
    reports: list[KafkaError | None] = []
    producer = FailoverProducer({"failover.config": app.config, **more})
    deaf = producer._handles.of("LEFT")
    wait_until(lambda: producer._handles.of("LEFT") is not deaf, timeout_s=60, what="it stays")
    if more:
        producer.init_transactions(30)
        producer.begin_transaction()
    producer.produce(app.topic, b"v", on_delivery=lambda error, _: reports.append(error))
    assert producer.flush(30) == 0
    assert producer.active == "LEFT"
    if more:
        producer.commit_transaction(30)
    producer.close()
    assert reports == [None]


def test_a_busy_producer_whose_connection_to_the_active_cluster_is_gone_makes_it_anew(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had handed over fails, as any producer's; what comes later waits for the new one."""
    deafen(monkeypatch, "LEFT")
    told: list[tuple[bytes, bool]] = []
    producer = FailoverProducer({"failover.config": app.config, "message.timeout.ms": 5000})
    deaf, sent = producer._handles.of("LEFT"), 0

    def produced() -> bool:
        nonlocal sent
        value = b"%d" % sent
        told_of = partial(lambda value, error, _: told.append((value, error is None)), value)
        producer.produce(app.topic, value, b"one partition, one order", on_delivery=told_of)
        sent += 1
        producer.poll(0.1)
        return producer._handles.of("LEFT") is not deaf

    wait_until(produced, timeout_s=90, what="it stays")
    assert producer.flush(30) == 0
    producer.close()
    assert [value for value, _ in told] == [b"%d" % number for number in range(sent)]
    taken = [good for _, good in told]
    assert taken == sorted(taken), "in order: those that failed, then those that did not"
    assert {*taken} == {False, True}


def test_one_member_joins_and_one_leaves_during_the_switch(app: Application) -> None:
    app.produce(2)
    first = app.consume(3, commit="batch")
    app.wait_flowing()
    for to in ("RIGHT", "LEFT"):
        switch = Background(app, to)
        app.consume(1, commit="batch")
        app.stop([first.pop()])
        switched(switch.result())
    verdict = app.finish()
    assert verdict.ok, verdict.to_json()


def test_the_whole_group_restarts_during_the_switch(app: Application) -> None:
    app.produce(2)
    first = app.consume(2, commit="message")
    app.wait_flowing()
    switch = Background(app, "RIGHT")
    app.stop(first)
    app.consume(2, commit="message")
    switched(switch.result())
    verdict = app.finish()
    assert verdict.ok, verdict.to_json()


def test_a_member_sleeps_through_two_switches(app: Application) -> None:
    """It is put out of its groups after 6 s; what it had not committed may come again."""
    app.produce(1)
    app.consume(2, commit="batch")
    sleeper = app.consume_apart(commit="batch")
    app.wait_flowing()
    wait_until(lambda: sleeper.delivered() > 0, timeout_s=60, what="the sleeper reads nothing")
    sleeper.signal(signal.SIGSTOP)
    switched(app.switch("RIGHT"))
    switched(app.switch("LEFT"))
    sleeper.signal(signal.SIGCONT)
    work_on(1.0)
    verdict = app.finish(strict=False)
    assert verdict.ok, verdict.to_json()


def test_a_member_is_stalled_for_nine_seconds_during_its_handover(app: Application) -> None:
    app.produce(1)
    app.consume(1, commit="batch")
    stalled = app.consume_apart(commit="batch")
    app.wait_flowing()
    wait_until(lambda: stalled.delivered() > 0, timeout_s=60, what="the member reads nothing")
    switch = Background(app, "RIGHT")
    stalled.signal(signal.SIGSTOP)
    work_on(9.0)
    stalled.signal(signal.SIGCONT)
    switched(switch.result())
    verdict = app.finish(strict=False)
    assert verdict.ok, verdict.to_json()


def test_one_member_is_killed_during_the_switch(app: Application) -> None:
    app.produce(2)
    app.consume(2, commit="batch")
    victim = app.consume_apart(commit="batch")
    app.wait_flowing()
    wait_until(lambda: victim.delivered() > 0, timeout_s=60, what="the victim reads nothing")
    switch = Background(app, "RIGHT")
    victim.signal(signal.SIGKILL)
    switched(switch.result())
    verdict = app.finish(strict=False)
    assert verdict.ok, verdict.to_json()


def test_a_commit_that_arrives_late_is_refused(app: Application) -> None:
    app.produce(1)
    (member,) = app.consume(1, commit="message")
    app.wait_flowing()
    wait_until(lambda: bool(member.seen), timeout_s=90, what="nothing is read")
    place = next(iter(member.seen))
    switched(app.switch("RIGHT"))
    with pytest.raises(KafkaException) as refused:
        member.consumer.commit(offsets=[TopicPartition(*place, 1_000_000)], asynchronous=False)
    assert refused.value.args[0].code() == KafkaError.ILLEGAL_GENERATION
    verdict = app.finish()
    assert verdict.ok, verdict.to_json()


@pytest.mark.parametrize("mode", ["auto", "message", "batch", "rare"])
def test_commit_modes(app: Application, mode: str) -> None:
    """Also `commit(message)` only every 1,000th record, which a switch must not undo.

    A commit for each message waits for the broker each time, so there are fewer of those.
    """
    app.produce(2, rate=50 if mode == "message" else 400)
    app.consume(3, commit=mode)
    app.wait_flowing()
    app.round_trip(1, between=lambda: work_on(0.5))
    verdict = app.finish()
    assert verdict.ok, verdict.to_json()


@pytest.mark.parametrize(
    "settings",
    [
        {"partition.assignment.strategy": "cooperative-sticky"},
        {"partition.assignment.strategy": "roundrobin"},
        {"group.protocol": "consumer"},
        {"batch": 200},
        {"isolation.level": "read_committed"},
    ],
    ids=["cooperative", "roundrobin", "consumer-protocol", "consume", "read-committed"],
)
def test_kinds_of_members(app: Application, settings: dict[str, object]) -> None:
    app.produce(2)
    app.consume(3, commit="batch", **settings)
    app.wait_flowing()
    app.round_trip(1, between=lambda: work_on(0.5))
    verdict = app.finish()
    assert verdict.ok, verdict.to_json()


def test_two_groups_on_the_same_topic(app: Application) -> None:
    app.produce(2)
    app.consume(2, group="one", commit="batch")
    app.consume(2, group="two", commit="auto")
    app.wait_flowing()
    app.round_trip(1, between=lambda: work_on(0.5))
    verdict = app.finish()
    assert verdict.ok, verdict.to_json()


def test_a_group_that_lags_by_20000_records_through_three_switches(app: Application) -> None:
    app.produce(1, rate=6000)
    slow = app.consume(2, group="slow", commit="batch", delay=0.01)
    wait_until(lambda: app.missing(app.group("slow")) > 20_000, timeout_s=60, what="no lag")
    app.stop(app.producers)
    app.produce(1, rate=100)
    for to in ("RIGHT", "LEFT", "RIGHT"):
        switched(app.switch(to))
        work_on(1.0)
    assert app.missing(app.group("slow")) > 10_000
    for member in slow:
        member.delay = 0.0
    verdict = app.finish()
    assert verdict.ok, verdict.to_json()


def test_groups_born_after_the_switch(app: Application) -> None:
    """`earliest` gets everything from the beginning of time, `latest` what comes from now on."""
    app.produce(2)
    app.consume(1)
    app.wait_flowing()
    switched(app.switch("RIGHT"))
    app.consume(2, group="early", commit="batch")
    app.wait_caught_up(120)
    late = app.consume(2, group="late", **{"auto.offset.reset": "latest"})
    wait_until(lambda: sum(m.count for m in late) > 50, timeout_s=60, what="latest reads nothing")
    born = min(
        e.at for e in app.journal.events if isinstance(e, Delivered) and e.group == late[0].group
    )
    switched(app.switch("LEFT"))
    work_on(0.5)
    app.stop(app.producers)
    wait_until(
        lambda: not app.missing(app.group()) and not app.missing(app.group("early")),
        timeout_s=60,
        what="the groups do not drain",
    )
    groups = [app.group(), app.group("early"), Expected(app.group("late"), since=born + 1.0)]
    verdict = app.finish(expected=groups)
    assert verdict.ok, verdict.to_json()


def test_a_group_without_commits_begins_again_as_in_any_rebalance(app: Application) -> None:
    app.produce(1)
    app.consume(2, commit="never")
    app.wait_flowing()
    switched(app.switch("RIGHT"))
    verdict = app.finish(strict=False)
    assert verdict.lost == 0
    assert verdict.skipped == 0
    assert verdict.repeated == 0, verdict.to_json()
    assert verdict.repeats_allowed > 0


def test_idle_partitions_empty_topics_and_topics_that_come_later(app: Application) -> None:
    empty, later = f"E{app.tag}", f"L{app.tag}"
    app.create_topic("LEFT", empty)  # on one side only: the switch creates the other
    app.produce(1, rate=50)
    topics = [app.topic, empty, later]
    app.consume(2, commit="batch", topics=topics, **{"topic.metadata.refresh.interval.ms": 1000})
    app.wait_flowing()
    switched(app.switch("RIGHT"))
    app.create_topic("RIGHT", later)  # born in the second epoch, on RIGHT only
    app.produce(1, rate=50, topic=later)
    app.produce(1, rate=50, topic=empty)
    work_on(2.0)
    switched(app.switch("LEFT"))
    work_on(1.0)
    verdict = app.finish()
    assert verdict.ok, verdict.to_json()


def _stall(member: Consuming) -> None:
    member.stalled_until = float("inf")
    assert member.idle.wait(10)


def _wake(member: Consuming) -> None:
    member.stalled_until = 0.0


def test_a_second_assignment_without_a_revoke_between(app: Application) -> None:
    """A member that does not poll has an assignment waiting for it when its topics change.

    librdkafka joins again by itself then, revokes nothing, and the application reads by the old
    assignment until the group has made a new one.
    """
    later = f"L{app.tag}"
    app.produce(2)
    (holder,) = app.consume(1, commit="rare")
    changes = {"topic.metadata.refresh.interval.ms": 500, "topics": [app.topic, later]}
    (reader,) = app.consume(1, commit="rare", **changes)
    app.wait_flowing()
    _stall(holder)
    (third,) = app.consume(1, commit="rare")
    wait_until(lambda: not reader.seen, timeout_s=90, what="the reader is not revoked")
    _stall(reader)
    _wake(holder)
    wait_until(lambda: holder.seen and third.seen, timeout_s=90, what="who polls does not read")
    _stall(holder)  # the next rebalance waits for it
    app.create_topic("LEFT", later)
    app.wait_group("LEFT", ConsumerGroupState.PREPARING_REBALANCING)  # the reader has joined again
    before = reader.count
    _wake(reader)
    wait_until(lambda: reader.count > before + 50, timeout_s=90, what="nothing is read")
    _wake(holder)
    verdict = app.finish()
    assert verdict.ok, verdict.to_json()


def test_the_standby_is_down_for_a_while_without_a_switch(app: Application) -> None:
    app.produce(1)
    app.consume(2, commit="batch")
    app.wait_flowing()
    app.lab.kill("RIGHT")
    before = sum(c.count for c in app.consumers)
    try:
        wait_until(
            lambda: sum(c.count for c in app.consumers) > before + 400,
            timeout_s=90,
            what="reading stops when the standby is down",
        )
    finally:
        app.lab.start("RIGHT")
    switched(app.switch("RIGHT", retry_s=120))
    verdict = app.finish()
    assert verdict.ok, verdict.to_json()


def test_mm2_is_stopped_so_the_switch_times_out_and_writes_reopen(app: Application) -> None:
    app.produce(1)
    app.consume(1)
    app.wait_flowing()
    app.lab.pause("mm2")
    try:
        result = app.switch("RIGHT", timeout_s=4.0, ignore=("flow-silent", "replication-lag-high"))
        assert (result.exit_code, result.changed) == (ExitCode.TIMED_OUT, False), result
        wait_writing(app)
    finally:
        app.lab.resume_process("mm2")
    app.epoch -= 1  # the epoch that was announced to the checkers did not come
    switched(app.switch("RIGHT", retry_s=90))
    verdict = app.finish()
    assert verdict.lost == verdict.repeated == verdict.reordered == 0, verdict.to_json()


def test_a_rogue_producer_is_named_and_the_switch_undone(app: Application) -> None:
    app.produce(1)
    app.consume(1)
    app.wait_flowing()
    stop = threading.Event()

    def write() -> None:
        rogue = Producer({"bootstrap.servers": app.lab.bootstrap("LEFT"), "linger.ms": 0})
        seq = 0
        while not stop.is_set():
            rogue.produce(app.topic, f"rogue {seq}", f"rogue-{seq}")
            rogue.flush(5)
            seq += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        result = app.switch("RIGHT", retry_s=5)
    finally:
        stop.set()
        writer.join(10)
    assert not result.changed, result
    assert result.exit_code in {ExitCode.REFUSED, ExitCode.TIMED_OUT}, result
    assert any(finding.id == "rogue-writer" for finding in result.findings), result
    assert app.topic in str(result), result
    wait_writing(app)


def test_the_tool_is_killed_before_and_after_the_intent_and_taken_up(app: Application) -> None:
    """Without an intent the next tool undoes the run, with one it completes it."""
    app.produce(1)
    app.consume(2, commit="batch")
    app.wait_flowing()
    assert tool(app, "RIGHT", "copy", "SIGKILL").returncode == -signal.SIGKILL
    wait_until(lambda: app.producers[0].producer.state != "open", timeout_s=90, what="not closed")
    with connect(app.settings) as orchestrator:
        undone = orchestrator.resume()
    assert not undone.changed, undone
    wait_writing(app)
    app.note_epoch_of("RIGHT")
    assert tool(app, "RIGHT", "commit", "SIGKILL").returncode == -signal.SIGKILL
    with connect(app.settings) as orchestrator:
        completed = orchestrator.resume()
    assert completed.exit_code == ExitCode.OK, completed
    app.active = "RIGHT"
    switched(app.switch("LEFT"))
    verdict = app.finish()
    assert verdict.ok, verdict.to_json()


@pytest.mark.parametrize(
    "step", ["prepare", "close", "quiesce", "copy", "intent", "commit", "move"]
)
def test_ctrl_c_in_every_phase(app: Application, step: str) -> None:
    """Before the intent it is undone, after it completed; 130 either way, and writes are open."""
    app.produce(1)
    app.consume(1, commit="batch")
    app.wait_flowing()
    app.note_epoch_of("RIGHT")
    ended = tool(app, "RIGHT", step, "SIGINT")
    assert ended.returncode == 0, ended.stderr
    code, result = ended.stdout.split()
    assert int(code) == ExitCode.INTERRUPTED, ended.stdout
    wait_writing(app)
    with connect(app.settings) as orchestrator:
        orchestrator.resume()
    verdict = app.finish()
    assert verdict.lost == verdict.repeated == verdict.reordered == 0, (result, verdict.to_json())


def test_a_switch_to_where_we_are_changes_nothing(app: Application) -> None:
    result = app.switch("LEFT")
    assert (result.exit_code, result.changed, result.result) == (ExitCode.OK, False, "unchanged")


def test_a_second_switch_at_the_same_time_is_refused(app: Application) -> None:
    app.produce(1)
    app.consume(1, commit="batch")
    app.wait_flowing()
    app.lab.pause("mm2")  # so that the first one waits for the copy
    try:
        first = Background(app, "RIGHT")
        wait_until(
            lambda: app.producers[0].producer.state == "quiesced", timeout_s=60, what="not closed"
        )
        with connect(app.settings) as orchestrator:
            second = orchestrator.switch(app.request("RIGHT"))
        assert second.exit_code == ExitCode.LOCKED, second
    finally:
        app.lab.resume_process("mm2")
    switched(first.result())
    verdict = app.finish()
    assert verdict.ok, verdict.to_json()


def test_what_on_commit_raises_while_a_member_closes_is_raised_when_everything_is_closed(
    app: Application,
) -> None:
    def refuse(*_: object) -> None:
        raise ZeroDivisionError

    app.produce(1)
    member = FailoverConsumer(
        {
            "failover.config": app.config,
            "group.id": app.group(),
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "on_commit": refuse,
        }
    )
    member.subscribe([app.topic])
    got = []

    def read() -> bool:
        message = member.poll(0.1)
        got.extend([message] if message is not None else [])
        return bool(got)

    wait_until(read, timeout_s=60, what="nothing is read")
    member.commit(message=got[-1], asynchronous=True)
    with pytest.raises(ZeroDivisionError):
        member.close()
    assert member.state == "closed"
