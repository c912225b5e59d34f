"""One cluster's AdminClient, kept open: questions asked in parallel, answers as our own values.

An AdminClient that is collected before its futures are done cancels them, so whoever asks keeps
the object for as long as it waits. Errors of the Kafka client leave this module as ours.
"""

import logging
import threading
from collections.abc import Container, Iterable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeAlias, TypeVar

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but not in __all__
    AdminClient,
    ConfigResource,
    OffsetSpec,
    ResourceType,
)

from clientlib.protocol.errors import (
    ClusterUnreachableError,
    ConfigurationError,
    FailoverError,
    RemoteError,
    TimedOutError,
)
from clientlib.protocol.types import Offset, Partition
from clientlib.settings import COORDINATOR_S, Cluster
from failover.core.snapshot import Commit, GroupInfo, Member

_T = TypeVar("_T")
Offsets: TypeAlias = "Mapping[Partition, Future[Any]]"
"""Offsets that were asked for; `ClusterAdmin.resolve_offsets` waits for them."""

_POLL_S = 0.01
_KNOWN_S = 300.0  # librdkafka keeps leaders for metadata.max.age.ms, 900 s
# A broker that is restarting refuses connections for a moment: only a longer refusal counts.
_REFUSED_S = 1.0
_UNREACHABLE = frozenset(
    {
        KafkaError._TRANSPORT,  # noqa: SLF001 - confluent-kafka's public constants begin so
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001 - as above
        KafkaError._RESOLVE,  # noqa: SLF001 - as above
        KafkaError._TIMED_OUT,  # noqa: SLF001 - as above
        KafkaError._TIMED_OUT_QUEUE,  # noqa: SLF001 - as above
        KafkaError._WAIT_COORD,  # noqa: SLF001 - as above
    }
)
_REFUSED = frozenset(
    {
        KafkaError._INVALID_ARG,  # noqa: SLF001 - as above
        KafkaError._AUTHENTICATION,  # noqa: SLF001 - as above
        KafkaError._SSL,  # noqa: SLF001 - as above
        KafkaError.SASL_AUTHENTICATION_FAILED,
    }
)
_NOT_READY = frozenset(
    {
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._NOENT,  # noqa: SLF001 - as above: no partition has a leader
    }
)
_QUIET = logging.getLogger("failover.kafka")
_QUIET.addHandler(logging.NullHandler())


class NotReadyError(TimedOutError):
    """The broker asks to try again: a leader is elected, a coordinator loads, a topic is new."""


def translated(cluster: Cluster, error: KafkaException) -> FailoverError:
    """Return our error for the Kafka client's: what happened, and to which cluster."""
    cause: KafkaError = error.args[0]
    where = f"cluster {cluster.alias} ({cluster.bootstrap})"
    if cause.code() in _UNREACHABLE:
        return ClusterUnreachableError(f"{where} did not answer: {cause.str()}")
    if cause.code() in _REFUSED:
        return ConfigurationError(f"{where} cannot be used as configured: {cause.str()}")
    if cause.code() in _NOT_READY:
        return NotReadyError(f"{where} is not ready yet: {cause.name()}: {cause.str()}")
    return RemoteError(f"{where}: {cause.name()}: {cause.str()}")


def quiet(client: Mapping[str, Any]) -> dict[str, Any]:
    """Return client settings that log to ``failover.kafka`` instead of the operator's terminal."""
    return {"log_level": 3, **client, "logger": _QUIET}


@dataclass(frozen=True, slots=True)
class Listing:
    """What a cluster says of itself: its id, and the number of partitions by topic name."""

    cluster_id: str
    partitions: Mapping[str, int]


class _Errors:
    """What a connection has complained of; apart from its owner, so that they are no cycle.

    A Kafka client that only the garbage collector can find ends whenever that runs, in whichever
    thread, in the middle of anything.
    """

    def __init__(self) -> None:
        self.down_at: float | None = None
        self.last = ""

    def __call__(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - a public constant
            self.down_at = self.down_at or monotonic()
        else:
            self.last = str(error.str())


class ClusterAdmin:
    """Reads one cluster. ``timeout_s`` bounds every wait of one observation.

    ``refused_s``: for how long all brokers must have refused before it counts as unreachable.

    Raises ConfigurationError when librdkafka refuses the settings.
    """

    def __init__(
        self, cluster: Cluster, timeout_s: float = 5.0, *, refused_s: float = _REFUSED_S
    ) -> None:
        self.cluster = cluster
        self._refused_s = refused_s
        self.timeout_s = timeout_s
        self._errors = _Errors()
        self._known: dict[str, float] = {}  # topics whose leaders librdkafka has, and until when
        conf = {"socket.connection.setup.timeout.ms": 3000, **quiet(cluster.client)}
        conf["allow.auto.create.topics"] = False  # it may be asked for one that is not there
        try:
            self._admin = AdminClient(conf | {"error_cb": self._errors})
        except KafkaException as error:
            raise translated(cluster, error) from error

    def wait(self, future: "Future[_T]", what: str) -> _T:
        """Return a future's answer, or say which question about which cluster failed.

        Raises ClusterUnreachableError as soon as all brokers have refused for a second,
        TimedOutError for a live cluster that is slow.
        """
        begun = monotonic()
        deadline = begun + self.timeout_s
        while True:
            try:
                answer = future.result(timeout=_POLL_S)
            except FutureTimeoutError:
                self._admin.poll(0)
            except KafkaException as error:
                raise translated(self.cluster, error) from error
            else:
                self._errors.down_at = None
                return answer
            down_at, last = self._errors.down_at, self._errors.last
            # brokers that have refused before may be back since: nobody says so
            if down_at and monotonic() - max(down_at, begun) > self._refused_s:
                raise ClusterUnreachableError(
                    f"cluster {self.cluster.alias} ({self.cluster.bootstrap}) is unreachable: "
                    f"{last or 'all brokers are down'}"
                )
            if monotonic() > deadline:
                raise TimedOutError(
                    f"cluster {self.cluster.alias} ({self.cluster.bootstrap}) did not answer in "
                    f"{self.timeout_s:g} s: {what} {last}".rstrip()
                )

    def listing(self) -> Listing:
        """Return the cluster's id and its topics; librdkafka has their leaders then.

        Raises NotReadyError where the cluster names no broker, as one does that has just come back.
        """
        found: Listing = self.wait(self._listed(), "its topics")
        self._known = dict.fromkeys(found.partitions, monotonic() + _KNOWN_S)
        return found

    def operations(self) -> frozenset[str] | None:
        """Return what we may do with the cluster; None if it does not say. After a `listing` only.

        librdkafka ends the process where a cluster answers this with no broker
        (``rd_kafka_admin_response_parse: Assertion `rko_result'``), see decision 23.
        """
        asked = self._admin.describe_cluster(
            include_authorized_operations=True, request_timeout=self.timeout_s
        )
        allowed = self.wait(asked, "what we may do").authorized_operations
        return None if allowed is None else frozenset(one.name for one in allowed)

    def starts(self, partitions: Iterable[Partition]) -> Offsets:
        """Ask for the log starts."""
        return self.offsets(partitions, OffsetSpec._earliest)  # noqa: SLF001 - its getter is untyped

    def ends(self, partitions: Iterable[Partition], *, committed: bool = False) -> Offsets:
        """Ask for the high watermarks, or for the last stable offsets (``committed``)."""
        return self.offsets(partitions, OffsetSpec._latest, committed=committed)  # noqa: SLF001 - as above

    def newest(self, partitions: Iterable[Partition]) -> Offsets:
        """Ask for the records with the highest timestamp."""
        return self.offsets(partitions, OffsetSpec._max_timestamp)  # noqa: SLF001 - as above

    def offsets(
        self, partitions: Iterable[Partition], spec: Any, *, committed: bool = False
    ) -> Offsets:
        """Ask for one offset of each partition: one request per broker.

        Topics of which librdkafka knows no leader are looked up first, for it may end the process
        where it has to do that itself; one that is not there is not asked for (decision 23).
        """
        asked = list(partitions)
        topics = {p.topic for p in asked}
        known = self._looked_up(topics)
        errors = self._errors_of(topic for topic in topics if topic not in known)
        missing: Offsets = {p: _failed(errors[p.topic]) for p in asked if p.topic in errors}
        wanted = {TopicPartition(p.topic, p.number): spec for p in asked if p.topic in known}
        if not wanted:
            return missing
        level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        futures = self._admin.list_offsets(
            wanted, isolation_level=level, request_timeout=self.timeout_s
        )
        return {**missing, **{Partition(p.topic, p.partition): f for p, f in futures.items()}}

    def _looked_up(self, topics: Iterable[str]) -> Container[str]:
        """Return topics that exist, these among them if they do; librdkafka has their leaders."""
        if any(self._known.get(topic, 0.0) < monotonic() for topic in topics):
            return self.listing().partitions
        return self._known

    def _listed(self) -> "Future[Listing]":
        """List on a thread of its own: ``list_topics`` waits in full, also where all refuse."""
        future: Future[Listing] = Future()

        def ask() -> None:
            try:
                future.set_result(self._list())
            except KafkaException as error:
                future.set_exception(error)

        threading.Thread(target=ask, name="list-topics", daemon=True).start()
        return future

    def _list(self) -> Listing:
        found = self._admin.list_topics(timeout=self.timeout_s)
        if not found.brokers:
            code = KafkaError._NOENT  # noqa: SLF001 - a public constant
            raise KafkaException(KafkaError(code, "it names no broker"))
        topics = {name: len(one.partitions) for name, one in found.topics.items() if not one.error}
        return Listing(str(found.cluster_id), topics)

    def _errors_of(self, topics: Iterable[str]) -> dict[str, KafkaException]:
        """Return what a cluster says of topics that it does not list: they may be hidden.

        When it does not answer for one it is not asked for the others.
        """
        left, errors = sorted(topics), dict[str, KafkaException]()
        while left:
            topic = left[-1]
            try:
                found = self._admin.list_topics(topic, timeout=self.timeout_s).topics.get(topic)
            except KafkaException as error:
                return {**errors, **dict.fromkeys(left, error)}
            missing = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, f"{topic} is not there yet")
            errors[left.pop()] = KafkaException((found and found.error) or missing)
        return errors

    def resolve_offsets(self, futures: Offsets) -> dict[Partition, tuple[Offset, int]]:
        """Return (offset, timestamp in ms or -1) by partition."""
        try:
            answers = {p: self.wait(f, f"offsets of {p.topic}") for p, f in futures.items()}
        except RemoteError:
            self._known = {}  # librdkafka has forgotten the leader
            raise
        return {p: (answer.offset, answer.timestamp) for p, answer in answers.items()}

    def topic_configs(self, topics: Iterable[str]) -> "dict[str, Future[Any]]":
        """Ask for the settings of topics."""
        resources = [ConfigResource(ResourceType.TOPIC, topic) for topic in topics]
        if not resources:
            return {}
        futures = self._admin.describe_configs(resources, request_timeout=self.timeout_s)
        return {resource.name: future for resource, future in futures.items()}

    def group_ids(self) -> "Future[Any]":
        """Ask for the names of all consumer groups."""
        return self._admin.list_consumer_groups(request_timeout=self.timeout_s)

    def groups(self, names: Iterable[str]) -> dict[str, GroupInfo]:
        """Return state, members and commits of groups; all asked together."""
        described = self._described(names)
        commits = self._commits(described)
        return {
            group: GroupInfo(
                state=state.state.name,
                members=tuple(_member(member) for member in state.members),
                commits=commits[group],
            )
            for group, state in described.items()
        }

    def commits(self, names: Iterable[str]) -> dict[str, dict[Partition, Commit]]:
        """Return the commits of groups; partitions without a commit are left out."""
        return self._commits(self._described(names))

    def _described(self, names: Iterable[str]) -> dict[str, Any]:
        wanted = list(names)
        if not wanted:
            return {}
        futures = self._admin.describe_consumer_groups(wanted, request_timeout=COORDINATOR_S)
        return {g: self.wait(futures[g], f"description of group {g}") for g in wanted}

    def _commits(self, described: Iterable[str]) -> dict[str, dict[Partition, Commit]]:
        """Ask for the commits of groups that have just been described by their coordinators.

        A broker that is not their coordinator, such as one that has just started, answers with an
        error for which librdkafka ends the process: it looks for the AdminClient's own group, and
        that has none (``rd_kafka_handle_OffsetFetch`` of 2.15.1 and 2.16.1).
        """
        asked = {
            group: self._admin.list_consumer_group_offsets(  # which takes one group
                [ConsumerGroupTopicPartitions(group)], request_timeout=COORDINATOR_S
            )[group]
            for group in described
        }
        answers = {g: self.wait(future, f"commits of group {g}") for g, future in asked.items()}
        return {group: _commits_of(answer) for group, answer in answers.items()}


def _failed(error: KafkaException) -> "Future[Any]":
    future: Future[Any] = Future()
    future.set_exception(error)
    return future


def _commits_of(answer: Any) -> dict[Partition, Commit]:
    return {
        Partition(p.topic, p.partition): Commit(p.offset, p.metadata or "")
        for p in answer.topic_partitions
        if p.offset >= 0 and not p.error
    }


def _member(member: Any) -> Member:
    assigned = member.assignment.topic_partitions if member.assignment else ()
    return Member(
        id=member.member_id,
        client_id=member.client_id,
        host=member.host,
        assignment=tuple(Partition(p.topic, p.partition) for p in assigned),
    )
