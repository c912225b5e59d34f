"""Snapshot and request to findings: named diagnoses with stable ids, each with reason and remedy.

Every rule is one function in `failover.core.rules`; `RULES` is the registry, in the order that a
person should read. A rule says what it sees and nothing else: whether a switch may go on is the
verdict's business. Ids are part of the interface (``--ignore ID``, JSON): never rename one.

Severities: ``block`` refuses a switch and makes ``failover status`` say degraded, ``warn`` and
``info`` are told. The same fact may block one request and only be worth a warning for another.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from clientlib.settings import Settings
from failover.core.result import Finding, Severity, SwitchRequest
from failover.core.rules import control, groups, mirror, retired, survivors
from failover.core.rules.case import Rule, case
from failover.core.snapshot import Snapshot

RULES: tuple[Rule, ...] = (
    *control.RULES,
    *survivors.RULES,
    *mirror.RULES,
    *retired.RULES,
    *groups.RULES,
)
"""Every rule, clusters and control plane first, then flows and topics, then groups and clients."""

# What is wrong with the facts themselves cannot be waved through; the last two have options.
NEVER_IGNORED = frozenset(
    {
        "not-initialised",
        "wrong-cluster",
        "cluster-unreachable",
        "retired-unread",
        "old-side-alive",
        "rogue-writer",
    }
)

IDS = frozenset(
    {
        *NEVER_IGNORED,
        "active-mismatch",
        "client-behind",
        "client-expired",
        "client-unknown",
        "cluster-returned",
        "config-drift",
        "control-topic-missing",
        "copies-unsure",
        "diverged",
        "epoch-unknown",
        "flow-missing",
        "flow-silent",
        "group-not-moved",
        "group-not-stable",
        "group-not-wrapped",
        "group-partly-wrapped",
        "group-sync-on",
        "identity-policy",
        "late-records",
        "late-records-pending",
        "longer-copy",
        "member-away",
        "mm2-inflight-settings",
        "mm2-reads-uncommitted",
        "offset-syncs-at-source",
        "partition-count-differs",
        "permission-missing",
        "producer-away",
        "replication-lag-high",
        "run-locked",
        "run-unfinished",
        "segment-missing",
        "segment-unsure",
        "standby-not-empty",
        "streams-internal-topics",
        "topic-missing",
    }
)
"""The ids of all findings, of rules and of runs."""

NEEDED_IN_AN_EMERGENCY = frozenset(
    {
        "not-initialised",
        "wrong-cluster",
        "control-topic-missing",
        "active-mismatch",
        "identity-policy",
        "client-unknown",
        "diverged",
        "longer-copy",
        "epoch-unknown",
    }
)
"""What an unplanned switch cannot do without; everything else it is only told."""

_ORDER = {Severity.BLOCK: 0, Severity.WARN: 1, Severity.INFO: 2}


class Verdict(NamedTuple):
    """Whether a switch may go on, and if not, because of what."""

    ok: bool
    blocking: tuple[Finding, ...]


def findings(
    snapshot: Snapshot, settings: Settings, request: SwitchRequest | None = None
) -> tuple[Finding, ...]:
    """Return what the snapshot shows, blocking first; without a request, the scope's health."""
    facts = case(snapshot, settings, request)
    found = [finding for rule in RULES for finding in rule(facts)]
    if request is not None and request.emergency:
        found = [_without_the_old_side(finding) for finding in found]
    return tuple(sorted(found, key=lambda finding: _ORDER[finding.severity]))


def _without_the_old_side(finding: Finding) -> Finding:
    """Let an unplanned switch be refused by what it needs, and told the rest."""
    if finding.id in NEEDED_IN_AN_EMERGENCY or finding.severity is not Severity.BLOCK:
        return finding
    return replace(finding, severity=Severity.WARN)


def verdict(found: Iterable[Finding], ignore: Iterable[str] = ()) -> Verdict:
    """Judge findings; ``ignore`` are ids that the operator takes upon himself."""
    waved = frozenset(ignore) - NEVER_IGNORED
    blocking = tuple(f for f in found if f.severity is Severity.BLOCK and f.id not in waved)
    return Verdict(not blocking, blocking)


def degraded(found: Iterable[Finding]) -> bool:
    """Say whether the scope's health is bad: ``failover status`` ends with exit code 10 then."""
    return not verdict(found).ok
