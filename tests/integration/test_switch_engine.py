"""The orchestrator on real Kafka and real MirrorMaker 2, without wrapped clients."""

import multiprocessing
import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from clientlib.protocol.state import Phase, State, merge
from clientlib.settings import Settings, load
from failover.core import journal, report
from failover.core.machine import RunPhase
from failover.core.result import ExitCode, RunResult, SwitchRequest
from failover.engine import Orchestrator, connect
from failover.lab.lab import Lab
from failover.lab.processes import wait_until

PARTITIONS = 6
SCOPE = "default"


@pytest.fixture(scope="module")
def settings(lab: Lab) -> Settings:
    """A control plane of its own, so that other tests' state does not matter."""
    found = load(lab.config_path)
    control = replace(found.control, prefix=f"engine-{uuid.uuid4().hex[:6]}")
    scope = replace(found.scopes[SCOPE], topics=("ENGINE.*",))
    return replace(found, control=control, scopes={SCOPE: scope})


@pytest.fixture(scope="module", autouse=True)
def _initialised(lab: Lab, settings: Settings) -> None:
    admin = AdminClient({"bootstrap.servers": lab.bootstrap("LEFT")})
    wanted = [NewTopic("ENGINE1", PARTITIONS, 1), NewTopic("ENGINE-EMPTY", 2, 1)]
    for future in admin.create_topics(wanted).values():
        future.result()
    with connect(settings) as orchestrator:
        first = orchestrator.init("LEFT")
        assert (first.result, first.exit_code) == ("initialised", ExitCode.OK)
        assert orchestrator.init("LEFT").result == "unchanged"
        assert orchestrator.init("RIGHT").exit_code == ExitCode.REFUSED


@pytest.fixture
def orchestrator(settings: Settings) -> Iterator[Orchestrator]:
    with connect(settings) as found:
        yield found


def produce(lab: Lab, alias: str, count: int) -> None:
    producer = Producer({"bootstrap.servers": lab.bootstrap(alias)})
    tag = uuid.uuid4().hex[:6]
    for number in range(count):
        producer.produce("ENGINE1", key=str(number % 50), value=f"{tag}-{number}")
    assert producer.flush(10) == 0


def state(orchestrator: Orchestrator) -> State:
    found = merge(orchestrator.ports.store.views().values()).state
    assert found is not None
    return found


def other(alias: str) -> str:
    return "RIGHT" if alias == "LEFT" else "LEFT"


def request(to: str, timeout_s: float = 20.0, **more: object) -> SwitchRequest:
    # The lab's groups belong to other tests; what they look like is not this test's subject.
    ignored = ("group-sync-on", "mm2-stopped", "heartbeat-stale", "flow-stopped", "mm2-lag")
    return replace(SwitchRequest(SCOPE, to, timeout_s=timeout_s, ignore=ignored), **more)


def switch(settings: Settings, to: str, timeout_s: float = 20.0) -> RunResult:
    with connect(settings) as orchestrator:
        orchestrator._preflight = lambda snapshot, request: ()
        return orchestrator.switch(request(to, timeout_s))


def test_switches_and_fails_back_with_data_in_place(lab: Lab, settings: Settings) -> None:
    with connect(settings) as orchestrator:
        before = state(orchestrator)
    active = before.active
    for turn in range(1, 5):
        produce(lab, active, 500)
        active = other(active)
        result = switch(settings, active)
        assert (result.result, result.exit_code) == ("switched", ExitCode.OK), result
        assert result.epoch == before.epoch.counter + turn
        assert result.measured["closed_ms"] < 5_000
    with connect(settings) as orchestrator:
        views = orchestrator.ports.store.views()
        ledger = views["LEFT"].ledger["ENGINE1"]
        assert {a: v.ledger["ENGINE1"] for a, v in views.items()} == {
            "LEFT": ledger,
            "RIGHT": ledger,
        }
        first = ledger[before.epoch.counter]
        assert sum(first.ends["LEFT"].values()) >= 500
        assert first.ends["LEFT"] == first.ends["RIGHT"]
        assert "ENGINE-EMPTY" not in views["LEFT"].ledger
        told = report.reports(merge(views.values()), SCOPE)
        assert [one.result for one in told][-4:] == ["switched"] * 4


def test_is_unchanged_where_it_is(settings: Settings, orchestrator: Orchestrator) -> None:
    result = orchestrator.switch(request(state(orchestrator).active))
    assert (result.result, result.exit_code, result.changed) == ("unchanged", ExitCode.OK, False)


def test_plan_changes_nothing(orchestrator: Orchestrator) -> None:
    before = state(orchestrator)
    plan = orchestrator.plan(request(other(before.active)))
    assert (plan.source, plan.target) == (before.active, other(before.active))
    assert plan.topics["ENGINE1"] == PARTITIONS
    assert state(orchestrator) == before


def test_rolls_back_and_reopens_when_mm2_is_stopped(lab: Lab, settings: Settings) -> None:
    with connect(settings) as orchestrator:
        before = state(orchestrator)
    lab.stop("mm2")
    try:
        produce(lab, before.active, 100)
        result = switch(settings, other(before.active), timeout_s=2.0)
        assert (result.result, result.exit_code) == ("rolled-back", ExitCode.TIMED_OUT), result
        assert "ENGINE1[" in result.message
        with connect(settings) as orchestrator:
            for view in orchestrator.ports.store.views().values():
                assert view.state is not None
                assert view.state.phase is Phase.ACTIVE
                assert view.state.epoch == before.epoch
                assert view.state.revision > before.revision
    finally:
        lab.start("mm2")
    again = switch(settings, other(before.active), timeout_s=60.0)
    assert again.result == "switched", again


def test_names_a_rogue_writer_and_undoes(lab: Lab, settings: Settings) -> None:
    with connect(settings) as orchestrator:
        active = state(orchestrator).active
    stop = threading.Event()

    def write() -> None:
        producer = Producer({"bootstrap.servers": lab.bootstrap(active), "linger.ms": 0})
        while not stop.is_set():
            producer.produce("ENGINE1", value="rogue", partition=3)
            producer.flush(5)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        result = switch(settings, other(active), timeout_s=5.0)
    finally:
        stop.set()
        writer.join()
    assert result.result == "rolled-back", result
    assert result.exit_code in {ExitCode.REFUSED, ExitCode.TIMED_OUT}
    if result.exit_code is ExitCode.REFUSED:
        assert {(f.id, f.subject) for f in result.findings} == {
            ("rogue-writer", f"ENGINE1[3] on {active}")
        }
    assert switch(settings, other(active)).result == "switched"


def _die_in(settings: Settings, to: str, phase: str) -> None:
    """Body of a process of the tool that kills itself when its run enters a phase."""
    with connect(settings) as orchestrator:
        orchestrator._preflight = lambda snapshot, request: ()
        execution = orchestrator.start("switch", request(to))
        while execution.turn():
            run = execution.current
            if run is not None and run.phase == RunPhase(phase):
                os.kill(os.getpid(), signal.SIGKILL)
            orchestrator.ports.clock.sleep(execution.pause_s)


def die_in(settings: Settings, to: str, phase: RunPhase) -> None:
    process = multiprocessing.get_context("spawn").Process(
        target=_die_in, args=(settings, to, phase.value)
    )
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("phase", "moves"),
    [
        (RunPhase.QUIESCING, False),  # writes are closed, no intent
        (RunPhase.COMMITTING, True),  # the intent stands, no commit
        (RunPhase.MOVING, True),  # committed, the old side not told
    ],
)
def test_a_killed_run_is_taken_up(settings: Settings, phase: RunPhase, moves: bool) -> None:
    with connect(settings) as orchestrator:
        before = state(orchestrator)
    to = other(before.active)
    die_in(settings, to, phase)
    with connect(settings) as orchestrator:
        left = merge(orchestrator.ports.store.views().values())
        old = journal.unfinished(left, SCOPE)
        assert old is not None
        result = orchestrator.resume()
        assert result.exit_code == ExitCode.OK, result
        assert result.run == old.id
        assert state(orchestrator).active == (to if moves else before.active)
        assert state(orchestrator).phase is Phase.ACTIVE
        assert journal.unfinished(merge(orchestrator.ports.store.views().values()), SCOPE) is None


def test_abort_reopens_after_an_intent_without_commit(settings: Settings) -> None:
    with connect(settings) as orchestrator:
        before = state(orchestrator)
    die_in(settings, other(before.active), RunPhase.COMMITTING)
    with connect(settings) as orchestrator:
        result = orchestrator.abort()
        assert (result.result, result.exit_code) == ("aborted", ExitCode.OK), result
        after = state(orchestrator)
    assert (after.active, after.phase, after.epoch) == (before.active, Phase.ACTIVE, before.epoch)


def test_a_second_run_is_locked_out(settings: Settings) -> None:
    with connect(settings) as first, connect(settings) as second:
        active = state(first).active
        for one in (first, second):
            one._preflight = lambda snapshot, request: ()
        execution = first.start("switch", request(other(active)))
        while execution.current is None and execution.turn():
            first.ports.clock.sleep(execution.pause_s)
        result = second.switch(request(other(active)))
        assert (result.result, result.exit_code) == ("locked", ExitCode.LOCKED), result
        assert execution.run().result == "switched"


def test_of_two_at_once_at_most_one_switches(settings: Settings) -> None:
    """Two that start in the same instant can refuse each other; both switching they never can."""
    with connect(settings) as orchestrator:
        before = state(orchestrator)
    to = other(before.active)
    found: list[RunResult] = []
    threads = [
        threading.Thread(target=lambda: found.append(switch(settings, to))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.result for one in found].count("switched") <= 1
    assert switch(settings, to).result in {"switched", "unchanged"}
    with connect(settings) as orchestrator:
        after = state(orchestrator)
    assert (after.active, after.epoch.counter) == (to, before.epoch.counter + 1)


@pytest.mark.parametrize("phase", [RunPhase.COPYING, RunPhase.COMMITTING])
def test_ctrl_c_undoes_before_the_intent_and_completes_after_it(
    settings: Settings, phase: RunPhase
) -> None:
    with connect(settings) as orchestrator:
        orchestrator._preflight = lambda snapshot, request: ()
        before = state(orchestrator)
        execution = orchestrator.start("switch", request(other(before.active)))
        while execution.turn():
            if execution.current is not None and execution.current.phase is phase:
                break
            orchestrator.ports.clock.sleep(execution.pause_s)
        orchestrator.interrupt()
        result = execution.run()
        assert (result.result, result.exit_code) == ("interrupted", ExitCode.INTERRUPTED), result
        after = state(orchestrator)
        assert after.phase is Phase.ACTIVE
        assert (after.active == before.active) is (phase is RunPhase.COPYING)
        orchestrator.resume()


def eventually(condition: Callable[[], bool], what: str) -> None:
    wait_until(condition, timeout_s=90, what=what)


def test_the_mark_goes_with_the_run(settings: Settings) -> None:
    with connect(settings) as orchestrator:
        store = orchestrator.ports.store
        store.acquire(["LEFT", "RIGHT"])
        store.hold("run-1", ["LEFT", "RIGHT"])
        marks = lambda: {a: v.mark and v.mark.beat for a, v in store.views().items()}  # noqa: E731 - a short probe
        eventually(lambda: all((beat or 0) >= 3 for beat in marks().values()), "no beat")
        store.release()
        eventually(lambda: set(marks().values()) == {None}, "the mark stayed")
