"""What the clients need from the outside, as protocols: real Kafka, or a simulation.

`MemberPort` is the part of ``confluent_kafka.Consumer`` that the consumer runtime calls on the
group member of one cluster; the real adapter *is* a confluent-kafka consumer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from clientlib.core.duty import Vector
from clientlib.core.seat import (
    Align,
    Evidence,
    ReadCommits,
    ReadEvidence,
    Recover,
    ResolveReset,
    SeatKey,
)
from clientlib.protocol.progress import Progress
from clientlib.protocol.recover import Recovered
from clientlib.protocol.state import View
from clientlib.protocol.types import ClusterAlias, Offset, Partition

Message: TypeAlias = Any
"""A ``confluent_kafka.Message``, or a fake with the same methods."""


class MemberPort(Protocol):
    """The member of the group on one cluster."""

    def poll(self, timeout: float) -> Message | None:
        """Return a record, an event, or None after ``timeout`` seconds; runs callbacks."""
        ...

    def consume(self, num_messages: int, timeout: float) -> list[Message]:
        """Return up to ``num_messages`` records and events."""
        ...

    def assign(self, partitions: list[Any]) -> None:
        """Read exactly these partitions (eager protocols)."""
        ...

    def incremental_assign(self, partitions: list[Any]) -> None:
        """Read these partitions too (cooperative protocols)."""
        ...

    def incremental_unassign(self, partitions: list[Any]) -> None:
        """Read these partitions no longer (cooperative protocols)."""
        ...

    def unassign(self) -> None:
        """Read nothing (eager protocols)."""
        ...

    def pause(self, partitions: list[Any]) -> None:
        """Stop fetching."""
        ...

    def resume(self, partitions: list[Any]) -> None:
        """Fetch again."""
        ...

    def seek(self, partition: Any) -> None:
        """Read on from another offset."""
        ...

    def get_watermark_offsets(self, partition: Any, timeout: float) -> tuple[int, int]:
        """Ask for the bounds of a log: its first offset, and the one after its last."""
        ...

    def commit(self, *, offsets: list[Any], asynchronous: bool) -> Any:
        """Commit as the group's member: refused when the generation has passed."""
        ...


@dataclass(frozen=True, slots=True)
class CommitsDone:
    """The commits of one cluster were read; None: it did not answer in time."""

    cluster: ClusterAlias
    ticket: int
    vectors: Mapping[Partition, Vector] | None


@dataclass(frozen=True, slots=True)
class AlignDone:
    """The aligner's answer per origin; None: no safe answer yet."""

    key: SeatKey
    ticket: int
    offsets: Mapping[ClusterAlias, Offset] | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ResetDone:
    """Bounds of the logs by ``auto.offset.reset``; None: the cluster did not answer."""

    key: SeatKey
    ticket: int
    offsets: Mapping[ClusterAlias, Offset] | None


@dataclass(frozen=True, slots=True)
class Publish:
    """Write what this member reads to the progress topic of cluster ``to``.

    ``epoch`` and ``cluster``: what it reads under; see `protocol.progress.Report` for the rest.
    ``leaving``: it has given these partitions up, so that no later report of it will have them.
    """

    to: ClusterAlias
    epoch: int
    cluster: ClusterAlias
    parts: Mapping[Partition, Progress]
    handed_over: int = 0
    leaving: bool = False

    @property
    def kept(self) -> bool:
        """Whether a later report does not replace it."""
        return self.leaving or self.handed_over > 0


@dataclass(frozen=True, slots=True)
class EvidenceDone:
    """What is known of a partition without the lost cluster; None: wait, for the reason ``why``."""

    key: SeatKey
    ticket: int
    evidence: Evidence | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class RecoverDone:
    """Where positions of a lost cluster are, with what they were there; None: not known yet."""

    key: SeatKey
    ticket: int
    found: Mapping[ClusterAlias, tuple[Recovered, Offset]] | None
    stamped: bool = True


Job: TypeAlias = ReadCommits | Align | ResolveReset | ReadEvidence | Recover | Publish
JobDone: TypeAlias = CommitsDone | AlignDone | ResetDone | EvidenceDone | RecoverDone


class Jobs(Protocol):
    """Runs reads in the background, never through the member's own handle.

    (A member's ``committed()`` takes seconds while its group waits for a dead member.)
    """

    def submit(self, job: Job) -> None:
        """Begin a job."""
        ...

    def collect(self) -> Sequence[JobDone]:
        """Return the jobs that have ended since the last call."""
        ...


class Waiting(Protocol):
    """Makes synchronous commits, and waits for them as long as their cluster is not given up.

    It does not wait longer than ``within`` seconds where that is given.
    """

    def busy(self, cluster: ClusterAlias) -> bool:
        """Say whether a commit that nobody waits for is still inside the cluster's handle."""
        ...

    def commit(
        self,
        cluster: ClusterAlias,
        member: MemberPort,
        offsets: list[Any],
        within: float | None = None,
    ) -> Any:
        """Commit and wait. Raises KafkaException."""
        ...

    def commit_inside(self, cluster: ClusterAlias, member: MemberPort, offsets: list[Any]) -> Any:
        """Commit and wait, in a callback of that member. Raises KafkaException."""
        ...


class Watch(Protocol):
    """Follows the state topics of all clusters."""

    @property
    def version(self) -> int:
        """Grows whenever the view changes."""
        ...

    def view(self) -> View:
        """Return what all clusters say together."""
        ...

    def fresh(self, cluster: ClusterAlias) -> bool:
        """Say whether the view of this cluster was confirmed a moment ago.

        A process that was stopped for a while must look before it delivers or writes.
        """
        ...


class Clock(Protocol):
    """Monotonic seconds, wall-clock milliseconds, and waiting."""

    def now(self) -> float:
        """Return monotonic seconds."""
        ...

    def wall_ms(self) -> int:
        """Return Unix time in milliseconds."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


Callback: TypeAlias = Callable[[Any, list[Any]], None]
"""A rebalance callback as confluent-kafka defines it: (consumer, partitions)."""
