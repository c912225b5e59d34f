"""What a seat reads next: the gate's span, without what nobody is to get there."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from clientlib.core.memory import Filter
from clientlib.core.seat import Seat
from clientlib.core.tracker import Span
from clientlib.protocol import ledger as ledgers
from clientlib.protocol.ledger import Read
from clientlib.protocol.naming import Naming
from clientlib.protocol.skips import clip, join, past
from clientlib.protocol.state import View
from clientlib.protocol.types import ClusterAlias, Offset, Position


class Late(StrEnum):
    """What becomes of late records: delivered, passed over, or the application is asked."""

    DELIVER = "deliver"
    HOLD = "hold"
    ASK = "ask"


@dataclass(frozen=True, slots=True)
class Rules:
    """By what spans are chosen: ``losses`` are the unplanned epochs, with the cluster lost then."""

    view: View
    naming: Naming
    losses: Mapping[int, ClusterAlias]
    late: Late


def next_span(seat: Seat, rules: Rules) -> tuple[Span, Offset]:
    """Return the next span of a seat that reads, and where the gate begins it, skips and all.

    It begins at the delivered position (else one would loop). Raises LedgerUnknownError.
    """
    me, (topic, number) = seat.key
    book = rules.view.of_topic(topic)
    delivered = _delivered(seat)
    read = ledgers.gate(book, Position(0, me, delivered), number)
    floor = next(r.start for r in book.ranges(number, me) if r.epoch == read.epoch)
    late = clip(book.late(number, me, read.origin), read.at, read.end)
    skip = join(read.skip, late) if rules.late is Late.HOLD else read.skip
    span = Span(
        origin=read.origin,
        topic=rules.naming.log_name(read.origin, topic, me),
        start=past(skip, read.at),
        end=read.end,
        floor=floor,
        skip=skip,
        late=late if rules.late is Late.ASK else (),
        filter=_filter(seat, rules.losses, read, delivered),
    )
    return span, read.at


def _delivered(seat: Seat) -> dict[ClusterAlias, Offset]:
    """Return what the application has been given of each origin."""
    assert seat.tracker is not None  # noqa: S101 - a seat that reads has one
    delivered = dict(seat.tracker.base)
    for span in seat.tracker.spans:
        reached = span.end if span.drained and span.end is not None else span.next
        delivered[span.origin] = max(delivered.get(span.origin, 0), reached)
    return delivered


def _filter(
    seat: Seat,
    losses: Mapping[int, ClusterAlias],
    read: Read,
    delivered: Mapping[ClusterAlias, Offset],
) -> Filter | None:
    """Return what holds back the replays of records that were processed on a lost cluster.

    They are written when an unplanned epoch begins, or overtaken by the switch after it.
    """
    me = seat.key.cluster
    done = dict(seat.base.beyond) if seat.base is not None else {}
    if me in losses.values():
        done[me] = max(done.get(me, 0), delivered.get(me, 0))
    near = {counter + more for counter in losses for more in (0, 1)}
    some = bool(done or seat.ahead) and read.epoch.counter in near
    return Filter(done, seat.ahead, seat.stamped) if some else None
