"""The state store on real Kafka: what only a real cluster can prove (its mock fences nobody)."""

import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest

from clientlib.protocol.errors import FencedError
from clientlib.protocol.state import State
from clientlib.protocol.types import Epoch
from clientlib.settings import Settings, load
from failover.engine import connect
from failover.io.ports import Status
from failover.io.state_store import KafkaStateStore
from failover.lab.lab import Lab

SCOPE = "default"
BOTH = ["LEFT", "RIGHT"]


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two clusters; MirrorMaker 2 has no part in this."""
    directory = tmp_path_factory.mktemp("store") / "files"
    with Lab.create(directory, ("LEFT", "RIGHT"), mm2=False) as running:
        yield running


@pytest.fixture
def settings(lab: Lab) -> Settings:
    found = load(lab.config_path)
    found = replace(found, control=replace(found.control, prefix=f"s-{uuid.uuid4().hex[:6]}"))
    with connect(found) as orchestrator:
        assert orchestrator.init("LEFT").result == "initialised"
    return found


def state(revision: int) -> tuple[bytes, bytes]:
    found = State(SCOPE, (Epoch(1, "LEFT"),), revision)
    return found.key(), found.value()


def test_a_zombie_is_fenced_on_both_clusters(settings: Settings) -> None:
    old, new = KafkaStateStore(settings, SCOPE), KafkaStateStore(settings, SCOPE)
    old.acquire(BOTH)
    assert all(o.done for o in old.publish({a: [state(1)] for a in BOTH}).values())
    new.acquire(BOTH)
    for alias in BOTH:
        with pytest.raises(FencedError):
            old.publish({alias: [state(2)]})
        with pytest.raises(FencedError):  # and it stays fenced
            old.publish({alias: [state(3)]})
    assert all(o.done for o in new.publish({a: [state(4)] for a in BOTH}).values())
    new.acquire(BOTH)  # settles what was acknowledged but not yet visible
    views = new.views()
    assert {a: v.state and v.state.revision for a, v in views.items()} == dict.fromkeys(BOTH, 4)
    old.close()
    new.close()


def test_of_two_at_once_exactly_one_can_write(settings: Settings) -> None:
    stores = [KafkaStateStore(settings, SCOPE) for _ in range(2)]
    threads = [threading.Thread(target=store.acquire, args=(["LEFT"],)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wrote = []
    for number, store in enumerate(stores):
        try:
            wrote.append(store.publish({"LEFT": [state(10 + number)]})["LEFT"].done)
        except FencedError:
            wrote.append(False)
    assert sorted(wrote) == [False, True]
    for store in stores:
        store.close()


def test_writing_without_the_lock_fails_and_changes_nothing(settings: Settings) -> None:
    store = KafkaStateStore(settings, SCOPE)
    outcome = store.publish({"LEFT": [state(5)]})["LEFT"]
    assert outcome.status is Status.FAILED
    view = store.views()["LEFT"]
    assert view.state is not None
    assert view.state.revision == 0
    store.close()


def test_a_reader_sees_what_another_process_has_acknowledged(settings: Settings) -> None:
    writer, reader = KafkaStateStore(settings, SCOPE), KafkaStateStore(settings, SCOPE)
    writer.acquire(BOTH)
    for revision in range(1, 30):
        writer.publish({a: [state(revision)] for a in BOTH})
        seen = {a: v.state and v.state.revision for a, v in reader.views().items()}
        assert seen == dict.fromkeys(BOTH, revision)
    writer.close()
    reader.close()


def test_a_marks_owner_is_not_fenced_by_our_own_recovery(settings: Settings) -> None:
    """A run that lost its lock must not take it back when it settles an unknown outcome."""
    ours, theirs = KafkaStateStore(settings, SCOPE), KafkaStateStore(settings, SCOPE)
    ours.acquire(BOTH)
    ours.hold("run-1", BOTH)
    theirs.acquire(BOTH)
    theirs.hold("run-2", BOTH)
    with pytest.raises(FencedError):
        ours.acquire(["LEFT"])
    assert theirs.publish({"LEFT": [state(7)]})["LEFT"].done
    theirs.release()
    ours.close()
    theirs.close()


def test_an_unreachable_cluster_is_left_out(settings: Settings) -> None:
    right = replace(settings.clusters["RIGHT"], client={"bootstrap.servers": "127.0.0.1:1"})
    broken = replace(settings, clusters={**settings.clusters, "RIGHT": right})
    store = KafkaStateStore(broken, SCOPE, timeout_s=5.0)
    assert set(store.views()) == {"LEFT"}
    outcomes = store.acquire(BOTH)
    assert outcomes["LEFT"].done
    assert outcomes["RIGHT"].status is Status.FAILED
    store.close()
