"""`glassplate preview`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from glassplate.flows.cli import options
from glassplate.flows.cli.results import say_written
from glassplate.flows.cli.terminal_picture import show_in_terminal
from glassplate.pipeline.errors import UsageError


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(preview)


def preview(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT|OUT.zarr",
            help="An image; FILE[SCI,2] names one in a file. Or a result.",
            show_default=False,
        ),
    ],
    target: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE.png|.html", help="What to write; -o says the same.", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE.png|.html",
            help="What to write; of an image also a page. Default: NAME.preview.png, in this folder.",
        ),
    ] = None,
    strengths: Annotated[
        list[float] | None,
        typer.Option(
            "--strength",
            metavar="S",
            help="Strength of a panel, 0 to 1; repeat it for more. Without it 0.3, 0.6 and 1, of a result "
            "0, 0.25, 0.5, 0.75 and 1.",
            show_default=False,
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="ROW,COLUMN",
            help="Pixel in the middle of the panels. Without it a few places that differ, of a result the "
            "middle.",
            show_default=False,
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Try recipes on parts of an image, or strengths of a result.

    Of an image a few small windows are restored in some tens of seconds, by the proposed recipe at several
    strengths, by draft, and for some JPEGs by a third recipe. They are drawn side by side, as PNG or as a
    page whose viewer zooms to single pixels.
    """
    from glassplate.pipeline.provenance.inspect import is_result

    place = options.parse_place(at)
    drawn = _target(path, target, output)
    if is_result(path):
        from glassplate.pipeline.export.preview import STRENGTHS as OF_RESULT
        from glassplate.pipeline.export.preview import preview as draw

        _say_drawn(draw(path, drawn, strengths or OF_RESULT, place), (), as_json=as_json)
        return
    from glassplate.flows.report.text import duration
    from glassplate.pipeline.pages.trial.trial import TrialSettings, draw_trial
    from glassplate.pipeline.sources.open_image import spec_of

    def say(words: str) -> None:
        if not as_json:
            typer.echo(words, err=True)

    spec = spec_of(path)
    settings = TrialSettings(at=place)
    if strengths:
        settings = replace(settings, strengths=strengths)
    sheet = draw_trial(spec, drawn, settings, say)
    notes = (*sheet.notes, f"it took {duration(sheet.seconds)}")
    for note in notes:
        say(note)
    _say_drawn(sheet.path, notes, as_json=as_json)


def _say_drawn(path: Path, notes: Sequence[str], *, as_json: bool) -> None:
    """Print the name of what was written, below the picture itself where the terminal shows it."""
    if not as_json and path.suffix.lower() == ".png":
        show_in_terminal(path)
    say_written(path, notes, as_json=as_json)


def _target(path: Path, *named: Path | None) -> Path:
    """The file to write, which may be named by an argument or an option."""
    given = [one for one in named if one is not None]
    if len(given) > 1:
        raise UsageError(f"{given[0]} and -o {given[1]} both name what to write; leave one out")
    return given[0] if given else Path(f"{path.name.split('.')[0]}.preview.png")
