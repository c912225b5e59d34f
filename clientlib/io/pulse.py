"""Finds handles that do not hear their cluster any more, though it lives.

A cluster whose brokers have all just come back names none of them for a moment: each is still
fenced. librdkafka, from 2.10 on, then forgets every broker that it knew, and where its own threads
race it never looks for one again (its issue 5301). Such a handle has no connection for the rest of
its life: the member leaves its group, and commits wait for a coordinator for ever. It can only be
replaced, and that is told by asking: it answers _TRANSPORT while the cluster answers others.
"""

import time
from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException

from clientlib.protocol.types import ClusterAlias

ASK_EVERY_S = 2.0
ASK_S = 1.0
"""How long a question waits for an answer."""
SLICE_S, _PAUSE_S = 0.02, 0.1
"""For how long a question keeps others out of a handle, and then lets them in."""
DEAF_AFTER_S = 12.0
"""Longer than librdkafka pauses between two attempts to connect (10 s at most, by default)."""


class Pulse:
    """What the handles of one client, one for each cluster, have answered.

    ``lives`` says whether a cluster has answered others since an instant (monotonic seconds).
    """

    def __init__(
        self,
        lives: Callable[[ClusterAlias, float], bool],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lives, self._now = lives, now
        self._silent_since: dict[ClusterAlias, float] = {}

    @property
    def silent(self) -> frozenset[ClusterAlias]:
        """The clusters that live and have not been heard by their handle when it was last asked."""
        return frozenset(self._silent_since)

    def ask(self, cluster: ClusterAlias, question: Callable[[], object]) -> bool:
        """Ask something of a cluster by its handle; say whether that one is deaf.

        A cluster that answers nobody is not asked: nothing can be told by that, and it takes time.
        """
        asked = self._now()
        lived = self.lives(cluster, asked)
        if not lived or _heard(question) or not self.lives(cluster, asked):
            self.forget(cluster)
            return False
        since = self._silent_since.setdefault(cluster, asked)
        return self._now() - since >= DEAF_AFTER_S

    def lives(self, cluster: ClusterAlias, now: float | None = None) -> bool:
        """Say whether a cluster has answered others lately."""
        return self._lives(cluster, (self._now() if now is None else now) - ASK_EVERY_S)

    def forget(self, cluster: ClusterAlias) -> None:
        """Begin anew: the handle was replaced, or it hears."""
        self._silent_since.pop(cluster, None)


def in_slices(
    question: Callable[[float], object],
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Ask for `ASK_S` in all, and leave the handle to others in between; raises as it does.

    ``question`` takes the seconds that it may wait. From 2.16 on confluent-kafka lets one thread at
    a time into a consumer: while the cluster was dying, whoever polled waited for us, a second
    long. A slice is enough: an answer that takes longer is _TIMED_OUT, not _TRANSPORT.
    """
    deadline = now() + ASK_S
    while True:
        try:
            question(SLICE_S)
        except KafkaException as error:
            if not unconnected(error) or now() >= deadline:
                raise
        else:
            return
        sleep(_PAUSE_S)


def unconnected(error: KafkaException) -> bool:
    """Say whether an error is the one, of all, that says that there was no broker to ask."""
    return bool(error.args[0].code() == KafkaError._TRANSPORT)  # noqa: SLF001


def _heard(question: Callable[[], object]) -> bool:
    try:
        question()
    except KafkaException as error:
        return not unconnected(error)
    return True
