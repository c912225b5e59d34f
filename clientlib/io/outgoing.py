"""Records on their way to a cluster: as the application has handed them over, and as reported."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from confluent_kafka import OFFSET_INVALID, TIMESTAMP_CREATE_TIME, Message

from clientlib.core.replay_buffer import Kept
from clientlib.protocol.errors import ConfigurationError

Report = Callable[[Any, Any], None]
_AT_ONCE_S = 0.0005


class Outgoing(NamedTuple):
    """A record that the application has handed to us while nothing may be written.

    The fields are the arguments of ``confluent_kafka.Producer.produce``, in its order.
    """

    topic: str
    value: Any
    key: Any
    partition: int
    callback: Report
    on_delivery: None
    timestamp: int
    headers: Any


def acknowledged(kept: Kept, offset: int | None) -> Message:
    """Return the report of a record that a lost cluster had taken without telling."""
    message = kept.message
    return Message(
        topic=message.topic(),
        partition=message.partition(),
        offset=OFFSET_INVALID if offset is None else offset,
        key=message.key(),
        value=message.value(),
        headers=cast("Any", kept.headers),
        timestamp=(TIMESTAMP_CREATE_TIME, kept.at_ms),
    )


def by_header(settings: dict[str, Any]) -> bool:
    """Say whether each record is to carry its identity. Raises ConfigurationError."""
    identity = settings.get("failover.record.identity", "fingerprint")
    if identity not in {"fingerprint", "header"}:
        raise ConfigurationError(
            f"failover.record.identity is {identity!r}; known: fingerprint, header"
        )
    return bool(identity == "header")


def header(value: Any) -> bytes | None:
    """Return a header's value as bytes."""
    return value.encode() if isinstance(value, str) else value


def checked(data: Any) -> bytes:
    """Return a record's key or value as bytes. Raises TypeError as confluent-kafka does."""
    if data is None:
        return b""
    if isinstance(data, str):
        return data.encode()
    if not isinstance(data, bytes):
        raise TypeError(f"a bytes-like object is required, not '{type(data).__name__}'")
    return data


def produced_ms(message: Any) -> int:
    """Say when a record that was never acknowledged was produced, by how long ago that was.

    A busy machine may stop a thread between the two clocks, for long enough to make the record an
    older one: then look again.
    """
    while True:
        before = time.time()
        latency = message.latency()
        if time.time() - before < _AT_ONCE_S:
            return int((before - latency) * 1000)


def ignore(_error: Any, _message: Any) -> None:
    """Take the report of a record whose application asked for none."""
