"""Whose reports a producer tells its application: those of the cluster that it took them from."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from clientlib.io.reports import Reports


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
