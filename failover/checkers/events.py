"""What application processes write down, and how one event becomes one line.

Events are named tuples, not frozen dataclasses like our other values: a history holds millions of
them, and a tuple is built three times faster and is its own JSON array. ``at`` is always last:
seconds on one clock that all processes of the machine share.
"""

import json
from sys import intern
from typing import NamedTuple, TypeAlias

from clientlib.protocol.errors import RecordFormatError


class Sent(NamedTuple):
    """A producer is about to hand a record over; written *before* ``produce``.

    ``topic`` is the logical topic; ``partition`` is None when the partitioner decides.
    A record is known by (producer, seq), which its value carries.
    """

    producer: str
    seq: int
    topic: str
    partition: int | None
    key: str | None
    at: float


class Acked(NamedTuple):
    """The delivery callback said that ``cluster`` has the record, in this origin log.

    A negative offset is unknown: a cluster that was lost had the record and never said where.
    """

    producer: str
    seq: int
    cluster: str
    topic: str
    partition: int
    offset: int
    at: float


class SendFailed(NamedTuple):
    """The delivery callback reported an error; Kafka may have stored the record all the same."""

    producer: str
    seq: int
    error: str
    at: float


class Aborted(NamedTuple):
    """The record's transaction was aborted, and the producer was told so: nobody may get it."""

    producer: str
    seq: int
    at: float


class Delivered(NamedTuple):
    """The application got a record. ``topic`` is physical: ``LEFT.TOPIC1`` for a copy.

    ``cluster`` is the one that it was read from, or None where the application cannot tell.
    """

    consumer: str
    group: str
    producer: str
    seq: int
    topic: str
    cluster: str | None
    partition: int
    offset: int
    key: str | None
    at: float


class Committed(NamedTuple):
    """A commit succeeded; ``offset`` is the next record to read, ``topic`` is physical.

    ``cluster`` None means unknown: it then counts for the logs of that name on every cluster.
    """

    consumer: str
    group: str
    cluster: str | None
    topic: str
    partition: int
    offset: int
    at: float


class Revoked(NamedTuple):
    """A member gave a partition up or lost it; written *after* the commit in ``on_revoke``."""

    consumer: str
    group: str
    topic: str
    partition: int
    at: float


class ConsumerStarted(NamedTuple):
    """A consumer process began, for the first time or again."""

    consumer: str
    group: str
    at: float


class ConsumerCrashed(NamedTuple):
    """A consumer process is gone without closing; written by its killer when it is dead."""

    consumer: str
    group: str
    at: float


class ConsumerStalled(NamedTuple):
    """A consumer was stopped for longer than its session; write one as it stops and as it goes on.

    Without it, records that the group gave to another member meanwhile count as repeated.
    """

    consumer: str
    group: str
    at: float


class EpochSeen(NamedTuple):
    """A client, or the tool, learned that ``cluster`` is active in epoch ``epoch`` (its counter).

    A producer uses its producer id as ``client``. The first of an epoch, by anyone, must come
    before the first acknowledgement in it: whoever starts a switch writes one when starting it.
    """

    client: str
    epoch: int
    cluster: str
    at: float


class ClusterLost(NamedTuple):
    """A cluster fell silent for good, or until others went on without it; write it as it falls.

    What it alone knew does not count any more: neither commits that no report had carried away nor
    records that were not copied.
    """

    cluster: str
    at: float


Event: TypeAlias = (
    Sent
    | Acked
    | SendFailed
    | Aborted
    | Delivered
    | Committed
    | Revoked
    | ConsumerStarted
    | ConsumerCrashed
    | ConsumerStalled
    | EpochSeen
    | ClusterLost
)

TAGS: dict[type[Event], str] = {
    Sent: "S",
    Acked: "A",
    SendFailed: "F",
    Aborted: "U",
    Delivered: "D",
    Committed: "C",
    Revoked: "R",
    ConsumerStarted: "B",
    ConsumerCrashed: "X",
    ConsumerStalled: "Z",
    EpochSeen: "E",
    ClusterLost: "L",
}
_TYPES: dict[str, type[Event]] = {tag: kind for kind, tag in TAGS.items()}


def encode(event: Event) -> str:
    """One event as a compact JSON array without its newline: a tag, then the fields in order."""
    return json.dumps((TAGS[type(event)], *event), separators=(",", ":"))


def decode(line: str) -> Event:
    """Read what ``encode`` wrote; raise RecordFormatError for anything else, a torn line too.

    Strings are interned: a few names stand in millions of events.
    """
    try:
        tag, *fields = json.loads(line)
        kind = _TYPES[tag]
        return kind._make([intern(x) if type(x) is str else x for x in fields])
    except (ValueError, KeyError, TypeError) as error:
        raise RecordFormatError(f"not an event of a history: {line[:120]!r} ({error})") from error
