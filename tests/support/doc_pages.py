"""The pages of the documentation, and the examples in them."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
GUIDE = sorted((REPOSITORY / "docs").glob("*.md"))
TUTORIALS = sorted((REPOSITORY / "docs" / "tutorials").glob("*.md"))
NOTES = sorted((REPOSITORY / "docs" / "design").glob("*.md"))
PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *GUIDE,
    *TUTORIALS,
    *NOTES,
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """Fenced code of one language, in order."""
    return [text for kind, text in FENCE.findall(page.read_text("utf-8")) if kind == language]
