"""The header of a replayed record: what a producer writes again after an unplanned switch.

Only replayed records carry it::

    failover.replay: EPOCH;CLUSTER

the counter of the epoch in which the application produced the record, and the cluster that was
given up. Everything else of the record is as it was, its timestamp too, so that without this header
its fingerprint is that of the original. A replay goes to the partition of its original.
"""

from collections.abc import Sequence
from typing import NamedTuple

from clientlib.protocol.records import encode_key, encode_value
from clientlib.protocol.types import ClusterAlias, Offset

HEADER = "failover.replay"

Headers = Sequence[tuple[str, bytes | None]]


class Replayed(NamedTuple):
    """Where a replayed record was written first."""

    epoch: int
    cluster: ClusterAlias


def header(epoch: int, cluster: ClusterAlias) -> tuple[str, bytes]:
    """Return the header of a record that was produced in this epoch, on this cluster."""
    return HEADER, f"{epoch};{cluster}".encode()


def original(headers: Headers) -> tuple[Replayed | None, Headers]:
    """Return what the header says (None: no replay), and the headers of the original record."""
    rest = [(name, value) for name, value in headers if name != HEADER]
    if len(rest) == len(headers):
        return None, headers
    raw = next(value for name, value in reversed(headers) if name == HEADER) or b""
    counter, _, cluster = raw.decode("ascii", "replace").partition(";")
    if not counter.isdigit() or not cluster:
        return None, headers
    return Replayed(int(counter), cluster), rest


def manifest(
    scope: str,
    client: str,
    epoch: int,
    ranges: dict[str, dict[int, tuple[Offset, Offset]]],
    *,
    lost: int = 0,
) -> tuple[bytes, bytes]:
    """Return key and value of a producer's manifest, a record of the clients topic.

    ``epoch``: the one that the unplanned switch opened. ``ranges``: by topic and partition, the
    offsets [first, end) on its cluster between which this producer's replays stand. ``lost``: how
    many acknowledged records the buffer did not hold any more.
    """
    body = {
        "ranges": {
            topic: {str(number): list(span) for number, span in sorted(by.items())}
            for topic, by in sorted(ranges.items())
        },
        "lost": lost,
    }
    return encode_key("replay", scope, client, epoch), encode_value(body)
