"""Every command of the documentation is run on the real lab, in the order in which it is read.

``FAILOVER_DOCS_UPDATE=1`` writes what was printed into the pages instead of comparing it.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs_pages import COUNTED, DOCS, ROOT, Block, blocks, pages
from docs_world import World, same

from failover.lab.lab import Lab

# Pages that follow from each other are read in this order, the others before them by name.
STORY = (
    *(DOCS / "start.md", ROOT / "README.md", DOCS / "developers.md"),
    *(DOCS / "operators" / f"{name}.md" for name in ("planned", "failback", "trouble")),
    *(DOCS / "operators" / f"{name}.md" for name in ("emergency", "returned")),
)
ORDER = (*STORY, *(page for page in pages() if page not in STORY))
UPDATING = bool(os.environ.get("FAILOVER_DOCS_UPDATE"))
RUNNABLE = {page: [b for b in blocks(page) if b.runnable] for page in ORDER}


@pytest.fixture(scope="module")
def world(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    reader = World(lab, tmp_path_factory.mktemp("reader"))
    yield reader
    reader.end()


@pytest.mark.parametrize("page", ORDER, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_of_a_page(world: World, page: Path, pytestconfig: pytest.Config) -> None:
    captured: list[tuple[Block, list[str]]] = []
    for block in RUNNABLE[page]:
        pytestconfig.stash[COUNTED].total += 1
        if block.note("excerpt") is not None:
            continue
        assert block.commands, f"{block.place}: no command; begin it with '$ ', or use ```text"
        printed = [world.run(block, command) for command in block.commands]
        pytestconfig.stash[COUNTED].executed += 1
        if UPDATING:
            captured += [(block, _rendered(block, printed))] if block.captured else []
        elif block.compared:
            shown = [line for lines in printed for line in lines]
            told = "\n".join(shown)
            assert same(block.printed, shown), f"{block.place} shows otherwise:\n{told}"
    _write(page, captured)


def _rendered(block: Block, printed: list[list[str]]) -> list[str]:
    both = zip(block.commands, printed, strict=True)
    return [line for command, lines in both for line in (f"$ {command}", *lines)]


def _write(page: Path, captured: list[tuple[Block, list[str]]]) -> None:
    """Put what was printed into the page."""
    if not captured:
        return
    lines = page.read_text(encoding="utf-8").splitlines()
    for block, shown in reversed(captured):
        lines[block.line : block.line + len(block.lines)] = shown
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize("page", ORDER, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_excerpt_says_why(page: Path) -> None:
    silent = [block.place for block in RUNNABLE[page] if block.note("excerpt") == ""]
    assert not silent


def test_the_readers_application_saw_nothing_wrong(world: World) -> None:
    """The writer and the reader of the first page have lived through all pages."""
    sent, read = (line.split() for line in world.end())
    assert (sent[0], read[0]) == ("ended:", "ended:")
    assert read[3:] == ["0", "wrong"], read
    assert sent[1] == sent[3], "every record is acknowledged"


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "developers.md"], ids=lambda p: p.stem)
def test_python_of_a_page_runs(world: World, page: Path) -> None:
    snippets = [block for block in blocks(page) if block.language == "python"]
    assert snippets
    for block in snippets:
        world.run_python(block)
