"""`simulate(seed)`: one run of the world, judged by the same checkers as everything else."""

from __future__ import annotations

import traceback
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from unittest.mock import patch

from clientlib import producer as producer_module
from clientlib.io import fast_path as fast_path_module
from clientlib.io import intake as intake_module
from clientlib.io import registry as registry_module
from clientlib.io import reports as reports_module
from clientlib.io import rescue as rescue_module
from failover.checkers import Committed, Expected, History, Verdict, judge
from tests.simulation.clock import Process, Scheduler, SimClock, StuckError
from tests.simulation.consumer_app import ConsumerApp
from tests.simulation.disasters import Disasters
from tests.simulation.producer_app import ProducerApp, handle_of
from tests.simulation.tool import Operator
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.faults import GroupSpec

MOST_S = 90.0
DRAIN_S = 120.0
QUIET_MODES = frozenset({"auto", "each", "batch", "stored", "offsets"})


@dataclass(slots=True)
class Result:
    """What a seed came to; ``failure`` is empty when it is as it should be."""

    seed: int
    failure: str = ""
    history: History = field(default_factory=History)
    verdict: Verdict | None = None
    strict: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    trace: list[str] = field(default_factory=list)


class Run:
    """The actors of one seed."""

    def __init__(self, seed: int, *, keep_trace: bool, unplanned: bool) -> None:
        self.sim = Scheduler(seed, keep_trace=keep_trace)
        self.world = World(self.sim, unplanned=unplanned)
        self.sim.log("plan", str(self.world.plan))
        self.slots: dict[str, list[ConsumerApp]] = {}
        self.gone: set[str] = set()
        self.serial = 0
        self.producers: list[ProducerApp] = []

    def begin(self) -> None:
        sim, plan = self.sim, self.world.plan
        for number in range(plan.producers):
            self.producers.append(ProducerApp(self.world, f"p{number + 1}"))
        for spec in plan.groups:
            self.slots[spec.name] = []
            for at in range(spec.members):
                sim.after(spec.born + sim.between(0.0, 0.5), lambda s=spec, a=at: self.start(s, a))
        self._plan_faults()
        if plan.disaster is not None:
            self.world.disasters = Disasters(self.world, plan.disaster)
            self.world.disasters.before = self._rewind
        self.operator = Operator(self.world)

    def _plan_faults(self) -> None:
        sim, plan = self.sim, self.world.plan
        span = 6.0 * plan.switches + 4.0
        for _ in range(plan.consumer_faults):
            sim.after(sim.between(1.0, span), self._consumer_fault)
        for _ in range(plan.producer_faults):
            sim.after(sim.between(1.0, span), self._producer_fault)
        for _ in range(plan.mirror_stops):
            sim.after(sim.between(1.0, span), self._mirror_fault)
        for part, seconds in plan.mirror_kills:
            sim.after(1.0 + part * (span - 1.0), lambda s=seconds: self._mirror_kill(s))
        for part, times in plan.topic_changes:
            sim.after(1.0 + part * (span - 1.0), lambda n=times: self._topics_change(n))
        for _ in range(plan.network_faults):
            sim.after(sim.between(1.0, 12.0), self._network_fault)

    def start(self, spec: GroupSpec, at: int) -> None:
        self.serial += 1
        name = f"{spec.name}-c{self.serial}"
        mode = spec.modes[at % len(spec.modes)]
        self.slots[spec.name].append(ConsumerApp(self.world, name, spec, mode))

    # -- faults ----------------------------------------------------------------------------

    def _consumer_fault(self) -> None:
        sim, rng = self.sim, self.sim.rng
        if self.world.faults.over:
            return
        spec = rng.choice(self.world.plan.groups)
        living = self.living(spec)
        what = rng.choice(("crash", "crash", "stall", "stall", "join", "leave", "restart"))
        if what == "join" or not living:
            self.start(spec, len(living))
            self.world.count("joins")
            return
        victim = rng.choice(living)
        if what == "stall":
            victim.stall(rng.choice((2.5, 9.0, 9.0, 14.0)))
        elif what == "crash":
            victim.process.fuse = rng.choice((1, 3, 10, 40, 150))
            sim.after(sim.between(0.5, 9.0), lambda: self.start(spec, 0))
        elif what == "leave" and len(living) > 1:
            victim.close()
            self.world.count("leaves")
        else:
            for one in living:
                one.close()
            self.world.count("restarts")
            for at in range(len(living)):
                sim.after(sim.between(0.1, 3.0), lambda a=at: self.start(spec, a))

    def _producer_fault(self) -> None:
        if self.world.faults.over:
            return
        victim = self.sim.rng.choice(self.producers)
        if self.sim.chance(0.3) and victim.process.alive:
            victim.kill()
            self.producers.append(ProducerApp(self.world, f"p{len(self.producers) + 1}"))
        else:
            victim.stall(self.sim.between(0.5, 5.5))

    def _network_fault(self) -> None:
        """One process and one cluster do not reach each other for a while."""
        sim, rng = self.sim, self.sim.rng
        consumers = [app for spec in self.world.plan.groups for app in self.living(spec)]
        producers = [app for app in self.producers if app.process.alive]
        if self.world.faults.over or not (consumers or producers):
            return
        alias, victim = rng.choice(tuple(self.world.clusters)), rng.choice(consumers + producers)
        seconds = rng.choice((0.5, 3.0, 9.0, 15.0))
        self.world.count("network cuts")
        sim.log(victim.process.name, f"does not reach {alias} for {seconds} s")
        if victim in producers:
            seconds = min(seconds, 5.0)  # a registration that ends is not waited for
        victim.cut(alias, seconds)

    def _rewind(self) -> None:
        for spec in self.world.plan.groups:
            for app in self.living(spec):
                app.rewind()

    def _mirror_fault(self) -> None:
        if not self.world.faults.over:
            self.world.count("mirror stops")
            self.world.mirror.stopped_until = self.sim.now + self.sim.between(0.5, 6.0)

    def _mirror_kill(self, seconds: float) -> None:
        if not self.world.faults.over:
            self.world.count("mirror kills")
            self.world.mirror.kill(seconds)

    def _topics_change(self, times: int) -> None:
        """What the groups of a cluster subscribe to changes some times within two seconds."""
        sim = self.sim
        cluster = sim.rng.choice(tuple(self.world.clusters.values()))
        if self.world.faults.over:
            return
        self.world.count("topic changes", times)
        for group in cluster.groups.values():
            for _ in range(times):
                sim.after(sim.between(0.0, 2.0), group.refresh)

    # -- the end ---------------------------------------------------------------------------

    def living(self, spec: GroupSpec) -> list[ConsumerApp]:
        apps = self.slots[spec.name]
        return [app for app in apps if app.process.alive and not app.closed]

    def calm(self) -> None:
        """Faults are over: every group has a member that lives."""
        for app in (app for apps in self.slots.values() for app in apps):
            app.process.fuse = None
        for spec in self.world.plan.groups:
            if not self.living(spec):
                self.start(spec, 0)
        for producer in self.producers:
            producer.stopped = True

    def expected(self) -> list[Expected]:
        history = self.history
        found = []
        for spec in self.world.plan.groups:
            since = float("-inf")
            if spec.policy == "latest":
                since = _first_vectors(history.committed, spec, self.world.plan.topics)
                since = max(since, self._reset_again(spec))
            found.append(Expected(spec.name, since=since, but=self._lost_alone()))
        return found

    def _reset_again(self, spec: GroupSpec) -> float:
        """Return until when a group may have begun anew at ``latest``.

        A member that crashed before its first report leaves nothing, where a cluster is lost.
        """
        if self.world.plan.disaster is None:
            return float("-inf")
        return self.world.resets.get(spec.name, -1.0) + 1.0

    def _lost_alone(self) -> frozenset[tuple[str, int]]:
        """Return what a lost cluster held alone and whose producer died before writing it again."""
        if self.world.plan.disaster is None:
            return frozenset()
        dead = {p.process.name for p in self.producers if not p.process.alive}
        return frozenset(
            (acked.producer, acked.seq)
            for acked in self.history.acked
            if acked.producer in dead
            and self.world.lost_alone(acked.cluster, acked.topic, acked.partition, acked.offset)
        )

    @property
    def strict(self) -> bool:
        """Whether nothing happened after which a repeat is right."""
        plan, faults, counts = self.world.plan, self.world.faults, self.world.counts
        calm = not any(
            counts[k]
            for k in ("consumer crashes", "consumer stalls", "joins", "leaves", "network cuts")
        )
        modes = {app.mode for apps in self.slots.values() for app in apps}
        return (
            calm
            and not counts["restarts"]
            and faults.commit_rate == 0
            and modes <= QUIET_MODES
            and all(spec.members == 1 for spec in plan.groups)
        )


def _first_vectors(
    committed: tuple[Committed, ...], spec: GroupSpec, topics: dict[str, int]
) -> float:
    """Return when the last of the group's partitions had its first commits."""
    first: dict[tuple[str, int], float] = {}
    for event in committed:
        if event.group == spec.name:
            first.setdefault((event.topic.rpartition(".")[2], event.partition), event.at)
    parts = [(topic, n) for topic, count in topics.items() for n in range(count)]
    return max(first.get(part, float("inf")) for part in parts)


@contextmanager
def virtual_time(run: Run) -> Iterator[None]:
    """Let the shells that read the clock themselves read the virtual one."""
    clock = SimClock(run.sim, Process("clock"))
    with ExitStack() as stack:
        shells = (registry_module, producer_module, intake_module, reports_module, rescue_module)
        for module in shells:
            stack.enter_context(patch.object(module, "time", clock))
        for module in (intake_module, fast_path_module):
            stack.enter_context(patch.object(module, "monotonic", clock.now))
        stack.enter_context(patch.object(producer_module, "Producer", handle_of))
        yield


def simulate(
    seed: int, *, unplanned: bool = False, keep_trace: bool = False, checked: bool = True
) -> Result:
    """Run a seed and judge it. The same seed gives the same run, event for event.

    ``unplanned``: in the world in which a cluster falls silent.
    """
    run = Run(seed, keep_trace=keep_trace, unplanned=unplanned)
    result = Result(seed, counts=run.world.counts)
    with virtual_time(run):
        try:
            _play(run)
        except StuckError as error:
            result.failure = f"stuck: {error}"
        except Exception as error:  # noqa: BLE001 - a failure of the seed, like any other
            result.failure = f"raised: {error!r}"
            if keep_trace:
                result.failure += f"\n{traceback.format_exc()}"
    run.history = result.history = History.of(run.world.events)
    result.trace, result.strict = run.sim.trace, run.strict
    run.world.counts["rebalances"] = sum(
        g.rebalances for c in run.world.clusters.values() for g in c.groups.values()
    )
    run.world.counts["events"] = run.sim.events
    if run.world.counts["an empty cluster was made active"] and not result.failure:
        result.failure = "a cluster that had lost everything was made active"
    if checked:
        result.verdict = verdict = judge(
            result.history,
            groups=run.expected(),
            strict=result.strict,
            unproved=run.world.unproved(),
            show=6,
        )
        if not verdict.ok and not result.failure:
            result.failure = "; ".join(f"{a.kind}: {a.what}" for a in verdict.anomalies)
    return result


def _play(run: Run) -> None:
    run.begin()
    sim = run.sim
    while not run.operator.settled:
        sim.run_until(sim.now + 0.5)
        if sim.now > MOST_S and not run.operator.done:
            run.operator.finish()
        if sim.now > MOST_S + DRAIN_S:
            raise StuckError(f"the operator is not done at {sim.now:.0f} s")
    late = max(spec.born for spec in run.world.plan.groups) + 1.0
    sim.run_until(max(sim.now + 1.0, late))
    run.calm()
    until = sim.now + DRAIN_S
    sim.log("run", "faults are over; everything must drain")
    while not _drained(run):
        if sim.now > until:
            raise StuckError(f"not drained by {sim.now:.0f} s: {_missing(run)}")
        sim.run_until(sim.now + 0.5)
    sim.run_until(sim.now + 2.0)


def _drained(run: Run) -> bool:
    return all(p.idle for p in run.producers) and not any(run_missing(run))


def run_missing(run: Run) -> Iterator[str]:
    """Yield what a group has not been given yet, cheaply: by counting."""
    if run.world.owed:
        yield f"{len(run.world.owed)} records that a group went back for do not come again"
    run.history = History.of(run.world.events)
    for expected in run.expected():
        for producer, acked in run.history.acked_by.items():
            sent = run.history.sent_by[producer]
            got = run.history.reading.firsts.get((expected.group, producer), {})
            missing = [
                s
                for s in acked
                if s not in got
                and sent[s].at >= expected.since
                and (producer, s) not in expected.but
            ]
            if missing:
                yield f"{expected.group} lacks {len(missing)} of {producer}, first {min(missing)}"


def _missing(run: Run) -> str:
    living = [app for apps in run.slots.values() for app in apps if app.process.alive]
    seats = [
        f"{app.process.name}: {[*key.partition, key.cluster]} {seat.stage.value} {seat.why}"
        for app in living
        for key, seat in app.runtime.session.seats.items()
    ]
    return "; ".join([*run_missing(run), *seats])
