"""`glassplate assess`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glassplate.flows.cli import options
from glassplate.flows.report.text import number, plural
from glassplate.pipeline.errors import UsageError

if TYPE_CHECKING:
    from glassplate.pipeline.assess.assessment import Assessment
    from glassplate.pipeline.assess.fadgi import FadgiRow
    from glassplate.pipeline.assess.injection.inject import Recovery
    from glassplate.pipeline.assess.photograph import Photograph

# What is said where there is no cause to name.
NOTHING = "nothing is far from what is expected"


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """Artificial sources."""

    inject: Annotated[
        int | None,
        typer.Option(
            "--inject",
            metavar="N",
            min=1,
            help="Put N artificial stars and galaxies into the input, restore their tiles again, and "
            "measure them.",
        ),
    ] = None
    seed: Annotated[
        int | None,
        typer.Option("--seed", metavar="N", min=0, help="Seed of their places. Default: 0."),
    ] = None
    psf: Annotated[
        Path | None,
        typer.Option(
            "--psf",
            metavar="FILE",
            help="Image of the point-spread function; without it, it is measured in the image.",
        ),
    ] = None
    figure: Annotated[
        Path | None,
        typer.Option("--figure", metavar="FILE.png", help="Also draw what --inject finds."),
    ] = None

    def check(self, reference: Path | None) -> None:
        """Refuse options that do not go together.

        Raises
        ------
        UsageError
        """
        if self.inject is not None:
            if reference is not None:
                raise UsageError(
                    f"--inject {self.inject} and --reference {reference}: give one of them; sources are "
                    "compared with what was put in"
                )
            return
        for name in ("seed", "psf", "figure"):
            value = getattr(self, name)
            if value is not None:
                raise UsageError(
                    f"--{name} {value}: belongs to --inject N; add it or leave --{name} out"
                )


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(options.grouped(assess))


def assess(
    store: options.Result,
    sources: SourceOptions,
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
    sources.check(reference)
    if sources.inject is not None:
        _inject(store, sources.inject, sources, as_json=as_json)
        return
    if reference is not None:
        from glassplate.pipeline.assess.compare import assess as compare

        facts = compare(store, reference)
        _say(facts, _figures(facts), as_json=as_json)
        return
    from glassplate.pipeline.assess.assessment import assess_result

    assessment = assess_result(store)
    _say(assessment, _text(assessment), as_json=as_json)


def _say(document: Any, text: str, *, as_json: bool) -> None:
    if not as_json:
        typer.echo(text)
        return
    from glassplate.flows.cli.documents import print_document

    print_document(document)


def _inject(store: Path, count: int, sources: SourceOptions, *, as_json: bool) -> None:
    """Measure artificial sources, print what was found, and draw it."""
    from glassplate.pipeline.assess.injection.inject import inject
    from glassplate.pipeline.assess.injection.recovery_figure import check_figure, draw_recovery

    if sources.figure is not None:
        check_figure(sources.figure)
    injection = inject(store, count, seed=sources.seed or 0, psf=sources.psf)
    if sources.figure is not None:
        draw_recovery(injection, sources.figure)
    recovery = injection.recovery
    _say(recovery, "\n".join(_recovery_lines(recovery)), as_json=as_json)


def _recovery_lines(recovery: Recovery) -> list[str]:
    """Artificial sources before and after as a table, then what is far from expected."""
    lines = [
        f"{recovery.store}: {plural(recovery.sources, 'source')} of {recovery.requested} in "
        f"{plural(recovery.tiles, 'tile')}, width {number(recovery.fwhm)} pixels ({recovery.psf})"
    ]
    if recovery.failed:
        lines.append(f"  {plural(recovery.failed, 'tile')} failed, and their sources are left out")
    heads = f"{'completeness':>14}{'flux bias':>16}{'scatter':>15}{'shift':>15}{'width':>15}{'kept':>14}"
    lines += ["", f"  {'':<18}{heads}"]
    for row in recovery.rows:
        pairs = (
            _pair(row.before.completeness, row.after.completeness, 14),
            _pair(row.before.flux_bias, row.after.flux_bias, 16),
            _pair(row.before.flux_scatter, row.after.flux_scatter, 15),
            _pair(row.before.shift, row.after.shift, 15),
            _pair(row.before.width, row.after.width, 15),
        )
        error = "" if row.kept_error is None else f" +- {row.kept_error:.2f}"
        kept = "-" if row.kept is None else f"{row.kept:.2f}{error}"
        name = f"{row.sources} {row.kind} S/N {row.significance}"
        lines.append(f"  {name:<18}{''.join(pairs)}{kept:>14}")
    lines += ["", f"  {'purity':<18}{'detections':>14}{'true':>16}"]
    for one in recovery.purity:
        counts = f"{one.detections_before} > {one.detections_after}"
        lines.append(
            f"  {f'S/N {one.significance}':<18}{counts:>14}{_pair(one.before, one.after, 16)}"
        )
    return [*lines, "", *(recovery.causes or (NOTHING,))]


def _pair(before: float | None, after: float | None, width: int) -> str:
    """A figure of the input and of the result."""
    text = " > ".join("-" if value is None else f"{value:.2f}" for value in (before, after))
    return f"{text:>{width}}"


def _figures(facts: dict[str, Any]) -> str:
    return "\n".join(
        f"{key:<20} {number(value) if isinstance(value, float) else value}"
        for key, value in facts.items()
    )


def _text(assessment: Assessment) -> str:
    """The assessment as a table, then what is far from expected."""
    unit, residual = assessment.unit, assessment.residual
    lines = [f"{assessment.store}: {assessment.task}, {plural(residual.pixels, 'pixel')}"]
    if assessment.background is not None and assessment.photograph is None:
        sky = assessment.background
        lines += [
            f"  background   {number(sky.level_before)} before, {number(sky.level_after, unit)} after; "
            f"moved by {number(sky.shift)} of its noise",
            f"  noise        {number(sky.noise_before)} before, {number(sky.noise_after, unit)} after",
        ]
    lines += [
        f"  residual     {number(residual.rms, unit)}, chi2 {number(residual.chi2)}",
        f"  neighbours   correlation {number(residual.lag1_rows)} in columns and "
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
        level_of = f"level, {unit}" if unit else "level"
        lines += ["", f"  {level_of:<28}{'chi2':>8}{'light lost, in sigmas':>23}"]
        lines += [
            f"  {level.limits:<28}{number(level.chi2):>8}{number(level.mean):>23}"
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
    lines += ["", *(assessment.causes or (NOTHING,))]
    # a part that is left out leaves no second empty line
    return "\n".join(
        line for line, before in zip(lines, ["", *lines], strict=False) if line or before
    )


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
        f"  {'FADGI measure':<27}{'before':>8}{'after':>8}{'change':>9}  unit          given here"
    )
    lines = [head]
    for row in rows:
        values = "".join(
            f"{'-' if value is None else f'{value:.3g}':>{width}}"
            for value, width in ((row.before, 8), (row.after, 8), (row.change, 9))
        )
        needs = f"; needs {row.needs}" if row.needs else ""
        lines.append(f"  {row.measure:<27}{values}  {row.unit:<13} {row.quantity}{needs}")
    return lines
