"""The header of replayed records, and the manifest."""

import json

import pytest

from clientlib.protocol.errors import RecordFormatError
from clientlib.protocol.fingerprint import LogRecord, fingerprint
from clientlib.protocol.replay import (
    HEADER,
    Manifest,
    Replayed,
    decode_manifest,
    header,
    likely_prints,
    original,
    original_print,
)


def test_header_and_back() -> None:
    mine = [("a", b"1"), ("b", None)]
    assert original([*mine, header(3, "LEFT", 17)]) == ((Replayed(3, "LEFT", 17),), mine)
    assert original([*mine, header(3, "LEFT")]) == ((Replayed(3, "LEFT", None),), mine)


def test_a_record_that_was_replayed_twice_says_both() -> None:
    both = (Replayed(1, "LEFT", 4), Replayed(2, "RIGHT", None))
    assert original([header(1, "LEFT", 4), ("a", b"1"), header(2, "RIGHT")]) == (
        both,
        [("a", b"1")],
    )


@pytest.mark.parametrize("raw", [b"", None, b"x;LEFT;", b"3;", b"\xff", b"3;LEFT;x"])
def test_what_is_not_ours_is_left_alone(raw: bytes | None) -> None:
    headers = [("a", b"1"), (HEADER, raw)]
    assert original(headers) == ((), headers)
    assert original([]) == ((), [])


def test_the_print_of_a_replay_is_that_of_its_original() -> None:
    first = LogRecord(7, 1000, b"k", b"v", [("a", b"1")])
    again = LogRecord(99, 1000, b"k", b"v", [("a", b"1"), header(1, "LEFT", 7)])
    assert original_print(again) == original_print(first) == fingerprint(first)


def test_a_replay_is_recognised_though_its_producer_did_not_know_its_timestamp_exactly() -> None:
    """A purged record's report has no timestamp; else the reader of the dead log gets it twice."""
    first = LogRecord(7, 1000, b"k", b"v")
    for wrong in (997, 999, 1000, 1003):
        again = LogRecord(99, wrong, b"k", b"v", [header(1, "LEFT")])
        assert original_print(first) in set(likely_prints(again))
    other = LogRecord(99, 1004, b"k", b"v", [header(1, "LEFT")])
    assert original_print(first) not in set(likely_prints(other))
    assert list(likely_prints(other, use_timestamp=False)) == [
        original_print(other, use_timestamp=False)
    ]


def test_manifest_and_back() -> None:
    mine = Manifest("me", 2, {"T": {1: (5, 9), 0: (0, 2)}}, replayed=6, lost=3)
    key, value = mine.record("default")
    assert json.loads(key) == ["replay", "default", "me", 2]
    assert decode_manifest(key, value) == mine


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b'["client","default","me"]', b"{}"),
        (b'["replay","default","me",2]', b"{}"),
        (b'["replay","default","me","x"]', b'{"ranges":{}}'),
    ],
)
def test_garbage_is_no_manifest(key: bytes, value: bytes) -> None:
    with pytest.raises(RecordFormatError):
        decode_manifest(key, value)
