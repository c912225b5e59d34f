"""Which surviving copy of a lost cluster is the longest, by the last records of each.

Copies of one log on two clusters have other offsets, begin at other records and may repeat some, so
that only records tell which of them goes further: the last ones of the one are looked for in the
other.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from clientlib.protocol.types import ClusterAlias
from failover.core.estimate import Elsewhere
from failover.core.snapshot import Snapshot

CONTEXT = 16
"""Records that must be the same, one after the other."""


@dataclass(frozen=True, slots=True)
class Tail:
    """Fingerprints of a copy's last records; ``whole``: it holds no others before them.

    ``length``: offsets of the whole copy.
    """

    prints: Sequence[bytes]
    length: int
    whole: bool


class Compared(NamedTuple):
    """Records that the other copy has and ours lacks, and the other way round."""

    ahead: int
    behind: int


def compare(ours: Tail, other: Tail, *, distinct: bool = True) -> Compared | None:
    """Compare two copies of one log; None when neither end is found in the other tail.

    ``distinct``: equal records are repeats, because timestamps tell others apart. Of those the
    last counts, else the first: it is better to report too much ahead than too little.
    """
    ahead = _behind_end(ours, other, distinct=distinct)
    if ahead is not None:
        return Compared(ahead, 0)
    behind = _behind_end(other, ours, distinct=distinct)
    return Compared(0, behind) if behind is not None else None


def _behind_end(short: Tail, long: Tail, *, distinct: bool) -> int | None:
    """Return how many records of ``long`` lie behind the end of ``short``."""
    context = list(short.prints[-CONTEXT:])
    if len(context) < CONTEXT and not short.whole:
        return None
    if not context:
        return len(long.prints) if long.whole else long.length
    size = len(context)
    places = range(len(long.prints) - size + 1)
    hits = [at for at in places if list(long.prints[at : at + size]) == context]
    if not hits:
        return None
    return len(long.prints) - size - (hits[-1] if distinct else hits[0])


def elsewhere(
    snapshot: Snapshot,
    lost: ClusterAlias,
    target: ClusterAlias,
    flows: Iterable[tuple[ClusterAlias, ClusterAlias]],
) -> Elsewhere:
    """Return what other clusters may hold of the lost one that the target lacks.

    A record that any standby has confirmed is held by its producer no more.
    """
    holders = [b for a, b in flows if a == lost and b != target]
    silent = [alias for alias in holders if not snapshot.clusters[alias].reachable]
    unsure = [alias for alias, lead in snapshot.leads.items() if lead.unsure]
    parts = {part for lead in snapshot.leads.values() for part in lead.ahead}
    most = sum(max(lead.ahead.get(part, 0) for lead in snapshot.leads.values()) for part in parts)
    ahead = sorted(alias for alias, lead in snapshot.leads.items() if sum(lead.ahead.values()))
    return Elsewhere(most, tuple(ahead), tuple(silent), tuple(unsure))
