"""A fake group coordinator: generations, eager and cooperative rebalances, fenced commits.

Kafka's rules that matter here: a commit needs a known member and the current generation; it is
taken while the group waits for its members to rejoin (PreparingRebalance), refused while the new
assignment is on its way (CompletingRebalance); a member that is silent for its session is removed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.member import FakeMember

SESSION_S = 6.0
Logical = tuple[str, int]


@dataclass(slots=True)
class _Enrolled:
    member: FakeMember
    generation: int = -1
    joined: bool = False
    claim: frozenset[Logical] = frozenset()


@dataclass(slots=True)
class Group:
    """One consumer group on one cluster."""

    cluster: Cluster
    name: str
    incremental: bool
    topics: tuple[str, ...]
    commits: dict[tuple[str, int], tuple[int, str]] = field(default_factory=dict)
    members: dict[str, _Enrolled] = field(default_factory=dict)
    state: str = "EMPTY"
    generation: int = 0
    rebalances: int = 0
    gone: set[str] = field(default_factory=set)

    def join(self, member: FakeMember, claim: frozenset[Logical]) -> None:
        """A JoinGroup request: of a new member, or of one that rejoins."""
        if self.cluster.when_back(lambda: self.join(member, claim)):
            return
        if member.ident in self.gone:
            return  # an unknown member: it will learn that its session has ended
        if member.ident not in self.members:
            self.members[member.ident] = _Enrolled(member)
        one = self.members[member.ident]
        one.joined, one.claim = True, claim
        if self.state != "PREPARING":
            self._prepare(member.ident)
        self._maybe_complete()

    def leave(self, ident: str) -> None:
        """A LeaveGroup request, or the end of a session."""
        if self.cluster.when_back(lambda: self.leave(ident)):
            return
        self.gone.add(ident)
        if self.members.pop(ident, None) is None:
            return
        if not self.members:
            self.state, self.generation = "EMPTY", self.generation + 1
        elif self.state == "PREPARING":
            self._maybe_complete()
        else:
            self._prepare("")

    def forget(self) -> None:
        """The coordinator has lost its disk: commits are gone, and members are unknown."""
        self.commits.clear()
        unknown, self.members = self.members, {}
        self.state, self.generation = "EMPTY", self.generation + 1
        self.gone |= unknown.keys()
        for ident, one in unknown.items():
            wait = self.cluster.sim.between(0.001, 3.0)  # until a heartbeat is refused
            one.member.post(wait, lambda m=one.member, i=ident: m.unknown(i))

    def refresh(self) -> None:
        """The topics' metadata has changed: each member finds out by itself."""
        if self.cluster.when_back(self.refresh):
            return
        sim = self.cluster.sim
        for ident, one in self.members.items():
            member = one.member
            member.post(sim.between(0.001, 0.3), lambda m=member, i=ident: m.learn_topics(i))

    def commit(
        self, ident: str, generation: int, items: list[tuple[str, int, int, str]]
    ) -> int | None:
        """An OffsetCommit request; returns an error code, or None when it was taken."""
        one = self.members.get(ident)
        if one is None:
            return int(KafkaError.UNKNOWN_MEMBER_ID)
        if generation != self.generation:
            return int(KafkaError.ILLEGAL_GENERATION)
        if self.state == "COMPLETING":
            return int(KafkaError.REBALANCE_IN_PROGRESS)
        if self.state == "PREPARING" and one.joined:
            # it is behind the JoinGroup request on its connection, and that ends the generation
            return int(KafkaError.ILLEGAL_GENERATION)
        for topic, number, offset, metadata in items:
            self.commits[topic, number] = (offset, metadata)
        return None

    def _prepare(self, but: str) -> None:
        self.state = "PREPARING"
        self.rebalances += 1
        sim = self.cluster.sim
        for ident, one in self.members.items():
            if ident != but:
                one.joined = False
                member = one.member
                member.post(sim.between(0.001, 0.3), lambda m=member, i=ident: m.learn_rebalance(i))

    def _maybe_complete(self) -> None:
        if self.members and all(one.joined for one in self.members.values()):
            sim = self.cluster.sim
            sim.after(sim.between(0.001, 0.03), self._complete)

    def _complete(self) -> None:
        if self.cluster.when_back(self._complete):
            return
        ready = self.members and all(one.joined for one in self.members.values())
        if self.state != "PREPARING" or not ready:
            return
        self.generation += 1
        self.state = "COMPLETING"
        generation = self.generation
        given = self._assign()
        for ident, one in self.members.items():
            one.generation = generation
            member = one.member
            member.post(0.0, lambda m=member, i=ident: m.joined_as(i, generation))
        sim = self.cluster.sim
        sim.after(sim.between(0.001, 0.02), lambda: self._stable(generation, given))

    def _stable(self, generation: int, given: dict[str, frozenset[Logical]]) -> None:
        if self.cluster.when_back(lambda: self._stable(generation, given)):
            return
        if self.generation != generation or self.state != "COMPLETING":
            return
        self.state = "STABLE"
        sim = self.cluster.sim
        for ident, parts in given.items():
            if ident in self.members:
                member = self.members[ident].member
                member.post(
                    sim.between(0.0, 0.01),
                    lambda m=member, i=ident, p=parts: m.assigned_to(i, generation, p),
                )

    def _assign(self) -> dict[str, frozenset[Logical]]:
        idents = sorted(self.members)
        parts = [(t, n) for t in self.topics for n in range(len(self.cluster.logs.get(t, ())))]
        given: dict[str, set[Logical]] = {ident: set() for ident in idents}
        if not self.incremental:
            for at, part in enumerate(parts):
                given[idents[(at * len(idents)) // len(parts)]].add(part)
            return {ident: frozenset(p) for ident, p in given.items()}
        owner = {p: i for i in idents for p in sorted(self.members[i].claim)}
        quota = -(-len(parts) // len(idents))
        rest = []
        for part in parts:
            now = owner.get(part)
            if now is not None and len(given[now]) < quota:
                given[now].add(part)
            else:
                rest.append(part)
        for part in rest:
            to = min(idents, key=lambda i: (len(given[i]), i))
            given[to].add(part)
        for ident in idents:  # what another member still owns is given up first
            given[ident] -= {p for p in given[ident] if owner.get(p, ident) != ident}
        return {ident: frozenset(p) for ident, p in given.items()}
