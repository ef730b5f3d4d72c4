"""`glassplate assess`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glassplate.flows.cli import options
from glassplate.flows.report.text import number, plural

if TYPE_CHECKING:
    from glassplate.pipeline.assess.assessment import Assessment
    from glassplate.pipeline.assess.fadgi import FadgiRow
    from glassplate.pipeline.assess.photograph import Photograph
    from glassplate.pipeline.assess.residual import LevelChi2


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(assess)


def assess(
    store: options.Result,
    reference: Annotated[
        Path | None,
        typer.Option(
            "--reference",
            metavar="FILE",
            help="Compare with FITS, TIFF, PNG, JPEG or Zarr of the same shape instead.",
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Judge a result by itself, or beside a reference.

    By itself: background, residual, seams, and tone, colour, edges and noise of a photograph.
    """
    if reference is not None:
        from glassplate.pipeline.assess.compare import assess as compare

        facts = compare(store, reference)
        typer.echo(json.dumps(facts, indent=2) if as_json else _figures(facts))
        return
    from glassplate.pipeline.assess.assessment import assess_result

    assessment = assess_result(store)
    typer.echo(json.dumps(assessment.to_json(), indent=2) if as_json else _text(assessment))


def _figures(facts: dict[str, Any]) -> str:
    return "\n".join(
        f"{key:<20} {number(value) if isinstance(value, float) else value}"
        for key, value in facts.items()
    )


def _text(assessment: Assessment) -> str:
    """The assessment as a table, then what is far from expected."""
    unit, residual = assessment.unit, assessment.residual
    lines = [f"{assessment.store}: {assessment.task}, {plural(residual.pixels, 'pixel')}"]
    if assessment.background is not None:
        sky = assessment.background
        lines += [
            f"  background   {number(sky.level_before)} before, {number(sky.level_after, unit)} after; "
            f"moved by {number(sky.shift)} of its noise",
            f"  noise        {number(sky.noise_before)} before, {number(sky.noise_after, unit)} after",
        ]
    lines += [
        f"  residual     {number(residual.rms, unit)}, chi2 {number(residual.chi2)}",
        f"  neighbours   alike by {number(residual.lag1_rows)} in columns and "
        f"{number(residual.lag1_columns)} in rows; {number(residual.lag1_expected)} in the noise",
        f"  structure    correlation {number(residual.with_estimate)} with the estimate",
    ]
    places = residual.by_place
    if places is not None:
        lines.append(
            f"  by place     chi2 {number(places.low)} to {number(places.high)}, median "
            f"{number(places.median)}"
        )
    levels = [level for level in residual.by_level if level.chi2 is not None]
    if levels:
        lines += ["", f"  {'level':<28}{'chi2':>8}{'lost, of the noise':>21}"]
        lines += [
            f"  {_between(level, unit):<28}{number(level.chi2):>8}{number(level.mean):>21}"
            for level in levels
        ]
        lines.append("")
    if assessment.seams is not None:
        seams = assessment.seams
        lines.append(
            f"  seams        {number(seams.median, unit)}, {number(seams.share_of_noise)} of the noise; "
            f"highest {number(seams.highest)}"
        )
    if assessment.photograph is not None:
        lines += _photograph_lines(assessment.photograph)
        lines += ["", *_fadgi_lines(assessment.fadgi)]
    lines += ["", *(assessment.causes or ("nothing is far from what is expected",))]
    return "\n".join(lines)


def _between(level: LevelChi2, unit: str | None) -> str:
    if level.low is None:
        return f"below {number(level.high, unit)}"
    if level.high is None:
        return f"from {number(level.low, unit)}"
    return f"{number(level.low)} to {number(level.high, unit)}"


def _photograph_lines(photograph: Photograph) -> list[str]:
    tone, colour = photograph.tone, photograph.colour
    lines = [
        f"  tone         {number(tone.shift)} L* on average, at most {number(tone.largest)} at row "
        f"{tone.largest_at[0]}, column {tone.largest_at[1]}",
        f"  colour       dE2000 {number(colour.mean_difference)} on average, at most "
        f"{number(colour.largest_difference)}",
    ]
    if photograph.edges is not None:
        edges = photograph.edges
        lines += [
            f"  overshoot    {number(edges.overshoot_before)} before, {number(edges.overshoot_after)} after, "
            f"of the height of {plural(edges.count, 'edge')}",
            f"  edge rise    {number(edges.rise_before)} before, {number(edges.rise_after)} pixels after",
        ]
    if photograph.noise is not None:
        noise = photograph.noise
        lines.append(
            f"  flat noise   {number(noise.before)} before, {number(noise.after)} L* after"
        )
    return lines


def _fadgi_lines(rows: tuple[FadgiRow, ...]) -> list[str]:
    """The table for FADGI; a dash where nothing is known."""
    head = (
        f"  {'FADGI measure':<28}{'before':>9}{'after':>9}{'change':>9}  unit          given here"
    )
    lines = [head]
    for row in rows:
        values = "".join(
            f"{'-' if value is None else f'{value:.3g}':>9}"
            for value in (row.before, row.after, row.change)
        )
        needs = f"; needs {row.needs}" if row.needs else ""
        lines.append(f"  {row.measure:<28}{values}  {row.unit:<13} {row.quantity}{needs}")
    return lines
