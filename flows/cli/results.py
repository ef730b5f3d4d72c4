"""`glassplate inspect`, `verify`, `export` and `preview`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from glassplate.flows.cli import options
from glassplate.flows.report.text import number, plural
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.export.fits.plane_names import PlaneName

ROW_ORDER = "FITS counts them from the bottom, other formats from the top"


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(inspect)
    app.command()(verify)
    app.command()(export)
    app.command()(preview)


def inspect(
    path: Annotated[Path, typer.Argument(help="An image or a result.", show_default=False)],
    as_json: options.AsJson = False,
) -> None:
    """Show what an image file or a result holds."""
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
        text = _source_text(path, facts)
    typer.echo(json.dumps(facts, indent=2) if as_json else text)


def verify(store: options.Result, as_json: options.AsJson = False) -> int:
    """Check a result: complete, undamaged, its input unchanged. Exit code 1 if it is not."""
    from glassplate.pipeline.provenance.verify import verify as checks_of

    checks = checks_of(store)
    ok = all(check.ok for check in checks)
    if as_json:
        facts = {"ok": ok, "checks": [dataclasses.asdict(check) for check in checks]}
        typer.echo(json.dumps(facts, indent=2))
    else:
        for check in checks:
            typer.echo(f"{'ok  ' if check.ok else 'BAD '} {check.name}: {check.detail}")
    return 0 if ok else 1


def export(
    store: options.Result,
    target: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.fits|FILE.tif|FILE.jp2", help="What to write.", show_default=False
        ),
    ],
    level: Annotated[
        int,
        typer.Option(
            "--level", metavar="N", min=0, help="Level of the pyramid; 0 is full resolution."
        ),
    ] = 0,
    strength: Annotated[
        float,
        typer.Option(
            "--strength",
            metavar="S",
            help="Share of what was removed that stays removed: 1 the result, 0 the input.",
        ),
    ] = 1.0,
    pyramid: Annotated[
        bool,
        typer.Option(
            "--pyramid",
            help="Write a pyramidal BigTIFF, for image servers and geographic programs.",
        ),
    ] = False,
    bagit: Annotated[
        bool,
        typer.Option(
            "--bagit",
            help="Write a bag for an archive: a folder with the image, what was removed, a PREMIS event and "
            "the provenance.",
        ),
    ] = False,
    others: Annotated[
        list[Path] | None,
        typer.Option(
            "--with",
            metavar="OUT.zarr",
            help="A result of another HDU of the same FITS file, for the same export; may be repeated.",
            show_default=False,
        ),
    ] = None,
    add: Annotated[
        list[PlaneName] | None,
        typer.Option(
            "--add",
            help="What a FITS file has as a further extension; may be repeated.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a result as FITS, TIFF or JPEG 2000, or as a bag.

    The file has the header or the tags of the source, and a FITS file its other HDUs.
    """
    from glassplate.pipeline.events import Event, Warned

    if bagit:
        from glassplate.pipeline.export.archive.bag import export_bag

        if level or strength != 1 or others or add:
            raise UsageError(
                "--bagit: a bag holds the whole result; leave --level, --strength, --with and --add out"
            )
        typer.echo(export_bag(store, target, pyramid=pyramid))
        return
    from glassplate.pipeline.export.export import export as export_result
    from glassplate.pipeline.export.export import is_turned
    from glassplate.pipeline.store.ome_zarr import read_attributes

    def warn(event: Event) -> None:
        if isinstance(event, Warned):
            typer.echo(f"warning: {event.message}", err=True)

    stores = [store, *(others or ())]
    done = export_result(
        stores, target, level, strength, pyramid=pyramid, add=add or (), listener=warn
    )
    typer.echo(done)
    if is_turned(read_attributes(store), target):
        typer.echo(f"{target}: rows are in the opposite order: {ROW_ORDER}", err=True)


def preview(
    store: options.Result,
    target: Annotated[
        Path, typer.Argument(metavar="FILE.png", help="What to write.", show_default=False)
    ],
    strengths: Annotated[
        list[float] | None,
        typer.Option(
            "--strength",
            metavar="S",
            help="Strength of a panel, 0 to 1; repeat it for more. Without it 0, 0.25, 0.5, 0.75 and 1.",
            show_default=False,
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="ROW,COLUMN",
            help="Pixel in the middle of the panels. Without it the middle of the image.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Draw a part of a result at several strengths side by side, as PNG."""
    from glassplate.pipeline.export.preview import STRENGTHS
    from glassplate.pipeline.export.preview import preview as draw

    typer.echo(draw(store, target, strengths or STRENGTHS, options.parse_place(at)))


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
    return "\n".join(lines)


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
