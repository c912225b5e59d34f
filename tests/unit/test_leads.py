"""Which of two copies goes further, by their last records, and what that adds to the estimate."""

from collections.abc import Iterable

import pytest

from clientlib.protocol.clients import Client, Registration, Role
from clientlib.protocol.state import State, View
from clientlib.protocol.types import Epoch, Partition
from failover.core.estimate import Elsewhere, estimate
from failover.core.leads import Compared, Tail, compare, elsewhere
from failover.core.snapshot import ClusterSnapshot, Lead, Snapshot

FLOWS = [(a, b) for a in ("LEFT", "RIGHT", "THIRD") for b in ("LEFT", "RIGHT", "THIRD") if a != b]


def tail(numbers: Iterable[int], *, length: int | None = None) -> Tail:
    prints = [str(n).encode() for n in numbers]
    return Tail(prints, len(prints) if length is None else length, whole=length is None)


@pytest.mark.parametrize(
    ("ours", "other", "expected"),
    [
        (range(100), range(100), Compared(0, 0)),
        (range(100), range(112), Compared(12, 0)),
        (range(112), range(100), Compared(0, 12)),
        (range(5), range(9), Compared(4, 0)),
        ((), range(9), Compared(9, 0)),
        (range(9), (), Compared(0, 9)),
        ((), (), Compared(0, 0)),
        (range(50, 100), range(110), Compared(10, 0)),  # begun at another record
        (range(100), range(100, 200), None),
        # MM2 was killed and has sent a suffix again: the last one counts
        (range(60), [*range(60), *range(40, 60)], Compared(0, 0)),
        (range(60), [*range(60), *range(40, 65)], Compared(5, 0)),
    ],
)
def test_the_end_of_one_is_found_in_the_other(
    ours: Iterable[int], other: Iterable[int], expected: Compared | None
) -> None:
    assert compare(tail(ours), tail(other)) == expected


def test_equal_records_without_timestamps_count_as_ahead() -> None:
    assert compare(tail(range(60)), tail([*range(60), *range(40, 60)]), distinct=False) == (20, 0)


def test_a_few_records_say_nothing_of_a_longer_log() -> None:
    assert compare(tail(range(5), length=5_000), tail(range(5, 60))) is None


def test_an_empty_copy_lacks_all_of_a_longer_log() -> None:
    assert compare(tail(()), tail(range(30), length=5_000)) == (5_000, 0)


def snapshot(leads: dict[str, Lead], *, third: bool = True) -> Snapshot:
    state = State("default", (Epoch(1, "LEFT"),), 0)
    clusters = {
        alias: ClusterSnapshot(alias, reachable=there)
        for alias, there in (("LEFT", False), ("RIGHT", True), ("THIRD", third))
    }
    return Snapshot("default", 0, clusters, view=View(state), leads=leads)


def test_what_is_elsewhere_is_counted_once_per_partition() -> None:
    one, two = Partition("T", 0), Partition("T", 1)
    leads = {"THIRD": Lead({one: 5, two: 2}), "FOURTH": Lead({one: 7}, {two: 9})}
    assert elsewhere(snapshot(leads), "LEFT", "RIGHT", FLOWS) == Elsewhere(9, ("FOURTH", "THIRD"))


def test_who_does_not_answer_or_could_not_be_compared_is_named() -> None:
    unsure = {"THIRD": Lead(unsure={Partition("T", 0): "why"})}
    assert elsewhere(snapshot(unsure), "LEFT", "RIGHT", FLOWS) == Elsewhere(unsure=("THIRD",))
    assert elsewhere(snapshot({}, third=False), "LEFT", "RIGHT", FLOWS) == Elsewhere(
        silent=("THIRD",)
    )
    only = [("LEFT", "RIGHT")]
    assert elsewhere(snapshot({}, third=False), "LEFT", "RIGHT", only) == Elsewhere()


@pytest.mark.parametrize(
    ("others", "records", "told"),
    [
        (Elsewhere(), 3, "1 living producer"),
        (Elsewhere(12, ("THIRD",)), 15, "THIRD holds 12 records that the target lacks"),
        (Elsewhere(silent=("THIRD",)), None, "does not answer"),
        (Elsewhere(unsure=("THIRD",)), None, "could not be compared"),
    ],
)
def test_what_only_another_cluster_holds_no_producer_writes_again(
    others: Elsewhere, records: int | None, told: str
) -> None:
    living = Registration(Client("p", Role.PRODUCER, "default", at_risk=3), 0)
    found = estimate({"p": living}, 1, others)
    assert found.records == records
    assert told in found.source


def test_who_is_dead_stays_unknown_whatever_others_hold() -> None:
    dead = Registration(Client("p", Role.PRODUCER, "default", ttl_ms=1), 0)
    assert estimate({"p": dead}, 10, Elsewhere(5, ("THIRD",))).records is None


@pytest.mark.parametrize(
    ("ended_ms", "heard_ms", "records"),
    [
        (5_000_000, 5_000_100, None),
        (5_000_000, 8_599_999, None),
        (5_000_000, 8_600_000, 3),  # MirrorMaker 2 was at work for an hour since
        (5_000_000, 0, None),  # nobody knows
    ],
)
def test_who_ended_long_before_the_cluster_did_leaves_nothing_unknown(
    ended_ms: int, heard_ms: int, records: int | None
) -> None:
    """Else one producer that ever crashed made every later estimate unknown."""
    living = Registration(Client("p", Role.PRODUCER, "default", at_risk=3), 9_000_000)
    crashed = Registration(Client("q", Role.PRODUCER, "default"), ended_ms)
    found = estimate({"p": living, "q": crashed}, 9_000_001, heard_ms=heard_ms)
    assert found.records == records
