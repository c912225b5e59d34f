"""Help, forms of output, refusals and exit codes; no cluster is needed for any of it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from clientlib.protocol import errors
from clientlib.protocol.records import TooNewError
from clientlib.protocol.state import View
from clientlib.settings import Settings
from failover.cli.app import app, hoisted
from failover.cli.errors import RefusedError, answer
from failover.cli.failback import previous
from failover.cli.invocation import Invocation
from failover.core.estimate import Estimate
from failover.core.findings import findings
from failover.core.plan import make_plan
from failover.core.result import ExitCode, RunResult, StepRecord, SwitchRequest
from failover.core.rules.case import case
from failover.core.snapshot import ClusterSnapshot, Snapshot
from failover.core.unplanned import outlook, with_outlook

VERBS = (
    *("init", "status", "clients", "active", "plan", "preflight", "switch", "failback"),
    *("abort", "resume", "report", "history", "config", "lab"),
)
See = Callable[[Snapshot], None]


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_has_help_with_an_example(cli: Any, verb: str) -> None:
    result = cli(verb, "--help", with_config=False)
    assert result.exit_code == 0
    assert "Usage:" in result.stdout
    if verb not in {"config", "lab"}:
        assert "Example" in result.stdout


def test_help_lists_every_command_and_loads_no_kafka_client() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from failover.cli.app import app; "
        "print(CliRunner().invoke(app, ['--help']).stdout); "
        "print('LOADED', [m for m in ('httpx', 'failover.engine', 'failover.io.observe')"
        " if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd()
    )
    assert all(verb in run.stdout for verb in VERBS)
    assert "LOADED []" in run.stdout


def test_version(cli: Any) -> None:
    assert cli("--version").stdout.startswith("failover ")


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["status", "-o", "json"], ["-o", "json", "status"]),
        (["status", "--output=json"], ["--output=json", "status"]),
        (["switch", "--to", "R", "-c", "f"], ["-c", "f", "switch", "--to", "R"]),
        (["--scope", "a", "lab", "status", "-o", "json"], None),
        (["lab", "up", "--", "-o"], None),
        (["status", "-o"], ["-o", "status"]),
    ],
)
def test_global_options_work_on_either_side(args: list[str], expected: list[str] | None) -> None:
    assert hoisted(args) == (expected or args)


# -- configuration ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("clustrs: {}", "unknown key in the file 'clustrs'; did you mean 'clusters'?"),
        ("a: [b", "is not YAML"),
        ("clusters: {LEFT: {bootstrap.servers: a}}", "at least two are needed"),
        ("clusters: {A: {}, B: {}}", "clusters.A needs bootstrap.servers"),
    ],
)
def test_wrong_configuration_is_named(config: Path, cli: Any, text: str, told: str) -> None:
    config.write_text(text)
    for command in (("status",), ("switch", "--to", "RIGHT", "--yes"), ("config", "validate")):
        result = cli(*command)
        assert result.exit_code == ExitCode.USAGE
        assert told in result.stderr
        assert "Traceback" not in result.stderr
        assert not result.stdout


def test_no_configuration_says_where_it_looked(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path / "..")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    result = CliRunner().invoke(app, ["status"], env={"FAILOVER_CONFIG": None})
    assert result.exit_code == ExitCode.USAGE
    assert "failover.yaml" in result.stderr
    assert "failover lab up" in result.stderr


@pytest.mark.parametrize("name", ["failover.yaml", ".lab/failover.yaml"])
def test_configuration_is_found_in_the_directory(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    here = tmp_path / "work"
    (here / name).parent.mkdir(parents=True)
    (here / name).write_text(config.read_text())
    monkeypatch.chdir(here)
    result = CliRunner().invoke(app, ["config", "validate"], env={"FAILOVER_CONFIG": None})
    assert result.exit_code == 0
    assert name in result.stdout


def test_config_show_hides_secrets(cli: Any) -> None:
    for form in ("table", "json", "yaml"):
        result = cli("config", "show", "-o", form)
        assert result.exit_code == 0
        assert "hunter2" not in result.stdout
        assert "***" in result.stdout


@pytest.mark.parametrize(
    "command", ["switch --to RIHGT --yes", "plan --to RIHGT", "preflight --to RIHGT"]
)
def test_unknown_alias_gets_a_suggestion(cli: Any, command: str) -> None:
    result = cli(command)
    assert result.exit_code == ExitCode.USAGE
    assert "unknown cluster 'RIHGT'; did you mean 'RIGHT'?" in result.stderr


def test_unknown_scope(cli: Any) -> None:
    result = cli("--scope", "defualt", "status")
    assert (result.exit_code, "did you mean 'default'?" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    "args", [["switch"], ["swich"], ["switch", "--to"], ["-o", "xml", "status"]]
)
def test_usage_errors_end_with_2(cli: Any, args: list[str]) -> None:
    assert cli(*args).exit_code == ExitCode.USAGE


def test_properties_only_for_active(cli: Any, see: See, snapshot: Snapshot) -> None:
    see(snapshot)
    assert cli("-o", "properties", "status").exit_code == ExitCode.USAGE
    result = cli("-o", "properties", "active")
    assert result.stdout == "active=LEFT\nepoch=1\nbootstrap.servers=left:9092\n"


# -- what is shown ------------------------------------------------------------------------------


def test_status_document(cli: Any, see: See, snapshot: Snapshot) -> None:
    see(snapshot)
    result = cli("status", "-o", "json")
    document = json.loads(result.stdout)
    assert result.exit_code == ExitCode.DEGRADED, "the way back is silent"
    assert document["schema"] == 1
    assert (document["active"], document["epoch"], document["phase"]) == ("LEFT", 1, "active")
    assert document["healthy"] is False
    assert set(document["clusters"]) == {"LEFT", "RIGHT"}
    assert document["flows"][0]["lag"] == [{"topic": "orders", "partition": 1, "records": 12}]
    assert [g["name"] for g in document["groups"]] == ["billing", "reports"]
    assert document["groups"][0]["clusters"]["LEFT"]["behind"] == 100
    assert [c["id"] for c in document["clients"]] == ["checkout", "billing-0", "billing-1"]
    assert [f["id"] for f in document["findings"]] == [
        "flow-silent",
        "group-sync-on",
        "group-not-wrapped",
    ]
    assert yaml.safe_load(cli("status", "-o", "yaml").stdout) == document


def test_status_is_0_when_healthy(cli: Any, see: See, snapshot: Snapshot) -> None:
    left, right = snapshot.flows
    see(replace(snapshot, flows=(left, replace(right, heartbeat_age_ms=100))))
    assert cli("status").exit_code == 0


def test_preflight(cli: Any, engine: "FakeOrchestrator") -> None:
    ready = cli("preflight", "--to", "RIGHT", "-o", "json")
    assert (ready.exit_code, json.loads(ready.stdout)["ok"]) == (0, True)
    refused = cli("preflight", "--to", "RIGHT", "--expect-active", "RIGHT", "-o", "json")
    assert refused.exit_code == ExitCode.REFUSED
    assert json.loads(refused.stdout)["blocking"] == ["active-mismatch"]
    waved = cli("preflight --to RIGHT --expect-active RIGHT --ignore active-mismatch -o json")
    assert (waved.exit_code, json.loads(waved.stdout)["ignored"]) == (0, ["active-mismatch"])


@pytest.mark.parametrize("command", ["preflight", "plan", "switch", "failback"])
@pytest.mark.parametrize(
    ("ident", "said"),
    [
        ("segmet-missing", "no finding is called 'segmet-missing'; did you mean segment-missing?"),
        ("xyzzy", "no finding is called 'xyzzy'\n"),
        ("wrong-cluster", "nobody can go on despite wrong-cluster"),
    ],
)
def test_what_cannot_be_ignored_is_refused_before_anything_is_asked(
    cli: Any, command: str, ident: str, said: str
) -> None:
    run = cli(command, "--to", "RIGHT", "--ignore", ident)
    assert run.exit_code == ExitCode.USAGE
    assert said in run.stderr
    assert "failover preflight" in run.stderr


def unreachable(alias: str) -> ClusterSnapshot:
    return ClusterSnapshot(alias, reachable=False, error=f"cluster {alias} (x:1) did not answer")


COMMANDS = ["clients", "active", "preflight --to RIGHT", "history", "report", "failback --yes"]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_control_topics_yet(cli: Any, see: See, snapshot: Snapshot, command: str) -> None:
    missing = ("failover-state.internal",)
    clusters = {
        alias: replace(one, view=View(), missing_control=missing)
        for alias, one in snapshot.clusters.items()
    }
    see(replace(snapshot, clusters=clusters, view=View()))
    result = cli(command)
    assert result.exit_code == ExitCode.REFUSED
    assert "not initialised: no cluster has failover-state.internal" in result.stderr
    assert "next: failover init --active LEFT" in result.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_no_cluster_answers(cli: Any, see: See, snapshot: Snapshot, command: str) -> None:
    down = {alias: unreachable(alias) for alias in snapshot.clusters}
    see(replace(snapshot, clusters=down, view=View(), flows=()))
    result = cli(command)
    assert result.exit_code == ExitCode.UNREACHABLE
    assert "cluster LEFT (x:1) did not answer" in result.stderr


def test_preflight_needs_both_sides(cli: Any, see: See, snapshot: Snapshot) -> None:
    see(replace(snapshot, clusters={**snapshot.clusters, "RIGHT": unreachable("RIGHT")}))
    result = cli("preflight", "--to", "RIGHT")
    assert result.exit_code == ExitCode.UNREACHABLE
    assert "cluster RIGHT (x:1) did not answer" in result.stderr


def test_report_of_nothing(cli: Any, see: See, snapshot: Snapshot) -> None:
    see(snapshot)
    assert cli("report").exit_code == ExitCode.REFUSED
    assert cli("report", "nonsense").exit_code == ExitCode.USAGE
    assert json.loads(cli("history", "-o", "json").stdout)["runs"] == []


def test_failback_without_a_switch_before(cli: Any, see: See, snapshot: Snapshot) -> None:
    see(snapshot)
    result = cli("failback", "--yes")
    assert result.exit_code == ExitCode.REFUSED
    assert "never been switched" in result.stderr


def test_failback_goes_to_the_last_other_cluster(snapshot: Snapshot) -> None:
    state = snapshot.view.state
    assert state is not None
    epochs = (*state.epochs, (2, "RIGHT"), (3, "THIRD"), (4, "LEFT"))
    there = replace(state, epochs=tuple(type(state.epoch)(*e) for e in epochs))
    assert previous(there, ("LEFT", "RIGHT", "THIRD")) == "THIRD"


# -- switch -------------------------------------------------------------------------------------


class FakeOrchestrator:
    """Remembers what it was asked, and answers what the test says."""

    def __init__(self, settings: Settings, seen: Snapshot, result: RunResult) -> None:
        self._settings, self._seen, self._result = settings, seen, result
        self.asked: list[SwitchRequest] = []
        self.on_progress: Any = None
        self.estimate, self.answers = Estimate(0, "2 living producers"), False

    def plan(self, request: SwitchRequest) -> Any:
        naming = case(self._seen, self._settings, request).naming
        found = findings(self._seen, self._settings, request)
        scope = self._settings.scope(request.scope)
        made = make_plan(self._seen, request, scope, naming, self._settings.flows, found)
        if not request.emergency:
            return made
        return with_outlook(made, request, outlook(request, self.estimate, answers=self.answers))

    def switch(self, request: SwitchRequest) -> RunResult:
        self.asked.append(request)
        return self._result

    def interrupt(self) -> None:
        """Nothing runs."""


SWITCHED = RunResult(
    run="r1",
    scope="default",
    source="LEFT",
    target="RIGHT",
    epoch=2,
    changed=True,
    result="switched",
    exit_code=ExitCode.OK,
    steps=(StepRecord("close", "ask the producers", "done", 1000, 1012),),
    measured={"closed_ms": 41},
    message="RIGHT is active, epoch 2",
)


@pytest.fixture
def engine(
    monkeypatch: pytest.MonkeyPatch, see: See, settings: Settings, snapshot: Snapshot
) -> FakeOrchestrator:
    see(snapshot)
    fake = FakeOrchestrator(settings, snapshot, SWITCHED)

    @contextmanager
    def orchestrator(_call: Invocation, _settings: Settings, _ahead: Any = ()) -> Any:
        yield fake

    monkeypatch.setattr(Invocation, "orchestrator", orchestrator)
    return fake


def test_switch_document(cli: Any, engine: FakeOrchestrator) -> None:
    result = cli(
        "switch --to RIGHT --yes -o json --timeout 7 --skip-client a --skip-client b",
        "--expect-active LEFT --tolerate-late --ignore flow-silent",
    )
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["schema"] == 1
    assert (document["from"], document["to"], document["epoch"]) == ("LEFT", "RIGHT", 2)
    assert (document["changed"], document["result"], document["run"]) == (True, "switched", "r1")
    assert document["measured"]["write_pause_ms"] == 41
    assert document["measured"]["lost"] is None, "what was not measured is not claimed"
    assert document["steps"][0]["outcome"] == "done"
    assert engine.asked == [
        SwitchRequest(
            "default",
            "RIGHT",
            timeout_s=7,
            expect_active="LEFT",
            skip_clients=("a", "b"),
            tolerate_late=True,
            ignore=("flow-silent",),
        )
    ]


def test_dry_run_and_plan_change_nothing(cli: Any, engine: FakeOrchestrator) -> None:
    for command in ("switch --to RIGHT --dry-run -o json", "plan --to RIGHT -o json"):
        result = cli(command)
        document = json.loads(result.stdout)
        assert (result.exit_code, document["result"], document["changed"]) == (0, "planned", False)
        assert [step["name"] for step in document["steps"]][-3:] == ["commit", "move", "verify"]
    assert not engine.asked


def test_plan_that_would_be_refused_ends_with_3(cli: Any, engine: FakeOrchestrator) -> None:
    result = cli("plan --to RIGHT --expect-active RIGHT -o json")
    assert result.exit_code == ExitCode.REFUSED
    assert json.loads(result.stdout)["blocking"] == ["active-mismatch"]


def without_left(engine: "FakeOrchestrator", snapshot: Snapshot, see: See) -> None:
    """LEFT does not answer; RIGHT holds the state too."""
    gone = replace(snapshot, clusters={**snapshot.clusters, "LEFT": unreachable("LEFT")})
    engine._seen = gone
    see(gone)


def test_dry_run_of_an_emergency_tells_what_may_be_lost_and_who_answers(
    cli: Any, engine: FakeOrchestrator, snapshot: Snapshot, see: See
) -> None:
    without_left(engine, snapshot, see)
    for command in ("switch --dry-run", "plan"):
        told = cli(f"{command} --to RIGHT --emergency --max-lost 0 -o json")
        document = json.loads(told.stdout)
        assert (told.exit_code, document["result"]) == (0, "planned")
        assert document["old_side_answers"] is False
        assert document["estimate"] == {
            "lost_at_most": 0,
            "lost_at_most_source": "2 living producers",
            "accepted": True,
        }
    shown = cli("plan --to RIGHT --emergency --max-lost 0").stdout
    assert "LEFT answers" in shown
    assert "2 living producers" in shown
    assert not engine.asked


def test_dry_run_of_an_emergency_ends_as_the_switch_would(
    cli: Any, engine: FakeOrchestrator, snapshot: Snapshot, see: See
) -> None:
    without_left(engine, snapshot, see)
    engine.estimate = Estimate(None, "p1 lived until shortly before")
    for options in ("", "--max-lost 5"):
        result = cli(f"plan --to RIGHT --emergency {options} -o json")
        assert result.exit_code == ExitCode.DATA_LOSS
        assert json.loads(result.stdout)["result"] == "data-loss-not-accepted"
    assert cli("plan --to RIGHT --emergency --allow-data-loss").exit_code == 0
    engine.answers = True
    alive = cli("plan --to RIGHT --emergency --allow-data-loss -o json")
    document = json.loads(alive.stdout)
    assert (alive.exit_code, document["blocking"]) == (ExitCode.REFUSED, ["old-side-alive"])
    assert document["old_side_answers"] is True
    insisted = cli("plan --to RIGHT --emergency --allow-data-loss --old-side-alive -o json")
    assert (insisted.exit_code, json.loads(insisted.stdout)["blocking"]) == (0, [])


def test_loss_that_is_not_accepted_refuses_before_the_question(
    cli: Any,
    engine: FakeOrchestrator,
    snapshot: Snapshot,
    see: See,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_left(engine, snapshot, see)
    monkeypatch.setattr("failover.cli.perform.at_terminal", lambda: True)
    result = cli("switch --to RIGHT --emergency", given="RIGHT\n")
    assert result.exit_code == ExitCode.DATA_LOSS
    assert "next: add --allow-data-loss" in result.stderr
    assert "Type RIGHT" not in result.stderr
    assert not engine.asked


@pytest.mark.parametrize("verb", ["plan", "preflight", "switch --yes"])
def test_options_of_an_emergency_mean_nothing_without_it(cli: Any, verb: str) -> None:
    result = cli(f"{verb} --to RIGHT --allow-data-loss")
    assert result.exit_code == ExitCode.USAGE
    assert "with --emergency only" in result.stderr


def test_preflight_of_an_emergency_needs_no_old_side(
    cli: Any, engine: FakeOrchestrator, snapshot: Snapshot, see: See
) -> None:
    without_left(engine, snapshot, see)
    assert cli("preflight --to RIGHT").exit_code == ExitCode.UNREACHABLE
    result = cli("preflight --to RIGHT --emergency -o json")
    assert (result.exit_code, json.loads(result.stdout)["ok"]) == (0, True)


def test_nobody_there_to_confirm(cli: Any, engine: FakeOrchestrator) -> None:
    result = cli("switch", "--to", "RIGHT")
    assert result.exit_code == ExitCode.REFUSED
    assert "--yes" in result.stderr
    assert "Plan: scope default moves LEFT -> RIGHT" in result.stderr
    assert not result.stdout
    assert not engine.asked


@pytest.mark.parametrize(("typed", "code"), [("RIGHT", 0), ("right", 3), ("y", 3), ("", 3)])
def test_confirmation_types_the_alias(
    cli: Any,
    engine: FakeOrchestrator,
    monkeypatch: pytest.MonkeyPatch,
    typed: str,
    code: int,
) -> None:
    monkeypatch.setattr("failover.cli.perform.at_terminal", lambda: True)
    result = cli("switch --to RIGHT -o json", given=f"{typed}\n")
    assert result.exit_code == code
    assert "Type RIGHT to go on" in result.stderr
    assert len(engine.asked) == (code == 0)
    assert (json.loads(result.stdout)["changed"] if code == 0 else not result.stdout) is True


def test_blocking_findings_refuse_before_the_question(
    cli: Any, engine: FakeOrchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("failover.cli.perform.at_terminal", lambda: True)
    result = cli("switch --to RIGHT --expect-active RIGHT", given="RIGHT\n")
    assert result.exit_code == ExitCode.REFUSED
    assert "active-mismatch" in result.stderr
    assert not engine.asked


@pytest.mark.parametrize("code", list(ExitCode))
def test_exit_code_is_the_result_s(cli: Any, engine: FakeOrchestrator, code: ExitCode) -> None:
    engine._result = replace(SWITCHED, exit_code=code)
    assert cli("switch", "--to", "RIGHT", "--yes").exit_code == code


# -- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigurationError("x"), ExitCode.USAGE),
        (errors.NotSupportedError("x"), ExitCode.USAGE),
        (errors.ClusterUnreachableError("x"), ExitCode.UNREACHABLE),
        (errors.TimedOutError("x"), ExitCode.UNREACHABLE),
        (errors.FencedError("x"), ExitCode.LOCKED),
        (errors.RecordFormatError("x"), ExitCode.REFUSED),
        (TooNewError("x"), ExitCode.REFUSED),
        (errors.LedgerUnknownError("x"), ExitCode.INCOMPLETE),
        (errors.RemoteError("x"), ExitCode.INTERNAL),
        (RefusedError("x", "y"), ExitCode.REFUSED),
        (ValueError("x"), ExitCode.INTERNAL),
    ],
)
def test_error_classes_have_exit_codes_and_remedies(error: Exception, code: ExitCode) -> None:
    found, remedy = answer(error)
    assert (found, bool(remedy)) == (code, True)


def test_internal_error_shows_a_traceback_only_when_asked(
    cli: Any, engine: FakeOrchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_request: SwitchRequest) -> RunResult:
        raise ValueError("a mistake of ours")

    monkeypatch.setattr(engine, "switch", broken)
    quiet = cli("switch", "--to", "RIGHT", "--yes")
    loud = cli("switch", "--to", "RIGHT", "--yes", "--verbose")
    assert quiet.exit_code == loud.exit_code == ExitCode.INTERNAL
    assert "ValueError: a mistake of ours" in quiet.stderr
    assert "Traceback" not in quiet.stderr
    assert "Traceback" in loud.stderr


def test_ctrl_c_ends_with_130(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_call: Invocation, _settings: Settings) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Invocation, "observer", interrupted)
    result = cli("status")
    assert (result.exit_code, "interrupted" in result.stderr) == (ExitCode.INTERRUPTED, True)


def test_reader_that_goes_away_is_no_error(config: Path) -> None:
    command = f'{sys.executable} -c "from failover.cli.app import main; main()" --help'
    run = subprocess.run(
        ["/bin/sh", "-c", f"{command} | head -c 1"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "FAILOVER_CONFIG": str(config)},
    )
    assert not run.stderr
