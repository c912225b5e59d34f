"""Where the state topic ends: asked for with a leader librdkafka need not look up itself."""

import threading
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from clientlib.io.topic_end import KNOWN_S, TopicEnd

STATE = TopicPartition("failover-state", 0)
GONE = KafkaError(KafkaError._TRANSPORT)


class Admin:
    """Answers, or does not."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.topic_error: KafkaError | None = None
        self.metadata: KafkaError | None = None
        self.offset: int | Exception = 7

    def list_topics(self, topic: str, *, timeout: float) -> Any:
        assert timeout > 0
        self.asked.append("leaders")
        if self.metadata is not None:
            raise KafkaException(self.metadata)
        return SimpleNamespace(topics={topic: SimpleNamespace(error=self.topic_error)})

    def list_offsets(self, wanted: Any, **_options: Any) -> Any:
        self.asked.append("offset")
        future: Future[Any] = Future()
        if isinstance(self.offset, Exception):
            future.set_exception(self.offset)
        else:
            future.set_result(SimpleNamespace(offset=self.offset))
        return dict.fromkeys(wanted, future)


class Asking:
    """A `TopicEnd`, and what it asks for."""

    def __init__(self) -> None:
        self.now, self.admin = 100.0, Admin()
        self.end = TopicEnd(self.admin, STATE, lambda: self.now)  # type: ignore[arg-type]  # it only asks

    def ask(self) -> tuple[int | None, list[str]]:
        self.admin.asked.clear()
        try:
            found = self.end.ask(0.5)
        except (KafkaException, TimeoutError):
            return None, self.admin.asked
        return found, self.admin.asked


def test_leaders_are_looked_up_first_and_again_before_librdkafka_forgets_them() -> None:
    asking = Asking()
    assert asking.ask() == (7, ["leaders", "offset"])
    assert asking.ask() == (7, ["offset"])
    asking.now += KNOWN_S
    assert asking.ask() == (7, ["leaders", "offset"])


@pytest.mark.parametrize(
    "error", [KafkaException(KafkaError(KafkaError.FENCED_LEADER_EPOCH)), TimeoutError()]
)
def test_leaders_are_looked_up_after_an_error(error: Exception) -> None:
    asking = Asking()
    asking.ask()
    asking.admin.offset = error
    assert asking.ask() == (None, ["offset"])
    asking.admin.offset = 8
    assert asking.ask() == (8, ["leaders", "offset"])


def test_nothing_is_asked_for_while_no_leader_is_known() -> None:
    asking = Asking()
    asking.admin.metadata = GONE
    assert asking.ask() == (None, ["leaders"])
    asking.admin.metadata = None
    asking.admin.topic_error = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
    assert asking.ask() == (None, ["leaders"])
    asking.admin.topic_error = None
    assert asking.ask() == (7, ["leaders", "offset"])


def test_one_thread_asks_at_a_time_and_another_waits_no_longer_than_for_an_answer() -> None:
    asking = Asking()
    asking.end._lock.acquire()
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(asking.ask()))
    thread.start()
    thread.join(10)
    assert found == [(None, [])]
    asking.end._lock.release()
    assert asking.ask() == (7, ["leaders", "offset"])
