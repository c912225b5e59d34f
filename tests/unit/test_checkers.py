"""Each checker on hand-made histories: what it must report, and what it must not."""

import json
from pathlib import Path

import pytest

from clientlib.protocol.errors import RecordFormatError
from failover.checkers import (
    Aborted,
    Acked,
    ClusterLost,
    Committed,
    ConsumerCrashed,
    ConsumerStalled,
    ConsumerStarted,
    Delivered,
    EpochSeen,
    Event,
    Expected,
    History,
    Log,
    Revoked,
    SendFailed,
    Sent,
    aborted_read,
    acknowledged_twice,
    conflicting_offset,
    decode,
    distribution,
    encode,
    epoch_going_back,
    judge,
    lost,
    out_of_order,
    phantom,
    read_pauses,
    repeated,
    skipped,
    split_epoch,
    two_active_writers,
    write_pauses,
)
from failover.checkers.anomalies import Anomaly
from failover.checkers.epochs import EpochLine
from failover.io.history import HistoryWriter, read_history


def sent(
    seq: int, at: float, *, producer: str = "p", topic: str = "T", key: str | None = "k"
) -> Sent:
    return Sent(producer, seq, topic, None, key, at)


def acked(
    seq: int,
    at: float,
    *,
    producer: str = "p",
    cluster: str = "LEFT",
    partition: int = 0,
    offset: int | None = None,
) -> Acked:
    place = seq if offset is None else offset
    return Acked(producer, seq, cluster, "T", partition, place, at)


def got(
    seq: int,
    at: float,
    *,
    consumer: str = "c",
    group: str = "g",
    producer: str = "p",
    topic: str = "T",
    cluster: str | None = "LEFT",
    partition: int = 0,
    offset: int | None = None,
    key: str | None = "k",
) -> Delivered:
    place = seq if offset is None else offset
    return Delivered(
        consumer, group, producer, seq, topic, cluster, partition, place, key, float(at)
    )


def committed(
    offset: int, at: float, *, group: str = "g", cluster: str | None = "LEFT"
) -> Committed:
    return Committed("c", group, cluster, "T", 0, offset, at)


def written(
    *seqs: int, cluster: str = "LEFT", partition: int = 0, since: float = 0.0
) -> list[Event]:
    """Records sent and acknowledged one after another, 0.1 s apart."""
    events: list[Event] = []
    for i, seq in enumerate(seqs):
        at = since + i / 10
        events += [
            sent(seq, at),
            acked(seq, at + 0.05, cluster=cluster, partition=partition),
        ]
    return events


def seqs(anomalies: tuple[Anomaly, ...]) -> list[int]:
    """Sequence numbers of the record that each anomaly is about."""
    return [anomaly.evidence[0].seq for anomaly in anomalies]


def last_seqs(anomalies: tuple[Anomaly, ...]) -> list[int]:
    return [anomaly.evidence[-1].seq for anomaly in anomalies]


@pytest.mark.parametrize(
    ("events", "groups", "expected"),
    [
        pytest.param([*written(0, 1), got(0, 1), got(1, 1)], ["g"], [], id="all delivered"),
        pytest.param([*written(0, 1), got(0, 1)], ["g"], [1], id="tail missing"),
        pytest.param([*written(0, 1), got(1, 1)], ["g"], [0], id="head missing"),
        pytest.param(written(0), ["g"], [0], id="group that got nothing at all"),
        pytest.param([*written(0), got(0, 1)], ["g", "h"], [0], id="the other group missed it"),
        pytest.param([*written(0), got(0, 1)], [], [], id="no expectation"),
        pytest.param([sent(0, 0)], ["g"], [], id="unknown outcome"),
        pytest.param([sent(0, 0), SendFailed("p", 0, "timed out", 1)], ["g"], [], id="failed"),
        pytest.param(written(0), [Expected("g", frozenset({"U"}))], [], id="topic not wanted"),
        pytest.param(written(0), [Expected("g", frozenset({"T"}))], [0], id="topic wanted"),
        pytest.param(written(0, 1), [Expected("g", since=0.1)], [1], id="only since it began"),
        pytest.param(
            [*written(0), got(0, 1, cluster="RIGHT", topic="LEFT.T")],
            ["g"],
            [],
            id="the copy counts",
        ),
    ],
)
def test_lost(events: list[Event], groups: list[str | Expected], expected: list[int]) -> None:
    assert seqs(lost(History.of(events), groups)) == expected


@pytest.mark.parametrize(
    ("events", "groups", "expected"),
    [
        pytest.param([*written(0, 1, 2), got(0, 1), got(2, 2)], [], [1], id="gap"),
        pytest.param([*written(0, 1, 2), got(0, 1), got(1, 2)], [], [], id="tail is not skipped"),
        pytest.param([*written(0, 1), got(1, 2)], ["g"], [0], id="head, by a group of all"),
        pytest.param([*written(0, 1), got(1, 2)], [], [], id="head, by a group of latest"),
        pytest.param(
            [*written(0, 1), got(1, 2)], [Expected("g", since=0.1)], [], id="before it began"
        ),
        pytest.param(
            [*written(0, 2), *written(1, partition=1), got(0, 1), got(2, 2)],
            ["g"],
            [],
            id="another partition is only behind",
        ),
        pytest.param(
            [*written(0, 2), sent(1, 0.05), got(0, 1), got(2, 2)], ["g"], [], id="unknown outcome"
        ),
    ],
)
def test_skipped(events: list[Event], groups: list[str | Expected], expected: list[int]) -> None:
    assert seqs(skipped(History.of(events), groups)) == expected


_AGAIN = [*written(5), got(5, 10), got(5, 20, consumer="d")]
_COPY = got(5, 20, consumer="d", cluster="RIGHT", topic="LEFT.T", offset=7)


@pytest.mark.parametrize(
    ("events", "strict", "lenient"),
    [
        pytest.param([*written(5), got(5, 10)], 0, 0, id="once"),
        pytest.param([*written(5), got(5, 10), got(5, 20, group="h")], 0, 0, id="two groups"),
        pytest.param(_AGAIN, 1, 1, id="for no reason"),
        pytest.param([*_AGAIN, ConsumerCrashed("c", "g", 15)], 1, 0, id="crash, uncommitted"),
        pytest.param([*_AGAIN, ConsumerStalled("c", "g", 15)], 1, 0, id="stall, uncommitted"),
        pytest.param([*_AGAIN, ConsumerStarted("c", "g", 15)], 1, 0, id="restart, uncommitted"),
        pytest.param([*_AGAIN, Revoked("c", "g", "T", 0, 15)], 1, 0, id="revoked, uncommitted"),
        pytest.param([*_AGAIN, Revoked("c", "g", "T", 1, 15)], 1, 1, id="other partition revoked"),
        pytest.param([*_AGAIN, ConsumerCrashed("d", "g", 15)], 1, 1, id="another member's crash"),
        pytest.param([*_AGAIN, ConsumerCrashed("c", "h", 15)], 1, 1, id="another group's crash"),
        pytest.param([*_AGAIN, ConsumerCrashed("c", "g", 9)], 1, 1, id="crash before"),
        pytest.param([*_AGAIN, ConsumerCrashed("c", "g", 21)], 1, 1, id="crash too late"),
        pytest.param(
            [*_AGAIN, committed(6, 12), ConsumerCrashed("c", "g", 15)], 1, 1, id="committed"
        ),
        pytest.param(
            [*_AGAIN, committed(5, 12), ConsumerCrashed("c", "g", 15)],
            1,
            0,
            id="committed only up to it",
        ),
        pytest.param(
            [*_AGAIN, committed(6, 16), ConsumerCrashed("c", "g", 15)], 1, 0, id="committed later"
        ),
        pytest.param(
            [
                *_AGAIN,
                ConsumerCrashed("c", "g", 11),
                committed(6, 12),
                ConsumerCrashed("c", "g", 15),
            ],
            1,
            1,
            id="committed before the last crash",
        ),
        pytest.param(
            [
                *_AGAIN,
                Revoked("c", "g", "T", 0, 11),
                committed(6, 12),
                ConsumerCrashed("c", "g", 15),
            ],
            1,
            1,
            id="committed between revocation and crash",
        ),
        pytest.param(
            [
                *_AGAIN,
                ConsumerCrashed("c", "g", 12),
                committed(6, 22),
                ConsumerCrashed("d", "g", 25),
                got(5, 30),
            ],
            2,
            1,
            id="rightly a second time, wrongly a third",
        ),
        pytest.param(
            [*_AGAIN, committed(6, 12, cluster="RIGHT"), ConsumerCrashed("c", "g", 15)],
            1,
            0,
            id="commit of the log of that name elsewhere",
        ),
        pytest.param(
            [*_AGAIN, committed(6, 12, cluster=None), ConsumerCrashed("c", "g", 15)],
            1,
            1,
            id="commit on an unknown cluster",
        ),
        pytest.param(
            [*_AGAIN, committed(6, 12, group="h"), ConsumerCrashed("c", "g", 15)],
            1,
            0,
            id="another group's commit",
        ),
        pytest.param(
            [*written(5), got(5, 10), _COPY, ConsumerCrashed("c", "g", 15)],
            1,
            0,
            id="again from the copy, uncommitted",
        ),
        pytest.param(
            [*written(5), got(5, 10), _COPY, committed(6, 12), Revoked("c", "g", "T", 0, 15)],
            1,
            1,
            id="again from the copy, committed",
        ),
        pytest.param(
            [*written(5), got(5, 10), got(5, 20, offset=6), ConsumerCrashed("c", "g", 15)],
            1,
            1,
            id="written twice in one log",
        ),
        pytest.param(
            [*written(5), got(5, 10), got(5, 20, cluster="RIGHT"), ConsumerCrashed("c", "g", 15)],
            1,
            1,
            id="written on two clusters",
        ),
        pytest.param([sent(5, 0), got(5, 10), got(5, 20)], 1, 1, id="unknown outcome, twice"),
        pytest.param([sent(5, 0), got(5, 10)], 0, 0, id="unknown outcome, once"),
    ],
)
def test_repeated(events: list[Event], strict: int, lenient: int) -> None:
    history = History.of(events)
    assert len(repeated(history, strict=True)) == strict
    assert len(repeated(history, strict=False)) == lenient


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([got(0, 1), got(1, 2), got(2, 3)], [], id="in order"),
        pytest.param([got(0, 1), got(2, 2), got(1, 3)], [1], id="swapped"),
        pytest.param(
            [got(0, 1), got(2, 2, consumer="d"), got(1, 3)], [1], id="across two consumers"
        ),
        pytest.param(
            [got(1, 1, partition=0), got(0, 2, partition=1)], [0], id="one key, two partitions"
        ),
        pytest.param(
            [got(1, 1, partition=0, key="a"), got(0, 2, partition=1, key="b")],
            [],
            id="two keys, two partitions",
        ),
        pytest.param(
            [got(1, 1, partition=0, key=None), got(0, 2, partition=1, key=None)],
            [],
            id="no key, two partitions",
        ),
        pytest.param(
            [got(1, 1, key="a", offset=0), got(0, 2, key="b", offset=1)],
            [0],
            id="two keys, one partition",
        ),
        pytest.param(
            [got(1, 1, offset=0), got(0, 2, producer="q", offset=1)], [], id="two producers"
        ),
        pytest.param(
            [got(1, 1, offset=4), got(1, 2, producer="q", offset=3)], [1], id="offset goes back"
        ),
        pytest.param(
            [got(1, 1, offset=4, cluster=None), got(1, 2, producer="q", offset=3, cluster=None)],
            [],
            id="offsets of unknown logs",
        ),
        pytest.param([got(1, 1), got(0, 2, group="h")], [], id="two groups"),
        pytest.param(
            [
                sent(0, 0),
                sent(1, 0),
                got(0, 1, topic="LEFT.T", cluster="RIGHT", offset=9),
                got(1, 2, cluster="RIGHT", offset=0),
            ],
            [],
            id="remote copy first, then the local topic",
        ),
        pytest.param(
            [
                sent(0, 0),
                sent(1, 0),
                got(1, 1, cluster="RIGHT", offset=0, key=None),
                got(0, 2, topic="LEFT.T", cluster="RIGHT", offset=9, key=None),
            ],
            [0],
            id="local topic first, then the remote copy",
        ),
        pytest.param(
            [got(0, 1), got(1, 2), got(0, 3), got(1, 4), got(2, 5)], [], id="a rewind is no reorder"
        ),
    ],
)
def test_out_of_order(events: list[Event], expected: list[int]) -> None:
    assert last_seqs(out_of_order(History.of(events))) == expected


_EPOCHS = [EpochSeen("tool", 1, "LEFT", 0), EpochSeen("tool", 2, "RIGHT", 10)]
_MOVED = [*_EPOCHS, *written(0, 1, since=1), *written(2, 3, since=11, cluster="RIGHT")]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param(_MOVED, [], id="switch"),
        pytest.param(
            [*_MOVED, EpochSeen("tool", 3, "LEFT", 20), *written(4, since=21)], [], id="failback"
        ),
        pytest.param([*_MOVED, *written(4, since=21)], [4], id="wrote on the old side after"),
        pytest.param(
            [*_MOVED, sent(4, 9), acked(4, 12)], [], id="in flight, reported late by the old side"
        ),
        pytest.param(
            [*_EPOCHS, *written(0, since=1, cluster="RIGHT")], [0], id="new side before its epoch"
        ),
        pytest.param(
            [*_EPOCHS, EpochSeen("p", 2, "RIGHT", 11), *written(0, since=12)],
            [0],
            id="its own producer knew better",
        ),
        pytest.param(
            [*_EPOCHS, EpochSeen("q", 2, "RIGHT", 11), *written(0, since=12)],
            [],
            id="only another producer knew",
        ),
        pytest.param(
            [*_EPOCHS, *written(0, since=1, cluster="THIRD")], [0], id="never active at all"
        ),
        pytest.param(
            [*_EPOCHS, sent(0, 10), acked(0, 10, cluster="RIGHT")], [], id="as its epoch begins"
        ),
        pytest.param(
            [*_MOVED, sent(4, 11.05), acked(4, 12)], [], id="sent as the new side acknowledged"
        ),
        pytest.param(written(0, 1), [], id="no epochs, one cluster"),
        pytest.param(
            [*written(0), *written(1, since=1, cluster="RIGHT")], [1], id="no epochs, two clusters"
        ),
        pytest.param([*_MOVED, acked(4, 21)], [4], id="acknowledged, never sent"),
    ],
)
def test_two_active_writers(events: list[Event], expected: list[int]) -> None:
    assert last_seqs(two_active_writers(History.of(events))) == expected


@pytest.mark.parametrize(
    ("seen", "back", "split"),
    [
        pytest.param([("p", 1, "LEFT"), ("p", 2, "RIGHT")], 0, 0, id="rising"),
        pytest.param([("p", 1, "LEFT"), ("p", 1, "LEFT")], 0, 0, id="seen again"),
        pytest.param([("p", 2, "RIGHT"), ("p", 1, "LEFT")], 1, 0, id="back"),
        pytest.param([("p", 2, "RIGHT"), ("q", 1, "LEFT")], 0, 0, id="another client is behind"),
        pytest.param([("p", 2, "RIGHT"), ("q", 2, "LEFT")], 0, 1, id="two clusters in one epoch"),
    ],
)
def test_epochs(seen: list[tuple[str, int, str]], back: int, split: int) -> None:
    history = History.of(EpochSeen(*event, float(at)) for at, event in enumerate(seen))
    assert len(epoch_going_back(history)) == back
    assert len(split_epoch(history)) == split


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([*written(0), got(0, 1)], [], id="sent"),
        pytest.param([SendFailed("p", 0, "purged", 0), got(0, 1)], [], id="failed, yet stored"),
        pytest.param([*written(0), got(0, 1), got(9, 2)], [9], id="nobody sent it"),
    ],
)
def test_phantom(events: list[Event], expected: list[int]) -> None:
    assert seqs(phantom(History.of(events))) == expected


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([acked(0, 0), acked(1, 1), got(0, 2), got(1, 3)], 0, id="each its own"),
        pytest.param([acked(0, 0, offset=5), acked(1, 1, offset=5)], 1, id="two acknowledged"),
        pytest.param([acked(0, 0, offset=5), got(1, 1, offset=5)], 1, id="another one delivered"),
        pytest.param(
            [got(0, 0, offset=5), got(1, 1, group="h", offset=5)], 1, id="two groups disagree"
        ),
        pytest.param(
            [acked(0, 0, offset=5), got(1, 1, offset=5, cluster="RIGHT")], 0, id="two clusters"
        ),
    ],
)
def test_conflicting_offset(events: list[Event], expected: int) -> None:
    assert len(conflicting_offset(History.of(events))) == expected


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param(written(0, 1), 0, id="once"),
        pytest.param([sent(0, 0), acked(0, 1), acked(0, 2)], 1, id="twice"),
        pytest.param(
            [sent(0, 0), acked(0, 1), sent(0, 2), acked(0, 3)],
            0,
            id="the application sent it twice",
        ),
    ],
)
def test_acknowledged_twice(events: list[Event], expected: int) -> None:
    assert len(acknowledged_twice(History.of(events))) == expected


def test_verdict_counts_and_shows_a_rare_anomaly_beside_a_common_one() -> None:
    events = [
        *written(*range(50)),
        *(got(n, n + 10) for n in range(1, 50)),
        *(got(n, n + 100) for n in range(1, 50)),
        sent(70, 7),
        sent(71, 7),
        got(71, 200),
        sent(72, 7),
        SendFailed("p", 72, "purged", 8),
        SendFailed("p", 3, "reported before it was acknowledged after all", 0),
    ]
    verdict = judge(History.of(events), groups=["g"], show=3)
    assert not verdict.ok
    assert (verdict.lost, verdict.repeated, verdict.skipped, verdict.reordered) == (1, 49, 1, 0)
    assert [str(a.kind) for a in verdict.anomalies] == ["lost", "repeated", "skipped"]
    assert (verdict.sent, verdict.acked, verdict.delivered) == (53, 50, 99)
    unknown = verdict.unknown
    assert (unknown.unanswered, unknown.unanswered_delivered) == (2, 1)
    assert (unknown.failed, unknown.failed_delivered) == (1, 0)
    plain = json.loads(verdict.to_json())
    assert plain["lost"] == 1
    assert plain["anomalies"][0]["evidence"] == [["A", "p", 0, "LEFT", "T", 0, 0, 0.05]]


def test_lenient_verdict_counts_what_it_allows() -> None:
    history = History.of([*_AGAIN, ConsumerCrashed("c", "g", 15)])
    assert judge(history, groups=["g"]).repeated == 1
    verdict = judge(history, groups=["g"], strict=False)
    assert (verdict.ok, verdict.repeated, verdict.repeats_allowed) == (True, 0, 1)


def test_write_pause_lies_between_the_last_and_the_first_acknowledgement() -> None:
    (pause,) = write_pauses(History.of(_MOVED))
    assert (pause.epoch, pause.old, pause.new, pause.producer) == (2, "LEFT", "RIGHT", None)
    assert pause.seconds == pytest.approx(11.05 - 1.15)


def test_an_epoch_that_keeps_the_active_cluster_is_no_switch() -> None:
    epochs = [EpochSeen("tool", 1, "LEFT", 0), EpochSeen("tool", 2, "LEFT", 10)]
    assert write_pauses(History.of([*epochs, acked(0, 1), acked(1, 11)])) == ()


def test_an_epoch_has_begun_when_a_later_one_was_seen() -> None:
    seen = [EpochSeen("p", 1, "LEFT", 0), EpochSeen("p", 3, "LEFT", 5), EpochSeen("q", 2, "B", 8)]
    line = EpochLine.of(History.of(seen))
    assert (line.counters, line.begins) == ((1, 2, 3), (float("-inf"), 5, 5))


def test_the_cluster_of_a_copy_is_not_guessed() -> None:
    history = History.of([*written(0), got(0, 1, topic="LEFT.T", cluster=None)])
    assert history.log_of(history.delivered[0]) == Log(None, "LEFT.T", 0)


def test_write_pauses_per_producer_and_per_switch() -> None:
    events = [
        *_MOVED,
        acked(0, 2, producer="q"),
        acked(1, 15, producer="q", cluster="RIGHT"),
        EpochSeen("tool", 3, "LEFT", 20),
        acked(9, 21),
    ]
    pauses = write_pauses(History.of(events), per_producer=True)
    found = {(p.epoch, p.producer): round(p.seconds, 2) for p in pauses}
    assert found == {(2, "p"): 9.9, (2, "q"): 13.0, (3, "p"): 9.85}


def test_read_pauses_at_each_change_of_log() -> None:
    copy = {"topic": "LEFT.T", "cluster": "RIGHT"}
    events = [
        *_EPOCHS,
        *(sent(n, 0) for n in range(5)),
        got(0, 9),
        got(1, 10.2, **copy, offset=11),
        got(0, 10.25),
        got(2, 10.3, **copy, offset=12),
        got(3, 10.8, cluster="RIGHT", offset=0),
        got(4, 10.9, cluster="RIGHT", offset=1),
    ]
    pauses = read_pauses(History.of(events))
    assert [(p.epoch, p.old, p.new) for p in pauses] == [
        (2, Log("LEFT", "T", 0), Log("RIGHT", "LEFT.T", 0)),
        (2, Log("RIGHT", "LEFT.T", 0), Log("RIGHT", "T", 0)),
    ]
    assert [p.seconds for p in pauses] == pytest.approx([1.2, 0.5])
    assert {(p.group, p.topic, p.partition) for p in pauses} == {("g", "T", 0)}


def test_read_pause_finds_the_cluster_of_an_origin_log_by_its_acknowledgements() -> None:
    events = [*_MOVED, got(1, 9, cluster=None), got(2, 12, cluster=None)]
    (pause,) = read_pauses(History.of(events))
    assert (pause.old.cluster, pause.new.cluster, pause.seconds) == ("LEFT", "RIGHT", 3)


def test_distribution() -> None:
    assert distribution([]) is None
    history = History.of(
        event
        for n in range(20)
        for event in (
            got(0, 0, partition=n, producer=f"p{n}"),
            got(1, n + 1, partition=n, producer=f"p{n}", cluster="RIGHT"),
        )
    )
    spread = distribution(read_pauses(history))
    assert spread is not None
    assert (spread.count, spread.median, spread.p95, spread.max) == (20, 10.5, 19, 20)


_ONE_OF_EACH: list[Event] = [
    sent(0, 0.5),
    sent(1, 0.5, key=None),
    acked(0, 1.25),
    SendFailed("p", 2, 'told "no"\nand äß', 1.5),
    got(0, 2.0),
    got(0, 2.0, cluster=None, key=None),
    committed(1, 3.0),
    Revoked("c", "g", "T", 0, 4.0),
    ConsumerStarted("c", "g", 5.0),
    ConsumerCrashed("c", "g", 6.0),
    ConsumerStalled("c", "g", 7.0),
    EpochSeen("p", 1, "LEFT", 8.0),
    ClusterLost("LEFT", 9.0),
]


@pytest.mark.parametrize("event", _ONE_OF_EACH, ids=lambda e: type(e).__name__)
def test_encoding_gives_the_event_back_on_one_line(event: Event) -> None:
    line = encode(event)
    assert "\n" not in line
    assert (decode(line), type(decode(line))) == (event, type(event))


def test_encoding_is_compact() -> None:
    assert encode(sent(3, 0.5)) == '["S","p",3,"T",null,"k",0.5]'


@pytest.mark.parametrize(
    "line", ["", "{}", "[]", '["S","p"', '["S","p",3]', '["?",1]', "3", "null"]
)
def test_decoding_refuses_what_is_no_event(line: str) -> None:
    with pytest.raises(RecordFormatError):
        decode(line)


def test_files_are_merged_and_a_torn_last_line_is_ignored(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    with HistoryWriter(one) as writer:
        writer.write(sent(0, 1.0))
        writer.write(sent(1, 3.0))
    with HistoryWriter(two) as writer:
        writer.write(sent(7, 2.0, producer="q"))
    with two.open("a") as file:
        file.write(encode(sent(8, 4.0, producer="q"))[:-5])
    assert [event.seq for event in read_history([one, two]).sent] == [0, 7, 1]
    with HistoryWriter(two) as writer:
        writer.write(sent(9, 5.0, producer="q"))
    assert [event.seq for event in read_history([two]).sent] == [7, 9]


def test_events_are_in_the_file_before_it_is_closed(tmp_path: Path) -> None:
    with HistoryWriter(tmp_path / "h") as writer:
        writer.write(sent(0, 1.0))
        assert len(read_history([tmp_path / "h"]).sent) == 1


def test_a_broken_line_in_the_middle_is_an_error_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "h"
    path.write_text(f"{encode(sent(0, 1.0))}\nnonsense\n{encode(sent(1, 2.0))}\n")
    with pytest.raises(RecordFormatError, match="line 2"):
        read_history([path])


def unplanned(*events: Event) -> History:
    """LEFT is lost at 5.0, RIGHT goes on at 6.0."""
    epochs = [EpochSeen("tool", 1, "LEFT", 0.0), EpochSeen("tool", 2, "RIGHT", 6.0)]
    return History.of([*epochs, ClusterLost("LEFT", 5.0), *events])


def test_a_record_read_of_a_lost_cluster_may_come_again_as_a_replay_after_a_crash() -> None:
    events = [
        *written(0),
        got(0, 4.5),
        committed(1, 4.8),
        ConsumerCrashed("c", "g", 5.5),
        got(0, 7.0, cluster="RIGHT", offset=3),
    ]
    assert repeated(unplanned(*events), strict=False) == ()
    assert len(repeated(unplanned(*events), strict=True)) == 1


def test_a_commit_that_a_standby_must_have_heard_of_counts_also_when_its_cluster_is_lost() -> None:
    events = [
        *written(0),
        got(0, 0.2),
        committed(1, 0.3),
        ConsumerCrashed("c", "g", 5.5),
        got(0, 7.0, cluster="RIGHT", offset=3),
    ]
    assert len(repeated(unplanned(*events), strict=False)) == 1


def twice_interrupted(committed_at: float, crashed_at: float) -> History:
    """The group is set back to the record after the loss, and once more after the failback."""
    return unplanned(
        *written(0),
        got(0, crashed_at - 0.2),
        committed(1, committed_at),
        ConsumerCrashed("c", "g", crashed_at),
        got(0, 7.0, cluster="RIGHT", topic="LEFT.T", offset=3, consumer="d"),
        EpochSeen("tool", 3, "LEFT", 7.5),
        Revoked("d", "g", "LEFT.T", 0, 7.6),
        got(0, 8.0, consumer="d"),
        Revoked("d", "g", "T", 0, 8.5),
        got(0, 9.0, consumer="e"),
    )


def test_a_commit_nobody_knew_of_when_its_cluster_was_lost_does_not_count_later_either() -> None:
    assert repeated(twice_interrupted(4.9, 5.0), strict=False) == ()
    assert len(repeated(twice_interrupted(0.3, 4.5), strict=False)) == 2


@pytest.mark.parametrize(
    ("stalled_at", "lost_at", "excused"),
    [(11.0, 15.0, True), (11.0, 25.0, False), (15.0, 11.0, True), (25.0, 11.0, False)],
)
def test_a_consumer_that_lives_on_tells_what_it_has_committed(
    stalled_at: float, lost_at: float, excused: bool
) -> None:
    """An interruption long before, or long after, its cluster was lost takes nothing back."""
    moved_at = lost_at + 1.0
    history = History.of(
        [
            EpochSeen("tool", 1, "LEFT", 0.0),
            ClusterLost("LEFT", lost_at),
            EpochSeen("tool", 2, "RIGHT", moved_at),
            *written(0),
            got(0, 9.0),
            committed(1, 9.5),
            ConsumerStalled("c", "g", stalled_at),
            got(0, 30.0, cluster="RIGHT", topic="LEFT.T", consumer="d"),
            Revoked("d", "g", "LEFT.T", 0, 31.0),
            EpochSeen("tool", 3, "LEFT", 32.0),
            got(0, 33.0, consumer="e"),
            Revoked("e", "g", "T", 0, 34.0),
            got(0, 35.0, consumer="f"),
        ]
    )
    assert (repeated(history, strict=False) == ()) is excused


def test_a_consumer_that_lives_on_gets_nothing_again_when_its_cluster_is_lost() -> None:
    """Its commits travel by the report that hands the partition over."""
    events = [
        *written(0),
        got(0, 4.5),
        committed(1, 6.2),
        Revoked("c", "g", "T", 0, 6.3),
        got(0, 7.0, cluster="RIGHT", offset=3),
    ]
    assert len(repeated(unplanned(*events), strict=False)) == 1


def test_what_a_lost_cluster_held_alone_and_whose_producer_died_is_not_expected() -> None:
    history = unplanned(*written(0, 1), got(0, 1.0))
    alone = Expected("g", but=frozenset({("p", 1)}))
    assert (seqs(lost(history, ["g"])), seqs(lost(history, [alone]))) == ([1], [])


def test_a_late_record_that_a_group_does_not_want_is_not_skipped() -> None:
    """It passes over some of the tail; whatever else is missing before a later record is told."""
    history = unplanned(*written(0, 1, 2, 3), got(0, 1.0), got(3, 1.1))
    choosy = Expected("g", but=frozenset({("p", 1)}))
    assert (seqs(skipped(history, ["g"])), seqs(skipped(history, [choosy]))) == ([1, 2], [2])


def test_a_producer_that_has_not_heard_of_the_loss_may_write_to_the_lost_cluster() -> None:
    other = [sent(0, 6.5, producer="q"), acked(0, 6.6, producer="q", cluster="RIGHT")]
    unaware = [*other, sent(0, 7.0), acked(0, 7.1)]
    assert two_active_writers(unplanned(*unaware)) == ()
    told = [*unaware, EpochSeen("p", 2, "RIGHT", 6.9)]
    assert len(two_active_writers(unplanned(*told))) == 1


def test_a_lost_cluster_may_hold_another_record_at_an_offset_when_it_is_back() -> None:
    events = [sent(0, 1.0), sent(1, 1.0), acked(0, 2.0, offset=7), acked(1, 8.0, offset=7)]
    assert conflicting_offset(unplanned(*events)) == ()
    assert len(conflicting_offset(History.of(events))) == 1


def test_offsets_of_a_lost_cluster_may_begin_again_when_it_is_back() -> None:
    events = [*written(0, 1), got(0, 1.0, offset=9), got(1, 8.0, offset=4)]
    assert out_of_order(unplanned(*events)) == ()
    assert len(out_of_order(History.of(events))) == 1


def test_who_has_not_heard_of_the_loss_may_read_on_from_the_lost_cluster() -> None:
    events = [*written(0), got(0, 7.0, topic="LEFT.T", cluster="RIGHT"), got(0, 8.0, consumer="d")]
    assert repeated(unplanned(*events), strict=False) == ()
    back = EpochSeen("tool", 3, "LEFT", 7.5)
    assert len(repeated(unplanned(*events, back), strict=False)) == 1


def test_what_a_consumer_reads_of_the_lost_cluster_that_does_not_hear_others_may_get_too() -> None:
    """The epoch begins at 6; who reaches its cluster has heard of it two seconds later."""
    again = got(0, 8.9, topic="LEFT.T", cluster="RIGHT")
    late = [*written(0), got(0, 8.5, consumer="d", cluster="LEFT"), again]
    assert repeated(unplanned(*late), strict=False) == ()
    soon = [*written(0), got(0, 6.5, consumer="d", cluster="LEFT"), again]
    assert len(repeated(unplanned(*soon), strict=False)) == 1


def test_who_is_cut_off_when_it_reads_of_the_lost_cluster_does_not_hear_either() -> None:
    """The cluster had died long before it was given up, and was back; written down as it is cut."""
    loss = [ClusterLost("LEFT", 1.0), EpochSeen("tool", 2, "RIGHT", 6.0)]
    known = [*written(0), *loss, Committed("d", "g", "LEFT", "T", 0, 1, 6.55)]
    read, again = got(0, 6.5, consumer="d"), got(0, 9.0, topic="LEFT.T", cluster="RIGHT")
    cut = [ConsumerStalled("d", "g", at) for at in (6.4, 6.6, 6.8)]
    assert repeated(History.of([*known, read, *cut, again]), strict=False) == ()
    stalled = ConsumerStalled("d", "g", 7.5)
    assert len(repeated(History.of([*known, read, stalled, again]), strict=False)) == 1


def test_who_does_not_hear_of_the_loss_may_read_copies_there_too() -> None:
    late = [*written(0), got(0, 5.0), got(0, 8.5, topic="RIGHT.T", cluster="LEFT", consumer="d")]
    assert repeated(unplanned(*late), strict=False) == ()
    soon = [*written(0), got(0, 5.0), got(0, 7.5, topic="RIGHT.T", cluster="LEFT", consumer="d")]
    assert len(repeated(unplanned(*soon), strict=False)) == 1


def test_a_partition_of_the_lost_cluster_whose_reader_has_handed_it_over_is_read_by_another() -> (
    None
):
    """Its group there gives it to a member that has not heard; the hand-over cannot know."""
    again = got(0, 6.9, topic="LEFT.T", cluster="RIGHT")
    read = got(0, 6.5, consumer="d", cluster="LEFT")
    over = Revoked("c", "g", "T", 0, 6.3)
    assert repeated(unplanned(*written(0), over, read, again), strict=False) == ()
    later = Revoked("c", "g", "T", 0, 6.7)
    assert len(repeated(unplanned(*written(0), later, read, again), strict=False)) == 1
    own = Revoked("d", "g", "T", 0, 6.3)
    assert len(repeated(unplanned(*written(0), own, read, again), strict=False)) == 1


def test_a_repeat_inside_a_copy_that_nobody_can_prove_is_allowed_where_it_stands() -> None:
    first = got(0, 7.0, topic="LEFT.T", cluster="RIGHT", offset=3)
    again = got(0, 7.1, topic="LEFT.T", cluster="RIGHT", offset=8)
    history = unplanned(*written(0), first, again)
    place = ("RIGHT", "LEFT.T", again.partition, 8)
    for strict in (True, False):
        assert repeated(history, strict=strict, unproved=frozenset({place})) == ()
        assert len(repeated(history, strict=strict)) == 1


def test_what_was_not_committed_comes_again_also_from_where_the_copy_has_it_first() -> None:
    events = [
        *written(0),
        got(0, 7.0, topic="LEFT.T", cluster="RIGHT", offset=3),
        got(0, 7.1, topic="LEFT.T", cluster="RIGHT", offset=8),
        Revoked("c", "g", "LEFT.T", 0, 7.2),
        again := got(0, 7.3, topic="LEFT.T", cluster="RIGHT", offset=3),
    ]
    unproved = frozenset({("RIGHT", "LEFT.T", again.partition, 8)})
    assert repeated(unplanned(*events), strict=False, unproved=unproved) == ()
    covered = [*events, Committed("c", "g", "RIGHT", "LEFT.T", 0, 9, 7.15)]
    assert len(repeated(unplanned(*covered), strict=False, unproved=unproved)) == 1


def test_what_is_read_of_a_lost_cluster_by_who_has_not_heard_of_it_gives_no_order() -> None:
    late = [*written(0, 1), got(1, 8.0, consumer="d")]
    events = [*late, got(0, 9.0, topic="LEFT.T", cluster="RIGHT")]
    assert out_of_order(unplanned(*events)) == ()
    assert len(out_of_order(History.of(events))) == 1


def test_records_whose_offset_nobody_was_told_do_not_conflict() -> None:
    events = [sent(0, 1.0), sent(1, 1.0), acked(0, 6.0, offset=-1), acked(1, 6.0, offset=-1)]
    assert conflicting_offset(unplanned(*events)) == ()


def test_a_record_of_an_aborted_transaction_reaches_nobody() -> None:
    events: list[Event] = [sent(1, 1), Aborted("p", 1, 2.0), sent(2, 3), acked(2, 3.1), got(2, 4)]
    assert aborted_read(History.of(events)) == ()
    read = History.of([*events, got(1, 5)])
    assert [anomaly.kind for anomaly in aborted_read(read)] == ["aborted-read"]
    assert judge(read, groups=["g"]).aborted_reads == 1
