"""Synchronous commits that do not hold the application up when their cluster dies meanwhile.

confluent-kafka's synchronous commit has no timeout: with a dead cluster it blocks until that is
back, and only the thread inside it may use the handle. So it runs on a thread of its own, and
whoever waits for it goes on when the time for it is over, or as soon as there is no hope: the
cluster was given up, or the handle does not hear it any more. Until it has ended the handle is
busy: nobody else may call it.

In a callback of that handle no other thread gets in; there the cluster is asked first whether it
lives. What is left is the time of one request: a cluster that dies in it holds the callback up.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from queue import SimpleQueue
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from clientlib.io.kafka import Threads
from clientlib.io.ports import MemberPort
from clientlib.protocol.types import ClusterAlias

_LOOK_S = 0.005
_Work = tuple["Future[Any]", MemberPort, list[Any]]


class Patience:
    """Waits for commits on all clusters; ``hopeless`` says whether one is not to be waited for.

    ``answers`` asks a cluster, now, whether it lives.
    """

    def __init__(
        self, hopeless: Callable[[ClusterAlias], bool], answers: Callable[[ClusterAlias], bool]
    ) -> None:
        self._hopeless, self._answers = hopeless, answers
        self._threads = Threads("failover-commit")
        self._queues: dict[ClusterAlias, SimpleQueue[_Work | None]] = {}
        self._stuck: dict[ClusterAlias, Future[Any]] = {}
        self._since: dict[ClusterAlias, float] = {}

    def busy(self, cluster: ClusterAlias) -> bool:
        """Say whether a commit that nobody waits for is still inside the cluster's handle."""
        stuck = self._stuck.get(cluster)
        if stuck is not None and stuck.done():
            del self._stuck[cluster]
            return False
        return stuck is not None

    def inside_for(self, cluster: ClusterAlias) -> float:
        """Return for how many seconds a commit has been inside the handle by now, 0 for none."""
        since = self._since.get(cluster)
        return time.monotonic() - since if since is not None else 0.0

    def commit(
        self,
        cluster: ClusterAlias,
        member: MemberPort,
        offsets: list[Any],
        within: float | None = None,
    ) -> Any:
        """Commit and wait, ``within`` seconds at most or as long as it takes.

        Raises KafkaException: _TIMED_OUT when that is over, or when there is no hope.
        """
        if self.busy(cluster) and (within is not None or self._hopeless(cluster)):
            raise no_answer(cluster)
        future: Future[Any] = Future()
        self._queue(cluster).put((future, member, offsets))
        until = float("inf") if within is None else time.monotonic() + within
        while True:
            try:
                return future.result(timeout=_LOOK_S)
            except FutureTimeoutError:
                if self._hopeless(cluster) or time.monotonic() >= until:
                    self._stuck[cluster] = future
                    raise no_answer(cluster) from None

    def commit_inside(self, cluster: ClusterAlias, member: MemberPort, offsets: list[Any]) -> Any:
        """Commit and wait, in a callback of that member.

        Raises KafkaException: _TIMED_OUT when the cluster does not answer; the commit is on its way
        then, before anything else that the member tells its group.
        """
        if self._answers(cluster):
            return member.commit(offsets=offsets, asynchronous=False)
        member.commit(offsets=offsets, asynchronous=True)
        raise no_answer(cluster)

    def forget(self, cluster: ClusterAlias) -> Callable[[], object]:
        """Go on with another handle; what is returned waits until nobody is inside the old one."""
        queue, stuck = self._queues.pop(cluster, None), self._stuck.pop(cluster, None)
        self._since.pop(cluster, None)
        if queue is not None:
            queue.put(None)
        return stuck.exception if stuck is not None else lambda: None

    def close(self) -> None:
        """End the threads; one that is stuck ends with its process."""
        for queue in self._queues.values():
            queue.put(None)

    def _queue(self, cluster: ClusterAlias) -> "SimpleQueue[_Work | None]":
        if cluster not in self._queues:
            queue = self._queues[cluster] = SimpleQueue()
            self._threads.start(cluster, lambda: self._work_off(cluster, queue))
        return self._queues[cluster]

    def _work_off(self, cluster: ClusterAlias, queue: "SimpleQueue[_Work | None]") -> None:
        while (work := queue.get()) is not None:
            future, member, offsets = work
            since = self._since[cluster] = time.monotonic()
            try:
                future.set_result(member.commit(offsets=offsets, asynchronous=False))
            except BaseException as error:  # noqa: BLE001 - raised where the future is waited for
                future.set_exception(error)
            if self._since.get(cluster) == since:  # else another handle's is inside
                del self._since[cluster]


def no_answer(cluster: ClusterAlias) -> KafkaException:
    """Return the error of a commit that its cluster does not answer."""
    reason = f"{cluster} does not answer a commit that is on its way"
    return KafkaException(KafkaError(KafkaError._TIMED_OUT, reason))  # noqa: SLF001


class Direct:
    """Commits on the caller's thread, as long as it takes."""

    def busy(self, cluster: ClusterAlias) -> bool:
        """Never."""
        del cluster
        return False

    def commit(
        self,
        cluster: ClusterAlias,
        member: MemberPort,
        offsets: list[Any],
        within: float | None = None,
    ) -> Any:
        """Commit and wait. Raises KafkaException."""
        del cluster, within
        return member.commit(offsets=offsets, asynchronous=False)

    def commit_inside(self, cluster: ClusterAlias, member: MemberPort, offsets: list[Any]) -> Any:
        """Commit and wait. Raises KafkaException."""
        return self.commit(cluster, member, offsets)

    def close(self) -> None:
        """Nothing to end."""
