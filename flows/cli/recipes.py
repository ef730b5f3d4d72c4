"""`glassplate recipes`."""

from __future__ import annotations

import itertools
from typing import Annotated

import typer

from glassplate.flows.cli import options

# Begins the comment of a recipe that says what it was measured to do.
MEASURED = "Measured: "


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
    table: Annotated[
        bool,
        typer.Option(
            "--table", help="Measure how fast each is on this machine, and say how well it did."
        ),
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """List the shipped recipes, or print one."""
    from glassplate.pipeline.recipes.recipe import recipe_names, recipe_text

    if name is not None and table:
        raise typer.BadParameter(f"--table lists all recipes; drop it, or {name}")
    if as_json:
        _print_json(name, table=table)
        return
    if name is not None:
        typer.echo(recipe_text(name), nl=False)
        return
    if table:
        _print_table()
        return
    names = recipe_names()
    width = max(map(len, names), default=0)
    for each in names:
        typer.echo(f"{each:<{width}}  {_first_comment(recipe_text(each))}")


def _print_json(name: str | None, *, table: bool) -> None:
    """Print the values of one recipe, or what all are for and, for the table, how fast each is."""
    import yaml

    from glassplate.flows.cli.documents import ListedRecipe, ListedRecipes, print_document
    from glassplate.pipeline.planning.timing.recipe_rates import recipe_rates
    from glassplate.pipeline.recipes.recipe import recipe_names, recipe_text

    if name is not None:
        print_document(yaml.safe_load(recipe_text(name)))
        return
    rates = {rate.recipe: rate.megapixels_per_hour for rate in recipe_rates()} if table else {}
    texts = {each: recipe_text(each) for each in recipe_names()}
    listed = (
        ListedRecipe(
            each,
            yaml.safe_load(text)["task"],
            _first_comment(text),
            _measured(text),
            rates.get(each),
        )
        for each, text in texts.items()
    )
    print_document(ListedRecipes(tuple(listed)))


def _print_table() -> None:
    """Print the rate of one worker with each recipe, and what it was measured to do."""
    from glassplate.pipeline.planning.timing.recipe_rates import IMAGE_SIDE, recipe_rates
    from glassplate.pipeline.recipes.recipe import recipe_text

    rates = recipe_rates()
    width = max(len(rate.recipe) for rate in rates)
    typer.echo(f"Megapixels an hour of one worker here, grey input of {IMAGE_SIDE} x {IMAGE_SIDE}:")
    for rate in rates:
        measured = _measured(recipe_text(rate.recipe))
        typer.echo(f"{rate.recipe:<{width}}  {rate.megapixels_per_hour:>8.3g}  {measured}".rstrip())


def _first_comment(text: str) -> str:
    return next(iter(_leading_comments(text)), "")


def _measured(text: str) -> str:
    """What a recipe was measured to do, or nothing."""
    found = (line for line in _leading_comments(text) if line.startswith(MEASURED))
    return next(found, "").removeprefix(MEASURED)


def _leading_comments(text: str) -> list[str]:
    """Comments above the first key."""
    lines = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    return [line.lstrip("# ").strip() for line in lines]
