"""The demo's pure parts: pauses out of a history, moments in order, and what is printed."""

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from failover.checkers import Acked, Delivered, EpochSeen, Event, History, Sent, judge
from failover.demo import render
from failover.demo.timeline import Moment, Pauses, Ran, Told, in_order, moments_of, pauses_of

OFFSET_S = 1000.0


def _ran(epoch: int = 2, **measured: Any) -> Ran:
    document = {"from": "LEFT", "to": "RIGHT", "epoch": epoch, "measured": measured}
    return Ran("failover switch --to RIGHT --yes", document, 10.0, 12.0, OFFSET_S)


def _record(seq: int, partition: int, active: str, sent: float, read: float) -> list[Event]:
    return [
        Sent("p", seq, "orders", partition, f"k{partition}", sent),
        Acked("p", seq, active, "orders", partition, seq, sent + 0.01),
        Delivered("c", "g", "p", seq, "orders", active, partition, seq, f"k{partition}", read),
    ]


def _history() -> History:
    """Two partitions; writes pause from 10.01 to 10.06, reads for 0.1 and 0.3 s."""
    return History.of(
        [
            EpochSeen("tool", 1, "LEFT", 0.0),
            EpochSeen("tool", 2, "RIGHT", 9.5),
            *_record(0, 0, "LEFT", 9.9, 10.0),
            *_record(1, 1, "LEFT", 10.0, 10.1),
            *_record(2, 0, "RIGHT", 10.05, 10.1),
            *_record(3, 1, "RIGHT", 10.3, 10.4),
        ]
    )


def _pauses(**measured: Any) -> Pauses:
    (found,) = pauses_of(_history(), [_ran(**measured)])
    return found


def _told(history: History | None = None) -> Told:
    pauses = _pauses(closed_ms=40)
    return Told(
        producers=1,
        consumers=1,
        partitions=2,
        rate=1,
        begun_at=0.0,
        moments=moments_of(pauses),
        pauses=(pauses,),
        verdict=judge(history or _history(), groups=["g"]),
    )


def _printed(told: Told) -> str:
    output = io.StringIO()
    Console(file=output, width=100).print(render.story(told))
    return output.getvalue()


def test_the_write_pause_is_between_the_acknowledgements_of_both_clusters() -> None:
    pauses = _pauses()
    assert pauses.writes is not None
    assert pauses.writes.seconds == pytest.approx(0.05)
    assert [one.producer for one in pauses.by_producer] == ["p"]


def test_read_pauses_are_kept_for_each_partition() -> None:
    pauses = _pauses()
    assert {where[2]: round(read.seconds, 3) for where, read in pauses.reads.items()} == {
        0: 0.1,
        1: 0.3,
    }
    assert pauses.read_median == pytest.approx(0.2)
    assert pauses.read_max == pytest.approx(0.3)


def test_a_switch_that_nobody_noticed_has_no_pauses() -> None:
    (pauses,) = pauses_of(_history(), [_ran(epoch=7)])
    assert (pauses.writes, pauses.by_producer, pauses.read_median, pauses.read_max) == (
        None,
        (),
        None,
        None,
    )


def test_the_tools_wall_clock_is_put_on_the_applications_clock() -> None:
    moments = moments_of(_pauses(closing_at_ms=1_010_020, committed_at_ms=1_010_055))
    assert [(moment.who, round(moment.at, 3)) for moment in moments] == [
        ("you", 10.0),
        ("tool", 10.02),
        ("tool", 10.055),
        ("producers", 10.06),
        ("consumers", 10.1),
        ("consumers", 10.4),
    ]


def test_moments_of_one_instant_keep_their_order() -> None:
    given = [Moment(2.0, "a", ""), Moment(1.0, "b", ""), Moment(1.0, "c", "")]
    assert [moment.who for moment in in_order(given)] == ["b", "c", "a"]


def test_a_good_story_says_so_in_plain_words() -> None:
    text = _printed(_told())
    assert "VERDICT: good" in text
    assert "0 lost   0 repeated   0 reordered" in text
    assert "4 records sent, 4 acknowledged, 4 delivered to 1 consumers" in text
    assert "$ failover switch --to RIGHT --yes" in text
    assert "50 ms" in text
    assert "40 ms" in text


def test_a_lost_record_is_named_and_makes_the_story_bad() -> None:
    history = _history()
    told = _told(replace(history, delivered=history.delivered[:-1]))
    assert not told.good
    text = _printed(told)
    assert "VERDICT: BAD" in text
    assert "1 lost" in text
    assert "p#3 was never delivered to g" in text


def test_an_unanswered_record_makes_the_story_bad() -> None:
    history = _history()
    unanswered = Sent("p", 4, "orders", 0, "k0", 11.0)
    told = _told(replace(history, sent=(*history.sent, unanswered)))
    assert told.verdict.ok
    assert not told.good
    assert "1 records were never acknowledged" in _printed(told)


def test_nothing_tried_is_not_good() -> None:
    assert not _told(History.of([])).good


@pytest.mark.parametrize(("seconds", "text"), [(None, "-"), (0.0324, "32 ms"), (1.5, "1,500 ms")])
def test_durations_are_printed_in_milliseconds(seconds: float | None, text: str) -> None:
    assert render.milliseconds(seconds) == text
