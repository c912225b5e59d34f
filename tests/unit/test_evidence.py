"""For whom a new reader of a lost cluster's partition waits, and whom it believes."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from clientlib.core.seat import ReadEvidence, SeatKey
from clientlib.io.evidence import EvidenceReader, Look, ProgressWriter
from clientlib.io.ports import EvidenceDone, Publish
from clientlib.protocol.naming import DefaultReplicationPolicy, Naming
from clientlib.protocol.progress import GroupProgress, Progress, Report
from clientlib.protocol.recover import Memory, Print
from clientlib.protocol.types import Partition

PART = Partition("T", 0)
JOB = ReadEvidence(SeatKey("RIGHT", PART), "LEFT", 2, 1, 7, 0.0)
PRINTS = tuple(Print(offset, bytes([offset]) * 16) for offset in range(16, 20))


def progress(at: int, *prints: Print, claim: int = 0) -> Progress:
    return Progress({"LEFT": at}, "LEFT", Memory(prints), claim)


def report(member: str, *parts: Progress, final: bool = False, leaving: bool = False) -> Report:
    by = dict.fromkeys([PART], *parts) if parts else {}
    return Report("g", member, 1, "LEFT", by, 2 if final else 0, leaving=leaving)


class Told(EvidenceReader):
    """Reads the reports that it is given; ``members`` live in the group."""

    def __init__(self, members: Sequence[str]) -> None:
        self._naming = Naming(DefaultReplicationPolicy(), ["LEFT", "RIGHT"])
        self._cluster: Any = SimpleNamespace(alias="RIGHT")
        self._topic, self._scope, self._group = "progress", "s", "g"
        self._known, self._at = GroupProgress(), 0
        self._now, self._look = lambda: self.time, Look(float("-inf"))
        self.time, self.looks = 0.0, 0
        self.living = list(members)
        self.reports: list[Report] = []

    def _members(self) -> list[str]:
        self.looks += 1
        return self.living

    def _messages(self, topic: str, start: int) -> Iterator[Any]:
        for offset, one in enumerate(self.reports if topic == "progress" else ()):
            if offset >= start:
                key, value = one.record("s")
                yield SimpleNamespace(
                    offset=lambda o=offset: o, key=lambda k=key: k, value=lambda v=value: v
                )

    def ask(self) -> EvidenceDone:
        self.time += 1.0
        return self.find(replace(JOB, asked_at=self.time))

    def waits_for(self) -> str:
        done = self.ask()
        assert (done.evidence is None) == bool(done.why)
        return done.why.partition(" read ")[0]


def test_the_final_report_of_one_who_remembers_is_taken_at_once() -> None:
    told = Told(["a", "b"])
    told.reports = [report("a", progress(20, *PRINTS), final=True)]
    assert told.waits_for() == ""


def test_one_who_begins_where_another_has_read_waits_until_that_one_has_told() -> None:
    """LEFT was back for half a second: b took the partition over there and read nothing of it.

    It would have begun at the copy's start, and 18 records would have come again.
    """
    told = Told(["a", "b"])
    told.reports = [
        report("a", progress(16, *PRINTS)),
        report("b", progress(20, claim=1)),
        report("b", progress(20, claim=1), final=True),
        report("b", final=True),
    ]
    assert told.waits_for() == "a"
    told.reports += [report("a", progress(20, *PRINTS), leaving=True), report("a", final=True)]
    found = told.ask().evidence
    assert found is not None
    assert found.progress is not None
    assert (found.progress.offsets, found.progress.memory.prints) == ({"LEFT": 20}, PRINTS)


def test_reports_that_were_read_before_the_cluster_fell_silent_are_not_forgotten() -> None:
    """They are not read again: the group would wait for them as long as their member lives."""

    class Silent(Told):
        answers = 1

        def _messages(self, topic: str, start: int) -> Iterator[Any]:
            for number, message in enumerate(super()._messages(topic, start), 1):
                yield message
                if number == self.answers:
                    raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    told = Silent(["a", "b"])
    told.reports = [report("a", progress(20, *PRINTS), final=True), report("b", final=True)]
    assert "_TIMED_OUT" in told.ask().why
    told.answers = 0
    assert told.waits_for() == ""


@pytest.mark.parametrize("living", [["b"], []])
def test_nobody_waits_for_one_who_is_gone(living: list[str]) -> None:
    told = Told(living)
    told.reports = [report("a", progress(16, *PRINTS)), report("b", final=True)]
    assert told.waits_for() == ""


def test_a_member_that_tells_and_leaves_while_others_look_is_believed() -> None:
    class Leaving(Told):
        def _members(self) -> list[str]:
            self.reports += [report("a", progress(20, *PRINTS), final=True)]
            self.living.remove("a")
            return super()._members()

    told = Leaving(["a", "b"])
    told.reports = [report("a", progress(16, *PRINTS)), report("b", final=True)]
    found = told.ask().evidence
    assert found is not None
    assert found.progress is not None
    assert found.progress.offsets == {"LEFT": 20}


def test_one_look_serves_all_partitions_that_are_asked_for_at_one_time() -> None:
    told = Told(["a"])
    told.reports = [report("a", progress(20, *PRINTS))]
    for number in range(100):
        key = SeatKey("RIGHT", Partition("T", number))
        assert told.find(replace(JOB, key=key, asked_at=0.0)).evidence is None
    assert told.looks == 1
    told.reports += [report("a", progress(20, *PRINTS), final=True)]
    assert told.waits_for() == ""
    assert told.looks == 2


def test_what_nobody_can_contradict_is_believed_though_the_coordinator_does_not_answer() -> None:
    class Loading(Told):
        def _members(self) -> list[str]:
            raise KafkaException(KafkaError(KafkaError.COORDINATOR_LOAD_IN_PROGRESS))

    told = Loading(["a", "b"])
    told.reports = [report("a", progress(20, *PRINTS), final=True)]
    assert told.waits_for() == ""
    told = Loading(["a", "b"])
    told.reports = [report("a", progress(20), final=True)]
    assert "COORDINATOR_LOAD" in told.ask().why


def test_checkpoints_that_cannot_be_read_hold_up_only_who_needs_them() -> None:
    class Leaderless(Told):
        tries = 0

        def _messages(self, topic: str, start: int) -> Iterator[Any]:
            if topic != "progress":
                self.tries += 1
                raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
            yield from super()._messages(topic, start)

    told = Leaderless(["a"])
    told.reports = [report("a", progress(20, *PRINTS), final=True), report("a", final=True)]
    idle = [replace(JOB, key=SeatKey("RIGHT", Partition("T", number))) for number in (1, 2)]
    assert all("LEADER_NOT_AVAILABLE" in told.find(job).why for job in idle)
    assert told.find(JOB).evidence is not None
    assert told.tries == 1


def test_a_look_that_failed_fails_all_partitions_that_are_asked_for_at_one_time() -> None:
    class Away(Told):
        def _members(self) -> list[str]:
            super()._members()
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    told = Away(["a"])
    assert ["_TIMED_OUT" in told.find(JOB).why for _ in range(3)] == [True] * 3
    assert told.looks == 1
    told.ask()
    assert told.looks == 2


class Deaf(ProgressWriter):
    """Writes to a cluster that takes nothing for the first ``refused`` times."""

    def __init__(self, refused: int) -> None:
        self._scope, self._member, self._group = "s", "a", "g"
        self.tries, self._refused = 0, refused

    def _written(self, key: bytes, value: bytes) -> bool:
        self.tries += 1
        return self.tries > self._refused


@pytest.mark.parametrize(
    ("job", "closed_after", "tries"),
    [
        (Publish("RIGHT", 1, "LEFT", {}), 999, 1),
        (Publish("RIGHT", 1, "LEFT", {}, leaving=True), 999, 3),
        # a cut of 15 s after a switch: all waited for ever for what nobody told them any more
        (Publish("RIGHT", 1, "LEFT", {}, handed_over=2), 999, 51),
        (Publish("RIGHT", 1, "LEFT", {}, handed_over=2), 5, 20),
        (Publish("RIGHT", 1, "LEFT", {}, handed_over=2), 30, 30),
    ],
)
def test_how_often_a_report_is_tried_while_its_cluster_takes_nothing(
    job: Publish, closed_after: int, tries: int
) -> None:
    writer = Deaf(refused=50)
    assert writer.write(job, lambda: writer.tries >= closed_after) is (tries == 51)
    assert writer.tries == tries
