"""Checkers of records: lost, skipped, repeated, phantom, aborted read, acknowledged twice.

Records of unknown outcome (sent, then neither acknowledged nor failed) and failed ones may have
been stored or not: being delivered once or never is right for them, twice is ``repeated``.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from failover.checkers.anomalies import Anomaly, Expected, Kind, Place, expectations
from failover.checkers.commits import REPORTED_S, Commits, Interruptions
from failover.checkers.events import Acked, Delivered
from failover.checkers.history import History


def lost(history: History, groups: Iterable[str | Expected]) -> tuple[Anomaly, ...]:
    """Find records acknowledged, and never delivered to a group that should have got everything.

    Judge a history only after the groups had time to read to the end: a record that is merely
    still to come looks the same.
    """
    return tuple(
        Anomaly(Kind.LOST, f"{_name(acked)} was never delivered to {group.group}", (acked,))
        for group in expectations(groups)
        for acked in _missing(history, group.group)
        if _is_expected(history, group, acked)
    )


def skipped(history: History, groups: Iterable[str | Expected] = ()) -> tuple[Anomaly, ...]:
    """Find records acknowledged, never delivered, though the group got a later one of the log.

    Later means a higher sequence number of the same producer, logical topic and partition. A group
    that is not among ``groups`` may have begun anywhere: for it only gaps between two delivered
    records count. So this also judges groups of which nobody knows what they should have got.
    """
    expected = {group.group: group for group in expectations(groups)}
    return tuple(
        anomaly
        for name in sorted({*history.groups, *expected})
        for anomaly in _skipped_by(history, name, expected.get(name))
    )


def _skipped_by(history: History, name: str, expected: Expected | None) -> Iterator[Anomaly]:
    missing = list(_missing(history, name))
    if not missing:
        return
    bounds = _bounds(history, name, {acked.producer for acked in missing})
    unwanted = expected.but if expected is not None else frozenset()
    for acked in missing:
        if (acked.producer, acked.seq) in unwanted:
            continue
        bound = bounds.get((acked.producer, acked.topic, acked.partition))
        if bound is None or bound[1].seq < acked.seq:
            continue
        everything = expected is not None and _is_expected(history, expected, acked)
        if everything or bound[0].seq < acked.seq:
            what = f"{name} got {_name(bound[1])} but never {_name(acked)} before it"
            yield Anomaly(Kind.SKIPPED, what, (acked, bound[1]))


def _missing(history: History, group: str) -> Iterator[Acked]:
    """Acknowledged records that the group never got, by producer and sequence number."""
    for producer, acked in history.acked_by.items():
        got = history.reading.firsts.get((group, producer), {})
        for seq in sorted(acked.keys() - got.keys()):
            yield acked[seq]


def _bounds(
    history: History, group: str, producers: Iterable[str]
) -> dict[tuple[str, str, int], tuple[Delivered, Delivered]]:
    """Find the lowest and highest delivered record by (producer, logical topic, partition)."""
    bounds: dict[tuple[str, str, int], tuple[Delivered, Delivered]] = {}
    for producer in producers:
        for event in history.reading.firsts.get((group, producer), {}).values():
            log = (producer, history.topic_of(event), event.partition)
            low, high = bounds.get(log, (event, event))
            if event.seq < low.seq:
                bounds[log] = (event, high)
            elif event.seq >= high.seq:
                bounds[log] = (low, event)
    return bounds


def _is_expected(history: History, group: Expected, acked: Acked) -> bool:
    if group.topics is not None and acked.topic not in group.topics:
        return False
    if (acked.producer, acked.seq) in group.but:
        return False
    sent = history.sent_by.get(acked.producer, {}).get(acked.seq)
    return (acked.at if sent is None else sent.at) >= group.since


def repeated(
    history: History, *, strict: bool = True, unproved: frozenset[Place] = frozenset()
) -> tuple[Anomaly, ...]:
    """Find records delivered again to a group that already had them.

    ``strict``: every repeat counts, as promised for applications that commit in ``on_revoke``.
    Else a repeat is allowed as in any Kafka rebalance: after the earlier delivery its consumer
    crashed, stalled, started anew or gave the partition up, and at the last such moment before the
    repeat no commit of the group had covered the earlier delivery. A record that was *written*
    twice (two offsets of one log, or two origin logs) is never allowed, but for one that had been
    read from a cluster that was lost before the repeat. Who has not heard of a loss may read on
    from the lost cluster what others get elsewhere, before or after: if it got the partition there
    when its reader had handed it over, or did not hear for `HEARD_S`, or was cut off just then. Of
    a consumer that was interrupted, commits on a cluster that was lost stop counting unless they
    were `REPORTED_S` old at the first of the two: the standby may not have been told. ``unproved``:
    where a copy holds a record once more and nobody could prove it, because its origin was lost.
    """
    _, wrong = split_repeats(history, strict=strict, unproved=unproved)
    return tuple(
        Anomaly(
            Kind.REPEATED,
            f"{again.group} got {_name(again)} again after {again.at - before.at:.3f} s",
            (before, again),
        )
        for before, again in wrong
    )


HEARD_S = 2.0
"""Who reaches the new active cluster has heard of it after so long."""

CUT_S = 0.5
"""Who is cut off from a cluster writes so often that it stalls: for the others it does."""

_Pairs = tuple[tuple[Delivered, Delivered], ...]


def split_repeats(
    history: History, *, strict: bool, unproved: frozenset[Place] = frozenset()
) -> tuple[_Pairs, _Pairs]:
    """Part the repeats into those that ``repeated`` allows and those that it reports."""
    known = tuple(pair for pair in history.reading.repeats if _place(pair[1]) in unproved)
    repeats = tuple(pair for pair in history.reading.repeats if _place(pair[1]) not in unproved)
    if strict or not repeats:
        return known, repeats
    interruptions = Interruptions.of(history)
    commits = Commits.of(history, interruptions)
    allowed: list[tuple[Delivered, Delivered]] = [*known]
    wrong: list[tuple[Delivered, Delivered]] = []
    for before, again in repeats:
        moment = interruptions.last(before, until=again.at)
        log = history.log_of(before)
        losses = interruptions.with_loss(history, before, log.cluster)
        if losses is not None and losses[1] <= again.at:
            moment = losses[0] - REPORTED_S
        excused = _unaware(history, interruptions, before, again) or (
            moment is not None
            and (
                history.lost_before(log.cluster, again.at)
                or _place(before) in unproved
                or not _written_twice(history, before, again)
            )
            and not commits.cover(log, before.group, before.offset, moment, until=again.at)
        )
        (allowed if excused else wrong).append((before, again))
    return tuple(allowed), tuple(wrong)


def _unaware(
    history: History, interruptions: Interruptions, before: Delivered, again: Delivered
) -> bool:
    """Whether one of the two was read of the lost cluster by somebody that had not heard of it."""
    if history.stale(again):
        return True
    if any(history.stale(event, HEARD_S, copies=True) for event in (before, again)):
        return True
    if not history.stale(before):
        return False
    broke = interruptions.broke(before.group, before.consumer, before.at)
    if broke is not None and broke <= before.at + CUT_S:
        return True
    lost = history.lost_between(before.cluster, float("-inf"), before.at)
    if lost is None:
        return False
    return interruptions.given_up_by_another(before, lost)


def _place(event: Delivered) -> Place:
    return event.cluster, event.topic, event.partition, event.offset


def _written_twice(history: History, before: Delivered, again: Delivered) -> bool:
    old, new = history.log_of(before), history.log_of(again)
    if old == new:
        return before.offset != again.offset
    origin = history.topic_of(before)
    return old.topic == origin == new.topic


def phantom(history: History) -> tuple[Anomaly, ...]:
    """Find records delivered, though nobody sent them nor got an answer for them."""
    written = (history.sent_by, history.acked_by, history.failed_by)
    found: list[Anomaly] = []
    for (group, producer), got in history.reading.firsts.items():
        known: set[int] = set()
        known.update(*(by.get(producer, {}).keys() for by in written))
        for seq in sorted(got.keys() - known):
            what = f"{group} got {_name(got[seq])}, which nobody sent"
            found.append(Anomaly(Kind.PHANTOM, what, (got[seq],)))
    return tuple(found)


def aborted_read(history: History) -> tuple[Anomaly, ...]:
    """Find records delivered, though their transaction was aborted."""
    aborted = {(event.producer, event.seq): event for event in history.aborted}
    return tuple(
        Anomaly(Kind.ABORTED_READ, f"{_name(got)} was aborted, and delivered", (known, got))
        for got in history.delivered
        if (known := aborted.get((got.producer, got.seq))) is not None
    )


def acknowledged_twice(history: History) -> tuple[Anomaly, ...]:
    """Find records whose delivery callback reported success more often than they were sent."""
    total = sum(len(by) for by in history.acked_by.values())
    if total == len(history.acked):
        return ()
    answers: defaultdict[tuple[str, int], list[Acked]] = defaultdict(list)
    for acked in history.acked:
        answers[acked.producer, acked.seq].append(acked)
    again = {record: found for record, found in answers.items() if len(found) > 1}
    sends = dict.fromkeys(again, 0)
    for sent in history.sent:
        if (sent.producer, sent.seq) in sends:
            sends[sent.producer, sent.seq] += 1
    return tuple(
        Anomaly(
            Kind.ACKNOWLEDGED_TWICE,
            f"{_name(found[0])} was acknowledged {len(found)} times and sent {sends[record]} times",
            tuple(found),
        )
        for record, found in again.items()
        if len(found) > max(1, sends[record])
    )


def _name(event: Acked | Delivered) -> str:
    return f"{event.producer}#{event.seq}"
