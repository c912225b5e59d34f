"""The consumer's session, event by event: who reads, releases, takes, waits and tries again."""

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from clientlib.core.duty import Committed, Vector
from clientlib.core.seat import (
    Align,
    Command,
    CommitVectors,
    HandOver,
    ReadCommits,
    ResolveReset,
    SeatKey,
    Stage,
    Start,
    Stop,
)
from clientlib.core.session import KEPT_S, Session
from clientlib.protocol.ledger import ClosedEpoch
from clientlib.protocol.naming import DefaultReplicationPolicy, Naming
from clientlib.protocol.state import Phase, State, View
from clientlib.protocol.token import Token
from clientlib.protocol.types import Epoch, Partition, Position

if TYPE_CHECKING:
    from collections.abc import Mapping

ONE, TWO, THREE = Epoch(1, "LEFT"), Epoch(2, "RIGHT"), Epoch(3, "LEFT")
P0 = Partition("T", 0)
LEFT, RIGHT = SeatKey("LEFT", P0), SeatKey("RIGHT", P0)
CLOSED = {
    1: ClosedEpoch(ONE, {"LEFT": {0: 100}, "RIGHT": {0: 110}}),
    2: ClosedEpoch(TWO, {"LEFT": {0: 50}, "RIGHT": {0: 50}}),
}
NAMING = Naming(DefaultReplicationPolicy(), ["LEFT", "RIGHT"])


def view(*epochs: Epoch) -> View:
    closed = {n: entry for n, entry in CLOSED.items() if n < epochs[-1].counter}
    return View(State("s", epochs, 1), {"T": closed})


def vector(cluster: str, epoch: int = 0, **offsets: int) -> Vector:
    token = Token(epoch, cluster) if epoch else None
    commits = {origin: Committed(at, token) for origin, at in offsets.items()}
    return Vector(cluster, commits, frozenset({"LEFT", "RIGHT"}))


class Group:
    """A session that owns T[0] on both clusters, and what the clusters hold."""

    def __init__(self, *epochs: Epoch, **vectors: Vector) -> None:
        self.session = Session(NAMING, ["LEFT", "RIGHT"])
        self.vectors = {"LEFT": vector("LEFT"), "RIGHT": vector("RIGHT"), **vectors}
        self.now = 0.0
        self.run(self.session.on_state(view(*epochs), self.now))
        self.out: list[Command] = []

    def own(self, cluster: str) -> None:
        self.run(self.session.on_owned(cluster, [P0], self.now))

    def run(self, commands: list[Command]) -> None:
        """Answer reads at once; keep everything else for the test."""
        self.out = []
        queue = list(commands)
        while queue:
            command = queue.pop(0)
            if isinstance(command, ReadCommits):
                found: Mapping[Partition, Vector] = {P0: self.vectors[command.cluster]}
                queue += self.session.on_commits(command.cluster, command.ticket, found, self.now)
            else:
                self.out.append(command)

    def later(self) -> None:
        self.now += 1.0
        self.run(self.session.on_tick(self.now))

    def commit(self, *, ok: bool | None = True) -> None:
        """Answer the one commit that is due."""
        (command,) = [c for c in self.out if isinstance(c, CommitVectors)]
        if ok:
            position = command.positions[P0]
            self.vectors[command.cluster] = vector(
                command.cluster, position.epoch, **position.offsets
            )
        self.run(self.session.on_committed(command.cluster, {P0: ok}, self.now))

    def stage(self, key: SeatKey) -> Stage:
        return self.session.seats[key].stage


def due(group: Group) -> Position:
    (command,) = [c for c in group.out if isinstance(c, CommitVectors)]
    return command.positions[P0]


def started(group: Group) -> tuple[str, str, int, int | None]:
    (command,) = [c for c in group.out if isinstance(c, Start)]
    span = command.spans[P0]
    return command.cluster, span.topic, span.start, span.end


def reading(*epochs: Epoch, **vectors: Vector) -> Group:
    group = Group(*epochs, **vectors)
    group.own(epochs[-1].cluster)
    assert group.stage(SeatKey(epochs[-1].cluster, P0)) is Stage.READING
    return group


def test_a_group_without_commits_is_reset_once_for_all_logs_and_reads() -> None:
    group = Group(ONE)
    group.own("LEFT")
    (command,) = group.out
    assert isinstance(command, ResolveReset)
    assert command.origins == ("LEFT", "RIGHT")
    group.run(group.session.on_resolved(LEFT, command.ticket, {"LEFT": 7, "RIGHT": 0}, 0.0))
    assert due(group) == Position(1, "LEFT", {"LEFT": 7, "RIGHT": 0})
    group.commit()
    assert started(group) == ("LEFT", "T", 7, None)


def test_a_group_without_commits_does_not_begin_while_a_switch_is_under_way() -> None:
    """It may have been committed where this member does not look yet, and the group begun there."""
    intent = replace(view(ONE), state=State("s", (ONE,), 3, Phase.INTENT))
    group = Group(ONE)
    group.run(group.session.on_state(intent, 0.0))
    group.own("LEFT")
    group.later()
    assert group.out == []
    group.run(group.session.on_state(replace(intent, state=State("s", (ONE,), 4)), 2.0))
    assert [type(command) for command in group.out] == [ResolveReset]


def test_home_releases_and_the_new_active_cluster_takes() -> None:
    left = reading(ONE, LEFT=vector("LEFT", 1, LEFT=100, RIGHT=0))
    left.run(left.session.on_state(view(ONE, TWO), 0.0))
    assert [type(c) for c in left.out] == [Stop]
    left.run(left.session.on_stopped("LEFT", [P0], 0.0))
    assert due(left) == Position(2, "LEFT", {"LEFT": 100, "RIGHT": 0})
    left.commit()
    assert left.stage(LEFT) is Stage.RESTING

    right = Group(ONE, TWO, LEFT=left.vectors["LEFT"])
    right.own("RIGHT")
    assert due(right) == Position(2, "RIGHT", {"LEFT": 110, "RIGHT": 0})
    right.commit()
    assert started(right) == ("RIGHT", "T", 0, None)


def test_a_position_inside_an_epoch_is_aligned_and_the_copy_read_first() -> None:
    group = Group(ONE, TWO, LEFT=vector("LEFT", 2, LEFT=40, RIGHT=0))
    group.own("RIGHT")
    (command,) = group.out
    assert isinstance(command, Align)
    assert set(command.tasks) == {"LEFT"}
    group.run(group.session.on_aligned(RIGHT, command.ticket, {"LEFT": 44}, 0.0))
    group.commit()
    assert started(group) == ("RIGHT", "LEFT.T", 44, 110)
    group.run(group.session.on_drained([P0]))
    group.run(group.session.on_stopped("RIGHT", [P0], 0.0))
    assert started(group) == ("RIGHT", "T", 0, None)


def test_the_new_active_cluster_waits_until_home_has_released() -> None:
    group = Group(ONE, TWO, LEFT=vector("LEFT", 1, LEFT=100, RIGHT=0))
    group.own("RIGHT")
    assert group.out == []
    group.vectors["LEFT"] = vector("LEFT", 2, LEFT=100, RIGHT=0)
    group.later()
    assert due(group).epoch == 2


def test_a_begun_handover_is_not_resumed_by_home_when_it_is_active_again() -> None:
    group = Group(ONE, TWO, THREE, LEFT=vector("LEFT", 2, LEFT=100, RIGHT=0))
    group.own("LEFT")
    assert group.stage(LEFT) is Stage.LOOKING
    group.own("RIGHT")  # RIGHT's owner takes it and gives it back
    assert due(group) == Position(3, "RIGHT", {"LEFT": 110, "RIGHT": 0})
    group.commit()
    assert group.stage(RIGHT) is Stage.RESTING
    group.later()
    assert due(group) == Position(3, "LEFT", {"LEFT": 100, "RIGHT": 0})


def test_a_member_that_slept_through_two_switches_is_home_still() -> None:
    group = reading(ONE, LEFT=vector("LEFT", 1, LEFT=60, RIGHT=0))
    group.run(group.session.on_state(view(ONE, TWO, THREE), 0.0))
    group.run(group.session.on_stopped("LEFT", [P0], 0.0))
    assert due(group) == Position(3, "LEFT", {"LEFT": 60, "RIGHT": 0})
    group.commit()
    assert started(group) == ("LEFT", "T", 60, 100)


def processed(group: Group, offset: int) -> None:
    tracker = group.session.seats[LEFT].tracker
    assert tracker is not None
    assert tracker.current is not None
    tracker.current.next = offset
    assert tracker.commit("T", offset, covering=True)


def test_what_was_processed_survives_a_refused_release() -> None:
    group = reading(ONE, LEFT=vector("LEFT", 1, LEFT=60, RIGHT=0))
    processed(group, 75)
    group.run(group.session.on_state(view(ONE, TWO), 0.0))
    group.run(group.session.on_stopped("LEFT", [P0], 0.0))
    group.commit(ok=False)
    group.later()
    assert due(group) == Position(2, "LEFT", {"LEFT": 75, "RIGHT": 0})
    group.commit()
    assert group.stage(LEFT) is Stage.RESTING


def test_a_refused_release_takes_the_newest_epoch_along() -> None:
    group = reading(ONE, LEFT=vector("LEFT", 1, LEFT=60, RIGHT=0))
    processed(group, 75)
    group.run(group.session.on_state(view(ONE, TWO), 0.0))
    group.run(group.session.on_stopped("LEFT", [P0], 0.0))
    group.commit(ok=False)
    group.run(group.session.on_state(view(ONE, TWO, THREE), 0.0))
    group.later()
    assert due(group) == Position(3, "LEFT", {"LEFT": 75, "RIGHT": 0})


def test_an_unknown_outcome_is_looked_at() -> None:
    group = reading(ONE, LEFT=vector("LEFT", 1, LEFT=60, RIGHT=0))
    group.run(group.session.on_state(view(ONE, TWO), 0.0))
    group.run(group.session.on_stopped("LEFT", [P0], 0.0))
    group.vectors["LEFT"] = vector("LEFT", 2, LEFT=60, RIGHT=0)  # it had been written
    group.commit(ok=None)
    group.later()
    assert not [c for c in group.out if isinstance(c, CommitVectors)]
    assert group.stage(LEFT) is not Stage.READING


def test_a_release_that_was_not_written_is_not_replaced_by_an_older_commit() -> None:
    """The commit was stuck, and another connection read what the group had committed before."""
    group = reading(ONE, LEFT=vector("LEFT", 1, LEFT=60, RIGHT=0))
    processed(group, 75)
    group.run(group.session.on_state(view(ONE, TWO), 0.0))
    group.run(group.session.on_stopped("LEFT", [P0], 0.0))
    for _ in range(3):
        assert due(group).offsets["LEFT"] == 75
        group.commit(ok=None)
        group.later()
    assert due(group).offsets["LEFT"] == 75
    group.commit()
    assert group.stage(LEFT) is Stage.RESTING


def test_a_release_of_which_nobody_knows_is_handed_over_when_its_cluster_is_given_up() -> None:
    """It died in the middle of a planned switch: its last report was seconds old."""
    group = reading(ONE, LEFT=vector("LEFT", 1, LEFT=60, RIGHT=0))
    processed(group, 75)
    group.run(group.session.on_state(view(ONE, TWO), 0.0))
    group.run(group.session.on_stopped("LEFT", [P0], 0.0))
    (command,) = [c for c in group.out if isinstance(c, CommitVectors)]
    group.session.on_committed("LEFT", {P0: None}, 0.0)
    lost = replace(view(ONE, TWO), state=State("s", (ONE, TWO), 2, unplanned=(2,)))
    out = group.session.on_state(lost, 1.0)
    (over,) = [c for c in out if isinstance(c, HandOver)]
    assert (over.to, over.epoch, over.progress.offsets) == (
        "RIGHT",
        2,
        command.positions[P0].offsets,
    )
    assert over.progress.offsets["LEFT"] == 75


def test_what_was_read_of_a_tail_is_known_where_its_replays_are_read_later() -> None:
    """RIGHT was lost, came back and is left again: its copy skips what was written again.

    So offsets of the copy are the same before and after the tail, and a replay of it that stands in
    the epoch between would be given to a group that had read the original.
    """
    two, three, four, five = (Epoch(n, "LEFT" if n % 2 else "RIGHT") for n in (2, 3, 4, 5))
    state = State("s", (ONE, two, three, four, five), 1, unplanned=(3,))
    closed = {
        1: ClosedEpoch(ONE, {"LEFT": {0: 43}, "RIGHT": {0: 43}}),
        2: ClosedEpoch(two, {"LEFT": {0: 19}, "RIGHT": {0: 19}}, {"RIGHT": {0: ((19, 57),)}}),
        3: ClosedEpoch(three, {"LEFT": {0: 309}, "RIGHT": {0: 309}}),
        4: ClosedEpoch(four, {"LEFT": {0: 109}, "RIGHT": {0: 109}}, {"LEFT": {0: ((19, 57),)}}),
    }
    group = Group(ONE, RIGHT=vector("RIGHT", 5, LEFT=65, RIGHT=57))
    group.run(group.session.on_state(View(state, {"T": closed}), 0.0))
    group.own("LEFT")
    (command,) = [c for c in group.out if isinstance(c, Align)]
    found = {"LEFT": 65, "RIGHT": 19}
    group.run(group.session.on_aligned(LEFT, command.ticket, found, 0.0))
    assert due(group) == Position(5, "LEFT", found, {"RIGHT": 57})


def test_an_end_that_is_not_written_yet_is_waited_for() -> None:
    unknown = {1: ClosedEpoch(ONE, {"LEFT": {0: 100}})}
    group = Group(ONE, LEFT=vector("LEFT", 2, LEFT=100, RIGHT=0))
    group.session.on_state(View(State("s", (ONE, TWO), 1), {"T": unknown}), 0.0)
    group.own("RIGHT")
    assert group.out == []
    group.run(group.session.on_state(view(ONE, TWO), 5.0))
    assert due(group) == Position(2, "RIGHT", {"LEFT": 110, "RIGHT": 0})


@pytest.mark.parametrize("lost", [False, True])
def test_a_disowned_partition_is_stopped_and_forgotten(lost: bool) -> None:
    group = reading(ONE, LEFT=vector("LEFT", 1, LEFT=60, RIGHT=0))
    (command,) = group.session.on_disowned("LEFT", [P0], lost=lost)
    assert isinstance(command, Stop)
    assert command.lost is lost
    group.session.forget("LEFT", [P0])
    assert group.session.seats == {}


def _rebalance(group: Group, seconds: float = 0.1, come_to: int = 62) -> list[int]:
    """Take the partition away and give it back; return the offsets that are remembered then."""
    offsets = {"LEFT": come_to, "RIGHT": 0}
    span = group.session.seats[LEFT].tracker.current  # type: ignore[union-attr]  # it is read
    span.memory.extend(SimpleNamespace(offset=lambda at=at: at) for at in (60, 61, 62))  # type: ignore[union-attr]  # as above
    group.session.on_disowned("LEFT", [P0], lost=False)
    group.session.forget("LEFT", [P0])
    group.vectors["LEFT"] = vector("LEFT", 1, **offsets)
    group.now += seconds
    group.run(group.session.on_tick(group.now))
    group.own("LEFT")
    assert started(group)[2] == come_to
    again = group.session.seats[LEFT].tracker.current  # type: ignore[union-attr]  # as above
    return [message.offset() for message in again.memory]  # type: ignore[union-attr]  # as above


def test_what_was_read_before_a_rebalance_is_remembered_after_it() -> None:
    """The cluster dies right after: else all that its copy lacks would be read once more."""
    group = reading(ONE, LEFT=vector("LEFT", 1, LEFT=60, RIGHT=0))
    assert _rebalance(group) == [60, 61]


@pytest.mark.parametrize(("come_to", "remembered"), [(61, [60]), (63, [60, 61, 62]), (70, [])])
def test_what_was_read_before_another_member_has_read_on_is_not_remembered_after_it(
    come_to: int, remembered: list[int]
) -> None:
    """Nobody else's memory counted then: with the lost cluster, 45 records came again."""
    group = reading(ONE, LEFT=vector("LEFT", 1, LEFT=60, RIGHT=0))
    assert _rebalance(group, come_to=come_to) == remembered


def test_what_was_read_of_a_partition_that_does_not_come_back_is_not_kept_for_ever() -> None:
    group = reading(ONE, LEFT=vector("LEFT", 1, LEFT=60, RIGHT=0))
    assert _rebalance(group, KEPT_S + 1) == []


def test_a_cluster_that_does_not_answer_is_asked_again_and_not_at_once() -> None:
    session = Session(NAMING, ["LEFT", "RIGHT"])
    session.on_state(view(ONE), 0.0)
    (command,) = session.on_owned("LEFT", [P0], 0.0)
    assert isinstance(command, ReadCommits)
    assert session.on_commits("LEFT", command.ticket, None, 0.0) == []
    assert session.on_tick(0.001) == []
    assert [type(c) for c in session.on_tick(1.0)] == [ReadCommits]
