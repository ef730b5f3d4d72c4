"""Writes a result as a tiled, deflated TIFF with the tags of the input."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from glassplate.pipeline.export.level import BLOCK_BYTES, ExportedImage
from glassplate.pipeline.export.tiff.description import Written
from glassplate.pipeline.export.tiff.tags import (
    ExtraTag,
    extra_tags,
    resolution_of_microscope,
    scaled_resolution,
    software_text,
    turned_text,
)
from glassplate.pipeline.reader_warnings import collected_warnings
from glassplate.pipeline.sources.metadata.exif import write_directories
from glassplate.pipeline.sources.source import MOST_JOINT_PLANES
from glassplate.pipeline.sources.tiff.nodata import NODATA_TAG, parse_nodata
from glassplate.pipeline.sources.tiff.page_tags import of_page
from glassplate.pipeline.tile_grid import Box

TILE = 256

# Classic TIFF ends at 4 GiB. Deflate may not shrink noise, and tags need room too.
_BIG_BYTES = 2 << 30

# Number of colours of each photometric interpretation. Further samples are alpha and the like.
_COLOURS = {0: 1, 1: 1, 2: 3, 5: 4, 6: 3, 8: 3, 9: 3, 10: 3}
_MINISWHITE, _MINISBLACK, _RGB = 0, 1, 2
_DESCRIPTION = 270
_CENTIMETRE = 3  # as a unit of resolution

# Encoded tiles that wait to be written. The default of tifffile is 256 MiB.
_BUFFER_BYTES = 8 << 20


@dataclass(frozen=True)
class _Form:
    """How the pixels of every page are stored."""

    channels: int
    """Samples of a pixel of a page."""
    photometric: int
    extra_samples: list[int]
    bits: int | None
    """Bits of a sample if they are fewer than those of the type."""
    nodata: float | None
    """What stands for NaN."""
    black: int | None
    """The stored number of black, if white is stored as 0."""

    @property
    def apart(self) -> bool:
        """Whether the channels are stored one after another."""
        return self.channels > max(MOST_JOINT_PLANES, _COLOURS[self.photometric] + 1)


def write_tiff(image: ExportedImage, path: Path, smaller: Sequence[ExportedImage] = ()) -> None:
    """Write one page, or as many as the input has; BigTIFF above 2 GiB of pixels, and of a pyramid.

    The tag Software becomes ``glassplate VERSION; recipe NAME; run ID; input by SOFTWARE``, with ``strength
    S`` after the run if it is below 1: the program that wrote the file, and the one that wrote the input.
    Other tags are carried over, page by page; what is about pixels is adapted to those that are written. The
    pixels are not rotated: Orientation stays as in the input.

    Parameters
    ----------
    image
        The level that is written.
    path
        The file.
    smaller
        Coarser levels of the same result. They follow the page, marked as smaller copies, as GDAL, libvips
        and IIPImage expect of a pyramid. Of several pages, the levels of each are behind its tag SubIFDs:
        GDAL would take all that follow for those of the first page.
    """
    found = image.attributes.get("tiff") or image.attributes.get("raster") or {}
    pages = int(found.get("pages", 1))
    form = _form(image, found, pages)
    of_pages = [of_page(found, number) for number in range(pages)]
    big = bool(smaller) or _is_big(image)
    with (
        collected_warnings(image.origin),
        tifffile.TiffWriter(path, bigtiff=big, byteorder="<") as tiff,
    ):
        for number, tags in enumerate(of_pages):
            page = slice(number * form.channels, (number + 1) * form.channels)
            described = _described(image, tags, pages)
            if pages > 1:
                described["subifds"] = len(smaller)
            _write_page(tiff, image, form, page, described)
            for level in smaller:
                _write_page(tiff, level, form, page, {"subfiletype": 1})
    write_directories(path, of_pages, image.factor, image.shape[1:])


def _form(image: ExportedImage, found: Mapping[str, Any], pages: int) -> _Form:
    channels = image.shape[0] // pages
    photometric, extra_samples = _interpretation(found, channels)
    bits = _packed_bits(found, image.dtype)
    black = None
    if found.get("min_is_white") and photometric == _MINISBLACK and image.dtype.kind == "u":
        photometric, black = _MINISWHITE, 2 ** (bits or 8 * image.dtype.itemsize) - 1
    return _Form(channels, photometric, extra_samples, bits, _nodata(found, image.dtype), black)


def _described(image: ExportedImage, found: Mapping[str, Any], pages: int) -> dict[str, Any]:
    """The tags of a page, for tifffile's writer."""
    written = Written(image.factor, pages, image.shape[1:], image.dtype)
    icc = found.get("icc") or image.attributes.get("xisf", {}).get("icc")
    tags: list[ExtraTag] = extra_tags(found, written, enhanced=image.is_enhanced)
    resolution, unit = scaled_resolution(found, image.factor), found.get("resolution_unit")
    if pages == 1 and not any(code == _DESCRIPTION for code, *_ in tags):
        # of one page of several, the description that states the size of a pixel is not carried
        of_microscope = resolution_of_microscope(found, image.factor)
        resolution, unit = (of_microscope, _CENTIMETRE) if of_microscope else (resolution, unit)
    if image.turned:
        tags.append(turned_text())
    return {
        "software": software_text(image, found),
        "iccprofile": base64.b64decode(icc) if icc else None,
        "resolution": resolution,
        "resolutionunit": unit if resolution else None,
        "extratags": tags,
    }


def _write_page(
    tiff: tifffile.TiffWriter,
    image: ExportedImage,
    form: _Form,
    page: slice,
    tags: Mapping[str, Any],
) -> None:
    """Write some planes of a level as a page."""
    _, height, width = image.shape
    shape = (form.channels, height, width) if form.apart else (height, width, form.channels)
    colours = form.channels > 1
    tiff.write(
        _tiles(image, page, form),
        shape=shape if colours else (height, width),
        dtype=image.dtype.newbyteorder("="),
        tile=(TILE, TILE),
        photometric=form.photometric,
        planarconfig=("separate" if form.apart else "contig") if colours else None,
        extrasamples=form.extra_samples or None,
        bitspersample=form.bits,
        # packed integers of odd depths are stored without compression, since no codec takes them
        compression=None if form.bits else "zlib",
        predictor=not form.bits and image.dtype.itemsize <= 4,
        metadata=None,
        maxworkers=1,
        buffersize=_BUFFER_BYTES,
        **tags,
    )


def _is_big(image: ExportedImage) -> bool:
    channels, height, width = image.shape
    return channels * height * width * image.dtype.itemsize > _BIG_BYTES


def _tiles(image: ExportedImage, page: slice, form: _Form) -> Iterator[npt.NDArray[Any]]:
    """Yield the tiles of a page in the file's order, ``(TILE, TILE, c)`` or by plane ``(TILE, TILE)``."""
    _, height, width = image.shape
    groups = [slice(c, c + 1) for c in range(page.start, page.stop)] if form.apart else [page]
    for planes in groups:
        # several tiles are read at once, so that the index of a shard is not read again for each tile
        tile_bytes = (planes.stop - planes.start) * TILE * TILE * image.dtype.itemsize
        run = max(1, BLOCK_BYTES // tile_bytes) * TILE
        for y in range(0, height, TILE):
            for x in range(0, width, run):
                box = Box(y, min(y + TILE, height), x, min(x + run, width))
                block = _stored(image.read(box, planes), form)  # (c, h, w)
                block = np.moveaxis(block, 0, 2)  # (h, w, c)
                for at in range(0, block.shape[1], TILE):
                    yield _padded(block[:, at : at + TILE])


def _stored(block: npt.NDArray[Any], form: _Form) -> npt.NDArray[Any]:
    """The numbers that are stored for pixels ``(c, h, w)``."""
    if form.nodata is not None:
        block = np.where(np.isnan(block), block.dtype.type(form.nodata), block)
    if form.bits is not None:
        block = np.minimum(block, 2**form.bits - 1)
    if form.black is not None:
        block = block.copy()
        block[0] = block.dtype.type(form.black) - block[0]  # grey; what follows is alpha
    return block


def _padded(tile: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Pad a tile at the edge by repeating its last row and column, which compress better than zeros."""
    missing = [(0, TILE - tile.shape[0]), (0, TILE - tile.shape[1]), (0, 0)]
    whole = np.pad(tile, missing, mode="edge")
    return whole[:, :, 0] if whole.shape[2] == 1 else np.ascontiguousarray(whole)


def _interpretation(found: Mapping[str, Any], channels: int) -> tuple[int, list[int]]:
    """Return the photometric interpretation and the kinds of the samples that are no colours."""
    if "photometric" in found:
        photometric = int(found["photometric"])
    else:
        photometric = _RGB if channels == 3 else _MINISBLACK
    if _COLOURS.get(photometric, channels + 1) > channels:
        photometric = _MINISBLACK
    extra = channels - _COLOURS[photometric]
    kinds = [int(kind) for kind in found.get("extra_samples", ())]
    return photometric, (kinds + [0] * extra)[:extra]


def _packed_bits(found: Mapping[str, Any], dtype: np.dtype[Any]) -> int | None:
    """Return the bits per sample if they are fewer than those of the type."""
    bits = found.get("bits_per_sample")
    if not isinstance(bits, int) or dtype.kind != "u" or bits >= dtype.itemsize * 8:
        return None
    return bits


def _nodata(found: Mapping[str, Any], dtype: np.dtype[Any]) -> float | None:
    """Return the input's nodata value, which replaces NaN: GDAL then takes NaN for data."""
    if dtype.kind != "f":
        return None
    stated = [tag[4] for tag in found.get("tags", ()) if tag[0] == NODATA_TAG]
    return parse_nodata(stated[0], dtype) if stated else None
