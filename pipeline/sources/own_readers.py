"""The readers of FITS, TIFF, and of the formats of pictures that are decoded as a whole.

The libraries are imported when a file of theirs is met: tifffile and astropy take half a second each.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from glassplate.pipeline.sources.readers import Reader
from glassplate.pipeline.sources.source import Format, ImageInfo, Source, SourceSpec


class FitsReader:
    """FITS, primary images and extensions."""

    name = "fits"
    like: Format = "fits"

    def reads(self, start: bytes) -> bool:
        """Whether it begins with the first card of the standard."""
        return start.startswith(b"SIMPLE")

    def images(self, path: Path) -> tuple[list[ImageInfo], list[str]]:
        """List every HDU."""
        from glassplate.pipeline.sources.fits.image import fits_images

        return fits_images(path)

    def open(self, spec: SourceSpec, path: Path) -> Source:
        """Open an HDU."""
        from glassplate.pipeline.sources.fits.image import FitsSource

        return FitsSource(spec, path)


class TiffReader:
    """TIFF and BigTIFF, of either byte order."""

    name = "tiff"
    like: Format = "tiff"

    def reads(self, start: bytes) -> bool:
        """Whether it begins with a byte order and the number 42 or 43 in it."""
        return start.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"))

    def images(self, path: Path) -> tuple[list[ImageInfo], list[str]]:
        """List every page."""
        from glassplate.pipeline.sources.tiff.pages import tiff_images

        return tiff_images(path)

    def open(self, spec: SourceSpec, path: Path) -> Source:
        """Open a page, or all as the planes of a cube."""
        if spec.page == "all":
            from glassplate.pipeline.sources.tiff.cube import PagesSource

            return PagesSource(spec, path)
        from glassplate.pipeline.sources.tiff.image import TiffSource

        return TiffSource(spec, path)


@dataclass
class RasterReader:
    """A format of pictures that is decoded as a whole."""

    name: Format
    starts: tuple[bytes, ...]
    """The first bytes of its files: one of these."""

    @property
    def like(self) -> Format:
        """Its own name."""
        return self.name

    def reads(self, start: bytes) -> bool:
        """Whether it begins with a signature of the format."""
        return start.startswith(self.starts)

    def images(self, path: Path) -> tuple[list[ImageInfo], list[str]]:
        """List the one image."""
        from glassplate.pipeline.sources.raster.image import raster_images

        return raster_images(path, self.name)

    def open(self, spec: SourceSpec, path: Path) -> Source:
        """Decode the image."""
        from glassplate.pipeline.sources.raster.image import RasterSource

        return RasterSource(spec, path, self.name)


class WebpReader(RasterReader):
    """WebP, which is a kind of RIFF."""

    def reads(self, start: bytes) -> bool:
        """Whether the RIFF is of the kind WebP."""
        return start.startswith(b"RIFF") and start[8:12] == b"WEBP"


OWN_READERS: tuple[Reader, ...] = (
    FitsReader(),
    TiffReader(),
    RasterReader("png", (b"\x89PNG\r\n\x1a\n",)),
    RasterReader("jpeg", (b"\xff\xd8\xff",)),
    RasterReader("jpeg2000", (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")),
    RasterReader("jpegxl", (b"\0\0\0\x0cJXL \r\n\x87\n", b"\xff\x0a")),
    WebpReader("webp", ()),
)
