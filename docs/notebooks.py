"""Write the tutorials as notebooks beside their pages: `make docs`.

A page and its notebook have the same text and code: examples in Python become cells, those in bash become
cells of ``%%bash``, and a job becomes a cell that writes job.yaml, as the tests of the tutorials do. What the
tests do not run stays text. tests/test_docs.py fails where a notebook is out of date.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

TUTORIALS = Path(__file__).parent / "tutorials"
STEP = re.compile(r"^(<!-- not run: .+? -->\n)?```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MAGIC = {"python": "", "bash": "%%bash\n", "yaml": "%%writefile job.yaml\n"}


def notebook(page: str) -> dict[str, Any]:
    """The notebook of a page of Markdown, in version 4.4 of the format, whose cells need no names."""
    cells: list[dict[str, Any]] = []
    end = 0
    for step in STEP.finditer(page):
        not_run, kind, code = step.groups()
        if not_run or kind not in MAGIC:
            continue
        cells += _text(page[end : step.start()])
        source = (MAGIC[kind] + code).rstrip("\n").splitlines(keepends=True)
        cells.append(
            {
                "cell_type": "code",
                "execution_count": None,
                "metadata": {},
                "outputs": [],
                "source": source,
            }
        )
        end = step.end()
    cells += _text(page[end:])
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 4,
    }


def _text(page: str) -> list[dict[str, Any]]:
    """A cell of text without the comments for the tests; none if nothing is left."""
    text = re.sub(r"^<!-- .+? -->\n", "", page, flags=re.MULTILINE).strip("\n")
    lines = text.splitlines(keepends=True)
    return [{"cell_type": "markdown", "metadata": {}, "source": lines}] if lines else []


def main() -> None:
    """Write the notebooks; with --check only say whether they are up to date."""
    for page in sorted(TUTORIALS.glob("*.md")):
        made = json.dumps(notebook(page.read_text("utf-8")), indent=1, ensure_ascii=False) + "\n"
        target = page.with_suffix(".ipynb")
        if "--check" not in sys.argv[1:]:
            target.write_text(made, "utf-8")
        elif not target.is_file() or target.read_text("utf-8") != made:
            raise SystemExit(f"{target.name} is out of date: run `make docs`")


if __name__ == "__main__":
    main()
