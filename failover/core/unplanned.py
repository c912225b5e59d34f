"""What is told and asked before an unplanned switch: who answers, what may be lost."""

from dataclasses import replace

from clientlib.protocol.types import ClusterAlias
from failover.core.estimate import Estimate, Outlook, acceptable
from failover.core.plan import Plan
from failover.core.result import Finding, Severity, SwitchRequest


def outlook(request: SwitchRequest, found: Estimate, *, answers: bool) -> Outlook:
    """Return what the operator has to know, and whether it is accepted already."""
    allowed, most = request.allow_data_loss, request.max_lost
    return Outlook(answers, found, acceptable(found, allowed=allowed, most=most))


def with_outlook(made: Plan, request: SwitchRequest, found: Outlook) -> Plan:
    """Return the plan with the outlook, and with its finding if the old side answers."""
    if not found.answers:
        return replace(made, outlook=found)
    finding = old_side_alive(made.source, made.target, insisted=request.old_side_alive)
    return replace(made, outlook=found, findings=(finding, *made.findings))


def old_side_alive(source: ClusterAlias, target: ClusterAlias, *, insisted: bool) -> Finding:
    """Return the finding of a cluster that answers although it is to be given up."""
    return Finding(
        "old-side-alive",
        Severity.WARN if insisted else Severity.BLOCK,
        f"cluster {source}",
        "it answers",
        "a planned switch loses nothing; an unplanned one gives up what is not copied yet",
        f"failover switch --to {target}"
        + ("" if insisted else ", or add --old-side-alive to insist"),
    )


def not_accepted(found: Estimate) -> str:
    """Return the sentence of a loss that nobody has accepted."""
    return f"records that may be lost: {found.most} ({found.source}); nothing was changed"


def remedy(request: SwitchRequest) -> str:
    """Return how the loss is accepted."""
    if request.max_lost is None:
        return "add --allow-data-loss"
    return "raise --max-lost, or leave it out"
