"""The path of a record while writes are open."""

import threading
import time
from typing import Any

import pytest

from clientlib.io.fast_path import FastPath

SOON = time.monotonic() + 3600


class Sink:
    """Takes what is produced; may be made to wait inside."""

    def __init__(self) -> None:
        self.got: list[tuple[Any, ...]] = []
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    def __call__(self, *record: Any) -> None:
        self.entered.set()
        self.go_on.wait(10)
        self.got.append(record)


def report(_error: Any, _message: Any) -> None:
    """Take a report."""


def path() -> tuple[FastPath, Sink, Sink]:
    slow, fast = Sink(), Sink()
    made = FastPath(slow)
    made.remember(report, print)
    return made, fast, slow


def test_only_what_is_open_and_in_time_goes_straight_through() -> None:
    made, fast, slow = path()
    made.produce("t", b"shut", on_delivery=report)
    made.open(fast, SOON)
    made.produce("t", b"open", on_delivery=report)
    made.produce("t", b"by its older name", callback=report)
    made.produce("t", b"another callback", on_delivery=repr)
    made.produce("t", b"no callback")
    made.extend(0)
    made.produce("t", b"too late", on_delivery=report)
    made.extend(SOON)
    made.shut()
    made.produce("t", b"shut again", on_delivery=report)
    assert [record[1] for record in fast.got] == [b"open", b"by its older name"]
    assert [record[1] for record in slow.got] == [
        b"shut",
        b"another callback",
        b"no callback",
        b"too late",
        b"shut again",
    ]
    assert fast.got[0] == ("t", b"open", None, -1, print)
    assert slow.got[1] == ("t", b"another callback", None, -1, repr, None, 0, None)


def test_a_bound_method_is_the_same_callback_every_time() -> None:
    made, fast, slow = path()
    callbacks: list[Any] = []
    made.remember(callbacks.append, print)
    made.open(fast, SOON)
    made.produce("t", on_delivery=callbacks.append)
    assert (len(fast.got), len(slow.got)) == (0, 1), "a builtin's method is another object"

    class Application:
        def taken(self, error: Any, message: Any) -> None:
            """Take a report."""

    application = Application()
    made.remember(application.taken, print)
    made.produce("t", on_delivery=application.taken)
    assert len(fast.got) == 1


def test_over_only_when_every_call_has_ended() -> None:
    made, fast, _ = path()
    assert made.over()
    made.open(fast, SOON)
    assert not made.over(), "it is open"
    fast.go_on.clear()
    thread = threading.Thread(target=lambda: made.produce("t", on_delivery=report))
    thread.start()
    assert fast.entered.wait(10)
    made.shut()
    assert not made.over()
    assert not made.over()
    fast.go_on.set()
    thread.join()
    assert made.over()


def test_a_call_that_raises_has_ended_even_while_somebody_keeps_its_error() -> None:
    made, _, _ = path()

    def full(*_: Any) -> None:
        raise BufferError

    made.open(full, SOON)
    with pytest.raises(BufferError) as kept:
        made.produce("t", on_delivery=report)
    made.shut()
    assert kept.tb is not None
    assert made.over()


def test_a_call_through_an_earlier_opening_is_waited_for_too() -> None:
    made, fast, slow = path()
    made.open(fast, SOON)
    fast.go_on.clear()
    thread = threading.Thread(target=lambda: made.produce("t", on_delivery=report))
    thread.start()
    assert fast.entered.wait(10)
    made.open(Sink(), SOON)
    made.shut()
    assert not made.over()
    fast.go_on.set()
    thread.join()
    assert made.over()
    assert not slow.got


def test_a_record_that_goes_slowly_is_not_waited_for() -> None:
    slow = Sink()
    made = FastPath(slow)
    made.remember(report, print)
    made.open(Sink(), 0)  # out of date at once
    slow.go_on.clear()
    thread = threading.Thread(target=lambda: made.produce("t", on_delivery=report))
    thread.start()
    assert slow.entered.wait(10)
    made.shut()
    assert made.over(), "it finds the path shut, behind the lock"
    slow.go_on.set()
    thread.join()


def test_nobody_writes_through_a_shut_path_once_over_says_so() -> None:
    taken = [0]
    stopping = threading.Event()

    def take(*_: Any) -> None:
        taken[0] += 1

    made = FastPath(lambda *_: None)
    made.remember(report, report)

    def work() -> None:
        while not stopping.is_set():
            made.produce("t", on_delivery=report)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for _ in range(30):
        made.open(take, SOON)
        before = taken[0]
        while taken[0] == before:
            pass
        made.shut()
        while not made.over():
            pass
        then = taken[0]
        for _ in range(50):
            assert taken[0] == then
    stopping.set()
    for worker in workers:
        worker.join()
