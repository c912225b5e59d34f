"""Builds a `Snapshot` of a scope: all clusters at once, each wait bounded.

One thread per cluster; inside it the questions are asked together and the answers collected. The
control topics are read in the same time by a consumer of their own.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from clientlib.protocol.clients import Registration, fold_clients
from clientlib.protocol.errors import ClusterUnreachableError, RemoteError, TimedOutError
from clientlib.protocol.naming import DefaultReplicationPolicy, Naming
from clientlib.protocol.state import View, fold, merge
from clientlib.protocol.types import ClusterAlias, Partition
from clientlib.settings import Scope, Settings
from failover.core.lag import flow_lag
from failover.core.snapshot import ClusterSnapshot, FlowSnapshot, Snapshot, TopicInfo
from failover.io.control_reader import Raw, read_to_end
from failover.io.kafka_admin import ClusterAdmin, NotReadyError

_AGAIN_S = 0.05
# MM2 keeps passwords in the same topic: nothing but these is taken from it.
_FLOW_SETTINGS = (
    "enabled",
    "groups",
    "groups.exclude",
    "offset-syncs.topic.location",
    "replication.policy.class",
    "replication.policy.separator",
    "sync.group.offsets.enabled",
    "sync.topic.acls.enabled",
    "topics",
    "topics.exclude",
)
_IN_FLIGHT = "max.in.flight.requests.per.connection"
_IDEMPOTENCE = "enable.idempotence"
_PRODUCER = ("producer.override.", "producer.", "target.producer.")
_CONSUMER = ("source.consumer.", "consumer.")
_ISOLATION = "isolation.level"


@dataclass(frozen=True, slots=True)
class _Control:
    """What one cluster's control topics and MM2's configuration topics say."""

    view: View
    clients: Mapping[str, Registration]
    flows: Mapping[ClusterAlias, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class _Observed:
    """One cluster, and what it knows of the flows into it, by source."""

    cluster: ClusterSnapshot
    beats: Mapping[ClusterAlias, int]
    flows: Mapping[ClusterAlias, Mapping[str, str]]


class Observer:
    """Observes one scope as often as asked, over connections that stay open.

    ``timeout_s`` bounds each cluster's part; a cluster that does not answer is in the snapshot
    as unreachable, with the reason. Use as a context manager, or call `close`.
    """

    def __init__(self, settings: Settings, scope: str, *, timeout_s: float = 5.0) -> None:
        self._settings = settings
        self._scope = settings.scope(scope)
        self.naming = Naming(DefaultReplicationPolicy(settings.separator), settings.origins)
        self._timeout_s = timeout_s
        self._admins = {
            alias: ClusterAdmin(cluster, timeout_s) for alias, cluster in settings.clusters.items()
        }
        self._pool = ThreadPoolExecutor(2 * len(self._admins), thread_name_prefix="observe")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the threads; the connections go with the object."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def snapshot(self, without: frozenset[ClusterAlias] = frozenset()) -> Snapshot:
        """Observe all clusters now, but those that are not to be asked.

        Raises RecordFormatError when the control topics hold what this version must not act on,
        ConfigurationError when a cluster refuses our settings, or an epoch is of one that the
        settings do not name.
        """
        at_ms = int(time.time() * 1000)
        asked = [alias for alias in self._admins if alias not in without]
        observed = dict(zip(asked, self._pool.map(self._observe, asked), strict=True))
        for alias in without:
            gone = ClusterSnapshot(alias, reachable=False, error="is given up, and was not asked")
            observed[alias] = _Observed(gone, {}, {})
        clusters = {alias: one.cluster for alias, one in observed.items()}
        view = merge(cluster.view for cluster in clusters.values())
        if view.state is not None:
            self._settings.named(view.state.activated)
        return Snapshot(
            scope=self._scope.name,
            at_ms=at_ms,
            clusters=clusters,
            flows=tuple(self._flow(a, b, observed, view, at_ms) for a, b in self._settings.flows),
            view=view,
        )

    def _flow(
        self,
        source: ClusterAlias,
        target: ClusterAlias,
        observed: Mapping[ClusterAlias, _Observed],
        view: View,
        at_ms: int,
    ) -> FlowSnapshot:
        here, there = observed[source].cluster, observed[target].cluster
        beat = observed[target].beats.get(source)
        known = here.reachable and there.reachable
        return FlowSnapshot(
            source=source,
            target=target,
            heartbeat_age_ms=None if beat is None else max(0, at_ms - beat),
            lag=flow_lag(here, there, view, self.naming) if known else {},
            settings=observed[target].flows.get(source, {}),
        )

    def _observe(self, alias: ClusterAlias) -> _Observed:
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                return self._observe_reachable(self._admins[alias])
            except (ClusterUnreachableError, TimedOutError) as error:
                if isinstance(error, NotReadyError) and time.monotonic() < deadline:
                    time.sleep(_AGAIN_S)
                    continue
                # a connection may have been lost for good (decision 22)
                self._admins[alias] = ClusterAdmin(self._admins[alias].cluster, self._timeout_s)
                return _Observed(ClusterSnapshot(alias, reachable=False, error=str(error)), {}, {})

    def _observe_reachable(self, admin: ClusterAdmin) -> _Observed:
        alias = admin.cluster.alias
        named = admin.group_ids()
        listing = admin.listing()
        operations, counts = admin.operations(), listing.partitions
        control = self._pool.submit(self._control, admin, counts)
        groups, refused = self._groups(admin, named)
        topics, beats = self._topics(admin, counts)
        read = control.result()
        cluster = ClusterSnapshot(
            alias=alias,
            reachable=True,
            error=refused,
            cluster_id=listing.cluster_id,
            topics=topics,
            groups=groups,
            view=read.view,
            clients=read.clients,
            missing_control=tuple(self._missing(counts)),
            operations=operations,
        )
        return _Observed(cluster, beats, read.flows)

    def _groups(self, admin: ClusterAdmin, listed: Any) -> tuple[dict[str, Any], str]:
        """Return the scope's groups, and why they could not be read."""
        try:
            answer = admin.wait(listed, "its groups")
            names = [g.group_id for g in answer.valid if self._scope.has_group(g.group_id)]
            return admin.groups(names), "; ".join(str(error) for error in answer.errors)
        except (ClusterUnreachableError, TimedOutError):
            raise
        except RemoteError as error:
            return {}, str(error)

    def _missing(self, counts: Mapping[str, int]) -> Iterator[str]:
        control = self._settings.control
        for topic, needed in (
            (control.state_topic, control.state_partitions),
            (control.clients_topic, 1),
        ):
            if topic not in counts:
                yield topic
            elif counts[topic] < needed:
                yield f"{topic} (has {counts[topic]} of {needed} partitions)"

    def _topics(
        self, admin: ClusterAdmin, counts: Mapping[str, int]
    ) -> tuple[dict[str, TopicInfo], dict[ClusterAlias, int]]:
        """Return the scope's topics, and the time of the last heartbeat by source (ms)."""
        alias = admin.cluster.alias
        names = sorted(t for t in counts if _in_scope(self.naming, self._scope, t, alias))
        partitions = [Partition(name, n) for name in names for n in range(counts[name])]
        sources = {self._heartbeats(s): s for s, target in self._settings.flows if target == alias}
        pulses = [Partition(name, 0) for name in sources if name in counts]
        starts = admin.starts(partitions)
        ends = admin.ends(partitions)
        stable = admin.ends(partitions, committed=True)
        last = admin.newest(pulses)
        configs = admin.topic_configs(names)
        offsets = [admin.resolve_offsets(futures) for futures in (starts, ends, stable)]
        settings = {name: admin.wait(configs[name], f"settings of {name}") for name in names}
        topics = {name: _topic(name, counts[name], offsets, settings[name]) for name in names}
        beats = {
            sources[p.topic]: timestamp
            for p, (_, timestamp) in admin.resolve_offsets(last).items()
            if timestamp > 0
        }
        return topics, beats

    def _heartbeats(self, source: ClusterAlias) -> str:
        policy = self.naming.policy
        return policy.remote_topic(source, policy.heartbeats_topic())

    def _control(self, admin: ClusterAdmin, counts: Mapping[str, int]) -> _Control:
        """Read state, registrations and MM2's settings in one pass."""
        control, alias = self._settings.control, admin.cluster.alias
        state = Partition(control.state_topic, control.partition_of(self._scope.name))
        clients = [
            Partition(control.clients_topic, n) for n in range(counts.get(control.clients_topic, 0))
        ]
        configs = dict(self._config_topics(alias))
        wanted = [p for p in (state, *clients, *configs) if p.number < counts.get(p.topic, 0)]
        records = read_to_end(admin.cluster, wanted, timeout_s=self._timeout_s)
        scope = self._scope.name
        return _Control(
            view=fold(View(), scope, ((r.key, r.value) for r in records.get(state, ()))),
            clients=fold_clients(
                {},
                scope,
                ((r.key, r.value, r.timestamp_ms) for p in clients for r in records.get(p, ())),
            ),
            flows={configs[p]: _flow_settings(records[p]) for p in configs if p in records},
        )

    def _config_topics(self, target: ClusterAlias) -> Iterator[tuple[Partition, ClusterAlias]]:
        separators = {".", self._settings.separator}
        for source, to in self._settings.flows:
            if to == target:
                for by in separators:
                    yield Partition(f"mm2-configs{by}{source}{by}internal", 0), source


def observe(settings: Settings, scope: str, *, timeout_s: float = 5.0) -> Snapshot:
    """Observe a scope once; see `Observer`."""
    with Observer(settings, scope, timeout_s=timeout_s) as observer:
        return observer.snapshot()


def _in_scope(naming: Naming, scope: Scope, topic: str, on: ClusterAlias) -> bool:
    origin = naming.origin_of(topic, on)
    return origin is not None and scope.has_topic(origin[1])


def _topic(
    name: str, count: int, offsets: Iterable[Mapping[Partition, Any]], config: Mapping[str, Any]
) -> TopicInfo:
    starts, ends, stable = (
        tuple(by[Partition(name, n)][0] for n in range(count)) for by in offsets
    )
    return TopicInfo(
        starts=starts,
        ends=ends,
        stable_ends=stable,
        log_append_time=_value(config, "message.timestamp.type") == "LogAppendTime",
        compacted="compact" in _value(config, "cleanup.policy"),
    )


def _value(config: Mapping[str, Any], key: str) -> str:
    entry = config.get(key)
    return str(entry.value) if entry is not None else ""


def _flow_settings(records: Iterable[Raw]) -> dict[str, str]:
    """Return what MM2's source and checkpoint connectors run with; the last record wins."""
    merged: dict[str, str] = {}
    newest: dict[bytes, Mapping[str, Any]] = {}
    for record in records:
        if record.key and record.key.startswith(b"connector-Mirror"):
            newest[record.key] = _properties(record.value)
    for properties in newest.values():
        merged |= {k: str(v) for k, v in properties.items() if _wanted(k)}
    return merged


def _properties(raw: bytes | None) -> Mapping[str, Any]:
    try:
        body = json.loads(raw or b"{}")
    except ValueError:
        return {}
    properties = body.get("properties") if isinstance(body, dict) else None
    return properties if isinstance(properties, dict) else {}


def _wanted(key: str) -> bool:
    return (
        key in _FLOW_SETTINGS
        or key in {f"{p}{name}" for p in _PRODUCER for name in (_IN_FLIGHT, _IDEMPOTENCE)}
        or key in {f"{p}{_ISOLATION}" for p in _CONSUMER}
    )
