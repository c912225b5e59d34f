"""Where logs end, once nothing in them is open any more."""

from collections.abc import Mapping, Sequence

from clientlib.protocol.types import ClusterAlias, Offset, Partition
from failover.io.ports import Admin


def settled_ends(
    admin: Admin, cluster: ClusterAlias, parts: Sequence[Partition]
) -> tuple[Mapping[Partition, Offset], tuple[str, ...]]:
    """Return the end of each log, and the logs in which a transaction is open.

    Kafka answers the end of a transaction before its markers are written. So the stable ends are
    asked for first: of a marker that comes in between, the log counts as open, and the next look
    has it.
    """
    stable = admin.stable_ends(cluster, parts)
    ends = admin.ends(cluster, parts)
    return ends, tuple(f"{p.topic}[{p.number}]" for p in sorted(parts) if stable[p] < ends[p])
