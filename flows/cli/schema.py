"""`glassplate schema`."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(schema)


def schema(
    kind: Annotated[
        Literal["recipe", "job"],
        typer.Argument(help="The kind of file.", show_default=False),
    ],
) -> None:
    """Print the JSON schema of recipes or jobs, for editors.

    By it an editor completes keys, explains them, and marks mistakes.
    """
    from glassplate.flows.jobs.schemas import json_schema

    typer.echo(json.dumps(json_schema(kind), indent=2))
