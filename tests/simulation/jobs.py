"""Background jobs of a consumer: the real ones, reading the fake clusters after a delay."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from clientlib.core.seat import Align, ReadCommits, ResolveReset
from clientlib.io.jobs import BackgroundJobs
from clientlib.io.log_reader import LogReader
from clientlib.io.ports import CommitsDone, Job, JobDone, Publish, ResetDone

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clientlib.protocol.fingerprint import LogRecord
    from clientlib.protocol.naming import Naming
    from clientlib.protocol.windows import ReadWindow
    from tests.simulation.clock import Process
    from tests.simulation.cluster import Cluster
    from tests.simulation.world import World


class _Commits:
    """The consumer that reads a group's commits and never subscribes."""

    def __init__(self, cluster: Cluster, group: str) -> None:
        self._cluster, self._group = cluster, group

    def committed(self, wanted: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        group = self._cluster.groups.get(self._group)
        commits = group.commits if group is not None else {}
        answer = []
        for tp in wanted:
            offset, metadata = commits.get((tp.topic, tp.partition), (-1001, ""))
            answer.append(TopicPartition(tp.topic, tp.partition, offset, metadata))
        return answer

    def list_topics(self, topic: str, timeout: float) -> Any:
        logs = self._cluster.logs.get(topic)
        found = {topic: SimpleNamespace(error=None, partitions=logs)} if logs else {}
        return SimpleNamespace(topics=found)

    def get_watermark_offsets(self, tp: TopicPartition, timeout: float) -> tuple[int, int]:
        logs = self._cluster.logs.get(tp.topic)
        if logs is None:
            raise KafkaException(KafkaError(KafkaError._UNKNOWN_TOPIC))
        return 0, logs[tp.partition].end


class _Logs(LogReader):
    """The aligner's reader over fake logs."""

    def __init__(self, world: World) -> None:
        self._world = world

    def bounds(self, alias: str, tp: TopicPartition) -> tuple[int, int]:
        return 0, self._world.clusters[alias].logs[tp.topic][tp.partition].end

    def uses_append_time(self, alias: str, tp: TopicPartition, at: int) -> bool:
        return False

    def _read(
        self, alias: str, tp: TopicPartition, window: ReadWindow
    ) -> tuple[list[LogRecord], int | None]:
        log = self._world.clusters[alias].logs[tp.topic][tp.partition]
        return list(log.read(window.start, window.end, window.limit)), None


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
        self._readers = {a: _Commits(c, group) for a, c in world.clusters.items()}
        self._free: dict[str, float] = {}
        self._log_reader = _Logs(world)

    def submit(self, job: Job) -> None:
        self._process.call()
        if isinstance(job, Publish):
            self._world.clusters[job.to].reports.append(job)
            return
        sim, faults = self._world.sim, self._world.faults
        where = {ReadCommits: lambda: job.cluster, ResolveReset: lambda: job.key.cluster}.get(
            type(job), lambda: ""
        )()
        begin = max(sim.now, self._free.get(where, 0.0))
        middle, end = faults.job_times()
        self._free[where] = begin + middle + end
        fails = faults.job_fails()

        def read() -> None:
            done = self._failed(job) if fails else self._do(job)
            sim.after(end, lambda: self._finish(done), self._process, main=False)

        sim.after(begin - sim.now + middle, read, self._process, main=False)

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
                return ResetDone(key, job.ticket, self._bounds(self._readers[key.cluster], job))
            case Align():
                done = self._align(self._log_reader, job)
                self._world.count("alignments" if done.offsets else "alignments that must wait")
                self._world.aligned(job, done)
                return done
