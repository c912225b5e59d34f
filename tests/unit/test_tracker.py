"""What is committed of what was delivered: spans, covering, withheld and refused commits."""

import pytest
from confluent_kafka import OFFSET_BEGINNING

from clientlib.core.tracker import Span, Tracker, changed, lag

COPY, LOCAL = "LEFT.T", "T"


def two_epochs(end: int = 10) -> Tracker:
    """A tracker that has delivered the copy up to its end, and 5 records of the local topic."""
    tracker = Tracker({"LEFT": 0, "RIGHT": 0})
    first = tracker.begin(Span("LEFT", COPY, 0, end))
    first.next = end
    tracker.drain()
    tracker.begin(Span("RIGHT", LOCAL, 0, None)).next = 5
    return tracker


def test_covering_finishes_the_earlier_epoch() -> None:
    tracker = two_epochs()
    assert tracker.commit(LOCAL, 3, covering=True)
    assert tracker.vector() == {"LEFT": 10, "RIGHT": 3}


def test_a_named_offset_of_a_later_epoch_is_withheld() -> None:
    tracker = two_epochs()
    assert tracker.commit(LOCAL, 3, covering=False)
    assert tracker.vector() == {"LEFT": 0, "RIGHT": 0}
    assert tracker.commit(COPY, 10, covering=False)
    assert tracker.vector() == {"LEFT": 10, "RIGHT": 3}


@pytest.mark.parametrize(
    ("topic", "offset", "taken"),
    [
        (LOCAL, 5, True),
        (LOCAL, 6, False),  # never delivered
        (LOCAL, 0, True),
        (COPY, 10, True),
        (COPY, 11, False),  # behind the epoch's end
        ("OTHER", 0, False),
    ],
)
def test_only_what_was_delivered_can_be_committed(topic: str, offset: int, taken: bool) -> None:
    assert two_epochs().commit(topic, offset, covering=True) is taken
    assert two_epochs().store(topic, offset) is taken


def test_last_record_committed_before_it_was_known_to_be_drained() -> None:
    """Simulation, seed 211: ``commit(offsets=)`` after each record, a marker at the epoch's end.

    The commit stayed one short of the end, so every later one was withheld for ever, and the next
    switch delivered the whole local topic again.
    """
    tracker = Tracker({"LEFT": 0, "RIGHT": 0})
    span = tracker.begin(Span("LEFT", COPY, 0, 38))
    span.next = 37
    assert tracker.commit(COPY, 37, covering=False)
    assert tracker.vector()["LEFT"] == 37
    tracker.drain()
    assert tracker.vector()["LEFT"] == 38
    tracker.begin(Span("RIGHT", LOCAL, 0, None)).next = 4
    assert tracker.commit(LOCAL, 4, covering=False)
    assert tracker.vector() == {"LEFT": 38, "RIGHT": 4}


def test_draining_commits_nothing_that_was_not_committed() -> None:
    tracker = Tracker({"LEFT": 0})
    tracker.begin(Span("LEFT", COPY, 0, 38)).next = 37
    assert tracker.commit(COPY, 36, covering=False)
    tracker.drain()
    assert tracker.vector() == {"LEFT": 36}


def test_a_range_of_nothing_but_markers_is_finished_when_drained() -> None:
    tracker = Tracker({"LEFT": 5})
    tracker.begin(Span("LEFT", COPY, 5, 7))
    tracker.drain()
    assert tracker.vector() == {"LEFT": 7}


def test_a_stored_offset_is_committed_later_and_covers() -> None:
    tracker = two_epochs()
    assert not tracker.commit_stored()
    assert tracker.store(LOCAL, 2)
    assert tracker.commit_stored()
    assert tracker.vector() == {"LEFT": 10, "RIGHT": 2}
    assert not tracker.commit_stored()


def test_everything_delivered_is_stored_by_automatic_store() -> None:
    tracker = two_epochs()
    assert lag(tracker.spans) == 15
    tracker.store_delivered()
    assert tracker.commit_stored()
    assert tracker.vector() == {"LEFT": 10, "RIGHT": 5}
    assert lag(tracker.spans) == 0


def test_seeking_back_allows_commits_from_the_start_of_the_range() -> None:
    tracker = Tracker({"LEFT": 8})
    span = tracker.begin(Span("LEFT", COPY, 8, 20, floor=4))
    span.next = 12
    span.seek(5)
    assert tracker.commit(COPY, 5, covering=True)
    assert tracker.commit(COPY, 12, covering=True)
    assert not tracker.commit(COPY, 3, covering=True)
    assert not tracker.commit(COPY, 13, covering=True)


def test_a_late_commit_of_another_clusters_log_of_that_name_is_refused() -> None:
    """RIGHT's T is read no more, and LEFT's T now: 3 was RIGHT's, and set the group back by two."""
    tracker = Tracker({"LEFT": 5})
    span = tracker.begin(Span("LEFT", LOCAL, 5, 9, floor=0))
    assert not tracker.commit(LOCAL, 3, covering=True)
    span.seek(3)
    assert tracker.commit(LOCAL, 3, covering=True), "the application has gone back there"
    assert not tracker.commit(LOCAL, 2, covering=True)
    span.seek(OFFSET_BEGINNING)
    assert tracker.commit(LOCAL, 2, covering=True), "it may have gone anywhere"


def test_finished_spans_are_forgotten_but_not_their_commits() -> None:
    tracker = two_epochs()
    assert tracker.commit(LOCAL, 5, covering=True)
    tracker.spans[-1].end = 5
    tracker.begin(Span("LEFT", COPY, 10, None))
    assert [span.origin for span in tracker.spans] == ["RIGHT", "LEFT"]
    assert tracker.vector() == {"LEFT": 10, "RIGHT": 5}


def test_a_request_carries_only_what_changed() -> None:
    assert changed({"L": 1, "R": 2}, {"L": 1, "R": 3, "X": 0}) == {"R": 3, "X": 0}


def test_a_position_in_an_earlier_span_is_known_by_the_records_of_that_span() -> None:
    """An application that reads ahead of its commits: what is read now says nothing of them."""
    tracker = Tracker({"LEFT": 0, "RIGHT": 0})
    first = tracker.begin(Span("LEFT", "LEFT.T", 0, 10))
    first.next = 10
    tracker.drain()
    tracker.commit("LEFT.T", 5, covering=True)
    second = tracker.begin(Span("RIGHT", "T", 0, None))
    assert (tracker.current, tracker.unfinished) == (second, first)
    tracker.commit("LEFT.T", 10, covering=True)
    assert tracker.unfinished is second
