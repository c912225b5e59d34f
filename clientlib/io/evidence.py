"""What a member knows of a lost cluster: its own reports, the others', and MM2's checkpoints.

One `Evidence` per cluster: it writes to that cluster's progress topic and reads from it. Each half
is for one thread.
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from clientlib.core.memory import as_bytes
from clientlib.core.seat import Evidence, ReadEvidence
from clientlib.io.kafka import Renewed, helper_conf, reader, records_of
from clientlib.io.options import ClientOptions
from clientlib.io.ports import EvidenceDone, Publish
from clientlib.protocol.errors import RecordFormatError
from clientlib.protocol.mm2_records import Checkpoint
from clientlib.protocol.progress import (
    GroupProgress,
    Known,
    Report,
    decode_report,
    fold_progress,
)
from clientlib.protocol.records import decode_key
from clientlib.protocol.types import ClusterAlias, Offset
from clientlib.settings import COORDINATOR_S

log = logging.getLogger("clientlib.consumer")

_ANSWER_S = 2.0
_ACK_S = 0.5
_FINAL_ATTEMPTS, _LEAVING_ATTEMPTS = 20, 3


def tried_again(job: Publish, failed: int, *, closing: bool) -> bool:
    """Say whether a report that was not acknowledged so often is tried again.

    What a member remembers of a lost cluster is waited for by all, itself included, for as long as
    it is in its group: no cut may be longer than its patience.
    """
    if job.handed_over:
        return not closing or failed < _FINAL_ATTEMPTS
    return job.leaving and failed < _LEAVING_ATTEMPTS


class ProgressWriter:
    """Writes one member's reports to one cluster."""

    def __init__(self, options: ClientOptions, cluster: ClusterAlias, group: str) -> None:
        self._cluster = options.failover.cluster(cluster)
        self._topic = options.failover.control.progress_topic
        self._scope, self._member, self._group = options.scope, options.ident, group
        self._producer = Renewed(self._make)

    def write(self, job: Publish, closing: Callable[[], bool]) -> bool:
        """Write a report; a final one until it is acknowledged, an ordinary one at most once.

        One about partitions that another member gets now is tried a few times, and so is a final
        one while its member is closed.
        """
        report = Report(
            *(self._group, self._member, job.epoch, job.cluster, job.parts),
            *(job.handed_over, job.leaving),
        )
        key, value = report.record(self._scope)
        failed = 0
        while not self._written(key, value):
            failed += 1
            if failed == _FINAL_ATTEMPTS:
                log.warning(
                    "group %s: %s does not take what was read on %s; members there wait for it",
                    *(self._group, job.to, job.cluster),
                )
            if not tried_again(job, failed, closing=closing()):
                return False
        return True

    def close(self) -> None:
        """Close the connection."""
        self._producer.close()

    def _make(self) -> Producer:
        settings = {"linger.ms": 0, "acks": "all", "message.timeout.ms": 1000}
        return Producer(helper_conf(self._cluster, "progress", **settings))

    def _written(self, key: bytes, value: bytes) -> bool:
        answers: list[Any] = []
        try:
            producer = self._producer.get()
            producer.produce(
                self._topic, value, key, on_delivery=lambda error, _: answers.append(error)
            )
            producer.flush(_ACK_S)
        except (KafkaException, BufferError) as error:
            log.debug("%s: progress was not written: %s", self._cluster.alias, error)
        acknowledged = answers == [None]
        self._producer.says(worked=acknowledged)
        return acknowledged


Floors: TypeAlias = dict[tuple[str, int], Offset]


@dataclass(slots=True)
class Look:
    """What one look at a cluster has brought so far; ``at``: when it began.

    ``nobody``: why it is not known who lives; ``unread``: why not all reports are known.
    """

    at: float
    living: list[str] = field(default_factory=list)
    nobody: KafkaException | None = None
    unread: KafkaException | None = None
    floors: dict[ClusterAlias, Floors | KafkaException] = field(default_factory=dict)


class EvidenceReader:
    """Reads what all members of one group have reported to one cluster.

    It looks once for all partitions that are asked for at one time: ``now`` is the clock of those
    who ask.
    """

    def __init__(
        self,
        options: ClientOptions,
        cluster: ClusterAlias,
        group: str,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = options.failover.cluster(cluster)
        self._topic = options.failover.control.progress_topic
        self._naming, self._scope, self._group = options.naming, options.scope, group
        self._consumer = Renewed(lambda: reader(self._cluster, "evidence"), Consumer.close)
        self._admin = Renewed(lambda: AdminClient(helper_conf(self._cluster, "group")))
        self._known = GroupProgress()
        self._at = 0
        self._now, self._look = now, Look(float("-inf"))

    def find(self, job: ReadEvidence) -> EvidenceDone:
        """Return the best evidence for one partition, or say for whom to wait."""
        if self._look.at < job.asked_at:
            self._look = self._see()
        try:
            return self._found(job)
        except KafkaException as error:
            return EvidenceDone(job.key, job.ticket, None, f"{self._cluster.alias}: {error}")

    def _found(self, job: ReadEvidence) -> EvidenceDone:
        if self._look.unread is not None:
            raise self._look.unread
        known = self._known.parts.get(job.key.partition)
        final = known is not None and known.handed_over >= job.epoch
        if known is not None and final and known.progress.memory.prints:
            found = Evidence(f"the memory of {known.member}", known.progress)
            return EvidenceDone(job.key, job.ticket, found)
        # a final report of one who has read nothing yet: those who read before it remember
        if self._look.nobody is not None:
            raise self._look.nobody
        silent = self._silent(self._look.living, job.epoch)
        if silent:
            why = f"{', '.join(silent)} read {job.lost} and have not reported yet"
            return EvidenceDone(job.key, job.ticket, None, why)
        return EvidenceDone(job.key, job.ticket, self._best(job, known))

    def close(self) -> None:
        """Close the connections."""
        self._consumer.close()
        self._admin.close()

    def _best(self, job: ReadEvidence, known: Known | None) -> Evidence:
        floors = self._floors(job)
        if known is not None and (known.epoch, known.cluster) == (job.reading, job.lost):
            return Evidence(f"the last report of {known.member}", known.progress, floors)
        return Evidence("a checkpoint" if floors else "nothing", None, floors)

    def _silent(self, living: list[str], epoch: int) -> list[str]:
        """Return the living members that have not said their final word about the lost cluster."""
        over = self._known.handed_over
        return [ident for ident in living if over.get(ident, 0) < epoch]

    def _see(self) -> Look:
        """Find out which members live, and read all reports that were written before.

        In that order: a member that leaves has told what it had read. What nobody can contradict is
        found in the reports also when the group's coordinator does not answer.
        """
        look = Look(self._now())
        try:
            look.living = sorted(self._members())
        except KafkaException as error:
            look.nobody = error
        try:
            self._read_on()
        except KafkaException as error:
            look.unread = error
        return look

    def _members(self) -> list[str]:
        """Return the members that the group has on this cluster, by what they call themselves."""
        try:
            with self._admin.used() as admin:
                asked = admin.describe_consumer_groups([self._group], request_timeout=COORDINATOR_S)
                members = asked[self._group].result(timeout=_ANSWER_S).members
        except TimeoutError as error:
            self._admin.close()  # with what it still wants to ask
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from error  # noqa: SLF001 - the public spelling
        return [member.client_id for member in members]

    def _read_on(self) -> None:
        """Read the progress topic from where the last call stopped to its end."""
        reports = []
        try:
            for message in self._messages(self._topic, self._at):
                self._at = (message.offset() or 0) + 1
                report = self._report(message)
                if report is not None:
                    reports.append(report)
        finally:  # what was read is not read again
            self._known = fold_progress(self._known, reports)

    def _report(self, message: Message) -> Report | None:
        key, value = as_bytes(message.key()), as_bytes(message.value())
        try:
            kind, scope, group = decode_key(key)[:3]
            ours = (kind, scope, group) == ("progress", self._scope, self._group)
            return decode_report(key, value) if ours and value is not None else None
        except (RecordFormatError, ValueError) as error:
            log.debug("%s: a progress record was ignored: %s", self._cluster.alias, error)
            return None

    def _floors(self, job: ReadEvidence) -> dict[ClusterAlias, Offset]:
        """Return MM2's lower bound of the group's position in the lost cluster's own log."""
        topic, number = job.key.partition
        name = self._naming.log_name(job.lost, topic, self._cluster.alias)
        floors = self._look.floors.get(job.lost)
        if floors is None:
            try:
                floors = self._checkpoints(job.lost)
            except KafkaException as error:
                floors = error
            self._look.floors[job.lost] = floors
        if isinstance(floors, KafkaException):
            raise floors
        floor = floors.get((name, number))
        return {} if floor is None else {job.lost: floor}

    def _checkpoints(self, lost: ClusterAlias) -> Floors:
        """Return MM2's checkpoints of the group here, by physical topic and partition."""
        found: Floors = {}
        for message in self._messages(self._naming.policy.checkpoints_topic(lost), 0):
            try:
                one = Checkpoint.decode(as_bytes(message.key()), as_bytes(message.value()))
            except RecordFormatError:
                continue
            if one is not None and one.group == self._group:
                found[one.topic, one.partition] = one.downstream_offset
        return found

    def _messages(self, topic: str, start: Offset) -> Iterator[Message]:
        """Yield the records of a one-partition topic up to its end; none if it does not exist."""
        with self._consumer.used() as consumer:
            known = consumer.list_topics(topic, timeout=_ANSWER_S).topics.get(topic)
            if known is None or known.error is not None:
                return
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=_ANSWER_S)
            first = max(low, start)
            if first >= high:
                return
            consumer.assign([TopicPartition(topic, 0, first)])
            try:
                yield from records_of(consumer, first, high, silent_s=_ANSWER_S, whole=True)
            finally:
                consumer.unassign()
