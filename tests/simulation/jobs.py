"""Background jobs of a consumer: the real ones, reading the fake clusters after a delay."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from clientlib.core.seat import Align, ReadCommits, ReadEvidence, Recover, ResolveReset
from clientlib.io.evidence import EvidenceReader, Look, tried_again
from clientlib.io.jobs import BackgroundJobs
from clientlib.io.log_reader import LogReader
from clientlib.io.ports import CommitsDone, Job, JobDone, Publish, ResetDone
from clientlib.protocol.errors import ClusterUnreachableError
from clientlib.protocol.fingerprint import LogRecord
from clientlib.protocol.progress import GroupProgress, Report
from tests.simulation.cluster import SCOPE
from tests.simulation.log import Log
from tests.simulation.message import FakeMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from clientlib.protocol.naming import Naming
    from clientlib.protocol.types import Partition
    from clientlib.protocol.windows import ReadWindow
    from tests.simulation.clock import Process
    from tests.simulation.cluster import Cluster
    from tests.simulation.world import World


PROGRESS = "failover-progress.internal"
_NO_ANSWER = KafkaError(KafkaError._TRANSPORT)


class _Commits:
    """The consumer that reads a group's commits and never subscribes."""

    def __init__(self, cluster: Cluster, group: str, process: Process) -> None:
        self._cluster, self._group, self._process = cluster, group, process

    def committed(self, wanted: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        self._ask()
        group = self._cluster.groups.get(self._group)
        commits = group.commits if group is not None else {}
        answer = []
        for tp in wanted:
            offset, metadata = commits.get((tp.topic, tp.partition), (-1001, ""))
            answer.append(TopicPartition(tp.topic, tp.partition, offset, metadata))
        return answer

    def _ask(self) -> None:
        if not self._cluster.answers_to(self._process):
            raise KafkaException(_NO_ANSWER)

    def list_topics(self, topic: str, timeout: float) -> Any:
        self._ask()
        logs = self._cluster.logs.get(topic)
        found = {topic: SimpleNamespace(error=None, partitions=logs)} if logs else {}
        return SimpleNamespace(topics=found)

    def get_watermark_offsets(self, tp: TopicPartition, timeout: float) -> tuple[int, int]:
        self._ask()
        logs = self._cluster.logs.get(tp.topic)
        if logs is None:
            raise KafkaException(KafkaError(KafkaError._UNKNOWN_TOPIC))
        return 0, logs[tp.partition].end


class SimLogs(LogReader):
    """The clients' reader over fake logs."""

    def __init__(self, world: World, process: Process) -> None:
        self._world, self._process = world, process

    def _log(self, alias: str, tp: TopicPartition) -> Log:
        cluster = self._world.clusters[alias]
        if not cluster.answers_to(self._process):
            raise ClusterUnreachableError(f"{alias} does not answer")
        if tp.topic not in cluster.logs:
            raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
        return cluster.logs[tp.topic][tp.partition]

    def bounds(self, alias: str, tp: TopicPartition) -> tuple[int, int]:
        return 0, self._log(alias, tp).end

    def offset_at(self, alias: str, tp: TopicPartition, timestamp_ms: int) -> int:
        log = self._log(alias, tp)
        found = (r.offset for r in log.entries if r is not None and r.timestamp >= timestamp_ms)
        return next(found, log.end)

    def close(self) -> None:
        """Nothing to close."""

    def uses_append_time(self, alias: str, tp: TopicPartition, at: int) -> bool:
        return False

    def _read(
        self, alias: str, tp: TopicPartition, window: ReadWindow
    ) -> tuple[list[LogRecord], int | None]:
        log = self._log(alias, tp)
        return list(log.read(window.start, window.end, window.limit)), None


class SimEvidence(EvidenceReader):
    """The real rules of evidence over a fake cluster's topics and group."""

    def __init__(self, cluster: Cluster, naming: Naming, group: str, process: Process) -> None:
        self._cluster, self._naming, self._process = cluster, naming, process
        self._topic, self._scope, self._group = PROGRESS, SCOPE, group
        self._known, self._at = GroupProgress(), 0
        self._now, self._look = lambda: cluster.sim.now, Look(float("-inf"))

    def _members(self) -> list[str]:
        if not self._cluster.answers_to(self._process):
            raise KafkaException(_NO_ANSWER)
        group = self._cluster.groups.get(self._group)
        enrolled = group.members.values() if group is not None else ()
        return [one.member.process.name for one in enrolled]

    def _messages(self, topic: str, start: int) -> Iterator[FakeMessage]:
        if not self._cluster.answers_to(self._process):
            raise KafkaException(_NO_ANSWER)
        for log in self._cluster.logs.get(topic, ())[:1]:
            for record in log.read(start, log.end, log.end):
                yield FakeMessage(self._cluster.alias, (topic, 0), record.offset, record)


class SimJobs(BackgroundJobs):
    """`Jobs` with the real rules of ``clientlib.io.jobs``, and no threads."""

    def __init__(  # noqa: PLR0917 - what the real one is given, and the world
        self,
        world: World,
        process: Process,
        naming: Naming,
        group: str,
        policy: str,
        wake: Callable[[], None],
    ) -> None:
        self._world, self._process, self._naming = world, process, naming
        self._policy, self._wake = policy, wake
        self._logs = {alias: set() for alias in world.clusters}
        self._ended: list[JobDone] = []
        self._readers = {a: _Commits(c, group, process) for a, c in world.clusters.items()}
        self._free: dict[str, float] = {}
        self._reports: dict[str, deque[Publish]] = {}
        self._log_reader = SimLogs(world, process)
        self._group = group
        self._evidence = {
            a: SimEvidence(c, naming, group, process) for a, c in world.clusters.items()
        }
        self.on_written: Callable[[Publish], None] = lambda job: None

    def submit(self, job: Job) -> None:
        self._process.call()
        if isinstance(job, Publish):
            self._publish(job)
            return
        sim, faults = self._world.sim, self._world.faults
        where = _where(job)
        begin = max(sim.now, self._free.get(where, 0.0))
        middle, end = faults.job_times()
        if where and not self._world.clusters[where].answers_to(self._process):
            end += 1.0
        self._free[where] = begin + middle + end
        fails = faults.job_fails()

        def read() -> None:
            done = self._failed(job) if fails else self._do(job)
            sim.after(end, lambda: self._finish(done), self._process, main=False)

        sim.after(begin - sim.now + middle, read, self._process, main=False)

    def _publish(self, job: Publish) -> None:
        """Write a report: one after the other on each cluster, the next when one is done with."""
        queue = self._reports.setdefault(job.to, deque())
        queue.append(job)
        if len(queue) == 1:
            self._later(job.to)

    def _later(self, to: str, failed: int = 0) -> None:
        wait = (0.5 if failed else 0.0) + sum(self._world.faults.job_times())
        self._world.sim.after(wait, lambda: self._write(to, failed), self._process, main=False)

    def _write(self, to: str, failed: int) -> None:
        queue, cluster = self._reports[to], self._world.clusters[to]
        job = queue[0]
        if cluster.answers_to(self._process) and not self._world.faults.job_fails():
            self._written(job, cluster)
        elif tried_again(job, failed + 1, closing=False):  # a process that has left soon ends
            self._later(to, failed + 1)
            return
        queue.popleft()
        while len(queue) > 1 and not queue[0].kept:
            queue.popleft()  # only the newest of many
        if queue:
            self._later(to)

    def _written(self, job: Publish, cluster: Cluster) -> None:
        sim = self._world.sim
        name = self._process.name
        final, leaving = job.handed_over, job.leaving
        report = Report(
            self._group, name, job.epoch, job.cluster, job.parts, final, leaving=leaving
        )
        key, value = report.record(SCOPE)
        cluster.logs.setdefault(PROGRESS, [Log()])[0].append(
            LogRecord(0, self._world.now_ms, key, value)
        )
        what = f"hands over for epoch {job.handed_over}" if job.handed_over else "reports"
        parts = {f"{p.topic}[{p.number}]": dict(one.offsets) for p, one in job.parts.items()}
        sim.log(name, f"{what}{' and leaves' if leaving else ''} {parts}")
        self.on_written(job)

    def believed(self, to: str, part: Partition) -> bool:
        """Say whether what this process has told of a partition is what counts there."""
        cluster = self._world.clusters[to]
        reader = SimEvidence(cluster, self._naming, self._group, self._process)
        reader._read_on()
        known = reader._known.parts.get(part)
        return known is not None and known.member == self._process.name

    def _finish(self, done: JobDone) -> None:
        self._ended.append(done)
        self._wake()

    def collect(self) -> Sequence[JobDone]:
        done, self._ended = self._ended, []
        return done

    def _failed(self, job: Job) -> JobDone:
        if isinstance(job, ReadCommits):
            return CommitsDone(job.cluster, job.ticket, None)
        if isinstance(job, ResolveReset):
            return ResetDone(job.key, job.ticket, None)
        return self._do(job)

    def _do(self, job: Job) -> JobDone:
        match job:
            case ReadCommits(cluster):
                vectors = self._commits(self._readers[cluster], job)
                return CommitsDone(cluster, job.ticket, vectors)
            case ResolveReset(key):
                self._world.count("resets")
                self._world.resets[self._group] = self._world.sim.now
                return ResetDone(key, job.ticket, self._bounds(self._readers[key.cluster], job))
            case ReadEvidence(key):
                found = self._evidence[key.cluster].find(job)
                by = found.evidence.by if found.evidence is not None else f"wait: {found.why}"
                at = found.evidence.progress if found.evidence is not None else None
                offsets = at.offsets if at is not None else ""
                self._world.sim.log(self._process.name, f"evidence of {key}: {by} {offsets}")
                self._world.count(f"evidence: {by.split(' of ')[0].split(':')[0]}")
                return found
            case Recover(key):
                recovered = self._recover(self._log_reader, job)
                self._world.recovered(self._process, job, recovered)
                return recovered
            case Align():
                done = self._align(self._log_reader, job)
                self._world.count("alignments" if done.offsets else "alignments that must wait")
                self._world.aligned(job, done)
                return done


def _where(job: Job) -> str:
    """Return the cluster on whose thread a job waits for others; empty: on the aligner's."""
    if isinstance(job, ReadCommits):
        return job.cluster
    return job.key.cluster if isinstance(job, ResolveReset | ReadEvidence) else ""
