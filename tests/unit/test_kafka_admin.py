"""What is asked of Kafka in which order, where the wrong order ends the process."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from clientlib.protocol.errors import ClusterUnreachableError, RemoteError
from clientlib.protocol.types import Partition
from clientlib.settings import Cluster
from failover.core.snapshot import Commit
from failover.io import kafka_admin
from failover.io.kafka_admin import ClusterAdmin, Listing, NotReadyError
from failover.io.switch_admin import KafkaSwitchAdmin

COORDINATED = SimpleNamespace(state=SimpleNamespace(name="STABLE"), members=())


class Client:
    """confluent-kafka's AdminClient, of which coordinators answer for some groups only."""

    def __init__(self, _conf: Any) -> None:
        self.elsewhere: set[str] = set()
        self.topics = {"T", "U"}
        self.hidden: dict[str, int] = {}
        self.asked: list[tuple[str, str]] = []
        self.brokers = {1: "LEFT:9092"}
        self.error: int | None = None

    def poll(self, _timeout: float) -> None:
        """Nothing to serve."""

    def describe_consumer_groups(
        self, names: Sequence[str], *, request_timeout: float
    ) -> "dict[str, Future[Any]]":
        assert request_timeout > 60  # librdkafka sends what has timed out all the same
        return {name: self._answer("describe", name, COORDINATED) for name in names}

    def list_consumer_group_offsets(
        self, request: Sequence[Any], *, request_timeout: float
    ) -> "dict[str, Future[Any]]":
        assert request_timeout > 60
        (name,) = (one.group_id for one in request)
        found = SimpleNamespace(
            topic_partitions=[TopicPartition("T", 0, 7), TopicPartition("T", 1)]
        )
        return {name: self._answer("commits", name, found)}

    def list_topics(self, topic: str = "", *, timeout: float) -> Any:
        assert timeout > 0
        self.asked.append(("topics", topic))
        if self.error is not None:
            raise KafkaException(KafkaError(self.error))
        found = {t: SimpleNamespace(partitions=[0, 1], error=None) for t in self.topics}
        code = self.hidden.get(topic, KafkaError.UNKNOWN_TOPIC_OR_PART)
        missing = {topic: SimpleNamespace(partitions=[], error=KafkaError(code))} if topic else {}
        return SimpleNamespace(cluster_id="id", brokers=self.brokers, topics={**missing, **found})

    def describe_cluster(self, **_options: Any) -> "Future[Any]":
        assert self.brokers, "the process would end"
        allowed = [SimpleNamespace(name="DESCRIBE")]
        return self._answer("cluster", "", SimpleNamespace(authorized_operations=allowed))

    def list_offsets(
        self, wanted: Mapping[TopicPartition, Any], **_options: Any
    ) -> "dict[TopicPartition, Future[Any]]":
        found = SimpleNamespace(offset=7, timestamp=-1)
        return {tp: self._answer("offsets", tp.topic, found) for tp in wanted}

    def _answer(self, what: str, name: str, found: Any) -> "Future[Any]":
        self.asked.append((what, name))
        future: Future[Any] = Future()
        if name in self.elsewhere:
            future.set_exception(KafkaException(KafkaError(KafkaError.NOT_COORDINATOR)))
        else:
            future.set_result(found)
        return future


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    client = Client({})
    monkeypatch.setattr(kafka_admin, "AdminClient", lambda _conf: client)
    return client


@pytest.fixture
def admin(client: Client) -> ClusterAdmin:
    return ClusterAdmin(Cluster("LEFT", {"bootstrap.servers": "l"}))


def test_commits_are_asked_of_a_coordinator_that_has_just_answered(
    admin: ClusterAdmin, client: Client
) -> None:
    committed = {Partition("T", 0): Commit(7)}
    assert admin.commits(["a", "b"]) == {"a": committed, "b": committed}
    assert admin.groups(["a"])["a"].commits == committed
    assert [what for what, _ in client.asked] == [
        "describe", "describe", "commits", "commits", "describe", "commits",
    ]  # fmt: skip


def test_nobody_else_is_asked_for_commits_which_would_end_the_process(
    admin: ClusterAdmin, client: Client
) -> None:
    client.elsewhere = {"b"}
    for ask in (admin.commits, admin.groups):
        with pytest.raises(RemoteError):
            ask(["a", "b"])
    assert {what for what, _ in client.asked} == {"describe"}


def test_no_group_is_no_question(admin: ClusterAdmin, client: Client) -> None:
    assert (admin.commits([]), admin.groups([]), client.asked) == ({}, {}, [])


def test_leaders_are_looked_up_before_offsets_are_asked_for_which_may_end_the_process(
    admin: ClusterAdmin, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(kafka_admin, "monotonic", lambda: now[0])

    def ask(*topics: str) -> list[str]:
        client.asked.clear()
        asked = admin.ends([Partition(topic, 0) for topic in topics])
        assert set(admin.resolve_offsets(asked).values()) == {(7, -1)}
        return [what for what, _ in client.asked]

    looked_up = ["topics"]
    assert ask("T") == [*looked_up, "offsets"]
    assert ask("U", "T") == ["offsets", "offsets"]
    now[0] += 301
    assert ask("T") == [*looked_up, "offsets"]
    client.elsewhere = {"T"}  # the broker does not lead it any more, and librdkafka forgets it
    with pytest.raises(NotReadyError):
        ask("T")
    client.elsewhere = set()
    assert ask("T") == [*looked_up, "offsets"]


def test_a_topic_that_is_not_there_is_not_asked_for(admin: ClusterAdmin, client: Client) -> None:
    """librdkafka would look for it until the request times out, and that may end the process."""
    asked = admin.ends([Partition("T", 0), Partition("none", 0)])
    with pytest.raises(NotReadyError, match="UNKNOWN_TOPIC_OR_PART"):
        admin.resolve_offsets({Partition("none", 0): asked[Partition("none", 0)]})
    assert [name for what, name in client.asked if what == "offsets"] == ["T"]
    client.topics = set()
    client.asked.clear()
    admin._known.clear()
    assert set(admin.ends([Partition("T", 0)])) == {Partition("T", 0)}
    assert client.asked == [("topics", ""), ("topics", "T")]


def test_a_topic_that_is_hidden_from_us_does_not_count_as_missing(
    admin: ClusterAdmin, client: Client
) -> None:
    """A cluster lists what the user may describe; the state topic would have seemed empty."""
    client.topics, client.hidden = set(), {"T": KafkaError.TOPIC_AUTHORIZATION_FAILED}
    with pytest.raises(RemoteError, match="TOPIC_AUTHORIZATION_FAILED") as raised:
        admin.resolve_offsets(admin.ends([Partition("T", 0)]))
    assert not isinstance(raised.value, NotReadyError)


def test_brokers_that_have_refused_before_and_are_back_may_take_their_time(
    admin: ClusterAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each answer that took longer than a look counted as none for the rest of the run."""
    now = [100.0]
    monkeypatch.setattr(kafka_admin, "monotonic", lambda: now[0])
    admin._errors(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    now[0] += 60

    def answered(seconds: float) -> int:
        future: Future[int] = Future()
        waited = 0.0

        def look(_wait: float) -> None:
            nonlocal waited
            waited, now[0] = waited + 0.01, now[0] + 0.01
            if waited >= seconds:
                future.set_result(7)

        monkeypatch.setattr(admin._admin, "poll", look)
        return admin.wait(future, "it")

    assert answered(0.5) == 7
    assert answered(2.0) == 7, "an answer says that they are back"
    admin._errors(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    with pytest.raises(ClusterUnreachableError):
        answered(2.0)


def test_a_cluster_that_names_no_broker_is_not_ready_and_asked_for_nothing_else(
    admin: ClusterAdmin, client: Client
) -> None:
    """It has just come back. librdkafka would end the process where it is asked to describe it."""
    client.brokers = {}
    with pytest.raises(NotReadyError, match="names no broker"):
        admin.listing()
    client.brokers = {1: "LEFT:9092"}
    assert admin.listing() == Listing("id", {"T": 2, "U": 2})
    assert admin.operations() == {"DESCRIBE"}


@pytest.mark.parametrize(
    ("brokers", "error", "alive"),
    [
        ({1: "LEFT:9092"}, None, True),
        ({}, None, True),
        ({}, KafkaError._TRANSPORT, False),
    ],
)
def test_a_cluster_that_answers_lives_though_it_names_no_broker(
    client: Client, brokers: dict[int, str], error: int | None, alive: bool
) -> None:
    client.brokers, client.error = brokers, error
    settings = SimpleNamespace(cluster=lambda alias: Cluster(alias, {"bootstrap.servers": "l"}))
    assert KafkaSwitchAdmin(settings).probe("LEFT", 1.0)() == alive  # type: ignore[arg-type]  # all it needs


def test_who_does_not_answer_for_one_unlisted_topic_is_not_asked_for_the_others(
    admin: ClusterAdmin, client: Client
) -> None:
    client.hidden = {"X": KafkaError.TOPIC_AUTHORIZATION_FAILED}
    parts = [Partition(topic, 0) for topic in ("V", "W", "X")]

    def die(topic: str = "", *, timeout: float) -> Any:
        if topic == "W":
            client.error = KafkaError._TIMED_OUT
        return Client.list_topics(client, topic, timeout=timeout)

    client.list_topics = die  # type: ignore[method-assign]
    found = {p.topic: f.exception() for p, f in admin.ends(parts).items()}
    codes = {topic: error.args[0].code() for topic, error in found.items()}  # type: ignore[union-attr]
    assert codes["X"] == KafkaError.TOPIC_AUTHORIZATION_FAILED
    assert codes["V"] == codes["W"] == KafkaError._TIMED_OUT
    assert [topic for what, topic in client.asked if what == "topics"] == ["", "X", "W"]
