"""Counts the command blocks, and tells at the end how many were run."""

import pytest
from docs_pages import COUNTED, Count


def pytest_configure(config: pytest.Config) -> None:
    config.stash[COUNTED] = Count()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    counted = terminalreporter.config.stash[COUNTED]
    if counted.total:
        terminalreporter.write_line(
            f"documentation: {counted.executed} of {counted.total} command blocks executed, "
            "the others are marked as excerpts, each with its reason"
        )
