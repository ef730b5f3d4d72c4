"""A photograph before and after its restoration: tone, colour, edges and noise, as an eye sees them.

Values are taken for sRGB: an embedded colour profile is not applied, to the input and to the result alike.
Tone and colour are those of the mean of a block, since a mean of lightnesses would depend on the noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from glassplate.models.colour import delta_e_2000, lightness, srgb_to_lab
from glassplate.pipeline.assess.blocks import block_means, cells, in_blocks, sampled_blocks
from glassplate.pipeline.assess.edges import Edges, EdgeSums
from glassplate.pipeline.assess.result import AssessedResult, Region, rounded

FloatArray = npt.NDArray[np.float64]

# Side of a block of tone and colour, and of a patch of noise, pixels.
SIDE = 32
# Bands of lightness from 0 to 100.
BANDS = 10
# Chroma below which a block of the input is taken for neutral: paper and grey cards lie within it.
NEUTRAL = 10.0
# Share of the sampled patches that is taken for flat.
FLAT_SHARE = 0.1
# Side of the squares in a patch from whose means its flatness is judged, pixels.
SQUARE = 8
# Lightness between which a patch shows all of its noise: none of it is cut off at black or white.
DARKEST, LIGHTEST = 5.0, 97.0
# TIFF's photometric interpretations whose lightness is known.
_WHITE_IS_0, _BLACK_IS_0, _RGB = 0, 1, 2


@dataclass(frozen=True)
class ToneBand:
    """The blocks of the input within a tenth of the lightness from black (0) to white (100)."""

    low: float
    """L*."""
    high: float
    """L*."""
    blocks: int
    shift: float | None
    """Mean L* of the result minus that of the input; None without a block."""


@dataclass(frozen=True)
class Tone:
    """Lightness L* (0 to 100) of blocks of 32 x 32 pixels, result minus input; 0 is expected."""

    blocks: int
    shift: float
    """Mean."""
    rms: float
    """Root of the mean square."""
    largest: float
    """The one furthest from 0, with its sign."""
    largest_at: tuple[int, int]
    """First row and column of that block."""
    bands: tuple[ToneBand, ...]


@dataclass(frozen=True)
class Colour:
    """Colour of blocks of 32 x 32 pixels."""

    mean_difference: float
    """Mean CIEDE2000 between input and result; about 1 is just noticeable."""
    largest_difference: float
    """The largest CIEDE2000 of a block."""
    neutral_blocks: int
    """Blocks of the input with a chroma below 10; 0 in a grey image, whose colour is none."""
    neutral_before: tuple[float, float] | None
    """Mean a* and b* of the neutral blocks in the input; None without one."""
    neutral_after: tuple[float, float] | None
    """The same in the result."""


@dataclass(frozen=True)
class PatchNoise:
    """Standard deviation of L* in the flattest tenth of up to 1024 patches of 32 x 32 pixels; medians.

    Flatness is judged by the input's means over 8 x 8 pixels, which are less its noise than its content.
    """

    patches: int
    before: float
    """L*."""
    after: float
    """L*."""


@dataclass(frozen=True)
class Photograph:
    """A photograph before and after its restoration."""

    tone: Tone
    colour: Colour
    edges: Edges | None
    """None with fewer than 50 clear edges."""
    noise: PatchNoise | None
    """None without a patch that is wholly valid and neither black nor white."""


def measure_photograph(result: AssessedResult) -> Photograph | None:
    """Measure a photograph, cell by cell.

    None for an image of floats or FITS, for inks and other values whose lightness is unknown, where the
    result is on another grid or sharper, and where no block of 32 x 32 pixels has half of its pixels valid.
    """
    if not (result.is_photograph and result.same_grid and _has_lightness(result)):
        return None
    sums, edges = _BlockSums(), EdgeSums(_noise_of_luma(result))
    for box in cells(result.shape):
        region = result.read(box)
        given, estimate = (
            _rgb(result, values, region) for values in (region.given, region.estimate)
        )
        sums.add(region, given, estimate)
        edges.add(_luma(given), _luma(estimate))
    if not sums.count:
        return None
    return Photograph(sums.tone(), sums.colour(), edges.figures(), _flat_noise(result))


def _has_lightness(result: AssessedResult) -> bool:
    """Whether the channels are grey, or red, green and blue."""
    if result.photometric is None:
        return result.shape[0] in (1, 3)
    channels = {_WHITE_IS_0: 1, _BLACK_IS_0: 1, _RGB: 3}.get(result.photometric)
    return channels is not None and result.shape[0] >= channels


def _rgb(result: AssessedResult, values: FloatArray, region: Region) -> FloatArray:
    """Grey, or red, green and blue, 0 to 1; ``(1 or 3, h, w)``, NaN where one of them is not known."""
    channels = 3 if result.shape[0] >= 3 and result.photometric in (None, _RGB) else 1
    share = values[:channels] / result.white
    if result.photometric == _WHITE_IS_0:
        share = 1 - share
    return np.where(region.known[:channels].all(0), share, np.nan)


def _luma(rgb: FloatArray) -> FloatArray:
    """Weighted mean of the encoded channels as in Rec. 709, ``(h, w)``."""
    return rgb[0] if len(rgb) == 1 else np.tensordot([0.2126, 0.7152, 0.0722], rgb, 1)


def _noise_of_luma(result: AssessedResult) -> float:
    """Standard deviation of the noise of a grey of half the white, as a share of white; 0 if unknown."""
    sigma = result.sigma(np.array(result.white / 2))
    return 0.0 if sigma is None else float(sigma) / result.white


def _lab(rgb: FloatArray) -> FloatArray:
    """L*, a*, b*, ``(3, ...)``; grey has no colour."""
    if len(rgb) == 3:
        return np.asarray(srgb_to_lab(rgb), np.float64)
    light = np.asarray(lightness(rgb[0]), np.float64)
    return np.stack([light, np.zeros_like(light), np.zeros_like(light)])


@dataclass
class _BlockSums:
    """Sums over the blocks."""

    count: int = 0
    shift: float = 0.0
    square: float = 0.0
    difference: float = 0.0
    largest_difference: float = 0.0
    largest: float = 0.0
    largest_at: tuple[int, int] = (0, 0)
    bands: FloatArray = field(default_factory=lambda: np.zeros((BANDS, 2)))
    neutral: FloatArray = field(default_factory=lambda: np.zeros(5))
    """Number; sums of a* and b* before and after."""

    def add(self, region: Region, given: FloatArray, estimate: FloatArray) -> None:
        """Count the blocks of one region, before and after."""
        means = [block_means(values, SIDE) for values in (given, estimate)]
        known = np.isfinite(means[0][0]) & np.isfinite(means[1][0])
        if not known.any():
            return
        before, after = (_lab(values[:, known]) for values in means)  # (3, n)
        shift, difference = after[0] - before[0], delta_e_2000(before, after)
        self.count += len(shift)
        self.shift += float(shift.sum())
        self.square += float((shift**2).sum())
        self.difference += float(difference.sum())
        self.largest_difference = max(self.largest_difference, float(difference.max()))
        worst = int(np.abs(shift).argmax())
        if abs(shift[worst]) > abs(self.largest):
            self.largest = float(shift[worst])
            row, col = np.argwhere(known)[worst]
            self.largest_at = (region.box.y0 + int(row) * SIDE, region.box.x0 + int(col) * SIDE)
        band = np.clip(before[0] * BANDS // 100, 0, BANDS - 1).astype(int)
        for place, weights in enumerate((None, shift)):
            self.bands[:, place] += np.bincount(band, weights, BANDS)
        if len(given) == 3:
            near = np.hypot(before[1], before[2]) < NEUTRAL
            self.neutral += (
                near.sum(),
                *(float(one[near].sum()) for one in (*before[1:], *after[1:])),
            )

    def tone(self) -> Tone:
        """Make the figures of lightness; at least one block was counted."""
        return Tone(
            blocks=self.count,
            shift=rounded(self.shift / self.count) or 0.0,
            rms=rounded(math.sqrt(self.square / self.count)) or 0.0,
            largest=rounded(self.largest) or 0.0,
            largest_at=self.largest_at,
            bands=tuple(
                ToneBand(
                    low=100 / BANDS * place,
                    high=100 / BANDS * (place + 1),
                    blocks=int(number),
                    shift=rounded(total / number) if number else None,
                )
                for place, (number, total) in enumerate(self.bands)
            ),
        )

    def colour(self) -> Colour:
        number = int(self.neutral[0])
        a0, b0, a1, b1 = (rounded(total / max(number, 1)) or 0.0 for total in self.neutral[1:])
        return Colour(
            mean_difference=rounded(self.difference / self.count) or 0.0,
            largest_difference=rounded(self.largest_difference) or 0.0,
            neutral_blocks=number,
            neutral_before=(a0, b0) if number else None,
            neutral_after=(a1, b1) if number else None,
        )


def _flat_noise(result: AssessedResult) -> PatchNoise | None:
    """Noise of the flattest of the sampled patches."""
    rows = []
    for box in sampled_blocks(result.shape, SIDE):
        region = result.read(box)
        if box.shape != (SIDE, SIDE) or not region.known.all():
            continue
        before, after = (
            _lab(_rgb(result, values, region))[:1] for values in (region.given, region.estimate)
        )
        if DARKEST < before.mean() < LIGHTEST:
            structure = block_means(before, SQUARE).std()
            noise = (float(in_blocks(one, SIDE).std()) for one in (before, after))
            rows.append((float(structure), *noise))
    if not rows:
        return None
    rows.sort()
    flat = np.array(rows[: max(1, round(FLAT_SHARE * len(rows)))])
    _, before_, after_ = np.median(flat, axis=0)
    return PatchNoise(len(flat), rounded(before_) or 0.0, rounded(after_) or 0.0)
