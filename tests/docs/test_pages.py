"""What can be checked without a lab: links, generated pages, drawings, python, the site."""

import ast
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from importlib import import_module, util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from docs_pages import DOCS, ROOT, Block, blocks, pages
from docs_world import same, shape

from failover.core import findings

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
PYTHON = [block for page in pages() for block in blocks(page) if block.language == "python"]
SHOWN = re.compile(r"/(?:root|work|tmp/pytest|tmp/try)\b|" + re.escape(str(ROOT)))


def script(name: str) -> ModuleType:
    spec = util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def headings(page: Path) -> set[str]:
    """Return the anchors of a page, as GitHub and mkdocs make them."""
    inside = {n for b in blocks(page) for n in range(b.line - 1, b.line + len(b.lines) + 1)}
    lines = page.read_text(encoding="utf-8").splitlines()
    titles = (line.lstrip("#").strip() for n, line in enumerate(lines)
              if line.startswith("#") and n not in inside)  # fmt: skip
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", pages(), ids=lambda p: str(p.relative_to(ROOT)))
def test_links_inside_lead_somewhere(page: Path) -> None:
    wrong = []
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in headings(target)):
            wrong.append(link)
    assert not wrong


@pytest.mark.parametrize("page", pages(), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_page_shows_this_machine(page: Path) -> None:
    assert not SHOWN.search(page.read_text(encoding="utf-8"))


LANGUAGES = {"console", "sh", "text", "python", "yaml", "properties"}


@pytest.mark.parametrize("page", pages(), ids=lambda p: str(p.relative_to(ROOT)))
def test_every_block_says_what_it_is(page: Path) -> None:
    """A command in a block without a language would escape its test."""
    wrong = [b.place for b in blocks(page) if b.language not in LANGUAGES]
    hidden = [b.place for b in blocks(page) if b.language == "text"
              and any(line.startswith("$ ") for line in b.lines)
              and b.page.parent.name != "reference"]  # fmt: skip
    assert not wrong + hidden


REFERENCE = script("reference")
DRAWINGS = script("drawings")


@pytest.mark.parametrize("name", REFERENCE.PAGES)
def test_the_reference_is_current(name: str) -> None:
    written = (DOCS / "reference" / name).read_text(encoding="utf-8")
    assert written == REFERENCE.PAGES[name](), "run `make reference`, and commit what it writes"


@pytest.mark.parametrize("name", DRAWINGS.DRAWINGS)
def test_the_drawings_are_current(name: str) -> None:
    written = (DOCS / "images" / f"{name}.svg").read_text(encoding="utf-8")
    assert written == DRAWINGS.DRAWINGS[name]().svg(), "run `make reference`"
    assert ET.fromstring(written).tag.endswith("svg")  # noqa: S314 - our own file


def test_every_finding_of_the_code_has_a_line() -> None:
    """An id that the generator does not find would be missing silently."""
    made = {
        str(first.value)
        for file in (ROOT / "failover").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Finding"
        for first in [*node.args, *(k.value for k in node.keywords if k.arg == "id")][:1]
        if isinstance(first, ast.Constant)
    }
    described = {ident for ident, _ in REFERENCE.every_finding()}
    assert made == described, "give the new one words in scripts/reference.py"
    assert made == findings.IDS, "`--ignore` refuses what it does not know"


@pytest.mark.parametrize("block", PYTHON, ids=lambda b: b.place)
def test_python_compiles_and_its_imports_resolve(block: Block) -> None:
    tree = ast.parse("\n".join(block.lines))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = import_module(node.module or "")
            missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
            assert not missing, block.place
        elif isinstance(node, ast.Import):
            for alias in node.names:
                import_module(alias.name)


def test_the_site_builds_strictly(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    home = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "images/classic.svg" in home
    listed = (tmp_path / "site" / "decisions" / "index.html").read_text(encoding="utf-8")
    assert all(file.stem in listed for file in (DOCS / "decisions").glob("0*.md"))


def test_the_emergency_fits_one_page() -> None:
    """About what a sheet of paper takes, without the screens."""
    page = DOCS / "operators" / "emergency.md"
    screens = sum(len(block.lines) for block in blocks(page))
    text = page.read_text(encoding="utf-8")
    assert len(text.splitlines()) - screens < 75
    assert len(text) - sum(len("\n".join(b.lines)) for b in blocks(page)) < 4500


# What is being built; empty this when the command has it.
PENDING: set[str] = set()


def spoken(page: Path) -> set[str]:
    """Return every `failover ...` of a page: inline, and in its command blocks."""
    text = page.read_text(encoding="utf-8")
    inline = re.findall(r"`(failover [a-z-][^`\n]*)`", text)
    return {*inline, *(c for block in blocks(page) if block.runnable for c in block.commands
                       if c.startswith("failover "))}  # fmt: skip


@pytest.mark.parametrize("page", pages(), ids=lambda p: str(p.relative_to(ROOT)))
def test_only_commands_and_options_that_exist_are_named(page: Path) -> None:
    known = dict(REFERENCE.command_names())
    shared = known.pop("failover")
    for command in spoken(page):
        words = command.partition("#")[0].split()
        options = {word.partition("=")[0] for word in words if word.startswith("-")}
        path = [w for w in words[1:4] if not w.startswith("-")]
        names = [" ".join(("failover", *path[:n])) for n in (2, 1)]
        found = next((known[name] for name in names if name in known), None)
        group = any(name.startswith(f"{names[1]} ") for name in known)
        after_option = words[1].startswith("-")
        if found is None and not after_option and not group:
            assert path[0] in PENDING, f"`{command}`: there is no such command"
            continue
        own = found or frozenset().union(*known.values())
        assert options <= own | shared | PENDING | {"--help", "-h"}, f"`{command}`"


# -- the checks themselves can fail ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("documented", "printed", "alike"),
    [
        (("took 12 ms",), ["took  1,204 ms"], True),
        (("run 20261125T000904.169-d450c8",), ["run 20270101T111111.111-abcdef"], True),
        (("LEFT is active",), ["RIGHT is active"], False),
        (("a",), ["a", "b"], False),
        (("a", "...", "c"), ["a", "b", "b", "c"], True),
        (("a", "...", "c"), ["a", "c"], True),
        (("a", "...", "c"), ["a", "b"], False),
        (("a", "..."), ["a"], True),
    ],
)
def test_shapes(documented: tuple[str, ...], printed: list[str], alike: Any) -> None:
    assert same(documented, printed) is alike


def test_a_shape_keeps_words() -> None:
    assert shape("LEFT   16948  127.0.0.1:25743  running") == "LEFT # #:# running"


def test_notes_above_a_block(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- exit: 3 -->\n<!-- varies -->\n```console\n$ a\nb\n```\n\n```sh\nc # d\n```\n"
    )
    first, second = blocks(page)
    assert (first.note("exit"), first.note("varies"), first.note("excerpt")) == ("3", "", None)
    assert (first.commands, first.printed, first.compared) == (("a",), ("b",), False)
    assert (second.commands, second.printed) == (("c # d",), ())
