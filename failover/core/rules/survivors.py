"""Rules on an unplanned switch among three clusters: which survivor holds most of the lost one."""

from collections.abc import Iterator, Mapping

from clientlib.protocol.types import ClusterAlias, Partition
from failover.core.result import Finding, Severity
from failover.core.rules.case import Case, Rule, listed
from failover.core.snapshot import Lead


def longer_copy(case: Case) -> Iterator[Finding]:
    """Another surviving cluster holds records of the lost one that the target lacks.

    It blocks until the loss is accepted; with ``--max-lost`` the estimate decides, which counts
    these records.
    """
    request = case.request
    if request is None or not request.emergency:
        return
    accepted = request.allow_data_loss or request.max_lost is not None
    for alias, lead in sorted(case.snapshot.leads.items()):
        ahead, behind = sum(lead.ahead.values()), sum(lead.behind.values())
        if ahead:
            yield Finding(
                "longer-copy",
                Severity.WARN if accepted else Severity.BLOCK,
                f"cluster {alias}",
                f"holds {ahead:,} records of {case.lost} that {request.to} lacks: "
                + _where(lead.ahead)
                + (f"; and lacks {behind:,} that {request.to} holds" if behind else ""),
                "a producer keeps no record that any standby has confirmed, so nobody may write "
                "these again",
                f"failover switch --to {alias} --emergency; or accept the loss: --allow-data-loss"
                if ahead > behind
                else f"{request.to} holds more all in all: accept the loss: --allow-data-loss",
            )


def _where(counts: Mapping[Partition, int]) -> str:
    return listed(f"{p.topic}[{p.number}] {n:,}" for p, n in sorted(counts.items()) if n)


def copies_unsure(case: Case) -> Iterator[Finding]:
    """Copies of the lost cluster could not be compared: any of them may be the longer one."""
    for alias, lead in sorted(case.snapshot.leads.items()):
        if lead.unsure and case.request is not None:
            yield _copies_unsure(case, alias, lead, case.request.to)


def _copies_unsure(case: Case, alias: ClusterAlias, lead: Lead, target: ClusterAlias) -> Finding:
    told = (f"{p.topic}[{p.number}]: {why}" for p, why in sorted(lead.unsure.items()))
    return Finding(
        "copies-unsure",
        Severity.WARN,
        f"cluster {alias}",
        f"its copies of {case.lost} could not be compared with those on {target}: "
        + listed(told, 3),
        "it may hold records that the target lacks; the estimate says unknown because of it",
        f"compare the ends by hand; failover plan --to {alias} --emergency looks from there",
    )


RULES: tuple[Rule, ...] = (longer_copy, copies_unsure)
