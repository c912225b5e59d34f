"""Many seeds of the simulation: nothing lost, repeated or reordered, and everything drains.

``FAILOVER_SEEDS`` says how many seeds, ``FAILOVER_FIRST_SEED`` where they begin (1,000 from 0).
A failing seed is replayed by ``python tests/simulation/replay.py N``.
"""

import multiprocessing
import os
from collections import Counter

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


def _brief(seed: int) -> tuple[int, str, bool, dict[str, int]]:
    result = simulate(seed)
    return seed, result.failure, result.strict, dict(result.counts)


def _explain(result: Result) -> str:
    return "\n".join([*result.trace[-60:], f"seed {result.seed}: {result.failure}"])


@pytest.mark.timeout(900)
def test_seeds(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> None:
    """Every seed is as promised, and the faults that it is about did happen."""
    one = request.config.getoption("--seed", default=None)
    if one is not None:
        result = simulate(one, keep_trace=True)
        assert not result.failure, _explain(result)
        return
    first = int(os.environ.get("FAILOVER_FIRST_SEED", "0"))
    seeds = range(first, first + int(os.environ.get("FAILOVER_SEEDS", "1000")))
    totals: Counter[str] = Counter()
    failures = []
    with multiprocessing.get_context("spawn").Pool(WORKERS) as pool:
        for seed, failure, strict, counts in pool.imap_unordered(_brief, seeds, chunksize=5):
            totals.update(counts)
            totals["strict"] += strict
            if failure:
                failures.append(f"seed {seed}: {failure[:400]}")
    told = ", ".join(f"{what} {count}" for what, count in sorted(totals.items()))
    with capsys.disabled():
        print(f"\n{len(seeds)} seeds: {told}")  # noqa: T201 - what happened belongs in the log
    assert not failures, "\n".join(sorted(failures))
    if len(seeds) >= 1000:
        assert not [what for what in (*MUST_HAPPEN, "strict") if not totals[what]]


def test_the_same_seed_is_the_same_run() -> None:
    """A failing seed can be replayed: trace or not, the events are the same."""
    ours, again = simulate(5), simulate(5, keep_trace=True)
    assert ours.history.delivered == again.history.delivered
    assert ours.counts == again.counts
    assert ours.counts["delivered"] > 100
