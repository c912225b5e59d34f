"""The operator and the tool: real orchestrators, started, killed, resumed, two at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clientlib.protocol.state import Phase, merge
from failover.core.result import Finding, RunResult, SwitchRequest
from failover.core.rules.case import case
from failover.core.rules.mirror import diverged
from failover.core.snapshot import ClusterSnapshot, Snapshot, TopicInfo
from failover.core.stranded import declares
from failover.engine import Orchestrator
from failover.io.ports import Ports
from tests.simulation.clock import Killed, Process, SimClock
from tests.simulation.cluster import SCOPE, Cluster
from tests.simulation.control import Port, Sight, SimAdmin, SimReader, SimStore
from tests.simulation.world import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable

    from failover.core.fitness import Command
    from tests.simulation.disasters import Disasters
    from tests.simulation.world import World

_LEAST_PAUSE_S = 0.004
_FAILBACKS = 8


class Tool(Port):
    """One process of the tool with one command."""

    number = 0

    def __init__(
        self,
        world: World,
        command: Command,
        to: str,
        ended: Callable[[RunResult | None], None],
        *,
        emergency: bool = False,
    ) -> None:
        world.tools += 1
        process = Process(f"tool{world.tools}", on_death=self._died)
        sight = Sight()
        super().__init__(world, process, sight)
        self.process, self._ended = process, ended
        sim = world.sim
        number = world.tools
        if world.unreachable and not world.faults.over:
            sight.lacks, world.unreachable = world.unreachable, ""
            sight.until = world.cut_until[sight.lacks]
        elif sim.chance(world.plan.tool_faults / 3) and not world.faults.over:
            sight.lacks = sim.rng.choice(tuple(world.clusters))
            sight.until = sim.now + sim.between(1.0, 20.0)
            world.count("tools without sight")
        orchestrator = Orchestrator(
            SETTINGS,
            SCOPE,
            Ports(
                SimStore(world, process, sight),
                SimAdmin(world, process, sight),
                SimReader(world, process, sight),
                SimClock(sim, process),
            ),
            observe=self._observe,
            preflight=_preflight,
            new_id=lambda now_ms: f"{now_ms:015d}-{number:03d}",
        )
        timeout = sim.rng.choice((3.0, 8.0, 15.0))
        request = SwitchRequest(
            SCOPE,
            to,
            timeout_s=timeout,
            emergency=emergency,
            allow_data_loss=emergency,
            old_side_alive=emergency and sim.chance(0.5),
        )
        self.execution = orchestrator.start(command, request)
        how = " --emergency" if emergency else ""
        sim.log(process.name, f"{command} --to {to} --timeout {timeout}{how}")
        sim.after(0.0, self._step, process)

    def _died(self) -> None:
        self._world.count("tool crashes")
        run = self.execution.current
        self._world.sim.log(self.process.name, f"dies in {run.phase if run else 'no run'}")
        self._world.sim.after(0.0, lambda: self._ended(None))

    def _step(self) -> None:
        try:
            more = self.execution.turn()
        except Killed:
            return
        if more:
            pause = max(self.execution.pause_s, _LEAST_PAUSE_S)
            self._world.sim.after(pause, self._step, self.process)
            return
        result = self.execution.result
        assert result is not None
        self._world.count(f"tool: {result.result}")
        self._world.sim.log(self.process.name, f"{result.result}: {result.message}")
        self.process.on_death = None
        self.process.kill()
        self._ended(result)

    def _observe(self, without: frozenset[str] = frozenset()) -> Snapshot:
        def look() -> Snapshot:
            clusters = {
                alias: ClusterSnapshot(
                    alias,
                    reachable=cluster.answers and alias not in without,
                    cluster_id=cluster.ident if cluster.answers else "",
                    topics={
                        name: TopicInfo(tuple(0 for _ in logs), tuple(log.end for log in logs))
                        for name, logs in cluster.logs.items()
                    },
                )
                for alias, cluster in self._world.clusters.items()
            }
            view = merge(c.view for c in self._world.clusters.values() if c.answers)
            return Snapshot(SCOPE, self._world.now_ms, clusters, view=view)

        return self._call(look)


def _preflight(snapshot: Snapshot, request: SwitchRequest) -> tuple[Finding, ...]:
    """Return what is wrong with the logs; the other rules judge things that are not simulated."""
    if request.emergency:
        return ()
    return tuple(diverged(case(snapshot, SETTINGS, request)))


class Operator:
    """Switches there and back, and clears up what dead tools leave."""

    def __init__(self, world: World) -> None:
        self._world, self._sim = world, world.sim
        self._left = world.plan.switches
        self._attempts = self._failbacks = 0
        self._running = 0
        self.done = False
        self._sim.after(self._sim.between(1.5, 4.0), self._next)

    def _next(self) -> None:
        world = self._world
        if self._emergency or self._stranded:
            self._start("switch")
            return
        wanted = 1 + world.plan.switches - self._left
        if world.state().epoch.counter > wanted:
            self._left -= 1
        if self._left <= 0 or self._attempts > 3 * world.plan.switches:
            self._after_all(world.disasters)
            return
        self._attempts += 1
        self._start("switch")
        if self._sim.chance(world.plan.tool_faults / 3):
            self._sim.after(self._sim.between(0.0, 1.0), lambda: self._start("switch"))

    def _after_all(self, disasters: Disasters | None) -> None:
        """Wait for the disaster, and switch again when the cluster is back; else finish."""
        waits = disasters is not None and disasters.awaited
        unread = disasters is not None and not self._world.replays_read
        if waits or (unread and self._failbacks < _FAILBACKS):
            self._failbacks += unread and not waits
            self._sim.after(self._sim.between(0.2, 1.5), self._next)
        elif disasters is not None and disasters.switches_due and self._failbacks < _FAILBACKS:
            self._failbacks += 1
            self._world.count("switches after a return")
            self._start("switch")
        else:
            self.finish()

    def _start(self, command: Command) -> None:
        self._running += 1
        world, sim = self._world, self._sim
        stranded = command == "switch" and self._stranded
        to = world.state().active if stranded else world.other(world.state().active)
        emergency = stranded or (command == "switch" and self._emergency)
        if emergency:
            world.count("unplanned switches tried")
        tool = Tool(world, command, to, self._ended, emergency=emergency)
        if sim.chance(world.plan.tool_faults) and not world.faults.over:
            tool.process.fuse = int(sim.between(1, 14) ** sim.between(0.5, 2.0)) + 1
        elif sim.chance(world.plan.tool_faults / 4):
            sim.after(sim.between(0.0, 2.0), tool.execution.interrupt)

    def _ended(self, result: RunResult | None) -> None:
        self._running -= 1
        if self._running:
            return
        sim, faults = self._sim, self._world.faults
        if self.done:
            self._clear()
        elif result is None and not faults.over:
            command: Command = sim.rng.choice(("resume", "resume", "abort", "switch"))
            sim.after(sim.between(0.1, 4.0), lambda: self._start(command))
        else:
            sim.after(sim.between(0.3, 4.0), self._next)

    def finish(self) -> None:
        """No more faults: complete or undo what is unfinished."""
        self.done = True
        self._world.faults.over = True
        self._clear()

    def _clear(self) -> None:
        if not self._running and not self.settled:
            lost = self._stranded or not self._active.answers
            self._start("switch" if lost else "resume")

    @property
    def settled(self) -> bool:
        """Whether nothing is under way and writes are open."""
        open_ = self._world.state().phase is Phase.ACTIVE and self._active.answers
        return self.done and not self._running and open_ and not self._stranded

    @property
    def _stranded(self) -> bool:
        """Whether the other cluster is gone while groups, or the commit, still depend on it."""
        world, state = self._world, self._world.state()
        other = world.other(state.active)
        gone = not world.clusters[other].answers and self._active.answers
        return gone and (state.phase is not Phase.ACTIVE or declares(state, state.active))

    @property
    def _emergency(self) -> bool:
        """Whether the active cluster is to be given up; one that lives, not for ever."""
        world = self._world
        alias = world.state().active
        unwanted = world.disasters is not None and world.disasters.unwanted == alias
        first = not world.state().unplanned and not self.done
        return not world.clusters[alias].answers or (unwanted and first)

    @property
    def _active(self) -> Cluster:
        """The cluster that is active, whether anybody can know it or not."""
        return self._world.clusters[self._world.state().active]
