"""``failover.yaml``: clusters, flows, naming and scopes, read once and frozen.

Both packages read the same file. Unknown keys are an error with a suggestion. ``${NAME}`` takes an
environment variable and ``${file:PATH}`` the content of a file, so that no secret stands in it.
"""

import difflib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import yaml

from clientlib.protocol.errors import ConfigurationError
from clientlib.protocol.types import ClusterAlias

COORDINATOR_S = 3600.0
"""The timeout that librdkafka is given for what an AdminClient asks a group's coordinator.

Whoever asks waits for the future as long as it wants, and not for this, the longest there is. A
request that has timed out while its coordinator was away is freed, and is still sent when that is
back: the process ends with ``eonce->refcnt > 0`` or a segmentation fault (seen with librdkafka 2.16
when a broker was killed and started; the code of 2.15.1 does the same).
"""


_ALIAS = re.compile(r"[A-Za-z0-9_-]+")
_REFERENCE = re.compile(r"\$\{(?:(file):)?([^}]+)\}")
_SECRET = re.compile(r"password|secret|jaas|token|key\.pem", re.IGNORECASE)
_MIN_CLUSTERS = 2


@dataclass(frozen=True, slots=True)
class Cluster:
    """One cluster: its alias and the librdkafka settings that reach it, verbatim."""

    alias: ClusterAlias
    client: Mapping[str, Any] = field(repr=False)
    connect_url: str = ""

    @property
    def bootstrap(self) -> str:
        """The cluster's bootstrap servers."""
        return str(self.client["bootstrap.servers"])


@dataclass(frozen=True, slots=True)
class Scope:
    """A named set of topics and groups that switches as one; patterns match whole names."""

    name: str
    topics: tuple[str, ...] = (".*",)
    groups: tuple[str, ...] = (".*",)
    ordering: str = "strict"

    def has_topic(self, topic: str) -> bool:
        """Say whether the logical topic switches with this scope."""
        return any(re.fullmatch(pattern, topic) for pattern in self.topics)

    def has_group(self, group: str) -> bool:
        """Say whether the group switches with this scope."""
        return any(re.fullmatch(pattern, group) for pattern in self.groups)


@dataclass(frozen=True, slots=True)
class Control:
    """Names of our internal topics and how many partitions the state topic has."""

    prefix: str = "failover"
    state_partitions: int = 8
    replication_factor: int = -1

    @property
    def state_topic(self) -> str:
        """Topic of states, ledgers and journals."""
        return f"{self.prefix}-state.internal"

    @property
    def clients_topic(self) -> str:
        """Topic of client registrations."""
        return f"{self.prefix}-clients.internal"

    @property
    def progress_topic(self) -> str:
        """Topic of progress records (unplanned failover)."""
        return f"{self.prefix}-progress.internal"

    def partition_of(self, scope: str) -> int:
        """Return the state topic's partition that holds a scope."""
        return crc32(scope.encode()) % self.state_partitions


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that ``failover.yaml`` says, validated.

    ``flows`` are (source, target) pairs; ``origin`` is where the settings came from, for messages.
    ``retired`` are aliases of clusters that are gone for good, whose copies others still hold.
    """

    clusters: Mapping[ClusterAlias, Cluster]
    flows: tuple[tuple[ClusterAlias, ClusterAlias], ...]
    policy: str = "default"
    separator: str = "."
    scopes: Mapping[str, Scope] = field(default_factory=lambda: {"default": Scope("default")})
    control: Control = field(default_factory=Control)
    origin: str = "(mapping)"
    retired: tuple[ClusterAlias, ...] = ()

    @property
    def aliases(self) -> tuple[ClusterAlias, ...]:
        """The aliases in the order of the file."""
        return tuple(self.clusters)

    @property
    def origins(self) -> tuple[ClusterAlias, ...]:
        """Every cluster of which logs may exist: the configured and the retired ones."""
        return (*self.clusters, *self.retired)

    def named(self, clusters: Iterable[ClusterAlias]) -> None:
        """Require that the file names every cluster that an epoch tells of.

        Raises ConfigurationError: whoever does not know an origin would take its records for
        unread, or for nobody's.
        """
        unknown = sorted(set(clusters) - set(self.origins))
        if unknown:
            raise ConfigurationError(
                f"{self.origin}: {', '.join(unknown)} has been active, and the file does not name "
                f"it; a cluster that is gone for good belongs there as "
                f"`retired: [{', '.join((*self.retired, *unknown))}]`"
            )

    def scope(self, name: str) -> Scope:
        """Return a scope by name. Raises ConfigurationError with a suggestion."""
        if name not in self.scopes:
            raise ConfigurationError(_unknown("scope", name, self.scopes, self.origin))
        return self.scopes[name]

    def cluster(self, alias: str) -> Cluster:
        """Return a cluster by alias. Raises ConfigurationError with a suggestion."""
        if alias not in self.clusters:
            raise ConfigurationError(_unknown("cluster", alias, self.clusters, self.origin))
        return self.clusters[alias]

    @property
    def digest(self) -> str:
        """Hash of what all clients must agree on; secrets and addresses are not part of it."""
        shared = [
            sorted(self.clusters),
            sorted(self.flows),
            self.policy,
            self.separator,
            [[s.name, s.topics, s.groups, s.ordering] for s in self.scopes.values()],
            [self.control.prefix, self.control.state_partitions],
            *([sorted(self.retired)] if self.retired else []),
        ]
        return hashlib.blake2b(json.dumps(shared).encode(), digest_size=6).hexdigest()


def redacted(client: Mapping[str, Any]) -> dict[str, Any]:
    """Return librdkafka settings fit for a log: secrets replaced by ``***``."""
    return {key: "***" if _SECRET.search(key) else value for key, value in client.items()}


def _unknown(kind: str, name: str, known: Iterable[str], origin: str) -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, 1, 0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names) or 'none'}"
    return f"{origin}: unknown {kind} {name!r}; {hint}"


@dataclass(frozen=True, slots=True)
class _Source:
    """Where values come from: the file's name for messages, and the environment."""

    origin: str
    environ: Mapping[str, str]

    def fail(self, message: str) -> ConfigurationError:
        return ConfigurationError(f"{self.origin}: {message}")

    def mapping(self, value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.fail(f"{where} must be a mapping, not {type(value).__name__}")
        return {str(k): v for k, v in value.items()}

    def only(self, value: Mapping[str, Any], known: Iterable[str], where: str) -> None:
        names = tuple(known)
        for key in value:
            if key not in names:
                raise ConfigurationError(_unknown(f"key in {where}", key, names, self.origin))

    def patterns(self, value: Any, where: str) -> tuple[str, ...]:
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise self.fail(f"{where} must be a list of patterns")
        for item in items:
            try:
                re.compile(item)
            except re.error as error:
                raise self.fail(
                    f"{where}: {item!r} is not a regular expression: {error}"
                ) from error
        return tuple(items)

    def resolve(self, value: Any) -> Any:
        """Replace ``${...}`` in strings, at any depth."""
        if isinstance(value, dict):
            return {key: self.resolve(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        return _REFERENCE.sub(self._reference, value) if isinstance(value, str) else value

    def _reference(self, match: re.Match[str]) -> str:
        kind, name = match.groups()
        if kind == "file":
            try:
                return Path(name).read_text(encoding="utf-8").rstrip("\n")
            except OSError as error:
                raise self.fail(f"cannot read {name} of {match[0]}: {error.strerror}") from error
        if name not in self.environ:
            raise self.fail(f"environment variable {name} of {match[0]} is not set")
        return self.environ[name]


_TOP = ("clusters", "retired", "flows", "replication", "scopes", "control")


def parse(body: Any, *, origin: str = "(mapping)", environ: Mapping[str, str]) -> Settings:
    """Validate a mapping in the form of ``failover.yaml``.

    Raises ConfigurationError naming the key and, for a typo, what was probably meant.
    """
    source = _Source(origin, environ)
    top = source.mapping(source.resolve(body), "the file")
    source.only(top, _TOP, "the file")
    clusters = _clusters(source, top.get("clusters"))
    policy, separator = _replication(source, top.get("replication", {}))
    return Settings(
        clusters=clusters,
        retired=_retired(source, top.get("retired", []), clusters),
        flows=_flows(source, top.get("flows"), clusters),
        policy=policy,
        separator=separator,
        scopes=_scopes(source, top.get("scopes", {"default": {}})),
        control=_control(source, top.get("control", {})),
        origin=origin,
    )


def _clusters(source: _Source, value: Any) -> dict[str, Cluster]:
    clusters = {}
    for alias, raw in source.mapping(value, "clusters").items():
        if not _ALIAS.fullmatch(alias):
            raise source.fail(f"cluster alias {alias!r}: use letters, digits, - and _ only")
        client = source.mapping(raw, f"clusters.{alias}")
        connect = source.mapping(client.pop("connect", {}), f"clusters.{alias}.connect")
        source.only(connect, ("url",), f"clusters.{alias}.connect")
        if not client.get("bootstrap.servers"):
            raise source.fail(f"clusters.{alias} needs bootstrap.servers")
        clusters[alias] = Cluster(alias, client, str(connect.get("url", "")))
    if len(clusters) < _MIN_CLUSTERS:
        raise source.fail("clusters: at least two are needed")
    return clusters


def _retired(source: _Source, value: Any, clusters: Iterable[str]) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise source.fail("retired must be a list of aliases such as [LEFT]")
    for alias in value:
        if not _ALIAS.fullmatch(alias):
            raise source.fail(f"retired alias {alias!r}: use letters, digits, - and _ only")
        if alias in clusters:
            raise source.fail(f"{alias} is retired and stands under clusters: it needs a new alias")
    return tuple(value)


def _flows(
    source: _Source, value: Any, clusters: Mapping[str, Cluster]
) -> tuple[tuple[str, str], ...]:
    if value is None:
        return tuple((a, b) for a in clusters for b in clusters if a != b)
    if not isinstance(value, list):
        raise source.fail('flows must be a list such as ["LEFT->RIGHT", "RIGHT->LEFT"]')
    flows = []
    for item in value:
        left, arrow, right = str(item).partition("->")
        if not arrow:
            raise source.fail(f"flow {item!r} is not SOURCE->TARGET")
        ends = (left.strip(), right.strip())
        for alias in ends:
            if alias not in clusters:
                raise ConfigurationError(
                    _unknown(f"cluster in flow {item!r}", alias, clusters, source.origin)
                )
        flows.append(ends)
    return tuple(flows)


def _replication(source: _Source, value: Any) -> tuple[str, str]:
    body = source.mapping(value, "replication")
    source.only(body, ("policy", "separator"), "replication")
    policy = str(body.get("policy", "default"))
    if policy != "default":
        raise source.fail(
            f"replication.policy {policy!r}: only the default policy keeps origins apart, "
            "so only that one can be switched exactly"
        )
    return policy, str(body.get("separator", "."))


def _scopes(source: _Source, value: Any) -> dict[str, Scope]:
    scopes = {}
    for name, raw in source.mapping(value, "scopes").items():
        where = f"scopes.{name}"
        body = source.mapping(raw if raw is not None else {}, where)
        source.only(body, ("topics", "groups", "ordering"), where)
        ordering = str(body.get("ordering", "strict"))
        if ordering != "strict":
            raise source.fail(f"{where}.ordering: only 'strict' is supported")
        scopes[name] = Scope(
            name,
            source.patterns(body.get("topics", [".*"]), f"{where}.topics"),
            source.patterns(body.get("groups", [".*"]), f"{where}.groups"),
            ordering,
        )
    if not scopes:
        raise source.fail("scopes: at least one is needed")
    return scopes


def _control(source: _Source, value: Any) -> Control:
    body = source.mapping(value, "control")
    source.only(body, ("prefix", "state_partitions", "replication_factor"), "control")
    try:
        return Control(
            prefix=str(body.get("prefix", "failover")),
            state_partitions=int(body.get("state_partitions", 8)),
            replication_factor=int(body.get("replication_factor", -1)),
        )
    except (TypeError, ValueError) as error:
        raise source.fail(f"control: {error}") from error


def load(path: str | Path, *, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read ``failover.yaml``. Raises ConfigurationError naming the file, line and key."""
    file = Path(path)
    try:
        body = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"cannot read {file}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{file} is not YAML: {error}") from error
    return parse(body, origin=str(file), environ=environ)
