"""The wrapped clients against plain confluent-kafka, in turn, in one process.

A machine that has other things to do gives no rates. So each row also has the processor time of
this process (librdkafka's threads included) for each record, which suffers less.
"""

import gc
import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from statistics import median
from typing import Any
from unittest.mock import patch

from confluent_kafka import Consumer, Producer
from figures import Figures

from clientlib import FailoverConsumer, FailoverProducer
from clientlib.io.evidence import ProgressWriter
from failover.demo.story import create_topics
from failover.lab.lab import Lab

_VALUE = b"v" * 100
_KEYS = [f"key-{number}".encode() for number in range(256)]
_DURABLE = {"acks": "all", "enable.idempotence": True}
# With librdkafka's default of 1 s both kinds stand still for a second whenever 100,000 records
# wait in them, and that would be all that a run of less than a second measures.
_READ = {
    "auto.offset.reset": "earliest",
    "fetch.wait.max.ms": 100,
    "fetch.queue.backoff.ms": 10,
}
_IDENTITY = {"failover.record.identity": "header"}
_NO_BUFFER = {"failover.replay.bytes": 0}
_LIKE_IDENTITY = [("failover.id", b"application-0123456789;100000")]
_JOIN_S = 60.0
_BATCH = 500
_HEADS = ("", "rate", "ratio", "its range", "CPU for a record", "ratio", "its range")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Took:
    """What one run took: wall seconds and processor seconds for so many records."""

    records: int
    wall_s: float
    cpu_s: float

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.wall_s

    @property
    def cost_us(self) -> float:
        """Processor time for each record."""
        return self.cpu_s / self.records * 1e6


@dataclass(frozen=True, slots=True)
class Way:
    """One way to do it; ``callback``: count reports, keep them, or none; ``within``: what holds."""

    name: str
    wrapped: bool
    callback: str = "count"
    settings: Mapping[str, Any] = field(default_factory=dict)
    headers: Any = None
    within: Callable[[], AbstractContextManager[Any]] = nullcontext


def _no_reports() -> AbstractContextManager[Any]:
    """Keep the members of this process from reporting their progress to the standby."""
    return patch.object(ProgressWriter, "write", lambda *_: True)


# the first is what all are compared with
_PRODUCE = (
    Way("plain, a callback that counts", wrapped=False),
    Way("wrapped, a callback that counts", wrapped=True),
    Way("wrapped, the same, replay buffer of 0 bytes", wrapped=True, settings=_NO_BUFFER),
    Way("wrapped, the same, identity by header", wrapped=True, settings=_IDENTITY),
    Way("plain, the same, as large a header", wrapped=False, headers=_LIKE_IDENTITY),
    Way("plain, a callback that keeps the message too", wrapped=False, callback="keep"),
    Way("plain, no callback", wrapped=False, callback="none"),
    Way("wrapped, no callback", wrapped=True, callback="none"),
)
_CONSUME = (
    Way("plain", wrapped=False),
    Way("wrapped", wrapped=True),
    Way("wrapped, no progress reports", wrapped=True, within=_no_reports),
)


def measure(lab: Lab, records: int, repeats: int, say: Say) -> list[Figures]:
    """Compare produce, poll and consume; MirrorMaker 2 is stopped meanwhile, as it takes a core."""
    topic = f"throughput-{uuid.uuid4().hex[:6]}"
    names = [topic, *(f"{alias}.{topic}" for alias in lab.aliases)]
    create_topics(lab, names, 6)
    bench = _Bench(lab, topic, records)
    lab.stop("mm2")
    try:
        bench.produce(_PRODUCE[0])  # what the consumers are going to read
        consume = [
            *_compare("`poll`, ", bench.poll, _CONSUME, repeats, say),
            *_compare(f"`consume({_BATCH})`, ", bench.consume, _CONSUME, repeats, say),
        ]
        produce = _compare("", bench.produce, _PRODUCE, repeats, say)
    finally:
        lab.start("mm2")
    told = [
        (
            f"Medians of {repeats} runs in turn, after one of each that does not count; the ratio "
            "is the median of the ratios to the first row's run of the same turn."
        ),
        f"{records:,} records of 100 bytes with a key, in 6 partitions.",
    ]
    return [
        Figures(
            "`produce`: wrapped against plain confluent-kafka",
            _HEADS,
            produce,
            [
                *told,
                (
                    "acks=all, idempotence; until the last is reported. The replay buffer keeps "
                    "everything, because MirrorMaker 2 stands still: more than it does at work."
                ),
            ],
        ),
        Figures(
            "`poll` and `consume`: wrapped against plain confluent-kafka",
            _HEADS,
            consume,
            [
                *told,
                (
                    "Automatic commit; without joining and the first quarter. "
                    "`fetch.queue.backoff.ms` is 10 for all: with the default of 1,000 each stands "
                    "still for a second when 100,000 records wait in it, and little else counts."
                ),
                "The application does nothing with a record but count it.",
            ],
        ),
    ]


def _compare(
    what: str, run: Callable[[Way], Took], ways: Sequence[Way], repeats: int, say: Say
) -> list[list[str]]:
    found: list[list[Took]] = [[] for _ in ways]
    for number in range(repeats + 1):
        order = range(len(ways))
        for index in order if number % 2 else reversed(order):
            gc.collect()
            took = run(ways[index])
            if number:  # the first of each is for warming up
                found[index].append(took)
    rows = [_row(what + way.name, took, found[0]) for way, took in zip(ways, found, strict=True)]
    for row in rows:
        say(", ".join(row))
    return rows


def _row(name: str, found: Sequence[Took], against: Sequence[Took]) -> list[str]:
    pairs = list(zip(found, against, strict=True))
    rates = [mine.rate / base.rate for mine, base in pairs]
    costs = [mine.cost_us / base.cost_us for mine, base in pairs]
    return [
        name,
        f"{median(took.rate for took in found):,.0f}/s",
        *_ratio(rates),
        f"{median(took.cost_us for took in found):.2f} us",
        *_ratio(costs),
    ]


def _ratio(values: Sequence[float]) -> tuple[str, str]:
    return f"{median(values):.2f}", f"{min(values):.2f} to {max(values):.2f}"


class _Clock:
    """Measures one run."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def took(self, records: int) -> Took:
        """Return what it took until now."""
        return Took(records, time.perf_counter() - self._wall, time.process_time() - self._cpu)


class _Bench:
    """One topic, and one run of each kind."""

    def __init__(self, lab: Lab, topic: str, records: int) -> None:
        self._topic, self._records = topic, records
        self._address = {"bootstrap.servers": lab.bootstrap(lab.aliases[0])}
        self._failover = {"failover.config": str(lab.config_path)}
        self._quiet = {"logger": _silent()}

    def produce(self, way: Way) -> Took:
        kind = FailoverProducer if way.wrapped else Producer
        address = self._failover if way.wrapped else self._address
        producer: Any = kind({**address, **_DURABLE, **self._quiet, **way.settings})
        reported = 0
        kept: list[Any] = []

        def report(_error: object, _message: object) -> None:
            nonlocal reported
            reported += 1

        def keep(_error: object, message: object) -> None:
            nonlocal reported
            reported += 1
            kept.append(message)

        given = {"count": report, "keep": keep, "none": None}[way.callback]
        self._send(producer, 1, report, None)
        if producer.flush(_JOIN_S):  # connected, and open
            raise RuntimeError("the first record was not acknowledged")
        clock = _Clock()
        self._send(producer, self._records, given, way.headers)
        producer.flush()
        took = clock.took(self._records)
        producer.close()
        if given is not None and reported != self._records + 1:
            raise RuntimeError(f"{reported} of {self._records + 1} records were reported")
        return took

    def _send(self, producer: Any, count: int, report: Any, headers: Any) -> None:
        """Produce as fast as it goes, giving what is given: no argument more is passed."""
        produce, poll, topic = producer.produce, producer.poll, self._topic
        more = {"on_delivery": report} if report is not None else {}
        more |= {"headers": headers} if headers is not None else {}
        for number in range(count):
            while True:
                try:
                    produce(topic, _VALUE, _KEYS[number % 256], **more)
                    break
                except BufferError:
                    poll(0.01)
            if not number % 1000:
                poll(0)

    def poll(self, way: Way) -> Took:
        with self._member(way) as consumer:
            got = skipped = _skip(consumer, self._records // 4)
            clock = _Clock()
            while got < self._records:
                message = consumer.poll(1.0)
                if message is not None and message.error() is None:
                    got += 1
            return clock.took(self._records - skipped)

    def consume(self, way: Way) -> Took:
        with self._member(way) as consumer:
            got = skipped = _skip(consumer, self._records // 4)
            clock = _Clock()
            while got < self._records:
                wanted = min(_BATCH, self._records - got)
                got += sum(m.error() is None for m in consumer.consume(wanted, 1.0))
            return clock.took(self._records - skipped)

    @contextmanager
    def _member(self, way: Way) -> Iterator[Any]:
        """Give a consumer in a group of its own."""
        kind = FailoverConsumer if way.wrapped else Consumer
        address = self._failover if way.wrapped else self._address
        group = {"group.id": f"throughput-{uuid.uuid4().hex[:8]}"}
        with way.within():
            consumer: Any = kind({**address, **_READ, **self._quiet, **group, **way.settings})
            try:
                consumer.subscribe([self._topic])
                yield consumer
            finally:
                consumer.close()


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
