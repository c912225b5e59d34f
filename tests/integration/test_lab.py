"""The lab on real Kafka: what it promises to the tests and demos that stand on it."""

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from clientlib.protocol.errors import ConfigurationError, RemoteError
from failover.lab.lab import Lab
from failover.lab.processes import identify, processes_with_argument, wait_until

pytestmark = pytest.mark.lab


@pytest.fixture
def restored(lab: Lab) -> Iterator[Lab]:
    """The session's lab, with every process running again afterwards."""
    yield lab
    for name in lab.names:
        if name in _running(lab):
            lab.resume_process(name)
    lab.up()


def _running(lab: Lab) -> dict[str, int]:
    status = lab.status()
    pids = {cluster.alias: cluster.pid for cluster in status.clusters}
    if status.mm2 is not None:
        pids["mm2"] = status.mm2.pid
    return {name: pid for name, pid in pids.items() if pid is not None}


def _topic(lab: Lab, alias: str = "LEFT", partitions: int = 3) -> str:
    name = f"orders-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": lab.bootstrap(alias)})
    for future in admin.create_topics([NewTopic(name, partitions, 1)]).values():
        future.result(timeout=30)
    return name


def _produce(lab: Lab, alias: str, topic: str, value: bytes, *, partition: int = 0) -> Message:
    delivered: list[Message] = []
    producer = Producer({"bootstrap.servers": lab.bootstrap(alias), "acks": "all"})
    producer.produce(
        topic,
        value,
        key=b"key",
        partition=partition,
        timestamp=1_700_000_000_123,
        headers=[("kind", b"test"), ("empty", None)],
        on_delivery=lambda error, message: delivered.append(message) if error is None else None,
    )
    assert producer.flush(30) == 0
    return delivered[0]


def _read(
    lab: Lab, alias: str, topic: str, count: int, *, partition: int = 0, timeout_s: float = 60
) -> list[Message]:
    consumer = Consumer(
        {
            "bootstrap.servers": lab.bootstrap(alias),
            "group.id": f"read-{uuid.uuid4().hex}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
    found: list[Message] = []
    try:
        wait_until(  # MirrorMaker 2 makes a copy's topic at its next refresh
            lambda: consumer.list_topics(topic, timeout=10).topics[topic].error is None,
            timeout_s=120,
            what=f"{alias} has no topic {topic}",
        )
        consumer.assign([TopicPartition(topic, partition, 0)])
        deadline = time.monotonic() + timeout_s
        while len(found) < count and time.monotonic() < deadline:
            message = consumer.poll(0.1)
            if message is not None and message.error() is None:
                found.append(message)
    finally:
        consumer.close()
    return found


def test_up_gives_two_clusters_that_answer_and_mm2(lab: Lab) -> None:
    status = lab.status()
    assert status.healthy
    assert [cluster.alias for cluster in status.clusters] == ["LEFT", "RIGHT"]
    assert set(_running(lab)) == {"LEFT", "RIGHT", "mm2"}
    assert lab.config_path.exists()


def test_up_again_changes_nothing(lab: Lab) -> None:
    before = _running(lab)
    assert Lab.create(lab.directory).up() is False
    assert _running(lab) == before


@pytest.mark.parametrize(("source", "target"), [("LEFT", "RIGHT"), ("RIGHT", "LEFT")])
def test_mm2_copies_a_record_as_it_is(lab: Lab, source: str, target: str) -> None:
    topic = _topic(lab, source)
    written = _produce(lab, source, topic, b"value", partition=2)
    (copy,) = _read(lab, target, f"{source}.{topic}", 1, partition=2)
    assert (copy.key(), copy.value()) == (b"key", b"value")
    assert copy.headers() == [("kind", b"test"), ("empty", None)]
    assert copy.timestamp() == written.timestamp() == (1, 1_700_000_000_123)
    assert copy.partition() == 2


def test_a_killed_broker_comes_back_with_its_records_and_mm2_goes_on(restored: Lab) -> None:
    lab, topic = restored, _topic(restored)
    _produce(lab, "LEFT", topic, b"before")
    former = _running(lab)["LEFT"]
    lab.kill("LEFT")
    assert identify(former) is None
    (left, right) = lab.status().clusters
    assert (left.alive, left.reachable, right.reachable) == (False, False, True)

    assert lab.start("LEFT") is True
    assert lab.status().clusters[0].reachable
    assert lab.status().clusters[0].bootstrap == left.bootstrap
    _produce(lab, "LEFT", topic, b"after")
    assert [m.value() for m in _read(lab, "LEFT", topic, 2)] == [b"before", b"after"]
    # MM2 may repeat what it copied before; it must reach the end.
    wait_until(
        lambda: (
            b"after" in {m.value() for m in _read(lab, "RIGHT", f"LEFT.{topic}", 9, timeout_s=2)}
        ),
        timeout_s=60,
        what="MirrorMaker 2 did not go on after LEFT came back",
    )


def test_a_killed_mm2_comes_back_and_copies(restored: Lab) -> None:
    restored.kill("mm2")
    status = restored.status()
    assert status.mm2 is not None
    assert not status.mm2.alive
    topic = _topic(restored)
    _produce(restored, "LEFT", topic, b"written while mm2 was dead")
    restored.start("mm2")
    (copy,) = _read(restored, "RIGHT", f"LEFT.{topic}", 1)
    assert copy.value() == b"written while mm2 was dead"


def test_a_paused_broker_lives_and_does_not_answer(restored: Lab) -> None:
    restored.pause("RIGHT")
    paused = restored.status().clusters[1]
    assert (paused.alive, paused.reachable) == (True, False)
    restored.resume_process("RIGHT")
    wait_until(
        lambda: restored.status().clusters[1].reachable, timeout_s=90, what="RIGHT did not go on"
    )


def test_mm2_is_not_started_without_its_clusters(restored: Lab) -> None:
    restored.kill("mm2")
    restored.kill("RIGHT")
    with pytest.raises(RemoteError, match="RIGHT does not"):
        restored.start("mm2")
    assert "mm2" not in _running(restored)


def test_unknown_names_and_other_clusters_are_refused(lab: Lab) -> None:
    with pytest.raises(ConfigurationError, match="no process 'MIDDLE'; it has LEFT, RIGHT, mm2"):
        lab.kill("MIDDLE")
    with pytest.raises(ConfigurationError, match="holds a lab of LEFT, RIGHT, mm2"):
        Lab.create(lab.directory, ("A", "B"))


def test_nothing_is_left_after_down_and_another_process_can_do_it(tmp_path: Path) -> None:
    directory = tmp_path / "second"
    second = Lab.create(directory, ("ONE",), mm2=False)
    try:
        second.up()
        (pid,) = _running(second).values()
        assert json.loads((directory / "lab.json").read_text())["schema"] == 1
        (directory / "ONE" / "pid.json").unlink()  # as if `up` was killed before it wrote it
        program = "import sys; from failover.lab.lab import Lab; Lab.open(sys.argv[1]).down()"
        subprocess.run([sys.executable, "-c", program, str(directory)], check=True, timeout=60)
        wait_until(lambda: identify(pid) is None, timeout_s=30, what="the broker survived")
        assert not directory.exists()
        assert not list(processes_with_argument(f"-Dfailover.lab={directory}"))
    finally:
        second.down()


def test_a_broker_that_cannot_start_is_reported_and_leaves_no_process(tmp_path: Path) -> None:
    wrong = {"log.retention.ms": "no number"}
    lab = Lab.create(tmp_path / "wrong", ("ONE",), mm2=False, broker_overrides=wrong)
    with pytest.raises(RemoteError, match=r"log\.retention\.ms"):
        lab.up()
    assert not list(processes_with_argument(f"-Dfailover.lab={lab.directory}"))
    lab.down()
    assert not lab.directory.exists()


def test_a_recycled_pid_is_not_killed(lab: Lab, tmp_path: Path) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        stale = Lab.create(tmp_path / "stale", ("ONE",), mm2=False)
        file = stale.directory / "ONE" / "pid.json"
        file.parent.mkdir()
        file.write_text(json.dumps({"pid": bystander.pid, "started": "ticks:1"}))
        assert not stale.status().clusters[0].alive
        stale.down()
        assert bystander.poll() is None
    finally:
        bystander.communicate(b"\n", timeout=10)
