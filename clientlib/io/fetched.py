"""What the application gets of what a member has fetched.

A record counts as the application's where its partition is read: below the end of the span, past
what is skipped, not had before, and wanted if it is late.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from confluent_kafka import KafkaError, TopicPartition

from clientlib.core.tracker import Span
from clientlib.io.commits import PhysicalKey, Track
from clientlib.io.ports import MemberPort, Message
from clientlib.protocol.skips import within
from clientlib.protocol.types import ClusterAlias

log = logging.getLogger("clientlib.consumer")

_EOF = KafkaError._PARTITION_EOF  # noqa: SLF001 - confluent-kafka's public spelling of the code
_RESET = KafkaError._AUTO_OFFSET_RESET  # noqa: SLF001 - as above


class ResetPolicy(Protocol):
    """Finds where to read on when a log does not have the wanted offset any more."""

    def __call__(self, cluster: ClusterAlias, topic: str, partition: int, at: int) -> int | None:
        """Return where to read on instead of ``at``; None when the application gets the error."""
        ...


class Fetched:
    """Takes records for one consumer. ``tracks`` is shared with the runtime, which changes it.

    ``wanted`` is asked about each late record; ``drained`` is told once when a span is read.
    """

    def __init__(
        self,
        tracks: Mapping[PhysicalKey, Track],
        members: Mapping[ClusterAlias, MemberPort],
        *,
        partition_eof: bool,
        reset: ResetPolicy,
        wanted: Callable[[Message], bool],
        drained: Callable[[Track], None],
    ) -> None:
        self._tracks, self._members, self._partition_eof = tracks, members, partition_eof
        self._reset, self._wanted, self._drained = reset, wanted, drained

    def take(self, message: Message) -> Message | None:
        """Return the record if it is the application's to have now; note what it shows."""
        if message.error() is not None:
            return self._take_event(message)
        key = (message.topic(), message.partition())
        track = self._tracks.get(key)
        if track is None:
            return None
        span, offset = track.span, message.offset()
        if span.end is not None and offset >= span.end:
            self._drain(track, key)
            return None
        goes_on = span.past(offset)
        given = goes_on == offset
        if given:
            span.next = span.past(offset + 1)
            given = not self._unwanted(span, message)
        else:
            span.next = max(span.next, goes_on)
        if given:
            span.memory.append(message)
        if span.end is not None and span.next >= span.end:
            self._drain(track, key)
        return message if given else None

    def take_all(self, batch: Iterable[Message], into: list[Message]) -> None:
        """Take a batch; it comes in runs of one partition, so what a run shares is found once."""
        topic, number, begun = "", -1, 0
        span: Span | None = None
        for message in batch:
            if message.error() is None:
                if message.partition() == number and message.topic() == topic:
                    into.append(message)
                    continue
                if span is not None:
                    _end_run(span, into, begun)
                track = self._tracks.get((message.topic(), message.partition()))
                if track is not None and track.span.plain:
                    topic, number, span = message.topic(), message.partition(), track.span
                    begun = len(into)
                    into.append(message)
                    continue
            elif span is not None:
                _end_run(span, into, begun)
            topic, number, span = "", -1, None
            taken = self.take(message)
            if taken is not None:
                into.append(taken)
        if span is not None:
            _end_run(span, into, begun)

    def _unwanted(self, span: Span, message: Message) -> bool:
        """Say whether the application has had the record already, or does not want a late one."""
        if span.filter is not None and span.filter.drops(message):
            return True
        return within(span.late, message.offset()) and not self._wanted(message)

    def _take_event(self, message: Message) -> Message | None:
        code, key = message.error().code(), (message.topic(), message.partition())
        track = self._tracks.get(key)
        if code == _EOF:
            if track is None:
                return None
            if track.span.end is not None and message.offset() >= track.span.end:
                self._drain(track, key)
                return None
            return message if self._partition_eof else None
        if code == _RESET and track is not None:
            return self._out_of_range(message, track, key)
        named = message.topic() is not None and (message.partition() or 0) >= 0
        return None if named and track is None else message

    def _out_of_range(self, message: Message, track: Track, key: PhysicalKey) -> Message | None:
        """Retention has passed the position: read on by ``auto.offset.reset``, and say so."""
        offset = self._reset(track.cluster, *key, track.span.next)
        if offset is None:
            return message
        log.warning(
            "%s [%d] on %s does not have offset %d any more; reading on from %d",
            *key, track.cluster, track.span.next, offset,
        )  # fmt: skip
        track.span.seek(offset)
        if track.span.end is not None and offset >= track.span.end:
            self._drain(track, key)
        else:
            self._members[track.cluster].seek(TopicPartition(*key, offset))
        return None

    def _drain(self, track: Track, key: PhysicalKey) -> None:
        if not track.span.drained:
            track.span.drained = True
            log.debug("%s [%d] on %s is drained at %s", *key, track.cluster, track.span.end)
            self._drained(track)


def _end_run(span: Span, into: list[Message], begun: int) -> None:
    """A run of records of one partition has been taken: what they share is noted once."""
    span.next = into[-1].offset() + 1
    span.memory.extend(into[begun:])
