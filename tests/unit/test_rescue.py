"""What a producer believes of the copies, and when."""

from types import SimpleNamespace
from typing import Any

from clientlib.core.replay_buffer import Kept, Key
from clientlib.io.rescue import Rescuer
from tests.unit.test_replay_buffer import kept


def test_what_the_copies_held_a_moment_ago_is_forgotten_only_when_the_state_is_known_too() -> None:
    """The cluster may have been given up, be back, and its mirror copy behind the epoch's end."""
    options: Any = SimpleNamespace(failover=SimpleNamespace(aliases=("LEFT", "RIGHT"), clusters={}))
    rescuer = Rescuer(options, 60.0, 1 << 20)

    def confirm(probes: dict[Key, Kept]) -> dict[Key, int]:
        return {key: one.offset + 1 for key, one in probes.items()}

    rescuer._probes["LEFT", "RIGHT"] = SimpleNamespace(confirm=confirm)  # type: ignore[assignment]  # what is asked
    rescuer.keep(kept(0))
    rescuer.gather()
    rescuer.confirm("LEFT")
    assert rescuer._buffer.records()  # a switch that is heard of now still finds it
    rescuer.confirm("LEFT")
    assert not rescuer._buffer.records()
