"""A cluster that is gone for good, and the empty one that comes back in its place."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from clientlib.core.duty import Committed, Vector
from clientlib.core.session import Session
from clientlib.io.watch import StateWatch, _Feed
from clientlib.protocol.errors import ConfigurationError
from clientlib.protocol.fingerprint import LogRecord
from clientlib.protocol.ledger import ClosedEpoch
from clientlib.protocol.naming import DefaultReplicationPolicy, Naming
from clientlib.protocol.progress import Progress
from clientlib.protocol.state import State, View, ledger_record
from clientlib.protocol.token import Token
from clientlib.protocol.types import Epoch, Partition
from clientlib.settings import parse
from failover.cli.errors import RefusedError
from failover.cli.failback import previous
from failover.core.result import ExitCode
from failover.engine import Orchestrator
from failover.io.kafka_admin import translated
from tests.unit.switch_world import LEFT, RIGHT, SCOPE, SETTINGS, World
from tests.unit.test_switch_engine_fake import lively

CLUSTERS = {alias: {"bootstrap.servers": f"{alias}:9092"} for alias in (LEFT, RIGHT)}
IDS = {LEFT: "l", RIGHT: "r"}


def put(world: World, state: State, rows: Mapping[int, ClosedEpoch]) -> None:
    for cluster in world.clusters.values():
        cluster.state += [ledger_record(SCOPE, "T1", row) for row in rows.values()]
        cluster.state.append((state.key(), state.value()))


@pytest.mark.parametrize("emergency", [False, True])
def test_epochs_of_a_retired_cluster_are_empty_where_nobody_has_a_copy(emergency: bool) -> None:
    """RIGHT was added after OLD was lost: only LEFT holds what OLD wrote."""
    world = lively()
    epochs = (Epoch(1, "OLD"), Epoch(2, LEFT))
    row = ClosedEpoch(epochs[0], {LEFT: {0: 5}})
    put(world, State(SCOPE, epochs, 0, clusters=IDS, unplanned=(2,)), {1: row})
    copy = [LogRecord(n, 1, None, b"old") for n in range(5)]
    world.clusters[LEFT].logs["OLD.T1"] = [copy, []]
    world.replicate()
    world.clusters[LEFT].up = not emergency
    orchestrator = Orchestrator(
        replace(SETTINGS, retired=("OLD",)),
        SCOPE,
        world.orchestrator().ports,
        observe=world.observe,
        preflight=lambda *_: (),
    )
    request = world.request(RIGHT, emergency=emergency, allow_data_loss=emergency)
    result = orchestrator.switch(request)
    assert (result.changed, result.epoch) == (True, 3), result
    ledger = world.clusters[RIGHT].view().ledger["T1"]
    assert ledger[1].ends == {LEFT: {0: 5}, RIGHT: {}}
    assert ledger[2].ends[RIGHT] == {0: 20, 1: 20}
    assert "OLD.T1" not in world.clusters[RIGHT].logs


def lost() -> World:
    world = lively()
    state = State(SCOPE, (Epoch(1, LEFT), Epoch(2, RIGHT)), 0, clusters=IDS, unplanned=(2,))
    put(world, state, {1: ClosedEpoch(Epoch(1, LEFT), {RIGHT: {0: 20, 1: 20}})})
    return world


def test_a_returned_cluster_with_another_id_is_not_taken_for_the_lost_one() -> None:
    world = lost()
    state = world.merged().state
    assert state is not None
    put(world, replace(state, revision=1, clusters={**IDS, LEFT: "before"}), {})
    back = world.orchestrator().rejoin(LEFT)
    assert (back.exit_code, back.changed) == (ExitCode.REFUSED, False)
    assert [finding.id for finding in back.findings] == ["wrong-cluster"]
    assert "retired: [LEFT]" in back.remedy


def test_a_returned_cluster_without_its_control_topics_has_lost_its_disks() -> None:
    world = lost()
    world.clusters[LEFT].state.clear()
    back = world.orchestrator().rejoin(LEFT)
    assert (back.exit_code, back.changed) == (ExitCode.REFUSED, False)
    assert [finding.id for finding in back.findings] == ["diverged"]
    assert not world.clusters[LEFT].state


@pytest.mark.parametrize("gone", [True, False])
def test_a_standby_whose_log_is_gone_or_short_has_diverged_though_nothing_is_owed(
    gone: bool,
) -> None:
    """Its epochs were all closed by planned switches, so nothing is left to compare."""
    world = lively()
    for to in (RIGHT, LEFT, RIGHT):
        assert world.orchestrator().switch(world.request(to)).exit_code == ExitCode.OK
    if gone:
        del world.clusters[LEFT].logs["T1"]
    else:
        del world.clusters[LEFT].logs["T1"][1][3:]
    back = world.orchestrator().rejoin(LEFT)
    assert [finding.id for finding in back.findings] == ["diverged"], back
    assert ("T1 is gone" if gone else "T1[1] ends at 3") in back.message


@pytest.mark.parametrize(
    ("retired", "says"),
    [("LEFT", "must be a list"), (["A.B"], "letters, digits"), ([LEFT], "needs a new alias")],
)
def test_what_cannot_be_retired(retired: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        parse({"clusters": CLUSTERS, "retired": retired}, environ={})


def test_a_file_that_does_not_name_a_cluster_that_was_active_stops_a_client() -> None:
    """It would take the copies of that cluster for nobody's, or its epochs for unread."""
    state = State(SCOPE, (Epoch(1, "OLD"), Epoch(2, LEFT)), 0)
    for retired, stops in (([], True), (["OLD"], False)):
        watch: Any = object.__new__(StateWatch)
        watch._settings = parse({"clusters": CLUSTERS, "retired": retired}, environ={})
        watch._scope, feed = SCOPE, _Feed()
        seen = watch._apply(feed, LEFT, state.key(), state.value())
        assert (seen, feed.too_new) == ((View(), True) if stops else (View(state), False))


def test_failback_goes_to_the_cluster_that_was_built_in_place_of_the_retired_one() -> None:
    state = State(SCOPE, (Epoch(1, "OLD"), Epoch(2, LEFT)), 0)
    assert previous(state, (LEFT, RIGHT)) == RIGHT
    with pytest.raises(RefusedError):
        previous(state, (LEFT, RIGHT, "THIRD"))
    assert previous(replace(state, epochs=(*state.epochs, Epoch(3, RIGHT))), (LEFT, RIGHT)) == LEFT


def test_a_cluster_that_is_back_and_has_no_leaders_yet_is_asked_again() -> None:
    """Seen half a minute after a kill, on a busy machine: it ended the switch with an error."""
    cause = KafkaException(KafkaError(KafkaError._NOENT, "Failed to query partition leaders"))
    assert translated(SETTINGS.cluster(LEFT), cause).retriable


@pytest.mark.parametrize("unplanned", [(2,), (2, 4)])
def test_a_group_that_comes_back_from_the_rebuilt_cluster_reads_nothing_of_the_retired_one(
    unplanned: tuple[int, ...],
) -> None:
    """It cannot commit there where it stands in a log that is not there. 7,848 came again."""
    epochs = (Epoch(1, "OLD"), Epoch(2, LEFT), Epoch(3, RIGHT), Epoch(4, LEFT))
    rows = {
        1: ClosedEpoch(epochs[0], {LEFT: {0: 40}, RIGHT: {}}),
        2: ClosedEpoch(epochs[1], {LEFT: {0: 9}, RIGHT: {0: 9}}),
        3: ClosedEpoch(epochs[2], {LEFT: {0: 5}, RIGHT: {0: 5}}),
    }
    naming = Naming(DefaultReplicationPolicy("."), (LEFT, RIGHT, "OLD"))
    session = Session(naming, (LEFT, RIGHT))
    session.on_state(View(State(SCOPE, epochs, 0, unplanned=unplanned), {"T1": rows}), 0.0)
    session.on_owned(LEFT, [Partition("T1", 0)], 0.0)
    (seat,) = session.seats.values()
    seat.vectors[LEFT] = Vector(LEFT, {}, frozenset({LEFT, RIGHT, "OLD"}))
    there = {LEFT: 9, RIGHT: 5}
    if 4 in unplanned:
        session._recover(seat, Progress(there, ""), {}, 0.0)
    else:
        commits = {o: Committed(at, Token(4, RIGHT)) for o, at in there.items()}
        seat.vectors[RIGHT] = Vector(RIGHT, commits, frozenset(there))
        session._take(seat, RIGHT, 0.0)
    assert seat.pending is not None
    assert seat.pending.offsets == {"OLD": 40, LEFT: 9, RIGHT: 5}
