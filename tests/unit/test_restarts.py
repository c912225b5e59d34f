"""What Connect's topics tell of MirrorMaker 2's kills, as its records are on a real cluster."""

from dataclasses import replace
from typing import Any

import pytest

from clientlib.protocol.fingerprint import LogRecord
from clientlib.protocol.state import Phase, State
from clientlib.protocol.types import Epoch, Partition
from failover.core.machine import Run, RunPhase
from failover.core.restarts import Commits, Resume, kills, resumes, since_ms
from failover.core.result import SwitchRequest

TASK, OTHER = "status-task-MirrorSourceConnector-0", "status-task-MirrorSourceConnector-1"


def status(at_ms: int, state: str, generation: int, key: str = TASK) -> LogRecord:
    value = f'{{"state":"{state}","trace":null,"worker_id":"w","generation":{generation}}}'
    return LogRecord(at_ms, at_ms, key.encode(), value.encode())


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([], ()),
        ([status(10, "RUNNING", 1)], ()),
        ([status(10, "RUNNING", 1), status(20, "RUNNING", 2)], (20,)),
        ([status(1, "RUNNING", 1), status(2, "UNASSIGNED", 1), status(3, "RUNNING", 2)], ()),
        ([status(1, "RUNNING", 1), status(2, "FAILED", 1), status(3, "RUNNING", 2)], (3,)),
        # all tasks of a worker die with it, and run again in the same generation
        (
            [
                *(status(1, "RUNNING", 1), status(2, "RUNNING", 1, OTHER)),
                *(status(5, "RUNNING", 2), status(6, "RUNNING", 2, OTHER)),
            ],
            (5,),
        ),
        ([status(n, "RUNNING", n) for n in (1, 5, 9)], (5, 9)),
        # the group was forgotten, and counts its generations anew
        ([status(n * 60_000, "RUNNING", 1) for n in (1, 2, 3)], (120_000, 180_000)),
        # another connector sends no records of topics, and a new topic is no restart
        ([status(n, "RUNNING", n, "status-task-MirrorHeartbeatConnector-0") for n in (1, 5)], ()),
        ([status(n, "RUNNING", n, "status-topic-LEFT.T:connector-X") for n in (1, 5)], ()),
        # nobody knows when, or what
        ([status(1, "RUNNING", 1), LogRecord(2, None, TASK.encode(), b'{"state":"RUNNING"}')], ()),
        ([status(1, "RUNNING", 1), LogRecord(2, 2, TASK.encode(), b"{")], ()),
        ([status(1, "RUNNING", 1), LogRecord(2, 2, None, b"[]"), status(3, "RUNNING", 2)], (3,)),
    ],
)
def test_a_task_that_runs_anew_without_having_been_given_back_was_killed(
    records: list[LogRecord], expected: tuple[int, ...]
) -> None:
    assert kills(records) == expected


def noted(at_ms: int, offset: Any, number: int = 0, cluster: str = "LEFT") -> LogRecord:
    key = f'["MirrorSourceConnector",{{"cluster":"{cluster}","partition":{number},"topic":"T"}}]'
    return LogRecord(at_ms, at_ms, key.encode(), f'{{"offset":{offset}}}'.encode())


def commits(*records: LogRecord, start: int = 0, gap: int = 0) -> Commits:
    """Return what a log says that begins at ``start`` and lacks an offset before number ``gap``."""
    found = Commits("LEFT")
    offsets = [start + number + (0 < gap <= number) for number in range(len(records))]
    found.add([replace(r, offset=offset) for r, offset in zip(records, offsets, strict=True)])
    return found


def test_it_goes_on_behind_the_last_offset_that_was_noted_before_the_kill() -> None:
    found = commits(noted(10, 99), noted(12, 5, 1), noted(20, 199), noted(40, 399))
    resumed = resumes(found, Partition("T", 0), (15, 30, 35))
    assert resumed == ((Resume(100, 15), Resume(200, 30), Resume(200, 35)), True)
    assert found.by[Partition("T", 0)][-1].at == 400


FROM_THE_BEGINNING = ((Resume(0, 15), Resume(100, 25)), True)
ONE_IS_GONE = ((Resume(100, 25),), False)


@pytest.mark.parametrize(
    ("log", "new_ms", "expected"),
    [
        ({}, 0, FROM_THE_BEGINNING),
        ({"start": 7}, 0, ONE_IS_GONE),
        ({"gap": 1}, 0, ONE_IS_GONE),
        ({"gap": 1}, 9, ONE_IS_GONE),  # removed was perhaps one that is new enough
        ({"gap": 1}, 10, FROM_THE_BEGINNING),
        ({"gap": 2}, 10, ONE_IS_GONE),
        ({"start": 7, "gap": 1}, 10, FROM_THE_BEGINNING),
    ],
)
def test_with_nothing_noted_it_begins_at_the_beginning_unless_that_was_removed(
    log: dict[str, int], new_ms: int, expected: tuple[tuple[Resume, ...], bool]
) -> None:
    found = commits(noted(5, 7, 3), noted(9, 8, 3), noted(20, 99), **log)
    assert resumes(found, Partition("T", 0), (15, 25), new_ms) == expected


def test_what_is_missing_before_a_record_without_a_time_may_be_of_any() -> None:
    found = commits(replace(noted(5, 7, 3), timestamp=None), noted(20, 99), start=1)
    assert resumes(found, Partition("T", 0), (15, 25), 10) == ONE_IS_GONE


@pytest.mark.parametrize(
    "record",
    [
        noted(1, 9, cluster="THIRD"),
        noted(1, '"x"'),
        LogRecord(1, 1, b"{", b'{"offset":3}'),
        LogRecord(1, 1, b'["MirrorHeartbeatConnector",{"sourceClusterAlias":"LEFT"}]', b"{}"),
        LogRecord(1, None, noted(1, 9).key, b'{"offset":3}'),
        LogRecord(1, 1, None, None),
    ],
)
def test_other_records_of_the_topic_say_nothing(record: LogRecord) -> None:
    assert not commits(record).by


def run(counter: int, to: str, committing_ms: int, phase: RunPhase = RunPhase.DONE) -> Run:
    before = Epoch(counter - 1, "RIGHT" if to == "LEFT" else "LEFT")
    base = State("default", (before,), 0, Phase.ACTIVE)
    times = {"committing": committing_ms} | ({"moving": 1} if phase is RunPhase.DONE else {})
    return Run("r", SwitchRequest("default", to), base, phase, times=times)


EPOCHS = (Epoch(1, "LEFT"), Epoch(2, "RIGHT"), Epoch(3, "LEFT"))


@pytest.mark.parametrize(
    ("runs", "epochs", "expected"),
    [
        ([run(2, "RIGHT", 50), run(3, "LEFT", 90)], EPOCHS, 50),
        ([run(2, "RIGHT", 50)], EPOCHS[:1], 0),
        ([run(2, "RIGHT", 50)], EPOCHS[:2], 0),
        ([run(3, "LEFT", 90)], EPOCHS, 0),
        ([run(2, "RIGHT", 40, RunPhase.UNDONE), run(2, "RIGHT", 50)], EPOCHS, 50),
    ],
)
def test_a_kill_counts_since_the_epoch_before_of_the_same_cluster_was_closed(
    runs: list[Run], epochs: tuple[Epoch, ...], expected: int
) -> None:
    assert since_ms(runs, epochs) == expected
