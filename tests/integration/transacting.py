"""A producer with transactions, written down for the checkers: a record is acknowledged with its
commit, and aborted with its transaction.
"""

import random
import threading
import time
from typing import Any

from application import KEYS, Application
from confluent_kafka import KafkaException

from clientlib import FailoverProducer
from failover.checkers import Aborted, Acked, Sent

_PATIENCE_S = 100.0
"""Longer than any switch, but not for ever: a test that has failed leaves no thread behind."""


class Transacting(threading.Thread):
    """Transactions of random size, one after the other; every fifth is aborted.

    One that is not started is the test's own to `begin`, `send`, `commit` and `abort`.
    """

    def __init__(self, app: Application, name: str, rate: float = 200, most: int = 20) -> None:
        super().__init__(name=name, daemon=True)
        self.app, self.rate, self.most = app, rate, most
        self.stopping = threading.Event()
        self.error: BaseException | None = None
        self.sent = 0
        self.acked = 0
        self.commits = 0
        self.aborts = 0
        self.told_to_abort = 0
        self.open: list[int] = []
        self.places: dict[int, tuple[Any, float]] = {}
        self.producer = FailoverProducer(
            {
                "failover.config": app.config,
                "transactional.id": f"{name}-{app.tag}",
                "linger.ms": 1,
                "transaction.timeout.ms": 20_000,
            }
        )

    def run(self) -> None:
        try:
            self.producer.init_transactions(30)
            self._go_on()
        except BaseException as error:  # noqa: BLE001 - shown by the test that owns the thread
            self.error = error
        finally:
            self.producer.close()

    def _go_on(self) -> None:
        begun = time.monotonic()
        while not self.stopping.is_set():
            if self.sent > (time.monotonic() - begun) * self.rate:
                self.producer.poll(0.002)
                continue
            self.transaction(random.randint(1, self.most), aborts=random.random() < 0.2)

    def transaction(self, count: int, *, aborts: bool = False) -> bool:
        """One transaction; says whether it was committed."""
        try:
            self.begin()
            for _ in range(count):
                self.send()
                self.producer.poll(0.002)  # so that a switch meets open ones
            if not aborts:
                self.commit()
                return True
        except KafkaException as error:
            if not error.args[0].txn_requires_abort():
                raise
            self.told_to_abort += 1
        self.abort()
        return False

    def begin(self) -> None:
        self.producer.begin_transaction()
        self.open.clear()
        self.places.clear()

    def send(self) -> None:
        seq, key = self.sent, f"{self.name}-{self.sent % KEYS}"
        self.sent += 1
        topic = self.app.topic
        self.app.journal.write(Sent(self.name, seq, topic, None, key, time.monotonic()))
        self.open.append(seq)
        self.producer.produce(
            topic,
            f"{self.name} {seq}",
            key,
            on_delivery=lambda error, message: self._reported(seq, error, message),
        )

    def commit(self) -> None:
        """Commit, and write down that all of it is acknowledged."""
        self.producer.commit_transaction(_PATIENCE_S)
        assert self.places.keys() == set(self.open), "committed without a report for each record"
        for seq in self.open:
            place, at = self.places[seq]
            where = (place.cluster, place.topic, place.partition, place.offset)
            self.app.journal.write(Acked(self.name, seq, *where, at))
        self.acked += len(self.open)
        self.commits += 1

    def abort(self) -> None:
        self.producer.abort_transaction(_PATIENCE_S)
        for seq in self.open:
            self.app.journal.write(Aborted(self.name, seq, time.monotonic()))
        self.aborts += 1

    def _reported(self, seq: int, error: Any, message: Any) -> None:
        if error is None:
            assert seq not in self.places, "reported twice"
            self.places[seq] = (self.producer.origin(message), time.monotonic())
