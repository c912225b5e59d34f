"""Reports of what a group's members read: what counts as their last word, and when they report."""

from dataclasses import replace
from typing import Any

from confluent_kafka import TopicPartition

from clientlib.core.seat import Seat, SeatKey, Stage
from clientlib.core.tracker import Span, Tracker
from clientlib.io.ports import Publish
from clientlib.io.runtime import Options, Runtime
from clientlib.protocol.naming import DefaultReplicationPolicy, Naming
from clientlib.protocol.progress import GroupProgress, Progress, Report, fold_progress
from clientlib.protocol.types import Partition, Position
from tests.unit.test_runtime import FixedWatch, ManualClock, Member

P0, P1 = Partition("T", 0), Partition("T", 1)
NAMING = Naming(DefaultReplicationPolicy("."), ("LEFT", "RIGHT"))


def final(parts: dict[Partition, Progress]) -> Report:
    return Report("g", "c1", 1, "LEFT", parts, handed_over=2)


def test_a_member_that_has_handed_over_one_partition_of_two_has_not_said_its_last_word() -> None:
    """Else the other partition's new owner goes on by an older report, and reads records again."""
    first = final({P0: Progress({"LEFT": 7}, "LEFT")})
    known = fold_progress(GroupProgress(), [first])
    assert known.handed_over.get("c1", 0) == 0
    assert known.parts[P0].handed_over == 2
    second = final({P1: Progress({"LEFT": 9}, "LEFT")})
    assert fold_progress(known, [second, final({})]).handed_over == {"c1": 2}


class Leaving(Member):
    def assign(self, partitions: list[Any]) -> None:
        pass

    def unassign(self) -> None:
        pass

    def commit(self, *, offsets: list[Any], asynchronous: bool) -> Any:
        return offsets


class Sent:
    def __init__(self) -> None:
        self.jobs: list[Publish] = []

    def submit(self, job: Publish) -> None:
        self.jobs.append(job)

    def collect(self) -> tuple[()]:
        return ()


def reading() -> tuple[Runtime, Sent]:
    """Return a runtime that has committed 8 of T[0] on LEFT and reads on."""
    clock, jobs = ManualClock(), Sent()
    runtime = Runtime(
        Options("g", auto_commit=False),
        NAMING,
        {a: Leaving(clock, 0.0) for a in NAMING.aliases},
        jobs=jobs,  # type: ignore[arg-type]  # only what the runtime calls here
        watch=FixedWatch(),  # type: ignore[arg-type]  # as above
        clock=clock,
        reset=lambda *_: None,
    )
    key = SeatKey("LEFT", P0)
    tracker = Tracker({"LEFT": 5})
    tracker.begin(Span("LEFT", "T", 5, None, next=8))
    tracker.commit("T", 8, covering=True)
    seat = Seat(key, stage=Stage.READING, tracker=tracker, base=Position(1, "LEFT", {"LEFT": 5}))
    runtime.session.seats[key] = seat
    runtime._active = "LEFT"
    return runtime, jobs


def test_what_a_rebalance_takes_away_is_reported_before_its_new_owner_has_read_anything() -> None:
    """A cluster that dies just then would leave a report that is a second old."""
    runtime, jobs = reading()
    runtime.on_disowned("LEFT", [_tp()], lost=False)
    (job,) = jobs.jobs
    assert (job.to, job.parts[P0].offsets, job.leaving, job.kept) == (
        "RIGHT",
        {"LEFT": 8},
        True,
        True,
    )


def test_a_member_that_has_lost_its_partitions_does_not_report_over_their_new_owner() -> None:
    runtime, jobs = reading()
    runtime.on_disowned("LEFT", [_tp()], lost=True)
    (job,) = jobs.jobs
    old = Report("g", "old", job.epoch, job.cluster, job.parts, leaving=job.leaving)
    owner = Report("g", "new", 1, "LEFT", {P0: Progress({"LEFT": 12}, "LEFT", claim=1)})
    known = fold_progress(GroupProgress(), [owner, old])
    assert (known.parts[P0].member, known.parts[P0].progress.offsets) == ("new", {"LEFT": 12})


def test_who_was_stopped_and_claims_a_partition_that_it_has_lost_is_not_believed_for_long() -> None:
    """It wakes up, reads what it was about to read, and is told then that its session has ended.

    Its claim was the last one, so that all that the owner reported after it did not count.
    """
    runtime, jobs = reading()
    runtime.on_disowned("LEFT", [_tp()], lost=True)
    (job,) = jobs.jobs
    claim = {P0: replace(job.parts[P0], claim=7)}
    owner = Report("g", "new", 1, "LEFT", {P0: Progress({"LEFT": 12}, "LEFT", claim=1)})
    woken = Report("g", "old", 1, "LEFT", claim)
    told = Report("g", "old", 1, "LEFT", claim, leaving=job.leaving)
    known = fold_progress(GroupProgress(), [owner, woken, told, owner])
    assert (known.parts[P0].member, known.parts[P0].progress.offsets) == ("new", {"LEFT": 12})


def _tp() -> TopicPartition:
    return TopicPartition("T", 0)
