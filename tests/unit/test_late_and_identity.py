"""What an application can choose: what becomes of late records, and what a record's identity is."""

from typing import Any

import pytest

from clientlib import ConfigurationError, FailoverConsumer, FailoverProducer
from clientlib.core.next_span import Late
from clientlib.core.session import Session
from clientlib.core.tracker import Span
from clientlib.protocol.ledger import ClosedEpoch
from clientlib.protocol.naming import DefaultReplicationPolicy, Naming
from clientlib.protocol.state import State, View
from clientlib.protocol.types import Epoch, Partition, Position
from tests.unit.test_runtime import reading, record

CONFIG = {
    "clusters": {
        "LEFT": {"bootstrap.servers": "127.0.0.1:1"},
        "RIGHT": {"bootstrap.servers": "127.0.0.1:1"},
    }
}
NAMING = Naming(DefaultReplicationPolicy("."), ("LEFT", "RIGHT"))
EPOCHS = (Epoch(1, "LEFT"), Epoch(2, "RIGHT"), Epoch(3, "LEFT"))
P0 = Partition("T", 0)


def span_behind_a_loss(late: Late) -> Span:
    """LEFT was lost at offset 100 and is back with a tail: 100 to 104 replayed, to 110 late."""
    ends = {"LEFT": {0: 100}, "RIGHT": {0: 100}}
    skip, tail = {"LEFT": {0: ((100, 104),)}}, {"LEFT": {0: ((104, 110),)}}
    rows = {1: ClosedEpoch(EPOCHS[0], ends, skip, tail), 2: ClosedEpoch(EPOCHS[1], {"LEFT": {}})}
    session = Session(NAMING, ("LEFT", "RIGHT"), late)
    session.on_state(View(State("default", EPOCHS, 0, unplanned=(2,)), {"T": rows}), 0.0)
    session.on_owned("LEFT", [P0], 0.0)
    (seat,) = session.seats.values()
    session._open(seat, Position(3, "LEFT", {"LEFT": 100, "RIGHT": 0}), 0.0)
    assert seat.tracker is not None
    assert seat.tracker.current is not None
    return seat.tracker.current


@pytest.mark.parametrize(
    ("late", "begins", "asked"),
    [(Late.DELIVER, 104, ()), (Late.HOLD, 110, ()), (Late.ASK, 104, ((104, 110),))],
)
def test_what_becomes_of_late_records(
    late: Late, begins: int, asked: tuple[tuple[int, int], ...]
) -> None:
    """What was replayed is never given again, whatever the application wants of the rest."""
    span = span_behind_a_loss(late)
    assert (span.past(span.next), span.late) == (begins, asked)


def test_the_application_is_asked_about_each_late_record_and_no_other() -> None:
    runtime, left, span = reading(takes=0.0)
    span.late = ((5, 7),)
    left.fetched.append(record("T", 0, 7))
    asked: list[int] = []

    def wants(_consumer: Any, message: Any) -> bool:
        asked.append(message.offset())
        return bool(message.offset() == 6)

    runtime.callbacks.late = wants
    got = [m.offset() for m in (runtime.poll(0.1), runtime.poll(0.1)) if m is not None]
    assert (got, asked) == ([6, 7], [5, 6])


@pytest.mark.parametrize(
    ("kind", "setting"),
    [
        (FailoverConsumer, {"group.id": "g", "failover.late.records": "never"}),
        (FailoverProducer, {"failover.record.identity": "offset"}),
    ],
)
def test_a_wrong_choice_names_the_known_ones(kind: Any, setting: dict[str, Any]) -> None:
    (name,) = (key for key in setting if key.startswith("failover."))
    with pytest.raises(ConfigurationError, match=name):
        kind({"failover.config": CONFIG, **setting})


def test_with_identity_by_header_equal_records_differ() -> None:
    with FailoverProducer(
        {"failover.config": CONFIG, "failover.record.identity": "header"}
    ) as producer:
        producer.produce("T", b"same", b"key", timestamp=1)
        producer.produce("T", b"same", b"key", timestamp=1, headers={"mine": b"1"})
        (first, _), (second, _) = producer._intake.waiting
        names = [[name for name, _ in one.headers] for one in (first, second)]
        assert names == [["failover.id"], ["mine", "failover.id"]]
        assert first.headers[-1] != second.headers[-1]
        producer.purge()
        producer.poll(0)
