"""The options that name an image and what goes with it, and the images that they mean."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from glassplate.pipeline.errors import UsageError

if TYPE_CHECKING:
    from glassplate.pipeline.sources.source import SourceSpec


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """The image, and the images that come with it."""

    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="FITS, TIFF, PNG or JPEG; FILE[SCI,2] names an image in it.",
            show_default=False,
        ),
    ]
    hdu: Annotated[
        list[str] | None,
        typer.Option(
            "--hdu",
            metavar="N|NAME|all",
            help="FITS extension; may be repeated. all, or a pattern such as SCI,*: each of them. "
            "Default: the first image.",
            show_default=False,
        ),
    ] = None
    page: Annotated[
        str | None,
        typer.Option(
            "--page",
            metavar="N|all",
            help="TIFF page; all: each page is a plane of a cube. Default: the first.",
        ),
    ] = None
    mask: Annotated[
        Path | None,
        typer.Option(
            "--mask", metavar="FILE", help="Image that is non-zero at pixels not to trust."
        ),
    ] = None
    variance: Annotated[
        Path | None,
        typer.Option("--variance", metavar="FILE", help="Image of each pixel's variance."),
    ] = None
    sigma: Annotated[
        Path | None,
        typer.Option("--sigma", metavar="FILE", help="Image of each pixel's standard deviation."),
    ] = None
    weight: Annotated[
        Path | None,
        typer.Option(
            "--weight",
            metavar="FILE",
            help="Image of each pixel's inverse variance; 0: do not trust the pixel.",
        ),
    ] = None
    psf: Annotated[
        Path | None,
        typer.Option(
            "--psf",
            metavar="FILE",
            help="Image of the point-spread function, on the grid of the result: for deconvolve and "
            "superres.",
        ),
    ] = None
    guide: Annotated[
        Path | None,
        typer.Option(
            "--guide", metavar="FILE", help="A second image of the same scene, on the same grid."
        ),
    ] = None
    exposures: Annotated[
        list[Path] | None,
        typer.Option(
            "--exposure",
            metavar="FILE",
            help="Another exposure of the same scene, restored with the first; may be repeated.",
        ),
    ] = None
    exposure_masks: Annotated[
        list[Path] | None,
        typer.Option(
            "--exposure-mask",
            metavar="FILE",
            help="Mask of an exposure, as --mask; one for each --exposure, in their order.",
        ),
    ] = None
    hints: Annotated[
        Path | None,
        typer.Option(
            "--hints",
            metavar="FILE",
            help="RGB or RGBA image of the known colours, on the same grid: for colorize.",
        ),
    ] = None
    overlay: Annotated[
        Path | None,
        typer.Option(
            "--overlay",
            metavar="FILE",
            help="Image with an alpha channel that was laid over the input, such as a watermark, and is "
            "removed.",
        ),
    ] = None

    @property
    def path(self) -> Path:
        """The file, without the image in brackets."""
        from glassplate.pipeline.sources.source import split_extension

        return split_extension(self.source)[0]

    def specs(self) -> list[SourceSpec]:
        """Return the images as the pipeline names them: more than one for a list or pattern of HDUs.

        Raises
        ------
        UsageError
            If more than one image of the noise is given, the page is invalid, or an image is named both in
            brackets and by an option.
        SourceError
            If a pattern means no image of the file, or the file cannot be read.
        """
        from glassplate.pipeline.sources.fits.chosen_hdus import chosen_hdus, means_several

        named, page = self._named()
        if len(named) > 1 or (named and means_several(named[0])):
            spec = self._spec(None, page)
            return [replace(spec, hdu=hdu) for hdu in chosen_hdus(self.path, named)]
        return [self._spec(named[0] if named else None, page)]

    def _named(self) -> tuple[list[int | str], int | Literal["all"] | None]:
        """HDUs and page that are named, by options or in brackets."""
        from glassplate.pipeline.sources.file_format import sniff_format
        from glassplate.pipeline.sources.source import split_extension

        path, part = split_extension(self.source)
        if part is None:
            return [_parse_hdu(text) for text in self.hdu or ()], _parse_page(self.page)
        if self.hdu or self.page is not None:
            option = "--hdu" if self.hdu else "--page"
            raise UsageError(f"{self.source}: names an image in brackets already; drop {option}")
        if isinstance(part, int) and sniff_format(path) == "tiff":
            return [], part
        return [part], None

    def _spec(self, hdu: int | str | None, page: int | Literal["all"] | None) -> SourceSpec:
        from glassplate.pipeline.sources.source import SourceSpec, noise_image

        noise, kind = noise_image(
            {"variance": self.variance, "sigma": self.sigma, "weight": self.weight}
        )
        return SourceSpec(
            path=self.path,
            hdu=hdu,
            page=page,
            mask=self.mask,
            variance=noise,
            noise_kind=kind,
            psf=self.psf,
            guide=self.guide,
            exposures=tuple(self.exposures or ()),
            exposure_masks=tuple(self.exposure_masks or ()),
            hints=self.hints,
            overlay=self.overlay,
        )


def _parse_hdu(text: str) -> int | str:
    """The index of a FITS extension if the text is a number, else its name."""
    return int(text) if text.lstrip("-").isdigit() else text


def _parse_page(text: str | None) -> int | Literal["all"] | None:
    if text is None:
        return None
    if text == "all":
        return "all"
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"--page {text}: expected a number from 0, or all")
    return int(text)
