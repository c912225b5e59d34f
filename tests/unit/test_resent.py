"""What counts as a repeat when the original is out of reach, case by case."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from clientlib.protocol.fingerprint import LogRecord
from clientlib.protocol.skips import Skip
from clientlib.protocol.syncs import Pair
from clientlib.protocol.windows import Span
from failover.core.resent import Evidence, Resent, Search, entered
from failover.core.restarts import Resume

LATE_MS = 1_000_000
BEGINNING = Pair(0, 0)


def copy(indexes: Sequence[int], step_ms: int = 1_000) -> list[LogRecord]:
    """A copy that holds these records of the origin, each written ``step_ms`` after another."""
    return [
        LogRecord(place, index * step_ms, b"k", b"%d" % index)
        for place, index in enumerate(indexes)
    ]


def search(
    log: Sequence[LogRecord],
    resumes: Sequence[int | Resume],
    *,
    noted: int = 0,
    begin: Pair = BEGINNING,
    known: Skip = (),
    start: int = 0,
    budget: int = 500_000,
) -> Resent:
    killed = [r if isinstance(r, Resume) else Resume(r, LATE_MS) for r in resumes]
    end = log[-1].offset + 1 if log else 0
    evidence = Evidence(begin, Span(start, end), killed, noted, known)
    made = Search(evidence, budget=budget)
    while (window := made.next_request()) is not None:
        assert window.side == "target"
        made.feed([r for r in log if window.start <= r.offset < window.end][: window.limit])
    assert made.result is not None
    return made.result


def upto(*bounds: tuple[int, int]) -> list[int]:
    return [index for first, end in bounds for index in range(first, end)]


@pytest.mark.parametrize(
    ("sent", "resumes", "skip"),
    [
        pytest.param(upto((0, 90)), [40], (), id="nothing came again"),
        pytest.param(upto((0, 60), (40, 90)), [40], ((60, 80),), id="caught up"),
        pytest.param(upto((0, 60), (0, 90)), [0], ((60, 120),), id="all of it"),
        pytest.param(upto((0, 60), (40, 60)), [40], ((60, 80),), id="nothing new"),
        pytest.param(upto((0, 60), (40, 50)), [40], ((60, 70),), id="not finished"),
        pytest.param(upto((0, 60), (40, 50), (40, 90)), [40, 40], ((60, 90),), id="killed again"),
        pytest.param(upto((0, 60), (40, 50), (45, 90)), [40, 45], ((60, 85),), id="noted between"),
        pytest.param(
            upto((0, 60), (40, 50), (45, 52)), [40, 45], ((60, 77),), id="again, not finished"
        ),
        pytest.param(
            upto((0, 60), (40, 90), (80, 99)), [40, 80], ((60, 80), (110, 120)), id="twice"
        ),
        pytest.param(
            upto((0, 60), (50, 99)), [20, 50], ((60, 70),), id="the first kill repeated nothing"
        ),
        pytest.param(upto((0, 60), (40, 90)), [41], (), id="begins elsewhere"),
        pytest.param(upto((0, 60), (40, 55), (70, 90)), [40], (), id="is not finished and goes on"),
        pytest.param(upto((0, 60), (40, 50), (52, 60)), [40], (), id="leaves records out"),
        pytest.param(upto((0, 60), (40, 50), (40, 90)), [40], (), id="killed once, not twice"),
        pytest.param(upto((0, 60), (40, 90)), [], (), id="not killed"),
    ],
)
def test_a_repeat_begins_where_mm2_went_on_and_holds_everything_since(
    sent: list[int], resumes: list[int], skip: Skip
) -> None:
    assert search(copy(sent), resumes).skip == skip


@pytest.mark.parametrize(
    ("sent", "resumes"),
    [(upto((0, 60), (40, 90)), [41]), (upto((0, 60), (40, 50), (52, 60)), [40])],
)
def test_what_comes_again_and_is_no_repeat_is_told(sent: list[int], resumes: list[int]) -> None:
    found = search(copy(sent), resumes)
    assert not found.skip
    assert "not exactly" in found.unproved


def same(at_ms: Sequence[int], contents: str) -> list[LogRecord]:
    return [
        LogRecord(n, ms, None, one.encode())
        for n, (ms, one) in enumerate(zip(at_ms, contents, strict=True))
    ]


@pytest.mark.parametrize(
    ("log", "at"),
    [
        pytest.param(same([5] * 40, "a" * 40), 10, id="equal records of one millisecond"),
        pytest.param(same([5] * 8, "abababab"), 2, id="two producers in turn"),
        pytest.param(same([5] * 40, "abcdefghijklmnopqrst" * 2), 0, id="the same, 20 of them"),
        pytest.param(same([5, 6, 5, 6, 7], "tttt!"), 0, id="two clocks that differ"),
        pytest.param(same([5, 905, 5, 905, 999], "ababc"), 0, id="and by nearly a second"),
        pytest.param(same([5, 5, 2_000], "aab"), 1, id="a single record"),
    ],
)
def test_records_that_are_alike_are_none(log: list[LogRecord], at: int) -> None:
    """All of them were written so, and MM2 that was killed repeated nothing."""
    assert search(log, [at]).skip == ()


@pytest.mark.parametrize(
    ("different", "back_ms", "skip"),
    [(16, 15, ((16, 32),)), (15, 14, ()), (2, 1_000, ((2, 4),)), (2, 999, ()), (1, 5_000, ())],
)
def test_it_must_be_told_apart_by_many_records_or_by_much_time(
    different: int, back_ms: int, skip: Skip
) -> None:
    """A repeat of one record, however old it is, is not skipped."""
    times = [n * back_ms // max(1, different - 1) for n in range(different)]
    log = [LogRecord(n, times[n % different], None, b"x") for n in range(2 * different)]
    assert search(log, [0]).skip == skip


def test_what_was_written_after_the_kill_is_not_what_was_sent_before() -> None:
    log = copy(upto((0, 300), (200, 400)), 1_000)
    assert search(log, [Resume(200, 299_000)]).skip == ((300, 400),)
    assert search(log, [Resume(200, 280_000)]).skip == ()
    assert search(copy(upto((0, 400)), 1_000), [Resume(200, 280_000)]) == Resent()


def test_only_what_lies_behind_the_commit_is_read_and_not_all_of_that() -> None:
    log = copy(upto((0, 20_000), (19_000, 60_000)), 10)
    read: list[int] = []
    evidence = Evidence(Pair(0, 0), Span(0, len(log)), [Resume(19_000, 200_000)], 50_000)
    made = Search(evidence)
    while (window := made.next_request()) is not None:
        found = log[window.start : window.end][: window.limit]
        read += [record.offset for record in found]
        made.feed(found)
    assert made.result == Resent(((20_000, 21_000),))
    assert (min(read), max(read)) == (19_000, 23_999)


def test_the_epoch_begins_elsewhere_in_the_copy() -> None:
    """As the ledger says; the committed offset is of the log at home."""
    log = [replace(r, offset=r.offset + 500) for r in copy(upto((100, 160), (140, 190)))]
    assert search(log, [140], begin=Pair(100, 500), start=500).skip == ((560, 580),)
    assert search(log, [140], begin=Pair(101, 500), start=500).skip == ()


def test_mm2_may_go_back_to_before_the_epoch_and_over_what_is_known_to_be_skipped() -> None:
    log = copy(upto((0, 50), (30, 60), (40, 90)))
    assert search(log, [40], begin=Pair(60, 80), known=((50, 70),)).skip == ((80, 100),)


def test_a_repeat_that_the_epoch_before_ended_within_goes_on_in_the_next() -> None:
    log = copy(upto((0, 60), (40, 90)))
    begin, known = entered(60, 70, ((60, 70),))
    assert (begin, known) == (Pair(60, 60), ())
    assert search(log, [40], begin=begin).skip == ((60, 80),)
    assert entered(60, 75, ((60, 70),)) == (Pair(60, 75), ((60, 70),))


def test_a_copy_with_gaps_proves_nothing_behind_the_first() -> None:
    log = copy(upto((0, 60), (40, 90)))
    missing = [r for r in log if r.offset != 62]
    assert search(missing, [40]).skip == ()
    marked = [replace(r, offset=r.offset + (r.offset >= 80)) for r in log]
    assert search(marked, [40]) == Resent(((60, 80),))
    alone = [r for r in copy(upto((0, 90))) if r.offset not in {5, 60}]
    assert search(alone, [0]) == Resent()


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"budget": 30}, "too many"),
        ({"noted": 200}, "fewer records"),
        ({"start": 45}, "not in the copy any more"),
        ({"noted": 100}, "contradicts"),
    ],
)
def test_why_nothing_is_skipped_is_told(more: dict[str, int], why: str) -> None:
    sent = upto((0, 60), (40, 90))
    assert search(copy(sent), [40], noted=90) == Resent(((60, 80),))
    found = search(copy(sent), [40], **more)  # type: ignore[arg-type]  # one of them at a time
    assert found.skip == ()
    assert why in found.unproved


def test_records_without_their_own_time_prove_nothing() -> None:
    log = [replace(r, timestamp=None) for r in copy(upto((0, 60), (40, 90)))]
    found = search(log, [40])
    assert found.skip == ()
    assert "time" in found.unproved


def test_a_copy_that_goes_back_all_the_time_does_not_take_for_ever() -> None:
    log = same([5, 4] * 6_000, "a" * 12_000)
    found = search(log, [0], budget=20_000)
    assert found.skip == ()
    assert found.unproved
