"""State, ledger, journal and mark records, and how they fold into a view."""

import json

import pytest

from clientlib.protocol.clients import Client, Registration, Role, Seen, decode_client, fold_clients
from clientlib.protocol.errors import RecordFormatError
from clientlib.protocol.ledger import ClosedEpoch
from clientlib.protocol.records import TooNewError, encode_key, encode_value
from clientlib.protocol.state import (
    Mark,
    Phase,
    State,
    View,
    fold,
    ledger_record,
    mark_released,
    merge,
    run_record,
)
from clientlib.protocol.types import Epoch

ONE, TWO = Epoch(1, "LEFT"), Epoch(2, "RIGHT")
STATE = State("s", (ONE,), 1, clusters={"LEFT": "id-l", "RIGHT": "id-r"})
CLOSED = ClosedEpoch(ONE, {"LEFT": {0: 30000, 1: 7}, "RIGHT": {0: 30010, 1: 7}})


def record(state: State) -> tuple[bytes, bytes]:
    return state.key(), state.value()


def test_what_is_written_is_read() -> None:
    mark = Mark("r1", "me", 3)
    view = fold(
        View(),
        "s",
        [
            record(STATE),
            ledger_record("s", "T", CLOSED),
            run_record("s", "r1", 2, {"phase": "closing"}),
            mark.record("s"),
        ],
    )
    assert view.state == STATE
    assert view.ledger == {"T": {1: CLOSED}}
    assert view.journal["r1"][2]["phase"] == "closing"
    assert view.mark == mark
    assert fold(view, "s", [mark_released("s")]).mark is None


def test_other_scopes_and_unknown_kinds_and_fields_are_ignored() -> None:
    other = State("t", (ONE, TWO), 9)
    future = encode_key("weather", "s"), encode_value({"sky": "blue"})
    more = json.loads(STATE.value()) | {"unknown": [1, 2]}
    view = fold(View(), "s", [record(other), future, (STATE.key(), json.dumps(more).encode())])
    assert view == View(state=STATE)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"garbage", b"{}"),
        (b"[]", b"{}"),
        (b'{"state": 1}', b"{}"),
        (STATE.key(), b"garbage"),
        (STATE.key(), b"[]"),
        (STATE.key(), b"{}"),
        (STATE.key(), b'{"epochs": [], "revision": 1, "phase": "active"}'),
        (STATE.key(), b'{"epochs": [[1, "L"]], "revision": 1, "phase": "asleep"}'),
        (b'["ledger", "s", "T"]', b'{"cluster": "L", "ends": {}}'),
        (b'["ledger", "s", "T", 1]', b'{"cluster": "L", "ends": {"L": {"0": "x"}}}'),
    ],
)
def test_garbage_is_a_format_error(key: bytes, value: bytes) -> None:
    with pytest.raises(RecordFormatError):
        fold(View(), "s", [(key, value)])


def test_a_record_for_newer_readers_is_not_acted_on() -> None:
    body = json.loads(STATE.value()) | {"min_reader": 99}
    with pytest.raises(TooNewError):
        fold(View(), "s", [(STATE.key(), json.dumps(body).encode())])


def test_an_end_is_written_once() -> None:
    later = ClosedEpoch(ONE, {"LEFT": {0: 99}, "THIRD": {0: 5}})
    view = fold(View(), "s", [ledger_record("s", "T", CLOSED), ledger_record("s", "T", later)])
    ends = view.ledger["T"][1].ends
    assert ends["LEFT"] == {0: 30000, 1: 7}
    assert ends["THIRD"] == {0: 5}


@pytest.mark.parametrize(
    ("left", "right", "wins"),
    [
        (State("s", (ONE,), 3), State("s", (ONE,), 2), "left"),
        (State("s", (ONE,), 9), State("s", (ONE, TWO), 0), "right"),
        (State("s", (ONE,), 2, Phase.CLOSING), State("s", (ONE,), 3), "right"),
    ],
)
def test_across_clusters_the_highest_epoch_and_revision_wins(
    left: State, right: State, wins: str
) -> None:
    views = [View(state=left), View(state=right)]
    expected = left if wins == "left" else right
    assert merge(views).state == expected
    assert merge(reversed(views)).state == expected


def test_tombstones_forget_a_runs_entries_one_by_one() -> None:
    entries = [run_record("s", "r", n, {"n": n}) for n in (1, 2)]
    view = fold(View(), "s", entries)
    view = fold(view, "s", [(entries[0][0], None)])
    assert list(view.journal["r"]) == [2]
    assert fold(view, "s", [(entries[1][0], None)]).journal == {}


CLIENT = Client(
    "c1",
    Role.PRODUCER,
    "s",
    topics=("T",),
    seen=Seen(2, 1, "r"),
    quiesced=True,
    ttl_ms=1000,
    away=("RIGHT",),
)


def test_clients_are_read_as_written_and_expire() -> None:
    assert decode_client(CLIENT.key(), CLIENT.value()) == CLIENT
    found = fold_clients({}, "s", [(CLIENT.key(), CLIENT.value(), 5000)])
    assert found == {"c1": Registration(CLIENT, 5000)}
    assert not found["c1"].expired(6000)
    assert found["c1"].expired(6001)
    assert fold_clients(found, "s", [(CLIENT.key(), None, 5001)]) == {}


def test_clients_of_other_scopes_and_unreadable_ones_are_ignored() -> None:
    rows = [
        (CLIENT.key(), b"garbage", 1),
        (b"garbage", b"{}", 1),
        (None, b"{}", 1),
        (CLIENT.key(), encode_value({"role": "dancer"}), 1),
    ]
    assert fold_clients({}, "s", rows) == {}
    assert fold_clients({}, "other", [(CLIENT.key(), CLIENT.value(), 1)]) == {}
