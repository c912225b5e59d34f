"""Whose reports a producer tells its application: those of the cluster that it took them from."""

import threading
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
    asked = threading.Event()

    def served(cluster: str, _wait: float) -> int:
        told.append((reports.cluster, cluster))
        return 1

    def poll() -> None:
        asked.set()
        reports.take(lambda: targets[-1], served, 0.0)

    with reports.serving:
        polling = threading.Thread(target=poll)
        polling.start()
        assert asked.wait(10)
        targets.append("RIGHT")
    polling.join(10)
    assert told == [("RIGHT", "RIGHT")]


def test_nothing_is_taken_while_no_cluster_is_written_to() -> None:
    reports = Reports(Rescuer())  # type: ignore[arg-type]  # as above
    assert reports.take(lambda: "", lambda *_: 1, 0.0) == 0
