"""Takes the application's settings apart: librdkafka's own, and our ``failover.*``."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from clientlib.protocol.errors import ConfigurationError
from clientlib.protocol.naming import DefaultReplicationPolicy, Naming
from clientlib.settings import Settings, load, parse

_OURS = frozenset(
    {
        "failover.config",
        "failover.scope",
        "failover.ttl.ms",
        "failover.idempotence",
        "failover.replay.ms",
        "failover.replay.bytes",
        "failover.record.identity",
        "failover.late.records",
        "failover.application",
    }
)

# A cluster that has been away is waited for by a switch. librdkafka would look for it every 7.5 to
# 15 s (10 s, and what it adds by chance); it refuses a maximum below the application's own minimum.
_RECONNECT_SOON = {"reconnect.backoff.max.ms": 1000}
_RECONNECT = frozenset({"reconnect.backoff.ms", "reconnect.backoff.max.ms"})


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """What a wrapped client is made of.

    ``settings`` are librdkafka's, without addresses; ``ident`` is the client's unique id, which
    is also the ``client.id`` that brokers see.
    """

    failover: Settings
    scope: str
    ident: str
    ttl_ms: int
    settings: Mapping[str, Any]

    @property
    def naming(self) -> Naming:
        """How topics are named on these clusters."""
        policy = DefaultReplicationPolicy(self.failover.separator)
        return Naming(policy, self.failover.origins)

    def conf(self, alias: str) -> dict[str, Any]:
        """Return librdkafka settings for a handle on one cluster; the cluster's own win."""
        given = {**self.settings, **self.failover.cluster(alias).client, "client.id": self.ident}
        return given if given.keys() & _RECONNECT else {**given, **_RECONNECT_SOON}


def merged(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings as confluent-kafka takes them: one dict, keywords, or both."""
    if len(args) > 1:
        raise TypeError(f"expected one dict of settings, got {len(args)} positional arguments")
    if args and not isinstance(args[0], dict):
        raise TypeError("expected configuration dict")
    return {**(args[0] if args else {}), **kwargs}


def wanted(conf: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> bool:
    """Say whether these settings ask for a client that follows the active cluster.

    Raises ConfigurationError when ``FAILOVER_REQUIRED=1`` and they do not.
    """
    if any(key.startswith("failover.") for key in conf) or environ.get("FAILOVER_CONFIG"):
        return True
    if environ.get("FAILOVER_REQUIRED") == "1":
        raise ConfigurationError(
            "FAILOVER_REQUIRED=1, but neither failover.config nor FAILOVER_CONFIG is set"
        )
    return False


def options(conf: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> ClientOptions:
    """Validate the settings. Raises ConfigurationError naming the key."""
    for key in conf:
        if key.startswith("failover.") and key not in _OURS:
            raise ConfigurationError(f"unknown setting {key!r}; known: {', '.join(sorted(_OURS))}")
    source = conf.get("failover.config", environ.get("FAILOVER_CONFIG"))
    if source is None:
        raise ConfigurationError("failover.config is not set, and neither is FAILOVER_CONFIG")
    settings = (
        parse(source, origin="failover.config", environ=environ)
        if isinstance(source, Mapping)
        else load(source, environ=environ)
    )
    scope = str(conf.get("failover.scope", next(iter(settings.scopes))))
    settings.scope(scope)
    own = {k: v for k, v in conf.items() if not k.startswith("failover.")}
    own.pop("bootstrap.servers", None)
    base = str(conf.get("client.id", conf.get("failover.application", "app")))
    return ClientOptions(
        failover=settings,
        scope=scope,
        ident=f"{base}-{uuid4().hex[:10]}",
        ttl_ms=int(conf.get("failover.ttl.ms", 10_000)),
        settings=own,
    )
