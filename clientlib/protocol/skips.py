"""Offsets of one log that nobody is to read, such as what MM2 has sent twice.

A log without them is *squeezed*: it has coordinates of its own in which nothing is missing where
the skipped records lie, so that a copy with repeats is as long again as its origin.
"""

from bisect import bisect_right
from collections.abc import Iterable
from typing import TypeAlias

from clientlib.protocol.fingerprint import LogRecord
from clientlib.protocol.types import Offset

Skip: TypeAlias = tuple[tuple[Offset, Offset], ...]
"""Spans ``[first, end)`` of offsets, in order, no two of them touching."""


def join(*skips: Iterable[tuple[Offset, Offset]]) -> Skip:
    """Return the union of spans: in order, and merged where they touch or overlap."""
    merged: list[tuple[Offset, Offset]] = []
    for first, end in sorted(span for spans in skips for span in spans):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((first, end))
    return tuple(merged)


def clip(skip: Skip, start: Offset, end: Offset | None) -> Skip:
    """Return the part of the spans within ``[start, end)``; no ``end`` is the log's end."""
    parts = ((max(f, start), e if end is None else min(e, end)) for f, e in skip)
    return tuple((first, stop) for first, stop in parts if first < stop)


def size(skip: Iterable[tuple[Offset, Offset]]) -> int:
    """Return how many offsets lie in the spans."""
    return sum(end - first for first, end in skip)


def without(skip: Skip, other: Skip) -> Skip:
    """Return the part of the spans that no other span covers."""
    left: list[tuple[Offset, Offset]] = []
    for first, end in skip:
        at = first
        for begin, stop in clip(other, first, end):
            if at < begin:
                left.append((at, begin))
            at = stop
        if at < end:
            left.append((at, end))
    return tuple(left)


def past(skip: Skip, offset: Offset) -> Offset:
    """Return the next offset that is to be read: the end of the span that holds ``offset``."""
    at = bisect_right(skip, offset, key=lambda span: span[0]) - 1
    return max(offset, skip[at][1]) if at >= 0 else offset


def within(skip: Skip, offset: Offset) -> bool:
    """Tell whether an offset is one that nobody is to read."""
    return past(skip, offset) != offset


class Squeezed:
    """Coordinates of a log without its skipped spans."""

    __slots__ = ("_before", "_skip")

    def __init__(self, skip: Skip = ()) -> None:
        self._skip = skip
        self._before = [0]
        for first, end in skip:
            self._before.append(self._before[-1] + end - first)

    def inward(self, offset: Offset) -> int:
        """Return the coordinate of an offset; all of a skipped span have that of its end."""
        at = bisect_right(self._skip, offset, key=lambda span: span[0])
        inside = max(0, self._skip[at - 1][1] - offset) if at else 0
        return offset - self._before[at] + inside

    def outward(self, coordinate: int) -> Offset:
        """Return the offset of a coordinate; where a span was taken out, the one before it."""
        offset = coordinate
        for first, end in self._skip:
            if offset <= first:
                break
            offset += end - first
        return offset

    def records(self, records: Iterable[LogRecord]) -> list[LogRecord]:
        """Return the records that are to be read, at their coordinates."""
        return [
            LogRecord(self.inward(r.offset), r.timestamp, r.key, r.value, r.headers)
            for r in records
            if not within(self._skip, r.offset)
        ]
