"""Many seeds of the simulation: nothing lost, repeated or reordered, and everything drains.

Of two worlds: in the one switches are planned, in the other a cluster falls silent. Environment:
``FAILOVER_SEEDS`` (1,000) and ``FAILOVER_UNPLANNED_SEEDS`` (400) say how many seeds of each,
``FAILOVER_FIRST_SEED`` where they begin (0). A failing seed is replayed by ``python
tests/simulation/replay.py N``, of the second world with ``--unplanned``.
"""

import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterable

import pytest

from tests.simulation.run import Result, simulate

WORKERS = 2
MUST_HAPPEN = (
    "epochs",
    "alignments",
    "rebalances",
    "resets",
    "consumer crashes",
    "consumer stalls",
    "joins",
    "leaves",
    "restarts",
    "late commits",
    "producer stalls",
    "producer crashes",
    "mirror stops",
    "mirror kills",
    "batches sent again",
    "tool crashes",
    "tools without sight",
    "cuts after a commit",
    "commits refused",
    "tool: switched",
    "tool: rolled-back",
    "tool: aborted",
    "tool: locked",
    "tool: interrupted",
)
MUST_HAPPEN_UNPLANNED = (
    "kills of the active cluster",
    "pauses of the active cluster",
    "active cluster given up alive",
    "returns without a tail",
    "returns empty",
    "kills of the standby cluster",
    "disasters in the middle of a switch",
    "pauses of the standby cluster",
    "switches after a return",
    "alignments",
    "replayed",
    "written after the purge",
    "answers lost",
    "evidence: the memory",
    "evidence: the last report",
    "evidence: nothing",
    "evidence: wait",
    "recovered beyond the copy",
    "recovered by previous record",
    "recovered by unique record",
    "consumer crashes",
    "consumer stalls",
    "joins",
    "leaves",
    "restarts",
    "producer stalls",
    "producer crashes",
    "tool crashes",
    "tools without sight",
    "network cuts",
    "rewinds",
    "repeats told without the original",
)

Brief = tuple[int, str, bool, dict[str, int]]


def _brief(seed: int, *, unplanned: bool = False) -> Brief:
    result = simulate(seed, unplanned=unplanned)
    return seed, result.failure, result.strict, dict(result.counts)


def _brief_unplanned(seed: int) -> Brief:
    return _brief(seed, unplanned=True)


def _explain(result: Result) -> str:
    return "\n".join([*result.trace[-60:], f"seed {result.seed}: {result.failure}"])


def _seeds(variable: str, many: int) -> range:
    first = int(os.environ.get("FAILOVER_FIRST_SEED", "0"))
    return range(first, first + int(os.environ.get(variable, str(many))))


def _run_all(
    seeds: range, brief: Callable[[int], Brief], must_happen: Iterable[str], enough: int
) -> str:
    """Run seeds on both cores; fail if one fails or a fault never happened. Returns the counts."""
    totals: Counter[str] = Counter()
    failures = []
    with multiprocessing.get_context("spawn").Pool(WORKERS) as pool:
        for seed, failure, strict, counts in pool.imap_unordered(brief, seeds, chunksize=5):
            totals.update(counts)
            totals["strict"] += strict
            if failure:
                failures.append(f"seed {seed}: {failure[:400]}")
    assert not failures, "\n".join(sorted(failures))
    if len(seeds) >= enough:
        assert not [what for what in (*must_happen, "strict") if not totals[what]]
    told = ", ".join(f"{what} {count}" for what, count in sorted(totals.items()))
    return f"\n{len(seeds)} seeds: {told}"


def _replayed(request: pytest.FixtureRequest, *, unplanned: bool) -> bool:
    """Run the one seed that was asked for, if one was."""
    one = request.config.getoption("--seed", default=None)
    if one is None:
        return False
    result = simulate(one, keep_trace=True, unplanned=unplanned)
    assert not result.failure, _explain(result)
    return True


@pytest.mark.timeout(900)
def test_seeds(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> None:
    """Every seed is as promised, and the faults that it is about did happen."""
    if _replayed(request, unplanned=False):
        return
    told = _run_all(_seeds("FAILOVER_SEEDS", 1000), _brief, MUST_HAPPEN, 1000)
    with capsys.disabled():
        print(told)  # noqa: T201 - what happened belongs in the log


@pytest.mark.timeout(1800)
def test_unplanned_seeds(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cluster falls silent: nothing lost or repeated, order kept, and everything drains."""
    if _replayed(request, unplanned=True):
        return
    seeds = _seeds("FAILOVER_UNPLANNED_SEEDS", 400)
    told = _run_all(seeds, _brief_unplanned, MUST_HAPPEN_UNPLANNED, 400)
    with capsys.disabled():
        print(told)  # noqa: T201 - as above


def test_the_same_seed_is_the_same_run() -> None:
    """A failing seed can be replayed: trace or not, the events are the same."""
    ours, again = simulate(5), simulate(5, keep_trace=True)
    assert ours.history.delivered == again.history.delivered
    assert ours.counts == again.counts
    assert ours.counts["delivered"] > 100


def test_the_same_unplanned_seed_is_the_same_run() -> None:
    """Also in the world in which a cluster falls silent."""
    ours = simulate(5, unplanned=True)
    again = simulate(5, keep_trace=True, unplanned=True)
    assert ours.history.delivered == again.history.delivered
    assert ours.counts == again.counts
