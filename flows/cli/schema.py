"""`glassplate schema`."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, get_args

import typer

FileKind = Literal["recipe", "job"]
Kind = Literal[
    "recipe",
    "job",
    "restore",
    "plan",
    "batch",
    "inspect",
    "verify",
    "export",
    "preview",
    "report",
    "assess",
    "recipes",
    "doctor",
]


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(schema)


def schema(
    kind: Annotated[
        Kind,
        typer.Argument(
            help="A kind of file, or a command, whose --json is meant.", show_default=False
        ),
    ],
) -> None:
    """Print the JSON schema of a recipe, job or output.

    By that of a recipe or a job an editor completes keys, explains them, and marks mistakes. That of a
    command is what its --json prints.
    """
    typer.echo(json.dumps(_schema_of(kind), indent=2))


def _schema_of(kind: Kind) -> dict[str, Any]:
    from glassplate.flows.jobs.schemas import DRAFT, described, json_schema

    if kind in get_args(FileKind):
        return json_schema(kind)  # type: ignore[arg-type]
    from glassplate.flows.cli.documents import TYPES

    title = f"glassplate {kind} --json"
    return {"$schema": DRAFT, **described(TYPES[kind], "serialization"), "title": title}
