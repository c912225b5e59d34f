"""Prove that a copy holds a whole range, before the last writer's cluster is left behind."""

from collections.abc import Sequence
from dataclasses import dataclass

from clientlib.protocol.syncs import Pair
from clientlib.protocol.windows import Entry, Logs, Reader, Span, Steps

_EDGE = 16  # records compared at each end of a range
_WHOLE = 1_024  # up to this many offsets, ranges with gaps are simply compared


@dataclass(frozen=True, slots=True)
class Match:
    """Whether the copy holds everything, and the evidence or what is missing."""

    complete: bool
    reason: str


class RangeMatch(Reader[Match]):
    """Prove that the target holds the whole range of the source; driven like `align.Aligner`.

    ``target.end`` is the copy's end now. Equal lengths: the first and the last 16 records must be
    the same at the same distance. Else (gaps, repeats): up to 1,024 offsets everything is compared;
    above that the first record, every pair in the range (``pairs`` in downstream order, as
    `SyncIndex.pairs` gives them), and everything after the last pair. A pair whose record
    compaction has removed says nothing. ``result.complete`` False: ask again when the copy has
    grown.
    """

    __slots__ = ()

    def __init__(
        self,
        source: Span,
        target: Span,
        pairs: Sequence[Pair] = (),
        *,
        use_timestamp: bool = True,
    ) -> None:
        super().__init__(_match(source, target, pairs, Logs(use_timestamp)))


def _match(source: Span, target: Span, pairs: Sequence[Pair], logs: Logs) -> Steps[Match]:
    head = yield from logs.read("source", source, _EDGE)
    if not head:
        return Match(complete=True, reason="the range is empty")
    if source.end - source.start == target.end - target.start:
        dense = yield from _edges(source, target, head, logs)
        if dense:
            return Match(complete=True, reason="equal lengths, first and last records are the same")
    if max(source.end - source.start, target.end - target.start) <= _WHOLE:
        return (yield from _everything(source, target, logs))
    return (yield from _by_pairs(source, target, pairs, logs))


def _edges(source: Span, target: Span, head: list[Entry], logs: Logs) -> Steps[bool]:
    shift = target.start - source.start
    if not (yield from logs.same("target", head, shift)):
        return False
    tail = yield from logs.read_last("source", source, _EDGE)
    return (yield from logs.same("target", tail, shift))


def _everything(source: Span, target: Span, logs: Logs) -> Steps[Match]:
    ours = yield from logs.read("source", source, _WHOLE)
    copies = yield from logs.read("target", target, _WHOLE)
    if _covers([entry.print for entry in copies], [entry.print for entry in ours]):
        return Match(complete=True, reason="all records compared")
    return Match(complete=False, reason=f"{len(ours)} records, the copy has {len(copies)}")


def _covers(copy: list[bytes], origin: list[bytes]) -> bool:
    """Tell whether the copy is the origin up to its last record, perhaps with repeats."""
    reached = 0  # records of the origin that the copy has shown, in order
    at = 0  # where in the origin the copy is now
    for print_ in copy:
        if at >= len(origin) or origin[at] != print_:
            back = [i for i in range(reached) if origin[i] == print_]
            if len(back) != 1:
                return False
            at = back[0]
        at += 1
        reached = max(reached, at)
    return reached == len(origin) == at


def _by_pairs(source: Span, target: Span, pairs: Sequence[Pair], logs: Logs) -> Steps[Match]:
    inside = [pair for pair in pairs if _within(pair, source, target)]
    first = yield from _equal(Pair(source.start, target.start), source, target, logs)
    if not first:
        return Match(complete=False, reason="the first records differ")
    if not inside:
        return Match(complete=False, reason="lengths differ, and no offset sync lies in the range")
    known = None
    for pair in inside:
        here, there = Span(pair.source, pair.source + 1), Span(pair.target, pair.target + 1)
        equal = yield from _equal(pair, here, there, logs)
        if equal is False:
            return Match(complete=False, reason=f"records of the offset sync {pair} differ")
        known = pair if equal else known
    if known is None:
        return Match(complete=False, reason="no offset sync could be checked")
    return (yield from _after(known, source, target, logs))


def _after(known: Pair, source: Span, target: Span, logs: Logs) -> Steps[Match]:
    ours, copies = Span(known.source, source.end), Span(known.target, target.end)
    rest = yield from logs.read("source", ours, ours.end - ours.start)
    copy = yield from logs.read("target", copies, copies.end - copies.start)
    if [entry.print for entry in rest] != [entry.print for entry in copy]:
        missing = f"{len(rest)} records after {known}, the copy has {len(copy)}"
        return Match(complete=False, reason=missing)
    return Match(complete=True, reason="offset syncs and last records are the same")


def _within(pair: Pair, source: Span, target: Span) -> bool:
    return source.start <= pair.source < source.end and target.start <= pair.target < target.end


def _equal(pair: Pair, source: Span, target: Span, logs: Logs) -> Steps[bool | None]:
    """Compare the first records at the two offsets; None if one of them is gone."""
    ours = yield from logs.read("source", Span(pair.source, source.end), 1)
    copy = yield from logs.read("target", Span(pair.target, target.end), 1)
    if not ours or not copy:
        return None
    return ours[0].print == copy[0].print
