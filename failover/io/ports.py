"""What the engine is given: four ports. Real adapters and the simulation implement the same ones.

Failures: a cluster that does not answer raises ClusterUnreachableError or TimedOutError, except
where a method says that such clusters are left out. No method waits without a bound.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from clientlib.protocol.clients import Registration
from clientlib.protocol.fingerprint import LogRecord
from clientlib.protocol.replay import Manifest
from clientlib.protocol.state import View
from clientlib.protocol.types import ClusterAlias, Offset, Partition
from failover.core.snapshot import Commit

Record = tuple[bytes, bytes | None]


class Status(StrEnum):
    """How a write ended. ``UNKNOWN`` is no failure: it may have happened."""

    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a write to one cluster ended, and why it did not succeed."""

    status: Status
    why: str = ""

    @property
    def done(self) -> bool:
        """Whether the write was acknowledged."""
        return self.status is Status.DONE


class StateStore(Protocol):
    """The state topics of all clusters, written through one fenced writer per cluster and scope."""

    def acquire(self, aliases: Iterable[ClusterAlias]) -> Mapping[ClusterAlias, Outcome]:
        """Fence every older writer of the scope, and abort what it left open. Takes about 1 s.

        Raises FencedError when this store holds a mark and finds another's in its place.
        """
        ...

    def publish(
        self, writes: Mapping[ClusterAlias, Sequence[Record]]
    ) -> Mapping[ClusterAlias, Outcome]:
        """Write each cluster's records in one transaction, all clusters at once.

        Raises FencedError when a newer writer has taken any of the clusters.
        """
        ...

    def warm_s(self) -> float:
        """Return for how long `acquire` would wait before it fences anybody."""
        ...

    def views(self, aliases: Iterable[ClusterAlias] | None = None) -> Mapping[ClusterAlias, View]:
        """Read the state topics (of all clusters) to their ends; unreadable ones are left out."""
        ...

    def clients(
        self, aliases: Iterable[ClusterAlias]
    ) -> Mapping[ClusterAlias, Mapping[str, Registration]]:
        """Read the clients topics to their ends. Clusters that cannot be read are left out."""
        ...

    def manifests(self, alias: ClusterAlias) -> Iterable[Manifest]:
        """Return what producers of a cluster have written again, as of the last `clients`."""
        ...

    def hold(self, run: str, aliases: Iterable[ClusterAlias]) -> Mapping[ClusterAlias, Outcome]:
        """Write the run's mark on these clusters and renew it every second until `release`.

        Return what came of the first writes: where one is not done, nothing can be written before
        the cluster is acquired again. Raises FencedError.
        """
        ...

    def release(self) -> None:
        """Delete the mark, where that is still possible."""
        ...

    def close(self) -> None:
        """Give everything back. Nothing is written."""
        ...


@dataclass(frozen=True, slots=True)
class NewTopic:
    """A topic to create; ``settings`` are those of its log elsewhere."""

    partitions: int
    settings: Mapping[str, str]


class Admin(Protocol):
    """Topics, offsets and group commits of every cluster. Partitions are physical here."""

    def partitions(self, alias: ClusterAlias) -> Mapping[str, int]:
        """Return the number of partitions of every topic."""
        ...

    def cluster_id(self, alias: ClusterAlias) -> str:
        """Return Kafka's own id of the cluster."""
        ...

    def probe(self, alias: ClusterAlias, within_s: float) -> Callable[[], bool]:
        """Begin to ask whether a cluster answers; what is returned waits for the answer."""
        ...

    def starts(
        self, alias: ClusterAlias, partitions: Iterable[Partition]
    ) -> Mapping[Partition, Offset]:
        """Return the first offset that retention has left in each log."""
        ...

    def ends(
        self, alias: ClusterAlias, partitions: Iterable[Partition]
    ) -> Mapping[Partition, Offset]:
        """Return the high watermark of each log (READ_UNCOMMITTED), in one request."""
        ...

    def stable_ends(
        self, alias: ClusterAlias, partitions: Iterable[Partition]
    ) -> Mapping[Partition, Offset]:
        """Return the last stable offset of each log: below it no transaction is open."""
        ...

    def topic_settings(
        self, alias: ClusterAlias, topics: Iterable[str]
    ) -> Mapping[str, Mapping[str, str]]:
        """Return the settings that a copy of each topic should share."""
        ...

    def create_topics(self, alias: ClusterAlias, topics: Mapping[str, NewTopic]) -> None:
        """Create the topics that do not exist, and add partitions to those that have fewer."""
        ...

    def commits(
        self, alias: ClusterAlias, groups: Iterable[str]
    ) -> Mapping[str, Mapping[Partition, Commit]]:
        """Return all commits of the groups, asked in parallel."""
        ...


@dataclass(frozen=True, slots=True)
class Window:
    """Records with ``start`` <= offset < ``end``, at most ``limit`` of them, from the start."""

    start: Offset
    end: Offset
    limit: int


@dataclass(frozen=True, slots=True)
class Records:
    """A window's records in offset order. ``covered_to``: read below that only; None: all of it."""

    records: tuple[LogRecord, ...]
    covered_to: Offset | None = None


class LogReader(Protocol):
    """Reads records of any log; positions of no group are touched."""

    def warm(
        self,
        alias: ClusterAlias,
        topics: Iterable[str],
        *,
        committed: bool = False,
        many: bool = False,
    ) -> None:
        """Prepare for quick reads of these topics; ``many``: of many records at a time."""
        ...

    def read(
        self,
        alias: ClusterAlias,
        windows: Mapping[Partition, Window],
        *,
        committed: bool = False,
    ) -> Mapping[Partition, Records]:
        """Read one window of each log, all of them at once; ``committed``: as read_committed."""
        ...


class Clock(Protocol):
    """Time as the engine sees it."""

    def now_ms(self) -> int:
        """Return Unix time in milliseconds."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything that the engine may touch."""

    store: StateStore
    admin: Admin
    reader: LogReader
    clock: Clock
