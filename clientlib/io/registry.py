"""Registers a client in the clients topic of the active cluster, and keeps it registered."""

import logging
import time
from typing import Any

from confluent_kafka import KafkaException, Producer

from clientlib.io.kafka import Renewed, helper_conf
from clientlib.protocol.clients import Client
from clientlib.protocol.types import ClusterAlias
from clientlib.settings import Settings

log = logging.getLogger("clientlib.registry")

_ACK_S = 1.0


class Registry:
    """Writes one client's record on one cluster. For one thread.

    A registration counts only when it was acknowledged: register, be acknowledged, read the
    state, then write. It lapses ``ttl_ms`` after the last acknowledgement: whoever was stopped for
    that long must register again before it writes, since nobody has waited for it.
    """

    def __init__(self, settings: Settings, cluster: ClusterAlias) -> None:
        self._topic = settings.control.clients_topic
        self._cluster = settings.cluster(cluster)
        self._producer = Renewed(self._make)
        self._last: Client | None = None
        self._renewed = 0.0
        self.since: float | None = None
        """When this unbroken registration was first acknowledged (monotonic seconds)."""

    @property
    def valid_until(self) -> float:
        """When the registration ends unless it is renewed (monotonic seconds)."""
        return self._renewed + self._last.ttl_ms / 1000 if self._last is not None else 0.0

    def lapsed(self) -> bool:
        """Say whether the registration has ended, so that an orchestrator does not wait for it."""
        return time.monotonic() > self.valid_until

    def keep(self, client: Client) -> bool:
        """Write the record if it changed or grew old. True while it stands acknowledged."""
        if self.lapsed():
            self.since = None
        elif self._last == client and time.monotonic() < self._renewed + client.ttl_ms / 3000:
            return True
        begun = time.monotonic()
        if not self._write(client.key(), client.value()):
            return False
        self._last, self._renewed = client, begun
        if self.since is None:
            self.since = time.monotonic()
        return True

    def publish(self, key: bytes, value: bytes) -> bool:
        """Write another record of this client; says whether it was acknowledged."""
        return self._write(key, value)

    def close(self) -> None:
        """Delete the record (a client that closes is not waited for) and the connection."""
        if self._last is not None:
            self._write(self._last.key(), None)
        self._last = None
        self._producer.close()

    def _write(self, key: bytes, value: bytes | None) -> bool:
        answers: list[Any] = []
        try:
            producer = self._producer.get()
            producer.produce(
                self._topic, value, key, on_delivery=lambda error, _message: answers.append(error)
            )
            producer.flush(_ACK_S)
        except (KafkaException, BufferError) as error:
            log.debug("%s: registration failed: %s", self._cluster.alias, error)
        acknowledged = answers == [None]
        self._producer.says(worked=acknowledged)
        if not acknowledged:
            log.debug("%s: registration not acknowledged: %s", self._cluster.alias, answers)
        return acknowledged

    def _make(self) -> Producer:
        settings = {"linger.ms": 0, "acks": "all", "message.timeout.ms": 3000}
        return Producer(helper_conf(self._cluster, "registry", **settings))
