"""The header of a replayed record: what a producer writes again after an unplanned switch.

Only replayed records carry it, one for each time that they were written again::

    failover.replay: EPOCH;CLUSTER;OFFSET

the counter of the epoch in which the record was written first, the cluster that was given up, and
its offset there (empty if the dead cluster never acknowledged it). Everything else of the record is
as it was, its timestamp too, so that without this header its fingerprint is that of the original. A
replay goes to the partition of its original.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from clientlib.protocol.errors import RecordFormatError
from clientlib.protocol.fingerprint import LogRecord, fingerprint
from clientlib.protocol.records import decode_key, decode_value, encode_key, encode_value
from clientlib.protocol.types import ClusterAlias, Offset

HEADER = "failover.replay"
UNSURE_MS = 3
"""How exactly a producer knows the timestamp of a record that was never acknowledged."""

Headers = Sequence[tuple[str, bytes | None]]
Ranges = Mapping[str, Mapping[int, tuple[Offset, Offset]]]


class Replayed(NamedTuple):
    """Where a replayed record was written first; no offset: nobody knows whether it was."""

    epoch: int
    cluster: ClusterAlias
    offset: Offset | None = None


def header(
    epoch: int, cluster: ClusterAlias, offset: Offset | None = None
) -> tuple[str, bytes | None]:
    """Return the header of a record that was produced in this epoch, on this cluster."""
    return HEADER, f"{epoch};{cluster};{'' if offset is None else offset}".encode()


def original(headers: Headers) -> tuple[tuple[Replayed, ...], Headers]:
    """Return where the record was written before, oldest first, and the headers of the original."""
    found = [(name, _replayed(value)) for name, value in headers if name == HEADER]
    if not found or any(replayed is None for _, replayed in found):
        return (), headers
    rest = [(name, value) for name, value in headers if name != HEADER]
    return tuple(replayed for _, replayed in found if replayed is not None), rest


def _replayed(raw: bytes | None) -> Replayed | None:
    counter, _, rest = (raw or b"").decode("ascii", "replace").partition(";")
    cluster, _, offset = rest.partition(";")
    if not _number(counter) or not cluster or (offset and not _number(offset)):
        return None
    return Replayed(int(counter), cluster, int(offset) if offset else None)


def _number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def original_print(record: LogRecord, *, use_timestamp: bool = True) -> bytes:
    """Return the fingerprint of the record as it was produced first."""
    replayed, rest = original(record.headers)
    plain = replace(record, headers=rest) if replayed else record
    return fingerprint(plain, use_timestamp=use_timestamp)


def likely_prints(record: LogRecord, *, use_timestamp: bool = True) -> Iterator[bytes]:
    """Yield the fingerprints that the record can have elsewhere, the likeliest first.

    Of two of the same record one may be the replay of one that was never acknowledged: its
    producer knows only to a few milliseconds which timestamp it had.
    """
    yield original_print(record, use_timestamp=use_timestamp)
    if not use_timestamp or record.timestamp is None:
        return
    for by in range(1, UNSURE_MS + 1):
        for shifted in (record.timestamp - by, record.timestamp + by):
            yield original_print(replace(record, timestamp=shifted))


@dataclass(frozen=True, slots=True)
class Manifest:
    """What one producer has written again in the epoch that an unplanned switch opened.

    ``ranges``: by topic and partition, the offsets [first, end) on the epoch's cluster between
    which its replays stand. ``replayed`` and ``lost`` count records: written again, and
    acknowledged by the dead cluster but held by the buffer no more and not known to be replicated.
    """

    client: str
    epoch: int
    ranges: Ranges = field(default_factory=dict)
    replayed: int = 0
    lost: int = 0

    def record(self, scope: str) -> tuple[bytes, bytes]:
        """Return key and value of the record in the clients topic."""
        body = {
            "ranges": {
                topic: {str(number): list(span) for number, span in sorted(by.items())}
                for topic, by in sorted(self.ranges.items())
            },
            "replayed": self.replayed,
            "lost": self.lost,
        }
        return encode_key("replay", scope, self.client, self.epoch), encode_value(body)


def decode_manifest(raw_key: bytes | None, raw_value: bytes) -> Manifest:
    """Take a manifest apart. Raises RecordFormatError when it is none."""
    key, body = decode_key(raw_key), decode_value(raw_value)
    try:
        kind, _, client, epoch = key
        if kind != "replay":
            raise RecordFormatError(f"record {key!r} is no manifest")
        ranges = {
            str(topic): {int(number): (int(first), int(end)) for number, (first, end) in by.items()}
            for topic, by in body["ranges"].items()
        }
        return Manifest(
            str(client), int(epoch), ranges, int(body.get("replayed", 0)), int(body.get("lost", 0))
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RecordFormatError(f"manifest {key!r} is malformed: {error!r}") from error
