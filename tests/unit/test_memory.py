"""What a reader passes over of the records that producers have written again."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

from clientlib.core.memory import Filter
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
