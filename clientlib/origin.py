"""Where a record comes from."""

from dataclasses import dataclass
from typing import Any

from clientlib.protocol.naming import Naming
from clientlib.protocol.types import ClusterAlias


@dataclass(frozen=True, slots=True)
class Origin:
    """The cluster where a record was first written, its logical topic, and where it was read.

    ``offset`` is the record's offset in the log that was read; it is the origin offset where
    ``cluster`` and ``read_on`` are the same.
    """

    cluster: ClusterAlias
    topic: str
    partition: int
    read_on: ClusterAlias
    offset: int


def origin_on(naming: Naming, active: ClusterAlias, message: Any) -> Origin | None:
    """Return the origin of a record read on ``active``; None for a topic that is not ours."""
    found = naming.origin_of(message.topic(), active)
    if found is None:
        return None
    cluster, topic = found
    return Origin(cluster, topic, message.partition(), active, message.offset())
