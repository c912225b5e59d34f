"""The demo's application with plain confluent-kafka: what people have today.

It takes the same arguments and makes the same load and the same history. ``--config`` names a
cluster and its address, as ``LEFT=127.0.0.1:9092``. Consumers subscribe to the topic and its copies
by a regular expression, as MirrorMaker 2's documentation has it.
"""

import argparse
import logging
import re
import sys
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, Producer

from clientlib.origin import Origin
from failover.demo.app import WRITING, Reading, Writing, main

_DURABLE = {"acks": "all", "enable.idempotence": True}


class _OfOneCluster:
    """Says of a record where it was written or read, as the wrapped clients do."""

    cluster = ""

    def origin(self, message: Message) -> Origin:
        """Return the record's place."""
        topic, partition = str(message.topic()), message.partition() or 0
        return Origin(self.cluster, topic, partition, self.cluster, message.offset() or 0)


class _PlainProducer(_OfOneCluster, Producer):
    """The producer that people have today."""


class _PlainConsumer(_OfOneCluster, Consumer):
    """The consumer that people have today."""


class PlainWriting(Writing):
    """A producer of one cluster."""

    def connect(self, given: argparse.Namespace) -> Any:
        """Return a plain producer, as durable as the wrapped one."""
        cluster, address = given.config.split("=")
        producer = _PlainProducer({"bootstrap.servers": address, **WRITING, **_DURABLE})
        producer.cluster = cluster
        return producer


class PlainReading(Reading):
    """A member of a group on one cluster, which reads the topic and its copies as they come."""

    def connect(self, given: argparse.Namespace, settings: dict[str, Any]) -> Any:
        """Return a plain consumer."""
        cluster, address = given.config.split("=")
        consumer = _PlainConsumer({"bootstrap.servers": address, **settings})
        consumer.cluster = cluster
        self._topic = rf"^([A-Z]+\.)?{re.escape(given.topic)}$"
        return consumer

    def _process(self, message: Any) -> None:
        error: KafkaError | None = message.error()
        if error is None:
            super()._process(message)
        else:  # a cluster that is going down; whoever runs us will end us
            logging.getLogger("bench").info("%s", error)


if __name__ == "__main__":
    sys.exit(main(PlainWriting, PlainReading))
