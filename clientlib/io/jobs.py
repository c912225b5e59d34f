"""Background reads of a consumer: commits, the logs' bounds, alignment.

One thread per cluster reads the group's commits through a consumer of the same group that never
subscribes; one more aligns. So a dead cluster delays nobody but those who need its answer.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from clientlib.core.duty import Committed, Vector
from clientlib.core.seat import Align, ReadCommits, ReadEvidence, Recover, ResolveReset
from clientlib.io.evidence import EvidenceReader, ProgressWriter
from clientlib.io.kafka import Renewed, Threads, bare, reader
from clientlib.io.log_reader import LogReader
from clientlib.io.options import ClientOptions
from clientlib.io.ports import (
    AlignDone,
    CommitsDone,
    EvidenceDone,
    Job,
    JobDone,
    Publish,
    RecoverDone,
    ResetDone,
)
from clientlib.protocol import align as alignment
from clientlib.protocol import token as tokens
from clientlib.protocol.errors import ClusterUnreachableError
from clientlib.protocol.ledger import NeedsAlignment
from clientlib.protocol.naming import Naming
from clientlib.protocol.recover import Memory, Recovered, RecoverRequest
from clientlib.protocol.skips import Squeezed
from clientlib.protocol.types import ClusterAlias, Partition
from clientlib.protocol.windows import Span
from clientlib.settings import Cluster

log = logging.getLogger("clientlib.consumer")

_COMMITS_S = 1.0
_EARLIEST = frozenset({"earliest", "beginning", "smallest"})
_LATEST = frozenset({"latest", "end", "largest"})


class BackgroundJobs:
    """`Jobs` on real clusters. ``wake`` is called, on a background thread, when a job has ended."""

    def __init__(
        self,
        clusters: Mapping[ClusterAlias, Cluster],
        naming: Naming,
        settings: Mapping[str, Any],
        wake: Callable[[], None],
        options: ClientOptions,
    ) -> None:
        self._clusters, self._naming, self._wake = clusters, naming, wake
        self._settings, self._options = settings, options
        self._policy = str(settings.get("auto.offset.reset", "latest"))
        self._done: deque[JobDone] = deque()
        self._threads = Threads("failover-jobs")
        self._queues: dict[str, SimpleQueue[Job]] = {alias: SimpleQueue() for alias in clusters}
        self._queues |= {name: SimpleQueue() for name in ("", *map(_reports, clusters))}
        self._logs: dict[ClusterAlias, set[str]] = {alias: set() for alias in clusters}
        for alias in clusters:
            self._threads.start(alias, lambda a=alias: self._serve_cluster(a))  # type: ignore[misc]  # mypy cannot type a default argument of a lambda
            self._threads.start(_reports(alias), lambda a=alias: self._serve_reports(a))  # type: ignore[misc]  # as above
        self._threads.start("align", self._serve_align)

    def submit(self, job: Job) -> None:
        """Begin a job on the thread of its cluster."""
        match job:
            case ReadCommits(cluster):
                self._queues[cluster].put(job)
            case ResolveReset(key):
                self._queues[key.cluster].put(job)
            case ReadEvidence(key):
                self._queues[key.cluster].put(job)
            case Publish(to):
                self._queues[_reports(to)].put(job)
            case Align() | Recover():
                self._queues[""].put(job)

    def collect(self) -> Sequence[JobDone]:
        """Return the jobs that have ended since the last call."""
        done: list[JobDone] = []
        while self._done:
            done.append(self._done.popleft())
        return done

    def close(self) -> None:
        """Stop the threads."""
        self._threads.stop()

    def reset(self, cluster: ClusterAlias, topic: str, partition: int, at: int) -> int | None:
        """Where to read on when a log lacks the wanted offset (`ResetPolicy`).

        Where retention has passed the position that is the log's start, so that nothing that is
        still there is skipped, unless the application wants the error; else the policy decides.
        """
        logs = LogReader(self._clusters)
        try:
            low, high = logs.bounds(cluster, TopicPartition(topic, partition))
        except ClusterUnreachableError:
            return None
        finally:
            logs.close()
        if self._policy in _EARLIEST or (at < low and self._policy in _LATEST):
            return low
        return high if self._policy in _LATEST else None

    # -- threads ---------------------------------------------------------------------------

    def _jobs_of(self, name: str) -> Job | None:
        try:
            return self._queues[name].get(timeout=0.2)
        except Empty:
            return None

    def _end(self, done: JobDone) -> None:
        self._done.append(done)
        self._wake()

    @contextmanager
    def _answered(self, job: Job | None) -> Iterator[None]:
        """See that whoever waits for a job hears of it when it fails, and asks for it again."""
        try:
            yield
        except Exception:
            if isinstance(job, Publish):
                if job.kept:
                    self._queues[_reports(job.to)].put(job)
            elif job is not None:
                self._end(_unanswered(job))
            raise

    def _serve_cluster(self, alias: ClusterAlias) -> None:
        settings = bare(self._settings)
        group = str(settings["group.id"])
        consumer = Renewed(lambda: reader(self._clusters[alias], "commits", group), Consumer.close)
        evidence = EvidenceReader(self._options, alias, group)
        try:
            while not self._threads.stopping.is_set():
                job = self._jobs_of(alias)
                with self._answered(job):
                    self._read_for(alias, job, consumer, evidence)
        finally:
            evidence.close()
            consumer.close()

    def _read_for(
        self,
        alias: ClusterAlias,
        job: Job | None,
        consumer: Renewed[Consumer],
        evidence: EvidenceReader,
    ) -> None:
        if isinstance(job, ReadCommits):
            vectors = self._commits(consumer.get(), job)
            consumer.says(worked=vectors is not None)
            self._end(CommitsDone(alias, job.ticket, vectors))
        elif isinstance(job, ResolveReset):
            bounds = self._bounds(consumer.get(), job)
            consumer.says(worked=bounds is not None)
            self._end(ResetDone(job.key, job.ticket, bounds))
        elif isinstance(job, ReadEvidence):
            self._end(evidence.find(job))

    def _serve_reports(self, alias: ClusterAlias) -> None:
        """Write reports of what this member reads to a cluster; only the newest of many."""
        writer = ProgressWriter(self._options, alias, str(self._settings["group.id"]))
        queue = self._queues[_reports(alias)]
        try:
            while not self._threads.stopping.is_set() or not queue.empty():
                job = self._jobs_of(_reports(alias))
                if isinstance(job, Publish) and (job.kept or queue.empty()):
                    with self._answered(job):
                        writer.write(job, self._threads.stopping.is_set)
        finally:
            writer.close()

    def _exists(self, consumer: Consumer, alias: ClusterAlias, topic: str) -> bool:
        if topic in self._logs[alias]:
            return True
        found = consumer.list_topics(topic, timeout=_COMMITS_S).topics.get(topic)
        if found is None or found.error is not None or not found.partitions:
            return False
        self._logs[alias].add(topic)
        return True

    def _commits(self, consumer: Consumer, job: ReadCommits) -> dict[Partition, Vector] | None:
        try:
            return self._read_commits(consumer, job)
        except KafkaException as error:
            log.debug("commits on %s could not be read: %s", job.cluster, error)
            return None

    def _read_commits(self, consumer: Consumer, job: ReadCommits) -> dict[Partition, Vector]:
        names = {
            topic: {
                origin: name
                for origin, name in self._naming.log_names(topic, job.cluster).items()
                if self._exists(consumer, job.cluster, name)
            }
            for topic in {partition.topic for partition in job.partitions}
        }
        wanted = [
            TopicPartition(name, partition.number)
            for partition in job.partitions
            for name in names[partition.topic].values()
        ]
        found = {}
        if wanted:
            for tp in consumer.committed(wanted, timeout=_COMMITS_S):
                if tp.error is not None:
                    raise KafkaException(tp.error)
                found[tp.topic, tp.partition] = tp
        return {
            partition: _vector(job.cluster, partition.number, names[partition.topic], found)
            for partition in job.partitions
        }

    def _bounds(self, consumer: Consumer, job: ResolveReset) -> dict[ClusterAlias, int] | None:
        topic, number = job.key.partition
        result = {}
        try:
            for origin in job.origins:
                name = self._naming.log_name(origin, topic, job.key.cluster)
                low, high = consumer.get_watermark_offsets(
                    TopicPartition(name, number), timeout=_COMMITS_S
                )
                result[origin] = high if self._policy in _LATEST else low
        except KafkaException as error:
            log.debug("%s: bounds could not be read: %s", job.key, error)
            return None
        return result

    def _serve_align(self) -> None:
        logs = LogReader(self._clusters)
        try:
            while not self._threads.stopping.is_set():
                job = self._jobs_of("")
                with self._answered(job):
                    if isinstance(job, Align):
                        self._end(self._align(logs, job))
                    elif isinstance(job, Recover):
                        self._end(self._recover(logs, job))
        finally:
            logs.close()

    def _align(self, logs: LogReader, job: Align) -> AlignDone:
        offsets: dict[ClusterAlias, int] = {}
        warnings: list[str] = []
        for origin, task in job.tasks.items():
            try:
                found = self._align_one(logs, job, origin, task)
            except (ClusterUnreachableError, KafkaException) as error:
                return AlignDone(job.key, job.ticket, None, (f"alignment failed: {error}",))
            match found:
                case alignment.Exact(offset):
                    offsets[origin] = offset
                case alignment.AtMost(offset, records):
                    offsets[origin] = offset
                    warnings.append(f"up to {records} records of {origin} may come again")
                case alignment.NotYet():
                    return AlignDone(job.key, job.ticket, None, ("the copy is not there yet",))
                case alignment.Unknown(reason):
                    offsets[origin] = task.target[0]
                    warnings.append(f"reading the epoch again from its start: {reason}")
        return AlignDone(job.key, job.ticket, offsets, tuple(warnings))

    def _recover(self, logs: LogReader, job: Recover) -> RecoverDone:
        """Find positions of a lost cluster by what their reader remembers."""
        (topic, number), alias = job.key.partition, job.key.cluster
        found: dict[ClusterAlias, tuple[Recovered, int]] = {}
        for origin, task in job.tasks.items():
            tp = TopicPartition(self._naming.log_name(origin, topic, alias), number)
            first, last = task.target
            try:
                end = logs.bounds(alias, tp)[1] if last is None else last
                request = RecoverRequest(
                    memory=job.memory if origin == job.log else Memory(),
                    position=task.position,
                    start=task.source[0],
                    target=Span(first, max(first, end)),
                    floor=min(max(first, job.floors.get(origin, 0)), max(first, end)),
                )
                found[origin] = (logs.recover(request, (alias, tp), task.skips[1]), task.position)
            except (ClusterUnreachableError, KafkaException) as error:
                log.info("%s: reading %s failed: %s", job.key, tp.topic, error)
                return RecoverDone(job.key, job.ticket, None)
        return RecoverDone(job.key, job.ticket, found, job.memory.stamped)

    def _align_one(
        self, logs: LogReader, job: Align, origin: ClusterAlias, task: NeedsAlignment
    ) -> alignment.Alignment:
        topic, number = job.key.partition
        sides = [
            (alias, TopicPartition(self._naming.log_name(origin, topic, alias), number))
            for alias in (job.source, job.key.cluster)
        ]
        (start, end), (first, last) = task.source, task.target
        source_end = logs.bounds(*sides[0])[1] if end is None else end
        target_end = logs.bounds(*sides[1])[1] if last is None else last
        at = min(max(task.position, start), source_end)
        here, there = (Squeezed(skip) for skip in task.skips)
        position = here.inward(at)
        request = alignment.AlignRequest(
            source=_squeezed(here, start, source_end),
            target=_squeezed(there, first, target_end),
            position=position,
            guess=there.inward(first) + position - here.inward(start),
            use_timestamp=not any(logs.uses_append_time(*side, at) for side in sides),
            complete=end is not None and last is not None,
            from_origin=job.source == origin,
        )
        found = logs.align(request, sides[0], sides[1], task.skips)
        if isinstance(found, alignment.Exact | alignment.AtMost):
            return replace(found, offset=there.outward(found.offset))
        return found


def _unanswered(job: ReadCommits | ResolveReset | ReadEvidence | Align | Recover) -> JobDone:
    """Return what a job comes to that has failed: it is asked for again."""
    match job:
        case ReadCommits():
            return CommitsDone(job.cluster, job.ticket, None)
        case ResolveReset():
            return ResetDone(job.key, job.ticket, None)
        case ReadEvidence():
            return EvidenceDone(job.key, job.ticket, None, "reading the reports failed")
        case Align():
            return AlignDone(job.key, job.ticket, None)
        case Recover():
            return RecoverDone(job.key, job.ticket, None)


def _squeezed(log: Squeezed, start: int, end: int) -> alignment.Span:
    return alignment.Span(log.inward(start), log.inward(max(start, end)))


def _reports(alias: ClusterAlias) -> str:
    """Return the name of the thread that writes reports to a cluster."""
    return f"reports-{alias}"


def _vector(
    cluster: ClusterAlias,
    number: int,
    names: Mapping[ClusterAlias, str],
    found: Mapping[tuple[str, int], TopicPartition],
) -> Vector:
    commits = {}
    for origin, name in names.items():
        tp = found.get((name, number))
        if tp is not None and tp.offset >= 0:
            metadata = tokens.decode(tp.metadata)
            commits[origin] = Committed(tp.offset, metadata.token, metadata.user, metadata.beyond)
    return Vector(cluster, commits, frozenset(names))
