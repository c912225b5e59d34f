"""What a producer believes of the copies, and when."""

from types import SimpleNamespace
from typing import Any

from clientlib.core.producer_session import Rescue
from clientlib.core.replay_buffer import Kept, Key
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
