"""`Admin` on real clusters: topics, offsets and commits that a run asks for."""

import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined] # public, missing in __all__
    AdminClient,
    NewPartitions,
)
from confluent_kafka.admin import NewTopic as KafkaNewTopic  # type: ignore[attr-defined] # as above

from clientlib.protocol.errors import RemoteError, TimedOutError
from clientlib.protocol.types import ClusterAlias, Offset, Partition
from clientlib.settings import Settings
from failover.core.snapshot import Commit
from failover.io.kafka_admin import ClusterAdmin, NotReadyError, Offsets, quiet, translated
from failover.io.ports import NewTopic
from failover.io.retry import create_topics, leader

# What decides how long records live and which are taken. MM2 keeps the copies' settings in step.
_SHARED = (
    "cleanup.policy",
    "delete.retention.ms",
    "max.message.bytes",
    "min.compaction.lag.ms",
    "retention.bytes",
    "retention.ms",
)
_SET_ON_TOPIC = 1
_GONE_S = 0.3  # the operator says that it is gone: a short look is enough to contradict


class KafkaSwitchAdmin:
    """See `Admin`. Connections are made when first needed; ``timeout_s`` bounds each wait."""

    def __init__(self, settings: Settings, *, timeout_s: float = 5.0) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._admins: dict[ClusterAlias, ClusterAdmin] = {}
        self._writers: dict[ClusterAlias, AdminClient] = {}

    def partitions(self, alias: ClusterAlias) -> Mapping[str, int]:
        """See `Admin`."""
        return self._admin(alias).listing().partitions

    def cluster_id(self, alias: ClusterAlias) -> str:
        """See `Admin`."""
        return self._admin(alias).listing().cluster_id

    def probe(self, alias: ClusterAlias, within_s: float) -> Callable[[], bool]:
        """See `Admin`: on a thread of its own, so that the answer costs no time of the run."""
        answers: list[bool] = []

        def ask() -> None:
            cluster = self._settings.cluster(alias)
            try:
                ClusterAdmin(cluster, within_s, refused_s=_GONE_S).listing()
            except NotReadyError:
                answers.append(True)  # it said so
            except RemoteError:
                answers.append(False)
            else:
                answers.append(True)

        thread = threading.Thread(target=ask, name=f"probe-{alias}", daemon=True)
        thread.start()

        def wait() -> bool:
            thread.join(within_s + 1.0)
            return answers == [True]

        return wait

    def starts(
        self, alias: ClusterAlias, partitions: Iterable[Partition]
    ) -> Mapping[Partition, Offset]:
        """See `Admin`."""
        return self._offsets(alias, partitions, ClusterAdmin.starts)

    def ends(
        self, alias: ClusterAlias, partitions: Iterable[Partition]
    ) -> Mapping[Partition, Offset]:
        """See `Admin`."""
        return self._offsets(alias, partitions, ClusterAdmin.ends)

    def stable_ends(
        self, alias: ClusterAlias, partitions: Iterable[Partition]
    ) -> Mapping[Partition, Offset]:
        """See `Admin`."""
        return self._offsets(alias, partitions, partial(ClusterAdmin.ends, committed=True))

    def topic_settings(
        self, alias: ClusterAlias, topics: Iterable[str]
    ) -> Mapping[str, Mapping[str, str]]:
        """See `Admin`: only what was set on the topic itself, of the settings that copies share."""
        admin = self._admin(alias)
        futures = admin.topic_configs(topics)
        found = {t: admin.wait(f, f"settings of {t}") for t, f in futures.items()}
        return {
            topic: {
                name: str(entry.value)
                for name, entry in config.items()
                if name in _SHARED and int(entry.source) == _SET_ON_TOPIC
            }
            for topic, config in found.items()
        }

    def create_topics(self, alias: ClusterAlias, topics: Mapping[str, NewTopic]) -> None:
        """See `Admin`. Retried while the cluster does not answer; existing topics are no error."""
        for attempt in create_topics():
            with attempt:
                self._create(alias, topics)
                self._grow(alias, topics)

    def commits(
        self, alias: ClusterAlias, groups: Iterable[str]
    ) -> Mapping[str, Mapping[Partition, Commit]]:
        """See `Admin`."""
        return self._admin(alias).commits(groups)

    def _offsets(
        self,
        alias: ClusterAlias,
        partitions: Iterable[Partition],
        ask: Callable[[ClusterAdmin, list[Partition]], Offsets],
    ) -> dict[Partition, Offset]:
        admin, wanted = self._admin(alias), list(partitions)
        found = leader()(lambda: admin.resolve_offsets(ask(admin, wanted)))
        return {part: offset for part, (offset, _) in found.items()}

    def _create(self, alias: ClusterAlias, topics: Mapping[str, NewTopic]) -> None:
        have = self.partitions(alias)
        factor = self._settings.control.replication_factor
        new = [
            KafkaNewTopic(name, topic.partitions, factor, config=dict(topic.settings))
            for name, topic in topics.items()
            if name not in have
        ]
        if new:
            self._finish(alias, self._writer(alias).create_topics(new))
        self._wait_for(alias, topics)

    def _grow(self, alias: ClusterAlias, topics: Mapping[str, NewTopic]) -> None:
        have = self.partitions(alias)
        more = [
            NewPartitions(name, topic.partitions)
            for name, topic in topics.items()
            if have.get(name, 0) < topic.partitions
        ]
        if more:
            self._finish(alias, self._writer(alias).create_partitions(more))

    def _wait_for(self, alias: ClusterAlias, topics: Iterable[str]) -> None:
        missing = sorted(set(topics) - set(self.partitions(alias)))
        if missing:
            raise TimedOutError(f"cluster {alias}: {', '.join(missing)} not visible yet")

    def _finish(self, alias: ClusterAlias, futures: Mapping[str, object]) -> None:
        admin = self._admin(alias)
        for name, future in futures.items():
            try:
                future.result(timeout=self._timeout_s)  # type: ignore[attr-defined] # a Future
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise translated(admin.cluster, error) from error
            except TimeoutError as error:
                raise TimedOutError(f"cluster {alias}: {name} was not created in time") from error

    def _admin(self, alias: ClusterAlias) -> ClusterAdmin:
        if alias not in self._admins:
            self._admins[alias] = ClusterAdmin(self._settings.cluster(alias), self._timeout_s)
        return self._admins[alias]

    def _writer(self, alias: ClusterAlias) -> AdminClient:
        if alias not in self._writers:
            self._writers[alias] = AdminClient(quiet(self._settings.cluster(alias).client))
        return self._writers[alias]
