"""What a client believes of the clusters' states when it begins."""

from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from clientlib.io import watch as watches
from clientlib.io.watch import HEAR_S, StateWatch
from clientlib.protocol.state import State
from clientlib.protocol.types import Epoch
from clientlib.settings import parse

CONFIG = {"clusters": {alias: {"bootstrap.servers": alias} for alias in ("LEFT", "RIGHT")}}
OLD = State("default", (Epoch(1, "LEFT"),), 4)
NEW = State("default", (Epoch(1, "LEFT"), Epoch(2, "RIGHT")), 0, unplanned=(2,))


class _Threads:
    """None run: the test takes their turns."""

    def __init__(self, _name: str) -> None: ...

    def start(self, _what: str, _target: Any) -> None: ...


class _Topic:
    """One cluster's state topic: a state, then its end, then nothing more."""

    def __init__(self, state: State) -> None:
        end = KafkaError(KafkaError._PARTITION_EOF)
        record = {"error": None, "key": state.key(), "value": state.value(), "offset": 0}
        self._messages: list[dict[str, Any]] = [record, {"error": end, "offset": 1}]

    def poll(self, _timeout: float) -> Any:
        if not self._messages:
            return None
        fields = self._messages.pop(0)
        return SimpleNamespace(**{name: lambda v=value: v for name, value in fields.items()})


class _End:
    """Says where a state topic ends, or raises that nobody answers."""

    def __init__(self) -> None:
        self.end: int | Exception = 0

    def ask(self, within: float) -> int:
        assert within > 0
        if isinstance(self.end, Exception):
            raise self.end
        return self.end


class Begun:
    """A client's watch that has just begun, and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(watches, "Threads", _Threads)
        self.end = _End()
        monkeypatch.setattr(watches, "AdminClient", lambda _conf: None)
        monkeypatch.setattr(watches, "TopicEnd", lambda _admin, _tp: self.end)
        monkeypatch.setattr("clientlib.io.watch.time.monotonic", lambda: self.now)
        self.watch = StateWatch(parse(CONFIG, environ={}), "default")
        self.topics = {"LEFT": _Topic(OLD), "RIGHT": _Topic(NEW)}

    def read(self, alias: str) -> State | None:
        for _ in range(3):
            self.watch._step(self.topics[alias], self.watch._feeds[alias], alias)  # type: ignore[arg-type]  # it only polls
        return self.watch.view().state


def test_a_cluster_that_was_given_up_and_is_back_is_not_believed_before_the_others_are_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A member that began then read what others got elsewhere, until it heard half a second on."""
    begun = Begun(monkeypatch)
    assert begun.read("LEFT") is None
    assert begun.read("RIGHT") == NEW


def test_after_a_stop_a_cluster_is_not_believed_before_the_others_are_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A member was stopped for 14 s; its cluster had been given up, and told it first that it is
    active: it read what others had got elsewhere.
    """
    begun = Begun(monkeypatch)
    watch, feeds = begun.watch, begun.watch._feeds
    for alias in ("LEFT", "RIGHT"):
        watch._confirmed(feeds[alias], 0, begun.now)
    assert watch.fresh("LEFT")
    begun.now += 14.0
    assert not watch.fresh("LEFT")
    watch._confirmed(feeds["LEFT"], 0, begun.now)
    assert not watch.fresh("LEFT")
    begun.now += 0.1
    watch._confirmed(feeds["RIGHT"], 0, begun.now)
    assert watch.fresh("LEFT")


def test_a_client_that_begins_waits_for_no_second_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clusters are asked in turn: the other one's first answer is a little older."""
    begun = Begun(monkeypatch)
    watch, feeds = begun.watch, begun.watch._feeds
    watch._confirmed(feeds["RIGHT"], 0, begun.now - 0.01)
    watch._confirmed(feeds["LEFT"], 0, begun.now)
    assert watch.fresh("LEFT")


def test_after_a_stop_a_cluster_that_does_not_answer_is_not_waited_for_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = Begun(monkeypatch)
    watch, feed = begun.watch, begun.watch._feeds["RIGHT"]
    watch._confirmed(feed, 0, begun.now)
    assert not watch.fresh("RIGHT")
    begun.now += HEAR_S
    watch._confirmed(feed, 0, begun.now)
    assert watch.fresh("RIGHT")


def test_a_cluster_that_does_not_answer_is_not_waited_for_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = Begun(monkeypatch)
    assert begun.read("RIGHT") is None
    begun.now += HEAR_S
    assert begun.read("RIGHT") == NEW


@pytest.mark.parametrize(
    ("end", "lives"),
    [
        (7, True),
        (-1, False),  # seen of a broker that goes down
        (KafkaException(KafkaError(KafkaError._TRANSPORT)), False),
        (TimeoutError(), False),
    ],
)
def test_a_cluster_is_asked_whether_it_lives(
    monkeypatch: pytest.MonkeyPatch, end: Any, lives: bool
) -> None:
    begun = Begun(monkeypatch)
    begun.end.end = end
    assert begun.watch.answers("LEFT") is lives
