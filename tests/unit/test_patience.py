"""A commit that does not come back: its cluster has died, or does not answer for a while.

Seen on real clusters: nine of nine plain consumers were inside `commit(asynchronous=False)` still,
260 s after their broker was killed; they came out when it was back.
"""

import threading
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from clientlib.io.patience import Patience
from clientlib.io.runtime import Runtime
from failover.lab.processes import wait_until
from tests.unit.test_assigned_anew import NAMING, reading_from
from tests.unit.test_runtime import ManualClock, Member, record

TPS = [TopicPartition("T", 0, 8)]


def nobody(_: str) -> bool:
    return False


def everybody(_: str) -> bool:
    return True


class Silent:
    """A member whose synchronous commits end when the cluster answers."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.taken: list[Any] = []

    def commit(self, *, offsets: list[Any], asynchronous: bool) -> Any:
        assert not asynchronous
        assert self.answers.wait(60)
        self.taken.append(offsets)
        return offsets


def _refused(patience: Patience, member: Any, within: float | None) -> int:
    with pytest.raises(KafkaException) as caught:
        patience.commit("LEFT", member, TPS, within)
    return int(caught.value.args[0].code())


def _end(patience: Patience, member: Silent) -> None:
    member.answers.set()
    patience.close()


def test_a_commit_is_not_waited_for_longer_than_its_time_and_keeps_the_handle_busy() -> None:
    member, patience = Silent(), Patience(nobody, everybody)
    assert _refused(patience, member, 0.01) == KafkaError._TIMED_OUT
    assert patience.busy("LEFT")
    assert not patience.busy("RIGHT")
    assert _refused(patience, member, 60) == KafkaError._TIMED_OUT, "no second one goes in"
    member.answers.set()
    assert patience.commit("LEFT", member, TPS) == TPS, "behind the first one"
    assert not patience.busy("LEFT")
    assert member.taken == [TPS, TPS]
    _end(patience, member)


def test_an_application_that_waits_for_its_commit_waits_for_ours_too() -> None:
    member, patience = Silent(), Patience(nobody, everybody)
    assert _refused(patience, member, 0.01) == KafkaError._TIMED_OUT
    answers: list[Any] = []
    own = threading.Thread(
        target=lambda: answers.append(patience.commit("LEFT", member, TPS)), daemon=True
    )
    own.start()
    assert not answers
    member.answers.set()
    own.join(60)
    assert answers == [TPS]
    _end(patience, member)


def test_nobody_waits_for_a_cluster_that_was_given_up() -> None:
    member, lost = Silent(), set[str]()
    patience = Patience(lost.__contains__, everybody)
    codes: list[int] = []
    own = threading.Thread(target=lambda: codes.append(_refused(patience, member, None)))
    own.start()
    lost.add("LEFT")
    own.join(60)
    assert _refused(patience, member, None) == KafkaError._TIMED_OUT, "nor begins to"
    assert codes == [KafkaError._TIMED_OUT]
    _end(patience, member)


@pytest.mark.parametrize("lives", [True, False])
def test_in_a_callback_a_cluster_that_does_not_answer_is_not_waited_for(lives: bool) -> None:
    """Nobody else gets into the handle there, so nobody could let the callback go on."""
    handle = Handle(ManualClock())
    patience = Patience(nobody, lambda _: lives)
    if lives:
        assert patience.commit_inside("LEFT", handle, TPS) == TPS  # type: ignore[arg-type]  # it only commits
    else:
        with pytest.raises(KafkaException) as caught:
            patience.commit_inside("LEFT", handle, TPS)  # type: ignore[arg-type]  # as above
        assert caught.value.args[0].code() == KafkaError._TIMED_OUT
    assert handle.done == ["commits T at 8"]
    assert handle.waited == lives


def test_for_how_long_a_commit_is_inside_is_known_and_ends_with_it() -> None:
    """Nobody can ask a handle anything meanwhile, not even whether it hears its cluster."""
    member, patience = Silent(), Patience(nobody, everybody)
    assert patience.inside_for("LEFT") == 0
    assert _refused(patience, member, 0.05) == KafkaError._TIMED_OUT
    assert patience.inside_for("LEFT") >= 0.04
    assert patience.inside_for("RIGHT") == 0
    unused = patience.forget("LEFT")
    assert patience.inside_for("LEFT") == 0, "another handle has taken its place"
    member.answers.set()
    unused()
    patience.close()


def test_a_commit_that_was_answered_is_inside_no_more() -> None:
    member, patience = Silent(), Patience(nobody, everybody)
    member.answers.set()
    assert patience.commit("LEFT", member, TPS) == TPS  # type: ignore[arg-type]  # it only commits
    wait_until(lambda: patience.inside_for("LEFT") == 0, timeout_s=5, what="it stays inside")
    patience.close()


class Handle(Member):
    """A member that notes what is asked of it."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock, 0.0)
        self.done: list[str] = []
        self.waited = False

    def poll(self, timeout: float) -> Any:
        self.done.append("polls")
        return super().poll(timeout)

    def consume(self, count: int, timeout: float) -> list[Any]:
        self.done.append("polls")
        return super().consume(count, timeout)

    def commit(self, *, offsets: list[Any], asynchronous: bool) -> Any:
        self.done += [f"commits {tp.topic} at {tp.offset}" for tp in offsets]
        self.waited |= not asynchronous
        return offsets

    def assign(self, partitions: list[Any]) -> None:
        self.done.append(f"assigns {[tp.topic for tp in partitions]}")

    def resume(self, partitions: list[Any]) -> None:
        self.done.append(f"goes on with {[tp.topic for tp in partitions]}")

    def pause(self, partitions: list[Any]) -> None:
        self.done.append(f"pauses {[tp.topic for tp in partitions]}")


class Waiting:
    """A `Patience` that is busy with the active cluster as long as it is told so."""

    active = True

    def busy(self, cluster: str) -> bool:
        return cluster == "LEFT" and self.active

    def commit(self, cluster: str, member: Any, offsets: Any, within: Any = None) -> Any:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    def commit_inside(self, cluster: str, member: Any, offsets: Any) -> Any:
        raise AssertionError(cluster)


def _reading() -> tuple[Runtime, Handle, Waiting]:
    """Return a runtime that has read T on LEFT up to 8, where a commit is stuck."""
    clock, waiting = ManualClock(), Waiting()
    members = {alias: Handle(clock) for alias in NAMING.aliases}
    runtime = reading_from(members, clock, 0, waiting=waiting)
    members["LEFT"].fetched = [record("T", 0, 8)]
    return runtime, members["LEFT"], waiting


@pytest.mark.parametrize("batch", [False, True])
def test_a_poll_ends_in_time_while_a_commit_is_stuck_and_reads_when_it_is_not(batch: bool) -> None:
    runtime, handle, waiting = _reading()

    def read() -> list[Any]:
        if batch:
            return runtime.consume(1, 0.5)
        message = runtime.poll(0.5)
        return [] if message is None else [message]

    assert read() == []
    assert handle.done == [], "whoever calls the handle now is inside it until the cluster answers"
    waiting.active = False
    assert [message.offset() for message in read()] == [8]


def test_what_is_committed_meanwhile_without_waiting_is_sent_afterwards() -> None:
    runtime, handle, waiting = _reading()
    sent = runtime.commit([TopicPartition("T", 0, 8)], covering=True, asynchronous=True)
    assert [tp.offset for tp in sent] == [8]
    runtime.turn()
    assert handle.done == []
    waiting.active = False
    runtime.turn()
    assert handle.done == ["commits T at 8"]
    runtime.turn()
    assert handle.done == ["commits T at 8"]


def test_what_could_not_be_assigned_meanwhile_is_assigned_afterwards() -> None:
    runtime, handle, waiting = _reading()
    runtime.assignment.apply("LEFT")
    assert handle.done == []
    waiting.active = False
    runtime.turn()
    assert handle.done == ["assigns ['T']", "goes on with ['T']"]


def test_what_was_paused_when_a_cluster_was_left_is_read_when_it_is_active_again() -> None:
    """librdkafka keeps the pause; `resume` was asked of the other cluster meanwhile."""
    runtime, handle, waiting = _reading()
    waiting.active = False
    runtime.assignment.pause([("T", 0)])
    runtime.assignment.apply("LEFT")
    assert handle.done == ["assigns ['T']", "pauses ['T']"]
    runtime.assignment.resume([("T", 0)])
    runtime.assignment.lost("LEFT")
    runtime.assignment.apply("LEFT")
    assert handle.done[2:] == ["assigns ['T']", "goes on with ['T']"]
