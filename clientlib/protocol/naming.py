"""Topic names: MirrorMaker 2's replication policies, and which topics are ours.

The policies follow MM2's rules to the letter, including that they know no list of clusters: to the
default policy any name with a separator looks remote. `Naming` adds what MM2 lacks: it checks
the prefix against the configured aliases, so that a local ``orders.eu`` stays local.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from clientlib.protocol.errors import ConfigurationError

_HEARTBEATS = "heartbeats"


class ReplicationPolicy(Protocol):
    """How MM2 names things; both clusters of a flow must use the same one."""

    def remote_topic(self, alias: str, topic: str) -> str:
        """Name on the target of ``topic`` copied from the cluster ``alias``."""
        ...

    def topic_source(self, topic: str) -> str | None:
        """Alias that the name claims to come from, or None; the claim is not checked."""
        ...

    def upstream_topic(self, topic: str) -> str | None:
        """Name of the topic one hop back, or None if the name claims no source."""
        ...

    def original_topic(self, topic: str) -> str:
        """Name with all hops taken off."""
        ...

    def is_internal(self, topic: str) -> bool:
        """Tell whether MM2 leaves the topic alone because of its name."""
        ...

    def is_heartbeats(self, topic: str) -> bool:
        """Tell whether the topic is ``heartbeats`` or a copy of it."""
        ...

    def is_checkpoints(self, topic: str) -> bool:
        """Tell whether the topic is a checkpoints topic of some cluster."""
        ...

    def checkpoints_topic(self, alias: str) -> str:
        """Name, on the target, of the checkpoints for groups of the source ``alias``."""
        ...

    def offset_syncs_topic(self, alias: str) -> str:
        """Name of the offset syncs; ``alias`` is the cluster at the other end of the flow."""
        ...

    def heartbeats_topic(self) -> str:
        """Name of the topic that MM2 writes its heartbeats into."""
        ...


@dataclass(frozen=True, slots=True)
class DefaultReplicationPolicy:
    """Remote topics carry the alias in front: ``LEFT.orders``.

    ``separator`` is taken literally. ``internal_separator`` says whether internal topics use it too
    (``replication.policy.internal.topic.separator.enabled``, on by default).
    """

    separator: str = "."
    internal_separator: bool = True

    def __post_init__(self) -> None:
        if not self.separator:
            raise ConfigurationError("replication policy: the separator must not be empty")

    @property
    def _inner(self) -> str:
        return self.separator if self.internal_separator else "."

    def remote_topic(self, alias: str, topic: str) -> str:
        """Alias, separator, topic."""
        return f"{alias}{self.separator}{topic}"

    def topic_source(self, topic: str) -> str | None:
        """Return all before the first separator; None without a rest (Java's split drops it)."""
        head, _, rest = topic.partition(self.separator)
        return head if rest.replace(self.separator, "") else None

    def upstream_topic(self, topic: str) -> str | None:
        """Return all after the first separator, or None if the name claims no source."""
        if self.topic_source(topic) is None:
            return None
        return topic.partition(self.separator)[2]

    def original_topic(self, topic: str) -> str:
        """Return the name without hops: ``LEFT.X.orders`` -> ``orders``."""
        while (upstream := self.upstream_topic(topic)) is not None:
            topic = upstream
        return topic

    def is_internal(self, topic: str) -> bool:
        """Tell whether it starts with ``__`` or ``.``, or ends with an internal suffix."""
        suffixes = (".internal", "-internal", f"{self._inner}internal")
        return topic.startswith(("__", ".")) or topic.endswith(suffixes)

    def is_heartbeats(self, topic: str) -> bool:
        """``heartbeats`` however many hops away."""
        return self.original_topic(topic) == _HEARTBEATS

    def is_checkpoints(self, topic: str) -> bool:
        """Tell whether it has the suffix; a bare ``checkpoints.internal`` is not one."""
        return topic.endswith(f"{self._inner}checkpoints{self._inner}internal")

    def checkpoints_topic(self, alias: str) -> str:
        """``LEFT.checkpoints.internal``."""
        return f"{alias}{self._inner}checkpoints{self._inner}internal"

    def offset_syncs_topic(self, alias: str) -> str:
        """``mm2-offset-syncs.RIGHT.internal``."""
        return f"mm2-offset-syncs{self._inner}{alias}{self._inner}internal"

    def heartbeats_topic(self) -> str:
        """Never changed by a separator."""
        return _HEARTBEATS


@dataclass(frozen=True, slots=True)
class IdentityReplicationPolicy(DefaultReplicationPolicy):
    """Topics keep their name; only heartbeats get the alias.

    ``source_alias`` is the policy's ``source.cluster.alias``: where every copy comes from. MM2
    cannot prevent cycles with this policy, so only one direction of a flow may be on.
    """

    source_alias: str | None = None

    def _by_default(self, topic: str) -> bool:
        return topic.endswith(_HEARTBEATS)

    def remote_topic(self, alias: str, topic: str) -> str:
        """Return the same name; heartbeats as in the default policy."""
        if self._by_default(topic):
            return DefaultReplicationPolicy.remote_topic(self, alias, topic)
        return topic

    def topic_source(self, topic: str) -> str | None:
        """Return the configured source for every topic; heartbeats as in the default policy."""
        if self._by_default(topic):
            return DefaultReplicationPolicy.topic_source(self, topic)
        return self.source_alias

    def upstream_topic(self, topic: str) -> str | None:
        """Return the same name; heartbeats as in the default policy."""
        if self._by_default(topic):
            source = DefaultReplicationPolicy.topic_source(self, topic)
            return None if source is None else topic.partition(self.separator)[2]
        return topic

    def original_topic(self, topic: str) -> str:
        """Return the same name; heartbeats as in the default policy."""
        while self._by_default(topic) and (upstream := self.upstream_topic(topic)) is not None:
            topic = upstream
        return topic


@dataclass(frozen=True, slots=True)
class Naming:
    """Which log of which origin a topic is, for a set of clusters.

    ``aliases`` are all clusters' aliases; none may contain the separator, because then a name could
    be read in two ways (`ConfigurationError`).
    """

    policy: ReplicationPolicy
    aliases: frozenset[str]
    _separator: str = field(init=False, repr=False, compare=False)

    def __init__(self, policy: ReplicationPolicy, aliases: Iterable[str]) -> None:
        object.__setattr__(self, "policy", policy)
        object.__setattr__(self, "aliases", frozenset(aliases))
        separator = getattr(policy, "separator", "")
        object.__setattr__(self, "_separator", separator)
        for alias in self.aliases:
            if not alias or (separator and separator in alias):
                raise ConfigurationError(f"cluster alias {alias!r}: empty, or has {separator!r}")

    def origin_of(self, topic: str, on: str) -> tuple[str, str] | None:
        """Return (origin's alias, logical topic) of ``topic`` as listed on the cluster ``on``.

        None for what is not ours: internal topics, heartbeats, copies that made more than one hop,
        and names that claim to be copies of the cluster's own topics. A name that starts with
        another configured alias counts as a copy, even if somebody created it by hand.
        """
        self._check(on)
        if self.policy.is_internal(topic) or self.policy.is_heartbeats(topic):
            return None
        if self._keeps_names():
            return self.policy.topic_source(topic) or on, topic
        source = self.policy.topic_source(topic)
        if source not in self.aliases:
            return on, topic
        upstream = self.policy.upstream_topic(topic)
        if source == on or upstream is None or self.policy.topic_source(upstream) in self.aliases:
            return None
        return source, upstream

    def log_name(self, origin: str, topic: str, on: str) -> str:
        """Return the topic on ``on`` that holds what was written to ``topic`` on ``origin``."""
        self._check(origin)
        self._check(on)
        return topic if origin == on else self.policy.remote_topic(origin, topic)

    def log_names(self, topic: str, on: str) -> Mapping[str, str]:
        """Return, by origin's alias, the topics of the logical ``topic`` on cluster ``on``."""
        return {origin: self.log_name(origin, topic, on) for origin in sorted(self.aliases)}

    def logical_topics(self, listing: Iterable[str], on: str) -> frozenset[str]:
        """Return the logical topics that a listing of ``on`` shows, local or as a copy."""
        found = (self.origin_of(topic, on) for topic in listing)
        return frozenset(origin[1] for origin in found if origin is not None)

    def _keeps_names(self) -> bool:
        probe = "topic"
        return any(self.policy.remote_topic(alias, probe) == probe for alias in self.aliases)

    def _check(self, alias: str) -> None:
        if alias not in self.aliases:
            known = ", ".join(sorted(self.aliases))
            raise ConfigurationError(f"cluster alias {alias!r} is not configured (known: {known})")
