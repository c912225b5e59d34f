"""Deliberately wrong variants of the rules: the simulation must notice each of them."""

import pytest

from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.mutants_unplanned import UNPLANNED_MUTANTS
from tests.simulation.run import simulate

SEEDS = 400
BEGIN_WITH = {
    "answer_of_another_cluster": 77,
    "boundary_decided_twice": 125,
    "late_commit_accepted": 309,
    "no_generation_fencing": 319,
}
"""Seeds that are known to catch what few do: they are tried first, and only that."""


def _caught(mutant: Mutant, first: int, *, unplanned: bool) -> bool:
    """Say whether some seed fails, by a checker or because the groups never get everything.

    A mutant that runs into one of our own assertions is not counted: a user would see no record.
    """
    for seed in (first, *range(SEEDS)):
        with mutant():
            result = simulate(seed, unplanned=unplanned)
        noticed = result.failure and not result.failure.startswith("raised")
        if noticed and not simulate(seed, unplanned=unplanned).failure:
            return True
    return False


@pytest.mark.parametrize("name", MUTANTS)
def test_is_caught(name: str) -> None:
    assert _caught(MUTANTS[name], BEGIN_WITH.get(name, 0), unplanned=False), (
        f"{name} survived {SEEDS} seeds"
    )


@pytest.mark.parametrize("name", UNPLANNED_MUTANTS)
def test_is_caught_where_a_cluster_is_lost(name: str) -> None:
    assert _caught(UNPLANNED_MUTANTS[name], BEGIN_WITH.get(name, 0), unplanned=True), (
        f"{name} survived {SEEDS} seeds"
    )
