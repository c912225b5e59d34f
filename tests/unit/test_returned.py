"""A returned cluster is compared with what the survivor's copy holds of it."""

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from clientlib.protocol.errors import TimedOutError
from clientlib.protocol.fingerprint import LogRecord
from clientlib.protocol.ledger import ClosedEpoch
from clientlib.protocol.naming import DefaultReplicationPolicy, Naming
from clientlib.protocol.replay import Manifest, header
from clientlib.protocol.state import State, merge_ledger
from clientlib.protocol.types import Epoch, Partition
from failover.io.ports import Records, Window
from failover.returned import Compared, Comparison, lost_epoch, outgrown, written_again

Logs = Mapping[tuple[str, str], list[LogRecord | None]]
STATE = State("default", (Epoch(1, "LEFT"), Epoch(2, "RIGHT")), 0, unplanned=(2,))
NAMING = Naming(DefaultReplicationPolicy("."), ("LEFT", "RIGHT"))


def record(number: int, offset: int, timestamp: int = 1000, *headers: Any) -> LogRecord:
    return LogRecord(offset, timestamp, b"k", f"v{number}".encode(), list(headers))


class Ports:
    """Logs in memory; None is a transaction marker."""

    def __init__(self, logs: Logs, manifests: Iterable[Manifest] = ()) -> None:
        self._logs = logs
        self.stable: dict[tuple[str, str], int] = {}
        self.asked: list[tuple[str, str, int]] = []
        self.aborted: tuple[int, ...] = ()  # on LEFT
        self.admin = self.reader = self
        self.store = SimpleNamespace(
            clients=lambda aliases: {key: {} for key in aliases}, manifests=lambda _: manifests
        )

    def partitions(self, alias: str) -> dict[str, int]:
        return {topic: 1 for on, topic in self._logs if on == alias}

    def starts(self, _alias: str, parts: Iterable[Partition]) -> dict[Partition, int]:
        return dict.fromkeys(parts, 0)

    def ends(self, alias: str, parts: Iterable[Partition]) -> dict[Partition, int]:
        return {part: len(self._logs[alias, part.topic]) for part in parts}

    def stable_ends(self, alias: str, parts: Iterable[Partition]) -> dict[Partition, int]:
        ends = self.ends(alias, parts)
        return {p: self.stable.get((alias, p.topic), end) for p, end in ends.items()}

    def read(
        self, alias: str, windows: Mapping[Partition, Window], *, committed: bool
    ) -> dict[Partition, Records]:
        ((part, window),) = windows.items()
        self.asked.append((alias, part.topic, window.end))
        found = [r for r in self._logs[alias, part.topic][window.start : window.end] if r]
        if committed and (alias, part.topic) == ("LEFT", "T"):
            found = [r for r in found if r.offset not in self.aborted]
        return {part: Records(tuple(found[: window.limit]))}


def compared(ports: Ports, copied: int) -> Compared:
    rows = {1: ClosedEpoch(Epoch(1, "LEFT"), {"RIGHT": {0: copied}})}
    comparison = Comparison(NAMING, ports, STATE, "RIGHT")  # type: ignore[arg-type]  # what is asked
    return comparison.topic("T", 1, rows, 1)


def test_a_copy_that_ends_with_a_marker_of_the_mirror_is_no_divergence() -> None:
    """Else nobody could fail back to a cluster whose mirror ran in exactly-once mode."""
    home = [record(n, n) for n in range(4)]
    copy = [record(0, 0), record(1, 1), None, record(2, 3), None]
    found = compared(Ports({("LEFT", "T"): home, ("RIGHT", "LEFT.T"): copy, ("RIGHT", "T"): []}), 5)
    assert (found.diverged, found.row.ends["LEFT"], found.late) == ((), {0: 3}, 1)


def test_a_copy_of_markers_alone_is_empty() -> None:
    home = [record(0, 0)]
    found = compared(
        Ports({("LEFT", "T"): home, ("RIGHT", "LEFT.T"): [None], ("RIGHT", "T"): []}), 1
    )
    assert (found.diverged, found.row.ends["LEFT"], found.late) == ((), {}, 1)


def test_a_tail_record_is_known_by_a_replay_whose_timestamp_is_a_millisecond_off() -> None:
    """It was written while the cluster was stopped; its producer never heard of it."""
    home = [record(0, 0), record(1, 1)]
    again = record(1, 0, 999, header(1, "LEFT"))
    logs: Logs = {("LEFT", "T"): home, ("RIGHT", "LEFT.T"): home[:1], ("RIGHT", "T"): [again]}
    manifest = Manifest("p", 2, {"T": {0: (0, 1)}}, replayed=1)
    found = compared(Ports(logs, [manifest]), 1)
    assert (found.replayed, found.late, found.row.skip) == (1, 0, {"LEFT": {0: ((1, 2),)}})


def test_a_replay_whose_producer_ended_before_it_could_say_so_is_found() -> None:
    """`flush()` comes back with the last report; the manifest is written a moment later."""
    home = [record(0, 0), record(1, 1)]
    again = record(1, 0, 1000, header(1, "LEFT", 1))
    logs: Logs = {("LEFT", "T"): home, ("RIGHT", "LEFT.T"): home[:1], ("RIGHT", "T"): [again]}
    found = compared(Ports(logs), 1)
    assert (found.replayed, found.late) == (1, 0)


def test_replays_are_looked_for_on_every_cluster_that_was_active_since() -> None:
    """LEFT was lost to RIGHT, which was left for THIRD before LEFT came back."""
    state = State("default", (*STATE.epochs, Epoch(3, "THIRD")), 0, unplanned=(2,))
    naming = Naming(DefaultReplicationPolicy("."), ("LEFT", "RIGHT", "THIRD"))
    home = [record(n, n) for n in range(3)]
    by_third = record(2, 0, 1000, header(1, "LEFT", 2))
    logs: Logs = {
        ("LEFT", "T"): home,
        ("THIRD", "LEFT.T"): home[:1],
        ("RIGHT", "T"): [record(1, 0, 1000, header(1, "LEFT", 1))],
        ("THIRD", "T"): [by_third],
    }
    ports = Ports(logs)
    ports.store.manifests = lambda on: [Manifest("p", 3, {"T": {0: (0, 1)}})] * (on == "THIRD")
    rows = {
        1: ClosedEpoch(Epoch(1, "LEFT"), {"RIGHT": {0: 1}, "THIRD": {0: 1}}),
        2: ClosedEpoch(Epoch(2, "RIGHT"), {"RIGHT": {0: 1}, "THIRD": {0: 1}}),
    }
    comparison = Comparison(naming, ports, state, "THIRD")  # type: ignore[arg-type]  # as above
    found = comparison.topic("T", 1, rows, 1)
    assert (found.replayed, found.late) == (2, 0)


def test_a_transaction_that_is_open_on_the_survivor_holds_nothing_up() -> None:
    """Whoever has yet to write again was waited for: this is the application's own."""
    home = [record(0, 0), record(1, 1)]
    again = record(1, 0, 1000, header(1, "LEFT", 1))
    logs: Logs = {
        ("LEFT", "T"): home,
        ("RIGHT", "LEFT.T"): home[:1],
        ("RIGHT", "T"): [again, record(7, 1)],
    }
    ports = Ports(logs)
    ports.stable["RIGHT", "T"] = 1
    ports.asked.clear()
    assert compared(ports, 1).replayed == 1
    assert ("RIGHT", "T", 1) in ports.asked
    assert all(end <= 1 for alias, topic, end in ports.asked if (alias, topic) == ("RIGHT", "T"))


def test_what_was_aborted_is_neither_late_nor_replayed() -> None:
    home = [record(0, 0), record(1, 1), None, record(2, 3)]
    ports = Ports({("LEFT", "T"): home, ("RIGHT", "LEFT.T"): home[:1], ("RIGHT", "T"): []})
    ports.aborted = (1,)
    found = compared(ports, 1)
    assert (found.late, found.replayed, found.row.late) == (1, 0, {"LEFT": {0: ((3, 4),)}})


def test_a_mirror_that_copies_what_is_not_committed_is_no_divergence() -> None:
    home = [record(0, 0), record(1, 1), None, record(2, 3)]
    copy = [record(0, 0), record(1, 1)]
    ports = Ports({("LEFT", "T"): home, ("RIGHT", "LEFT.T"): copy, ("RIGHT", "T"): []})
    ports.aborted = (1,)
    found = compared(ports, 2)
    assert (found.diverged, found.row.ends["LEFT"], found.late) == ((), {0: 2}, 1)


def test_an_open_transaction_of_the_lost_cluster_is_waited_for() -> None:
    """Whether it is late, replayed or nothing is not known before it is aborted or committed."""
    home = [record(0, 0), record(1, 1)]
    ports = Ports({("LEFT", "T"): home, ("RIGHT", "LEFT.T"): home[:1], ("RIGHT", "T"): []})
    ports.stable["LEFT", "T"] = 1
    with pytest.raises(TimedOutError, match="a transaction is open from offset 1 on"):
        compared(ports, 1)


def test_a_log_that_lacks_what_its_copy_holds_has_diverged() -> None:
    home = [record(n, n) for n in range(3)]
    logs: Logs = {("LEFT", "T"): home[:2], ("RIGHT", "LEFT.T"): list(home), ("RIGHT", "T"): []}
    assert len(compared(Ports(logs), 3).diverged) == 1


def test_a_record_that_comes_through_after_the_comparison_is_looked_at_too() -> None:
    """Its producer had written it again long ago: 3 records came again after a failback."""
    home = [record(0, 0)]
    again = record(1, 0, 1000, header(1, "LEFT"))
    logs: Logs = {("LEFT", "T"): home, ("RIGHT", "LEFT.T"): home[:1], ("RIGHT", "T"): [again]}
    ports = Ports(logs, [Manifest("p", 2, {"T": {0: (0, 1)}}, replayed=1)])
    rows = {1: compared(ports, 1).row}
    topics, comparison = {"T": 1}, Comparison(NAMING, ports, STATE, "RIGHT")  # type: ignore[arg-type]  # as above

    lost = lost_epoch(STATE, "LEFT")
    assert lost == Epoch(1, "LEFT")

    def grown() -> frozenset[str]:
        return outgrown(ports, STATE, topics, {"T": rows}, lost)  # type: ignore[arg-type]  # as above

    assert grown() == frozenset()
    home.append(record(1, 1))
    assert grown() == {"T"}
    later = comparison.topic("T", 1, rows, 1).row
    assert (later.ends, later.skip) == (rows[1].ends, {"LEFT": {0: ((1, 2),)}})
    merged = merge_ledger({"T": rows}, {"T": {1: later}})["T"]
    assert merged == merge_ledger({"T": {1: later}}, {"T": rows})["T"] == {1: later}
    rows = merged
    home.append(record(2, 2))
    assert grown() == {"T"}
    last = comparison.topic("T", 1, rows, 1).row
    assert (last.skip, last.late) == ({"LEFT": {0: ((1, 2),)}}, {"LEFT": {0: ((2, 3),)}})


def test_what_was_late_is_judged_again_when_its_producer_comes_back_and_writes_it_again() -> None:
    """It slept, or was cut off, until the cluster had been taken in: its records came twice."""
    home = [record(n, n) for n in range(3)]
    again: list[LogRecord | None] = []
    logs: Logs = {("LEFT", "T"): home, ("RIGHT", "LEFT.T"): home[:1], ("RIGHT", "T"): again}
    manifests: list[Manifest] = []
    ports = Ports(logs, manifests)
    rows = {1: compared(ports, 1).row}
    assert rows[1].late == {"LEFT": {0: ((1, 3),)}}
    assert written_again(manifests, {"T": rows}, 1) == frozenset()
    again.append(record(2, 0, 1000, header(1, "LEFT", 2)))
    manifests += [Manifest("p", 2, {"T": {0: (0, 1)}}), Manifest("q", 2, {"U": {0: (0, 1)}})]
    assert written_again(manifests, {"T": rows}, 1) == {"T"}
    assert written_again(manifests[1:], {"T": rows}, 1) == frozenset()
    assert written_again([Manifest("p", 2, {"T": {1: (0, 1)}})], {"T": rows}, 1) == frozenset()
    assert written_again([Manifest("p", 1, {"T": {0: (0, 1)}})], {"T": rows}, 1) == frozenset()
    assert written_again([Manifest("p", 3, {"T": {0: (0, 1)}})], {"T": rows}, 1) == {"T"}, (
        "slept on"
    )
    found = Comparison(NAMING, ports, STATE, "RIGHT").topic("T", 1, rows, 1)  # type: ignore[arg-type]  # as above
    assert (found.late, found.replayed, found.row.skip) == (1, 1, {"LEFT": {0: ((2, 3),)}})


def test_a_cluster_that_was_left_in_a_planned_switch_has_no_tail() -> None:
    assert lost_epoch(State("default", STATE.epochs, 0), "LEFT") is None
    assert lost_epoch(STATE, "RIGHT") is None, "its epoch is open"
    assert lost_epoch(STATE, "THIRD") is None
