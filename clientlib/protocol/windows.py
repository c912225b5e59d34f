"""Reading two logs without doing I/O: a procedure asks for windows and is fed with records."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeAlias, TypeVar

from clientlib.protocol.fingerprint import LogRecord, fingerprint

Side: TypeAlias = Literal["source", "target"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets ``start`` (inclusive) to ``end`` (exclusive) of one log."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end:
            raise ValueError(f"not a range of offsets: [{self.start}, {self.end})")

    def clip(self, offset: int) -> int:
        """Return the offset in [start, end] that is nearest to ``offset``."""
        return min(max(offset, self.start), self.end)


@dataclass(frozen=True, slots=True)
class ReadWindow:
    """Read the records of ``side`` from ``start`` on, at most ``limit``, all below ``end``."""

    side: Side
    start: int
    end: int
    limit: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A record's offset and its fingerprint."""

    offset: int
    print: bytes


Answer: TypeAlias = tuple[Sequence[LogRecord], int | None]
Steps: TypeAlias = Generator[ReadWindow, Answer, T]


class Reader(Generic[T]):
    """A procedure that reads: ask `next_request`, `feed` the answer, until `result` is there."""

    __slots__ = ("_request", "_result", "_steps")

    def __init__(self, steps: Steps[T]) -> None:
        self._steps = steps
        self._result: T | None = None
        self._request: ReadWindow | None = None
        try:
            self._request = next(steps)
        except StopIteration as stop:
            self._result = stop.value

    @property
    def result(self) -> T | None:
        """Return the outcome, or None while windows are still wanted."""
        return self._result

    def next_request(self) -> ReadWindow | None:
        """Return the window that is wanted now (the same until it is fed), None at the end."""
        return self._request

    def feed(self, records: Sequence[LogRecord], covered_to: int | None = None) -> None:
        """Answer the wanted window with records in offset order; unwanted ones are ignored.

        ``covered_to``: only offsets below it were read, the rest will be asked for again. None: the
        answer is full, that is it has ``limit`` records or everything below ``end``. RuntimeError
        if no window is wanted, or if the answer covers nothing.
        """
        if self._request is None:
            raise RuntimeError("finished: no window was asked for")
        if covered_to is not None and covered_to <= self._request.start:
            raise RuntimeError(f"the answer covers nothing of {self._request}")
        try:
            self._request = self._steps.send((records, covered_to))
        except StopIteration as stop:
            self._request, self._result = None, stop.value


@dataclass(frozen=True, slots=True)
class Logs:
    """The reading steps that procedures are made of."""

    use_timestamp: bool

    def read(self, side: Side, span: Span, limit: int) -> Steps[list[Entry]]:
        """Read the first ``limit`` records of the span."""
        entries: list[Entry] = []
        at = span.start
        while at < span.end and len(entries) < limit:
            window = ReadWindow(side, at, span.end, limit - len(entries))
            records, covered_to = yield window
            to = span.end if covered_to is None else min(covered_to, span.end)
            wanted = [record for record in records if at <= record.offset < to]
            entries.extend(self._entry(record) for record in wanted[: window.limit])
            at = to
        return entries

    def read_last(self, side: Side, span: Span, count: int) -> Steps[list[Entry]]:
        """Read the last ``count`` records of the span, looking further back over gaps."""
        reach = 2 * count
        while True:
            start = max(span.start, span.end - reach)
            entries = yield from self.read(side, Span(start, span.end), reach)
            if len(entries) >= count or start == span.start:
                return entries[-count:]
            reach *= 4

    def same(self, side: Side, entries: Sequence[Entry], shift: int) -> Steps[bool]:
        """Tell whether ``side`` has equal records, and no others, each ``shift`` further on."""
        if not entries or entries[0].offset + shift < 0:
            return False
        span = Span(entries[0].offset + shift, entries[-1].offset + shift + 1)
        found = yield from self.read(side, span, len(entries) + 1)
        return found == [Entry(entry.offset + shift, entry.print) for entry in entries]

    def _entry(self, record: LogRecord) -> Entry:
        return Entry(record.offset, fingerprint(record, use_timestamp=self.use_timestamp))
