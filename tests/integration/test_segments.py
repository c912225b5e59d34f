"""A group that has not read what its target no longer holds, on real logs that were shortened."""

import pytest
from application import Application
from confluent_kafka import TopicPartition

from clientlib.protocol.types import Partition
from failover.core.result import ExitCode, Finding
from failover.engine import connect
from failover.lab.processes import wait_until


@pytest.fixture
def partitions() -> int:
    return 2


def positions(app: Application, group: str) -> dict[int, int]:
    """Return what a group has committed on LEFT."""
    with connect(app.settings) as orchestrator:
        commits = orchestrator.ports.admin.commits("LEFT", [group])[group]
    return {part.number: one.offset for part, one in commits.items() if part.topic == app.topic}


def ends(app: Application, alias: str) -> dict[int, int]:
    """Return the ends of LEFT's copies."""
    parts = [Partition(f"LEFT.{app.topic}", number) for number in range(app.partitions)]
    with connect(app.settings) as orchestrator:
        if parts[0].topic not in orchestrator.ports.admin.partitions(alias):
            return dict.fromkeys(range(app.partitions), 0)
        return {p.number: end for p, end in orchestrator.ports.admin.ends(alias, parts).items()}


def shorten(app: Application, alias: str, offsets: dict[int, int]) -> None:
    """Delete the records of LEFT's copies below these offsets, as retention would."""
    topic = f"LEFT.{app.topic}"
    wanted = [TopicPartition(topic, number, offset) for number, offset in offsets.items()]
    for future in app.admins[alias].delete_records(wanted).values():
        future.result(20)


def findings(app: Application, to: str) -> tuple[Finding, ...]:
    with connect(app.settings) as orchestrator:
        return orchestrator.plan(app.request(to)).findings


def test_a_laggard_is_refused_until_it_has_read_what_the_copy_has_lost(app: Application) -> None:
    app.produce(1, rate=300)
    app.consume(1, commit="batch")
    (slow,) = app.consume(1, group="slow", commit="message")
    wait_until(lambda: slow.count > 50, timeout_s=60, what="nothing is read")
    app.stop([slow])
    assert slow.error is None, slow.error
    stands = positions(app, app.group("slow"))
    wait_until(
        lambda: all(end > stands[n] + 100 for n, end in ends(app, "RIGHT").items()),
        timeout_s=60,
        what="the group does not lag enough",
    )
    before = findings(app, "RIGHT")
    assert "segment-missing" not in {f.id for f in before}, before
    shorten(app, "RIGHT", {0: stands[0] + 100, 1: stands[1]})
    (finding,) = (f for f in findings(app, "RIGHT") if f.id == "segment-missing")
    assert finding.subject == f"group {app.group('slow')}"
    assert "has not read 100 records" in finding.what
    assert f"{app.topic}[0] {stands[0]}..{stands[0] + 99}" in finding.what
    with connect(app.settings) as orchestrator:
        refused = orchestrator.switch(app.request("RIGHT"))
    assert (refused.exit_code, refused.changed) == (ExitCode.REFUSED, False), refused
    assert "segment-missing" in refused.message
    app.consume(1, group="slow", commit="message")
    app.wait_flowing()
    done = app.switch("RIGHT")
    assert (done.exit_code, done.result) == (ExitCode.OK, "switched"), done
    verdict = app.finish()
    assert verdict.ok, verdict.to_json()
