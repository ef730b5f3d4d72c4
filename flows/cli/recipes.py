"""`glassplate recipes`."""

from __future__ import annotations

from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(recipes)


def recipes(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Print this recipe, with each of its values explained.", show_default=False
        ),
    ] = None,
) -> None:
    """List the shipped recipes, or print one."""
    from glassplate.pipeline.recipes.recipe import recipe_names, recipe_text

    if name is not None:
        typer.echo(recipe_text(name), nl=False)
        return
    names = recipe_names()
    width = max(map(len, names), default=0)
    for each in names:
        typer.echo(f"{each:<{width}}  {_first_comment(recipe_text(each))}")


def _first_comment(text: str) -> str:
    first = next((line for line in text.splitlines() if line.strip()), "")
    return first.lstrip("# ").strip() if first.startswith("#") else ""
