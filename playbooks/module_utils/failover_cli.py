"""What the modules share: how `failover` is called, and what its answer means to Ansible.

No decision is taken here. The command decides; this file turns options into words, and exit code
and JSON document into a message that says what happened, to what, and what to do next.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Protocol

OK, REFUSED, TIMED_OUT, INCOMPLETE, LOCKED, UNREACHABLE, DATA_LOSS = 0, 3, 4, 5, 6, 7, 8
DEGRADED, INTERRUPTED = 10, 130

COMMON: dict[str, dict[str, Any]] = {
    "executable": {"type": "path", "default": "failover"},
    "config": {"type": "path"},
    "scope": {"type": "str", "default": "default"},
    "environment": {"type": "dict", "default": {}, "no_log": True},
}
"""Options that every module has."""

MEANINGS = {
    1: "failed for a reason of its own",
    2: "wrong usage or configuration, nothing was changed",
    REFUSED: "refused",
    TIMED_OUT: "timed out and was rolled back: writes are open on the old side",
    INCOMPLETE: "incomplete: an operator is needed",
    LOCKED: "locked: another run holds the scope",
    UNREACHABLE: "a cluster cannot be reached",
    DATA_LOSS: "data loss cannot be excluded and was not accepted, nothing was changed",
    DEGRADED: "degraded",
    INTERRUPTED: "interrupted",
}
"""What the exit codes mean."""

NEXT = {
    1: "look with status.yml; when it names an unfinished run, take it up with resume.yml",
    2: "check failover_config, failover_scope and failover_to: failover config validate",
    REFUSED: "do what the findings say, then run the same playbook again",
    TIMED_OUT: "look with status.yml what did not keep up, then run the same playbook again",
    INCOMPLETE: "look with status.yml, then resume.yml, or abort.yml while it can be undone",
    LOCKED: "wait until that run has ended (status.yml); if its tool died, resume.yml",
    UNREACHABLE: "bring the cluster back and run again; if the active one is lost: emergency.yml",
    DATA_LOSS: "to accept it: -e failover_allow_data_loss=true, bounded by -e failover_max_lost=N",
    INTERRUPTED: "look with status.yml: resume.yml if a run is unfinished, else run it again",
}
"""What an operator does next, where the command itself does not say."""

KILLED = (
    "the command ended without an answer (exit code {code}): its run may be unfinished and "
    "writes closed"
)


class Caller(Protocol):
    """The part of AnsibleModule that calls the command and gives the answer back."""

    params: dict[str, Any]

    def run_command(self, args: list[str], **options: Any) -> tuple[int, str, str]:
        """Run a command and return exit code, stdout and stderr."""

    def fail_json(self, msg: str, **result: Any) -> None:
        """End the module as failed."""


@dataclass(frozen=True)
class Answer:
    """What the command said. ``document`` is empty when it gave none."""

    command: str
    code: int
    document: dict[str, Any] = field(default_factory=dict)
    told: str = ""

    @property
    def result(self) -> str:
        """The run's result in one word, or nothing."""
        return str(self.document.get("result") or "")

    @property
    def unfinished(self) -> bool:
        """Whether the document tells of a run that somebody must take up again."""
        stopped = self.result in {"incomplete", "interrupted"}
        return stopped and bool(self.document.get("remedy"))

    @property
    def changed(self) -> bool:
        """Whether anything was changed: the active cluster, or writes closed and reopened."""
        begun = any(step.get("started_ms") for step in self.document.get("steps", ()))
        return bool(self.document.get("changed")) or (begun and self.result != "unchanged")


def words(verb: str, **options: Any) -> list[str]:
    """Return verb and options as the command takes them; what is empty is left out."""
    made = verb.split()
    for name, value in options.items():
        option = "--" + name.replace("_", "-")
        if value is True:
            made.append(option)
        elif isinstance(value, (list, tuple)):
            made += [word for one in value for word in (option, str(one))]
        elif value is not None and value is not False and value != "":
            made += [option, str(value)]
    return made


def ask(module: Caller, arguments: list[str]) -> Answer:
    """Call the command for its JSON document; an executable that is missing fails the module."""
    params = module.params
    front = [params["executable"], "-o", "json", "--scope", params["scope"]]
    if params["config"]:
        front += ["-c", params["config"]]
    environment = {key: str(value) for key, value in params["environment"].items()}
    try:
        code, out, err = module.run_command(
            front + arguments, environ_update=environment, handle_exceptions=False
        )
    except OSError as error:
        module.fail_json(
            msg=f"{params['executable']} cannot be run on this host: {error}. Install "
            "kafka-failover there, and set failover_executable to its absolute path"
        )
        raise
    return answer(" ".join(["failover", *arguments]), code, out, err)


def answer(command: str, code: int, out: str, err: str) -> Answer:
    """Return what the command said on stdout and, when it gave no document, on stderr."""
    try:
        document = json.loads(out)
    except ValueError:
        document = None
    if isinstance(document, dict):
        return Answer(command, code, document)
    return Answer(command, code, told=last_words(err))


def last_words(err: str) -> str:
    """Return the command's own error from stderr, which may hold progress before it."""
    lines = [line.rstrip() for line in err.splitlines() if line.strip()]
    starts = [at for at, line in enumerate(lines) if line.startswith("failover: ")]
    return "\n".join(lines[starts[-1] :] if starts else lines[-15:])


def explain(said: Answer) -> str:
    """Return what happened, every blocking finding with its remedy, and what to do next."""
    meaning = MEANINGS.get(said.code)
    if meaning is None:
        head = KILLED.format(code=said.code)
    else:
        head = f"{meaning} (exit code {said.code})"
    told = said.document.get("message") or said.told
    lines = [f"{said.command}: {head}", *([told] if told else [])]
    lines += [tell(one) for one in blocking(said.document)]
    lines += [f"warning: {one}" for one in said.document.get("warnings", ())]
    remedy = said.document.get("remedy")
    following = [f"next: {remedy}"] if remedy else []
    if not (remedy and said.command.startswith("failover rejoin")):  # no run that could be resumed
        following.append(f"next: {NEXT.get(said.code, NEXT[INCOMPLETE])}")
    return "\n".join([*lines, *following])


def blocking(document: dict[str, Any], ignore: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Return the findings that block and that the operator has not taken upon himself."""
    found: list[dict[str, Any]] = document.get("findings", [])
    waved = [f["id"] for f in found if f["id"] in ignore and f.get("ignorable", True)]
    return [f for f in found if f["severity"] == "block" and f["id"] not in waved]


def tell(finding: dict[str, Any]) -> str:
    """Return a finding as a line: what it is about, why it matters, what to do."""
    return "{id}: {subject}: {what} ({reason}). Remedy: {remedy}".format(**finding)


def side(cluster: Any, epoch: Any) -> dict[str, Any]:
    """Return one side of ``--diff``."""
    return {"active": cluster, "epoch": epoch}


def difference(document: dict[str, Any]) -> dict[str, Any]:
    """Return what ``--diff`` shows for a run or a plan: the active cluster and epoch, and topics.

    An epoch is opened by a change of the active cluster and by nothing else, so the one before
    has the counter before.
    """
    epoch = document.get("epoch")
    moves = bool(document.get("changed")) or document.get("result") == "planned"
    if not moves or epoch is None:
        here = side(document.get("from"), epoch)
        return {"before": here, "after": here}
    before = side(document.get("from"), epoch - 1)
    after = side(document.get("to"), epoch)
    created = [
        f"{topic['topic']} on {topic['cluster']}, {topic['partitions']} partitions"
        for topic in document.get("create", ())
    ]
    return {"before": before, "after": {**after, "topics to create": created} if created else after}
