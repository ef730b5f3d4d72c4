"""Detection of cosmic rays, and of specks: dust and scratches.

Both rules are local: whether a pixel is a defect depends on no pixel further away than `Detector.margin`, so
that a window, a strip and the whole image agree on it. Defects are treated like the user's mask.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from glassplate.models.noise.model import NoiseModel
from glassplate.pipeline.defects.beside_unknown import not_judged
from glassplate.pipeline.defects.low_pixels import REACH, low_pixels
from glassplate.pipeline.defects.medians import (
    BAND,
    MAD_TO_SIGMA,
    BoolArray,
    FloatArray,
    continued_median,
    dilate,
    lowest_around,
    median,
)
from glassplate.pipeline.sources.source import Pixels, Source, WrappedSource
from glassplate.pipeline.tile_grid import Box

# Iterations of L.A.Cosmic, as its author recommends; each finds more of the rays that the one before found.
COSMIC_ROUNDS = 4
# Reach of one iteration, in pixels: a median of 9x9 of one of 5x5, two pixels by which what is found grows,
# and two from which it is cleaned. The two more that each has are enough for what is done once: the level,
# and what is judged beside unknown pixels.
COSMIC_REACH = 12
# Pixels that continue the image beyond its border. L.A.Cosmic copies the outermost four pixels of what its
# median of 9x9 is given, and the outermost two of that of 5x5: there is no fine structure there, and stars
# look like rays.
BEYOND = 6
# Share of the threshold that the fainter parts of a speck must reach; L.A.Cosmic has 0.3 for those of a ray.
# With half, the fine ends of scratches are found, and no more of the texture.
FAINTER = 0.5
# Share of a star's level above the sky by which its own slopes may resemble a ray. With 120 simulated stars
# of up to 6000 sigma, without shot noise, and 60 rays, at a contrast of 5, pixels falsely found at a width
# (FWHM) of 3, 4 and 6 pixels: 362, 628, 1269 with 0, 247, 53, 2 with 0.05, 35, 2, 2 with 0.2; every pixel
# of a ray is found.
GRADIENT = 0.2
# Standard deviations below the level at which values are clipped for L.A.Cosmic.
LOWEST = 6.0
# Pixels around each whose level counts for that. What is lower over more pixels than the median spans, as an
# overscan or an amplifier of another bias, has a level of its own, and its neighbours looked like rays: 14,
# 113, 220 and 337 of them beside steps of 12, 20, 40 and 180 sigma along a column of 120 pixels. L.A.Cosmic
# looks two pixels far, and the mask that it is given is narrower by one.
BESIDE_LOW = 3
# Half-width, in pixels, of the median that gives the level, and so the noise, under a ray.
COSMIC_LEVEL = 2
# Bytes per pixel while defects are detected: L.A.Cosmic works at twice the resolution.
FIND_BYTES = 130
# Bytes per pixel and channel of the margin that is read: float64 at most, and validity.
READ_BYTES = 9
# Bytes per value of a sliding window: sorted float32, and whether it is finite.
SORT_BYTES = 6


@dataclass(frozen=True)
class DefectSettings:
    """Which defects are detected. Defects are treated as masked, and filled."""

    __pydantic_config__ = {"extra": "forbid"}

    cosmic_rays: Literal["auto"] | bool = False
    """Sharp positive spikes, by L.A.Cosmic (van Dokkum 2001, astroscrappy's code), in images of a detector;
    not for frames so under-sampled that stars are as sharp; auto: where stars are some 3 pixels wide, the
    noise is not that of photons alone, and no more than 5 % of the pixels look like rays. Also pixels far
    below everything around them: dead pixels and columns, blocks and borders without data."""
    cosmic_sigma: float = 4.5
    """Standard deviations by which a ray's Laplacian stands out."""
    cosmic_contrast: float = 2.0
    """Smallest ratio of the ray to the fine structure there; a larger one spares the cores of sharp stars."""
    specks: Literal["none", "dark", "bright", "both"] = "none"
    """Dust and scratches: pixels far from the median around them; fine print and hairs are found, too."""
    speck_radius: int = 7
    """Half-width of that median in pixels; wider defects are not found."""
    speck_sigma: float = 8.0
    """Robust standard deviations of the surroundings by which a speck stands out."""
    grow: int = 1
    """Pixels by which specks are dilated, since their edges are partly defect."""

    def __post_init__(self) -> None:
        for name in ("cosmic_sigma", "cosmic_contrast", "speck_sigma"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} {getattr(self, name)} must be above 0")
        if not 1 <= self.speck_radius <= 50:
            raise ValueError(f"speck_radius {self.speck_radius} must be 1 to 50 pixels")
        if not 0 <= self.grow <= 20:
            raise ValueError(f"grow {self.grow} must be 0 to 20 pixels")

    @property
    def any(self) -> bool:
        """Whether any defect is to be detected."""
        return self.cosmic_rays is not False or self.specks != "none"


@dataclass(frozen=True)
class Detector:
    """The detection rules with what they need to know about an image; small and picklable."""

    settings: DefectSettings
    """Here `cosmic_rays` is True or False, no longer "auto"."""
    noise: NoiseModel
    quantum: float
    """Step between values, source units: 1 for integers, 0 for floats."""
    sky: float
    """Median of the image, source units."""
    low: float = -math.inf
    """Value below every part of the scene, source units; minus infinity where it is not known."""

    @property
    def margin(self) -> int:
        """Pixels around a region on which the defects in it depend."""
        reach = COSMIC_ROUNDS * COSMIC_REACH + REACH if self.settings.cosmic_rays else 0
        if self.settings.specks != "none":
            # the median, the median of the deviations from it, and the growth into fainter parts
            reach = max(reach, 3 * self.settings.speck_radius + self.settings.grow)
        return reach

    def projected_bytes(self, shape: tuple[int, int], channels: int) -> int:
        """Upper bound of the memory that reading a region of ``(h, w)`` takes beyond its own pixels."""
        height, width = (side + 2 * self.margin for side in shape)
        sorting = BAND * width * (2 * self.settings.speck_radius + 1) * SORT_BYTES
        return height * width * (FIND_BYTES + READ_BYTES * channels) + sorting

    def find(self, values: npt.NDArray[np.floating], valid: BoolArray) -> BoolArray:
        """Defects of one plane, of every kind; see `find_kinds`."""
        return self.find_kinds(values, valid)[0]

    def find_kinds(
        self, values: npt.NDArray[np.floating], valid: BoolArray
    ) -> tuple[BoolArray, BoolArray]:
        """Defects of one plane, or of the mean of an image's colours, and which of them are cosmic rays.

        Parameters
        ----------
        values
            ``(h, w)``, source units, finite.
        valid
            ``(h, w)``; invalid pixels are ignored and are never defects.

        Returns
        -------
        found, rays
            ``(h, w)``; True only where valid. What is also a speck is no ray.
        """
        found, rays = np.zeros(values.shape, bool), np.zeros(values.shape, bool)
        if self.settings.specks != "none":
            found |= specks(values.astype(np.float32), valid, self)
        if self.settings.cosmic_rays:
            single = values.astype(np.float32)
            low = low_pixels(single, valid, self)
            rays = cosmic_rays(single, valid & ~low, self) & valid & ~found
            found |= low | rays
        return found & valid, rays


def specks(values: FloatArray, valid: BoolArray, detector: Detector) -> BoolArray:
    """Pixels that differ from the median around them by many robust standard deviations.

    The median over a square of ``2 r + 1`` pixels is not affected by what covers less than half of it, such
    as a speck or a line narrower than r. The standard deviation is 1.4826 times the median absolute
    deviation, so that texture raises its own threshold, and at least the image's noise together with half a
    step of its values. Both medians are taken along columns and then along rows. A speck must differ as much
    from the median for which what a border or an invalid pixel cuts goes on beyond it: it is narrow along the
    cut. For a pixel that touches a speck, `FAINTER` times the threshold suffices.
    """
    settings = detector.settings
    known = np.where(valid, values, np.nan)
    level = median(known, settings.speck_radius)
    difference = known - level
    sigma = MAD_TO_SIGMA * median(np.abs(difference), settings.speck_radius)
    least = np.sqrt(detector.noise.variance(level) + (detector.quantum / 2) ** 2)
    sigma = np.fmax(sigma, least)
    cut = known - continued_median(known, settings.speck_radius)
    difference = np.where(np.abs(cut) < np.abs(difference), cut, difference)
    # without noise every difference is infinitely many deviations
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = np.nan_to_num(difference / sigma)
    sides = {"dark": (-excess,), "bright": (excess,), "both": (excess, -excess)}
    found = np.zeros(values.shape, bool)
    for side in sides[settings.specks]:
        found |= spread(
            side > settings.speck_sigma, side > FAINTER * settings.speck_sigma, settings
        )
    return dilate(found, settings.grow)


def spread(seeds: BoolArray, faint: BoolArray, settings: DefectSettings) -> BoolArray:
    """Extend specks into their fainter parts, by at most the radius of the median."""
    found = seeds
    for _ in range(settings.speck_radius):
        found = found | (dilate(found, 1) & faint)
    return found


def cosmic_rays(values: FloatArray, valid: BoolArray, detector: Detector) -> BoolArray:
    """Spikes sharper than any star, by L.A.Cosmic: van Dokkum 2001, PASP 113, 1420.

    Beside a border or an invalid pixel, only what is seen to end on both sides is a ray (`not_judged`). No
    saturation level is set. The variance is that of the image's noise model plus the square of
    `GRADIENT` times the level above the sky, so that the slopes of a bright star are not taken for a ray
    even where the noise model lacks its shot noise.
    """
    # imported here because it takes half a second
    from astroscrappy import detect_cosmics

    settings = detector.settings
    level = median(np.where(valid, values, np.nan), COSMIC_LEVEL)
    # among invalid pixels only there is no level
    level = np.where(np.isnan(level), np.float32(detector.sky), level)
    slopes = GRADIENT * np.maximum(level - detector.sky, 0)
    variance = np.maximum(detector.noise.variance(level) + slopes**2, np.finfo(np.float32).tiny)
    # the neighbours of a pixel that is too low would look like rays
    least = (level - LOWEST * np.sqrt(variance)).astype(np.float32)
    least = -lowest_around(-least, BESIDE_LOW)
    known = np.where(valid, np.maximum(values, least), level)
    known = np.pad(known.astype(np.float32), BEYOND, mode="edge")
    unjudged = not_judged(known, np.pad(valid, BEYOND)) | np.pad(valid & (values < least), BEYOND)
    found, _ = detect_cosmics(
        known,
        # astroscrappy widens its mask by a pixel
        inmask=~dilate(~unjudged, 1),
        invar=np.pad(variance.astype(np.float32), BEYOND, mode="edge"),
        sigclip=settings.cosmic_sigma,
        objlim=settings.cosmic_contrast,
        satlevel=np.inf,
        niter=COSMIC_ROUNDS,
    )
    rays: BoolArray = found.astype(bool) & ~unjudged
    return rays[BEYOND:-BEYOND, BEYOND:-BEYOND]


class DefectMaskedSource(WrappedSource):
    """A source whose defects are invalid."""

    def __init__(self, source: Source, detector: Detector) -> None:
        super().__init__(source)
        self._detector = detector

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> Pixels:
        """Read one box, with the margin on which its defects depend."""
        around = box.grown(self._detector.margin, self.shape[1:])
        wider = self._source.read(around, channels)
        inner = box.relative_to(around).slices
        pixels = wider.cropped(inner)
        found, rays = (kind[:, *inner] & pixels.valid for kind in self._found(wider))
        valid = pixels.valid & ~found
        found = found if pixels.wild is None else found | pixels.wild
        return replace(pixels, valid=valid, found=found, rays=rays)

    def _found(self, pixels: Pixels) -> tuple[BoolArray, BoolArray]:
        """Defects and rays, each ``(c, h, w)``: the same in all colours, of each page alone in a cube."""
        if pixels.wild is not None:
            # a wild value may overflow float32
            pixels = replace(pixels, values=np.where(pixels.wild, 0, pixels.values))
        if not self.joint and self.colours == 1:
            planes = zip(pixels.values, pixels.valid, strict=True)
            kinds = [self._detector.find_kinds(*plane) for plane in planes]
            return np.stack([found for found, _ in kinds]), np.stack([rays for _, rays in kinds])
        count = len(pixels.values) if self.joint else self.colours
        found, rays = np.empty((2, *pixels.valid.shape), bool)
        for first in range(0, len(pixels.values), count):
            colours = slice(first, first + count)
            grey = pixels.values[colours].mean(0, dtype=np.float64)
            all_valid = np.all(pixels.valid[colours], axis=0)
            found[colours], rays[colours] = self._detector.find_kinds(grey, all_valid)
        return found, rays
