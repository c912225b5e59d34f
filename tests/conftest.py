"""One lab for all tests of a session that need real Kafka; a test that breaks it puts it back."""

import logging
import os
import random
from collections.abc import Iterator

import pytest

from failover.lab.lab import Lab

log = logging.getLogger("tests.chance")

_SECOND_LAB = (
    "test_late",
    "test_mirror_killed",
    "test_rebuilt",
    "test_returned",
    "test_unplanned",  # and test_unplanned_repeats
    "tests/docs",
    "tests/playbooks",
)
_SEED = int(os.environ.get("FAILOVER_TEST_SEED") or random.randrange(10**9))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what uses a lab, and keep it on two workers of pytest-xdist (`--dist loadgroup`).

    Each worker has a lab of its own. What a switch waits for is mostly time, so that two labs on
    two cores take half as long as one; what kills clusters stays apart from what does not.
    """
    for item in items:
        if "lab" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.lab)
            if config.pluginmanager.hasplugin("xdist"):
                second = any(name in str(item.path) for name in _SECOND_LAB)
                item.add_marker(pytest.mark.xdist_group("lab-2" if second else "lab-1"))


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two clusters, LEFT and RIGHT, with MirrorMaker 2 copying both ways.

    ``FAILOVER_TEST_LAB=DIR`` uses a running lab (`failover lab up --dir DIR`) and leaves it up.
    """
    if kept := os.environ.get("FAILOVER_TEST_LAB"):
        yield Lab.open(kept)
        return
    with Lab.create(tmp_path_factory.mktemp("lab") / "files") as running:
        yield running


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Randomness of one test; ``FAILOVER_TEST_SEED``, which a failure shows, repeats it."""
    log.info("repeat with FAILOVER_TEST_SEED=%d", _SEED)
    return random.Random(f"{_SEED} {request.node.name}")
