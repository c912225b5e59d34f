"""Ansible module `failover_rejoin`: take a cluster in again that was given up."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.failover_cli import COMMON, OK, ask, explain, words

DOCUMENTATION = r"""
---
module: failover_rejoin
short_description: Take a Kafka cluster in again that was given up in an unplanned switch
description:
  - Runs C(failover rejoin).
  - Brings the state on that cluster up to date, so that clients which reach only it stop writing
    there, and compares its logs with the ledger.
  - A cluster that is up to date already is compared with nothing written, and reported unchanged.
version_added: "0.1.0"
author:
  - kafka-failover contributors (@kafka-failover)
requirements:
  - kafka-failover with its C(cli) extra, on the host that the module runs on
options:
  cluster:
    description: Alias of the cluster that is back.
    type: str
    required: true
  wait:
    description: For how many seconds it may not answer yet.
    type: float
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
    description: Is skipped. What a cluster holds is known only when it has been compared.
    support: none
  diff_mode:
    description: The active cluster and epoch stay as they are.
    support: none
  platform:
    description: Where the command runs.
    support: full
    platforms: posix
seealso:
  - module: failover_status
  - module: failover_switch
"""

EXAMPLES = r"""
- name: Take LEFT in as soon as it is back, within a day
  failover_rejoin:
    cluster: LEFT
    wait: 86400
    config: /etc/kafka-failover/failover.yaml
  register: back

- name: Tell what only it holds
  ansible.builtin.debug:
    msg: "{{ back.late }} late records"
"""

RETURN = r"""
result:
  description: C(rejoined), C(unchanged), C(refused), C(incomplete), C(locked) or C(unreachable).
  returned: when the command gave a document
  type: str
  sample: rejoined
late:
  description: How many records it holds behind the ledger's end that nobody has written again.
  returned: success
  type: int
  sample: 0
replayed:
  description: How many records it holds behind the ledger's end that were written again.
  returned: success
  type: int
  sample: 1204
document:
  description: What the command printed with C(-o json), findings included.
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
            "cluster": {"type": "str", "required": True},
            "wait": {"type": "float"},
            **COMMON,
        },
        supports_check_mode=False,
    )
    arguments = words(f"rejoin {module.params['cluster']}", wait=module.params["wait"])
    said = ask(module, arguments)
    changed = bool(said.document.get("changed"))
    result: dict[str, Any] = {"exit_code": said.code, "document": said.document}
    if said.document:
        result["result"] = said.result
    if said.code != OK or not said.document:
        module.fail_json(msg=explain(said), changed=changed, **result)
    measured = said.document.get("measured") or {}
    counts = {name: int(measured.get(name) or 0) for name in ("late", "replayed")}
    module.exit_json(changed=changed, **counts, **result)


if __name__ == "__main__":
    main()
