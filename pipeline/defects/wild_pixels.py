"""Wild pixels: values that no scene has, such as 1e30 in a border or 65535 in a hot column.

One such pixel would decide the scaling of the whole image, and a few of them the noise, so they are made
invalid. Both rules, their limits and the images they were tried on: docs/design/014-wild-pixels.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt

from glassplate.models.noise.estimate import difference_sigma
from glassplate.pipeline.defects.cosmic_ray_runs import Heights, Sharpness, sharp_runs
from glassplate.pipeline.scaling import Sample
from glassplate.pipeline.sources.source import Pixels, Source, WrappedSource
from glassplate.pipeline.tile_grid import Box

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.floating]

# Far limit. A value is wild if its distance from the median of the image is more than GAP times that of
# every ordinary value, and more than GAP times FAR typical deviations. Sorted by distance, ordinary values
# have no gap of that factor between them. The largest deviation in the real images of design note 013 is
# 4e4 typical ones.
FAR = 1e5
GAP = 100.0
# Largest magnitude, in units in which the image's typical deviation is between 2**-32 and 2**32, that a fit
# may meet: its square is finite in float32.
LARGEST = 2.0**60

# Sharp limit: standard deviations of the noise above (HOT) or below (DEAD) the sky beyond which a value is
# examined. No star or source of a real image is as sharp as SHARP, and no light is darker than the sky.
HOT, DEAD = 1000.0, 100.0
# The noise is taken to be at least this share of the typical deviation: the differences between neighbours
# are 0 where pixels are repeated (a scanned plate, enlarged), and almost 0 in smooth maps.
LEAST_NOISE = 0.1
# Runs of pixels that are wild. The sharpest stars of real images put some 10 % of their peak into the next
# pixel, and 2 % where the peak is shared by two pixels.
SHARP = Sharpness(narrow=2, even=16, share=0.01)
# Pixels around a region on which the wild pixels in it depend: the longest run and its neighbour.
MARGIN = SHARP.even + 1


@dataclass(frozen=True)
class WildLimits:
    """Limits beyond which a value of one image is wild, in the units of its values; small and picklable."""

    sky: float
    """Median of the image."""
    far: float
    """Greatest distance from the sky; infinite where there is no limit."""
    sigma: float
    """Standard deviation of the noise between neighbours; 0 where sharpness is not examined."""

    def scaled(self, exponent: int) -> WildLimits:
        """The limits for values multiplied by ``2**exponent``."""
        return WildLimits(*(math.ldexp(value, exponent) for value in asdict(self).values()))

    def read_with(self, exponent: int, pedestal: float = 0.0) -> WildLimits:
        """The limits for values less `pedestal` that are divided by ``2**exponent``, at most `LARGEST`."""
        limits = replace(self, sky=self.sky - pedestal).scaled(-exponent)
        return replace(limits, far=min(limits.far, LARGEST))

    def to_json(self) -> dict[str, float | None]:
        """The fields as a JSON object; infinity, which JSON lacks, is None."""
        return {name: v if math.isfinite(v) else None for name, v in asdict(self).items()}

    @classmethod
    def from_json(cls, fields: Mapping[str, float | None]) -> WildLimits:
        """The limits that `to_json` described."""
        return cls(**{name: math.inf if v is None else v for name, v in fields.items()})

    def too_far(self, values: FloatArray) -> BoolArray:
        """Values beyond the far limit, of any shape."""
        # float64: the distance of two large float32 values may be infinite
        return np.abs(values.astype(np.float64) - self.sky) > self.far

    def may_be_sharp(self, values: FloatArray) -> BoolArray:
        """Values whose sharpness has to be examined, of any shape."""
        if self.sigma == 0:
            return np.zeros(values.shape, bool)
        # limits beyond float32 would overflow when they are compared with it
        high, low = (
            np.float64(self.sky + HOT * self.sigma),
            np.float64(self.sky - DEAD * self.sigma),
        )
        return (values > high) | (values < low)

    def find(
        self, values: FloatArray, valid: BoolArray, whole: tuple[bool, bool, bool, bool]
    ) -> BoolArray:
        """Wild pixels of one plane.

        Parameters
        ----------
        values, valid
            ``(h, w)``.
        whole
            Whether the first row, the last row, the first column and the last column are borders of the
            image; a run that ends at any other border of the plane is not judged.

        Returns
        -------
        ``(h, w)``, True only where valid.
        """
        wild = self.too_far(values) & valid
        candidates = self.may_be_sharp(values) & valid & ~wild
        if not candidates.any():
            return wild
        excess = (values.astype(np.float64) - self.sky) / self.sigma
        known = valid & ~wild
        for sign, least in ((1.0, HOT), (-1.0, DEAD)):
            high = sign * excess
            seen = known & (high > least)
            wild |= sharp_runs(Heights(high, seen, known), SHARP, whole)
        return wild


class WildMaskedSource(WrappedSource):
    """A source whose wild pixels are invalid."""

    def __init__(self, source: Source, limits: WildLimits) -> None:
        super().__init__(source)
        self._limits = limits

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> Pixels:
        """Read one box, with a margin where a pixel has to be compared with its neighbours."""
        pixels = self._source.read(box, channels)
        seen = self._limits.may_be_sharp(pixels.values) | self._limits.too_far(pixels.values)
        if not (seen & pixels.valid).any():
            return pixels
        around = box.grown(MARGIN, self.shape[1:])
        wider = self._source.read(around, channels)
        inner = (slice(None), *box.relative_to(around).slices)
        wild = self._found(wider, around)[inner] & pixels.valid
        if not wild.any():
            return pixels
        return replace(pixels, valid=pixels.valid & ~wild, wild=wild)

    def _found(self, pixels: Pixels, box: Box) -> BoolArray:
        """Wild pixels, ``(c, h, w)``; in colours a pixel that is wild in one channel is wild in all."""
        whole = borders(box, self.shape)
        found = np.stack(
            [
                self._limits.find(values, valid, whole)
                for values, valid in zip(pixels.values, pixels.valid, strict=True)
            ]
        )
        groups = found.reshape(-1, len(found) if self.joint else self.colours, *found.shape[1:])
        return np.broadcast_to(groups.any(1, keepdims=True), groups.shape).reshape(found.shape)


def borders(box: Box, shape: tuple[int, int, int]) -> tuple[bool, bool, bool, bool]:
    """Whether the first and last row and the first and last column of a box are those of the image."""
    _, height, width = shape
    return box.y0 == 0, box.y1 == height, box.x0 == 0, box.x1 == width


def wild_limits(samples: Sequence[Sample], *, sharp: bool, quantum: float) -> WildLimits | None:
    """The limits of an image, from sampled windows.

    Parameters
    ----------
    samples
        Windows of the image with the values of the file.
    sharp
        Whether the sharpness of pixels is to be examined.
    quantum
        Step between values: 1 for integers, 0 for floats.

    Returns
    -------
    WildLimits
        None where all samples have the same value, or none is valid.
    """
    parts = [v[varying(v, ok)].astype(np.float64) for v, ok in samples]
    pixels = np.concatenate(parts or [np.zeros(0)])
    sky = float(np.median(pixels)) if pixels.size else 0.0
    distance = np.abs(pixels - sky)
    distance = distance[distance > 0]
    if not distance.size:
        return None
    sigma = 0.0
    if sharp:
        sigma = max(
            difference_sigma(samples), quantum / 2, LEAST_NOISE * float(np.median(distance))
        )
    return WildLimits(sky, _far(distance), sigma)


def varying(values: FloatArray, valid: BoolArray) -> BoolArray:
    """Valid pixels that differ from a neighbour, ``(c, h, w)``.

    A border of one value does not show the scene, and it may be more than half of an image.
    """
    known = np.where(valid, values, np.nan)
    differs = np.zeros(known.shape, bool)
    for ahead, behind in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[..., 1:], np.s_[..., :-1])):
        step = known[ahead] != known[behind]  # True beside NaN
        differs[ahead] |= step
        differs[behind] |= step
    return differs & valid


def _far(distance: npt.NDArray[np.float64]) -> float:
    """The far limit, from the distances of ordinary and wild values from the sky, all above 0."""
    usual = FAR * float(np.median(distance))
    beyond = np.concatenate([[usual], np.sort(distance[distance > usual])])
    [gaps] = np.nonzero(beyond[1:] / beyond[:-1] > GAP)
    return GAP * float(beyond[gaps[0] if gaps.size else -1])
