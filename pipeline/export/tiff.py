"""Writes a result as a tiled, deflated TIFF with the tags of the input."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from glassplate.pipeline.export.level import BLOCK_BYTES, ExportedImage
from glassplate.pipeline.reader_warnings import collected_warnings
from glassplate.pipeline.sources.exif import write_directories
from glassplate.pipeline.sources.source import MOST_JOINT_PLANES
from glassplate.pipeline.sources.tiff.nodata import NODATA_TAG, parse_nodata
from glassplate.pipeline.sources.tiff.tags import extra_tags, scaled_resolution
from glassplate.pipeline.tile_grid import Box

TILE = 256

# Classic TIFF ends at 4 GiB. Deflate may not shrink noise, and tags need room too.
_BIG_BYTES = 2 << 30

# Number of colours of each photometric interpretation. Further samples are alpha and the like.
_COLOURS = {0: 1, 1: 1, 2: 3, 5: 4, 6: 3, 8: 3, 9: 3, 10: 3}
_MINISBLACK, _RGB = 1, 2

# Encoded tiles that wait to be written. The default of tifffile is 256 MiB.
_BUFFER_BYTES = 8 << 20


def write_tiff(image: ExportedImage, path: Path) -> None:
    """Write one page, or as many as the input has; BigTIFF above 2 GiB of pixels.

    The tag Software becomes ``glassplate VERSION; recipe NAME; run ID; input by SOFTWARE``, with ``strength
    S`` after the run if it is below 1: the program that wrote the file, and the one that wrote the input.
    Other tags are carried over unchanged, except that resolution, GeoTIFF and the sizes in EXIF and XMP
    follow the pixels. The pixels are not rotated: Orientation stays as in the input.
    """
    planes, height, width = image.shape
    found = image.attributes.get("tiff") or image.attributes.get("raster") or {}
    pages = [slice(p, p + 1) for p in range(planes)] if found.get("pages") else [slice(0, planes)]
    channels = pages[0].stop
    apart = channels > MOST_JOINT_PLANES
    photometric, extra_samples = _interpretation(found, channels)
    bits = _packed_bits(found, image.dtype)
    nodata = _nodata(found, image.dtype)
    icc = found.get("icc")
    resolution = scaled_resolution(found, image.factor)
    shape = (channels, height, width) if apart else (height, width, channels)
    with (
        collected_warnings(image.origin),
        tifffile.TiffWriter(path, bigtiff=_is_big(image), byteorder="<") as tiff,
    ):
        for page in pages:
            tiff.write(
                _tiles(image, page, apart, bits, nodata),
                shape=shape if channels > 1 else (height, width),
                dtype=image.dtype.newbyteorder("="),
                tile=(TILE, TILE),
                photometric=photometric,
                planarconfig=("separate" if apart else "contig") if channels > 1 else None,
                extrasamples=extra_samples or None,
                bitspersample=bits,
                # packed integers of odd depths are stored without compression, since no codec takes them
                compression=None if bits else "zlib",
                predictor=not bits and image.dtype.itemsize <= 4,
                software=_software(image, found),
                metadata=None,
                iccprofile=base64.b64decode(icc) if icc else None,
                resolution=resolution,
                resolutionunit=found.get("resolution_unit") if resolution else None,
                extratags=extra_tags(found, image.factor),
                maxworkers=1,
                buffersize=_BUFFER_BYTES,
            )
    write_directories(path, found, image.factor, (height, width))


def _is_big(image: ExportedImage) -> bool:
    channels, height, width = image.shape
    return channels * height * width * image.dtype.itemsize > _BIG_BYTES


def _tiles(
    image: ExportedImage, page: slice, apart: bool, bits: int | None, nodata: float | None
) -> Iterator[npt.NDArray[Any]]:
    """Yield the tiles of a page in the file's order, ``(TILE, TILE, c)`` or by plane ``(TILE, TILE)``."""
    _, height, width = image.shape
    groups = [slice(c, c + 1) for c in range(page.start, page.stop)] if apart else [page]
    for planes in groups:
        # several tiles are read at once, so that the index of a shard is not read again for each tile
        tile_bytes = (planes.stop - planes.start) * TILE * TILE * image.dtype.itemsize
        run = max(1, BLOCK_BYTES // tile_bytes) * TILE
        for y in range(0, height, TILE):
            for x in range(0, width, run):
                box = Box(y, min(y + TILE, height), x, min(x + run, width))
                block = image.read(box, planes)  # (c, h, w)
                if nodata is not None:
                    block = np.where(np.isnan(block), block.dtype.type(nodata), block)
                if bits is not None:
                    block = np.minimum(block, 2**bits - 1)
                block = np.moveaxis(block, 0, 2)  # (h, w, c)
                for at in range(0, block.shape[1], TILE):
                    yield _padded(block[:, at : at + TILE])


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


def _software(image: ExportedImage, found: Mapping[str, Any]) -> bytes:
    run = image.run
    text = f"{image.software}; recipe {run.get('recipe', '')}; run {run.get('run_id', '')}"
    if image.removed is not None:
        text += f"; strength {image.strength:g}"
    before = found.get("software")
    if isinstance(before, str) and before.strip():
        # after several restorations, name the last one and the first program
        first = before.rpartition("input by ")[2] if before.startswith("glassplate") else before
        if not first.startswith("glassplate"):
            text += f"; input by {first.strip()}"
    return text.encode("utf-8")
