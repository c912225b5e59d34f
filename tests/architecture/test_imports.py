"""What the import contracts cannot say: pure modules use no ambient authority by any name."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PURE = ("clientlib/protocol", "clientlib/core", "failover/core", "failover/checkers")
FORBIDDEN = {
    "time", "random", "os", "socket", "threading", "asyncio", "logging", "subprocess", "pathlib",
    "confluent_kafka", "httpx", "tenacity", "typer", "rich", "yaml",
}  # fmt: skip
FORBIDDEN_CALLS = {"open", "print", "input", "eval", "exec"}
MODULES = sorted(path for folder in PURE for path in (ROOT / folder).rglob("*.py"))


def imported(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names


def test_there_is_something_to_check() -> None:
    assert len(MODULES) > 30


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_pure_modules_are_pure(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert not imported(tree) & FORBIDDEN
    calls = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & FORBIDDEN_CALLS


def test_failover_takes_only_protocol_and_settings_from_clientlib() -> None:
    allowed = ("clientlib.protocol", "clientlib.settings", "clientlib.version")
    wrong = []
    for path in (ROOT / "failover").rglob("*.py"):
        if "demo" in path.parts:
            continue  # the demo's application is a user of the clients
        tree = ast.parse(path.read_text())
        named = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        ours = {name for name in named if name.startswith("clientlib")}
        wrong += [f"{path.relative_to(ROOT)}: {n}" for n in ours if not n.startswith(allowed)]
    assert not wrong
