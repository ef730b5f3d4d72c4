"""Writing a result as TIFF: tiles, deflate, and what the input's tags said."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from glassplate.pipeline.export.level import BLOCK_BYTES, ExportedImage
from glassplate.pipeline.grid import Box
from glassplate.pipeline.reader_warnings import collected_warnings
from glassplate.pipeline.sources.exif import write_directories
from glassplate.pipeline.sources.source import MOST_JOINT_PLANES
from glassplate.pipeline.sources.tiff.nodata import NODATA_TAG, parse_nodata
from glassplate.pipeline.sources.tiff.tags import extra_tags, scaled_resolution

TILE = 256

# Classic TIFF ends at 4 GiB; deflate may not shrink noise, and tags need room too.
_BIG_BYTES = 2 << 30

# Samples that a photometric interpretation takes; what is above is alpha and the like.
_COLOURS = {0: 1, 1: 1, 2: 3, 5: 4, 6: 3, 8: 3, 9: 3, 10: 3}
_MINISBLACK, _RGB = 1, 2

# Encoded tiles in flight; tifffile's own default is 256 MiB.
_BUFFER_BYTES = 8 << 20


def write_tiff(image: ExportedImage, path: Path) -> None:
    """Write one page of tiles, or as many as the input had; BigTIFF above 2 GiB of pixels.

    Software becomes ``glassplate VERSION; recipe NAME; run ID; input by SOFTWARE``: who wrote the
    file, and who wrote the one it was made from. The other carried tags stay as they are, except
    that resolution, GeoTIFF and the sizes in EXIF and XMP follow the pixels. The pixels are not turned:
    Orientation says how to look at them, as in the input.
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
                # packed integers of odd depths are stored plain: no codec takes them
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
    """Tiles of a page in the order of the file, ``(TILE, TILE, c)``, or by plane ``(TILE, TILE)``."""
    _, height, width = image.shape
    groups = [slice(c, c + 1) for c in range(page.start, page.stop)] if apart else [page]
    for planes in groups:
        # a run of tiles is read at once: a shard's index is not read anew for each tile
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
    """A whole tile, its last row and column repeated: zeros would cost more to compress."""
    missing = [(0, TILE - tile.shape[0]), (0, TILE - tile.shape[1]), (0, 0)]
    whole = np.pad(tile, missing, mode="edge")
    return whole[:, :, 0] if whole.shape[2] == 1 else np.ascontiguousarray(whole)


def _interpretation(found: Mapping[str, Any], channels: int) -> tuple[int, list[int]]:
    """Photometric interpretation, and the kinds of the samples beyond its colours."""
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
    """Bits per sample, where they are not those of the type."""
    bits = found.get("bits_per_sample")
    if not isinstance(bits, int) or dtype.kind != "u" or bits >= dtype.itemsize * 8:
        return None
    return bits


def _nodata(found: Mapping[str, Any], dtype: np.dtype[Any]) -> float | None:
    """What stands for NaN where the input named such a value: GDAL takes NaN for data then."""
    if dtype.kind != "f":
        return None
    stated = [tag[4] for tag in found.get("tags", ()) if tag[0] == NODATA_TAG]
    return parse_nodata(stated[0], dtype) if stated else None


def _software(image: ExportedImage, found: Mapping[str, Any]) -> bytes:
    run = image.run
    text = f"{image.software}; recipe {run.get('recipe', '')}; run {run.get('run_id', '')}"
    before = found.get("software")
    if isinstance(before, str) and before.strip():
        # of a chain of restorations the last one and the first program are named
        first = before.rpartition("input by ")[2] if before.startswith("glassplate") else before
        if not first.startswith("glassplate"):
            text += f"; input by {first.strip()}"
    return text.encode("utf-8")
