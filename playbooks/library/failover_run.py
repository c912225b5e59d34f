"""Ansible module `failover_run`: take up, undo or look at a run of the journal."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.failover_cli import (
    COMMON,
    DEGRADED,
    OK,
    Answer,
    ask,
    difference,
    explain,
    words,
)

DOCUMENTATION = r"""
---
module: failover_run
short_description: Resume, abort or report a run that moved applications between Kafka clusters
description:
  - Runs C(failover resume), C(failover abort) or C(failover report).
  - A run that has ended already as it was asked to is left alone and reported unchanged.
version_added: "0.1.0"
author:
  - kafka-failover contributors (@kafka-failover)
requirements:
  - kafka-failover with its C(cli) extra, on the host that the module runs on
options:
  action:
    description:
      - V(resume) completes an unfinished run when its intent was written, else undoes it.
      - V(abort) undoes it, and is refused past the point of no return.
      - V(report) tells what a run did and measured.
    type: str
    choices: [resume, abort, report]
    required: true
  run:
    description: Id of the run; the newest when it is left out.
    type: str
  executable:
    description: The command; an absolute path when it is installed in a virtual environment.
    type: path
    default: failover
  config:
    description:
      - The configuration file on that host.
      - The command looks for C(FAILOVER_CONFIG) and C(failover.yaml) when it is left out.
    type: path
  scope:
    description: Topics and groups that switch as one.
    type: str
    default: default
  environment:
    description:
      - Environment variables for the command, meant for the secrets that the configuration names
        as C(${NAME}).
      - Every value is hidden in all output, so put nothing here that is no secret.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Says whether there is an unfinished run, and changes nothing.
    support: full
  diff_mode:
    description: Shows the active cluster and epoch before and after.
    support: full
  platform:
    description: Where the command runs.
    support: full
    platforms: posix
seealso:
  - module: failover_status
  - module: failover_switch
"""

EXAMPLES = r"""
- name: Finish what was left unfinished
  failover_run:
    action: resume
    config: /etc/kafka-failover/failover.yaml

- name: Undo a certain run
  failover_run:
    action: abort
    run: 20260101T120000.000-ab12cd

- name: Learn what the newest run measured
  failover_run:
    action: report
  register: newest
"""

RETURN = r"""
result:
  description: >-
    What the run came to in one word. C(switched), C(unchanged), C(rolled-back), C(aborted),
    C(incomplete), C(refused) and so on; in check mode what it has come to so far.
  returned: when the command gave a document
  type: str
  sample: rolled-back
run:
  description: Id of the run.
  returned: when the command gave a document
  type: str
  sample: 20260101T120000.000-ab12cd
document:
  description: What the command printed with C(-o json), steps, measured times and findings.
  returned: when the command gave one
  type: dict
exit_code:
  description: Exit code of the command, as for M(failover_switch).
  returned: always
  type: int
  sample: 0
"""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "action": {
                "type": "str",
                "choices": ["resume", "abort", "report"],
                "required": True,
            },
            "run": {"type": "str"},
            **COMMON,
        },
        supports_check_mode=True,
    )
    action, run = module.params["action"], module.params["run"] or ""
    known = ask(module, words(f"report {run}")) if run or action == "report" else None
    if known is not None and (action == "report" or known.code != OK):
        _leave(module, known, changed=False)
    if known is not None and ended_so(known, action):
        _leave(module, known, changed=False)
    if module.check_mode:
        _foresee(module, known)
    said = ask(module, words(f"{action} {run}"))
    _leave(module, said, changed=said.changed)


def ended_so(known: Answer, action: str) -> bool:
    """Say whether the run has ended already, and in the way that the action wants."""
    return not known.unfinished and (action == "resume" or not known.document["changed"])


def _foresee(module: AnsibleModule, known: Answer | None) -> None:
    """Leave with whether there is anything to take up, from the status alone."""
    if known is not None:
        _leave(module, known, changed=known.unfinished)
    status = ask(module, words("status"))
    if status.code not in {OK, DEGRADED} or not status.document:
        module.fail_json(msg=explain(status), exit_code=status.code)
    waits = any(one["id"] == "run-unfinished" for one in status.document["findings"])
    if not waits:
        module.exit_json(changed=False, exit_code=OK, result="unchanged", run=None, document={})
    _leave(module, ask(module, words("report")), changed=True)


def _leave(module: AnsibleModule, said: Answer, *, changed: bool) -> None:
    """End the module with the command's answer."""
    result: dict[str, Any] = {"exit_code": said.code, "document": said.document}
    if said.document:
        result.update(result=said.result, run=said.document["run"])
        result["diff"] = difference(said.document)
    if said.code != OK or not said.document:
        module.fail_json(msg=explain(said), changed=changed, **result)
    module.exit_json(changed=changed, **result)


if __name__ == "__main__":
    main()
