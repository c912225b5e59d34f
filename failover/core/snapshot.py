"""The clusters as observed at one instant: the only input of findings, verdict and plan."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from clientlib.protocol.clients import Registration
from clientlib.protocol.state import View
from clientlib.protocol.types import ClusterAlias, Offset, Partition


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """A physical topic: per partition the log start, the high watermark and the LSO.

    ``ends`` are read with READ_UNCOMMITTED (high watermark), ``stable_ends`` with READ_COMMITTED.
    """

    starts: tuple[Offset, ...]
    ends: tuple[Offset, ...]
    stable_ends: tuple[Offset, ...] = ()
    log_append_time: bool = False
    compacted: bool = False

    @property
    def partitions(self) -> int:
        """Number of partitions."""
        return len(self.ends)


def stable_end(log: TopicInfo, number: int) -> Offset:
    """Return the end of a partition below which no transaction is open."""
    return (log.stable_ends or log.ends)[number]


@dataclass(frozen=True, slots=True)
class Commit:
    """A committed offset with its raw metadata."""

    offset: Offset
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a group; ``client_id`` is the Kafka client's ``client.id``."""

    id: str
    client_id: str
    host: str
    assignment: tuple[Partition, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupInfo:
    """A consumer group on one cluster; ``commits`` by physical topic and partition."""

    state: str
    members: tuple[Member, ...] = ()
    commits: Mapping[Partition, Commit] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClusterSnapshot:
    """One cluster. When it is not reachable, ``error`` says why and the rest is empty.

    ``missing_control`` lists control topics that do not exist. ``operations`` are the authorised
    operations on the cluster resource, None when the broker did not say.
    """

    alias: ClusterAlias
    reachable: bool
    error: str = ""
    cluster_id: str = ""
    topics: Mapping[str, TopicInfo] = field(default_factory=dict)
    groups: Mapping[str, GroupInfo] = field(default_factory=dict)
    view: View = field(default_factory=View)
    clients: Mapping[str, Registration] = field(default_factory=dict)
    missing_control: tuple[str, ...] = ()
    operations: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class FlowSnapshot:
    """One replication flow. ``heartbeat_age_ms`` None: no heartbeat was seen on the target.

    ``lag`` is in records per origin partition (source end minus what the copy is known to hold,
    estimated by range lengths); ``settings`` is MM2's own configuration of the flow where its
    configuration topic can be read, else empty.
    """

    source: ClusterAlias
    target: ClusterAlias
    heartbeat_age_ms: int | None = None
    lag: Mapping[Partition, int] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def lag_records(self) -> int:
        """Lag of the whole flow in records."""
        return sum(self.lag.values())


@dataclass(frozen=True, slots=True)
class Oldest:
    """Where the oldest record that a target holds of a log stands on the active cluster.

    What the active cluster has below ``offset`` the target lacks. Not ``exact``: by arithmetic.
    ``offset`` None: it could not be found, ``why`` says why.
    """

    offset: Offset | None
    exact: bool = True
    why: str = ""


@dataclass(frozen=True, slots=True)
class Lead:
    """How another cluster's copies of a lost cluster compare with the target's, by partition.

    ``ahead``: records that it holds and the target lacks; ``behind``: the other way round;
    ``unsure``: copies that could not be compared, and why. Partitions are logical ones.
    """

    ahead: Mapping[Partition, int] = field(default_factory=dict)
    behind: Mapping[Partition, int] = field(default_factory=dict)
    unsure: Mapping[Partition, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that was observed for one scope, and when (Unix milliseconds).

    A survey for a request adds: of a planned switch, by partition of the active cluster that a
    group has not read to its end, the ``oldest`` record that the target holds of it; of an
    unplanned one, by other surviving cluster, the ``leads``.
    """

    scope: str
    at_ms: int
    clusters: Mapping[ClusterAlias, ClusterSnapshot]
    flows: tuple[FlowSnapshot, ...] = ()
    view: View = field(default_factory=View)
    oldest: Mapping[Partition, Oldest] = field(default_factory=dict)
    leads: Mapping[ClusterAlias, Lead] = field(default_factory=dict)

    @property
    def reachable(self) -> tuple[ClusterAlias, ...]:
        """Aliases of the clusters that answered."""
        return tuple(alias for alias, cluster in self.clusters.items() if cluster.reachable)
