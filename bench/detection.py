"""LEFT is killed: when the clients know, before anybody has told them to go on elsewhere."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from figures import Figures, milliseconds, spread

from clientlib import FailoverConsumer, FailoverProducer
from clientlib.io.watch import StateWatch, give_back, shared_watch
from clientlib.settings import load as read_settings
from failover.demo.story import LEFT, create_topics
from failover.lab.lab import Lab

_TOPIC = "detection"
_READY_S, _KNOWN_S = 60.0, 30.0
_LOOK_S = 0.002
_PRODUCER_ERROR = "producer: its `error_cb` is called"
_CONSUMER_ERROR = "consumer: its `error_cb` is called"
_STALE = "consumer and producer: the active cluster's state is not confirmed any more"
_LAPSED = "producer: its `state` is not `open` any more (its registration has ended)"

Say = Callable[[str], None]


def measure(lab: Lab, rounds: int, say: Say) -> Figures:
    """Kill LEFT so often under a wrapped producer and consumer, and start it again."""
    create_topics(lab, [_TOPIC], 1)
    found: defaultdict[str, list[float]] = defaultdict(list)
    with _clients(lab) as clients:
        for number in range(1, rounds + 1):
            clients.wait_ready()
            killed = time.monotonic()
            lab.kill(LEFT)
            for what, at in clients.wait_known().items():
                found[what].append(at - killed)
            say(f"round {number} of {rounds}: {_brief(found)}")
            lab.start(LEFT)
    rows = [
        [what, str(len(took)), *(milliseconds(value) for value in spread(took))]
        for what, took in found.items()
    ]
    return Figures(
        "Unplanned: when the clients know",
        ("moment, from kill -9 of LEFT on", "number", "median", "95 %", "longest"),
        rows,
        [
            "A producer at 100 records/s and a consumer, both wrapped, in one process.",
            (
                "From the third moment on a consumer gives out no record that it had fetched; from "
                "the fourth on a producer keeps what it is given instead of handing it over."
            ),
            (
                "Nobody goes on elsewhere by this: that is decided by a person, and then it takes "
                "what the table of the unplanned switch says."
            ),
        ],
    )


def _brief(found: Mapping[str, list[float]]) -> str:
    return ", ".join(
        f"{what.split(':')[0]} {took[-1] * 1000:,.0f} ms" for what, took in found.items()
    )


@dataclass
class _Clients:
    """A working producer and consumer, and when they were first seen to know."""

    producer: Any
    consumer: Any
    watch: StateWatch
    errors: dict[str, float] = field(default_factory=dict)
    acked: int = 0
    read: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)

    def write(self) -> None:
        """Produce steadily until stopping."""
        while not self.stopping.wait(0.01):
            with suppress(BufferError):
                self.producer.produce(_TOPIC, b"value", b"key", on_delivery=self._reported)
            self.producer.poll(0)

    def _reported(self, error: Any, _message: Any) -> None:
        self.acked += error is None

    def consume(self) -> None:
        """Read until stopping."""
        while not self.stopping.is_set():
            message = self.consumer.poll(0.1)
            self.read += message is not None and message.error() is None

    def wait_ready(self) -> None:
        """Wait until records flow on LEFT and everything is confirmed."""
        acked, read = self.acked, self.read
        deadline = time.monotonic() + _READY_S
        while not (
            self.acked > acked
            and self.read > read
            and self.producer.state == "open"
            and self.consumer.state == "reading"
            and self.watch.fresh(LEFT)
        ):
            if time.monotonic() > deadline:
                raise RuntimeError(f"the clients do not work within {_READY_S:g} s")
            time.sleep(0.05)
        self.errors.clear()

    def wait_known(self) -> dict[str, float]:
        """Return when each thing was first seen."""
        seen: dict[str, float] = {}
        deadline = time.monotonic() + _KNOWN_S
        while len(seen) < 4 and time.monotonic() < deadline:  # noqa: PLR2004 - the four moments
            now = time.monotonic()
            seen.update(self.errors)
            if not self.watch.fresh(LEFT):
                seen.setdefault(_STALE, now)
            if self.producer.state != "open":
                seen.setdefault(_LAPSED, now)
            time.sleep(_LOOK_S)
        return {what: seen[what] for what in _MOMENTS if what in seen}


_MOMENTS = (_PRODUCER_ERROR, _CONSUMER_ERROR, _STALE, _LAPSED)


@contextmanager
def _clients(lab: Lab) -> Iterator[_Clients]:
    config = {"failover.config": str(lab.config_path)}
    settings = read_settings(lab.config_path)
    scope = next(iter(settings.scopes))
    errors: dict[str, float] = {}

    def note(what: str) -> Callable[[Any], None]:
        def take(_error: Any) -> None:
            errors.setdefault(what, time.monotonic())

        return take

    watch = shared_watch(settings, scope)  # the one that the clients of this process follow
    producer = FailoverProducer({**config, "error_cb": note(_PRODUCER_ERROR), "linger.ms": 1})
    group = {"group.id": "detection", "auto.offset.reset": "earliest"}
    consumer = FailoverConsumer({**config, **group, "error_cb": note(_CONSUMER_ERROR)})
    consumer.subscribe([_TOPIC])
    clients = _Clients(producer, consumer, watch, errors)
    threads = [threading.Thread(target=work) for work in (clients.write, clients.consume)]
    for thread in threads:
        thread.start()
    try:
        yield clients
    finally:
        clients.stopping.set()
        for thread in threads:
            thread.join()
        consumer.close()
        producer.close(10)
        give_back(settings, scope)
