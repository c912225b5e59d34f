"""Whose reports a producer tells its application: those of the cluster that it took them from."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from clientlib.core.replay_buffer import Kept
from clientlib.io.reports import Reports
from clientlib.io.rescue import Again
from tests.unit.test_transactions import Written


class Rescuer:
    """Keeps nothing."""

    def keep(self, _fields: Any) -> None:
        pass


def test_the_target_changes_while_a_poll_waits_for_its_turn() -> None:
    """Seen with four busy processes on two cores: RIGHT's first reports were told as LEFT's."""
    reports = Reports(Rescuer())  # type: ignore[arg-type]  # only what reports call here
    targets, told = ["LEFT"], []

    @contextmanager
    def turn() -> Iterator[None]:
        targets.append("RIGHT")
        yield

    def served(cluster: str, _wait: float) -> int:
        told.append((reports.cluster, cluster))
        return 1

    reports.serving = turn()  # type: ignore[assignment]  # what is done with a lock here
    assert reports.take(lambda: targets[-1], served, 0.0) == 1
    assert told == [("RIGHT", "RIGHT")]


def test_nothing_is_taken_while_no_cluster_is_written_to() -> None:
    reports = Reports(Rescuer())  # type: ignore[arg-type]  # as above
    assert reports.take(lambda: "", lambda *_: 1, 0.0) == 0


def test_two_threads_never_take_reports_in_each_others_midst() -> None:
    """The buffer would be out of order, and a complete copy seem to lack what it holds."""
    reports = Reports(Rescuer())  # type: ignore[arg-type]  # as above
    inside, go_on = threading.Event(), threading.Event()

    def polled(_cluster: str, _wait: float) -> int:
        inside.set()
        return int(go_on.wait(10))

    application = threading.Thread(target=reports.take, args=(lambda: "LEFT", polled, 0.1))
    application.start()
    assert inside.wait(10)
    with reports.alone() as mine:
        assert not mine
    go_on.set()
    application.join(10)
    with reports.alone() as mine:
        assert mine
        assert reports.take(lambda: "LEFT", lambda *_: 3, 0.0) == 3, "a report may poll"


def test_what_the_agent_took_while_a_poll_waited_for_its_turn_is_told_first() -> None:
    reports = Reports(Rescuer())  # type: ignore[arg-type]  # as above
    told: list[int] = []

    @contextmanager
    def turn() -> Iterator[None]:
        if not told:
            reports.hold("LEFT", lambda *_: told.append(1), None, None)
        yield

    reports.serving = turn()  # type: ignore[assignment]  # as above
    assert reports.take(lambda: "LEFT", lambda *_: told.append(2) or 1, 0.0) == 1  # type: ignore[func-returns-value]
    assert told == [1]


@pytest.mark.parametrize("error", [None, "refused"])
def test_what_is_written_again_is_noted_though_the_application_does_not_poll(error: Any) -> None:
    reports = Reports(SimpleNamespace(keep=lambda _: None))  # type: ignore[arg-type]  # as above
    noted: list[Any] = []
    told: list[Any] = []
    kept = Kept("T", 0, 7, b"v", b"k", 1007)
    again = Again(kept, [], lambda *report: told.append(report), lambda *note: noted.append(note))
    with reports.quietly("RIGHT"):
        reports.written_again(again)(error, Written(7, 9))
    assert ([error for error, _ in noted], told) == ([error], [])
    assert reports.serve() == 1
    assert [error for error, _ in told] == [error]
