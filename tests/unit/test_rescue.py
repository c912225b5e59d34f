"""What a producer believes of the copies, and when."""

from types import SimpleNamespace
from typing import Any

from clientlib.core.producer_session import Rescue
from clientlib.core.replay_buffer import Kept, Key
from clientlib.io.rescue import Rescuer
from clientlib.protocol.state import View
from tests.unit.test_replay_buffer import kept


def test_what_the_copies_held_a_moment_ago_is_forgotten_only_when_the_state_is_known_too() -> None:
    """The cluster may have been given up, be back, and its mirror copy behind the epoch's end."""
    options: Any = SimpleNamespace(failover=SimpleNamespace(aliases=("LEFT", "RIGHT"), clusters={}))
    rescuer = Rescuer(options, 60.0, 1 << 20)

    def confirm(probes: dict[Key, Kept]) -> dict[Key, int]:
        return {key: one.offset + 1 for key, one in probes.items()}

    rescuer._probes["LEFT", "RIGHT"] = SimpleNamespace(confirm=confirm)  # type: ignore[assignment]  # what is asked
    rescuer.turn_to("LEFT")
    rescuer.keep(kept(0))
    rescuer.gather()
    rescuer.confirm("LEFT")
    assert rescuer._buffer.records()  # a switch that is heard of now still finds it
    rescuer.confirm("LEFT")
    assert not rescuer._buffer.records()


def test_a_mirror_that_is_always_a_moment_behind_lets_the_buffer_shrink() -> None:
    """Seen at 10,000 records/s on a busy machine: the newest record was never copied when asked."""
    options: Any = SimpleNamespace(failover=SimpleNamespace(aliases=("LEFT", "RIGHT"), clusters={}))
    rescuer = Rescuer(options, 60.0, 1 << 20)
    copied = 0

    def confirm(probes: dict[Key, Kept]) -> dict[Key, int]:
        return {key: one.offset + 1 for key, one in probes.items() if one.offset < copied}

    rescuer._probes["LEFT", "RIGHT"] = SimpleNamespace(confirm=confirm)  # type: ignore[assignment]  # what is asked
    rescuer.turn_to("LEFT")
    for turn in range(4):
        rescuer.keep(kept(turn))
        rescuer.gather()
        copied = turn
        rescuer.confirm("LEFT")
    assert [one.offset for one in rescuer._buffer.records()["T", 0]] == [1, 2, 3]


def test_an_answer_about_the_cluster_before_does_not_count_for_the_next_one() -> None:
    """Seen in one of 20 lost clusters: the last 12 records of a partition were not written again.

    RIGHT's were being asked for when LEFT took over, and their offsets were far greater.
    """
    options: Any = SimpleNamespace(failover=SimpleNamespace(aliases=("LEFT", "RIGHT"), clusters={}))
    rescuer = Rescuer(options, 60.0, 1 << 20)

    def confirm_slowly(probes: dict[Key, Kept]) -> dict[Key, int]:
        rescuer.turn_to("LEFT")
        rescuer.keep(kept(5))
        rescuer.gather()
        return {key: one.offset + 1 for key, one in probes.items()}

    rescuer._probes["RIGHT", "LEFT"] = SimpleNamespace(confirm=confirm_slowly)  # type: ignore[assignment]  # what is asked
    rescuer._probes["LEFT", "RIGHT"] = SimpleNamespace(confirm=lambda _: {})  # type: ignore[assignment]  # as above
    rescuer.turn_to("RIGHT")
    rescuer.keep(kept(90))
    rescuer.gather()
    for source in ("RIGHT", "LEFT", "RIGHT", "LEFT"):
        rescuer.confirm(source)
    assert [one.offset for one in rescuer._buffer.records()["T", 0]] == [5]


def test_a_record_that_was_never_sent_to_the_dead_cluster_is_sent_as_if_nothing_had_been() -> None:
    """The cluster died before the producer had ever reached it: no partition, no replay."""
    options: Any = SimpleNamespace(failover=SimpleNamespace(aliases=("LEFT", "RIGHT"), clusters={}))
    rescuer = Rescuer(options, 60.0, 1 << 20)
    rescuer._probes["LEFT", "RIGHT"] = SimpleNamespace()  # type: ignore[assignment]  # not asked
    told: list[Any] = []
    never = Kept("T", None, None, b"v", b"k", 5, [("h", b"1")], lambda *report: told.append(report))
    rescuer.returned.append(never)
    taken = rescuer.take(Rescue("LEFT", "RIGHT", 2), View())
    (again,) = taken.again
    assert (again.headers, again.kept.at_ms, taken.copied) == ([("h", b"1")], 5, [])
    again.report(None, "delivered")
    assert told == [(None, "delivered")]
    assert rescuer.replay is not None
    assert rescuer.replay.done
