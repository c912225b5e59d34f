"""A fake log: records by offset, None for a transaction marker."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from clientlib.protocol.fingerprint import LogRecord


class Log:
    """One partition of one topic on one cluster; whoever wants to hear of growth listens."""

    __slots__ = ("entries", "listeners")

    def __init__(self) -> None:
        self.entries: list[LogRecord | None] = []
        self.listeners: list[Callable[[], None]] = []

    @property
    def end(self) -> int:
        return len(self.entries)

    def truncate(self, end: int) -> None:
        """Lose what was not on the disk."""
        del self.entries[end:]

    def holds(self, offset: int, record: LogRecord) -> bool:
        """Say whether this very record stands at an offset."""
        found = self.entries[offset] if offset < len(self.entries) else None
        return found is not None and found.value == record.value

    def append(self, record: LogRecord | None) -> int:
        """Add a record (its offset is set) or a marker; return the offset."""
        offset = len(self.entries)
        self.entries.append(None if record is None else replace(record, offset=offset))
        for listener in self.listeners:
            listener()
        return offset

    def read(self, start: int, end: int, limit: int) -> Iterator[LogRecord]:
        for offset in range(start, min(end, len(self.entries))):
            record = self.entries[offset]
            if record is not None:
                if limit <= 0:
                    return
                limit -= 1
                yield record
