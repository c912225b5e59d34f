"""What every rule is given: the snapshot, the settings and, if any, the operator's request."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from clientlib.protocol.clients import Client, Registration, Role
from clientlib.protocol.naming import DefaultReplicationPolicy, Naming
from clientlib.protocol.state import State
from clientlib.protocol.types import ClusterAlias
from clientlib.settings import Settings
from failover.core import stranded
from failover.core.result import Finding, Severity, SwitchRequest
from failover.core.snapshot import ClusterSnapshot, FlowSnapshot, Snapshot


@dataclass(frozen=True, slots=True)
class Case:
    """One judgement: facts, settings, and the request (None: a look at the scope's health)."""

    snapshot: Snapshot
    settings: Settings
    naming: Naming
    request: SwitchRequest | None = None

    @property
    def state(self) -> State | None:
        """The scope's state, None before ``failover init``."""
        return self.snapshot.view.state

    @property
    def active(self) -> ClusterAlias:
        """The active cluster, empty before ``failover init``."""
        return self.state.active if self.state else ""

    @property
    def lost(self) -> ClusterAlias:
        """The cluster that an unplanned switch gives up; empty for any other request."""
        if self.state is None or self.request is None or not self.request.emergency:
            return ""
        return stranded.gone(self.state, self.request.to)

    @property
    def targets(self) -> tuple[ClusterAlias, ...]:
        """Where the scope may go: the request's target, else every standby."""
        if self.request:
            return (self.request.to,)
        return tuple(alias for alias in self.snapshot.clusters if alias != self.active)

    @property
    def involved(self) -> tuple[ClusterSnapshot, ...]:
        """Reachable clusters that the switch needs: the active one and the targets."""
        wanted = dict.fromkeys((self.active, *self.targets))
        return tuple(c for a in wanted if (c := self.snapshot.clusters.get(a)) and c.reachable)

    @property
    def forward(self) -> tuple[FlowSnapshot, ...]:
        """Flows that carry the active cluster's records to a target."""
        return tuple(
            f for f in self.snapshot.flows if f.source == self.active and f.target in self.targets
        )

    @property
    def backward(self) -> tuple[FlowSnapshot, ...]:
        """Flows that would carry a target's records back."""
        return tuple(
            f for f in self.snapshot.flows if f.target == self.active and f.source in self.targets
        )

    @property
    def registrations(self) -> Mapping[str, Registration]:
        """Clients registered on the active cluster, but for those that the operator skips."""
        cluster = self.snapshot.clusters.get(self.active)
        skipped = self.request.skip_clients if self.request else ()
        known = cluster.clients if cluster else {}
        return {ident: one for ident, one in known.items() if ident not in skipped}

    @property
    def living(self) -> tuple[Client, ...]:
        """Registered clients that go on renewing."""
        now = self.snapshot.at_ms
        return tuple(r.client for r in self.registrations.values() if not r.expired(now))

    @property
    def wrapped(self) -> dict[str, frozenset[str]]:
        """Groups with a living registered consumer, and the logical topics they subscribe to."""
        topics: dict[str, frozenset[str]] = {}
        for client in self.living:
            if client.role is Role.CONSUMER and client.group:
                names = frozenset(self._subscribed(client.topics))
                topics[client.group] = topics.get(client.group, frozenset()) | names
        return topics

    def _subscribed(self, topics: Iterable[str]) -> Iterator[str]:
        for topic in topics:
            if topic.startswith("^"):
                yield from (name for name in self.logical_topics if re.search(topic, name))
            else:
                yield topic

    @property
    def logical_topics(self) -> frozenset[str]:
        """Logical topics that any cluster shows."""
        return frozenset[str]().union(
            *(
                self.naming.logical_topics(c.topics, c.alias)
                for c in self.snapshot.clusters.values()
            )
        )

    def severity(self, switching: Severity) -> Severity:
        """Return ``switching`` for a request; without one it is a fault of the scope's health."""
        return switching if self.request else Severity.BLOCK


Rule: TypeAlias = Callable[[Case], Iterator[Finding]]


def case(snapshot: Snapshot, settings: Settings, request: SwitchRequest | None) -> Case:
    """Return the case that the rules judge."""
    naming = Naming(DefaultReplicationPolicy(settings.separator), settings.origins)
    return Case(snapshot, settings, naming, request)


def listed(items: Iterable[object], most: int = 5) -> str:
    """Return a short list for a sentence: the first few, then how many more."""
    names = [str(item) for item in items]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
