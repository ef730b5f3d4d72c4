"""`glassplate report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from glassplate.flows.cli import options
from glassplate.pipeline.errors import GlassplateError, UsageError
from glassplate.pipeline.text import one_line


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(report)


def report(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="OUT.zarr|JOB.yaml|FOLDER",
            help="A result; or a job, or the folder of its results.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE.html|FILE.png",
            help="The page; or, of a result, a picture of the whole. Default: OUT.report.html beside the "
            "result, report.html in the folder.",
        ),
    ] = None,
    pages: Annotated[
        bool,
        typer.Option(
            "--pages",
            help="Of a job: first write the page of each result that has none, or an older one.",
        ),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace a file that glassplate did not write."),
    ] = False,
    as_json: options.AsJson = False,
) -> int:
    """Write a page of HTML about a result or a job.

    The page of a result shows before and after, what was removed, maps of the tiles, the curves of the fits,
    the noise and the provenance; that of a job is a table. Both open without a network. Exit codes: 0 done,
    2 wrong usage or no result, 3 some pages of a job could not be written.
    """
    from glassplate.pipeline.provenance.inspect import is_result

    if is_result(path):
        from glassplate.pipeline.pages.result_page import write_result_page
        from glassplate.pipeline.pages.result_picture import SUFFIX, write_result_picture

        if pages:
            raise UsageError(f"--pages: {path} is one result, not a job; leave --pages out")
        is_picture = output is not None and output.suffix.lower() == SUFFIX
        write = write_result_picture if is_picture else write_result_page
        _say([write(path, output, overwrite=overwrite)], [], as_json=as_json)
        return 0
    from glassplate.pipeline.pages.job_page import write_job_page, write_pages

    folder = _folder_of(path)
    written: list[Path] = []
    failed: list[str] = []
    for page in write_pages(folder) if pages else ():
        if isinstance(page, GlassplateError):
            failed.append(one_line(page))
            typer.echo(f"glassplate: {failed[-1]}", err=True)
        else:
            written.append(page)
    written.append(write_job_page(folder, output, overwrite=overwrite))
    _say(written, failed, as_json=as_json)
    return 3 if failed else 0


def _say(written: Sequence[Path], failed: Sequence[str], *, as_json: bool) -> None:
    """Print the names of the files that were written."""
    if not as_json:
        typer.echo("\n".join(map(str, written)))
        return
    from glassplate.flows.cli.documents import Written, print_document

    print_document(Written(tuple(map(str, written)), tuple(failed)))


def _folder_of(path: Path) -> Path:
    """The folder of a job's results: it is given, or the job file names it."""
    if path.is_dir():
        return path
    if not path.is_file() or path.suffix.lower() not in (".yaml", ".yml"):
        raise UsageError(
            f"{path}: is neither a result nor a job; name a result (OUT.zarr), a job file (.yaml), or the "
            "folder of its results"
        )
    from glassplate.flows.jobs.job import read_job

    return read_job(path).output
