"""What the site adds to the pages: the list of decisions, so that nobody has to keep one."""

from pathlib import Path
from typing import Any

DECISIONS = Path(__file__).parents[1] / "docs" / "decisions"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Append the decisions to their page; called by mkdocs."""
    if page.file.src_uri != "decisions/index.md":
        return markdown
    return markdown + "\n" + "\n".join(decisions()) + "\n"


def decisions() -> list[str]:
    """Return a list item for each decision, with the title that it gives itself."""
    return [f"- [{_title(file)}]({file.name})" for file in sorted(DECISIONS.glob("0*.md"))]


def _title(file: Path) -> str:
    first = file.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("# ").strip()
