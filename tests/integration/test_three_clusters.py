"""Three real clusters: LEFT dies while RIGHT's copy is shorter than THIRD's."""

import logging
import os
from collections.abc import Iterator

import pytest
from application import Application
from disaster import rejoin, switched, work_on

from clientlib.protocol.errors import RemoteError
from clientlib.protocol.state import merge
from clientlib.protocol.types import Partition
from failover.core.result import ExitCode
from failover.engine import connect
from failover.lab.lab import Lab
from failover.lab.processes import wait_until

log = logging.getLogger("tests.three")
ALIASES = ("LEFT", "RIGHT", "THIRD")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Three clusters, each copied to each; a lab that was given serves only if it has them."""
    kept = os.environ.get("FAILOVER_TEST_LAB")
    if kept and Lab.open(kept).aliases == ALIASES:
        yield Lab.open(kept)
        return
    with Lab.create(tmp_path_factory.mktemp("three") / "files", ALIASES) as running:
        yield running


@pytest.fixture
def partitions() -> int:
    return 2


def ends(app: Application, alias: str) -> int:
    """Return how many records of LEFT a cluster holds, as soon as it answers."""
    found: list[int] = []
    wait_until(lambda: asked(app, alias, found), timeout_s=60, what=f"{alias} does not answer")
    return found[-1]


def asked(app: Application, alias: str, found: list[int]) -> bool:
    """Ask once: a broker that stood still is fenced, and has no leaders for a while."""
    name = app.topic if alias == "LEFT" else f"LEFT.{app.topic}"
    parts = [Partition(name, number) for number in range(app.partitions)]
    with connect(app.settings) as orchestrator:
        try:
            found.append(sum(orchestrator.ports.admin.ends(alias, parts).values()))
        except RemoteError as error:
            log.info("%s cannot be asked: %s", alias, error)
            return False
        return alias in orchestrator.ports.store.views([alias])


def lose_left_while_right_is_behind(app: Application, records: int = 600) -> None:
    """RIGHT stands still while THIRD gets more of LEFT; then the mirror dies, and LEFT."""
    before = ends(app, "RIGHT")
    app.lab.pause("RIGHT")
    try:
        wait_until(
            lambda: ends(app, "THIRD") > before + records, timeout_s=60, what="THIRD copies nothing"
        )
        work_on(3.0)  # producers learn what THIRD holds, and forget it
        app.lab.kill("mm2")
        app.lab.kill("LEFT")
    finally:
        app.lab.resume_process("RIGHT")
    assert ends(app, "RIGHT") >= before


def bring_back(app: Application) -> None:
    app.lab.start("LEFT")
    wait_until(lambda: started(app, "mm2"), timeout_s=120, what="MirrorMaker 2 does not start")


def started(app: Application, name: str) -> bool:
    """Start a process; a cluster that has just come back may not answer the lab at once."""
    try:
        app.lab.start(name)
    except RemoteError as error:
        log.info("%s is not started yet: %s", name, error)
        return False
    return True


def test_the_shorter_copy_is_refused_the_longest_one_loses_nothing(app: Application) -> None:
    app.produce(2, rate=150)
    app.consume(2, commit="batch")
    app.wait_flowing()
    try:
        lose_left_while_right_is_behind(app)
        behind = ends(app, "THIRD") - ends(app, "RIGHT")
        log.info("RIGHT is %d records behind THIRD", behind)
        assert behind > 0
        with connect(app.settings, timeout_s=3.0) as orchestrator:
            refused = orchestrator.switch(app.request("RIGHT", emergency=True))
        assert (refused.exit_code, refused.changed) == (ExitCode.DATA_LOSS, False), refused
        (finding,) = (f for f in refused.findings if f.id == "longer-copy")
        assert f"holds {behind:,} records of LEFT that RIGHT lacks" in finding.what
        assert refused.remedy.startswith("failover switch --to THIRD --emergency")
        with connect(app.settings, timeout_s=3.0) as orchestrator:
            short = orchestrator.switch(app.request("RIGHT", emergency=True, max_lost=behind - 1))
        assert (short.exit_code, short.measured["lost_at_most"]) == (8, behind), short
        app.note_epoch_of("THIRD")
        with connect(app.settings, timeout_s=3.0) as orchestrator:
            done = orchestrator.switch(app.request("THIRD", emergency=True, max_lost=0))
        switched(done)
        app.active = "THIRD"
        assert any(w.startswith(f"RIGHT: LEFT.{app.topic}") for w in done.warnings), done
    finally:
        bring_back(app)
    switched(app.switch("RIGHT", retry_s=120))
    verdict = app.finish()
    assert verdict.ok, verdict.to_json()


def test_a_shorter_copy_is_accepted_and_what_the_other_had_comes_late_with_left(
    app: Application,
) -> None:
    app.produce(2, rate=150)
    app.consume(2, commit="batch")
    app.wait_flowing()
    try:
        lose_left_while_right_is_behind(app)
        behind = ends(app, "THIRD") - ends(app, "RIGHT")
        result = app.emergency("RIGHT")
        switched(result)
        assert any(f"THIRD holds {behind:,} records" in w for w in result.warnings), result
        with connect(app.settings) as orchestrator:
            known = merge(orchestrator.ports.store.views(["THIRD"]).values())
        found = known.ledger[app.topic][1].ends
        assert found["THIRD"] == found["RIGHT"], "both copies begin and go on alike"
    finally:
        bring_back(app)
    back = rejoin(app)
    log.info("rejoined: %s", back.message)
    assert back.exit_code == ExitCode.OK, back
    switched(app.switch("THIRD", retry_s=120))
    switched(app.switch("LEFT", retry_s=120))
    verdict = app.finish()
    bad = (verdict.lost, verdict.skipped, verdict.phantoms, verdict.repeated)
    assert bad == (0, 0, 0, 0), verdict.to_json()
