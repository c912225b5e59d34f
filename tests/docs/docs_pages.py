"""Pages of the documentation as blocks: what is a command, what is an excerpt, what was printed.

A fenced ``console`` or ``sh`` block is run by the tests. A comment just above it may say more:

``<!-- excerpt: WHY -->``   it is not run
``<!-- background -->``     its command goes on running; the block ends when it has printed a line
``<!-- exit: 3 -->``        its commands end with this code instead of 0
``<!-- varies -->``         it is run, but what it prints is not compared
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_COMMENT = re.compile(r"<!-- (excerpt|background|exit|varies)(?:: (.+?))? -->")
PROMPT = "$ "


@dataclass(slots=True)
class Count:
    """How many command blocks there are, and how many of them were run."""

    total: int = 0
    executed: int = 0


COUNTED = pytest.StashKey[Count]()


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: where it stands, its language, its lines, and the comment above it."""

    page: Path
    line: int
    language: str
    lines: tuple[str, ...]
    notes: tuple[tuple[str, str], ...]

    def note(self, name: str) -> str | None:
        """Return what the comment says under a name, None if it does not."""
        return dict(self.notes).get(name)

    @property
    def place(self) -> str:
        """Page and line, as editors understand them."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def runnable(self) -> bool:
        """Whether the block holds commands that must be run or be marked as an excerpt."""
        return self.language in {"console", "sh"}

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands, one a line."""
        if self.language == "sh":
            return tuple(line for line in self.lines if line.strip() and not line.startswith("#"))
        return tuple(line.removeprefix(PROMPT) for line in self.lines if line.startswith(PROMPT))

    @property
    def printed(self) -> tuple[str, ...]:
        """What the page says that the commands print."""
        if self.language == "sh":
            return ()
        return tuple(line for line in self.lines if not line.startswith(PROMPT))

    @property
    def compared(self) -> bool:
        """Whether what the commands print must have the documented shape."""
        return bool(self.printed) and self.note("varies") is None

    @property
    def captured(self) -> bool:
        """Whether the page shows all that the commands print."""
        return self.compared and "..." not in self.printed


def pages() -> list[Path]:
    """Return every page that people read, README first."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    lines = page.read_text(encoding="utf-8").splitlines()
    fences = [n for n, line in enumerate(lines) if line.strip().startswith("```")]
    assert len(fences) % 2 == 0, f"{page}: a fence is not closed"
    for begin, end in zip(fences[::2], fences[1::2], strict=True):
        indent, _, language = lines[begin].partition("```")
        body = tuple(line.removeprefix(indent) for line in lines[begin + 1 : end])
        yield Block(page, begin + 1, language.split(" ")[0], body, _notes(lines[:begin]))


def _notes(before: list[str]) -> tuple[tuple[str, str], ...]:
    notes: list[tuple[str, str]] = []
    for line in reversed(before):
        found = _COMMENT.findall(line)
        if not found:
            break
        notes += found
    return tuple(notes)
