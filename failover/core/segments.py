"""What groups have not read yet: ranges of logs on the active cluster, by ledger and commits."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from clientlib.protocol.errors import LedgerUnknownError
from clientlib.protocol.ledger import Ledger
from clientlib.protocol.naming import Naming
from clientlib.protocol.skips import Skip, clip, size
from clientlib.protocol.token import decode
from clientlib.protocol.types import ClusterAlias, Offset, Partition
from failover.core.snapshot import Snapshot

Offsets = Mapping[ClusterAlias, Offset]
"""A group's commits in one logical partition, by the origin of the log."""


class Unread(NamedTuple):
    """Records of one log that a group has not read: ``first`` <= offset < ``end``.

    ``log`` is the physical partition on the active cluster, ``topic`` the logical one.
    """

    group: str
    topic: str
    origin: ClusterAlias
    log: Partition
    first: Offset
    end: Offset
    skip: Skip = ()

    def below(self, offset: Offset) -> tuple[Offset, Offset, int]:
        """Return first, end and number of its offsets below another one; skipped do not count."""
        end = max(self.first, min(self.end, offset))
        passed = size(clip(self.skip, self.first, end))
        return self.first, end, end - self.first - passed


def unread(snapshot: Snapshot, naming: Naming) -> Iterator[Unread]:
    """Yield what each group with our tokens has still to read on the active cluster.

    A group whose newest position is on another cluster is left out, and so is a partition whose
    older epochs have no ends there yet: nobody can say then where the group stands.
    """
    state = snapshot.view.state
    if state is None or not snapshot.clusters[state.active].reachable:
        return
    for group in sorted(snapshot.clusters[state.active].groups):
        for logical, offsets in sorted(_positions(snapshot, naming, group, state.active).items()):
            yield from _unread(snapshot, naming, group, logical, offsets)


def _positions(
    snapshot: Snapshot, naming: Naming, group: str, active: ClusterAlias
) -> dict[Partition, Offsets]:
    """Return the commits on the active cluster of each logical partition whose newest they are."""
    newest: dict[Partition, tuple[int, ClusterAlias]] = {}
    offsets: dict[Partition, dict[ClusterAlias, Offset]] = {}
    for alias, cluster in snapshot.clusters.items():
        known = cluster.groups.get(group)
        for physical, commit in known.commits.items() if known is not None else ():
            origin = naming.origin_of(physical.topic, alias)
            token = decode(commit.metadata).token
            if origin is None or token is None or token.cluster != alias:
                continue  # of no concern, or MM2's copy of a commit elsewhere
            logical = Partition(origin[1], physical.number)
            newest[logical] = max(newest.get(logical, (0, "")), (token.epoch, alias))
            if alias == active:
                offsets.setdefault(logical, {})[origin[0]] = commit.offset
    return {part: by for part, by in offsets.items() if newest[part][1] == active}


def _unread(
    snapshot: Snapshot, naming: Naming, group: str, logical: Partition, offsets: Offsets
) -> Iterator[Unread]:
    state = snapshot.view.state
    assert state is not None  # noqa: S101 - `unread` looked
    active = snapshot.clusters[state.active]
    ledger = Ledger(state.epochs, snapshot.view.ledger.get(logical.topic, {}))
    try:
        spans = list(ledger.ranges(logical.number, state.active))
    except LedgerUnknownError:
        return
    for span in spans:
        origin = span.epoch.cluster
        name = naming.log_name(origin, logical.topic, state.active)
        log = active.topics.get(name)
        if log is None or logical.number >= log.partitions:
            continue
        # what retention has passed here, too, is missing everywhere
        begin = max(span.start, log.starts[logical.number], offsets.get(origin, 0))
        end = log.ends[logical.number] if span.end is None else span.end
        if begin < end:
            skip = ledger.skipped(logical.number, state.active, origin)
            part = Partition(name, logical.number)
            yield Unread(group, logical.topic, origin, part, begin, end, skip)
