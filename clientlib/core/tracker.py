"""What a member has delivered, stored and committed in one logical partition.

The application sees one physical partition at a time. A *span* is what it read of one: an epoch's
range, or what was left of it. Spans follow each other in the order of the gate, and the rules are:

* a commit names the next offset of one span; ``commit()`` and ``commit(message=)`` cover all
  earlier spans too, since the application works through a logical partition in order;
* a commit of a later span is withheld until the earlier ones are finished;
* an offset outside [range start, delivered] of every span is refused, as a stale member's would be;
* a commit at the last visible record of a closed span is raised to its end, because transaction
  markers take offsets that nobody can read;
* delivered positions and commits move over offsets that nobody is to read (``skip``).
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from clientlib.core.memory import Filter, Message, recent
from clientlib.protocol.skips import Skip, past
from clientlib.protocol.types import ClusterAlias, Offset


@dataclass(slots=True)
class Span:
    """One readable stretch of one log, and how far the application is in it.

    ``start`` is where this member began, ``floor`` where the epoch's range begins: an application
    may seek back to there, and commit what is not before the ``lowest`` place that it has read
    from: else it is late, or of another cluster's log of that name. ``skip`` is what nobody is to
    read there. ``next`` is the delivered position and ``high`` the highest that it was. ``drained``
    says that nothing readable is left before ``end``, so that a commit at ``next`` means ``end``.
    ``late`` are late records that the application is asked about, ``filter``: what else it is not
    to be given, ``memory``: the records that it got last.
    """

    origin: ClusterAlias
    topic: str
    start: Offset
    end: Offset | None
    floor: Offset = -1
    next: Offset = -1
    high: Offset = -1
    lowest: Offset = -1
    stored: Offset = -1
    committed: Offset = -1
    withheld: Offset = -1
    drained: bool = False
    skip: Skip = ()
    late: Skip = ()
    filter: Filter | None = None
    memory: deque[Message] = field(default_factory=recent)

    def __post_init__(self) -> None:
        """Begin at the start."""
        self.floor = self.start if self.floor < 0 else min(self.floor, self.start)
        self.next = max(self.next, self.start)
        self.lowest = self.start
        self.committed = max(self.committed, self.start)

    @property
    def plain(self) -> bool:
        """Say whether every record from here on is the application's: no end, nothing to drop."""
        passed = all(not spans or self.next >= spans[-1][1] for spans in (self.skip, self.late))
        return passed and self.end is None and self.filter is None

    def past(self, offset: Offset) -> Offset:
        """Return the offset, or where reading goes on when nobody is to read it."""
        return past(self.skip, offset) if self.skip else offset

    @property
    def finished(self) -> bool:
        """Say whether the commits have reached the end."""
        return self.end is not None and self.committed >= self.end

    def accepts(self, offset: Offset) -> bool:
        """Say whether a commit of this offset can come from this member."""
        upper = self.end if self.end is not None and self.drained else self.next
        return self.lowest <= offset <= max(upper, self.high)

    def seek(self, offset: Offset) -> None:
        """The application reads on from another offset of the same log.

        A negative one is a place that only the log knows (its beginning, its end).
        """
        self.lowest = max(self.floor, min(self.lowest, offset))
        if offset < 0:
            return
        self.high = max(self.high, self.next)
        self.next = offset
        self.drained = False

    def raised(self, offset: Offset) -> Offset:
        """Return the offset to commit: the end, when only markers are left before it."""
        offset = self.past(offset)
        if self.end is not None and self.drained and offset >= self.next:
            return max(offset, self.end)
        return offset


@dataclass(slots=True)
class Tracker:
    """Spans of one logical partition since this member began to read it, oldest first.

    ``base`` is the vector that the member started from: origins that no span touches keep it.
    """

    base: Mapping[ClusterAlias, Offset]
    spans: list[Span] = field(default_factory=list)

    def begin(self, span: Span) -> Span:
        """Add the next span and return it. Finished spans but the last are forgotten."""
        while len(self.spans) > 1 and self.spans[0].finished:
            done = self.spans.pop(0)
            self.base = {**self.base, done.origin: done.committed}
        self.spans.append(span)
        return span

    @property
    def current(self) -> Span | None:
        """The span that is being read."""
        return self.spans[-1] if self.spans else None

    @property
    def unfinished(self) -> Span | None:
        """The span in which the commits are: the first that is not finished, else the current."""
        return next((span for span in self.spans if not span.finished), self.current)

    def drain(self) -> None:
        """Nothing readable is left of the current span: what is committed up to there is its end.

        Else an application that had committed its last record before this was known would never
        reach the end behind transaction markers, and all its later commits would be withheld.
        """
        span = self.current
        if span is None:
            return
        span.drained = True
        if span.withheld >= 0:
            span.withheld = span.raised(span.withheld)
        span.committed = span.raised(span.committed)
        self._settle()

    def store(self, topic: str, offset: Offset) -> bool:
        """Store an offset for a later commit. False when it is refused."""
        span = self._span(topic, offset)
        if span is None:
            return False
        span.stored = offset
        return True

    def store_delivered(self) -> None:
        """Store all that was delivered: automatic offset store, just before it is committed."""
        for span in self.spans:
            span.stored = max(span.stored, span.next)

    def commit(self, topic: str, offset: Offset, *, covering: bool) -> bool:
        """Take a commit. ``covering``: earlier spans are finished by it. False when refused."""
        span = self._span(topic, offset)
        if span is None:
            return False
        if covering:
            self._cover(span)
        span.withheld = span.raised(offset)
        self._settle()
        return True

    def commit_stored(self) -> bool:
        """Commit what was stored. False when there was nothing new."""
        before = self.vector()
        stored = [span for span in self.spans if span.stored >= 0]
        for span in stored:
            if span.raised(span.stored) > span.committed:
                span.withheld = span.raised(span.stored)
        if stored:
            self._cover(stored[-1])
        self._settle()
        return self.vector() != before

    def vector(self) -> dict[ClusterAlias, Offset]:
        """Return the commits of all origins: what the application has finished, nothing more."""
        result = dict(self.base)
        for span in self.spans:
            result[span.origin] = max(span.committed, 0)
            if not span.finished:
                break
        return result

    def _span(self, topic: str, offset: Offset) -> Span | None:
        """Return the span that a commit belongs to; on a shared bound, the earlier one."""
        for span in self.spans:
            if span.topic == topic and span.accepts(offset):
                return span
        return None

    def _cover(self, span: Span) -> None:
        for earlier in self.spans:
            if earlier is span:
                return
            if earlier.end is not None:
                earlier.committed = max(earlier.committed, earlier.end)
                earlier.withheld = -1

    def _settle(self) -> None:
        """Turn withheld commits into commits, span by span, while all earlier are finished."""
        for span in self.spans:
            if span.withheld >= 0:
                span.committed, span.withheld = span.withheld, -1
            if not span.finished:
                return


def changed(
    before: Mapping[ClusterAlias, Offset], after: Mapping[ClusterAlias, Offset]
) -> dict[ClusterAlias, Offset]:
    """Return the entries of ``after`` that differ: what a commit request must carry."""
    return {origin: offset for origin, offset in after.items() if before.get(origin) != offset}


def lag(spans: Iterable[Span]) -> int:
    """Return how many offsets were delivered but are not committed."""
    return sum(max(0, span.next - span.committed) for span in spans)
