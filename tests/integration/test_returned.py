"""What a returned cluster may hold: less than its copy, or other records, or less than it held."""

import random
import shutil
from pathlib import Path

from application import Application
from confluent_kafka import Producer
from disaster import ask_for, give_up_left, rejoin, switched

from failover.core.result import ExitCode, RunResult
from failover.lab.processes import wait_until


def recreate(app: Application, records: int) -> None:
    """Delete the application's topic on LEFT, and write other records into a new one."""
    for future in app.admins["LEFT"].delete_topics([app.topic]).values():
        future.result(20)
    wait_until(
        lambda: app.topic not in app.admins["LEFT"].list_topics(timeout=5).topics,
        timeout_s=90,
        what="the topic is not gone",
    )
    app.create_topic("LEFT", app.topic)
    other = Producer({"bootstrap.servers": app.lab.bootstrap("LEFT")})
    for number in range(records):
        other.produce(app.topic, f"other {number}", str(number))
        other.poll(0)
    assert other.flush(30) == 0


def diverged(app: Application, result: RunResult) -> None:
    assert result.exit_code == ExitCode.REFUSED, result
    found = {one.id: one for one in result.findings}
    assert app.topic in found["diverged"].what, result
    assert "retired: [LEFT]" in found["diverged"].remedy, result


def failback_is_refused(app: Application) -> None:
    app.note_epoch_of("LEFT")
    refused = ask_for(app, "LEFT")
    diverged(app, refused)
    assert not refused.changed, refused


def test_a_topic_that_is_empty_or_holds_fewer_or_more_other_records_is_diverged(
    app: Application, chance: random.Random
) -> None:
    app.produce(1, rate=300)
    app.consume(1, commit="batch")
    app.wait_flowing()
    app.wait_copied()  # else nothing at all would be missing in an empty log
    try:
        give_up_left(app, chance)
    finally:
        app.lab.start("LEFT")
    for records in (0, 5, 50_000):
        recreate(app, records)
        back = rejoin(app)
        assert back.exit_code == ExitCode.REFUSED, (records, back)
        assert [f.id for f in back.findings] == ["diverged"], (records, back)
    failback_is_refused(app)


def segment_of(log: Path) -> Path:
    return max(log.glob("*.log"))


def copied_bytes(app: Application, log: Path) -> int:
    """Return a size of the log of which RIGHT has certainly copied every record."""
    wait_until(lambda: segment_of(log).stat().st_size > 0, timeout_s=60, what=f"{log} is empty")
    size = segment_of(log).stat().st_size
    app.wait_copied()
    return size


def cut(directory: Path, kept: int) -> None:
    """Cut all but so many bytes off the last segment of a log, as a disk that lost writes does.

    What the broker had derived from the log goes too, so that it recovers from what is left.
    """
    with segment_of(directory).open("r+b") as file:
        file.truncate(kept)
    for derived in (*directory.glob("*.index"), *directory.glob("*.timeindex")):
        derived.unlink()
    for snapshot in directory.glob("*.snapshot"):
        snapshot.unlink()


def test_a_log_whose_tail_the_disk_has_lost_is_diverged_until_the_disk_is_restored(
    app: Application, chance: random.Random
) -> None:
    app.produce(2, rate=300)
    app.consume(2, commit="batch")
    app.wait_flowing()
    saved = app.directory / "saved"
    log = app.lab.directory / "LEFT" / "data" / f"{app.topic}-{chance.randrange(app.partitions)}"
    copied = copied_bytes(app, log)
    try:
        give_up_left(app, chance)
        shutil.copytree(log, saved)
        cut(log, copied // 2)
    finally:
        app.lab.start("LEFT")
    back = rejoin(app)
    diverged(app, back)
    assert f"[{log.name.rpartition('-')[2]}]" in back.message, back
    failback_is_refused(app)
    app.epoch -= 1
    app.lab.kill("LEFT")
    try:
        shutil.rmtree(log)
        shutil.copytree(saved, log)
    finally:
        app.lab.start("LEFT")
    assert rejoin(app).exit_code == ExitCode.OK
    switched(app.switch("LEFT", retry_s=120))
    verdict = app.finish()
    assert verdict.ok, verdict.to_json()
