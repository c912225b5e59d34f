"""What a seed draws: the shape of the application, and everything that goes wrong."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tests.simulation.disasters import Disaster, draw_disaster

if TYPE_CHECKING:
    from tests.simulation.clock import Scheduler

_REWINDS = 0.4
MODES = ("auto", "each", "batch", "rarely", "stored", "offsets", "late")


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """One consumer group: ``born`` in seconds, ``cost`` of a record in seconds until ``fast``."""

    name: str
    members: int
    incremental: bool
    topics: tuple[str, ...]
    modes: tuple[str, ...]
    policy: str = "earliest"
    born: float = 0.0
    cost: float = 0.0
    fast: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """The shape of a run.

    ``mirror_kills``: when the mirror dies, as a part of the run, and for how many seconds.
    ``topic_changes``: when topics change, as a part of the run, and how often in a row. Both are
    drawn apart, so that a seed without them is the run that it was before there were any.
    """

    topics: dict[str, int]
    groups: tuple[GroupSpec, ...]
    producers: int
    pause_s: float
    switches: int
    consumer_faults: int
    producer_faults: int
    tool_faults: float
    markers: bool
    source_markers: bool
    mirror_lag_s: float
    mirror_stops: int
    mirror_kills: tuple[tuple[float, float], ...]
    mirror_flush_s: float
    topic_changes: tuple[tuple[float, int], ...]
    disaster: Disaster | None = None
    network_faults: int = 0


class Faults:
    """Draws faults until they are over.

    ``commit_crash``: how often a tool dies just after its commit, and the next one cannot reach
    the cluster that has it.
    """

    commit_crash = 0.05

    def __init__(self, sim: Scheduler) -> None:
        rng = sim.rng
        self._sim = sim
        self.over = False
        bad = rng.random() < 0.5
        self.commit_rate = rng.choice((0.0, 0.02, 0.08)) if bad else 0.0
        self.write_rate = rng.choice((0.0, 0.02, 0.1)) if rng.random() < 0.5 else 0.0
        self.job_rate = rng.choice((0.0, 0.05)) if bad else 0.0
        self.slow_rate = rng.choice((0.0, 0.02, 0.1))

    def commit_outcome(self) -> str:
        if self.over:
            return "ok"
        sim = self._sim
        if sim.chance(self.commit_rate):
            return sim.rng.choice(("before", "after"))
        return "slow" if sim.chance(self.slow_rate) else "ok"

    def write_outcome(self) -> str:
        if self.over:
            return "ok"
        sim = self._sim
        if sim.chance(self.write_rate):
            return sim.rng.choice(("lost", "unheard", "refused"))
        return "slow" if sim.chance(self.slow_rate) else "ok"

    def job_times(self) -> tuple[float, float]:
        sim = self._sim
        most = 0.6 if not self.over and sim.chance(self.slow_rate) else 0.005
        return sim.between(0.001, most), sim.between(0.001, most)

    def job_fails(self) -> bool:
        return not self.over and self._sim.chance(self.job_rate)

    def watch_delay(self) -> float:
        return self._sim.rng.choice((0.005, 0.005, 0.02, 0.02, 0.3, 1.0))


def draw_plan(sim: Scheduler) -> Plan:
    """Draw a run."""
    rng = sim.rng
    topics = {f"T{n}": rng.randrange(1, 4) for n in range(1, rng.choice((2, 2, 3)))}
    calm = rng.random() < 0.25
    own = random.Random(f"mirror {sim.seed}")
    number = own.choice((0, 0, 1, 3))
    apart = random.Random(f"topics {sim.seed}")
    often = apart.choice((0, 0, 0, 2))
    changes = tuple((apart.random(), apart.choice((1, 3, 10))) for _ in range(often))
    kills = tuple((own.random(), own.choice((0.0, 0.3, 3.0))) for _ in range(number))
    groups = [_group(sim, f"g{n}", tuple(topics)) for n in range(1, rng.choice((2, 2, 3)))]
    if rng.random() < 0.3:
        born = rng.uniform(3.0, 14.0)
        policy = rng.choice(("earliest", "latest"))
        spec = _group(sim, "young", tuple(topics))
        groups.append(
            GroupSpec(
                spec.name, spec.members, spec.incremental, spec.topics, spec.modes, policy, born
            )
        )
    return Plan(
        topics=topics,
        groups=tuple(groups),
        producers=rng.choice((1, 1, 2)),
        pause_s=rng.choice((0.05, 0.1, 0.2)),
        switches=rng.randrange(2, 5),
        consumer_faults=0 if calm else rng.randrange(0, 5),
        producer_faults=0 if calm else rng.choice((0, 0, 1)),
        tool_faults=0.0 if calm else rng.choice((0.0, 0.3, 0.6)),
        markers=rng.random() < 0.2,
        source_markers=rng.random() < 0.15,
        mirror_lag_s=rng.choice((0.01, 0.05, 0.3)),
        mirror_stops=0 if calm else rng.choice((0, 0, 1, 2)),
        mirror_kills=() if calm else kills,
        mirror_flush_s=own.choice((1.0, 5.0, 60.0)),
        topic_changes=() if calm else changes,
    )


def draw_unplanned(sim: Scheduler) -> Plan:
    """Draw a run in which a cluster falls silent; short, and with fewer other faults."""
    plan, rng = draw_plan(sim), sim.rng
    rarely = rng.random() < 0.5
    groups = plan.groups[:2]
    if not rarely:  # a member that crashes before it has read anything leaves too little evidence
        groups = tuple(replace(group, policy="earliest") for group in groups)
    disaster = draw_disaster(sim)
    if plan.markers or plan.source_markers:  # logs of unequal length: see `publish.closed_epochs`
        disaster = replace(disaster, switches=min(disaster.switches, 1))
    network_faults = 0 if rarely else rng.choice((0, 1, 2))
    if network_faults:  # who writes on where offsets begin again cannot know it
        disaster = replace(disaster, loses=0, wiped="")
    calm = rarely and disaster.active and disaster.how != "alive" and not disaster.loses
    own = random.Random(f"rewinds {sim.seed}")
    if calm and not disaster.wiped and own.random() < _REWINDS:
        disaster = replace(disaster, rewinds=True)
    return replace(
        plan,
        groups=tuple(replace(g, born=min(g.born, 5.0), fast=min(g.fast, 10.0)) for g in groups),
        switches=rng.choice((0, 0, 0, 1)),
        consumer_faults=0 if rarely else min(plan.consumer_faults, 2),
        producer_faults=0 if rarely else plan.producer_faults,
        tool_faults=0.0 if rarely else plan.tool_faults,
        mirror_lag_s=rng.choice((0.01, 0.05, 0.3, 1.0)),
        mirror_kills=plan.mirror_kills[:1] if not rarely else (),
        mirror_stops=0,
        disaster=disaster,
        network_faults=network_faults,
    )


def _group(sim: Scheduler, name: str, topics: tuple[str, ...]) -> GroupSpec:
    rng = sim.rng
    modes = tuple(rng.choice(MODES) for _ in range(5))
    if rng.random() < 0.5:
        modes = (modes[0],) * 5
    lags = rng.random() < 0.3
    return GroupSpec(
        name=name,
        members=rng.choice((1, 1, 2, 3)),
        incremental=rng.random() < 0.5,
        topics=topics,
        modes=modes,
        cost=rng.choice((0.05, 0.2)) if lags else 0.0,
        fast=rng.uniform(8.0, 25.0) if lags else 0.0,
    )
