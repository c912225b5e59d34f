"""The header of replayed records, and the manifest."""

import json

import pytest

from clientlib.protocol.replay import HEADER, Replayed, header, manifest, original


def test_header_and_back() -> None:
    mine = [("a", b"1"), ("b", None)]
    assert original([*mine, header(3, "LEFT")]) == (Replayed(3, "LEFT"), mine)


@pytest.mark.parametrize("raw", [b"", None, b"x;LEFT", b"3;", b"\xff"])
def test_what_is_not_ours_is_left_alone(raw: bytes | None) -> None:
    headers = [("a", b"1"), (HEADER, raw)]
    assert original(headers) == (None, headers)
    assert original([]) == (None, [])


def test_manifest() -> None:
    key, value = manifest("default", "me", 2, {"T": {1: (5, 9), 0: (0, 2)}}, lost=3)
    assert json.loads(key) == ["replay", "default", "me", 2]
    body = json.loads(value)
    assert body["ranges"] == {"T": {"0": [0, 2], "1": [5, 9]}}
    assert body["lost"] == 3
