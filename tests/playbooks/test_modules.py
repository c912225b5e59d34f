"""The modules' own, small part: words for the command, and what its answers mean."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import failover_cli
import pytest
import yaml
from failover_cli import Answer, answer, difference, explain, words
from runbook import ANSIBLE, PLAYBOOKS, environment

from failover.core.result import ExitCode

MODULES = ("failover_status", "failover_switch", "failover_rejoin", "failover_run")


class Left(Exception):  # noqa: N818 - a module's end is no error
    """A module has ended."""


class FakeModule:
    """AnsibleModule as far as ours use it; ``answers`` are the command's, by its first word."""

    given: dict[str, Any] = {}  # noqa: RUF012 - set by each test
    answers: dict[str, tuple[int, str, str]] = {}  # noqa: RUF012 - as above
    check_mode = False
    spec: dict[str, Any] = {}  # noqa: RUF012 - as above

    def __init__(self, argument_spec: dict[str, Any], **_more: Any) -> None:
        FakeModule.spec = argument_spec
        self.check_mode = FakeModule.check_mode
        self.params = {key: one.get("default") for key, one in argument_spec.items()} | self.given
        self.asked: list[list[str]] = []

    def run_command(self, args: list[str], **_more: Any) -> tuple[int, str, str]:
        self.asked.append(args)
        verb = next(word for word in args if word in self.answers)
        return self.answers[verb]

    def exit_json(self, **result: Any) -> None:
        raise Left({"failed": False, **result, "asked": self.asked})

    def fail_json(self, msg: str, **result: Any) -> None:
        raise Left({"failed": True, "msg": msg, **result, "asked": self.asked})


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Call a module with options, answers of the command, and check mode."""
    basic = ModuleType("ansible.module_utils.basic")
    basic.AnsibleModule = FakeModule  # type: ignore[attr-defined]  # that is all we need of it
    for name in ("ansible", "ansible.module_utils"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "ansible.module_utils.basic", basic)
    monkeypatch.setitem(sys.modules, "ansible.module_utils.failover_cli", failover_cli)

    def call(
        name: str, answers: dict[str, Any], *, check: bool = False, **given: Any
    ) -> dict[str, Any]:
        monkeypatch.setattr(FakeModule, "given", given)
        monkeypatch.setattr(FakeModule, "answers", answers)
        monkeypatch.setattr(FakeModule, "check_mode", check)
        with pytest.raises(Left) as left:
            loaded(name).main()
        result: dict[str, Any] = left.value.args[0]
        return result

    return call


def loaded(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, PLAYBOOKS / "library" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def document(**more: Any) -> dict[str, Any]:
    return {
        "run": "R", "from": "LEFT", "to": "RIGHT", "epoch": 2, "changed": False, "steps": [],
        "findings": [], "warnings": [], "message": "", "remedy": "", **more,
    }  # fmt: skip


def gives(code: int, **more: Any) -> tuple[int, str, str]:
    return code, json.dumps(document(**more)), "progress"


FINDING = {
    "id": "flow-silent", "severity": "block", "subject": "flow LEFT->RIGHT",
    "what": "no heartbeat", "reason": "MM2 is stopped", "remedy": "start it",
}  # fmt: skip


def test_every_exit_code_of_the_command_has_a_meaning_and_a_next_step() -> None:
    failures = set(ExitCode) - {ExitCode.OK}
    assert set(failover_cli.MEANINGS) == failures
    assert set(failover_cli.NEXT) | {ExitCode.DEGRADED} == failures


def test_options_become_words_and_empty_ones_are_left_out() -> None:
    made = words("switch", to="RIGHT", skip_client=["a", "b"], yes=True, dry_run=False, max_lost=0)
    expected = "switch --to RIGHT --skip-client a --skip-client b --yes --max-lost 0"
    assert made == expected.split()
    assert words("resume ", run=None, timeout="") == ["resume"]


def test_a_failure_names_findings_with_remedies_and_what_to_do_next() -> None:
    said = Answer("failover switch", 3, document(findings=[FINDING], message="refused"))
    assert explain(said).splitlines() == [
        "failover switch: refused (exit code 3)",
        "refused",
        "flow-silent: flow LEFT->RIGHT: no heartbeat (MM2 is stopped). Remedy: start it",
        "next: do what the findings say, then run the same playbook again",
    ]


def test_an_error_without_document_is_taken_from_stderr() -> None:
    said = answer("failover plan", 2, "", "done  lock\nfailover: unknown cluster 'X'\n    next: do")
    assert "failover: unknown cluster 'X'\n    next: do" in explain(said)
    assert "done  lock" not in explain(said)


def test_a_killed_command_may_have_left_writes_closed() -> None:
    assert "writes closed" in explain(answer("failover switch", -9, "", "done  lock 3 ms"))
    assert "resume.yml" in explain(answer("failover switch", -9, "", ""))


@pytest.mark.parametrize(
    ("more", "changed"),
    [
        ({"result": "switched", "changed": True}, True),
        ({"result": "unchanged"}, False),
        ({"result": "refused"}, False),
        ({"result": "rolled-back", "steps": [{"started_ms": 1}]}, True),
        ({"result": "planned", "steps": [{"started_ms": None}]}, False),
    ],
)
def test_changed_tells_the_truth(more: dict[str, Any], changed: bool) -> None:
    assert Answer("", 0, document(**more)).changed is changed


def test_difference_shows_active_cluster_epoch_and_topics() -> None:
    create = [{"cluster": "RIGHT", "topic": "T", "partitions": 3}]
    assert difference(document(result="planned", create=create)) == {
        "before": {"active": "LEFT", "epoch": 1},
        "after": {
            "active": "RIGHT",
            "epoch": 2,
            "topics to create": ["T on RIGHT, 3 partitions"],
        },
    }
    same = difference(document(result="unchanged"))
    assert same["before"] == same["after"]


def test_check_mode_asks_for_a_plan_and_never_says_yes(fake: Any) -> None:
    planned = {"switch": gives(0, result="planned")}
    left = fake("failover_switch", planned, check=True, to="RIGHT")
    assert left["changed"] is True
    assert "--dry-run" in left["asked"][0]
    assert "--yes" not in left["asked"][0]
    done = {"switch": gives(0, result="switched", changed=True)}
    assert "--yes" in fake("failover_switch", done, to="RIGHT")["asked"][0]


def test_an_emergency_passes_on_what_was_accepted(fake: Any) -> None:
    refused = {"switch": gives(8, result="data-loss-not-accepted", message="about 7 records")}
    options = {"mode": "emergency", "to": "RIGHT", "max_lost": 5, "allow_data_loss": True}
    left = fake("failover_switch", refused, **options)
    asked = " ".join(left["asked"][0])
    assert "switch --to RIGHT --allow-data-loss --max-lost 5 --emergency --yes" in asked
    assert left["failed"]
    assert left["exit_code"] == ExitCode.DATA_LOSS
    assert "about 7 records" in left["msg"]
    assert "failover_max_lost" in left["msg"]


def test_a_run_that_has_ended_is_left_alone(fake: Any) -> None:
    ended = {"report": gives(0, result="switched", changed=True)}
    left = fake("failover_run", ended, action="resume", run="R")
    assert (left["failed"], left["changed"]) == (False, False)
    refused = {**ended, "abort": gives(3, result="refused")}
    assert fake("failover_run", refused, action="abort", run="R")["failed"], "it cannot be undone"


def test_a_cluster_that_is_back_is_told_with_what_only_it_holds(fake: Any) -> None:
    measured = {"late": 7, "replayed": 3}
    said = {"rejoin": gives(0, result="rejoined", changed=True, measured=measured)}
    left = fake("failover_rejoin", said, cluster="LEFT", wait=60.0)
    assert left["asked"][0][-4:] == ["rejoin", "LEFT", "--wait", "60.0"]
    assert (left["changed"], left["late"], left["replayed"]) == (True, 7, 3)
    waiting = gives(5, result="incomplete", message="p has yet to write", remedy="ask again")
    told = fake("failover_rejoin", {"rejoin": waiting}, cluster="LEFT")
    assert told["failed"]
    assert "next: ask again" in told["msg"]
    assert "resume.yml" not in told["msg"], "there is no run"
    contradicts = gives(3, result="refused", changed=True)
    assert fake("failover_rejoin", {"rejoin": contradicts}, cluster="LEFT")["changed"]


def test_a_degraded_scope_is_an_answer_and_no_failure(fake: Any) -> None:
    state = {"active": "LEFT", "epoch": 1, "phase": "active", "findings": [FINDING]}
    left = fake("failover_status", {"status": (10, json.dumps(state), "")})
    assert (left["failed"], left["healthy"]) == (False, False)
    assert "Remedy: start it" in left["problems"][0]
    left = fake("failover_status", {"status": (10, json.dumps(state), "")}, ignore=["flow-silent"])
    assert left["healthy"], "the operator took it upon himself"
    state["findings"] = [{**FINDING, "ignorable": False}]
    left = fake("failover_status", {"status": (10, json.dumps(state), "")}, ignore=["flow-silent"])
    assert not left["healthy"], "no switch would go on despite it"


@pytest.mark.parametrize("name", MODULES)
def test_documentation_and_options_agree(fake: Any, name: str) -> None:
    module = loaded(name)
    documented = yaml.safe_load(module.DOCUMENTATION)["options"]
    verbs = ("status", "switch", "rejoin", "report")
    fake(name, dict.fromkeys(verbs, (1, "", "failed")), action="report")
    assert documented.keys() == FakeModule.spec.keys()
    for option, spec in FakeModule.spec.items():
        told = {k: v for k, v in documented[option].items() if k != "description"}
        assert told == {key: value for key, value in spec.items() if key != "no_log"}, option
    assert yaml.safe_load(module.EXAMPLES)
    assert {"exit_code"} <= yaml.safe_load(module.RETURN).keys()


def test_the_environment_of_the_command_is_kept_out_of_every_output() -> None:
    assert failover_cli.COMMON["environment"]["no_log"] is True


@pytest.mark.parametrize("name", MODULES)
def test_ansible_doc_shows_the_module(ansible: None, name: str) -> None:
    command = [ANSIBLE / "ansible-doc", "-t", "module", "-M", PLAYBOOKS / "library", name]
    shown = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    for heading in ("OPTIONS", "EXAMPLES", "RETURN VALUES"):
        assert heading in shown.stdout


def test_every_playbook_is_described() -> None:
    described = (PLAYBOOKS / "README.md").read_text()
    for path in PLAYBOOKS.glob("*.yml"):
        assert path.name in described
    defaults = yaml.safe_load(Path(PLAYBOOKS, "roles/failover/defaults/main.yml").read_text())
    assert [name for name in defaults if f"`{name}`" not in described] == []
    specs = yaml.safe_load(Path(PLAYBOOKS, "roles/failover/meta/argument_specs.yml").read_text())
    specified = {name for one in specs["argument_specs"].values() for name in one["options"]}
    assert specified == {*defaults, "failover_mode"}


def test_the_example_inventory_is_readable() -> None:
    example = yaml.safe_load((PLAYBOOKS / "inventory" / "example.yml").read_text())
    assert SimpleNamespace(**example).failover["hosts"]
