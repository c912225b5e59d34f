"""What people see, to the letter, at 100 columns and without colour.

After a wanted change: ``FAILOVER_UPDATE=1 pytest tests/cli/test_render.py``, then read the diff.
"""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from clientlib.settings import Settings
from failover.cli import documents, render, render_run
from failover.core.estimate import Estimate
from failover.core.findings import findings
from failover.core.plan import make_plan
from failover.core.result import ExitCode, RunResult, StepRecord, SwitchRequest
from failover.core.rules.case import case
from failover.core.snapshot import ClusterSnapshot, Snapshot
from failover.core.unplanned import outlook, with_outlook

EXPECTED = Path(__file__).with_name("expected")
WIDTH = 100


def text(shown: RenderableType) -> str:
    console = Console(width=WIDTH, no_color=True, highlight=False, force_terminal=False)
    with console.capture() as captured:
        console.print(shown)
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


def check(name: str, shown: RenderableType) -> None:
    printed = text(shown)
    assert max(map(len, printed.splitlines())) <= WIDTH
    file = EXPECTED / f"{name}.txt"
    if os.environ.get("FAILOVER_UPDATE"):
        file.write_text(printed)
    assert printed == file.read_text()


def test_status(snapshot: Snapshot, settings: Settings) -> None:
    found = findings(snapshot, settings)
    check("status", render.status(documents.status(snapshot, settings, found), found))


def clients(snapshot: Snapshot) -> RenderableType:
    return render.clients(
        {
            "active": "LEFT",
            "registered_on": documents.registered_on(snapshot),
            "clients": documents.clients(snapshot),
        }
    )


def test_clients(snapshot: Snapshot) -> None:
    check("clients", clients(snapshot))


def test_clients_of_a_dead_cluster_are_those_that_are_registered_elsewhere(
    snapshot: Snapshot,
) -> None:
    """Who has to decide about what may be lost looks for the ids that the estimate names."""
    left, right = snapshot.clusters["LEFT"], snapshot.clusters["RIGHT"]
    dead = replace(left, reachable=False, clients={})
    there = replace(right, clients=left.clients)
    told = text(clients(replace(snapshot, clusters={"LEFT": dead, "RIGHT": there})))
    assert "LEFT does not answer; on RIGHT" in told
    assert all(ident in told for ident in left.clients)
    nobody = replace(right, clients={})
    told = text(clients(replace(snapshot, clusters={"LEFT": dead, "RIGHT": nobody})))
    assert "LEFT does not answer; on RIGHT: no client is registered" in told


def test_who_is_active_is_not_known_where_nobody_answers(
    snapshot: Snapshot, settings: Settings
) -> None:
    gone = {a: replace(c, reachable=False) for a, c in snapshot.clusters.items()}
    silent = replace(snapshot, clusters=gone, view=replace(snapshot.view, state=None))
    told = text(render.headline(documents.status(silent, settings, ())))
    assert "no cluster answers" in told
    assert "initialised" not in told


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("plan", SwitchRequest("default", "RIGHT", timeout_s=20)),
        ("plan-refused", SwitchRequest("default", "RIGHT", expect_active="RIGHT")),
        ("plan-unchanged", SwitchRequest("default", "LEFT")),
    ],
)
def test_plan(name: str, request_: SwitchRequest, snapshot: Snapshot, settings: Settings) -> None:
    found = findings(snapshot, settings, request_)
    naming = case(snapshot, settings, request_).naming
    scope = settings.scope("default")
    made = make_plan(snapshot, request_, scope, naming, settings.flows, found)
    check(name, render_run.plan(made, documents.groups(snapshot), request_.timeout_s))


@pytest.mark.parametrize("answers", [False, True])
def test_plan_of_an_emergency(answers: bool, snapshot: Snapshot, settings: Settings) -> None:
    gone = ClusterSnapshot("LEFT", reachable=False, error="is given up, and was not asked")
    seen = replace(snapshot, clusters={**snapshot.clusters, "LEFT": gone})
    request = SwitchRequest("default", "RIGHT", emergency=True)
    found = findings(seen, settings, request)
    naming = case(seen, settings, request).naming
    made = make_plan(seen, request, settings.scope("default"), naming, settings.flows, found)
    lost = Estimate(None, "checkout-1 lived until shortly before and cannot write again")
    made = with_outlook(made, request, outlook(request, lost, answers=answers))
    name = "plan-emergency-alive" if answers else "plan-emergency"
    check(name, render_run.plan(made, documents.groups(seen), request.timeout_s))


def test_preflight(snapshot: Snapshot, settings: Settings) -> None:
    request = SwitchRequest("default", "RIGHT", expect_active="RIGHT")
    found = findings(snapshot, settings, request)
    document = documents.preflight("default", "LEFT", "RIGHT", found, ())
    check("preflight", render.preflight(document, found))


def test_run() -> None:
    steps = (
        StepRecord("close", "ask the producers to finish", "done", 1000, 1012),
        StepRecord(
            "copy", "wait until RIGHT holds every record", "undone", 1012, 31_000, "orders[1]"
        ),
        StepRecord("commit", "make RIGHT active"),
    )
    result = RunResult(
        run="r1",
        scope="default",
        source="LEFT",
        target="RIGHT",
        epoch=1,
        changed=False,
        result="rolled-back",
        exit_code=ExitCode.TIMED_OUT,
        steps=steps,
        measured={"closed_ms": 30_020},
        message="LEFT stays active, epoch 1; timed-out; still missing: orders[1]",
    )
    check("run-rolled-back", render_run.run(result))
    document = {"runs": [documents.run(result)]}
    check("history", render.history(document))


@pytest.mark.parametrize(
    ("milliseconds", "shown"),
    [
        (None, "never"),
        (0, "0.0 s ago"),
        (9_999, "10.0 s ago"),
        (10_000, "10 s ago"),
        (119_000, "119 s ago"),
        (120_000, "2 min ago"),
        (7_200_000, "2 h ago"),
        (172_800_000, "2 d ago"),
    ],
)
def test_age(milliseconds: int | None, shown: str) -> None:
    assert render.age(milliseconds) == shown
