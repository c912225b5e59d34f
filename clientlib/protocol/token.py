"""The token that every commit of a wrapped client carries in its metadata.

Format, one line of ASCII, at most 200 bytes without the user's own metadata::

    fo1;EPOCH;CLUSTER[;name=value ...]|USER METADATA

``EPOCH`` is the epoch's counter, ``CLUSTER`` the alias of the cluster that the commit was made on.
A commit whose token names another cluster is MirrorMaker 2's copy of a commit, not a commit.
Unknown ``name=value`` fields are kept out of the way of older readers. confluent-kafka writes
metadata with a trailing NUL byte, which checkpoints then carry, so readers strip it.
"""

from dataclasses import dataclass

from clientlib.protocol.errors import ConfigurationError
from clientlib.protocol.types import ClusterAlias

_PREFIX = "fo1;"
_MIN_FIELDS = 2
_RESERVED = frozenset(";|=\x00")


@dataclass(frozen=True, slots=True, order=True)
class Token:
    """Which epoch the committer had seen, and on which cluster it committed."""

    epoch: int
    cluster: ClusterAlias


@dataclass(frozen=True, slots=True)
class CommitMetadata:
    """A commit's metadata, taken apart: our token, if any, and the application's own string."""

    token: Token | None
    user: str


def encode(token: Token, user: str = "") -> str:
    """Return the metadata string for a commit.

    Raises ConfigurationError if the alias contains a character that the format reserves.
    """
    if _RESERVED & set(token.cluster):
        raise ConfigurationError(
            f"cluster alias {token.cluster!r} contains one of the reserved characters ; | ="
        )
    return f"{_PREFIX}{token.epoch};{token.cluster}|{user}"


def decode(metadata: str | None) -> CommitMetadata:
    """Take a commit's metadata apart; anything that is not ours is the application's own."""
    text = (metadata or "").rstrip("\x00")
    head, bar, user = text.partition("|")
    fields = head.removeprefix(_PREFIX).split(";")
    if not bar or not head.startswith(_PREFIX) or len(fields) < _MIN_FIELDS:
        return CommitMetadata(None, text)
    counter, cluster = fields[0], fields[1]
    if not counter.isascii() or not counter.isdigit() or not cluster:
        return CommitMetadata(None, text)
    return CommitMetadata(Token(int(counter), cluster), user)
