"""What check mode must leave as it is, read byte by byte from real clusters."""

from typing import Any

from application import Application
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    TopicPartition,
)
from confluent_kafka.admin import ConfigResource, ResourceType


def everything(app: Application) -> dict[str, Any]:
    """Return records of control topics, settings of topics and offsets of groups, by cluster.

    Copies of control topics are left out: MirrorMaker 2 writes them, and may still be at it.
    """
    return {alias: _cluster(app, alias) for alias in app.lab.aliases}


def _cluster(app: Application, alias: str) -> dict[str, Any]:
    admin = app.admins[alias]
    copies = tuple(f"{other}.fo-{app.tag}" for other in app.lab.aliases)
    listed = admin.list_topics(timeout=10).topics.items()
    topics = {n: t for n, t in listed if app.tag in n and not n.startswith(copies)}
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in topics]
    described = {
        resource.name: {key: entry.value for key, entry in future.result().items()}
        for resource, future in admin.describe_configs(resources).items()
    }
    partitions = {name: len(topic.partitions) for name, topic in topics.items()}
    control = {n: count for n, count in partitions.items() if n.startswith(f"fo-{app.tag}")}
    reader = Consumer(
        {
            "bootstrap.servers": app.lab.bootstrap(alias),
            "group.id": "reader-of-control-topics",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,
        }
    )
    try:
        records = _records(reader, control)
        ends = {
            f"{name}[{number}]": reader.get_watermark_offsets(TopicPartition(name, number))
            for name, count in partitions.items()
            for number in range(count)
        }
    finally:
        reader.close()
    return {
        "settings": described,
        "ends": ends,
        "records": records,
        "groups": _groups(app, alias),
    }


def _records(reader: Consumer, topics: dict[str, int]) -> list[tuple[Any, ...]]:
    """Return every record of these topics, up to their ends."""
    places = [
        TopicPartition(topic, number, OFFSET_BEGINNING)
        for topic, count in topics.items()
        for number in range(count)
    ]
    reader.assign(places)
    found: list[tuple[Any, ...]] = []
    ended = 0
    while ended < len(places):
        message = reader.poll(10)
        assert message is not None, f"{topics} give neither a record nor their ends"
        error = message.error()
        if error is not None:
            assert error.code() == KafkaError._PARTITION_EOF, error
            ended += 1
            continue
        place = (message.topic(), message.partition(), message.offset(), message.timestamp())
        found.append((*place, message.key(), message.value()))
    return sorted(found)


def _groups(app: Application, alias: str) -> dict[str, Any]:
    admin = app.admins[alias]
    listed = admin.list_consumer_groups().result(10).valid
    names = sorted(one.group_id for one in listed if app.tag in one.group_id)
    found = {}
    for name in names:
        asked = [ConsumerGroupTopicPartitions(name)]
        answer = admin.list_consumer_group_offsets(asked)[name].result(10)
        found[name] = [
            (tp.topic, tp.partition, tp.offset, tp.metadata) for tp in answer.topic_partitions
        ]
    return found
