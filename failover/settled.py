"""Where logs end, once nothing in them is open any more, and since when they have ended there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from clientlib.protocol.errors import TimedOutError
from clientlib.protocol.types import ClusterAlias, Offset, Partition
from failover.core.snapshot import Snapshot
from failover.io.ports import Admin


class UnsettledError(TimedOutError):
    """What a cluster holds cannot be judged yet: somebody has to finish something there."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Where a cluster's logs ended when they were looked at; ``at_ms``: when that was over."""

    ends: Mapping[Partition, Offset] = field(default_factory=dict)
    at_ms: int = 0


def seen(snapshot: Snapshot, alias: ClusterAlias, at_ms: int) -> Seen:
    """Return where a cluster's logs ended in a snapshot that was complete at ``at_ms``."""
    topics = snapshot.clusters[alias].topics
    return Seen(
        {Partition(t, n): e for t, i in topics.items() for n, e in enumerate(i.ends)}, at_ms
    )


class Stillness:
    """Tells since when logs have not grown, by every look at them. ``first`` is the first look."""

    def __init__(self, first: Seen) -> None:
        self._ends, self._since_ms = dict(first.ends), first.at_ms

    def since_ms(self, ends: Mapping[Partition, Offset], now_ms: int) -> int:
        """Return since when these logs have ended where they end now."""
        if any(self._ends.get(part) != end for part, end in ends.items()):
            self._ends, self._since_ms = dict(ends), now_ms
        return self._since_ms


def settled_ends(
    admin: Admin, cluster: ClusterAlias, parts: Sequence[Partition]
) -> tuple[Mapping[Partition, Offset], tuple[str, ...]]:
    """Return the end of each log, and in which of them a transaction is open, from where on.

    Kafka answers the end of a transaction before its markers are written. So the stable ends are
    asked for first: of a marker that comes in between, the log counts as open, and the next look
    has it.
    """
    stable = admin.stable_ends(cluster, parts)
    ends = admin.ends(cluster, parts)
    return ends, tuple(held_open(p, stable[p]) for p in sorted(parts) if stable[p] < ends[p])


def held_open(part: Partition, stable: Offset) -> str:
    """Say where a transaction is open: who has to abort one that hangs needs the offset."""
    return f"{part.topic}[{part.number}]: a transaction is open from offset {stable} on"
