"""Write the table of keys in recipes.md from the settings themselves: `make docs`.

The text of each key is the string under its field in the code, its default is the field's, so that the page
cannot say anything else than the program does. tests/test_docs.py fails where the page is behind.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import sys
import textwrap
import typing
from pathlib import Path
from typing import Any

from glassplate.pipeline.recipe import Recipe

PAGE = Path(__file__).parent / "recipes.md"
BEGIN, END = "<!-- keys: made by docs/recipe_keys.py -->", "<!-- keys: end -->"


def field_texts(settings: type) -> dict[str, str]:
    """The string under each field of a class, on one line."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(settings)))
    fields = next(node.body for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    texts = {}
    for field, below in itertools.pairwise(fields):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                texts[name] = " ".join(text.split())
    return texts


def values_text(annotation: Any) -> str:
    """What a key takes, in words."""
    if typing.get_origin(annotation) is typing.Literal:
        return ", ".join(f"`{value}`" for value in typing.get_args(annotation))
    if isinstance(annotation, type):
        return {
            "int": "whole number",
            "float": "number",
            "bool": "`true`, `false`",
            "str": "text",
        }.get(annotation.__name__, annotation.__name__)
    parts = [part for part in typing.get_args(annotation) if part is not type(None)]
    words = [values_text(part) for part in parts]
    return " or ".join(words + (["`null`"] if type(None) in typing.get_args(annotation) else []))


def default_text(value: Any) -> str:
    """A default as YAML would have it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def section_table(name: str, settings: type, defaults: Any) -> str:
    """The keys of one section as a Markdown table, under what the section is for."""
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


def keys_text() -> str:
    """All sections, in the order of a recipe."""
    recipe = Recipe()
    sections = [
        (name, hint, getattr(recipe, name))
        for name, hint in typing.get_type_hints(Recipe).items()
        if name in Recipe.model_fields and isinstance(hint, type) and hint is not int
    ]
    return "\n\n".join(section_table(*section) for section in sections)


def updated(page: str) -> str:
    """The page with the tables as they should be."""
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    return pattern.sub(lambda _: f"{BEGIN}\n\n{keys_text()}\n\n{END}", page)


def main() -> None:
    """Write the tables; with --check only say whether they are as they should be."""
    page = PAGE.read_text("utf-8")
    if "--check" in sys.argv[1:]:
        if updated(page) != page:
            raise SystemExit(f"{PAGE.name} is behind the settings: run `make docs`")
        return
    PAGE.write_text(updated(page), "utf-8")


if __name__ == "__main__":
    main()
