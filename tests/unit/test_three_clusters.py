"""Unplanned switches among three clusters in memory: the longest copy, and exact moves after it."""

import pytest

from clientlib.protocol.clients import Client, Role
from clientlib.protocol.state import Phase
from failover.core.result import ExitCode, SwitchRequest
from failover.core.snapshot import Lead
from failover.survey import Survey
from tests.unit.switch_world import LEFT, RIGHT, SCOPE
from tests.unit.three_world import THIRD, ThreeWorld

TOPICS = {"T1": 1}


def lively(world: ThreeWorld) -> ThreeWorld:
    """Let the mirror copy, a producer answer and a group follow, whenever time passes."""

    def live() -> None:
        world.replicate()
        state = world.merged().state
        assert state is not None
        for alias, cluster in world.clusters.items():
            if not cluster.up:
                continue
            own = cluster.view().state
            if own is not None and own.phase is Phase.ACTIVE and own.epoch == state.epoch:
                world.register(alias, producer(state.epoch.counter))
        if world.clusters[state.active].up:
            world.quiesce("p", state.active)
            world.register(state.active, producer(state.epoch.counter, world, state.active))
        if state.phase is Phase.ACTIVE and state.epoch.counter > 1:
            world.move("g", TOPICS, state.active)

    world.on_sleep = world.on_publish = live
    return world


def producer(epoch: int, world: ThreeWorld | None = None, alias: str = "") -> Client:
    """A producer that lives and has written again what the epoch lacked."""
    known = world.clusters[alias].clients["p"].client if world is not None else None
    seen = {"seen": known.seen, "quiesced": known.quiesced} if known is not None else {}
    return Client("p", Role.PRODUCER, SCOPE, replayed=epoch, **seen)


@pytest.fixture
def world() -> ThreeWorld:
    """LEFT held 100 records and is dead; RIGHT has 90 of them, THIRD 97."""
    world = ThreeWorld(TOPICS)
    world.fill(LEFT, "T1", (f"a{n}" for n in range(100)))
    world.behind = {(LEFT, RIGHT): 10, (LEFT, THIRD): 3}
    world.replicate()
    for alias in (RIGHT, THIRD):
        world.register(alias, producer(1))
    world.clusters[LEFT].up = False
    return lively(world)


def leads(world: ThreeWorld, to: str) -> dict[str, Lead]:
    orchestrator = world.orchestrator()
    survey = Survey(orchestrator.naming, orchestrator.ports)
    seen = world.observe(frozenset({LEFT}))
    return dict(survey(seen, SwitchRequest(SCOPE, to, emergency=True)).leads)


def test_the_survey_says_who_holds_how_much_more(world: ThreeWorld) -> None:
    (right,) = leads(world, RIGHT).values()
    assert (sum(right.ahead.values()), sum(right.behind.values())) == (7, 0)
    (third,) = leads(world, THIRD).values()
    assert (sum(third.ahead.values()), sum(third.behind.values())) == (0, 7)


def test_a_copy_that_is_thousands_behind_is_found_at_its_offset() -> None:
    world = ThreeWorld(TOPICS)
    world.fill(LEFT, "T1", (f"a{n}" for n in range(5_000)))
    world.behind = {(LEFT, RIGHT): 4_000}
    world.replicate()
    (lead,) = leads(world, RIGHT).values()
    assert sum(lead.ahead.values()) == 4_000


def test_a_target_without_any_copy_lacks_everything(world: ThreeWorld) -> None:
    del world.clusters[RIGHT].logs["LEFT.T1"]
    (lead,) = leads(world, RIGHT).values()
    assert sum(lead.ahead.values()) == 97


def test_a_shorter_copy_is_refused_and_the_longer_one_is_named(world: ThreeWorld) -> None:
    refused = world.orchestrator().switch(world.request(RIGHT, emergency=True))
    assert (refused.exit_code, refused.changed) == (ExitCode.DATA_LOSS, False)
    assert refused.result == "data-loss-not-accepted"
    (finding,) = refused.findings
    assert finding.id == "longer-copy"
    assert "holds 7 records of LEFT that RIGHT lacks: T1[0] 7" in finding.what
    assert refused.remedy.startswith("failover switch --to THIRD --emergency")
    state = world.merged().state
    assert state is not None
    assert state.active == LEFT


@pytest.mark.parametrize(("most", "accepted"), [(6, False), (7, True)])
def test_the_estimate_counts_what_only_the_other_survivor_holds(
    world: ThreeWorld, most: int, accepted: bool
) -> None:
    asked = world.request(RIGHT, emergency=True, max_lost=most)
    result = world.orchestrator().switch(asked)
    assert result.measured["lost_at_most"] == 7, result
    assert "THIRD holds 7 records" in result.measured["lost_at_most_source"]
    assert (result.exit_code is ExitCode.OK) is accepted


def test_the_longest_copy_is_taken_without_a_word(world: ThreeWorld) -> None:
    result = world.orchestrator().switch(world.request(THIRD, emergency=True, max_lost=0))
    assert (result.result, result.warnings) == ("switched", ())


def test_accepted_loss_is_told_in_the_report(world: ThreeWorld) -> None:
    asked = world.request(RIGHT, emergency=True, allow_data_loss=True)
    result = world.orchestrator().switch(asked)
    assert result.result == "switched", result
    assert any("THIRD holds 7 records" in warning for warning in result.warnings)


def test_a_survivor_that_does_not_answer_makes_the_estimate_unknown(world: ThreeWorld) -> None:
    world.clusters[THIRD].up = False
    result = world.orchestrator().switch(world.request(RIGHT, emergency=True, max_lost=100))
    assert result.exit_code is ExitCode.DATA_LOSS
    assert result.measured["lost_at_most"] is None
    assert "THIRD may hold records" in result.measured["lost_at_most_source"]
