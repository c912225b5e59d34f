"""Ansible module `failover_status`: who is active, and could the scope be switched."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.failover_cli import (
    COMMON,
    DEGRADED,
    OK,
    REFUSED,
    Answer,
    ask,
    blocking,
    explain,
    tell,
    words,
)

DOCUMENTATION = r"""
---
module: failover_status
short_description: Tell which Kafka cluster is active and whether it could be switched
description:
  - Runs C(failover status) and, when O(to) is given, C(failover preflight), and returns their JSON.
  - Changes nothing. A degraded scope and a preflight that would refuse are answers, not failures;
    the playbook asserts what it needs.
version_added: "0.1.0"
author:
  - kafka-failover contributors (@kafka-failover)
requirements:
  - kafka-failover with its C(cli) extra, on the host that the module runs on
options:
  to:
    description: Also check whether the scope could be switched to this cluster now.
    type: str
  ignore:
    description: >-
      Findings that are not to count as blocking, by id. One that no switch goes on despite counts
      all the same.
    type: list
    elements: str
    default: []
  skip_clients:
    description: Clients that the preflight is not to count on, by id.
    type: list
    elements: str
    default: []
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
    description: Changes nothing in either mode.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  platform:
    description: Where the command runs.
    support: full
    platforms: posix
seealso:
  - module: failover_switch
  - module: failover_run
"""

EXAMPLES = r"""
- name: Learn who is active
  failover_status:
    executable: /opt/kafka-failover/bin/failover
    config: /etc/kafka-failover/failover.yaml
    environment:
      LEFT_PASSWORD: "{{ vault_left_password }}"
  register: status

- name: Ask whether a switch to RIGHT could begin
  failover_status:
    to: RIGHT
  register: status

- name: Stop when it could not
  ansible.builtin.assert:
    that: status.ready
    fail_msg: "{{ status.problems | join('\n') }}"
"""

RETURN = r"""
active:
  description: The active cluster; null when the scope is not initialised.
  returned: success
  type: str
  sample: LEFT
epoch:
  description: Counter of the open epoch.
  returned: success
  type: int
  sample: 3
phase:
  description: C(active), C(closing) and so on; writes are accepted in C(active) only.
  returned: success
  type: str
  sample: active
healthy:
  description: Whether no finding blocks, those in O(ignore) aside.
  returned: success
  type: bool
  sample: true
unfinished:
  description: Whether a run waits for being resumed or aborted.
  returned: success
  type: bool
  sample: false
ready:
  description: Whether a switch to O(to) could begin now.
  returned: when O(to) is given
  type: bool
  sample: true
problems:
  description: >-
    Each blocking finding as a sentence with its remedy; of the preflight when there is one.
  returned: success
  type: list
  elements: str
  sample:
    - >-
      flow-silent: flow LEFT->RIGHT: no heartbeat for 31 s (MirrorMaker 2 does not copy).
      Remedy: look at its log
document:
  description: What C(failover -o json status) printed.
  returned: success
  type: dict
preflight:
  description: What C(failover -o json preflight) printed.
  returned: when O(to) is given
  type: dict
exit_code:
  description: Exit code of the command that ended the module.
  returned: always
  type: int
  sample: 0
"""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "to": {"type": "str"},
            "ignore": {"type": "list", "elements": "str", "default": []},
            "skip_clients": {"type": "list", "elements": "str", "default": []},
            **COMMON,
        },
        supports_check_mode=True,
    )
    status = _asked(module, words("status"), DEGRADED)
    ignore = tuple(module.params["ignore"])
    found = status.document["findings"]
    stopping = blocking(status.document, ignore)
    result: dict[str, Any] = {
        "exit_code": status.code,
        "healthy": not stopping,
        "unfinished": any(one["id"] == "run-unfinished" for one in found),
        "document": status.document,
        **{key: status.document[key] for key in ("active", "epoch", "phase")},
    }
    if module.params["to"]:
        options = {
            "to": module.params["to"],
            "skip_client": module.params["skip_clients"],
            "ignore": ignore,
        }
        preflight = _asked(module, words("preflight", **options), REFUSED)
        result.update(preflight=preflight.document, ready=preflight.document["ok"])
        stopping = blocking(preflight.document, ignore)
    module.exit_json(changed=False, problems=[tell(one) for one in stopping], **result)


def _asked(module: AnsibleModule, arguments: list[str], accepted: int) -> Answer:
    """Return the answer; whatever else than OK and ``accepted`` with a document is a failure."""
    said = ask(module, arguments)
    if said.code not in {OK, accepted} or not said.document:
        module.fail_json(msg=explain(said), exit_code=said.code, document=said.document)
    return said


if __name__ == "__main__":
    main()
