"""The user's noise image: the variance of each pixel, or its standard deviation, or its weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.companions.same_grid import channels_of
from glassplate.pipeline.sources.source import NoiseKind, Pixels, Source, WrappedSource
from glassplate.pipeline.tile_grid import Box

# Powers of the image's unit in which each kind of noise image is given.
UNIT_POWERS: Mapping[NoiseKind, int] = {"variance": 2, "sigma": 1, "weight": -2}


class VarianceSource(WrappedSource):
    """A source whose pixels carry the variance that the user gives.

    A pixel is invalid where its variance is not finite or not positive. A two-dimensional noise image holds
    for all channels.
    """

    def __init__(self, source: Source, noise: Source, kind: NoiseKind) -> None:
        super().__init__(source, noise)
        self._noise, self._kind = noise, kind

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> Pixels:
        """Read one box of the image and of its noise."""
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


def variance_of(given: npt.NDArray[np.floating], kind: NoiseKind) -> npt.NDArray[np.floating]:
    """Variances of what is given as variances, standard deviations or weights, all above 0."""
    if kind == "sigma":
        return given.astype(np.float64) ** 2
    return 1 / given.astype(np.float64) if kind == "weight" else given
