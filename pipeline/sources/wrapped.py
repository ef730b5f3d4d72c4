"""Sources that stand around another one: here with the user's mask, variance and guide joined to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.grid import Box
from glassplate.pipeline.sources.source import AlphaReader, NoiseKind, Pixels, Source
from glassplate.pipeline.sources.unreadable import refused


class WrappedSource:
    """What a source that stands around another one takes over from it."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.spec = source.spec
        self.format, self.info, self.unit = source.format, source.info, source.unit
        self.shape, self.ndim, self.joint = source.shape, source.ndim, source.joint
        self.dtype = source.dtype
        self.working_dtype = source.working_dtype
        self.output_dtype = source.output_dtype
        self.metadata: dict[str, Any] = source.metadata
        self.alpha: AlphaReader | None = source.alpha
        self.resident_bytes = source.resident_bytes

    def close(self) -> None:
        """Close the image, which this owns."""
        self._source.close()


class ForeignSource(WrappedSource):
    """A source as its format's reader gives it, whose exceptions are refusals."""

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> Pixels:
        """Read one box."""
        with refused(self.spec.path):
            return self._source.read(box, channels)


class JoinedSource(WrappedSource):
    """Another source whose pixels carry a mask, a variance, a guide, or several of them.

    A pixel is invalid where the mask is non-zero or itself invalid, and where the variance is not
    finite or not positive. A two-dimensional mask or variance holds for all channels. What is given as the
    variance may be standard deviations or weights: `kind` says which.
    """

    def __init__(
        self,
        source: Source,
        *,
        mask: Source | None,
        variance: Source | None,
        guide: Source | None,
        kind: NoiseKind = "variance",
    ) -> None:
        super().__init__(source)
        self._kind = kind
        self._mask, self._variance, self._guide = mask, variance, guide
        self.resident_bytes = sum(one.resident_bytes for one in self._all())

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> Pixels:
        """Read one box of the image and of its companions."""
        pixels = self._source.read(box, channels)
        values, valid = pixels.values, pixels.valid
        variance: npt.NDArray[np.float32] | None = None
        if self._mask is not None:
            mask = self._mask.read(box, _channels_of(self._mask, channels))
            valid = valid & (mask.values == 0) & mask.valid  # a (1, h, w) mask spreads
        if self._variance is not None:
            given = self._variance.read(box, _channels_of(self._variance, channels))
            usable = given.valid & (given.values > 0)
            with np.errstate(over="ignore", under="ignore"):
                single = variance_of(np.where(usable, given.values, 1), self._kind).astype(
                    np.float32
                )
            # what float32 rounds to 0 or infinity cannot serve as a weight
            usable = usable & np.isfinite(single) & (single > 0)
            valid = valid & usable
            single[~usable] = 0
            variance = np.array(np.broadcast_to(single, values.shape))  # torch wants it writable
        return Pixels(values, valid, variance, self._guide_in(box), hidden=pixels.hidden)

    def _guide_in(self, box: Box) -> npt.NDArray[np.float32] | None:
        if self._guide is None:
            return None
        guide = self._guide.read(box)
        return np.where(guide.valid, guide.values, np.nan).astype(np.float32)

    def close(self) -> None:
        """Close the image and its companions, which this owns."""
        for source in self._all():
            source.close()

    def _all(self) -> list[Source]:
        named = (self._source, self._mask, self._variance, self._guide)
        return [source for source in named if source is not None]


def variance_of(given: npt.NDArray[np.floating], kind: NoiseKind) -> npt.NDArray[np.floating]:
    """Variances of what is given as variances, standard deviations or weights, all above 0."""
    if kind == "sigma":
        return given.astype(np.float64) ** 2
    return 1 / given.astype(np.float64) if kind == "weight" else given


def _channels_of(companion: Source, channels: tuple[int, int] | None) -> tuple[int, int] | None:
    return None if companion.shape[0] == 1 else channels
