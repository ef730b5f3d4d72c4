"""An image of the noise: the variance of each pixel, or its standard deviation, or its weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.companions.same_grid import channels_of
from glassplate.pipeline.sources.source import NoiseKind, Pixels, Source, WrappedSource
from glassplate.pipeline.tile_grid import Box

# Factor by which the variance of a pixel may differ from the mean of its neighbours' and be the same noise.
# What a pixel counts by chance changes it by less: a fifth for each sigma, at a sky of 25 electrons.
OWN_FACTOR = 4.0
# Powers of the image's unit in which each kind of noise image is given.
UNIT_POWERS: Mapping[NoiseKind, int] = {"variance": 2, "sigma": 1, "weight": -2}


class VarianceSource(WrappedSource):
    """A source whose pixels carry the variance of an image of the noise.

    A pixel is invalid where its variance is not finite or not positive. A two-dimensional noise image holds
    for all channels.

    A pixel has the mean variance of its eight neighbours. Observatories compute that of a pixel from its own
    counts: pixels that are low by chance then have the larger weight, and the level of the result is too low
    by one electron (docs/design/020-found-by-name.md).
    """

    def __init__(self, source: Source, noise: Source, kind: NoiseKind) -> None:
        super().__init__(source, noise)
        self._noise, self._kind = noise, kind

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> Pixels:
        """Read one box of the image and of its noise."""
        around = box.grown(1, self.shape[1:])
        pixels = self._read(around, channels)
        if pixels.variance is not None:
            variance = without_own_noise(pixels.variance, pixels.valid)
            pixels = replace(pixels, variance=variance)
        return pixels.cropped(box.relative_to(around).slices)

    def _read(self, box: Box, channels: tuple[int, int] | None) -> Pixels:
        pixels = self._source.read(box, channels)
        given = self._noise.read(box, channels_of(self._noise, channels))
        usable = given.valid & (given.values > 0)
        with np.errstate(over="ignore", under="ignore"):
            variance = variance_of(np.where(usable, given.values, 1), self._kind).astype(np.float32)
        # what float32 rounds to 0 or infinity cannot serve as a weight
        usable = usable & np.isfinite(variance) & (variance > 0)
        variance[~usable] = 0
        return replace(
            pixels,
            valid=pixels.valid & usable,
            variance=np.array(np.broadcast_to(variance, pixels.values.shape)),  # torch writes to it
        )


def without_own_noise(
    variance: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    """The mean variance of the valid neighbours of each valid pixel, ``(c, h, w)``.

    A pixel without a valid neighbour keeps its own, and so does one whose variance is of another kind, which
    differs by `OWN_FACTOR`.
    """
    known = np.pad(np.where(valid, variance, 0).astype(np.float64), ((0, 0), (1, 1), (1, 1)))
    count = np.pad(valid.astype(np.float64), ((0, 0), (1, 1), (1, 1)))
    total, number = (_sum_of_neighbours(one) for one in (known, count))
    mean = total / np.maximum(number, 1)
    same = (number > 0) & (mean < OWN_FACTOR * variance) & (variance < OWN_FACTOR * mean)
    return np.where(valid & same, mean, variance).astype(np.float32)


def _sum_of_neighbours(padded: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Sum over the eight neighbours of each pixel of ``(c, h + 2, w + 2)``, ``(c, h, w)``."""
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    squares: npt.NDArray[np.float64] = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    return squares - padded[:, 1:-1, 1:-1]


def variance_of(given: npt.NDArray[np.floating], kind: NoiseKind) -> npt.NDArray[np.floating]:
    """Variances of what is given as variances, standard deviations or weights, all above 0."""
    if kind == "sigma":
        return given.astype(np.float64) ** 2
    return 1 / given.astype(np.float64) if kind == "weight" else given
