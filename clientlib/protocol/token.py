"""The token that every commit of a wrapped client carries in its metadata.

Format, one line of ASCII, at most 200 bytes without the user's own metadata::

    fo1;EPOCH;CLUSTER[;o=OFFSET][;name=value ...]|USER METADATA

``EPOCH`` is the epoch's counter, ``CLUSTER`` the alias of the cluster that the commit was made on.
A commit whose token names another cluster is MirrorMaker 2's copy of a commit, not a commit.
``o``: the commit stands at the end of a copy that does not reach the group's position, which is
OFFSET in the origin's own log. Unknown ``name=value`` fields are kept out of the way of older
readers. confluent-kafka writes metadata with a trailing NUL byte, which checkpoints then carry, so
readers strip it.
"""

from dataclasses import dataclass

from clientlib.protocol.errors import ConfigurationError
from clientlib.protocol.types import ClusterAlias, Offset

_PREFIX = "fo1;"
_MIN_FIELDS = 2
_RESERVED = frozenset(";|=\x00")
_BEYOND = "o="


@dataclass(frozen=True, slots=True, order=True)
class Token:
    """Which epoch the committer had seen, and on which cluster it committed."""

    epoch: int
    cluster: ClusterAlias


@dataclass(frozen=True, slots=True)
class CommitMetadata:
    """A commit's metadata, taken apart: our token, if any, and the application's own string.

    ``beyond``: the group's position in the origin's own log, where the copy cannot say it.
    """

    token: Token | None
    user: str
    beyond: Offset | None = None


def encode(token: Token, user: str = "", *, beyond: Offset | None = None) -> str:
    """Return the metadata string for a commit.

    Raises ConfigurationError if the alias contains a character that the format reserves.
    """
    if _RESERVED & set(token.cluster):
        raise ConfigurationError(
            f"cluster alias {token.cluster!r} contains one of the reserved characters ; | ="
        )
    more = "" if beyond is None else f";{_BEYOND}{beyond}"
    return f"{_PREFIX}{token.epoch};{token.cluster}{more}|{user}"


def decode(metadata: str | None) -> CommitMetadata:
    """Take a commit's metadata apart; anything that is not ours is the application's own."""
    text = (metadata or "").rstrip("\x00")
    head, bar, user = text.partition("|")
    fields = head.removeprefix(_PREFIX).split(";")
    if not bar or not head.startswith(_PREFIX) or len(fields) < _MIN_FIELDS:
        return CommitMetadata(None, text)
    counter, cluster, *more = fields
    if not _number(counter) or not cluster:
        return CommitMetadata(None, text)
    told = (f.removeprefix(_BEYOND) for f in more if f.startswith(_BEYOND))
    beyond = next((int(value) for value in told if _number(value)), None)
    return CommitMetadata(Token(int(counter), cluster), user, beyond)


def _number(text: str) -> bool:
    return text.isascii() and text.isdigit()
