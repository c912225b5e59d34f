"""Ansible module `failover_switch`: make another Kafka cluster active."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.failover_cli import COMMON, OK, ask, difference, explain, words

DOCUMENTATION = r"""
---
module: failover_switch
short_description: Make another Kafka cluster active
description:
  - Runs C(failover switch) or C(failover failback); applications that use the wrapped clients
    follow by themselves.
  - When the cluster is active already nothing happens and the module reports no change.
  - The command asks nobody here. Approval belongs into the playbook, before this module.
version_added: "0.1.0"
author:
  - kafka-failover contributors (@kafka-failover)
requirements:
  - kafka-failover with its C(cli) extra, on the host that the module runs on
options:
  to:
    description:
      - Alias of the cluster to make active.
      - With O(mode=failback) it may be left out and is the cluster that was active before.
    type: str
  mode:
    description:
      - V(planned) needs both clusters and loses nothing.
      - V(failback) is a planned switch to the cluster that was active before.
      - V(emergency) needs nothing from the old side.
    type: str
    choices: [planned, failback, emergency]
    default: planned
  expect_active:
    description: Refuse unless this cluster is active.
    type: str
  timeout:
    description: Writes reopen on the old side when they were closed for longer, in seconds.
    type: float
  skip_clients:
    description: Clients that are not waited for, by id.
    type: list
    elements: str
    default: []
  ignore:
    description: Findings to go on despite of, by id.
    type: list
    elements: str
    default: []
  tolerate_late:
    description: Go on although somebody still writes to the old side.
    type: bool
    default: false
  allow_data_loss:
    description: Go on although loss cannot be excluded. With O(mode=emergency) only.
    type: bool
    default: false
  max_lost:
    description: Accept the loss of so many records at most. With O(mode=emergency) only.
    type: int
  old_side_alive:
    description: Go on although the old side still answers. With O(mode=emergency) only.
    type: bool
    default: false
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
    description: Is C(--dry-run), makes the plan with every check, and changes nothing.
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
  - module: failover_run
"""

EXAMPLES = r"""
- name: Make RIGHT active if LEFT is
  failover_switch:
    to: RIGHT
    expect_active: LEFT
    config: /etc/kafka-failover/failover.yaml

- name: Go back
  failover_switch:
    mode: failback
  environment:
    FAILOVER_CONFIG: /etc/kafka-failover/failover.yaml

- name: See what a switch would do
  failover_switch:
    to: RIGHT
  check_mode: true
  diff: true

- name: Leave a cluster that is gone, and accept the loss of 1,000 records at most
  failover_switch:
    to: RIGHT
    mode: emergency
    allow_data_loss: true
    max_lost: 1000
"""

RETURN = r"""
result:
  description: >-
    What it came to in one word. C(switched), C(unchanged), C(planned) in check mode, C(refused),
    C(rolled-back), C(incomplete), C(locked), C(unreachable), C(interrupted),
    C(data-loss-not-accepted).
  returned: when the command gave a document
  type: str
  sample: switched
run:
  description: Id of the run, for C(resume), C(abort) and C(report).
  returned: when the command gave a document
  type: str
  sample: 20260101T120000.000-ab12cd
document:
  description: What C(failover -o json switch) printed, with steps, measured times and findings.
  returned: when the command gave one
  type: dict
exit_code:
  description: >-
    Exit code of the command. 0 done; 1 internal; 2 usage or configuration; 3 refused, nothing
    changed; 4 timed out, rolled back; 5 incomplete, operator needed; 6 locked by another run;
    7 cluster unreachable; 8 data loss not accepted; 130 interrupted.
  returned: always
  type: int
  sample: 0
"""


def main() -> None:
    """Run the module."""
    names = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "to": {"type": "str"},
            "mode": {
                "type": "str",
                "choices": ["planned", "failback", "emergency"],
                "default": "planned",
            },
            "expect_active": {"type": "str"},
            "timeout": {"type": "float"},
            "skip_clients": names,
            "ignore": names,
            "tolerate_late": {"type": "bool", "default": False},
            "allow_data_loss": {"type": "bool", "default": False},
            "max_lost": {"type": "int"},
            "old_side_alive": {"type": "bool", "default": False},
            **COMMON,
        },
        required_if=[("mode", "planned", ("to",)), ("mode", "emergency", ("to",))],
        supports_check_mode=True,
    )
    said = ask(module, arguments(module.params, check=module.check_mode))
    result = {"exit_code": said.code, "document": said.document}
    if said.document:
        result.update(result=said.result, run=said.document["run"])
        result["diff"] = difference(said.document)
    changed = said.result == "planned" if module.check_mode else said.changed
    if said.code != OK or not said.document:
        module.fail_json(msg=explain(said), changed=changed, **result)
    module.exit_json(changed=changed, **result)


def arguments(params: dict[str, Any], *, check: bool) -> list[str]:
    """Return the command's words for the module's options."""
    emergency = params["mode"] == "emergency"
    options: dict[str, Any] = {
        "to": params["to"],
        "expect_active": params["expect_active"],
        "timeout": params["timeout"],
        "skip_client": params["skip_clients"],
        "ignore": params["ignore"],
        "tolerate_late": params["tolerate_late"],
        "allow_data_loss": params["allow_data_loss"],
        "max_lost": params["max_lost"],
        "old_side_alive": params["old_side_alive"],
        "emergency": emergency,
        "dry_run": check,
        "yes": not check,
    }
    verb = "failback" if params["mode"] == "failback" else "switch"
    made: list[str] = words(verb, **options)
    return made


if __name__ == "__main__":
    main()
