"""`glassplate recipes` and `glassplate doctor`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from glassplate.flows.cli import options


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(recipes)
    app.command()(doctor)


def recipes(
    name: Annotated[
        str | None, typer.Argument(help="Print this one, each value explained.", show_default=False)
    ] = None,
) -> None:
    """List the shipped recipes, or print one."""
    from glassplate.pipeline.recipe import recipe_names, recipe_text

    if name is not None:
        typer.echo(recipe_text(name), nl=False)
        return
    names = recipe_names()
    width = max(map(len, names), default=0)
    for each in names:
        typer.echo(f"{each:<{width}}  {_first_comment(recipe_text(each))}")


def doctor(
    as_json: options.AsJson = False,
    no_flow: Annotated[bool, typer.Option("--no-flow", help="Leave Prefect out.")] = False,
) -> int:
    """Look at this machine and try it.

    By the rates of its device, a small restoration, what to expect of each recipe, and a real Prefect
    flow. Exit code 1 where something is wrong.
    """
    from glassplate.flows.cli.doctor import examine

    findings = examine(with_flow=not no_flow)
    ok = all(finding.ok for finding in findings)
    if as_json:
        facts = {"ok": ok, "findings": [finding.facts() for finding in findings]}
        typer.echo(json.dumps(facts, indent=2))
    else:
        for finding in findings:
            typer.echo("\n".join(finding.lines()))
    return 0 if ok else 1


def _first_comment(text: str) -> str:
    first = next((line for line in text.splitlines() if line.strip()), "")
    return first.lstrip("# ").strip() if first.startswith("#") else ""
