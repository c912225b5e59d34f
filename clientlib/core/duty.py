"""Who must do what with a group's commits of one logical partition: the rules of handover.

A group has commits on every cluster, and each cluster's group arbitrates them by its own
generations. The newest token says where the group's *home* is:

* ``(m, X)`` where epoch ``m`` activated ``X``: X is home, its owner reads or must release.
* ``(m, X)`` where epoch ``m`` activated ``Z``: X has *released* to Z. Only Z's owner may go on from
  it, even if newer epochs came since: it takes, and if it is not active any more its own commit
  releases further. So the position passes from hand to hand and never forks.

On equal counters the cluster that the epoch activated is newer: it took what the other released.
A group without tokens is a plain one (epoch 0), adopted where it has commits on the local topic.

An *unplanned* epoch was opened without the cluster before it, which is **lost**: its commits cannot
be released. The owner on the new active cluster recovers the position by other evidence, and what
the lost cluster says of epochs before that counts for nothing where anybody has gone on since.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from clientlib.protocol.token import Token
from clientlib.protocol.types import ClusterAlias, Epoch, Offset, Position


@dataclass(frozen=True, slots=True)
class Committed:
    """One commit as read back: next offset, our token if it has one, the user's metadata.

    ``beyond``: see `Position`.
    """

    offset: Offset
    token: Token | None = None
    user: str = ""
    beyond: Offset | None = None


@dataclass(frozen=True, slots=True)
class Vector:
    """A group's commits for all origins of one logical partition on one cluster.

    ``logs`` are the origins whose log exists on the cluster; only those can be committed.
    """

    cluster: ClusterAlias
    commits: Mapping[ClusterAlias, Committed]
    logs: frozenset[ClusterAlias]

    @property
    def token_epoch(self) -> int:
        """Counter of the newest token that was committed on this cluster itself, 0 for none."""
        own = (c.token for c in self.commits.values() if c.token is not None)
        return max((token.epoch for token in own if token.cluster == self.cluster), default=0)

    def position(self) -> Position:
        """Return the position that these commits are.

        A copy of another cluster's commit (written by MirrorMaker 2's group offset sync) is only
        ever a lower bound, and used as one where it has replaced ours.
        """
        offsets = {origin: commit.offset for origin, commit in self.commits.items()}
        beyond = {o: c.beyond for o, c in self.commits.items() if c.beyond is not None}
        return Position(self.token_epoch, self.cluster, offsets, beyond)

    @property
    def plain(self) -> bool:
        """Say whether a group that knows no tokens has committed here."""
        return any(commit.token is None for commit in self.commits.values())


@dataclass(frozen=True, slots=True)
class Read:
    """The commits carry the current token: read on from them."""


@dataclass(frozen=True, slots=True)
class Retoken:
    """This cluster is home from an earlier epoch and active again: commit the current token."""


@dataclass(frozen=True, slots=True)
class Release:
    """This cluster is home but not active: commit the current token here, and stop."""


@dataclass(frozen=True, slots=True)
class Take:
    """``source`` has released to this cluster: move its position here under the current token."""

    source: ClusterAlias


@dataclass(frozen=True, slots=True)
class Recover:
    """``lost`` was home and cannot be asked: go on by what its readers have reported."""

    lost: ClusterAlias


@dataclass(frozen=True, slots=True)
class Reset:
    """No cluster has evidence: ``auto.offset.reset`` decides, once, for all logs."""


@dataclass(frozen=True, slots=True)
class Rest:
    """The active cluster is home under the current token: nothing to do until the next epoch."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Somebody else must act first; look again."""

    reason: str


Duty: TypeAlias = Read | Retoken | Release | Take | Recover | Reset | Rest | Wait


@dataclass(frozen=True, slots=True)
class Home:
    """Where the newest token is, and to whom that cluster has released, if it has."""

    cluster: ClusterAlias
    epoch: int
    released_to: ClusterAlias | None


def home_of(vectors: Mapping[ClusterAlias, Vector], epochs: tuple[Epoch, ...]) -> Home | None:
    """Return the group's home in a logical partition, None for a group without commits."""
    activated = {epoch.counter: epoch.cluster for epoch in epochs}
    tokens = [(v.token_epoch, cluster) for cluster, v in vectors.items() if v.token_epoch]
    if tokens:
        epoch, cluster = max(tokens, key=lambda t: (t[0], activated.get(t[0]) == t[1]))
        to = activated.get(epoch)
        return Home(cluster, epoch, None if to == cluster else to)
    plain = [v for v in vectors.values() if v.plain]
    if not plain:
        return None
    first = epochs[0].cluster
    best = max(plain, key=lambda v: (v.cluster in v.commits, v.cluster == first))
    return Home(best.cluster, 0, None)


def losses(epochs: tuple[Epoch, ...], unplanned: Iterable[int]) -> dict[int, ClusterAlias]:
    """Return, by counter of each unplanned epoch, the cluster that was lost when it began."""
    counters = frozenset(unplanned)
    pairs = pairwise(epochs)
    return {epoch.counter: before.cluster for before, epoch in pairs if epoch.counter in counters}


def _decided_alone(
    me: ClusterAlias,
    epochs: tuple[Epoch, ...],
    own: Vector,
    lost: Mapping[int, ClusterAlias],
) -> Duty | None:
    """Say what this cluster's commits decide without looking at the others.

    A home stays home until it overwrites its own token, so nobody else can be newer, unless it was
    lost since.
    """
    current = epochs[-1]
    if lost.get(current.counter) == me:
        return Rest()
    token = own.token_epoch
    if token > current.counter:
        return Wait("the state is older than the commits")
    activated = {epoch.counter: epoch.cluster for epoch in epochs}
    if not token or activated.get(token) != me:
        return None
    if any(counter > token and cluster == me for counter, cluster in lost.items()):
        return None
    if me != current.cluster:
        return Release()
    return Read() if token == current.counter else Retoken()


def duty(
    me: ClusterAlias,
    epochs: tuple[Epoch, ...],
    vectors: Mapping[ClusterAlias, Vector | None],
    unplanned: Iterable[int] = (),
) -> Duty:
    """Return what the owner of a logical partition on cluster ``me`` must do now.

    ``vectors`` has an entry per configured cluster, None where it could not be read. ``unplanned``
    are the counters of unplanned epochs.
    """
    lost = losses(epochs, unplanned)
    own = vectors.get(me)
    if own is None:
        return Wait(f"the commits on {me} are not read yet")
    alone = _decided_alone(me, epochs, own, lost)
    if alone is not None:
        return alone
    gone = lost.get(epochs[-1].counter)
    if gone is not None:
        return _after_loss(me, epochs, own, gone)
    unknown = [cluster for cluster, vector in vectors.items() if vector is None]
    known = {cluster: vector for cluster, vector in vectors.items() if vector is not None}
    home = home_of(known, epochs)
    # nothing that is not read can be newer than a token of the current epoch
    settled = home is not None and home.epoch >= epochs[-1].counter
    if unknown and len(epochs) > 1 and not settled:
        return Wait(f"the commits on {', '.join(unknown)} are not read yet")
    return _decided_together(me, epochs, known)


def _after_loss(
    me: ClusterAlias, epochs: tuple[Epoch, ...], own: Vector, lost: ClusterAlias
) -> Duty:
    """Say what follows from a cluster's own commits in an unplanned epoch: nobody releases."""
    if me != epochs[-1].cluster:
        return Rest()
    return Read() if own.token_epoch == epochs[-1].counter else Recover(lost)


def _decided_together(
    me: ClusterAlias, epochs: tuple[Epoch, ...], vectors: Mapping[ClusterAlias, Vector]
) -> Duty:
    current = epochs[-1]
    home = home_of(vectors, epochs)
    if home is None:
        return Reset() if me == current.cluster else Wait("no cluster has commits yet")
    if home.epoch > current.counter:
        return Wait("the state is older than the commits")
    if home.cluster == me and home.released_to is None:
        return Retoken() if me == current.cluster else Release()
    if home.released_to == me:
        return Take(home.cluster)
    if home.released_to is None:
        moved = home.epoch == current.counter
        return Rest() if moved else Wait(f"{home.cluster} has not released yet")
    return Wait(f"{home.cluster} has released to {home.released_to}")
