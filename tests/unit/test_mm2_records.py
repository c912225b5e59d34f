"""MirrorMaker 2's records against vectors computed by hand."""

import pytest

from clientlib.protocol.errors import RecordFormatError
from clientlib.protocol.mm2_records import Checkpoint, Heartbeat, OffsetSync, strip_nul

Record = Checkpoint | Heartbeat | OffsetSync

VECTORS: list[tuple[Record, str, str]] = [
    (
        Checkpoint("group-1", "topic-2", 3, 4, 5, "metadata-6"),
        "00 07 67 72 6f 75 70 2d 31 00 07 74 6f 70 69 63 2d 32 00 00 00 03",
        "00 00 00 00 00 00 00 00 00 04 00 00 00 00 00 00 00 0500 0a 6d 65 74 61 64 61 74 61 2d 36",
    ),
    (
        Checkpoint("billing", "LEFT.orders", 0, 1500, 1482),
        "00 07 62 69 6c 6c 69 6e 67 00 0b 4c 45 46 54 2e 6f 72 64 65 72 73 00 00 00 00",
        "00 00 00 00 00 00 00 00 05 dc 00 00 00 00 00 00 05 ca 00 00",
    ),
    (
        Heartbeat("source-1", "target-2", 1234567890),
        "00 08 73 6f 75 72 63 65 2d 31 00 08 74 61 72 67 65 74 2d 32",
        "00 00 00 00 00 00 49 96 02 d2",
    ),
    (
        Heartbeat("RIGHT", "LEFT", 1700000000000),
        "00 05 52 49 47 48 54 00 04 4c 45 46 54",
        "00 00 00 00 01 8b cf e5 68 00",
    ),
    (
        OffsetSync("topic-1", 2, 3, 4),
        "00 07 74 6f 70 69 63 2d 31 00 00 00 02",
        "00 00 00 00 00 00 00 03 00 00 00 00 00 00 00 04",
    ),
    (
        OffsetSync("orders", 7, 4294967296, 4294967000),
        "00 06 6f 72 64 65 72 73 00 00 00 07",
        "00 00 00 01 00 00 00 00 00 00 00 00 ff ff fe d8",
    ),
]
TYPES = [Checkpoint, Heartbeat, OffsetSync]


@pytest.mark.parametrize(("record", "key", "value"), VECTORS)
def test_bytes_are_as_kafka_writes_them(record: Record, key: str, value: str) -> None:
    assert record.encode() == (bytes.fromhex(key), bytes.fromhex(value))
    assert type(record).decode(bytes.fromhex(key), bytes.fromhex(value)) == record


def test_a_strings_length_counts_bytes() -> None:
    key, _ = OffsetSync("grüppe", 0, 0, 0).encode()
    assert key.startswith(bytes.fromhex("00 07 67 72 c3 bc 70 70 65"))


@pytest.mark.parametrize(("record", "key", "value"), VECTORS)
def test_trailing_bytes_are_ignored(record: Record, key: str, value: str) -> None:
    found = type(record).decode(bytes.fromhex(key) + b"more", bytes.fromhex(value) + b"\0")
    assert found == record


@pytest.mark.parametrize(("record", "key", "value"), VECTORS)
def test_a_tombstone_is_none(record: Record, key: str, value: str) -> None:
    assert type(record).decode(bytes.fromhex(key), None) is None


@pytest.mark.parametrize(("record", "key", "value"), VECTORS)
def test_every_cut_is_a_format_error(record: Record, key: str, value: str) -> None:
    whole_key, whole_value = bytes.fromhex(key), bytes.fromhex(value)
    for size in range(len(whole_key)):
        with pytest.raises(RecordFormatError):
            type(record).decode(whole_key[:size], whole_value)
    for size in range(len(whole_value)):
        with pytest.raises(RecordFormatError):
            type(record).decode(whole_key, whole_value[:size])


@pytest.mark.parametrize("kind", TYPES)
def test_a_record_without_key_is_a_format_error(kind: type[Record]) -> None:
    with pytest.raises(RecordFormatError, match="tombstone"):
        kind.decode(None, b"")


@pytest.mark.parametrize("kind", TYPES)
def test_a_negative_length_is_a_format_error(kind: type[Record]) -> None:
    with pytest.raises(RecordFormatError, match="negative length -1"):
        kind.decode(b"\xff\xff", b"")


@pytest.mark.parametrize("kind", TYPES)
def test_a_string_that_is_not_utf8_is_a_format_error(kind: type[Record]) -> None:
    with pytest.raises(RecordFormatError, match="UTF-8"):
        kind.decode(b"\x00\x01\xff" + bytes(8), b"")


@pytest.mark.parametrize("record", [Checkpoint("g", "t", 0, 1, 1), Heartbeat("a", "b", 1)])
def test_another_version_is_a_format_error(record: Checkpoint | Heartbeat) -> None:
    key, value = record.encode()
    with pytest.raises(RecordFormatError, match="version 1"):
        type(record).decode(key, b"\x00\x01" + value[2:])


@pytest.mark.parametrize(
    "record",
    [
        OffsetSync("t" * 32_768, 0, 0, 0),
        OffsetSync("t", 1 << 31, 0, 0),
        OffsetSync("t", 0, 1 << 63, 0),
        Checkpoint("\ud800", "t", 0, 0, 0),
    ],
)
def test_what_does_not_fit_is_not_written(record: Record) -> None:
    with pytest.raises(RecordFormatError):
        record.encode()


def test_metadata_keeps_the_nul_of_confluent_kafka_and_text_drops_it() -> None:
    record = Checkpoint("g", "t", 0, 1, 1, "token\0")
    assert (record.metadata, record.text) == ("token\0", "token")
    assert strip_nul("token") == "token"
