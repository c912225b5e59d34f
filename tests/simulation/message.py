"""A record or an end-of-partition event as ``confluent_kafka`` gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import KafkaError

if TYPE_CHECKING:
    from clientlib.protocol.fingerprint import LogRecord

_EOF = KafkaError._PARTITION_EOF


class FakeMessage:
    """What the runtime and the application ask of a ``confluent_kafka.Message``."""

    __slots__ = ("_error", "_offset", "_partition", "_record", "_topic", "cluster")

    def __init__(
        self, cluster: str, where: tuple[str, int], offset: int, record: LogRecord | None
    ) -> None:
        self.cluster = cluster
        self._topic, self._partition = where
        self._offset, self._record = offset, record
        self._error = KafkaError(_EOF) if record is None else None

    def topic(self) -> str:
        return self._topic

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return self._offset

    def error(self) -> KafkaError | None:
        return self._error

    def timestamp(self) -> tuple[int, int]:
        return (1, self._record.timestamp or 0) if self._record else (0, 0)

    def headers(self) -> list[tuple[str, bytes | None]]:
        return list(self._record.headers) if self._record else []

    def value(self) -> bytes | None:
        return self._record.value if self._record else None

    def key(self) -> bytes | None:
        return self._record.key if self._record else None
