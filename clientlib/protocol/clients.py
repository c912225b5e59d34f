"""Records of the clients topic: one per living client, on the active cluster.

A client registers, waits for the acknowledgement, then reads the state, then writes. It registers
again before half of ``ttl_ms`` has passed, and whenever what it has seen or done changes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from clientlib.protocol.errors import RecordFormatError
from clientlib.protocol.records import decode_key, decode_value, encode_key, encode_value
from clientlib.protocol.replay import Manifest, decode_manifest
from clientlib.protocol.types import ClusterAlias


class Role(StrEnum):
    """What a client does."""

    PRODUCER = "producer"
    CONSUMER = "consumer"


@dataclass(frozen=True, slots=True)
class Seen:
    """The state that a client acts on: epoch counter, revision and run."""

    epoch: int = 0
    revision: int = 0
    run: str = ""


@dataclass(frozen=True, slots=True)
class Client:
    """One client as it describes itself.

    ``id`` is unique per instance; ``group`` and ``topics`` are a consumer's; ``quiesced`` says
    that a producer has handed everything over that it took before ``seen``; ``digest`` is a hash
    of the settings that all clients of an application must share. ``ttl_ms``: the registration
    expires that long after the record's timestamp. A producer has ``replayed`` what the unplanned
    epochs up to that counter lacked; ``at_risk`` are acknowledged records that are not known to be
    replicated and that its buffer does not hold any more. ``transactional``: it may abort what it
    has written. A consumer is ``away`` from the clusters where its group's session has ended and it
    is not back yet (the group may still list the member that it was), and any client from those
    that live and that its own connection does not reach.
    """

    id: str
    role: Role
    scope: str
    group: str = ""
    topics: tuple[str, ...] = ()
    version: str = ""
    digest: str = ""
    ttl_ms: int = 10_000
    seen: Seen = field(default_factory=Seen)
    quiesced: bool = False
    host: str = ""
    pid: int = 0
    replayed: int = 0
    at_risk: int = 0
    transactional: bool = False
    away: tuple[ClusterAlias, ...] = ()

    def key(self) -> bytes:
        """Key of the client's record."""
        return encode_key("client", self.scope, self.id)

    def value(self) -> bytes:
        """Value of the client's record."""
        return encode_value(
            {
                "role": self.role.value,
                "group": self.group,
                "topics": list(self.topics),
                "version": self.version,
                "digest": self.digest,
                "ttl_ms": self.ttl_ms,
                "seen": [self.seen.epoch, self.seen.revision, self.seen.run],
                "quiesced": self.quiesced,
                "host": self.host,
                "pid": self.pid,
                "replayed": self.replayed,
                "at_risk": self.at_risk,
                "transactional": self.transactional,
                "away": list(self.away),
            }
        )


@dataclass(frozen=True, slots=True)
class Registration:
    """A client's record as read back, with the time of its last renewal (broker clock, ms)."""

    client: Client
    renewed_ms: int

    def expired(self, now_ms: int) -> bool:
        """Say whether the client has stopped renewing."""
        return now_ms > self.renewed_ms + self.client.ttl_ms


def decode_client(raw_key: bytes | None, raw_value: bytes) -> Client:
    """Take a client record apart. Raises RecordFormatError on garbage or a newer format."""
    key = decode_key(raw_key)
    body = decode_value(raw_value)
    try:
        kind, scope, ident = key
        if kind != "client":
            raise RecordFormatError(f"record {key!r} is not a client")
        epoch, revision, run = body["seen"]
        return Client(
            id=str(ident),
            role=Role(body["role"]),
            scope=str(scope),
            group=str(body["group"]),
            topics=tuple(str(topic) for topic in body["topics"]),
            version=str(body.get("version", "")),
            digest=str(body.get("digest", "")),
            ttl_ms=int(body["ttl_ms"]),
            seen=Seen(int(epoch), int(revision), str(run)),
            quiesced=bool(body["quiesced"]),
            host=str(body.get("host", "")),
            pid=int(body.get("pid", 0)),
            replayed=int(body.get("replayed", 0)),
            at_risk=int(body.get("at_risk", 0)),
            transactional=bool(body.get("transactional", False)),
            away=tuple(str(alias) for alias in body.get("away", ())),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RecordFormatError(f"client record {key!r} is malformed: {error!r}") from error


ClientRecord = tuple[bytes | None, bytes | None, int]
"""Key, value and timestamp (ms) of one record of the clients topic."""


def fold_manifests(
    known: Mapping[tuple[str, int], Manifest], scope: str, records: Iterable[ClientRecord]
) -> dict[tuple[str, int], Manifest]:
    """Return the manifests of a scope after more records, by client and epoch."""
    result = dict(known)
    for raw_key, raw_value, _ in records:
        try:
            if raw_value is None or decode_key(raw_key)[:2] != ("replay", scope):
                continue
            one = decode_manifest(raw_key, raw_value)
        except RecordFormatError:
            continue
        result[one.client, one.epoch] = one
    return result


def fold_clients(
    known: Mapping[str, Registration], scope: str, records: Iterable[ClientRecord]
) -> dict[str, Registration]:
    """Return the registrations of a scope after more records, by client id.

    Records that cannot be read are ignored: a newer client must not stop the orchestrator, which
    reports it by the missing registration.
    """
    result = dict(known)
    for raw_key, raw_value, timestamp_ms in records:
        try:
            key = decode_key(raw_key)
            if len(key) != 3 or key[:2] != ("client", scope):  # noqa: PLR2004 - kind, scope, id
                continue
            if raw_value is None:
                result.pop(str(key[2]), None)
                continue
            client = decode_client(raw_key, raw_value)
        except RecordFormatError:
            continue
        result[client.id] = Registration(client, timestamp_ms)
    return result
