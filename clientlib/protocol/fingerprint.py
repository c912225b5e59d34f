"""What identifies a record in another log: timestamp, key, value and headers."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

_SIZE_BYTES = 16


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A record as read from a log.

    ``timestamp`` is in ms, None if the log has none. ``headers`` are pairs in the log's order.
    """

    offset: int
    timestamp: int | None
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()


def fingerprint(record: LogRecord, *, use_timestamp: bool = True) -> bytes:
    """Return 16 bytes that identify the record's content; the offset is no part of it.

    Pass ``use_timestamp=False`` where either log uses LogAppendTime: the broker then sets its own.
    Every field is preceded by its length, and absent differs from empty.
    """
    digest = blake2b(digest_size=_SIZE_BYTES)
    stamp = record.timestamp if use_timestamp else None
    digest.update(b"\0" if stamp is None else b"\1" + struct.pack(">q", stamp))
    digest.update(_field(record.key))
    digest.update(_field(record.value))
    for name, value in record.headers:
        digest.update(_field(name.encode("utf-8", "surrogatepass")) + _field(value))
    return digest.digest()


def _field(data: bytes | None) -> bytes:
    return b"\0" if data is None else b"\1" + struct.pack(">Q", len(data)) + data
