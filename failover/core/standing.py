"""Findings about a cluster that is not, or not any more, what the ledger knows under its alias."""

from collections.abc import Iterator, Mapping

from clientlib.protocol.ledger import ClosedEpoch
from clientlib.protocol.types import ClusterAlias, Offset
from failover.core.result import Finding, Severity


def shortened(
    row: ClosedEpoch, cluster: ClusterAlias, name: str, ends: Mapping[int, Offset] | None
) -> Iterator[str]:
    """Yield how a cluster's log of a closed epoch is shorter than recorded; ``ends`` None: gone."""
    recorded = row.ends.get(cluster, {})
    if ends is None:
        # of a lost cluster's last epoch only the copies tell that it held records
        copied = row.ends if row.epoch.cluster == cluster else {}
        if any(recorded.values()) or any(end for by in copied.values() for end in by.values()):
            yield f"{name} is gone, and held records of epoch {row.epoch.counter}"
        return
    for number, end in recorded.items():
        if number in ends and ends[number] < end:
            yield f"{name}[{number}] ends at {ends[number]:,}, recorded is {end:,}"


def diverged(subject: str, cluster: ClusterAlias, what: str) -> Finding:
    """Return the finding of a cluster whose logs contradict the ledger."""
    return Finding(
        "diverged",
        Severity.BLOCK,
        subject,
        what,
        "records are gone or replaced there: recorded offsets mean other records now",
        f"restore the disks of {cluster} as they were; if the records are gone, "
        + _rebuild(cluster),
    )


def wrong_cluster(cluster: ClusterAlias, found: str, known: str) -> Finding:
    """Return the finding of an alias that leads to another cluster than at ``failover init``."""
    return Finding(
        "wrong-cluster",
        Severity.BLOCK,
        f"cluster {cluster}",
        f"Kafka's cluster id is {found}, recorded was {known}",
        "offsets of the ledger mean nothing on another cluster",
        f"correct bootstrap.servers of {cluster}; if it was rebuilt, {_rebuild(cluster)}",
    )


def _rebuild(cluster: ClusterAlias) -> str:
    return (
        f"empty it and give it a new alias, with `retired: [{cluster}]` in failover.yaml "
        "(operators' guide: Returned cluster)"
    )
