"""The wrapped clients against plain confluent-kafka, alternating in one process."""

import logging
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

from confluent_kafka import Consumer, Producer
from figures import Figures

from clientlib import FailoverConsumer, FailoverProducer
from failover.demo.story import create_topics
from failover.lab.lab import Lab

_VALUE = b"v" * 100
_KEYS = [f"key-{number}".encode() for number in range(256)]
_DURABLE = {"acks": "all", "enable.idempotence": True}
_READ = {"auto.offset.reset": "earliest", "fetch.wait.max.ms": 100}
_JOIN_S = 60.0
_BATCH = 500

Run = Callable[[bool], float]


def measure(lab: Lab, records: int, repeats: int, say: Callable[[str], None]) -> Figures:
    """Compare produce, poll and consume; MirrorMaker 2 is stopped meanwhile, as it takes a core."""
    topic = f"throughput-{uuid.uuid4().hex[:6]}"
    names = [topic, *(f"{alias}.{topic}" for alias in lab.aliases)]
    create_topics(lab, names, 6)
    bench = _Bench(lab, topic, records)
    lab.stop("mm2")
    try:
        bench.fill()
        rows = [
            _compare(name, run, repeats, say)
            for name, run in (
                ("`produce` with a delivery callback", bench.produce),
                ("`poll`", bench.poll),
                (f"`consume({_BATCH})`", bench.consume),
            )
        ]
    finally:
        lab.start("mm2")
    return Figures(
        "Throughput: wrapped against plain confluent-kafka",
        ("call", "plain", "wrapped", "ratio"),
        rows,
        [
            f"Medians of {repeats} alternating runs, after one of each that does not count.",
            "The ratio is the median of the ratios of neighbouring runs.",
            f"{records:,} records of 100 bytes with a key, in 6 partitions.",
            "Producers: acks=all, idempotence, the same callback; until the last is reported.",
            "Consumers: default settings, automatic commit; without joining and the first quarter.",
        ],
    )


def _compare(name: str, run: Run, repeats: int, say: Callable[[str], None]) -> list[str]:
    rates: dict[bool, list[float]] = {False: [], True: []}
    for number in range(repeats + 1):
        for wrapped in (False, True) if number % 2 else (True, False):
            rate = run(wrapped)
            if number:  # the first of each is for warming up
                rates[wrapped].append(rate)
    ratio = median(w / p for p, w in zip(rates[False], rates[True], strict=True))
    plain, ours = median(rates[False]), median(rates[True])
    say(f"{name}: plain {plain:,.0f}/s, wrapped {ours:,.0f}/s, ratio {ratio:.2f}")
    return [name, f"{plain:,.0f}/s", f"{ours:,.0f}/s", f"{ratio:.2f}"]


class _Bench:
    """One topic, and one run of each kind; each returns records per second."""

    def __init__(self, lab: Lab, topic: str, records: int) -> None:
        self._topic, self._records = topic, records
        self._address = {"bootstrap.servers": lab.bootstrap(lab.aliases[0])}
        self._failover = {"failover.config": str(lab.config_path)}
        self._quiet = {"logger": _silent()}

    def fill(self) -> None:
        """Write what the consumers are going to read."""
        self.produce(False)

    def produce(self, wrapped: bool) -> float:
        kind = FailoverProducer if wrapped else Producer
        address = self._failover if wrapped else self._address
        producer: Any = kind({**address, **_DURABLE, **self._quiet})
        reported = 0

        def report(_error: object, _message: object) -> None:
            nonlocal reported
            reported += 1

        _send(producer, self._topic, 1, report)
        if producer.flush(_JOIN_S):  # connected, and open
            raise RuntimeError("the first record was not acknowledged")
        begun = time.perf_counter()
        _send(producer, self._topic, self._records, report)
        producer.flush()
        took = time.perf_counter() - begun
        producer.close()
        if reported != self._records + 1:
            raise RuntimeError(f"{reported} of {self._records + 1} records were reported")
        return self._records / took

    def poll(self, wrapped: bool) -> float:
        with self._member(wrapped) as consumer:
            got = skipped = _skip(consumer, self._records // 4)
            begun = time.perf_counter()
            while got < self._records:
                message = consumer.poll(1.0)
                if message is not None and message.error() is None:
                    got += 1
            return (self._records - skipped) / (time.perf_counter() - begun)

    def consume(self, wrapped: bool) -> float:
        with self._member(wrapped) as consumer:
            got = skipped = _skip(consumer, self._records // 4)
            begun = time.perf_counter()
            while got < self._records:
                wanted = min(_BATCH, self._records - got)
                got += sum(m.error() is None for m in consumer.consume(wanted, 1.0))
            return (self._records - skipped) / (time.perf_counter() - begun)

    @contextmanager
    def _member(self, wrapped: bool) -> Iterator[Any]:
        """Give a consumer in a group of its own."""
        kind = FailoverConsumer if wrapped else Consumer
        address = self._failover if wrapped else self._address
        group = {"group.id": f"throughput-{uuid.uuid4().hex[:8]}"}
        consumer: Any = kind({**address, **_READ, **self._quiet, **group})
        try:
            consumer.subscribe([self._topic])
            yield consumer
        finally:
            consumer.close()


def _send(producer: Any, topic: str, count: int, report: Callable[..., None]) -> None:
    produce, poll = producer.produce, producer.poll
    for number in range(count):
        while True:
            try:
                produce(topic, _VALUE, _KEYS[number % 256], on_delivery=report)
                break
            except BufferError:
                poll(0.01)
        if not number % 1000:
            poll(0)


def _skip(consumer: Any, count: int) -> int:
    """Read until the group has settled and all partitions are fetched; return how many came."""
    deadline, got = time.perf_counter() + _JOIN_S, 0
    while got < count:
        got += sum(message.error() is None for message in consumer.consume(_BATCH, 0.1))
        if time.perf_counter() > deadline:
            raise RuntimeError(f"{got} of {count} records came in {_JOIN_S:g} s")
    return got


def _silent() -> logging.Logger:
    logger = logging.getLogger("bench.silent")
    logger.setLevel(logging.CRITICAL)
    return logger
