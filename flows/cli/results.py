"""`glassplate verify` and `export`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from glassplate.flows.cli import options
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.export.fits.plane_names import PlaneName


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(verify)
    app.command()(export)


def verify(store: options.Result, as_json: options.AsJson = False) -> int:
    """Check a result: complete, undamaged, its input unchanged. Exit code 1 if it is not."""
    from glassplate.pipeline.provenance.verify import verify as checks_of

    checks = checks_of(store)
    ok = all(check.ok for check in checks)
    if as_json:
        from glassplate.flows.cli.documents import Verified, print_document

        print_document(Verified(ok, tuple(checks)))
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
    as_json: options.AsJson = False,
) -> None:
    """Write a result as FITS, TIFF or JPEG 2000, or as a bag.

    The file has the header or the tags of the source, and a FITS file its other HDUs.
    """
    from glassplate.pipeline.events import Event, Noted, Warned

    if bagit:
        from glassplate.pipeline.export.archive.bag import export_bag

        if level or strength != 1 or others or add:
            raise UsageError(
                "--bagit: a bag holds the whole result; leave --level, --strength, --with and --add out"
            )
        say_written(export_bag(store, target, pyramid=pyramid), as_json=as_json)
        return
    from glassplate.pipeline.export.export import export as export_result

    said: list[str] = []

    def tell(event: Event) -> None:
        if isinstance(event, Warned | Noted):
            said.append(event.message)
            before = "warning: " if isinstance(event, Warned) else ""
            typer.echo(f"{before}{event.message}", err=True)

    stores = [store, *(others or ())]
    done = export_result(
        stores, target, level, strength, pyramid=pyramid, add=add or (), listener=tell
    )
    say_written(done, said, as_json=as_json)


def say_written(path: Path, messages: Sequence[str] = (), *, as_json: bool) -> None:
    """Print the name of the file that was written; the messages have been said, unless it is JSON."""
    if not as_json:
        typer.echo(path)
        return
    from glassplate.flows.cli.documents import Written, print_document

    print_document(Written((str(path),), tuple(messages)))
