"""Copies that repeat records, on real Kafka: MirrorMaker 2 killed between two offset flushes.

Each scenario first makes sure that the copy really holds what it is about.
"""

from collections import Counter

import pytest
from application import Application
from confluent_kafka import Consumer, TopicPartition
from disaster import switched, work_on

from failover.engine import connect
from failover.lab.lab import Lab
from failover.lab.processes import wait_until

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


class Log:
    """All that a topic of a cluster holds, read as ``isolation`` says."""

    def __init__(self, lab: Lab, alias: str, topic: str, isolation: str) -> None:
        self.values: Counter[str] = Counter()
        self.offsets = 0
        consumer = Consumer(
            {
                "bootstrap.servers": lab.bootstrap(alias),
                "group.id": "repeats-test",
                "isolation.level": isolation,
                "enable.partition.eof": True,
            }
        )
        try:
            numbers = consumer.list_topics(topic, 10).topics[topic].partitions
            parts = [TopicPartition(topic, number, 0) for number in numbers]
            self.offsets = sum(consumer.get_watermark_offsets(p, 10)[1] for p in parts)
            consumer.assign(parts)
            left = set(numbers)
            while left:
                for message in consumer.consume(1000, 1.0):
                    if message.error() is not None:
                        left.discard(message.partition())
                    else:
                        self.values[message.value().decode()] += 1
        finally:
            consumer.close()

    @property
    def repeated(self) -> int:
        return self.values.total() - len(self.values)


def flush_of(lab: Lab, source: str, target: str) -> int:
    """Return how often MirrorMaker 2 has written its offsets of a flow."""
    part = TopicPartition(f"mm2-offsets.{source}.internal", 0)
    consumer = Consumer({"bootstrap.servers": lab.bootstrap(target), "group.id": "repeats-test"})
    try:
        return consumer.get_watermark_offsets(part, 10)[1]
    finally:
        consumer.close()


def kill_between_flushes(app: Application, source: str, target: str) -> None:
    """Kill it when it has sent for a second what it will send again, and start it anew."""
    before = flush_of(app.lab, source, target)
    wait_until(
        lambda: flush_of(app.lab, source, target) > before, timeout_s=30, what="it does not flush"
    )
    work_on(1.0)
    app.lab.kill("mm2")
    app.lab.start("mm2")


def wait_repeated(app: Application, alias: str, topic: str) -> None:
    wait_until(
        lambda: Log(app.lab, alias, topic, "read_uncommitted").repeated > 100,
        timeout_s=30,
        what=f"{topic} on {alias} repeats nothing",
    )


def skipped(app: Application) -> Counter[tuple[int, str]]:
    """Return how many offsets the ledger says to skip, by epoch and cluster."""
    found: Counter[tuple[int, str]] = Counter()
    with connect(app.settings) as orchestrator:
        rows = orchestrator.ports.store.views()[app.active].ledger[app.topic]
    for counter, row in rows.items():
        for cluster, by in row.skip.items():
            spans = [span for spans in by.values() for span in spans]
            found[counter, cluster] += sum(end - first for first, end in spans)
    return found


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
