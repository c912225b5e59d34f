"""Replication lag as range lengths: what the origin log has that its copy does not hold yet.

An estimate for people: transaction markers and compaction leave gaps that a copy does not repeat,
and MM2's restarts repeat records. A switch never decides by it: it aligns the records themselves.
"""

from collections.abc import Iterator

from clientlib.protocol.naming import Naming
from clientlib.protocol.state import View
from clientlib.protocol.types import ClusterAlias, Offset, Partition
from failover.core.snapshot import ClusterSnapshot, TopicInfo


def flow_lag(
    source: ClusterSnapshot, target: ClusterSnapshot, view: View, naming: Naming
) -> dict[Partition, int]:
    """Return the lag in records of each partition that originates on ``source``."""
    return dict(_lags(source, target, view, naming))


def _lags(
    source: ClusterSnapshot, target: ClusterSnapshot, view: View, naming: Naming
) -> Iterator[tuple[Partition, int]]:
    for name, log in source.topics.items():
        if naming.origin_of(name, source.alias) != (source.alias, name):
            continue
        copy = target.topics.get(naming.log_name(source.alias, name, target.alias))
        for number in range(log.partitions):
            bound = _anchor(view, name, number, source.alias, target.alias)
            yield Partition(name, number), _lag(log, copy, number, bound)


def _anchor(
    view: View, topic: str, number: int, source: ClusterAlias, target: ClusterAlias
) -> tuple[Offset, Offset] | None:
    """Return the newest pair of offsets that the ledger knows to be the same place."""
    for _, entry in sorted(view.ledger.get(topic, {}).items(), reverse=True):
        if entry.epoch.cluster != source or target not in entry.ends:
            continue
        here, there = entry.ends.get(source, {}).get(number), entry.ends[target].get(number)
        if here is not None and there is not None:
            return here, there
    return None


def _lag(
    log: TopicInfo, copy: TopicInfo | None, number: int, anchor: tuple[Offset, Offset] | None
) -> int:
    held = log.ends[number] - log.starts[number]
    if copy is None or number >= copy.partitions:
        return held
    if anchor is not None:
        here, there = anchor
        return max(0, (log.ends[number] - here) - (copy.ends[number] - there))
    # Without an anchor: retention may have passed the source's start before or after MM2 began.
    by_length = held - (copy.ends[number] - copy.starts[number])
    return max(0, min(by_length, log.ends[number] - copy.ends[number]))
