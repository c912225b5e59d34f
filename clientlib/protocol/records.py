"""How records of the internal topics are written: JSON with ``schema`` and ``min_reader``.

Keys are JSON arrays whose first element names the kind, so that one compacted topic holds several
kinds. Unknown fields are ignored. A reader older than ``min_reader`` must not act on the record:
decoding raises RecordFormatError with ``too_new`` set.
"""

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

from clientlib.protocol.errors import RecordFormatError

SCHEMA = 1
READER = 1

Json: TypeAlias = Mapping[str, Any]


class TooNewError(RecordFormatError):
    """The record says that this version must not act on it: upgrade the client."""


def encode_key(*parts: str | int) -> bytes:
    """Return a record key: a compact JSON array."""
    return json.dumps(parts, separators=(",", ":")).encode()


def decode_key(raw: bytes | None) -> tuple[Any, ...]:
    """Take a record key apart. Raises RecordFormatError when it is none of ours."""
    try:
        parts = json.loads(raw or b"")
    except ValueError as error:
        raise RecordFormatError(f"record key {raw!r} is not JSON") from error
    if not isinstance(parts, list) or not parts:
        raise RecordFormatError(f"record key {raw!r} is not a JSON array")
    return tuple(parts)


def encode_value(body: Json) -> bytes:
    """Return a record value, with the versions of format and oldest reader added."""
    return json.dumps(
        {"schema": SCHEMA, "min_reader": READER, **body}, separators=(",", ":"), sort_keys=True
    ).encode()


def decode_value(raw: bytes) -> dict[str, Any]:
    """Take a record value apart. Raises RecordFormatError, or TooNewError by ``min_reader``."""
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise RecordFormatError(f"record value {raw[:40]!r} is not JSON") from error
    if not isinstance(body, dict):
        raise RecordFormatError(f"record value {raw[:40]!r} is not a JSON object")
    wanted = body.get("min_reader", 1)
    if not isinstance(wanted, int) or wanted > READER:
        raise TooNewError(f"the record needs a reader of version {wanted}, this is {READER}")
    return body
