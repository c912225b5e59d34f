"""Lag as range lengths, with and without an anchor in the ledger."""

import pytest

from clientlib.protocol.ledger import ClosedEpoch
from clientlib.protocol.naming import DefaultReplicationPolicy, Naming
from clientlib.protocol.state import View
from clientlib.protocol.types import Epoch, Partition
from failover.core.lag import flow_lag
from failover.core.snapshot import ClusterSnapshot, TopicInfo

NAMING = Naming(DefaultReplicationPolicy(), ("LEFT", "RIGHT"))


def cluster(alias: str, **topics: tuple[int, int]) -> ClusterSnapshot:
    """Return a cluster with topics of one partition each: (start, end)."""
    known = {
        name.replace("__", "."): TopicInfo((start,), (end,))
        for name, (start, end) in topics.items()
    }
    return ClusterSnapshot(alias, reachable=True, topics=known)


def closed(here: int, there: int, counter: int = 1, on: str = "LEFT") -> dict[int, ClosedEpoch]:
    return {counter: ClosedEpoch(Epoch(counter, on), {"LEFT": {0: here}, "RIGHT": {0: there}})}


@pytest.mark.parametrize(
    ("log", "copy", "ledger", "lag"),
    [
        ((0, 100), (0, 100), {}, 0),
        ((0, 100), (0, 70), {}, 30),
        ((0, 100), None, {}, 100),
        ((40, 100), None, {}, 60),
        ((40, 100), (0, 50), {}, 10),  # retention had passed the start before MM2 began
        ((40, 100), (0, 90), {}, 0),  # or after it: the smaller estimate counts
        ((0, 100), (0, 120), {}, 0),  # repeats in the copy
        ((0, 100), (0, 100), closed(50, 60), 10),
        ((0, 100), (0, 110), closed(50, 60), 0),
        ((0, 100), (0, 70), closed(50, 60, on="RIGHT"), 30),  # another log's epoch is no anchor
        ((0, 100), (0, 100), closed(50, 60) | closed(80, 85, counter=3), 5),
    ],
)
def test_lag(
    log: tuple[int, int], copy: tuple[int, int] | None, ledger: dict[int, ClosedEpoch], lag: int
) -> None:
    source = cluster("LEFT", t=log, RIGHT__t=(0, 5))
    target = cluster("RIGHT", t=(0, 5), **({} if copy is None else {"LEFT__t": copy}))
    found = flow_lag(source, target, View(ledger={"t": ledger}), NAMING)
    assert found == {Partition("t", 0): lag}, "copies of other origins are not part of the flow"


def test_partition_that_the_copy_lacks_is_behind_by_all_it_holds() -> None:
    source = ClusterSnapshot("LEFT", reachable=True, topics={"t": TopicInfo((0, 5), (10, 20))})
    target = cluster("RIGHT", LEFT__t=(0, 10))
    found = flow_lag(source, target, View(), NAMING)
    assert found == {Partition("t", 0): 0, Partition("t", 1): 15}
