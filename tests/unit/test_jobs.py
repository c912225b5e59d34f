"""What a member's background jobs answer when they fail in a way that nobody has foreseen."""

import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from clientlib.core.seat import Align, ReadCommits, ReadEvidence, Recover, ResolveReset, SeatKey
from clientlib.io import jobs as module
from clientlib.io.jobs import BackgroundJobs
from clientlib.io.ports import Job, Publish
from clientlib.protocol.naming import DefaultReplicationPolicy, Naming
from clientlib.protocol.recover import Memory
from clientlib.protocol.types import Partition
from failover.lab.processes import wait_until

KEY = SeatKey("LEFT", Partition("T", 0))
UNFIT: Any = SimpleNamespace()


class Broken:
    """A connection, each use of which fails for no reason that its user knows."""

    def __init__(self, *_: Any) -> None:
        self.uses = 0

    def close(self) -> None:
        """Ended."""

    def __getattr__(self, name: str) -> Any:
        def fail(*_args: Any, **_more: Any) -> Any:
            self.uses += 1
            raise SystemError(f"{name} returned a result with an exception set")

        return fail


class FailsOnce(Broken):
    """Writes the second report that it is given."""

    written: list[Any] = []  # noqa: RUF012 - one for the test
    failed = 0

    def write(self, job: Publish, _closing: Any) -> bool:
        if not FailsOnce.failed:
            FailsOnce.failed = 1
            raise SystemError
        self.written.append(job)
        return True


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> Iterator[BackgroundJobs]:
    for name in ("EvidenceReader", "LogReader"):
        monkeypatch.setattr(module, name, Broken)
    monkeypatch.setattr(module, "ProgressWriter", FailsOnce)
    monkeypatch.setattr(module, "reader", Broken)
    logging.getLogger("clientlib.kafka").setLevel(logging.CRITICAL)
    naming = Naming(DefaultReplicationPolicy("."), ("LEFT", "RIGHT"))
    clusters: Any = {alias: SimpleNamespace(alias=alias) for alias in naming.aliases}
    options: Any = SimpleNamespace()
    begun = BackgroundJobs(clusters, naming, {"group.id": "g"}, lambda: None, options)
    yield begun
    begun.close()
    logging.getLogger("clientlib.kafka").setLevel(logging.NOTSET)


@pytest.mark.parametrize(
    "job",
    [
        ReadCommits("LEFT", (KEY.partition,), 3),
        ResolveReset(KEY, ("LEFT",), 3),
        ReadEvidence(KEY, "LEFT", 2, 1, 3, 0.0),
        Align(KEY, "RIGHT", {"LEFT": UNFIT}, 3),
        Recover(KEY, {"LEFT": UNFIT}, "LEFT", Memory(), {}, 3),
    ],
    ids=lambda job: type(job).__name__,
)
def test_a_job_that_fails_is_answered_so_that_it_is_asked_for_again(
    jobs: BackgroundJobs, job: Job
) -> None:
    jobs.submit(job)
    done: list[Any] = []
    wait_until(lambda: bool(done.extend(jobs.collect()) or done), timeout_s=10, what="no answer")
    assert [one.ticket for one in done] == [3]


def test_a_final_report_whose_writing_fails_is_written_all_the_same(jobs: BackgroundJobs) -> None:
    job = Publish("LEFT", 1, "RIGHT", {}, handed_over=2)
    jobs.submit(job)
    wait_until(lambda: FailsOnce.written == [job], timeout_s=10, what="it is not written")
