"""One client's producers, one for each cluster."""

from collections.abc import Callable, Iterable, Iterator

from confluent_kafka import KafkaException, Producer

from clientlib.protocol.types import ClusterAlias


class Handles:
    """``make`` gives the handle of a cluster, also one in place of another.

    A handle of a ``transactional`` producer may be given up by librdkafka; it is the transactions'
    business to say so, since it may be made anew.
    """

    def __init__(
        self,
        aliases: Iterable[ClusterAlias],
        make: Callable[[ClusterAlias], Producer],
        *,
        transactional: bool,
    ) -> None:
        self._make, self._transactional = make, transactional
        self._by = {alias: make(alias) for alias in aliases}
        self.renewed: Callable[[ClusterAlias], None] = lambda _: None
        """Called when a cluster's handle is a new one."""

    def __iter__(self) -> Iterator[Producer]:
        return iter(self._by.values())

    def __contains__(self, cluster: ClusterAlias) -> bool:
        return cluster in self._by

    def of(self, cluster: ClusterAlias) -> Producer:
        """Return the handle of a cluster. Raises RuntimeError when it is closed."""
        if cluster not in self._by:
            raise RuntimeError("Producer has been closed")
        return self._by[cluster]

    def polled(self, cluster: ClusterAlias, wait: float) -> int:
        """Serve what a cluster has reported; returns how much."""
        try:
            return self._by[cluster].poll(wait)
        except KafkaException as error:
            self._check_given_up(error)
            return 0

    def serve_standbys(self, target: ClusterAlias) -> None:
        """Serve the events of the clusters that are not written to."""
        for alias in self._by:
            if alias != target:
                self.polled(alias, 0)

    def flushed(self, cluster: ClusterAlias, wait: float) -> int:
        """Wait for what was handed over to a cluster; returns how much is left."""
        handle = self._by[cluster]
        try:
            handle.flush(wait)
        except KafkaException as error:
            self._check_given_up(error)
        return len(handle)

    def _check_given_up(self, error: KafkaException) -> None:
        if not self._transactional or not error.args[0].fatal():
            raise error

    def close(self) -> None:
        """Let go of all handles, which ends them, but for one that owes reports.

        confluent-kafka's own ``close`` waits for reports, and for an abort, without a limit.
        """
        for cluster in tuple(self._by):
            self.polled(cluster, 0)
            if not len(self._by[cluster]):
                del self._by[cluster]

    def renew(self, cluster: ClusterAlias) -> None:
        """Make a cluster's handle anew; what was on its way is reported, or taken back."""
        handle = self._by[cluster]
        handle.purge()
        while len(handle):
            self.polled(cluster, 0.01)
        # what it may still have on the wire goes with it
        self._by[cluster] = self._make(cluster)
        self.renewed(cluster)
