"""What happens to clusters: they die, are stopped, and come back."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.clock import Scheduler
    from tests.simulation.cluster import Cluster
    from tests.simulation.world import World

_KNOWN_S = 2.0
_REWIND_S = 0.004


@dataclass(frozen=True, slots=True)
class Disaster:
    """A cluster falls silent at ``at``: the active one or the standby, killed or stopped.

    Or the active one is given up though it is ``alive``, and some clients hear of it later.

    ``back_s``: it answers again so much later; None: never. ``mirror_s``: for how long the mirror
    had copied nothing by then. ``switches``: how many planned ones follow when it is back.
    ``loses``: so many records of each log, at most, are gone when it comes back. ``wiped``: all is
    gone, and Kafka's cluster id is the same or another one. ``rewinds``: just before it consumers
    go back, and commit that.
    """

    at: float
    active: bool
    how: str
    back_s: float | None
    mirror_s: float
    switches: int
    loses: int = 0
    wiped: str = ""
    rewinds: bool = False

    @property
    def abrupt(self) -> bool:
        """Whether it strikes whatever is under way."""
        return int(self.at * 1e6) % 2 == 0


def draw_disaster(sim: Scheduler) -> Disaster:
    """Draw what happens in a run of the unplanned world."""
    rng = sim.rng
    active = rng.random() < 0.85
    how = rng.choice(("kill", "kill", "kill", "pause", "pause", "alive" if active else "pause"))
    back_s = rng.choice((None, rng.uniform(0.3, 12.0)))
    if not active:
        back_s = rng.uniform(0.3, 8.0)
    mirror_s = rng.choice((0.0, 0.0, 0.0, 0.3, 2.0))
    switches = rng.choice((0, 1, 1, 2)) if active and back_s is not None else 0
    loses = rng.choice((0, 0, 0, 0, 2, 30)) if how == "kill" and active else 0
    own = random.Random(f"wiped {sim.seed}")  # apart: the other seeds stay the runs that they were
    wiped = own.choice(("", "", "same", "other")) if how == "kill" and active and not loses else ""
    at = rng.uniform(2.5, 8.0)
    return Disaster(at, active, how, back_s, mirror_s, switches, loses, wiped)


class Disasters:
    """Lets the disaster of a plan happen; half of them not while a planned switch is under way."""

    def __init__(self, world: World, disaster: Disaster) -> None:
        self._world, self._disaster = world, disaster
        self.happened = False
        self.before: Callable[[], None] = lambda: None
        self.silent = self.unwanted = ""
        world.sim.after(max(0.0, disaster.at - disaster.mirror_s), self._stop_mirror)
        world.sim.after(disaster.at, self._strike)

    def _stop_mirror(self) -> None:
        mirror, disaster = self._world.mirror, self._disaster
        if disaster.mirror_s:
            mirror.stopped_until = max(mirror.stopped_until, disaster.at + 0.1)

    @property
    def awaited(self) -> bool:
        """Whether it is still to come, or the cluster will come back and something follows then."""
        if not self.happened:
            return True
        returns = self._disaster.switches > 0
        return returns and not self._world.clusters[self.silent].answers

    @property
    def switches_due(self) -> bool:
        """Whether switches follow, now that the cluster is back."""
        state = self._world.state()
        if not state.unplanned or self.awaited or not self._world.replays_read:
            return False
        return state.epoch.counter - state.unplanned[-1] < self._disaster.switches

    def _strike(self) -> None:
        world, disaster = self._world, self._disaster
        if world.moving and not self._disaster.abrupt:
            world.sim.after(0.3, self._strike)
            return
        if world.moving:
            world.count("disasters in the middle of a switch")
        if disaster.rewinds:
            self.before()
        world.sim.after(_REWIND_S if disaster.rewinds else 0.0, self._fall)

    def _fall(self) -> None:
        world, disaster = self._world, self._disaster
        self.happened = True
        active = world.state().active
        alias = active if disaster.active else world.other(active)
        cluster = world.clusters[alias]
        self.silent = alias
        side = "active" if disaster.active else "standby"
        living = disaster.how == "alive"
        told = f"{disaster.how}s of the {side} cluster"
        world.count("active cluster given up alive" if living else told)
        if disaster.how == "alive":
            self.unwanted = alias
            return
        world.fell[alias] = world.stamp
        if disaster.active:
            world.lost(alias)
        if disaster.how == "kill":
            cluster.kill()
        else:
            cluster.pause()
        if disaster.back_s is not None:
            world.sim.after(disaster.back_s, lambda: self._return(cluster))

    def _return(self, cluster: Cluster) -> None:
        """Come back, without the end of the logs if everybody has gone on without it by then."""
        world, loses, wiped = self._world, self._disaster.loses, self._disaster.wiped
        known = world.epoch > 1 and world.sim.now - world.epoch_since > _KNOWN_S
        known = known and bool(world.state().unplanned) and not world.counts["cuts after a commit"]
        # who writes on where offsets begin again cannot know that they were other records'
        known = known and all(n >= world.epoch for p, n in world.heard.items() if p.alive)
        if wiped and known:
            world.count("returns empty")
            cluster.wipe(cluster.ident if wiped == "same" else f"another {cluster.alias}")
            world.mirror.wiped(cluster.alias)
        elif loses and known:
            world.count("returns without a tail")
            cluster.truncated = True
            for topic, logs in cluster.logs.items():
                for log in logs if topic in world.plan.topics else ():
                    log.truncate(max(0, log.end - world.sim.rng.randrange(loses + 1)))
        cluster.come_back()
