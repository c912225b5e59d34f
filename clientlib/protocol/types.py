"""Frozen values that every module speaks in.

Offsets are Kafka's: the *next* record to read, never the last one read. A cluster is named by its
alias, the short name that MirrorMaker 2 gives it and that prefixes remote topics.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

ClusterAlias: TypeAlias = str
"""MirrorMaker 2's name of a cluster, for example ``LEFT``."""

Offset: TypeAlias = int
"""Next offset to read in one log."""


class Epoch(NamedTuple):
    """A span in which one cluster was active: counter (1, 2, ...) and the activated cluster."""

    counter: int
    cluster: ClusterAlias


class Revision(NamedTuple):
    """What orders states across clusters: (epoch counter, revision within the epoch)."""

    epoch: int
    revision: int


class Partition(NamedTuple):
    """A logical partition: the topic as the application names it, and the partition number."""

    topic: str
    number: int


@dataclass(frozen=True, slots=True)
class Position:
    """A group's place in one logical partition, as committed on one cluster.

    ``offsets`` maps an origin (the cluster where the records were first written) to the next
    offset in the log that carries that origin's records on ``cluster``. An origin without an
    entry has not been started. ``epoch`` is the counter of the commits' token, 0 for none.
    ``beyond`` maps an origin that was lost to the group's position in the origin's own log, where
    the copy on ``cluster`` cannot say it: it ends before it, or nobody is to read it there.
    """

    epoch: int
    cluster: ClusterAlias
    offsets: Mapping[ClusterAlias, Offset]
    beyond: Mapping[ClusterAlias, Offset] = field(default_factory=dict)
