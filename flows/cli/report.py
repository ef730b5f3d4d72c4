"""`glassplate report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from glassplate.pipeline.errors import UsageError


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(report)


def report(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="OUT.zarr|JOB.yaml|FOLDER",
            help="A result, or a job or the folder of its results.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE.html",
            help="The page. Default: OUT.report.html beside the result, or report.html in the folder.",
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace a file that is not a page of glassplate."),
    ] = False,
) -> None:
    """Write a page of HTML that shows a result, or all results of a job. It opens without a network.

    Of a result: before and after, what was removed, maps of the tiles, curves, noise, provenance.
    """
    from glassplate.pipeline.provenance.inspect import is_result

    if is_result(path):
        from glassplate.pipeline.pages.result_page import write_result_page

        typer.echo(write_result_page(path, output, overwrite=overwrite))
        return
    raise UsageError(f"{path}: is neither a result nor a job; name a result, such as OUT.zarr")
