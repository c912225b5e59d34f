"""What scenarios of copies that repeat records share: MirrorMaker 2 killed between two flushes."""

from collections import Counter

from application import Application
from confluent_kafka import Consumer, TopicPartition
from disaster import work_on

from failover.engine import connect
from failover.lab.lab import Lab
from failover.lab.processes import wait_until


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


class Flushes:
    """What MirrorMaker 2 has noted since then of a topic's copies: as keys, one a partition."""

    def __init__(self, lab: Lab, source: str, target: str, topic: str) -> None:
        self._settings = {"bootstrap.servers": lab.bootstrap(target), "group.id": "repeats-test"}
        self._part = TopicPartition(f"mm2-offsets.{source}.internal", 0)
        self._topic = f'"{topic}"'
        self._part.offset = self._end()

    def _end(self) -> int:
        consumer = Consumer(self._settings)
        try:
            return consumer.get_watermark_offsets(self._part, 10)[1]
        finally:
            consumer.close()

    def noted(self) -> set[str]:
        end, found = self._end(), set()
        consumer = Consumer(self._settings)
        try:
            consumer.assign([self._part])
            at = self._part.offset
            while at < end:  # not consume(): that waits for as many as it may return
                message = consumer.poll(1.0)
                if message is not None and message.error() is None:
                    at = message.offset() + 1
                    found.add(message.key().decode())
        finally:
            consumer.close()
        return {key for key in found if self._topic in key}


def kill_between_flushes(
    app: Application,
    source: str,
    target: str,
    *,
    seconds: float = 1.0,
    start: bool = True,
) -> None:
    """Kill it when it has sent for so long what it will send again, and ``start`` it anew."""
    flushes = Flushes(app.lab, source, target, app.topic)
    wait_until(
        lambda: len(flushes.noted()) == app.partitions, timeout_s=90, what="it does not flush"
    )
    work_on(seconds)
    app.lab.kill("mm2")
    if start:
        app.lab.start("mm2")


def wait_repeated(app: Application, alias: str, topic: str) -> None:
    wait_until(
        lambda: Log(app.lab, alias, topic, "read_uncommitted").repeated > 100,
        timeout_s=90,
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
