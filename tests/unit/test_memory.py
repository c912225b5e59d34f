"""What a reader passes over of the records that producers have written again."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from clientlib.core.memory import Filter, remembered
from clientlib.protocol.fingerprint import LogRecord, fingerprint
from clientlib.protocol.replay import header


def message(offset: int, timestamp: int, headers: list[tuple[str, bytes | None]]) -> Any:
    fields = {"offset": offset, "timestamp": (1, timestamp), "key": b"k", "value": b"v"}
    fields["headers"] = headers
    return SimpleNamespace(**{name: lambda v=value: v for name, value in fields.items()})


def test_a_record_read_of_a_dead_cluster_is_not_given_again_by_an_inexact_replay() -> None:
    """Its producer was never told that it was written, nor with which timestamp."""
    read = fingerprint(LogRecord(5, 1000, b"k", b"v"))
    passed = Filter(ahead=Counter([read]))
    assert passed.drops(message(0, 999, [header(1, "LEFT")]))
    assert not passed.drops(message(1, 999, [header(1, "LEFT")]))  # once for each record


def test_a_new_record_like_one_that_was_read_is_given() -> None:
    read = fingerprint(LogRecord(5, 1000, b"k", b"v"))
    assert not Filter(ahead=Counter([read])).drops(message(0, 1000, []))


@pytest.mark.parametrize(
    ("read", "upto", "most", "known", "start"),
    [
        ([4, 5, 6, 7], None, 9, [4, 5, 6, 7], 4),
        ([4, 5, 6, 7], 6, 9, [4, 5], 4),
        ([4, 5, 6, 7], None, 2, [6, 7], None),
        ([4, 5, 6, 7, 5, 6], None, 9, [4, 5, 6, 7], 4),
        ([4, 5, 6, 7, 5, 6], None, 2, [5, 6], None),
        ([7, 8, 4, 5], None, 9, [4, 5, 7, 8], 4),
    ],
)
def test_what_was_read_twice_is_remembered_once_in_the_order_of_its_log(
    read: list[int], upto: int | None, most: int, known: list[int], start: int | None
) -> None:
    """Else what comes after the place that an application went back to counted as processed."""
    found = remembered([message(offset, 1000, []) for offset in read], upto, most, 4)
    assert ([one.offset for one in found.prints], found.start) == (known, start)
