"""A handle that has lost all brokers of a cluster that lives: it is found, and made anew.

Seen on a real cluster, twice: a broker that was paused and went on named no broker for a moment,
and a member that asked just then said "no broker available for coordinator query" until its end.
"""

import threading
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from clientlib.consumer import FailoverConsumer
from clientlib.core.seat import SeatKey
from clientlib.io.kafka import RENEW_S, Renewed, close_behind
from clientlib.io.patience import Patience
from clientlib.io.pulse import ASK_S, DEAF_AFTER_S, Pulse, in_slices
from clientlib.io.watch import _Feed
from clientlib.protocol.types import Partition
from clientlib.settings import Control
from tests.unit.test_assigned_anew import NAMING, P0, Group, reading, reading_from
from tests.unit.test_patience import TPS, Silent, _end, _refused, everybody
from tests.unit.test_runtime import ManualClock, Member

NO_BROKER = KafkaException(KafkaError(KafkaError._TRANSPORT))
NO_ANSWER = KafkaException(KafkaError(KafkaError._TIMED_OUT))


def _raise(error: Exception) -> Callable[[], object]:
    def question() -> object:
        raise error

    return question


class World:
    """One cluster, asked every two seconds by a pulse that takes a second for an answer."""

    def __init__(self) -> None:
        self.clock, self.answered = ManualClock(), 0.0
        self.pulse = Pulse(lambda _, since: self.answered > since, self.clock.now)

    def ask(self, error: Exception | None, *, lives: bool = True) -> bool:
        self.clock.at += 2.0
        if lives:
            self.answered = self.clock.at
        return self.pulse.ask("LEFT", _raise(error) if error else lambda: None)

    def verdicts(self, error: Exception | None, times: int, *, lives: bool = True) -> list[bool]:
        return [self.ask(error, lives=lives) for _ in range(times)]


def test_a_handle_without_a_broker_is_deaf_when_it_has_had_the_time_to_connect() -> None:
    world, asked = World(), int(DEAF_AFTER_S / 2) + 1
    assert world.verdicts(NO_BROKER, asked) == [False] * (asked - 1) + [True]


def test_a_question_leaves_the_handle_to_others_in_between() -> None:
    """A consumer that was polled when its cluster died stood still for a second."""
    clock = ManualClock()
    held = 0.0

    def question(seconds: float) -> None:
        nonlocal held
        held += seconds
        clock.at += seconds
        raise NO_BROKER

    def sleep(seconds: float) -> None:
        clock.at += seconds

    with pytest.raises(KafkaException, match="_TRANSPORT"):
        in_slices(question, clock.now, sleep)
    assert clock.at >= ASK_S
    assert held <= clock.at / 4


@pytest.mark.parametrize(
    ("answers", "asked"),
    [([None], 1), ([NO_BROKER, NO_BROKER, None], 3), ([NO_ANSWER], 1), ([NO_BROKER, NO_ANSWER], 2)],
    ids=["answers", "connects", "a slow answer", "connects, and a slow answer"],
)
def test_a_question_is_over_when_there_is_a_broker(
    answers: list[KafkaException | None], asked: int
) -> None:
    clock, left = ManualClock(), list(answers)

    def question(_seconds: float) -> None:
        if (answer := left.pop(0)) is not None:
            raise answer

    with nullcontext() if answers[-1] is None else pytest.raises(KafkaException):
        in_slices(question, clock.now, lambda _: None)
    assert len(answers) - len(left) == asked


def test_a_commit_that_comes_in_between_is_not_waited_for() -> None:
    """It may never be answered, and then nobody would find out any more that the handle is deaf."""
    inside: list[float] = []

    def list_topics(_topic: str, *, timeout: float) -> None:
        assert not inside, f"waits for {timeout} s, and for the commit"
        inside.append(0.1)
        raise NO_BROKER

    asker: Any = SimpleNamespace(
        _handles={"LEFT": SimpleNamespace(list_topics=list_topics)},
        _options=SimpleNamespace(failover=SimpleNamespace(control=Control())),
        _patience=SimpleNamespace(inside_for=lambda _: sum(inside)),
        _pulse=Pulse(lambda *_: True),
        _topics=["T"],
    )
    FailoverConsumer._ask(asker, "LEFT")
    assert not asker._pulse.silent


@pytest.mark.parametrize("error", [None, NO_ANSWER], ids=["answers", "a slow answer"])
def test_a_handle_that_has_a_broker_to_ask_is_not_deaf(error: Exception | None) -> None:
    world = World()
    world.verdicts(NO_BROKER, 6)
    assert world.pulse.silent == {"LEFT"}
    assert not any(world.verdicts(error, 1))
    assert world.pulse.silent == set()
    assert not any(world.verdicts(NO_BROKER, 6)), "counted from the beginning again"


def test_nobody_is_deaf_to_a_cluster_that_answers_nobody() -> None:
    world = World()
    assert not any(world.verdicts(NO_BROKER, 20, lives=False))
    assert world.pulse.silent == set()


def test_a_dead_cluster_is_not_even_asked() -> None:
    world = World()
    world.clock.at = 60.0
    assert not world.pulse.ask("LEFT", _raise(AssertionError("asked")))


# -- the member ------------------------------------------------------------------------------


def test_what_a_deaf_member_owned_is_lost_before_another_takes_its_place() -> None:
    runtime, done = reading(0)
    runtime.callbacks.on_lost = lambda _, tps: done.append(f"loses {[tp.partition for tp in tps]}")
    runtime._renew = lambda cluster: done.append(f"another on {cluster}")
    runtime.assignment.apply("LEFT")
    runtime.deaf["LEFT"] = runtime.members["LEFT"]
    runtime.turn()
    assert done == ["assigns 1", "goes on", "loses [0]", "another on LEFT"]
    assert (runtime.tracks, runtime.session.seats) == ({}, {})
    assert runtime.away == {"LEFT"}, "until it has heard of its assignment"
    runtime.turn()
    assert len(done) == 4


def test_the_new_member_reads_what_it_is_given() -> None:
    clock, done = ManualClock(), list[str]()
    members: dict[str, Any] = {alias: Group(clock, done) for alias in NAMING.aliases}
    runtime = reading_from(members, clock, 0)
    runtime.assignment.apply("LEFT")
    runtime._renew = lambda cluster: members.update({cluster: Group(clock, done)})
    old = runtime.deaf["LEFT"] = members["LEFT"]
    runtime.turn()
    assert members["LEFT"] is not old
    runtime.on_owned("LEFT", [P0])
    assert runtime.away == set()
    assert set(runtime.session.seats) == {SeatKey("LEFT", Partition("T", 0))}


def test_a_verdict_on_a_member_that_was_replaced_meanwhile_is_nothing() -> None:
    runtime, done = reading(0)
    runtime._renew = lambda cluster: done.append(f"another on {cluster}")
    runtime.deaf["LEFT"] = Member(ManualClock(), 0.0)  # type: ignore[assignment]  # never called
    runtime.turn()
    assert done == []
    assert len(runtime.tracks) == 1


def test_nobody_waits_for_a_commit_of_a_deaf_handle_and_the_next_one_is_not_busy() -> None:
    member, deaf = Silent(), set[str]()
    patience = Patience(deaf.__contains__, everybody)
    assert _refused(patience, member, 0.01) == KafkaError._TIMED_OUT
    deaf.add("LEFT")
    assert _refused(patience, member, None) == KafkaError._TIMED_OUT
    unused = patience.forget("LEFT")
    assert not patience.busy("LEFT")
    deaf.clear()
    other: Any = Silent()
    other.answers.set()
    assert patience.commit("LEFT", other, TPS) == TPS
    closed = threading.Event()
    close_behind(_Closing(closed), unused)
    assert not closed.is_set(), "somebody is inside still"
    _end(patience, member)
    assert closed.wait(60)


class _Closing:
    def __init__(self, closed: threading.Event) -> None:
        self.close = closed.set


# -- our own handles -------------------------------------------------------------------------


class _Own:
    def __init__(self, made: list[int]) -> None:
        self.number = len(made)
        made.append(self.number)


def test_a_handle_of_our_own_is_made_anew_when_nothing_has_worked_for_a_while() -> None:
    clock, made, closed = ManualClock(), list[int](), list[int]()
    own = Renewed(lambda: _Own(made), lambda h: closed.append(h.number), clock.now)

    def use(error: Exception | None, after: float) -> int:
        clock.at += after
        with own.used() as handle:
            if error is not None:
                raise error
        return handle.number

    assert use(None, 0) == 0
    for error in (NO_BROKER, TimeoutError()):
        with pytest.raises(type(error)):
            use(error, RENEW_S / 3)
    assert use(None, RENEW_S / 4) == 0, "it has worked in time"
    with pytest.raises(KafkaException):
        use(NO_BROKER, RENEW_S)
    assert closed == [0]
    with pytest.raises(KafkaException):
        use(NO_BROKER, RENEW_S)
    assert closed == [0], "one that has never worked has no broker to forget"
    assert use(None, 0) == 1
    with pytest.raises(KeyError):
        use(KeyError("of the application"), RENEW_S)
    assert closed == [0]


def test_a_feed_that_others_are_ahead_of_for_a_while_is_read_by_another_handle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr("clientlib.io.watch.time.monotonic", lambda: now)
    feed = _Feed()
    assert not feed.deaf
    feed.behind_since = now
    assert not feed.deaf
    now += RENEW_S
    assert feed.deaf
    feed.behind_since, feed.was_away = None, True
    assert feed.deaf


def test_positions_of_a_deaf_member_are_not_committed_by_the_new_one() -> None:
    runtime, done = reading(0, auto_commit=True)
    runtime.deaf["LEFT"] = runtime.members["LEFT"]
    runtime.turn()
    with pytest.raises(KafkaException) as caught:
        runtime.commit([TopicPartition("T", 0, 8)], covering=True, asynchronous=False)
    assert caught.value.args[0].code() == KafkaError.ILLEGAL_GENERATION
    assert done == []
