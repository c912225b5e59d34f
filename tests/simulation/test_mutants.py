"""Deliberately wrong variants of the rules: the simulation must notice each of them."""

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.run import simulate

SEEDS = 120


@pytest.mark.parametrize("name", MUTANTS)
def test_is_caught(name: str) -> None:
    """Some seed fails, by a checker or because the groups never get everything.

    A mutant that runs into one of our own assertions is not counted: a user would see no record.
    """
    for seed in range(SEEDS):
        with MUTANTS[name]():
            result = simulate(seed)
        noticed = result.failure and not result.failure.startswith("raised")
        if noticed and not simulate(seed).failure:
            return
    pytest.fail(f"{name} survived {SEEDS} seeds")
