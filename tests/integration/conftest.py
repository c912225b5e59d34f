"""The application of a scenario, on the lab that its module asks for."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from application import Application

from failover.lab.lab import Lab


@pytest.fixture
def partitions() -> int:
    """How many the application's topic has; a module that wants another number says so."""
    return 6


@pytest.fixture
def app(lab: Lab, tmp_path: Path, partitions: int) -> Iterator[Application]:
    found = Application(lab, tmp_path, partitions=partitions)
    yield found
    found.close()
