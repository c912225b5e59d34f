"""One lab for all tests of a session that need real Kafka; a test that breaks it puts it back."""

import os
from collections.abc import Iterator

import pytest

from failover.lab.lab import Lab


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what uses the lab, and keep it on one worker of pytest-xdist (`--dist loadgroup`)."""
    for item in items:
        if "lab" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.lab)
            if config.pluginmanager.hasplugin("xdist"):
                item.add_marker(pytest.mark.xdist_group("lab"))


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
