"""What a member remembers of the log that it reads, and what it must not be given again."""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from clientlib.protocol.fingerprint import LogRecord
from clientlib.protocol.recover import Memory, Print
from clientlib.protocol.replay import likely_prints, original, original_print
from clientlib.protocol.types import ClusterAlias, Offset

RECENT = 2_000
"""Records that are remembered of each partition: enough for 200 ms at 10,000 records/s."""

_LOG_APPEND_TIME = 2
Message = Any


def recent() -> deque[Message]:
    """Return an empty memory of messages."""
    return deque(maxlen=RECENT)


def remembered(
    messages: Iterable[Message], upto: Offset | None, most: int, start: Offset | None = None
) -> Memory:
    """Return the prints of the last ``most`` messages below ``upto`` (None: of all), by offset.

    Messages have confluent-kafka's methods. Fingerprints are made here and not for each record,
    because nearly all of them are never asked for. ``start``: where reading began. What was read
    twice, because the application went back to it, is one record.
    """
    listed = list(messages)
    full = len(listed) >= RECENT
    if upto is not None:
        listed = [m for m in listed if m.offset() < upto]
    latest = {m.offset(): m for m in reversed(listed)}  # the newest first
    chosen = [latest[offset] for offset in sorted(islice(latest, most))]
    stamped = not any(m.timestamp()[0] == _LOG_APPEND_TIME for m in islice(chosen, 1))
    return Memory(
        tuple(Print(m.offset(), original_print(record(m), use_timestamp=stamped)) for m in chosen),
        stamped,
        start if len(latest) == len(chosen) and not full else None,
    )


def record(message: Message) -> LogRecord:
    """Return a message as a record of its log."""
    kind, timestamp = message.timestamp()
    return LogRecord(
        message.offset(),
        timestamp if kind else None,
        as_bytes(message.key()),
        as_bytes(message.value()),
        [(name, as_bytes(value)) for name, value in message.headers() or ()],
    )


def as_bytes(data: str | bytes | None) -> bytes | None:
    """Return a key, a value or a header as its log holds it."""
    return data.encode() if isinstance(data, str) else data


@dataclass(slots=True)
class Filter:
    """Which records of a log the application is not to be given.

    ``done``: by lost cluster, the position up to which this group had processed its log, so that
    replays of that are not given again. ``ahead``: prints of processed records of which the dead
    cluster never told an offset.
    """

    done: Mapping[ClusterAlias, Offset] = field(default_factory=dict)
    ahead: Counter[bytes] = field(default_factory=Counter)
    stamped: bool = True
    dropped: int = 0

    def drops(self, message: Message) -> bool:
        """Say whether this record is to be passed over; call it once for each record, in order."""
        if self._done(message):
            self.dropped += 1
            return True
        return False

    def _done(self, message: Message) -> bool:
        if not self.done and not self.ahead:
            return False
        replays, _ = original(message.headers() or ())
        for one in replays:
            if one.offset is not None and one.offset < self.done.get(one.cluster, 0):
                return True
        if replays and self.ahead and replays[-1].offset is None:
            for print_ in likely_prints(record(message), use_timestamp=self.stamped):
                if self.ahead[print_] > 0:
                    self.ahead[print_] -= 1
                    return True
        return False
