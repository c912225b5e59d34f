"""What a producer believes of the copies, and when."""

import time
from types import SimpleNamespace
from typing import Any

from clientlib.core.producer_session import Rescue
from clientlib.core.replay_buffer import Kept, Key, in_order
from clientlib.io.outgoing import produced_ms
from clientlib.io.rescue import Rescuer
from clientlib.protocol.state import View
from tests.unit.test_replay_buffer import Acked


def test_what_the_copies_held_a_moment_ago_is_forgotten_only_when_the_state_is_known_too() -> None:
    """The cluster may have been given up, be back, and its mirror copy behind the epoch's end."""
    options: Any = SimpleNamespace(failover=SimpleNamespace(aliases=("LEFT", "RIGHT"), clusters={}))
    rescuer = Rescuer(options, 60.0, 1 << 20)

    def confirm(probes: dict[Key, Kept]) -> dict[Key, int]:
        return {key: kept.message.offset() + 1 for key, kept in probes.items()}

    rescuer._probes["LEFT", "RIGHT"] = SimpleNamespace(confirm=confirm)  # type: ignore[assignment]  # what is asked
    rescuer.keep(Acked(0))
    rescuer.gather()
    rescuer.confirm("LEFT")
    assert rescuer._buffer.records()  # a switch that is heard of now still finds it
    rescuer.confirm("LEFT")
    assert not rescuer._buffer.records()


class Unsent(Acked):
    """The report of a record that was purged before its producer knew any broker."""

    def partition(self) -> None:  # type: ignore[override]  # what confluent-kafka answers then
        return None


def test_a_record_that_was_never_sent_to_the_dead_cluster_is_sent_as_if_nothing_had_been() -> None:
    """The cluster died before the producer had ever reached it: no partition, no replay."""
    options: Any = SimpleNamespace(failover=SimpleNamespace(aliases=("LEFT", "RIGHT"), clusters={}))
    rescuer = Rescuer(options, 60.0, 1 << 20)
    rescuer._probes["LEFT", "RIGHT"] = SimpleNamespace()  # type: ignore[assignment]  # not asked
    told: list[Any] = []
    rescuer.returned.append(Kept(Unsent(0), [("h", b"1")], 5, lambda *report: told.append(report)))
    taken = rescuer.take(Rescue("LEFT", "RIGHT", 2), View())
    (again,) = taken.again
    assert (again.headers, again.kept.at_ms, taken.copied) == ([("h", b"1")], 5, [])
    again.report(None, "delivered")
    assert told == [(None, "delivered")]
    assert rescuer.replay is not None
    assert rescuer.replay.done


class Purged(Acked):
    """The report of a record that a dead cluster never acknowledged."""

    def __init__(self, offset: int, stops: list[float]) -> None:
        super().__init__(offset)
        self._stops = stops

    def latency(self) -> float:
        """Answer late, as often as there are stops: the thread had to wait for its turn."""
        if self._stops:
            time.sleep(self._stops.pop())
        return time.time() - 1_000.0


def test_a_thread_that_is_stopped_between_two_clocks_makes_no_record_older() -> None:
    """A record came 200 too early in a replay, on a machine that was busy with other work."""
    assert abs(produced_ms(Purged(0, [0.05, 0.02])) - 1_000_000) <= 3


def test_a_record_whose_time_is_unsure_stays_behind_those_before_it() -> None:
    first, second = Kept(Acked(5), timestamp=1_005), Kept(Acked(6), timestamp=1_001)
    other = Kept(Acked(7), timestamp=1_003)
    assert in_order([[first, second], [other]]) == [other, first, second]
