"""A producer's transactions over clusters that fall silent, refuse or are lost; no Kafka."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from clientlib.core.replay_buffer import Kept
from clientlib.io.carry import Carrier
from clientlib.io.rescue import Again, Replay, Rescuer, Taken
from clientlib.io.transactions import Desk, Transactions, within
from tests.unit.test_replay_buffer import kept as acked

TIMED_OUT = KafkaException(KafkaError(KafkaError._TIMED_OUT, "no answer", retriable=True))
ABORTABLE = KafkaException(KafkaError(KafkaError.NOT_ENOUGH_REPLICAS, txn_requires_abort=True))
FENCED = KafkaException(KafkaError(KafkaError._FENCED, "fenced", fatal=True))
TOO_EARLY = KafkaException(KafkaError(KafkaError.INVALID_TXN_STATE, "x", fatal=True))
MIXED_UP = KafkaException(KafkaError(KafkaError._STATE, "not valid in state Committing"))
TOO_LARGE = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)


class Number(int):
    """A record's value: easy to tell, and it has a size."""

    def __len__(self) -> int:
        return 8


class Written:
    """The report of a record that is known by its value."""

    def __init__(self, value: Any, offset: int) -> None:
        self._value, self._offset = Number(value), offset

    def topic(self) -> str:
        return "T"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes:
        return b"k"

    def value(self) -> Any:
        return self._value

    def timestamp(self) -> tuple[int, int]:
        return 1, 1000 + self._offset


class Handle:
    """A cluster's producer. ``answers``: what commits and aborts come to, None for success."""

    def __init__(self) -> None:
        self.answers: deque[KafkaException | None] = deque()
        self.refuses: dict[Any, KafkaError] = {}
        self.log: list[Any] = []
        self.pending: list[Any] = []
        self.committed: list[Any] = []
        self.offset = 0

    def __len__(self) -> int:
        return 0

    def init_transactions(self, _timeout: float) -> None:
        self.log.append("init")

    def begin_transaction(self) -> None:
        self.log.append("begin")

    def produce(self, *record: Any, on_delivery: Any, **_more: Any) -> None:
        value = record[1]
        on_delivery(self.refuses.get(value), Written(value, self.offset))
        self.offset += 1
        self.pending.append(value)

    def commit_transaction(self, _timeout: float) -> None:
        self._answer("commit")
        self.committed += self.pending
        self.pending.clear()

    def abort_transaction(self, _timeout: float) -> None:
        self._answer("abort")
        self.pending.clear()

    def _answer(self, call: str) -> None:
        self.log.append(call)
        error = self.answers.popleft() if self.answers else None
        if error is not None:
            raise error


class Bench:
    """A producer's transactions on two such clusters, driven by hand."""

    def __init__(self) -> None:
        options: Any = SimpleNamespace(failover=SimpleNamespace(aliases=(), clusters={}))
        self.rescuer = Rescuer(options, 60.0, 1 << 20, transactional=True)
        self.handles: dict[str, Any] = {"LEFT": Handle(), "RIGHT": Handle()}
        self.told: list[Any] = []
        self.taken_back: list[Any] = []
        self.rescuing = False
        self.active = "LEFT"
        self.lapsed = False
        self.path: str = ""
        self.renewed: list[str] = []
        self.carrier = Carrier(
            self.rescuer,
            lambda: self.rescuing,
            lambda *record: self.taken_back.append(record),
            lambda *report: self.told.append(report),
        )
        desk = Desk(
            lock=threading.Lock(),
            serving=nullcontext(),
            handle=lambda alias: self.handles[alias],
            active=lambda: self.active,
            waiting=lambda: False,
            refuse=lambda: None,
            let_through=lambda _: self._path("open"),
            shut=lambda: self._path("shut"),
            lapsed=lambda: self.lapsed,
            reporting=lambda _: None,
            serve=lambda: 0,
            quietly=self._quietly,
            renew=self._renew,
        )
        self.transactions = Transactions(desk, self.rescuer, self.carrier)

    def _path(self, state: str) -> None:
        self.path = state

    @contextmanager
    def _quietly(self, _cluster: str) -> Iterator[None]:
        yield

    def _renew(self, cluster: str) -> None:
        self.handles[cluster] = Handle()
        self.renewed.append(cluster)

    def started(self) -> "Bench":
        """Be initialised on both clusters, and open on the active one."""
        self.transactions._wanted.set()
        for alias in self.handles:
            self.transactions._initialise(alias)
        self.transactions.init(0)
        assert self.transactions.open(self.active)
        return self

    def give_up_left(self, again: list[Again]) -> None:
        """What the producer does when LEFT is given up and the copies lack ``again``."""
        with self.transactions.calls:
            keep = self.transactions.lost("LEFT")
            self.transactions.replaced("LEFT", keep=keep)
        self.rescuer.replay = Replay(2)
        self.transactions.owe(Taken(again, []))
        self.active = "RIGHT"


def again(number: int, unit: int, report: Any = None) -> Again:
    kept = Kept("T", 0, number, Number(number), b"k", 1000 + number, None, report, unit=unit)
    return Again(kept, [], report, lambda *_: None)


def name(refused: pytest.ExceptionInfo[KafkaException]) -> str:
    return str(refused.value.args[0].name())


def test_a_commit_that_times_out_is_finished_by_the_agent_and_told_when_asked_again() -> None:
    bench = Bench().started()
    bench.transactions.begin()
    bench.handles["LEFT"].answers.append(TIMED_OUT)
    with pytest.raises(KafkaException) as refused:
        bench.transactions.commit(0)
    assert refused.value.args[0].retriable()
    with pytest.raises(KafkaException) as refused:
        bench.transactions.abort(0)
    assert name(refused) == "_CONFLICT"
    bench.transactions.shut("writes are closed")
    assert bench.transactions.settle("LEFT")
    bench.transactions.commit(0)
    bench.transactions.begin()
    assert bench.handles["LEFT"].log == ["init", "begin", "commit", "commit"]


@pytest.mark.parametrize("ends", ["commit", "abort"])
def test_a_call_that_librdkafka_takes_for_another_one_is_made_again(ends: str) -> None:
    """Seen on a busy machine: "Operation not valid in state CommittingTransaction", of a commit."""
    bench = Bench().started()
    bench.transactions.begin()
    bench.handles["LEFT"].answers += [MIXED_UP, None]
    getattr(bench.transactions, ends)()
    bench.transactions.begin()
    assert bench.handles["LEFT"].log == ["init", "begin", ends, ends, "begin"]


def test_a_call_that_is_never_valid_is_not_made_for_ever() -> None:
    bench = Bench().started()
    bench.transactions.begin()
    bench.handles["LEFT"].answers += [MIXED_UP] * 100
    with pytest.raises(KafkaException) as refused:
        bench.transactions.commit()
    assert name(refused) == "_STATE"


def test_an_open_transaction_is_aborted_by_the_agent_when_writes_close() -> None:
    bench = Bench().started()
    bench.transactions.begin()
    bench.rescuer.keep(acked(0))
    assert bench.path == "open"
    bench.transactions.shut("writes are closed")
    bench.handles["LEFT"].answers.append(TIMED_OUT)
    assert not bench.transactions.settle("LEFT")
    assert bench.transactions.settle("LEFT")
    with pytest.raises(KafkaException, match="writes are closed") as refused:
        bench.transactions.check_produce()
    assert refused.value.args[0].txn_requires_abort()
    bench.transactions.abort()
    bench.transactions.begin()
    assert bench.handles["LEFT"].log[-2:] == ["abort", "abort"], "nothing is begun while closed"
    bench.transactions.open("RIGHT")
    assert bench.handles["RIGHT"].log == ["init", "begin"]
    assert not bench.rescuer._current


def test_a_registration_that_has_ended_dooms_what_is_open() -> None:
    bench = Bench().started()
    bench.transactions.begin()
    bench.lapsed = True
    with pytest.raises(KafkaException) as refused:
        bench.transactions.commit()
    assert refused.value.args[0].txn_requires_abort()
    assert "commit" not in bench.handles["LEFT"].log


def test_a_refused_commit_must_be_aborted_and_a_fenced_producer_stays_so() -> None:
    bench = Bench().started()
    bench.transactions.begin()
    bench.handles["LEFT"].answers.append(ABORTABLE)
    with pytest.raises(KafkaException) as refused:
        bench.transactions.commit()
    assert name(refused) == "NOT_ENOUGH_REPLICAS"
    bench.transactions.abort()
    bench.transactions.begin()
    bench.handles["LEFT"].answers.append(FENCED)
    for call in (bench.transactions.commit, bench.transactions.abort, bench.transactions.begin):
        with pytest.raises(KafkaException) as refused:
            call()
        assert refused.value.args[0].fatal()
    bench.transactions.shut("writes are closed")
    assert bench.transactions.settle("LEFT"), "a fenced producer holds up no switch"


def test_a_record_of_a_failed_transaction_is_refused_with_the_word_to_abort() -> None:
    """librdkafka says "erroneous state", and what is wrong only at the commit."""

    class Failed:
        def produce(self, *_record: Any) -> None:
            raise KafkaException(KafkaError(KafkaError._STATE))

    take = within(Failed())  # type: ignore[arg-type]  # what is asked
    with pytest.raises(KafkaException) as refused:
        take("T", b"v")
    assert (name(refused), refused.value.args[0].txn_requires_abort()) == ("_STATE", True)


def test_an_abort_that_comes_before_the_coordinator_has_heard_makes_the_producer_anew() -> None:
    bench = Bench().started()
    bench.transactions.begin()
    bench.handles["LEFT"].answers.append(TOO_EARLY)
    bench.transactions.abort()
    assert bench.renewed == ["LEFT"]
    assert bench.transactions.reopen
    bench.transactions.begin()
    assert not bench.transactions.open("LEFT"), "not before it is initialised"
    bench.transactions._initialise("LEFT")
    assert bench.transactions.open("LEFT")
    assert bench.handles["LEFT"].log == ["init", "begin"]


def test_a_deaf_handle_is_made_anew_while_a_transaction_is_open_elsewhere() -> None:
    """An application that always has one open would never get it, and hang at the next switch."""
    bench = Bench().started()
    bench.transactions.begin()
    bench.transactions.replace("RIGHT")
    assert bench.renewed == ["RIGHT"]
    assert not bench.transactions.reopen
    bench.transactions.commit()
    assert not bench.transactions.open("RIGHT"), "not before it is initialised"
    bench.transactions._initialise("RIGHT")
    assert bench.transactions.open("RIGHT")


def test_a_deaf_handle_that_is_written_to_is_made_anew_between_transactions() -> None:
    bench = Bench().started()
    bench.transactions.begin()
    bench.transactions.replace("LEFT")
    assert bench.renewed == [], "what it owes may have been written"
    bench.transactions.commit()
    bench.transactions.replace("LEFT")
    assert bench.renewed == ["LEFT"]
    assert bench.transactions.reopen
    bench.transactions.begin()
    bench.transactions._initialise("LEFT")
    assert bench.transactions.open("LEFT")
    assert bench.handles["LEFT"].log == ["init", "begin"]


def test_a_transaction_that_is_to_be_aborted_ends_with_its_deaf_handle() -> None:
    """Its coordinator is never found: abort would not return, and no switch would get through."""
    bench = Bench().started()
    bench.transactions.begin()
    bench.rescuer.keep(acked(0))
    bench.handles["LEFT"].answers.append(TIMED_OUT)
    with pytest.raises(KafkaException):
        bench.transactions.abort(0)
    bench.transactions.replace("LEFT")
    assert bench.renewed == ["LEFT"]
    assert not bench.rescuer._current
    bench.transactions.abort()
    assert bench.transactions.settle("LEFT")
    bench.transactions.begin()
    bench.transactions._initialise("LEFT")
    assert bench.transactions.open("LEFT")
    assert bench.handles["LEFT"].log == ["init", "begin"]


def test_what_was_committed_and_not_copied_is_written_in_one_transaction() -> None:
    bench = Bench().started()
    bench.give_up_left([again(0, 1), again(1, 1), again(2, 2)])
    assert bench.transactions.open("RIGHT")
    right = bench.handles["RIGHT"]
    assert (right.committed, right.log) == ([0, 1, 2], ["init", "begin", "commit"])
    assert bench.rescuer.replay is not None
    assert (bench.rescuer.replay.done, bench.rescuer.replay.reported) == (True, 3)
    assert [k.value for k in bench.rescuer._buffer.records()["T", 0]] == [0, 1, 2]


def test_a_commit_whose_cluster_is_lost_is_carried_out_on_the_next_one() -> None:
    bench = Bench().started()
    bench.transactions.begin()
    bench.rescuer.keep(acked(7))
    bench.handles["LEFT"].answers.append(TIMED_OUT)
    with pytest.raises(KafkaException):
        bench.transactions.commit(0)
    with bench.transactions.calls:
        assert bench.transactions.lost("LEFT")
        bench.transactions.replaced("LEFT", keep=True)
    heard: list[Any] = []
    bench.rescuer.replay = Replay(2)
    unit = bench.rescuer.carried
    assert [kept.unit for kept in bench.rescuer._buffer.records()["T", 0]] == [unit]
    bench.transactions.owe(Taken([again(7, unit), again(8, unit, heard.append)], []))
    bench.active = "RIGHT"
    with pytest.raises(KafkaException) as refused:
        bench.transactions.commit(0)
    assert refused.value.args[0].retriable()
    bench.handles["RIGHT"].answers.extend([TIMED_OUT, None])
    assert not bench.transactions.open("RIGHT")
    assert bench.transactions.open("RIGHT")
    bench.transactions.commit(0)
    assert bench.handles["RIGHT"].committed == [7, 8], "once"
    assert [report[1] for report in bench.told] == [heard.append], "who was not told before"


def test_a_commit_that_the_copies_hold_whole_is_done() -> None:
    bench = Bench().started()
    bench.transactions.begin()
    bench.handles["LEFT"].answers.append(TIMED_OUT)
    with pytest.raises(KafkaException):
        bench.transactions.commit(0)
    bench.give_up_left([])
    bench.transactions.commit(0)


def test_what_was_open_on_a_lost_cluster_is_never_written_again() -> None:
    bench = Bench().started()
    bench.transactions.begin()
    bench.rescuer.keep(acked(0))
    bench.give_up_left([])
    assert not bench.rescuer._buffer.records()
    with pytest.raises(KafkaException, match="LEFT was given up") as refused:
        bench.transactions.commit()
    assert refused.value.args[0].txn_requires_abort()
    bench.transactions.abort()
    assert bench.transactions.open("RIGHT")


def test_a_batch_that_fails_is_aborted_and_written_again() -> None:
    bench = Bench().started()
    bench.give_up_left([again(0, 1), again(1, 2)])
    bench.handles["RIGHT"].answers.append(ABORTABLE)
    assert not bench.transactions.open("RIGHT")
    assert bench.transactions.open("RIGHT")
    assert bench.handles["RIGHT"].committed == [0, 1]
    assert bench.rescuer.replay is not None
    assert bench.rescuer.replay.reported == 2


def test_a_record_that_the_new_cluster_refuses_is_counted_as_lost_and_the_others_are_written() -> (
    None
):
    bench = Bench().started()
    bench.give_up_left([again(0, 1), again(1, 1), again(2, 2)])
    bench.handles["RIGHT"].refuses[1] = TOO_LARGE
    bench.handles["RIGHT"].answers.append(ABORTABLE)
    assert not bench.transactions.open("RIGHT")
    assert bench.transactions.open("RIGHT")
    assert bench.handles["RIGHT"].committed == [0, 2]
    assert bench.rescuer.replay is not None
    assert bench.rescuer.replay.manifest("p").lost == 1


def test_writes_that_close_while_a_batch_is_under_way_wait_for_it() -> None:
    bench = Bench().started()
    bench.give_up_left([again(0, 1)])
    bench.handles["RIGHT"].answers.append(TIMED_OUT)
    assert not bench.transactions.open("RIGHT")
    bench.transactions.shut("writes are closed")
    assert bench.transactions.settle("RIGHT")
    assert bench.handles["RIGHT"].committed == [0]


def test_a_batch_whose_cluster_is_lost_too_comes_before_what_was_owed_behind_it() -> None:
    bench = Bench().started()
    bench.give_up_left([again(0, 1)])
    bench.handles["RIGHT"].answers.append(TIMED_OUT)
    assert not bench.transactions.open("RIGHT")
    with bench.transactions.calls:
        assert bench.transactions.lost("RIGHT"), "what RIGHT has or has not is written again"
        bench.transactions.replaced("RIGHT", keep=True)
    bench.rescuer.replay = Replay(3)
    bench.transactions.owe(Taken([again(0, bench.rescuer.carried)], []))
    bench.transactions._initialise("LEFT")
    assert bench.transactions.open("LEFT")
    assert bench.handles["LEFT"].committed == [0]


def test_a_fenced_producer_tells_what_it_owed_as_lost() -> None:
    bench = Bench().started()
    bench.give_up_left([again(0, 1), again(1, 2)])
    bench.handles["RIGHT"].answers.append(FENCED)
    assert bench.transactions.open("RIGHT")
    assert bench.rescuer.replay is not None
    assert (bench.rescuer.replay.done, bench.rescuer.replay.manifest("p").lost) == (True, 2)
