"""Unplanned switches among three clusters in memory: the longest copy, and exact moves after it."""

from dataclasses import replace

import pytest

from clientlib.protocol.clients import Client, Role
from clientlib.protocol.ledger import ClosedEpoch
from clientlib.protocol.state import Phase, State, ledger_record
from clientlib.protocol.types import Epoch, Offset
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
        alias, epoch = state.active, state.epoch.counter
        world.quiesce("p", alias)
        answered = world.clusters[alias].clients["p"].client
        world.register(alias, replace(answered, replayed=epoch))
        if state.phase is Phase.ACTIVE and epoch > 1:
            world.move("g", TOPICS, alias)

    world.on_sleep = world.on_publish = live
    return world


@pytest.fixture
def world() -> ThreeWorld:
    """LEFT held 100 records and is dead; RIGHT has 90 of them, THIRD 97."""
    world = ThreeWorld(TOPICS)
    world.fill(LEFT, "T1", (f"a{n}" for n in range(100)))
    world.behind = {(LEFT, RIGHT): 10, (LEFT, THIRD): 3}
    world.replicate()
    for alias in (RIGHT, THIRD):
        world.register(alias, Client("p", Role.PRODUCER, SCOPE, replayed=1))
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


def test_asks_nothing_ahead_when_a_cluster_does_not_answer(world: ThreeWorld) -> None:
    """Else a cluster that lets questions time out would be waited for twice."""
    world.warming_s = 0.5
    world.clusters[LEFT].up = world.clusters[THIRD].up = False
    world.orchestrator().switch(world.request(RIGHT, emergency=True, allow_data_loss=True))
    assert world.observed
    assert 0 not in world.observed


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


def test_the_longest_copy_is_taken_and_who_lacks_it_is_named(world: ThreeWorld) -> None:
    result = world.orchestrator().switch(world.request(THIRD, emergency=True, max_lost=0))
    assert result.result == "switched"
    (warning,) = result.warnings
    assert warning.startswith("RIGHT: LEFT.T1[0]: 7 records behind")
    assert ends(world, 1) == {THIRD: {0: 97}}


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


# -- the ledger of the cluster that took no part -----------------------------------------------


def ends(world: ThreeWorld, counter: int) -> dict[str, dict[int, Offset]]:
    """Return the ends of an epoch; every living cluster knows the same."""
    found = [
        {cluster: dict(by) for cluster, by in c.view().ledger["T1"][counter].ends.items()}
        for c in world.clusters.values()
        if c.up
    ]
    assert all(one == found[0] for one in found)
    return found[0]


def give_up_left(world: ThreeWorld, to: str = RIGHT) -> None:
    asked = world.request(to, emergency=True, allow_data_loss=True)
    assert world.orchestrator().switch(asked).result == "switched"


def test_the_third_cluster_knows_at_once_where_a_lost_epoch_ends(world: ThreeWorld) -> None:
    give_up_left(world)
    assert ends(world, 1) == {RIGHT: {0: 90}, THIRD: {0: 90}}


def test_a_move_to_the_third_cluster_is_exact_afterwards(world: ThreeWorld) -> None:
    give_up_left(world)
    world.fill(RIGHT, "T1", (f"b{n}" for n in range(20)))
    moved = world.orchestrator().switch(world.request(THIRD))
    assert moved.result == "switched", moved
    assert ends(world, 1) == {RIGHT: {0: 90}, THIRD: {0: 90}}
    assert ends(world, 2) == {RIGHT: {0: 20}, THIRD: {0: 20}}


def test_a_third_cluster_that_is_behind_learns_it_when_the_lost_one_is_back(
    world: ThreeWorld,
) -> None:
    world.clusters[THIRD].logs["LEFT.T1"][0][60:] = []
    give_up_left(world)
    assert ends(world, 1) == {RIGHT: {0: 90}}
    refused = world.orchestrator().switch(world.request(THIRD))
    assert refused.exit_code is ExitCode.TIMED_OUT
    assert "30 records behind" in refused.message
    world.clusters[LEFT].up, world.behind = True, {}
    moved = world.orchestrator().switch(world.request(THIRD))
    assert moved.result == "switched", moved
    assert ends(world, 1)[THIRD] == {0: 90}


def test_both_others_die_one_after_the_other(world: ThreeWorld) -> None:
    """Nobody is left to be compared with, and nothing has to be: THIRD knows the ends."""
    give_up_left(world)
    world.fill(RIGHT, "T1", (f"b{n}" for n in range(20)))
    world.replicate()
    world.clusters[RIGHT].up = False
    world.register(THIRD, Client("p", Role.PRODUCER, SCOPE, replayed=2))
    give_up_left(world, THIRD)
    assert ends(world, 1)[THIRD] == {0: 90}
    assert ends(world, 2) == {THIRD: {0: 20}}


def test_a_planned_switch_tells_the_third_cluster_too() -> None:
    world = lively(ThreeWorld(TOPICS))
    world.fill(LEFT, "T1", (f"a{n}" for n in range(50)))
    world.on_sleep()
    assert world.orchestrator().switch(world.request(RIGHT)).result == "switched"
    assert ends(world, 1) == {alias: {0: 50} for alias in (LEFT, RIGHT, THIRD)}


def both(end: Offset) -> dict[str, dict[int, Offset]]:
    return {alias: {0: end} for alias in (LEFT, RIGHT)}


@pytest.mark.parametrize("silent", ["", LEFT])
def test_what_was_written_again_is_skipped_on_the_third_cluster_too(silent: str) -> None:
    """LEFT came back with a tail that its producers had written again, and was active since."""
    world = ThreeWorld(TOPICS)
    world.fill(LEFT, "T1", (f"a{n}" for n in range(120)))
    world.fill_empty(RIGHT)
    world.fill(RIGHT, "T1", (f"b{n}" for n in range(10)))
    world.replicate()
    epochs = (Epoch(1, LEFT), Epoch(2, RIGHT), Epoch(3, LEFT), Epoch(4, RIGHT))
    state = State(SCOPE, epochs, 0, clusters={a: a[0].lower() for a in world.clusters})
    tail = ((90, 95),)
    rows = (
        ClosedEpoch(epochs[0], both(90), {LEFT: {0: tail}}),
        ClosedEpoch(epochs[1], both(10)),
        ClosedEpoch(epochs[2], both(120), {RIGHT: {0: tail}}),
    )
    for cluster in world.clusters.values():
        records = [ledger_record(SCOPE, "T1", row) for row in rows]
        cluster.state[:] = [(state.key(), state.value()), *records]
    if silent:
        world.clusters[silent].up = False
    lively(world)
    moved = world.orchestrator().switch(world.request(THIRD))
    assert moved.result == "switched", moved
    row = world.clusters[THIRD].view().ledger["T1"][3]
    assert row.ends[THIRD] == {0: 120}
    assert row.skip[THIRD] == {0: tail}


def test_what_only_one_copy_repeats_is_no_end_of_the_other() -> None:
    """MM2 was killed and had sent records 40 to 59 to RIGHT again; the ledger says so."""
    world = ThreeWorld(TOPICS)
    world.fill(LEFT, "T1", (f"a{n}" for n in range(100)))
    world.fill_empty(RIGHT)
    world.replicate()
    copy = world.clusters[RIGHT].logs["LEFT.T1"][0]
    records = [*copy[:60], *copy[40:]]
    copy[:] = [replace(record, offset=n) for n, record in enumerate(records)]
    epochs = (Epoch(1, LEFT), Epoch(2, RIGHT))
    state = State(SCOPE, epochs, 0, clusters={a: a[0].lower() for a in world.clusters})
    known = {LEFT: {0: 100}, RIGHT: {0: 120}}
    row = ClosedEpoch(epochs[0], known, {RIGHT: {0: ((60, 80),)}})
    for cluster in world.clusters.values():
        cluster.state[:] = [(state.key(), state.value()), ledger_record(SCOPE, "T1", row)]
    world.clusters[LEFT].up = False
    moved = lively(world).orchestrator().switch(world.request(THIRD))
    assert moved.result == "switched", moved
    found = world.clusters[THIRD].view().ledger["T1"][1]
    assert found.ends[THIRD] == {0: 100}
    assert THIRD not in found.skip
