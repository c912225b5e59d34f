"""Deliberately wrong variants of what follows when a cluster is lost; see ``mutants``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from clientlib.io import evidence as evidences
from clientlib.io import rescue
from clientlib.io.evidence import EvidenceReader
from clientlib.protocol import ledger as ledgers
from clientlib.protocol import recover as recoveries
from clientlib.protocol.progress import GroupProgress, fold_progress
from failover.replays import Replays
from tests.simulation.mutants import together

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from contextlib import AbstractContextManager

    from clientlib.core.replay_buffer import Kept
    from clientlib.core.seat import Evidence, ReadEvidence
    from clientlib.protocol.progress import Known, Report
    from clientlib.protocol.recover import Recovered, RecoverRequest
    from tests.simulation.mutants import Mutant

_EVERYTHING = 1 << 60


def replayed_without_looking() -> AbstractContextManager[Any]:
    """A producer writes everything again that it holds, whatever the copy has."""

    def blind(kept: list[Kept], copy: Any, tolerance_ms: int) -> tuple[list[Kept], list[Any]]:
        return kept, []

    return patch.object(rescue, "missing", blind)


def boundary_decided_twice() -> AbstractContextManager[Any]:
    """A producer compares with where the copy ends when it looks, not with the ledger."""
    return patch.object(rescue, "_end", lambda view, order, key: _EVERYTHING)


def reports_ignored() -> AbstractContextManager[Any]:
    """A position of the lost cluster is taken from the mirror's checkpoint alone."""

    def best(self: EvidenceReader, job: ReadEvidence, known: Known | None) -> Evidence:
        return evidences.Evidence("nothing", None, self._floors(job))

    def nothing(known: GroupProgress, reports: Iterable[Report]) -> GroupProgress:
        return replace(fold_progress(known, reports), parts={})

    return together(
        patch.object(EvidenceReader, "_best", best),
        patch.object(evidences, "fold_progress", nothing),
    )


def first_word_is_the_last() -> AbstractContextManager[Any]:
    """Nobody waits for a member that has handed over one of its partitions."""

    def fold(known: GroupProgress, reports: Iterable[Report]) -> GroupProgress:
        listed = list(reports)
        after = fold_progress(known, listed)
        over = dict(after.handed_over)
        for report in listed:
            over[report.member] = max(over.get(report.member, 0), report.handed_over)
        return replace(after, handed_over=over)

    return patch.object(evidences, "fold_progress", fold)


def nobody_is_waited_for() -> AbstractContextManager[Any]:
    """A partition's new owner goes on by what is reported when it looks."""
    return patch.object(EvidenceReader, "_silent", lambda self, living, epoch: [])


def beyond_ignored() -> AbstractContextManager[Any]:
    """What was processed beyond the copy's end is forgotten, and so read again as replays."""
    real = recoveries._beyond

    def forgetful(request: RecoverRequest, first: int) -> Recovered:
        return replace(real(request, first), beyond=False, ahead=())

    return patch.object(recoveries, "_beyond", forgetful)


def replays_forgotten() -> AbstractContextManager[Any]:
    """Nobody looks for what was written again, and so takes the tail for late."""
    return patch.object(Replays, "_places", lambda *_: iter(()))


def largest_report_wins() -> AbstractContextManager[Any]:
    """Of all that was reported of a partition the furthest position counts, not the newest."""

    def fold(known: GroupProgress, reports: Iterable[Report]) -> GroupProgress:
        after = fold_progress(known, reports)
        parts = dict(after.parts)
        for part, before in known.parts.items():
            if _furthest(before) > _furthest(parts[part]):
                parts[part] = replace(parts[part], progress=before.progress)
        return replace(after, parts=parts)

    def one_by_one(known: GroupProgress, reports: Iterable[Report]) -> GroupProgress:
        for report in reports:
            known = fold(known, [report])
        return known

    return patch.object(evidences, "fold_progress", one_by_one)


def answer_of_another_cluster() -> AbstractContextManager[Any]:
    """What a producer asked of the cluster before, counts for the one that it writes to now."""

    def begin_anew(self: rescue.Rescuer, source: str) -> None:
        self.source = source

    return patch.object(rescue.Rescuer, "_begin_anew", begin_anew)


def _furthest(known: Known) -> int:
    return sum(known.progress.offsets.values())


def skipped_spans_ignored() -> AbstractContextManager[Any]:
    """What a returned cluster holds and producers have written again elsewhere is read too."""
    return patch.object(ledgers.Ledger, "skipped", lambda self, *a: ())


UNPLANNED_MUTANTS: Mapping[str, Mutant] = {
    mutant.__name__: mutant
    for mutant in (
        replayed_without_looking,
        boundary_decided_twice,
        reports_ignored,
        first_word_is_the_last,
        nobody_is_waited_for,
        beyond_ignored,
        replays_forgotten,
        largest_report_wins,
        skipped_spans_ignored,
        answer_of_another_cluster,
    )
}
