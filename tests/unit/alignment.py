"""Logs of both sides for alignment tests, a reader for them, and the true position.

A log is a list of (offset, index): ``index`` names the record in the imagined original sequence, so
that the truth is known even where contents are equal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from clientlib.protocol.align import Aligner, Alignment, AlignRequest
from clientlib.protocol.fingerprint import LogRecord
from clientlib.protocol.range_match import Match, RangeMatch

Log = list[tuple[int, int]]
Content = Callable[[int], int]


def distinct(index: int) -> int:
    """Every record differs."""
    return index


def numbered(indexes: Sequence[int], start: int = 0) -> Log:
    """Give consecutive offsets."""
    return list(enumerate(indexes, start))


@dataclass(slots=True)
class World:
    """Two logs, what the records contain, and what reading them has cost."""

    source: Log
    target: Log
    content: Content = distinct
    reads: int = 0
    records: int = 0
    chunk: int = 0

    def _record(self, offset: int, index: int) -> LogRecord:
        number = self.content(index)
        return LogRecord(offset, number, b"k", b"v%d" % number)

    def drive(self, aligner: Aligner | RangeMatch) -> None:
        while (window := aligner.next_request()) is not None:
            log = self.source if window.side == "source" else self.target
            found = [(o, i) for o, i in log if window.start <= o < window.end]
            found = found[: min(window.limit, self.chunk or window.limit)]
            self.reads += 1
            self.records += len(found)
            covered = None
            if self.chunk and len(found) == self.chunk < window.limit:
                covered = found[-1][0] + 1
            aligner.feed([self._record(*entry) for entry in found], covered)

    def align(self, request: AlignRequest) -> Alignment:
        aligner = Aligner(request)
        self.drive(aligner)
        assert aligner.result is not None
        return aligner.result

    def match(self, matcher: RangeMatch) -> Match:
        self.drive(matcher)
        assert matcher.result is not None
        return matcher.result


def safe_index(source: Log, target: Log, position: int) -> int:
    """Return the greatest index in the target after which nothing unread is missed.

    Unread: the records whose first occurrence in the source is at or after the position.
    """
    done = {index for offset, index in source if offset < position}
    last = {index: at for at, (_, index) in enumerate(target)}
    unread = [at for index, at in last.items() if index not in done]
    return min(unread, default=len(target))
