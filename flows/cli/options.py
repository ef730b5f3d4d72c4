"""The options of the commands, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from glassplate.flows.report.progress import KINDS, Kind
from glassplate.pipeline.errors import UsageError

if TYPE_CHECKING:
    from glassplate.pipeline.sources.source import SourceSpec

DeviceName: TypeAlias = Literal["auto", "cpu", "cuda"]
DEVICES: tuple[DeviceName, ...] = ("auto", "cpu", "cuda")
# As far as operator.scale of a recipe goes.
MOST_SCALE = 16

Input = Annotated[
    Path, typer.Argument(metavar="INPUT", help="FITS, TIFF, PNG or JPEG.", show_default=False)
]
Result = Annotated[Path, typer.Argument(metavar="OUT.zarr", help="A result.", show_default=False)]
JobFile = Annotated[Path, typer.Argument(metavar="JOB.yaml", help="A job.", show_default=False)]
RecipeName = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="NAME|FILE",
        help="A shipped recipe or a YAML file. Without it: astro-denoise for FITS, archive-denoise "
        "for the rest.",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override one value of the recipe; may be repeated."
    ),
]
Scale = Annotated[
    str | None, typer.Option("--scale", metavar="N", help="Super-resolution factor, 2 to 16.")
]
Hdu = Annotated[
    str | None,
    typer.Option("--hdu", metavar="N|NAME", help="FITS extension. Default: the first image."),
]
Page = Annotated[
    str | None,
    typer.Option(
        "--page",
        metavar="N|all",
        help="TIFF page; all: each a plane of a cube. Default: the first.",
    ),
]
Mask = Annotated[
    Path | None,
    typer.Option(
        "--mask", metavar="FILE", help="Image of the pixels not to trust: non-zero there."
    ),
]
Variance = Annotated[
    Path | None,
    typer.Option("--variance", metavar="FILE", help="Image of each pixel's variance."),
]
Sigma = Annotated[
    Path | None,
    typer.Option("--sigma", metavar="FILE", help="Image of each pixel's standard deviation."),
]
Weight = Annotated[
    Path | None,
    typer.Option(
        "--weight", metavar="FILE", help="Image of each pixel's inverse variance; 0: not to trust."
    ),
]
PsfFile = Annotated[
    Path | None,
    typer.Option(
        "--psf",
        metavar="FILE",
        help="Image of the point-spread function, on the grid of the result: for deconvolve and "
        "superres.",
    ),
]
GuideFile = Annotated[
    Path | None,
    typer.Option(
        "--guide", metavar="FILE", help="A second image of the same scene, on the same grid."
    ),
]
Exposures = Annotated[
    list[Path] | None,
    typer.Option(
        "--exposure",
        metavar="FILE",
        help="Another exposure of the same scene, restored with the first; may be repeated.",
    ),
]
Donor = Annotated[
    Path | None,
    typer.Option(
        "--donor",
        metavar="PREVIOUS.zarr",
        help="Start from the donor of an earlier result of much the same scene.",
    ),
]
HintsFile = Annotated[
    Path | None,
    typer.Option(
        "--hints",
        metavar="FILE",
        help="RGBA or RGB image of the colours that are known, on the same grid: for colorize.",
    ),
]
OverlayFile = Annotated[
    Path | None,
    typer.Option(
        "--overlay",
        metavar="FILE",
        help="Image with an alpha channel that was laid over the input, such as a watermark: taken off.",
    ),
]
PoolKind = Annotated[
    str,
    typer.Option(
        "--pool",
        metavar="auto|inline|local|ADDRESS",
        help="Who does the work; a Dask scheduler's address, or local processes.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", metavar="N", min=1, help="Local processes. Default: one a GPU, or a core."
    ),
]
Device = Annotated[
    str, typer.Option("--device", metavar="auto|cpu|cuda", help="What fits the tiles.")
]
Progress = Annotated[
    str, typer.Option("--progress", metavar="|".join(KINDS), help="How progress is shown.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def parse_progress(text: str) -> Kind:
    """One of the kinds of display.

    Raises
    ------
    UsageError
        If it is none of them.
    """
    for kind in KINDS:
        if kind == text:
            return kind
    raise UsageError(f"--progress {text}: expected one of {', '.join(KINDS)}")


def parse_device(text: str) -> DeviceName:
    """One of the devices.

    Raises
    ------
    UsageError
        If it is none of them.
    """
    for device in DEVICES:
        if device == text:
            return device
    raise UsageError(f"--device {text}: expected auto, cpu or cuda")


def parse_scale(text: str | None) -> int | None:
    """A super-resolution factor.

    Raises
    ------
    UsageError
        If there is no operator for it.
    """
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_SCALE):
        raise UsageError(f"--scale {text}: expected a whole number from 2 to {MOST_SCALE}")
    return int(text)


def parse_page(text: str | None) -> int | Literal["all"] | None:
    """A TIFF page, or all of them.

    Raises
    ------
    UsageError
        If it is neither.
    """
    if text is None or text == "all":
        return text if text is None else "all"
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"--page {text}: expected a number from 0, or all")
    return int(text)


def parse_source(
    path: Path,
    *,
    hdu: str | None,
    page: str | None,
    mask: Path | None,
    variance: Path | None,
    sigma: Path | None,
    weight: Path | None,
    psf: Path | None,
    guide: Path | None,
    exposures: list[Path] | None,
    hints: Path | None,
    overlay: Path | None,
) -> SourceSpec:
    """Which image is meant; digits are the number of an extension, else its name.

    Raises
    ------
    UsageError
        If the noise is given more than once, or the page is none.
    """
    from glassplate.pipeline.sources.source import SourceSpec, noise_image

    noise, kind = noise_image({"variance": variance, "sigma": sigma, "weight": weight})
    number = int(hdu) if hdu is not None and hdu.lstrip("-").isdigit() else hdu
    return SourceSpec(
        path=path,
        hdu=number,
        page=parse_page(page),
        mask=mask,
        variance=noise,
        noise_kind=kind,
        psf=psf,
        guide=guide,
        exposures=tuple(exposures or ()),
        hints=hints,
        overlay=overlay,
    )
