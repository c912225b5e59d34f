"""What members report of a cluster that was lost, and what is made of it."""

import pytest

from clientlib.protocol.errors import RecordFormatError
from clientlib.protocol.progress import (
    GroupProgress,
    Progress,
    Report,
    decode_report,
    fold_progress,
)
from clientlib.protocol.recover import Memory, Print
from clientlib.protocol.types import Partition

P0, P1 = Partition("T", 0), Partition("T", 1)


def memory(*offsets: int) -> Memory:
    return Memory(tuple(Print(offset, bytes([offset % 256]) * 16) for offset in offsets))


def report(member: str, at: int, *, final: int = 0, part: Partition = P0) -> Report:
    return Report("g", member, 1, "LEFT", {part: Progress({"LEFT": at}, "LEFT")}, final)


def test_a_report_and_back() -> None:
    one = Progress({"LEFT": 12, "RIGHT": 3}, "LEFT", memory(7, 8, 9, 11))
    mine = Report("g", "me", 3, "LEFT", {P0: one, P1: Progress({}, "")}, handed_over=4)
    assert decode_report(*mine.record("default")) == mine


def test_the_newest_report_wins_and_not_the_largest_position() -> None:
    """An operator's rewind must hold."""
    known = fold_progress(GroupProgress(), [report("a", 500), report("a", 20)])
    assert known.parts[P0].progress.offsets == {"LEFT": 20}


def test_a_member_has_said_everything_only_when_it_says_so() -> None:
    """Else the second of its partitions would be recovered by an older report: 185 repeats."""
    known = fold_progress(GroupProgress(), [report("a", 5, final=2)])
    assert known.parts[P0].handed_over == 2
    assert known.handed_over.get("a", 0) == 0
    known = fold_progress(known, [Report("g", "a", 1, "LEFT", {}, handed_over=2)])
    assert known.handed_over["a"] == 2


def test_what_was_remembered_of_a_position_is_kept_for_a_reader_that_got_nothing_yet() -> None:
    first = Report("g", "a", 1, "LEFT", {P0: Progress({"LEFT": 12}, "LEFT", memory(10, 11))})
    known = fold_progress(GroupProgress(), [first, report("b", 12)])
    assert known.parts[P0].member == "b"
    assert known.parts[P0].progress.memory == memory(10, 11)
    known = fold_progress(known, [report("b", 13)])
    assert known.parts[P0].progress.memory == Memory()


def test_what_a_member_that_read_on_remembers_counts_for_who_begins_at_its_last_commit() -> None:
    """It was cut off and its session ended; the next one had read nothing when the cluster died."""
    ahead = Progress({"LEFT": 13}, "LEFT", memory(9, 10, 11, 12))
    known = fold_progress(
        GroupProgress(), [Report("g", "a", 1, "LEFT", {P0: ahead}), report("b", 11)]
    )
    assert known.parts[P0].progress.offsets == {"LEFT": 11}
    assert known.parts[P0].progress.memory == memory(9, 10)


def test_who_gave_a_partition_up_tells_late_what_the_next_reader_cannot_know() -> None:
    """The next one reads and has committed nothing when it crashes: 6 records came again."""
    left = Progress({"LEFT": 12}, "LEFT", memory(10, 11))
    late = Report("g", "a", 1, "LEFT", {P0: left}, leaving=True)
    known = fold_progress(GroupProgress(), [report("b", 12), late, report("b", 12)])
    assert known.parts[P0].member == "b"
    assert known.parts[P0].progress.memory == memory(10, 11)
    known = fold_progress(known, [report("b", 13), late])
    assert known.parts[P0].progress.memory == Memory()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b'["client","s","g","m"]', b"{}"),
        (b'["progress","s","g","m"]', b"{}"),
        (b'["progress","s","g"]', b"{}"),
        (b'["progress","s","g","m"]', b'{"epoch":1,"cluster":"L","parts":{"T":{"x":{}}}}'),
    ],
)
def test_garbage_is_no_report(key: bytes, value: bytes) -> None:
    with pytest.raises(RecordFormatError):
        decode_report(key, value)


def claimed(
    member: str, claim: int, at: int, *, handed_over: int = 0, leaving: bool = False
) -> Report:
    parts = {Partition("T", 0): Progress({"LEFT": at}, "LEFT", claim=claim)}
    return Report("g", member, 1, "LEFT", parts, handed_over, leaving)


def test_a_member_that_was_stopped_does_not_report_over_the_one_that_reads_on_since() -> None:
    """Its session ended, another member went on; then the cluster died, and nobody told it."""
    told = [claimed("c1", 1, 6), claimed("c2", 1, 20), claimed("c2", 1, 23)]
    known = fold_progress(GroupProgress(), [*told, claimed("c1", 1, 6, handed_over=2)])
    assert known.parts[Partition("T", 0)].progress.offsets == {"LEFT": 23}
    again = fold_progress(known, [claimed("c1", 2, 24)])  # it has got the partition back
    assert again.parts[Partition("T", 0)].progress.offsets == {"LEFT": 24}


def test_a_report_that_comes_late_does_not_silence_the_one_who_reads_on() -> None:
    """Each member's reports come in order, those of two members do not."""
    late = [claimed("c1", 1, 6), claimed("c1", 1, 6, leaving=True)]
    known = fold_progress(GroupProgress(), [claimed("c2", 1, 6), *late, claimed("c2", 1, 9)])
    assert known.parts[Partition("T", 0)].progress.offsets == {"LEFT": 9}
    only = fold_progress(GroupProgress(), [claimed("c2", 1, 9), claimed("c1", 1, 6, leaving=True)])
    assert only.parts[Partition("T", 0)].progress.offsets == {"LEFT": 9}
