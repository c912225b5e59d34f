"""The wrappers are drop-in: every public method of confluent-kafka's classes is overridden."""

import contextlib
import gc
import inspect
import sys
import warnings
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Producer

from clientlib import ConfigurationError, FailoverConsumer, FailoverProducer, NotSupportedError
from clientlib.io.options import merged, options, wanted
from failover.lab.processes import wait_until

CLUSTERS = {
    "clusters": {
        "LEFT": {"bootstrap.servers": "127.0.0.1:1"},
        "RIGHT": {"bootstrap.servers": "127.0.0.1:2"},
    }
}


@pytest.mark.parametrize(
    ("ours", "theirs"), [(FailoverConsumer, Consumer), (FailoverProducer, Producer)]
)
def test_every_public_method_is_overridden(ours: type, theirs: type) -> None:
    public = {name for name in dir(theirs) if not name.startswith("_")}
    public |= {"__enter__", "__exit__"}
    missing = {name for name in public if name not in vars(ours)}
    assert not missing


@pytest.mark.parametrize(
    ("ours", "theirs"), [(FailoverConsumer, Consumer), (FailoverProducer, Producer)]
)
def test_they_are_instances_of_what_they_replace(ours: type, theirs: type) -> None:
    assert issubclass(ours, theirs)
    assert inspect.getdoc(ours)


def test_without_failover_settings_a_consumer_is_plain_and_says_so() -> None:
    with pytest.warns(UserWarning, match="plain consumer"):
        consumer = FailoverConsumer({"bootstrap.servers": "127.0.0.1:1", "group.id": "g"})
    assert consumer.state == "plain"
    assert consumer.poll(0) is None
    consumer.close()


def test_without_failover_settings_a_producer_is_plain_and_says_so() -> None:
    with pytest.warns(UserWarning, match="plain producer"):
        producer = FailoverProducer({"bootstrap.servers": "127.0.0.1:1"})
    assert producer.state == "plain"


def test_failover_required_makes_a_plain_client_an_error() -> None:
    with pytest.raises(ConfigurationError, match="FAILOVER_REQUIRED"):
        wanted({"bootstrap.servers": "x"}, {"FAILOVER_REQUIRED": "1"})


@pytest.mark.parametrize("group", [None, ""])
def test_a_missing_or_empty_group_is_refused_before_librdkafka_sees_it(group: str | None) -> None:
    with pytest.raises(ValueError, match=r"group\.id must be set"):
        FailoverConsumer({"failover.config": CLUSTERS, "group.id": group})


def test_settings_come_as_dict_or_keywords_or_both() -> None:
    assert merged(({"a": 1},), {"b": 2}) == {"a": 1, "b": 2}
    with pytest.raises(TypeError):
        merged(("not a dict",), {})


def test_an_unknown_setting_of_ours_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"failover\.confg"):
        options({"failover.confg": CLUSTERS, "failover.config": CLUSTERS}, {})


def test_the_clusters_settings_win_and_addresses_are_not_needed() -> None:
    found = options({"failover.config": CLUSTERS, "bootstrap.servers": "elsewhere:9092"}, {})
    assert found.conf("RIGHT")["bootstrap.servers"] == "127.0.0.1:2"


@pytest.mark.parametrize(
    ("given", "longest_ms"),
    [
        ({}, 1000),
        ({"reconnect.backoff.max.ms": 20_000}, 20_000),
        ({"reconnect.backoff.ms": 2_000}, None),  # a maximum below it would be refused
    ],
)
def test_a_cluster_that_is_back_is_looked_for_each_second_unless_told_otherwise(
    given: dict[str, int], longest_ms: int | None
) -> None:
    found = options({"failover.config": CLUSTERS, **given}, {}).conf("RIGHT")
    assert found.get("reconnect.backoff.max.ms") == longest_ms
    Consumer({**found, "group.id": "g"}).close()  # librdkafka takes them


def test_transactions_need_their_id_and_their_order() -> None:
    with FailoverProducer({"failover.config": CLUSTERS}) as plain:
        with pytest.raises(KafkaException) as refused:
            plain.init_transactions(0)
        assert refused.value.args[0].name() == "_NOT_CONFIGURED"
    producer = FailoverProducer({"failover.config": CLUSTERS, "transactional.id": "t"})
    for call in (producer.begin_transaction, producer.commit_transaction, producer.produce):
        with pytest.raises(KafkaException) as refused:
            call(*(["T", "x"] if call == producer.produce else []))
        assert refused.value.args[0].name() == "_STATE"
    with pytest.raises(KafkaException) as refused:
        producer.init_transactions(0.05)
    assert refused.value.args[0].retriable()
    with pytest.raises(NotSupportedError, match="send_offsets_to_transaction"):
        producer.send_offsets_to_transaction([], None)
    producer.close()


def test_a_closed_consumer_says_what_confluent_kafka_says() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        consumer = FailoverConsumer({"failover.config": CLUSTERS, "group.id": "g"})
    with pytest.raises(NotSupportedError, match="logical topics"):
        consumer.subscribe(["^T.*"])
    with pytest.raises(TypeError):
        consumer.subscribe(("T",))  # type: ignore[arg-type]  # what is being tested
    with pytest.raises(ValueError, match="num_messages"):
        consumer.consume(-1)
    consumer.close()
    assert consumer.close() is None  # type: ignore[func-returns-value]  # a second close is fine
    with pytest.raises(RuntimeError, match="Consumer closed"):
        consumer.poll(0)


def _library_threads() -> int:
    """How many threads of librdkafka this process has."""
    count = 0
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # it has just ended
            count += Path(task, "comm").read_text().startswith("rdk:")
    return count


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted by /proc")
def test_a_closed_producer_leaves_no_connection_for_the_garbage_collector() -> None:
    gc.collect()
    before = _library_threads()
    gc.disable()
    try:
        producer = FailoverProducer({"failover.config": CLUSTERS})
        assert _library_threads() > before
        producer.produce("T", "nobody takes it")
        assert not producer.close(0)
        wait_until(lambda: _library_threads() <= before, timeout_s=20, what="threads go on")
        assert len(producer) == producer.flush(0) == 1
        assert producer.poll(0) == 0
        with pytest.raises(RuntimeError, match="closed"):
            producer.produce("T", "x")
    finally:
        gc.enable()


def test_a_producer_without_a_state_takes_records_until_its_queue_is_full() -> None:
    producer = FailoverProducer({"failover.config": CLUSTERS, "queue.buffering.max.messages": 3})
    for number in range(3):
        producer.produce("T", str(number))
    assert len(producer) == 3
    with pytest.raises(BufferError):
        producer.produce("T", "one too many")
    purged: list[str] = []
    producer.purge()
    assert len(producer) == 0
    producer.produce("T", "x", on_delivery=lambda error, _: purged.append(error.name()))
    producer.purge()
    assert purged == ["_PURGE_QUEUE"]
    producer.close()
