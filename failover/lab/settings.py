"""The lab's configuration files as pure functions of its values.

Nothing here reads or writes: the same values always give the same text, so a restart of a broker
finds the settings it was started with.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import permutations
from typing import Any

import yaml

from clientlib.protocol.errors import ConfigurationError

HOST = "127.0.0.1"
MM2 = "mm2"
_ALIAS = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Broker:
    """One cluster of the lab: a single KRaft node, broker and controller at once."""

    alias: str
    cluster_id: str
    port: int
    controller_port: int

    @property
    def bootstrap(self) -> str:
        """Address for ``bootstrap.servers``."""
        return f"{HOST}:{self.port}"


@dataclass(frozen=True, slots=True)
class Layout:
    """What a lab consists of; persisted in ``lab.json`` so that another process can go on."""

    brokers: tuple[Broker, ...]
    mm2: bool = True
    broker_overrides: Mapping[str, str] = field(default_factory=dict)
    mm2_overrides: Mapping[str, str] = field(default_factory=dict)

    @property
    def aliases(self) -> tuple[str, ...]:
        """Cluster aliases in the order in which they were named."""
        return tuple(broker.alias for broker in self.brokers)

    @property
    def names(self) -> tuple[str, ...]:
        """Every process of the lab by name: the aliases, then ``mm2``."""
        return (*self.aliases, MM2) if self.mm2 else self.aliases

    @property
    def flows(self) -> tuple[tuple[str, str], ...]:
        """Replication flows as (source, target): every directed pair."""
        return tuple(permutations(self.aliases, 2)) if self.mm2 else ()

    def broker(self, alias: str) -> Broker:
        """Return the cluster called ``alias``; raises ConfigurationError for an unknown one."""
        for broker in self.brokers:
            if broker.alias == alias:
                return broker
        raise ConfigurationError(
            f"the lab has no cluster {alias!r}; it has {', '.join(self.aliases)}"
        )


def rebuilt(layout: Layout, alias: str, to: str, ident: str) -> Layout:
    """Return the layout with a cluster replaced by another one, called ``to``, on its ports."""
    old = layout.broker(alias)
    aliases = [to if name == alias else name for name in layout.aliases]
    check_aliases(aliases, mm2=layout.mm2)
    new = replace(old, alias=to, cluster_id=ident)
    return replace(layout, brokers=tuple(new if b is old else b for b in layout.brokers))


def check_aliases(aliases: Sequence[str], *, mm2: bool) -> None:
    """Raise ConfigurationError unless ``aliases`` can name the clusters of one lab."""
    for alias in aliases:
        if not _ALIAS.fullmatch(alias) or alias.lower() == MM2:
            raise ConfigurationError(
                f"{alias!r} is no cluster alias: letters, digits, '_' and '-', and not '{MM2}'"
            )
    if len({alias.lower() for alias in aliases}) != len(aliases):
        raise ConfigurationError(f"cluster aliases must differ: {', '.join(aliases)}")
    if len(aliases) < (2 if mm2 else 1):
        raise ConfigurationError("MirrorMaker 2 needs two clusters or more, e.g. LEFT,RIGHT")


def cluster_id(random_bytes: bytes) -> str:
    """Return a Kafka cluster id made of 16 random bytes.

    Kafka's tools take a leading dash for an option, and its own ids never begin with one.
    """
    text = base64.urlsafe_b64encode(random_bytes).decode().rstrip("=")
    return text if text[0] != "-" else f"A{text[1:]}"


def dump_layout(layout: Layout) -> str:
    """Render ``lab.json``."""
    return json.dumps({"schema": _SCHEMA, **asdict(layout)}, indent=2) + "\n"


def load_layout(text: str) -> Layout:
    """Read ``lab.json``; raises ConfigurationError when it is not one of ours."""
    try:
        document: dict[str, Any] = json.loads(text)
        if document["schema"] != _SCHEMA:
            raise ConfigurationError(f"lab.json has schema {document['schema']}, not {_SCHEMA}")
        return Layout(
            brokers=tuple(Broker(**broker) for broker in document["brokers"]),
            mm2=document["mm2"],
            broker_overrides=document["broker_overrides"],
            mm2_overrides=document["mm2_overrides"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"lab.json cannot be read: {error!r}") from error


def broker_settings(
    broker: Broker, data: str, overrides: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return ``server.properties`` of one cluster; ``data`` is the directory of its logs."""
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{HOST}:{broker.controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{broker.bootstrap},CONTROLLER://{HOST}:{broker.controller_port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": data,
        "auto.create.topics.enable": "false",
        "offsets.topic.num.partitions": "4",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        # A killed broker is refused by its own controller until its former session is over.
        "broker.heartbeat.interval.ms": "500",
        "broker.session.timeout.ms": "3000",
        # The default takes 128 MB of a heap of 384.
        "log.cleaner.dedupe.buffer.size": "8388608",
        "num.io.threads": "4",
        "background.threads": "4",
        **(overrides or {}),
    }


def mm2_settings(layout: Layout) -> dict[str, str]:
    """Return ``mm2.properties``: one dedicated MirrorMaker 2 with a flow for every directed pair.

    Worker settings count only with the prefix of a target's alias. Clients' settings (producer,
    consumer) carry the alias of the cluster that they talk to.
    """
    settings = {"clusters": ", ".join(layout.aliases)}
    for broker in layout.brokers:
        settings[f"{broker.alias}.bootstrap.servers"] = broker.bootstrap
    for source, target in layout.flows:
        settings[f"{source}->{target}.enabled"] = "true"
    settings |= {
        "topics": ".*",
        "groups": ".*",
        "replication.factor": "1",
        "checkpoints.topic.replication.factor": "1",
        "heartbeats.topic.replication.factor": "1",
        "offset-syncs.topic.replication.factor": "1",
        "offset.storage.replication.factor": "1",
        "offset.storage.partitions": "1",
        "config.storage.replication.factor": "1",
        "status.storage.replication.factor": "1",
        "status.storage.partitions": "1",
        "sync.topic.acls.enabled": "false",
        "sync.group.offsets.enabled": "false",
        "emit.checkpoints.interval.seconds": "1",
        "refresh.topics.interval.seconds": "1",
        "refresh.groups.interval.seconds": "1",
        # No search of the class path for plugins: it takes 5 s.
        "plugin.discovery": "service_load",
    }
    for alias in layout.aliases:
        settings |= {f"{alias}.{key}": value for key, value in _WORKER.items()}
    return settings | dict(layout.mm2_overrides)


_WORKER = {
    "offset.flush.interval.ms": "5000",
    "plugin.discovery": "service_load",
    # After a kill the tasks would stay unassigned for 5 minutes.
    "scheduled.rebalance.max.delay.ms": "0",
    "session.timeout.ms": "6000",
    "heartbeat.interval.ms": "1000",
    # A partition added to a consumer waits for the fetch in flight.
    "consumer.fetch.max.wait.ms": "100",
    "producer.linger.ms": "0",
}


def render_properties(settings: Mapping[str, str]) -> str:
    """Render a Java properties file, one ``key = value`` a line."""
    return "".join(
        f"{_escape(key, ' :=')} = {_escape(value, '')}\n" for key, value in settings.items()
    )


def _escape(text: str, special: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n")
    for character in special:
        escaped = escaped.replace(character, f"\\{character}")
    return escaped


def render_failover_yaml(layout: Layout) -> str:
    """Render ``failover.yaml`` for the lab's clusters and flows."""
    document = {
        "clusters": {b.alias: {"bootstrap.servers": b.bootstrap} for b in layout.brokers},
        "flows": [f"{source}->{target}" for source, target in layout.flows],
        "replication": {"policy": "default", "separator": "."},
        "scopes": {"default": {"topics": [".*"], "groups": [".*"], "ordering": "strict"}},
    }
    return yaml.safe_dump(document, sort_keys=False)
