"""Who must do what with a group's commits, after any number of switches."""

import pytest

from clientlib.core.duty import (
    Committed,
    Duty,
    Read,
    Release,
    Reset,
    Rest,
    Retoken,
    Take,
    Vector,
    Wait,
    duty,
    home_of,
)
from clientlib.protocol.token import Token
from clientlib.protocol.types import Epoch

L, R = "LEFT", "RIGHT"
EPOCHS = (Epoch(1, L), Epoch(2, R), Epoch(3, L), Epoch(4, R))


def vector(on: str, epoch: int | None, *, by: str = "", commits: bool = True) -> Vector:
    """Return commits on a cluster whose token names ``by`` (the cluster itself by default)."""
    token = None if epoch is None else Token(epoch, by or on)
    found = {L: Committed(5, token), R: Committed(3, token)} if commits else {}
    return Vector(on, found, frozenset({L, R}))


def none(on: str) -> Vector:
    return vector(on, None, commits=False)


CASES: list[tuple[str, str, int, Vector | None, Vector | None, Duty]] = [
    # what, me, epochs so far, commits on LEFT, commits on RIGHT, duty
    ("reads where it is home", L, 1, vector(L, 1), none(R), Read()),
    ("releases after a switch", L, 2, vector(L, 1), none(R), Release()),
    ("takes what was released", R, 2, vector(L, 2), none(R), Take(L)),
    ("waits for the release", R, 2, vector(L, 1), none(R), Wait("LEFT has not released yet")),
    ("reads what it has taken", R, 2, vector(L, 2), vector(R, 2), Read()),
    ("rests when the other side has taken", L, 2, vector(L, 2), vector(R, 2), Rest()),
    ("home slept through two switches", L, 3, vector(L, 1), none(R), Retoken()),
    (
        "released to a cluster that is active no more: that one takes it first",
        R, 3, vector(L, 2), none(R), Take(L),
    ),
    (
        "nobody goes on from home when it has released to another",
        L, 3, vector(L, 2), none(R), Wait("LEFT has released to RIGHT"),
    ),
    ("what it has released is not its own", R, 3, vector(L, 2), vector(R, 3), Wait("RIGHT has")),
    ("a copy of a commit is no commit", R, 2, none(L), vector(R, 2, by=L), Reset()),
    ("no cluster has evidence", R, 2, none(L), none(R), Reset()),
    ("only the active cluster resets", L, 2, none(L), none(R), Wait("no cluster has commits yet")),
    ("the other side is not read yet", R, 2, None, none(R), Wait("the commits on LEFT")),
    ("its own side is not read yet", R, 2, vector(L, 2), None, Wait("the commits on RIGHT")),
    ("a plain group is adopted where it is", L, 1, vector(L, None), none(R), Retoken()),
    ("a plain group is released, too", L, 2, vector(L, None), none(R), Release()),
    ("the state is older than the commits", L, 1, vector(L, 3), none(R), Wait("the state is")),
]  # fmt: skip


@pytest.mark.parametrize(("what", "me", "count", "left", "right", "wanted"), CASES)
def test_duty(  # noqa: PLR0917 - a row of the table
    what: str, me: str, count: int, left: Vector | None, right: Vector | None, wanted: Duty
) -> None:
    got = duty(me, EPOCHS[:count], {L: left, R: right})
    if isinstance(wanted, Wait):
        assert isinstance(got, Wait), what
        assert got.reason.startswith(wanted.reason), what
    else:
        assert got == wanted, what


def test_on_equal_counters_the_activated_cluster_is_newer() -> None:
    home = home_of({L: vector(L, 2), R: vector(R, 2)}, EPOCHS[:2])
    assert home is not None
    assert (home.cluster, home.released_to) == (R, None)


def test_a_position_passes_from_hand_to_hand_and_never_forks() -> None:
    """At every point of two switches at most one side may read or take."""
    histories = [(1, 0), (2, 0), (2, 2), (3, 2), (2, 3), (3, 3)]
    for count in (1, 2, 3, 4):
        for left, right in histories:
            sides = {
                L: vector(L, left) if left else none(L),
                R: vector(R, right) if right else none(R),
            }
            acting = [
                me for me in (L, R) if isinstance(duty(me, EPOCHS[:count], sides), Read | Take)
            ]
            assert len(acting) <= 1, (count, left, right, acting)
