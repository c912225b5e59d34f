"""Help, shell completion, and that a wrong setting of librdkafka is found in the file."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from failover.cli import help as help_texts
from failover.core.result import ExitCode

PROGRAM = "from failover.cli.app import main; main()"


def test_paragraphs_flow_and_examples_stand_apart() -> None:
    found = help_texts.read("Do it.\n\n    A long\n    line.\n\n    Examples: `a --b` · `c`\n    ")
    assert found.text == ("Do it.", "A long line.")
    assert found.examples == ("a --b", "c")
    assert help_texts.read(None) == help_texts.Help(("",), ())


def test_examples_are_lines_to_copy(cli: Any) -> None:
    printed = cli("switch", "--help", with_config=False).stdout.splitlines()
    assert "$ failover switch --to RIGHT --yes" in (line.strip() for line in printed)


def completed(where: Path, line: str) -> list[str]:
    """Return what bash would offer for the last word of the line."""
    environment = {
        **{k: v for k, v in os.environ.items() if k != "FAILOVER_CONFIG"},
        "PYTHONPATH": str(Path.cwd()),
        "_FAILOVER_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
    }
    command = [sys.executable, "-c", PROGRAM]
    run = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=where, env=environment
    )
    assert not run.stderr
    return run.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("failover sw", ["switch"]),
        ("failover switch --dry", ["--dry-run"]),
        ("failover init --active L", ["LEFT"]),
        ("failover -c failover.yaml init --active ", ["LEFT", "RIGHT"]),
        ("failover -c nix.yaml init --active ", []),
        ("failover lab kill ", []),
    ],
)
def test_the_shell_completes(config: Path, line: str, offered: list[str]) -> None:
    assert completed(config.parent, line) == offered


@pytest.mark.parametrize("key", ["sasl.passwrd", "ssl.ca.location"])
def test_a_setting_that_librdkafka_refuses_is_found_in_the_file(
    config: Path, cli: Any, key: str
) -> None:
    config.write_text(config.read_text().replace("sasl.password", key))
    if key == "ssl.ca.location":
        config.write_text(config.read_text().replace(key, f"security.protocol: ssl, {key}"))
    result = cli("config", "validate")
    assert result.exit_code == ExitCode.USAGE
    assert "clusters.LEFT: " in result.stderr
    assert "next: correct the command, or the file" in result.stderr
