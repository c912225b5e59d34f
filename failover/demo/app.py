"""The demo's application: ``python -m failover.demo.app producer|consumer``.

Nothing in it knows about switches. It is what any application with confluent-kafka looks like,
except for the two imports from ``clientlib`` and for the history that it writes down, so that the
checkers can judge afterwards what happened to each record. It ends on SIGTERM, on Ctrl-C, and when
whoever started it is gone.
"""

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from clientlib import FailoverConsumer, FailoverProducer
from failover.checkers import (
    Acked,
    Committed,
    ConsumerStarted,
    Delivered,
    Revoked,
    SendFailed,
    Sent,
)
from failover.io.history import HistoryWriter

KEYS = 60
COMMIT_EVERY = {"message": 1, "batch": 100, "rare": 1000}
COMMIT_MODES = ("auto", *COMMIT_EVERY)
WRITING = {"linger.ms": 1}
READING = {
    "auto.offset.reset": "earliest",
    "partition.assignment.strategy": "cooperative-sticky",
    "auto.commit.interval.ms": 1000,
}
_TICK_S = 0.002
_POLL_S = 0.2
_FLUSH_S = 30.0
_ANSWER_S = 1.0
_NO_OFFSET = KafkaError._NO_OFFSET  # noqa: SLF001 - confluent-kafka's public spelling


class Stop:
    """Set by SIGTERM and SIGINT, and when standard input ends because our starter is gone."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, _number: int, _frame: object) -> None:
        self.asked = True

    def with_parent(self) -> None:
        """End with the process at the other end of standard input."""
        threading.Thread(target=self._wait_for_parent, daemon=True, name="parent").start()

    def _wait_for_parent(self) -> None:
        while os.read(sys.stdin.fileno(), 64):
            pass
        self.asked = True


class Writing:
    """A producer: keyed records at a steady rate, its name and a number in each value."""

    def __init__(self, given: argparse.Namespace, history: HistoryWriter) -> None:
        self._name, self._topic, self._rate = given.name, given.topic, given.rate
        self._history = history
        self._sent = given.first
        self._producer = self.connect(given)

    def connect(self, given: argparse.Namespace) -> Any:
        """Return the producer; the benchmark puts another one here."""
        return FailoverProducer({"failover.config": given.config, **WRITING})

    def run(self, stop: Stop) -> int:
        """Write until asked to stop; return 0 if every record was reported."""
        with self._producer:
            begun, first = time.monotonic(), self._sent
            while not stop.asked:
                due = first + int((time.monotonic() - begun) * self._rate)
                while self._sent < due and not stop.asked:
                    self._send(f"{self._name}-{self._sent % KEYS}")
                self._producer.poll(_TICK_S)
            left: int = self._producer.flush(_FLUSH_S)
            return min(1, left)

    def _send(self, key: str) -> None:
        """Send the next record, which is written down before Kafka can know of it."""
        seq = self._sent
        self._history.write(Sent(self._name, seq, self._topic, None, key, time.monotonic()))
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    f"{self._name} {seq}",
                    key,
                    on_delivery=partial(self._reported, seq),
                )
                break
            except BufferError:  # the queue is full: wait as confluent-kafka's users do
                self._producer.poll(_TICK_S)
        self._sent += 1

    def _reported(self, seq: int, error: Any, message: Message) -> None:
        now = time.monotonic()
        place = None if error is not None else self._producer.origin(message)
        if place is None:
            self._history.write(SendFailed(self._name, seq, str(error), now))
            return
        at = (place.cluster, place.topic, place.partition, place.offset)
        self._history.write(Acked(self._name, seq, *at, now))


class Reading:
    """A member of a group. ``commit``: auto, message, batch (every 100) or rare (every 1,000)."""

    def __init__(self, given: argparse.Namespace, history: HistoryWriter) -> None:
        self._name, self._group, self._topic = given.name, given.group, given.topic
        self._history = history
        self._every = COMMIT_EVERY.get(given.commit, 0)
        self._since_commit = 0
        self._asked_until = 0.0
        own = {"group.id": given.group, "enable.auto.commit": given.commit == "auto"}
        if self._every == 1:
            own["on_commit"] = self._on_answer
        self._consumer = self.connect(given, {**READING, **own})

    def connect(self, given: argparse.Namespace, settings: dict[str, Any]) -> Any:
        """Return the consumer; the benchmark puts another one here."""
        return FailoverConsumer({"failover.config": given.config, **settings})

    def run(self, stop: Stop) -> int:
        """Read until asked to stop."""
        self._history.write(ConsumerStarted(self._name, self._group, time.monotonic()))
        with self._consumer:
            self._consumer.subscribe([self._topic], on_revoke=self._on_revoke)
            while not stop.asked:
                message = self._consumer.poll(_POLL_S)
                if message is not None:
                    self._process(message)
        return 0

    def _process(self, message: Any) -> None:
        if message.error() is not None:
            raise KafkaException(message.error())
        place = self._consumer.origin(message)
        producer, seq = message.value().decode().split()
        key = message.key().decode()
        self._history.write(
            Delivered(
                consumer=self._name,
                group=self._group,
                producer=producer,
                seq=int(seq),
                topic=message.topic(),
                cluster=place.read_on if place is not None else None,
                partition=message.partition(),
                offset=message.offset(),
                key=key,
                at=time.monotonic(),
            )
        )
        self._since_commit += 1
        if self._every and self._since_commit >= self._every and self._may_commit():
            self._since_commit = 0
            if self._every == 1:
                # waiting for each single commit would halve what a process can read, and a broker
                # that is slower than the reader would be asked more and more, ahead of heartbeats
                self._asked_until = time.monotonic() + _ANSWER_S
                self._commit(asynchronous=True)
            else:
                self._commit(message=message)

    def _on_answer(self, _error: Any, _partitions: list[TopicPartition]) -> None:
        self._asked_until = 0.0

    def _may_commit(self) -> bool:
        """Say whether the last commit was answered, or will not be: a lost cluster answers none."""
        return self._every > 1 or time.monotonic() >= self._asked_until

    def _commit(self, *, asynchronous: bool = False, **what: Any) -> None:
        """Commit what was processed; a rebalance in between commits it in ``on_revoke``."""
        try:
            done = self._consumer.commit(asynchronous=asynchronous, **what)
        except KafkaException as error:
            if error.args[0].code() != _NO_OFFSET:
                logging.getLogger("demo").warning("commit refused: %s", error)
            return
        now = time.monotonic()
        for tp in done or ():
            self._history.write(
                Committed(self._name, self._group, None, tp.topic, tp.partition, tp.offset, now)
            )

    def _on_revoke(self, _consumer: Any, partitions: list[TopicPartition]) -> None:
        if self._every:  # else the client commits by itself
            self._commit()
        for tp in partitions:
            self._history.write(
                Revoked(self._name, self._group, tp.topic, tp.partition, time.monotonic())
            )


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="failover.demo.app", description=__doc__)
    parser.add_argument("role", choices=("producer", "consumer"))
    parser.add_argument("--config", required=True, help="failover.yaml")
    parser.add_argument("--name", required=True, help="unique: it stands in every record")
    parser.add_argument("--topic", required=True, help="the logical topic")
    parser.add_argument("--history", required=True, type=Path, help="file to append events to")
    parser.add_argument("--rate", type=float, default=500.0, help="records a second")
    parser.add_argument("--first", type=int, default=0, help="number of the first record")
    parser.add_argument("--group", default="demo", help="the consumer's group")
    parser.add_argument("--commit", choices=COMMIT_MODES, default="batch")
    parser.add_argument(
        "--with-parent", action="store_true", help="end when standard input is closed"
    )
    return parser.parse_args(given)


def main(writing: type[Writing] = Writing, reading: type[Reading] = Reading) -> int:
    """Run one producer or consumer until it is asked to stop; the benchmark has its own kinds."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    given = arguments()
    stop = Stop()
    if given.with_parent:
        stop.with_parent()
    with HistoryWriter(given.history) as history:
        kind = writing if given.role == "producer" else reading
        return kind(given, history).run(stop)


if __name__ == "__main__":
    sys.exit(main())
