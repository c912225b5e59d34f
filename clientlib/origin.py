"""Where a record comes from."""

from dataclasses import dataclass
from typing import Any

from clientlib.protocol.naming import Naming
from clientlib.protocol.skips import within
from clientlib.protocol.state import View
from clientlib.protocol.types import ClusterAlias


@dataclass(frozen=True, slots=True)
class Origin:
    """The cluster where a record was first written, its logical topic, and where it was read.

    ``offset`` is the record's offset in the log that was read; it is the origin offset where
    ``cluster`` and ``read_on`` are the same. ``late``: it was written to a cluster that was lost
    before the record was copied, and comes after others that were produced later.
    """

    cluster: ClusterAlias
    topic: str
    partition: int
    read_on: ClusterAlias
    offset: int
    late: bool = False


def origin_on(
    naming: Naming, active: ClusterAlias, message: Any, view: View | None = None
) -> Origin | None:
    """Return the origin of a record read on ``active``; None for a topic that is not ours."""
    found = naming.origin_of(message.topic(), active)
    if found is None:
        return None
    cluster, topic = found
    number, offset = message.partition(), message.offset()
    rows = view.ledger.get(topic, {}).values() if view is not None else ()
    late = any(
        within(row.late.get(active, {}).get(number, ()), offset)
        for row in rows
        if row.late and row.epoch.cluster == cluster
    )
    return Origin(cluster, topic, number, active, offset, late)
