"""`glassplate inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from glassplate.flows.cli import options
from glassplate.flows.report.text import number, plural
from glassplate.pipeline.errors import GlassplateError
from glassplate.pipeline.text import one_line


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(inspect)


def inspect(
    path: Annotated[Path, typer.Argument(help="An image or a result.", show_default=False)],
    pixels: Annotated[
        bool,
        typer.Option(
            "--pixels/--no-pixels",
            help="Look at windows of the image too, and propose a recipe.",
        ),
    ] = True,
    as_json: options.AsJson = False,
) -> None:
    """Show what an image file or a result holds.

    Of an image also noise, missing and saturated pixels, the width of stars, and the recipe that suits.
    """
    from glassplate.pipeline.provenance.inspect import inspect_result, is_result

    if is_result(path):
        facts = inspect_result(path)
        text = _result_text(path, facts)
    else:
        from glassplate.pipeline.planning.companions.find_companions import companions_by_hdu
        from glassplate.pipeline.sources.describe import describe
        from glassplate.pipeline.sources.source import split_extension

        facts = describe(path)
        found = companions_by_hdu(split_extension(path)[0])
        for image in facts["images"]:
            image["companions"] = found.get(image["index"], [])
        facts["look"] = _look(path) if pixels else None
        text = _source_text(path, facts)
    if as_json:
        from glassplate.flows.cli.documents import print_document

        print_document(facts)
    else:
        typer.echo(text)


def _look(path: Path) -> dict[str, Any]:
    """What the pixels of the image show that a restoration would take; else why it would take none."""
    from glassplate.pipeline.planning.first_look import first_look
    from glassplate.pipeline.sources.open_image import spec_of

    try:
        return first_look(spec_of(path)).to_json()
    except GlassplateError as error:
        return {"refused": one_line(error)}


def _size(shape: list[int]) -> str:
    return " x ".join(str(length) for length in shape) or "no image"


def _source_text(path: Path, facts: dict[str, Any]) -> str:
    lines = [f"{path}: {facts['format'].upper()}, {plural(len(facts['images']), 'image')}"]
    for image in facts["images"]:
        unit = f" {image['unit']}" if image["unit"] else ""
        state = "" if image["restorable"] else f"; cannot be restored: {image['reason']}"
        state += f"; {image['note']}" if image["note"] else ""
        name = f" {image['name']}" if image["name"] else ""
        lines.append(
            f"  {image['index']}{name}: {_size(image['shape'])} {image['dtype']}{unit}{state}"
        )
        lines += [f"      with {companion}" for companion in image["companions"]]
    return "\n".join([*lines, *_look_lines(facts["look"])])


def _look_lines(look: dict[str, Any] | None) -> list[str]:
    """What the pixels show, and what is proposed."""
    if look is None:
        return []
    if "refused" in look:
        return [f"  refused    {look['refused']}"]
    lines = [
        f"  noise      {look['noise_words']}",
        f"  neighbours correlation of their noise {number(look['correlation'])}; 0 in white noise",
        f"  missing    {_share(look['missing'])} of the pixels looked at",
        f"  saturated  {_share(look['saturated'])}",
    ]
    if look["star_width"] is not None:
        lines.append(
            f"  stars      about {number(look['star_width'])} pixels wide: {look['sampling']}"
        )
    if look["jpeg"] is not None:
        down, across = look["jpeg"]["sampling"]
        lines.append(
            f"  jpeg       of quality {look['jpeg']['quality']}, colours for each {down} x {across} pixels"
        )
    lines += [f"  warning    {warning}" for warning in look["warnings"]]
    lines.append(f"  because    {look['reason']}")
    if look["command"] is not None:
        lines.append(f"  try        {look['command']}")
    return lines


def _share(share: float) -> str:
    """A share in percent; a few pixels are not rounded to none."""
    return "none" if share == 0 else f"{100 * share:.2g} %"


def _result_text(path: Path, facts: dict[str, Any]) -> str:
    tiles, unit, source = facts["tiles"], facts["unit"], facts["source"]
    lines = [
        f"{path}: {facts['status']}, recipe {facts['recipe']}",
        f"  image    {_size(facts['shape'])} {facts['dtype']}{' ' + unit if unit else ''}, "
        f"{plural(facts['levels'], 'level')}",
        f"  tiles    {tiles['done']} of {tiles['total']} done, {tiles['quarantined']} quarantined",
    ]
    summary = facts["summary"]
    if summary:
        before, after = summary.get("noise_before"), summary.get("noise_after")
        lines.append(f"  noise    {number(before)} before, {number(after, unit)} after")
        if summary.get("chi2"):
            spread = summary["chi2"]
            lines.append(
                f"  chi2     {number(spread['median'])} a pixel, {number(spread['low'])} to "
                f"{number(spread['high'])} in nine tiles of ten"
            )
        if summary.get("filled_pixels"):
            lines.append(f"  filled   {plural(summary['filled_pixels'], 'pixel')}")
        if summary.get("kept_rays"):
            lines.append(
                f"  kept     {plural(summary['kept_rays'], 'pixel')} like rays, as measured"
            )
        if summary.get("wild_pixels"):
            lines.append(f"  wild     {plural(summary['wild_pixels'], 'pixel')} taken for invalid")
        if summary.get("guarded_pixels"):
            lines.append(
                f"  guarded  {plural(summary['guarded_pixels'], 'pixel')} of faint sources given back"
            )
    lines += [f"  with     {companion}" for companion in (summary or {}).get("companions", ())]
    if facts["donor"]:
        lines.append(f"  donor    from {facts['donor']['store']}")
    lines += [f"  source   {source['path']}", f"  run      {facts['run_id']}"]
    return "\n".join(lines)
