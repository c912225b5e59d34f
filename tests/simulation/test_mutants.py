"""Deliberately wrong variants of the rules: the simulation must notice each of them."""

import pytest

from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.mutants_unplanned import UNPLANNED_MUTANTS
from tests.simulation.run import simulate

SEEDS = 400


def _caught(mutant: Mutant, *, unplanned: bool) -> bool:
    """Say whether some seed fails, by a checker or because the groups never get everything.

    A mutant that runs into one of our own assertions is not counted: a user would see no record.
    """
    for seed in range(SEEDS):
        with mutant():
            result = simulate(seed, unplanned=unplanned)
        noticed = result.failure and not result.failure.startswith("raised")
        if noticed and not simulate(seed, unplanned=unplanned).failure:
            return True
    return False


@pytest.mark.parametrize("name", MUTANTS)
def test_is_caught(name: str) -> None:
    assert _caught(MUTANTS[name], unplanned=False), f"{name} survived {SEEDS} seeds"


@pytest.mark.parametrize("name", UNPLANNED_MUTANTS)
def test_is_caught_where_a_cluster_is_lost(name: str) -> None:
    assert _caught(UNPLANNED_MUTANTS[name], unplanned=True), f"{name} survived {SEEDS} seeds"
