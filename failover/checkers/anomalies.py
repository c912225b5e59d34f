"""What a checker returns, and whom it judges."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from failover.checkers.events import Event


class Kind(StrEnum):
    """Names of the anomalies; each is defined by the checker of that name."""

    LOST = "lost"
    REPEATED = "repeated"
    OUT_OF_ORDER = "out-of-order"
    SKIPPED = "skipped"
    TWO_ACTIVE_WRITERS = "two-active-writers"
    EPOCH_GOING_BACK = "epoch-going-back"
    SPLIT_EPOCH = "split-epoch"
    PHANTOM = "phantom"
    ABORTED_READ = "aborted-read"
    CONFLICTING_OFFSET = "conflicting-offset"
    ACKNOWLEDGED_TWICE = "acknowledged-twice"


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One thing that must not happen: which, in words, and the events that show it."""

    kind: Kind
    what: str
    evidence: tuple[Event, ...]


Place: TypeAlias = tuple[str | None, str, int, int]
"""One offset of one log: cluster, physical topic, partition, offset."""


@dataclass(frozen=True, slots=True)
class Expected:
    """A group that should have got everything.

    ``topics`` limits it to some logical topics (None: all of them), ``since`` to records sent at
    that time or later (for a group that began at ``latest``). ``but``: records, by producer and
    sequence number, that a lost cluster held alone and whose producer died too, or that came late
    and are not wanted by the group.
    """

    group: str
    topics: frozenset[str] | None = None
    since: float = float("-inf")
    but: frozenset[tuple[str, int]] = frozenset()


def expectations(groups: Iterable[str | Expected]) -> tuple[Expected, ...]:
    """Let a bare name stand for a group that should have got every record."""
    return tuple(Expected(g) if isinstance(g, str) else g for g in groups)
