"""Compares a result with a reference of the same scene, cell by cell, in source units."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import zarr

from glassplate.models.metrics import SSIM_RADIUS, ssim_sum
from glassplate.pipeline.assess.result import BoolArray, FloatArray, ResultImage, ZarrImage
from glassplate.pipeline.errors import SourceError, UsageError
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.sources.file_format import sniff_format
from glassplate.pipeline.sources.source import Source, SourceSpec, split_extension
from glassplate.pipeline.sources.unpack import forget_unpacked
from glassplate.pipeline.tile_grid import Box

# Side of a cell in pixels. Structural similarity of a cell of 1024 x 1024 pixels needs about 300 MB for each
# channel.
CELL = 1024


class Image(Protocol):
    """An image to compare, read in boxes."""

    shape: tuple[int, int, int]
    """``(c, y, x)``."""
    dtype: np.dtype[Any]

    def read(self, box: Box) -> tuple[FloatArray, BoolArray]:
        """Return values ``(c, h, w)`` in source units, and where they are valid."""
        ...


@dataclass
class _Sums:
    """Sums over the cells."""

    pixels: int = 0
    square: float = 0.0
    """Squares of the difference."""
    flux: float = 0.0
    reference_flux: float = 0.0
    weighted_square: float = 0.0
    """Squares of the difference over the variance of the noise."""
    weighted: int = 0
    similarity: float = 0.0
    windows: int = 0


def assess(store: Path, reference: Path) -> dict[str, Any]:
    """Compare level 0 of a result with a reference, over the pixels that are valid in both.

    Memory does not grow with the image.

    Parameters
    ----------
    store
        A result.
    reference
        FITS, TIFF, PNG, JPEG or Zarr of the shape of the result. ``file.fits[SCI]`` names an extension.

    Returns
    -------
    figures
        JSON-able; None for a figure that is infinite or cannot be computed. `psnr_db` refers to
        `data_range`: the range of the reference's type for integers, else from its least to its greatest
        valid value. `ssim` is that of Wang et al. 2004. `mse` is in squared source units. `bias` is the mean
        difference. `chi2` is the mean squared difference over the variance of the input's noise: about 1
        against another exposure with the same noise, less against the truth, None for super-resolution.
        `flux_ratio` is the ratio of the sums.

    Raises
    ------
    StoreError
        If there is no result at `store`.
    SourceError
        If the reference cannot be read.
    UsageError
        If the shapes differ, or no pixel is valid in both.
    """
    result = ResultImage(store)
    with _opened(reference) as truth:
        if truth.shape != result.shape:
            raise UsageError(
                f"reference {reference}: its shape {_size(truth.shape)} is not that of {store}, "
                f"{_size(result.shape)}; both must be on the same grid"
            )
        data_range = _data_range(result, truth)
        sums = _Sums()
        for cell in _cells(result.shape):
            _add(sums, cell, result, truth, data_range)
    if not sums.pixels:
        raise UsageError(f"reference {reference}: no pixel is valid in it and in {store}")
    return _figures(sums, data_range)


@dataclass(frozen=True)
class _Cell:
    """A region whose pixels are counted, and the larger region that contains its similarity windows."""

    box: Box
    around: Box

    @property
    def inner(self) -> tuple[slice, ...]:
        """Index of the counted pixels in an array of the larger region, ``(c, h, w)``."""
        height, width = self.box.shape
        return slice(None), slice(0, height), slice(0, width)


def _cells(shape: tuple[int, int, int]) -> Iterator[_Cell]:
    """Cut an image into cells. Each similarity window lies in exactly one of the larger regions."""
    _, height, width = shape
    for y in range(0, height, CELL):
        for x in range(0, width, CELL):
            y1, x1 = min(y + CELL, height), min(x + CELL, width)
            box = Box(y, y1, x, x1)
            reach = 2 * SSIM_RADIUS
            yield _Cell(box, Box(y, min(y1 + reach, height), x, min(x1 + reach, width)))


def _add(sums: _Sums, cell: _Cell, result: ResultImage, truth: Image, data_range: float) -> None:
    values, known = result.read(cell.around)  # (c, h, w)
    wanted, trusted = truth.read(cell.around)  # (c, h, w)
    good = known & trusted
    similarity, windows = ssim_sum(values, wanted, data_range, good)
    sums.similarity += similarity
    sums.windows += windows
    inner = good[cell.inner]
    x, y = values[cell.inner][inner], wanted[cell.inner][inner]  # (n,)
    sums.pixels += x.size
    sums.flux += float(x.sum())
    sums.reference_flux += float(y.sum())
    square = (x - y) ** 2
    sums.square += float(square.sum())
    if result.noise is not None:
        variance = np.asarray(result.noise.pixel_variance(values)[cell.inner][inner], np.float64)
        noisy = variance > 0
        sums.weighted_square += float((square[noisy] / variance[noisy]).sum())
        sums.weighted += int(noisy.sum())


def _data_range(result: ResultImage, truth: Image) -> float:
    if truth.dtype.kind in "iu":
        limits = np.iinfo(truth.dtype)
        return float(limits.max) - float(limits.min)
    low, high = math.inf, -math.inf
    for cell in _cells(result.shape):
        _, known = result.read(cell.box)
        wanted, trusted = truth.read(cell.box)
        values = wanted[known & trusted]
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    return high - low if high >= low else 0.0


def _figures(sums: _Sums, data_range: float) -> dict[str, Any]:
    mse = sums.square / sums.pixels
    decibels = math.nan
    if mse > 0 and data_range > 0:
        decibels = 10 * math.log10(data_range**2 / mse)
    figures = {
        "psnr_db": decibels,
        "ssim": sums.similarity / sums.windows if sums.windows else math.nan,
        "mse": mse,
        "rmse": math.sqrt(mse),
        "bias": (sums.flux - sums.reference_flux) / sums.pixels,
        "chi2": sums.weighted_square / sums.weighted if sums.weighted else math.nan,
        "flux": sums.flux,
        "reference_flux": sums.reference_flux,
        "flux_ratio": sums.flux / sums.reference_flux if sums.reference_flux else math.nan,
        "data_range": data_range,
    }
    finite = {key: value if math.isfinite(value) else None for key, value in figures.items()}
    return {**finite, "pixels": sums.pixels}


class _FileImage:
    """An image file."""

    def __init__(self, source: Source) -> None:
        self._source = source
        channels, height, width = source.shape
        self.shape = (channels + (source.alpha is not None), height, width)
        self.dtype = source.dtype

    def read(self, box: Box) -> tuple[FloatArray, BoolArray]:
        """Return values, and where they are valid in the file."""
        pixels = self._source.read(box)
        values, valid = pixels.values.astype(np.float64), pixels.valid
        if self._source.alpha is not None:
            # alpha is not restored, so it is not compared
            values = np.concatenate([values, self._source.alpha(box)[None]])
            valid = np.concatenate([valid, np.zeros((1, *box.shape), bool)])
        return values, valid


@contextmanager
def _opened(reference: Path) -> Iterator[Image]:
    if reference.is_dir():
        yield ZarrImage(_open_zarr(reference))
        return
    path, part = split_extension(reference)
    on_page = isinstance(part, int) and sniff_format(path) == "tiff"
    spec = (
        SourceSpec(path, page=int(part))
        if on_page and part is not None
        else SourceSpec(path, hdu=part)
    )
    source = open_source(spec)
    try:
        yield _FileImage(source)
    finally:
        source.close()
        forget_unpacked(spec)


def _open_zarr(folder: Path) -> zarr.Array[Any]:
    """Open a Zarr array, or the finest level of an OME-Zarr group."""
    try:
        node = zarr.open(folder, mode="r")
        if isinstance(node, zarr.Group):
            attributes: dict[str, Any] = dict(node.attrs)
            images = attributes.get("ome", attributes)["multiscales"]
            node = node[images[0]["datasets"][0]["path"]]
    except (FileNotFoundError, ValueError, KeyError, IndexError) as error:
        raise SourceError(
            f"reference {folder}: is neither a Zarr array nor an OME-Zarr image"
        ) from error
    if not isinstance(node, zarr.Array) or node.ndim not in {2, 3}:
        raise SourceError(f"reference {folder}: expected an array (y, x) or (c, y, x)")
    return node


def _size(shape: tuple[int, int, int]) -> str:
    return " x ".join(str(length) for length in (shape if shape[0] > 1 else shape[1:]))
