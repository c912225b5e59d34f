"""Where a partition ends, asked of an AdminClient that has looked up its leader before.

``list_offsets`` ends the process now and then where librdkafka has no leader of the topic in its
cache: it sets about a second attempt when metadata arrive, and where they arrive while the first
one is still being prepared, that goes on with what the second has freed
(``rd_kafka_topic_partition_list_query_leaders_async`` of librdkafka 2.16.0; eight threads that ask
for topics it does not know crash within seconds on a busy machine). See decision 23.
"""

import threading
import time
from collections.abc import Callable

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

KNOWN_S = 300.0
"""Leaders are looked up again after this; librdkafka keeps them for ``metadata.max.age.ms``, 900 s.
"""

WITHOUT_CREATION = {"allow.auto.create.topics": False}
"""What an AdminClient needs that asks for the metadata of one topic, which may not exist."""


class TopicEnd:
    """Asks one handle where one partition ends; any thread may."""

    def __init__(
        self,
        admin: AdminClient,
        partition: TopicPartition,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._admin, self._partition, self._now = admin, partition, now
        self._lock = threading.Lock()
        self._known_until = 0.0

    def ask(self, within: float) -> int:
        """Return the LSO; waits ``within`` seconds for each of two answers.

        The LSO, because an open transaction of a dead orchestrator hides what is behind it. A
        broker that goes down answers -1, and no error. Raises KafkaException, TimeoutError.
        """
        if not self._lock.acquire(timeout=within):
            raise TimeoutError
        try:
            if self._now() >= self._known_until:
                self._look_up(within)
            return self._ask(within)
        except (KafkaException, TimeoutError):
            # and after a restart of the broker it goes on with the old leader epoch for ever
            # (FENCED_LEADER_EPOCH), unless somebody asks it for metadata
            self._known_until = 0.0
            raise
        finally:
            self._lock.release()

    def _look_up(self, within: float) -> None:
        topic = self._partition.topic
        found = self._admin.list_topics(topic, timeout=within).topics[topic]
        if found.error is not None:
            raise KafkaException(found.error)
        self._known_until = self._now() + KNOWN_S

    def _ask(self, within: float) -> int:
        """Ask; the request ends when we do, so that no late error empties the cache again."""
        wanted = {self._partition: OffsetSpec.latest()}  # type: ignore[no-untyped-call]  # confluent-kafka's own gap
        asked = self._admin.list_offsets(
            wanted, request_timeout=within, isolation_level=IsolationLevel.READ_COMMITTED
        )
        return int(asked[self._partition].result(timeout=within).offset)
