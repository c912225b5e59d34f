"""Where an epoch ends in the log of a returned cluster, however large the log is."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from clientlib.protocol.fingerprint import LogRecord
from clientlib.protocol.syncs import Pair
from clientlib.protocol.types import Partition
from clientlib.protocol.windows import Span
from failover.homecoming import EpochEnd, Sides
from failover.io.ports import Records, Window

Log = Callable[[int], LogRecord | None]
COPY, HOME = Partition("LEFT.T", 0), Partition("T", 0)
MANY = 300_000
"""More than is ever read of one log."""


def record(number: int, offset: int) -> LogRecord:
    return LogRecord(offset, 1_000 + number, b"k", b"v%d" % number)


def dense(offset: int) -> LogRecord | None:
    return record(offset, offset)


def marked(offset: int) -> LogRecord | None:
    """A log in which each 1,000th offset is the marker of a transaction."""
    return None if offset % 1_000 == 999 else record(offset - offset // 1_000, offset)


def repeating(offset: int) -> LogRecord | None:
    """A copy that holds 50 records twice, at 100,000."""
    return record(offset if offset < 100_000 else offset - 50, offset)


class Reader:
    """Reads logs that are made as they are read, and counts the records."""

    def __init__(self, home: Log, copy: Log, ends: tuple[int, int]) -> None:
        self._logs = {HOME: (home, ends[0]), COPY: (copy, ends[1])}
        self.count = 0

    def read(
        self, _alias: str, windows: Mapping[Partition, Window], *, committed: bool = False
    ) -> dict[Partition, Records]:
        ((part, window),) = windows.items()
        log, end = self._logs[part]
        found: list[LogRecord] = []
        for offset in range(window.start, min(window.end, end)):
            one = log(offset)
            if one is not None:
                found.append(one)
            if len(found) == window.limit:
                break
        self.count += len(found)
        return {part: Records(tuple(found))}

    def warm(self, *_: object, **__: object) -> None:
        pass


def sides(copied: int, home_end: int, **more: object) -> Sides:
    return replace(Sides(COPY, HOME, Span(0, copied), 0, home_end), **more)  # type: ignore[arg-type]  # named fields


def found(reader: Reader, asked: Sides) -> int | None:
    return EpochEnd(reader, "LEFT", "RIGHT").find(asked)  # type: ignore[arg-type]  # read is all it calls


@pytest.mark.parametrize("tail", [0, 1, 700])
@pytest.mark.parametrize(
    "first",
    [(0, 0), (120_000, 0), (0, 120_000), (120_000, 130_000)],
    ids=["both whole", "the copy is shorter", "home is shorter", "both are"],
)
def test_a_large_log_with_a_tail_is_compared_by_a_few_records(
    tail: int, first: tuple[int, int]
) -> None:
    """It was refused as diverged, and its operator told to restore its disks."""
    home_end = MANY + tail
    reader = Reader(dense, dense, (home_end, MANY))
    assert found(reader, sides(MANY, home_end, first=first)) == MANY
    assert reader.count < 10_000


def test_what_a_large_copy_repeats_is_taken_into_account() -> None:
    asked = sides(MANY + 50, MANY + 7, skip=((100_000, 100_050),))
    reader = Reader(dense, repeating, (MANY + 7, MANY + 50))
    assert found(reader, asked) == MANY
    assert reader.count < 10_000


@pytest.mark.parametrize("behind", [40, 5_000])
def test_a_large_log_with_markers_is_compared_from_the_newest_sync_on(behind: int) -> None:
    """Its copy has none, so that the two are not alike from the beginning on."""
    home_end = 300_310
    copied = sum(marked(offset) is not None for offset in range(home_end - 10))
    pair = Pair(source=home_end - 10 - behind, target=copied - behind + behind // 1_000)
    source = marked(pair.source)
    assert source is not None
    pair = Pair(pair.source, int(source.value[1:]))  # type: ignore[index]  # it has one
    reader = Reader(marked, dense, (home_end, copied))
    assert found(reader, sides(copied, home_end, pairs=(pair,))) == home_end - 10
    assert reader.count < 30_000
    assert found(reader, sides(copied, home_end)) is None, "nobody can tell without it"


def test_a_few_records_before_a_large_tail_are_compared_too() -> None:
    for copied in (1, 15, 40, 900):
        reader = Reader(dense, dense, (MANY, copied))
        assert found(reader, sides(copied, MANY)) == copied
        assert reader.count < 10_000


def test_a_marker_between_the_newest_sync_and_a_large_tail_hides_nothing() -> None:
    end = 310_010  # 10 markers behind the sync, and then a tail of its own size
    copied = end - end // 1_000
    pair = Pair(source=300_000, target=300_000 - 300)
    reader = Reader(marked, dense, (end + MANY, copied))
    assert found(reader, sides(copied, end + MANY, pairs=(pair,))) == end
    assert reader.count < 60_000


def test_a_sync_of_another_topic_of_that_name_is_no_evidence() -> None:
    asked = sides(copied=MANY, home_end=MANY + 5, pairs=(Pair(MANY - 100, MANY - 90),))
    assert found(Reader(dense, dense, (MANY + 5, MANY)), asked) == MANY


def test_a_large_log_with_other_records_has_diverged() -> None:
    def other(offset: int) -> LogRecord | None:
        return record(offset + 7_000_000, offset)

    assert found(Reader(other, dense, (MANY + 5, MANY)), sides(MANY, MANY + 5)) is None


def test_a_log_of_another_time_is_compared_by_content() -> None:
    """With LogAppendTime at home the copy carries another time, or home carries none."""

    def untimed(offset: int) -> LogRecord | None:
        return replace(record(offset, offset), timestamp=None)

    for size in (500, MANY):
        reader = Reader(untimed, dense, (size + 3, size))
        assert found(reader, sides(size, size + 3)) == size


@pytest.mark.parametrize("size", [0, 1, 5, 15, 16, 40, 2_000])
def test_small_logs_are_compared_too(size: int) -> None:
    for tail in (0, 3):
        reader = Reader(dense, dense, (size + tail, size))
        assert found(reader, sides(size, size + tail)) == size


def test_a_log_that_lacks_the_end_of_its_copy_has_none() -> None:
    for size in (20, 2_000, MANY):
        assert found(Reader(dense, dense, (size - 2, size)), sides(size, size - 2)) is None
