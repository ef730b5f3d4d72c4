"""Write the tables of tasks and keys in recipes.md from the code: `make docs`.

The text of a key is the docstring of its field and its default is that of the field, so that the page agrees
with the program. tests/test_docs.py fails where the page is out of date.
"""

from __future__ import annotations

import inspect
import re
import sys
import typing
from pathlib import Path
from typing import Any

from glassplate.pipeline.recipes.field_texts import field_texts
from glassplate.pipeline.recipes.recipe import Recipe
from glassplate.pipeline.tasks import TASKS

PAGE = Path(__file__).parent / "recipes.md"
BEGIN, END = "<!-- keys: made by docs/recipe_keys.py -->", "<!-- keys: end -->"


def values_text(annotation: Any) -> str:
    """The values that a key takes, in words."""
    if typing.get_origin(annotation) is typing.Literal:
        return ", ".join(f"`{value}`" for value in typing.get_args(annotation))
    if isinstance(annotation, type):
        return {
            "int": "whole number",
            "float": "number",
            "bool": "`true`, `false`",
            "str": "text",
        }.get(annotation.__name__, annotation.__name__)
    if typing.get_origin(annotation) is tuple:
        return f"list of {values_text(typing.get_args(annotation)[0])}"
    parts = [part for part in typing.get_args(annotation) if part is not type(None)]
    words = [values_text(part) for part in parts]
    return " or ".join(words + (["`null`"] if type(None) in typing.get_args(annotation) else []))


def default_text(value: Any) -> str:
    """A default as it is written in YAML."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def section_table(name: str, settings: type, defaults: Any) -> str:
    """The keys of one section as a Markdown table, below the purpose of the section."""
    texts, hints = field_texts(settings), typing.get_type_hints(settings)
    summary = (inspect.getdoc(settings) or "").split("\n\n")[0].replace("\n", " ")
    lines = [
        f"### {name}",
        "",
        summary,
        "",
        "| key | takes | default | meaning |",
        "|---|---|---|---|",
    ]
    for key in (
        key for key in hints if hasattr(defaults, key) and not key.startswith(("_", "model_"))
    ):
        cells = [
            f"`{name}.{key}`",
            values_text(hints[key]),
            f"`{default_text(getattr(defaults, key))}`",
            texts.get(key, ""),
        ]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


OPTIONS = {"psf": "`--psf`", "guide": "`--guide`", "hints": "`--hints`", "variance": "`--variance`"}


def tasks_table() -> str:
    """The tasks as a Markdown table."""
    lines = ["| `task` | the result is | needs | may take |", "|---|---|---|---|"]
    for name, task in TASKS.items():
        needs = ", ".join(text for key, text in OPTIONS.items() if key in task.needs) or "nothing"
        takes = (
            ", ".join(text for key, text in OPTIONS.items() if key in task.takes - task.needs)
            or "nothing"
        )
        lines.append(f"| `{name}` | {task.result} | {needs} | {takes} |")
    return "\n".join(lines)


def keys_text() -> str:
    """The table of tasks, then all sections in the order of a recipe."""
    recipe = Recipe()
    sections = [
        (name, hint, getattr(recipe, name))
        for name, hint in typing.get_type_hints(Recipe).items()
        if name in Recipe.model_fields and isinstance(hint, type) and hint is not int
    ]
    return "\n\n".join([tasks_table(), *(section_table(*section) for section in sections)])


def updated(page: str) -> str:
    """The page with its tables made anew."""
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    return pattern.sub(lambda _: f"{BEGIN}\n\n{keys_text()}\n\n{END}", page)


def main() -> None:
    """Write the tables; with --check only say whether they are up to date."""
    page = PAGE.read_text("utf-8")
    if "--check" in sys.argv[1:]:
        if updated(page) != page:
            raise SystemExit(f"{PAGE.name} is out of date: run `make docs`")
        return
    PAGE.write_text(updated(page), "utf-8")


if __name__ == "__main__":
    main()
