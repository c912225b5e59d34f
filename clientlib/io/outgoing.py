"""Records on their way to a cluster: as the application has handed them over, and as reported."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

from confluent_kafka import OFFSET_INVALID, TIMESTAMP_CREATE_TIME, Message

from clientlib.core.replay_buffer import Kept
from clientlib.protocol.errors import ConfigurationError

Report = Callable[[Any, Any], None]


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
    return Message(
        topic=kept.topic,
        partition=kept.partition,
        offset=OFFSET_INVALID if offset is None else offset,
        key=kept.key,
        value=kept.value,
        headers=cast("Any", kept.headers),
        timestamp=(TIMESTAMP_CREATE_TIME, kept.at_ms),
    )


def by_header(settings: Mapping[str, Any]) -> bool:
    """Say whether each record is to carry its identity. Raises ConfigurationError."""
    identity = settings.get("failover.record.identity", "fingerprint")
    if identity not in {"fingerprint", "header"}:
        raise ConfigurationError(
            f"failover.record.identity is {identity!r}; known: fingerprint, header"
        )
    return bool(identity == "header")


def checked(data: Any) -> bytes:
    """Return a record's key or value as bytes. Raises TypeError as confluent-kafka does."""
    if data is None:
        return b""
    if isinstance(data, str):
        return data.encode()
    if not isinstance(data, bytes):
        raise TypeError(f"a bytes-like object is required, not '{type(data).__name__}'")
    return data


def ignore(_error: Any, _message: Any) -> None:
    """Take the report of a record whose application asked for none."""
