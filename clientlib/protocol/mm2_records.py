"""MirrorMaker 2's internal records: bytes to values and back.

The three formats are Kafka's old protocol primitives, big-endian: int16, int32, int64, and a string
as an int16 byte length with UTF-8 bytes after it. There is no framing and no schema id. A reader
ignores bytes after the last field. A tombstone (``None`` as value) is the caller's to skip.
"""

import struct
from dataclasses import dataclass
from typing import Self

from clientlib.protocol.errors import RecordFormatError

_STRING_MAX_BYTES = 0x7FFF
_VERSION = 0


class _Reader:
    """Takes fields off the front of a record; anything that does not fit is a format error."""

    __slots__ = ("_at", "_data", "_what")

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._what = what
        self._at = 0

    def fail(self, why: str) -> RecordFormatError:
        return RecordFormatError(f"{self._what}: {why} at byte {self._at}")

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise self.fail(f"{size} bytes expected, {len(self._data) - self._at} left")
        chunk = self._data[self._at : end]
        self._at = end
        return chunk

    def integer(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big", signed=True)

    def string(self) -> str:
        size = self.integer(2)
        if size < 0:
            raise self.fail(f"string of negative length {size}")
        try:
            return self.take(size).decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.fail("string is not UTF-8") from error

    def version(self) -> None:
        version = self.integer(2)
        if version != _VERSION:
            raise self.fail(f"version {version}, only {_VERSION} is known")


def _string(text: str, what: str) -> bytes:
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RecordFormatError(f"{what}: string cannot be written as UTF-8") from error
    if len(data) > _STRING_MAX_BYTES:
        raise RecordFormatError(f"{what}: string of {len(data)} bytes, at most {_STRING_MAX_BYTES}")
    return struct.pack(">h", len(data)) + data


def _pack(layout: str, what: str, *numbers: int) -> bytes:
    try:
        return struct.pack(layout, *numbers)
    except struct.error as error:
        raise RecordFormatError(f"{what}: {error}") from error


def _require(data: bytes | None, what: str) -> bytes:
    if data is None:
        raise RecordFormatError(f"{what}: there are no bytes (a tombstone?)")
    return data


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A group's committed offset on the source, translated for the target.

    ``topic`` is the name on the target (``LEFT.orders``). Both offsets name the next record
    to read.
    ``metadata`` is as it was written; `text` is what the committing application meant.
    """

    group: str
    topic: str
    partition: int
    upstream_offset: int
    downstream_offset: int
    metadata: str = ""

    @property
    def text(self) -> str:
        """The metadata without the NUL byte that confluent-kafka writes after it."""
        return strip_nul(self.metadata)

    def encode(self) -> tuple[bytes, bytes]:
        """Return (key, value); `RecordFormatError` if a field does not fit its type."""
        what = "checkpoint"
        key = _string(self.group, what) + _string(self.topic, what)
        offsets = (self.upstream_offset, self.downstream_offset)
        value = _pack(">hqq", what, _VERSION, *offsets) + _string(self.metadata, what)
        return key + _pack(">i", what, self.partition), value

    @classmethod
    def decode(cls, key: bytes | None, value: bytes | None) -> Self | None:
        """Read a record; None for a tombstone, `RecordFormatError` for anything unreadable."""
        head = _Reader(_require(key, "checkpoint key"), "checkpoint key")
        group, topic, partition = head.string(), head.string(), head.integer(4)
        if value is None:
            return None
        body = _Reader(value, "checkpoint value")
        body.version()
        return cls(group, topic, partition, body.integer(8), body.integer(8), body.string())


@dataclass(frozen=True, slots=True)
class OffsetSync:
    """One record of one partition, at its offset on the source and on the target.

    ``topic`` is the name on the source (``orders``). The format carries no version.
    """

    topic: str
    partition: int
    upstream_offset: int
    downstream_offset: int

    def encode(self) -> tuple[bytes, bytes]:
        """Return (key, value); `RecordFormatError` if a field does not fit its type."""
        what = "offset sync"
        key = _string(self.topic, what) + _pack(">i", what, self.partition)
        return key, _pack(">qq", what, self.upstream_offset, self.downstream_offset)

    @classmethod
    def decode(cls, key: bytes | None, value: bytes | None) -> Self | None:
        """Read a record; None for a tombstone, `RecordFormatError` for anything unreadable."""
        head = _Reader(_require(key, "offset sync key"), "offset sync key")
        topic, partition = head.string(), head.integer(4)
        if value is None:
            return None
        body = _Reader(value, "offset sync value")
        return cls(topic, partition, body.integer(8), body.integer(8))


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A sign of life of the flow ``source`` -> ``target``, at ``timestamp_ms``."""

    source: str
    target: str
    timestamp_ms: int

    def encode(self) -> tuple[bytes, bytes]:
        """Return (key, value); `RecordFormatError` if a field does not fit its type."""
        key = _string(self.source, "heartbeat") + _string(self.target, "heartbeat")
        return key, _pack(">hq", "heartbeat", _VERSION, self.timestamp_ms)

    @classmethod
    def decode(cls, key: bytes | None, value: bytes | None) -> Self | None:
        """Read a record; None for a tombstone, `RecordFormatError` for anything unreadable."""
        head = _Reader(_require(key, "heartbeat key"), "heartbeat key")
        source, target = head.string(), head.string()
        if value is None:
            return None
        body = _Reader(value, "heartbeat value")
        body.version()
        return cls(source, target, body.integer(8))


def strip_nul(metadata: str) -> str:
    """Drop the one trailing NUL byte that confluent-kafka adds to the metadata of a commit."""
    return metadata.removesuffix("\0")
