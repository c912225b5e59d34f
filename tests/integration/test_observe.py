"""The observer on real clusters: what it says is what is there."""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from clientlib.protocol.types import Partition
from clientlib.settings import Scope, Settings, load
from failover.core.snapshot import Commit, Snapshot
from failover.engine import connect
from failover.io.observe import Observer, observe
from failover.lab.lab import Lab
from failover.lab.processes import wait_until

pytestmark = pytest.mark.lab
RECORDS = 20


@pytest.fixture
def topic() -> str:
    return f"seen-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def settings(lab: Lab, topic: str) -> Settings:
    """Settings with a scope and control topics of this test alone."""
    known = load(lab.config_path)
    scopes = {"mine": Scope("mine", (topic,), (f"{topic}.*",))}
    return replace(known, scopes=scopes, control=replace(known.control, prefix=topic))


@pytest.fixture
def filled(lab: Lab, settings: Settings, topic: str) -> Iterator[Observer]:
    """A topic of two partitions on LEFT with records in the first, copied to RIGHT."""
    admin = AdminClient({"bootstrap.servers": lab.bootstrap("LEFT")})
    created = admin.create_topics([NewTopic(topic, 2, 1, config={"cleanup.policy": "compact"})])
    created[topic].result()
    producer = Producer({"bootstrap.servers": lab.bootstrap("LEFT")})
    for number in range(RECORDS):
        producer.produce(topic, key=str(number), value=b"x", partition=0)
    assert producer.flush(10) == 0
    with Observer(settings, "mine") as observer:
        yield observer


def until(observer: Observer, condition: Callable[[Snapshot], bool]) -> Snapshot:
    """Observe until the condition holds, for a minute at most."""
    deadline = time.monotonic() + 60
    while not condition(snapshot := observer.snapshot()):
        assert time.monotonic() < deadline, snapshot
    return snapshot


def copied(topic: str) -> Callable[[Snapshot], bool]:
    def holds(snapshot: Snapshot) -> bool:
        copy = snapshot.clusters["RIGHT"].topics.get(f"LEFT.{topic}")
        return copy is not None and copy.ends == (RECORDS, 0)

    return holds


def test_topics_flows_and_ids(filled: Observer, topic: str) -> None:
    snapshot = until(filled, copied(topic))
    left, right = snapshot.clusters["LEFT"], snapshot.clusters["RIGHT"]
    assert set(left.topics) == {topic}, "topics outside the scope are left out"
    assert left.topics[topic].ends == left.topics[topic].stable_ends == (RECORDS, 0)
    assert left.topics[topic].starts == (0, 0)
    assert left.topics[topic].compacted
    assert not left.topics[topic].log_append_time
    assert left.cluster_id
    assert right.cluster_id not in {"", left.cluster_id}
    assert "DESCRIBE" in (left.operations or ())
    assert left.missing_control == (f"{topic}-state.internal", f"{topic}-clients.internal")
    there, back = snapshot.flows
    assert (there.source, there.target, there.lag_records) == ("LEFT", "RIGHT", 0)
    assert set(there.lag) == {Partition(topic, 0), Partition(topic, 1)}
    assert there.settings["sync.group.offsets.enabled"] == "false"
    assert not any("password" in key or "jaas" in key for key in there.settings)
    assert back.lag == {}


def test_heartbeats_are_young_while_mirrormaker_runs(filled: Observer) -> None:
    snapshot = until(filled, lambda s: all((f.heartbeat_age_ms or 99_999) < 5_000 for f in s.flows))
    assert len(snapshot.flows) == 2


def test_group_with_members_and_metadata(filled: Observer, lab: Lab, topic: str) -> None:
    group = f"{topic}-group"
    consumer = Consumer(
        {
            "bootstrap.servers": lab.bootstrap("LEFT"),
            "group.id": group,
            "client.id": "somebody",
            "auto.offset.reset": "earliest",
        }
    )
    try:
        consumer.subscribe([topic])
        while consumer.poll(1.0) is None:
            pass
        offsets = [TopicPartition(topic, 0, 7, metadata="fo1;1;LEFT|mine")]
        consumer.commit(offsets=offsets, asynchronous=False)
        seen = until(filled, lambda s: group in s.clusters["LEFT"].groups).clusters["LEFT"]
        known = seen.groups[group]
        assert known.state == "STABLE"
        assert [m.client_id for m in known.members] == ["somebody"]
        assert set(known.members[0].assignment) == {Partition(topic, 0), Partition(topic, 1)}
        commit = known.commits[Partition(topic, 0)]
        assert (commit.offset, commit.metadata.rstrip("\0")) == (7, "fo1;1;LEFT|mine")
        assert isinstance(commit, Commit)
    finally:
        consumer.close()


def test_state_is_read_from_every_cluster(settings: Settings) -> None:
    with connect(settings, "mine") as orchestrator:
        assert orchestrator.init("LEFT").exit_code == 0
    snapshot = observe(settings, "mine")
    assert snapshot.view.state is not None
    assert snapshot.view.state.active == "LEFT"
    for alias, cluster in snapshot.clusters.items():
        assert cluster.view.state == snapshot.view.state
        assert snapshot.view.state.clusters[alias] == cluster.cluster_id
        assert cluster.missing_control == ()


def test_unreachable_cluster_is_said_and_does_not_hide_the_other(
    lab: Lab, settings: Settings
) -> None:
    nowhere = replace(settings.clusters["RIGHT"], client={"bootstrap.servers": "127.0.0.1:1"})
    broken = replace(settings, clusters={**settings.clusters, "RIGHT": nowhere})
    began = time.monotonic()
    snapshot = observe(broken, "mine", timeout_s=10.0)
    assert time.monotonic() - began < 8, "a refused connection is noticed before the timeout"
    assert snapshot.reachable == ("LEFT",)
    assert "127.0.0.1:1" in snapshot.clusters["RIGHT"].error
    assert snapshot.clusters["LEFT"].cluster_id


def test_frozen_cluster_takes_no_longer_than_the_timeout(lab: Lab, settings: Settings) -> None:
    lab.pause("RIGHT")
    try:
        began = time.monotonic()
        snapshot = observe(settings, "mine", timeout_s=2.0)
        took = time.monotonic() - began
    finally:
        lab.resume_process("RIGHT")
    assert not snapshot.clusters["RIGHT"].reachable
    assert took < 6


def test_a_question_about_groups_that_timed_out_ends_nobody_when_its_cluster_is_back(
    lab: Lab,
) -> None:
    """librdkafka freed such a request, and sent it all the same: the asking process was aborted."""
    script = Path(__file__).with_name("asks_groups.py")
    asking = subprocess.Popen(
        [sys.executable, str(script), str(lab.config_path), "LEFT"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )

    def answer() -> str:
        assert asking.stdin is not None
        assert asking.stdout is not None
        assert asking.poll() is None, f"it ended with {asking.returncode}"
        asking.stdin.write("\n")
        asking.stdin.flush()
        return asking.stdout.readline().strip()

    try:
        wait_until(lambda: answer() == "20", timeout_s=90, what="no group is described")
        lab.kill("LEFT")
        try:
            assert {answer() for _ in range(4)} <= {"TimedOutError", "ClusterUnreachableError"}
        finally:
            lab.start("LEFT")
        wait_until(lambda: answer() == "20", timeout_s=90, what="it asks in vain")
        assert [answer() for _ in range(20)] == ["20"] * 20
    finally:
        asking.communicate(timeout=30)
    assert asking.returncode == 0
