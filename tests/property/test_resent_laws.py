"""Laws of repeats that are found without the origin: MM2 killed again and again, at any flush."""

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import event, given, settings
from hypothesis import strategies as st

from clientlib.protocol.fingerprint import LogRecord
from clientlib.protocol.skips import join, within
from clientlib.protocol.syncs import Pair
from clientlib.protocol.windows import Span
from failover.core.resent import Evidence, Resent, Search
from failover.core.restarts import Resume

LAWS = settings(max_examples=600, deadline=None)
BEGIN = Pair(7, 11)
"""The epoch begins somewhere, and elsewhere in the copy."""


@dataclass(frozen=True)
class Made:
    """A copy as indexes of the origin's records, and what is known of MM2's kills."""

    origin: Sequence[tuple[int, bytes]]
    sent: Sequence[int]
    resumes: tuple[Resume, ...]
    committed: int

    def records(self) -> list[LogRecord]:
        return [
            LogRecord(BEGIN.target + place, self.origin[index][0], None, self.origin[index][1])
            for place, index in enumerate(self.sent)
        ]

    def found(self, chunk: int = 0, budget: int = 500_000) -> Resent:
        records = self.records()
        log = Span(BEGIN.target, BEGIN.target + len(records))
        evidence = Evidence(BEGIN, log, self.resumes, self.committed)
        search = Search(evidence, budget=budget)
        while (window := search.next_request()) is not None:
            wanted = [r for r in records if window.start <= r.offset < window.end]
            wanted = wanted[: min(window.limit, chunk or window.limit)]
            part = chunk and len(wanted) == chunk
            search.feed(wanted, wanted[-1].offset + 1 if part else None)
        assert search.result is not None
        return search.result

    def kept(self, skip: Sequence[tuple[int, int]]) -> list[int]:
        return [
            index
            for place, index in enumerate(self.sent)
            if not within(tuple(skip), BEGIN.target + place)
        ]


@st.composite
def origins(draw: st.DrawFn) -> list[tuple[int, bytes]]:
    """What applications write: time goes on, and records of a millisecond may be equal."""
    at_ms, found = 1_000, []
    for _ in range(draw(st.integers(1, 90))):
        at_ms += draw(st.sampled_from((0, 0, 0, 1, 5, 700)))
        found.append((at_ms, draw(st.sampled_from((b"a", b"a", b"b", b"c")))))
    return found


@st.composite
def copies(draw: st.DrawFn, *, killed: bool = True, repeating: bool = True) -> Made:
    """MM2 sends, flushes and is killed at any time.

    Not ``repeating``: it goes on where it was, although it has not noted that.
    """
    origin = draw(origins())
    sent: list[int] = []
    resumes: list[Resume] = []
    at = committed = 0
    reached = 0
    for _ in range(draw(st.integers(1, 5)) if killed else 0):
        stop = draw(st.integers(at, min(len(origin), reached + 40)))
        sent += range(at, stop)
        reached = max(reached, stop)
        if stop > committed:
            committed = draw(st.integers(committed, stop))
        now_ms = origin[max(0, reached - 1)][0] + draw(st.integers(0, 30))
        resumes.append(Resume(BEGIN.source + committed, now_ms))
        at = committed if repeating else stop
    stop = draw(st.integers(at, len(origin)))
    sent += range(at, stop)
    committed = draw(st.integers(committed, max(stop, committed)))
    return Made(origin, sent, tuple(resumes), BEGIN.source + committed)


def contents(made: Made, indexes: Sequence[int]) -> list[tuple[int, bytes]]:
    return [made.origin[index] for index in indexes]


def unique(made: Made) -> Made:
    """The same with records that all differ, a second apart: every repeat can be told."""
    origin = [(n * 1_000, b"%d" % n) for n in range(len(made.origin))]
    resumes = tuple(Resume(r.at, 10_000_000) for r in made.resumes)
    return Made(origin, made.sent, resumes, made.committed)


@LAWS
@given(copies(), st.integers(0, 40))
def test_without_the_spans_the_copy_is_a_beginning_of_the_origin(made: Made, chunk: int) -> None:
    """Where all records differ and lie seconds apart nothing but single records stays twice."""
    told = unique(made)
    found = told.found(chunk)
    kept = told.kept(found.skip)
    first = list(dict.fromkeys(kept))
    assert first == list(range(len(first))) == list(dict.fromkeys(told.sent))
    rewinds = [
        (place, index)
        for place, index in enumerate(told.sent)
        if place and index <= told.sent[place - 1]
    ]
    lengths = [
        (rewinds[n + 1][0] if n + 1 < len(rewinds) else len(told.sent)) - place
        for n, (place, _) in enumerate(rewinds)
    ]
    if all(length >= 2 for length in lengths) and not any(
        told.sent[place - 1] == index for place, index in rewinds
    ):
        event(f"{len(rewinds)} repeats")
        assert kept == first
        assert not found.unproved


@LAWS
@given(copies(), st.integers(0, 40))
def test_a_span_never_holds_the_only_place_of_a_record(made: Made, chunk: int) -> None:
    """However many records are equal: what is left begins with every record that was sent."""
    found = made.found(chunk)
    kept = contents(made, made.kept(found.skip))
    event("something is skipped" if found.skip else "nothing is skipped")
    if len(set(made.origin)) == len(made.origin):
        sent = set(made.sent)
        assert {made.origin[index] for index in sent} == set(kept)
    left = iter(kept)
    reached = max(made.sent, default=-1) + 1
    assert all(any(record == one for one in left) for record in made.origin[:reached])


@LAWS
@given(copies(repeating=False), st.integers(0, 40))
def test_nothing_is_skipped_where_nothing_was_repeated(made: Made, chunk: int) -> None:
    """Although MM2 was killed, and whatever is equal."""
    found = made.found(chunk)
    assert (found.skip, made.kept(found.skip)) == ((), list(made.sent))


@LAWS
@given(copies(killed=False))
def test_a_mirror_that_was_not_killed_costs_no_read(made: Made) -> None:
    assert made.found() == Resent()


@LAWS
@given(copies(), st.integers(1, 60))
def test_a_budget_makes_less_of_it_never_more(made: Made, budget: int) -> None:
    whole, part = made.found(chunk=7), made.found(chunk=7, budget=budget)
    assert join(part.skip, whole.skip) == whole.skip
