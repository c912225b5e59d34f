"""The verdict over a whole history."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any

from failover.checkers.anomalies import Anomaly, Expected, Kind, Place, expectations
from failover.checkers.events import TAGS
from failover.checkers.history import History
from failover.checkers.order import (
    conflicting_offset,
    epoch_going_back,
    out_of_order,
    split_epoch,
    two_active_writers,
)
from failover.checkers.records import (
    aborted_read,
    acknowledged_twice,
    lost,
    phantom,
    repeated,
    skipped,
    split_repeats,
)


@dataclass(frozen=True, slots=True)
class Unknown:
    """Records without a definite outcome: how many, and how many of them some group got."""

    unanswered: int
    unanswered_delivered: int
    failed: int
    failed_delivered: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Counts of records (lost and skipped: per group) and the first anomalies of each kind.

    ``ok`` means that no checker found anything. It says nothing about how much was tried: look
    at ``sent``, ``acked`` and ``delivered`` (deliveries, repeats included) as well.
    ``repeats_allowed`` is always 0 in strict mode.
    """

    ok: bool
    lost: int
    repeated: int
    repeats_allowed: int
    reordered: int
    skipped: int
    two_active_writers: int
    epoch_going_back: int
    split_epochs: int
    phantoms: int
    aborted_reads: int
    conflicting_offsets: int
    acknowledged_twice: int
    sent: int
    acked: int
    delivered: int
    groups: tuple[str, ...]
    unknown: Unknown
    anomalies: tuple[Anomaly, ...]

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain lists, numbers and strings; an event is [tag, field, ...]."""
        plain = asdict(self)
        plain["groups"] = list(self.groups)
        plain["anomalies"] = [
            {
                "kind": str(anomaly.kind),
                "what": anomaly.what,
                "evidence": [[TAGS[type(event)], *event] for event in anomaly.evidence],
            }
            for anomaly in self.anomalies
        ]
        return plain

    def to_json(self) -> str:
        """``as_dict`` as one JSON document."""
        return json.dumps(self.as_dict())


def judge(
    history: History,
    *,
    groups: Iterable[str | Expected],
    strict: bool = True,
    unproved: frozenset[Place] = frozenset(),
    show: int = 20,
) -> Verdict:
    """Run every checker.

    ``groups``: those that should have got everything; all groups of the history are judged for
    the rest. ``strict``: no repeat is allowed but ``unproved`` ones (see ``repeated``). ``show``:
    how many anomalies to keep, taken from all kinds in turn, so that a common one does not hide a
    rare one.
    """
    expected = expectations(groups)
    found = {
        Kind.LOST: lost(history, expected),
        Kind.REPEATED: repeated(history, strict=strict, unproved=unproved),
        Kind.OUT_OF_ORDER: out_of_order(history),
        Kind.SKIPPED: skipped(history, expected),
        Kind.TWO_ACTIVE_WRITERS: two_active_writers(history),
        Kind.EPOCH_GOING_BACK: epoch_going_back(history),
        Kind.SPLIT_EPOCH: split_epoch(history),
        Kind.PHANTOM: phantom(history),
        Kind.ABORTED_READ: aborted_read(history),
        Kind.CONFLICTING_OFFSET: conflicting_offset(history),
        Kind.ACKNOWLEDGED_TWICE: acknowledged_twice(history),
    }
    return Verdict(
        ok=not any(found.values()),
        lost=len(found[Kind.LOST]),
        repeated=len(found[Kind.REPEATED]),
        repeats_allowed=len(split_repeats(history, strict=strict, unproved=unproved)[0]),
        reordered=len(found[Kind.OUT_OF_ORDER]),
        skipped=len(found[Kind.SKIPPED]),
        two_active_writers=len(found[Kind.TWO_ACTIVE_WRITERS]),
        epoch_going_back=len(found[Kind.EPOCH_GOING_BACK]),
        split_epochs=len(found[Kind.SPLIT_EPOCH]),
        phantoms=len(found[Kind.PHANTOM]),
        aborted_reads=len(found[Kind.ABORTED_READ]),
        conflicting_offsets=len(found[Kind.CONFLICTING_OFFSET]),
        acknowledged_twice=len(found[Kind.ACKNOWLEDGED_TWICE]),
        sent=sum(len(by) for by in history.sent_by.values()),
        acked=sum(len(by) for by in history.acked_by.values()),
        delivered=len(history.delivered),
        groups=history.groups,
        unknown=_unknown(history),
        anomalies=_in_turn(found.values(), show),
    )


def _in_turn(found: Iterable[tuple[Anomaly, ...]], show: int) -> tuple[Anomaly, ...]:
    rounds = zip_longest(*(anomalies[:show] for anomalies in found))
    return tuple(a for each in rounds for a in each if a is not None)[:show]


def _unknown(history: History) -> Unknown:
    unanswered = unanswered_delivered = failed = failed_delivered = 0
    for producer in {*history.sent_by, *history.failed_by}:
        acked = history.acked_by.get(producer, {}).keys()
        errors = history.failed_by.get(producer, {}).keys() - acked
        silent = history.sent_by.get(producer, {}).keys() - acked - errors
        got: set[int] = set()
        for group in history.groups:
            firsts = history.reading.firsts.get((group, producer), {}).keys()
            got |= (errors | silent) & firsts
        unanswered += len(silent)
        unanswered_delivered += len(silent & got)
        failed += len(errors)
        failed_delivered += len(errors & got)
    return Unknown(unanswered, unanswered_delivered, failed, failed_delivered)
