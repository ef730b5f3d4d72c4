"""Further exposures of the same scene, combined with the first into one measurement of less noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from glassplate.models.exposures import Exposures, Match, Pair, match_exposure, with_noise
from glassplate.models.noise.estimate import estimate_noise
from glassplate.models.noise.model import NoiseModel, NoiseSettings
from glassplate.pipeline.companions.exposure_shift import whole_shift
from glassplate.pipeline.errors import SourceError, UsageError
from glassplate.pipeline.sources.sample_windows import sample_windows
from glassplate.pipeline.sources.source import Pixels, Source, WrappedSource, choose_working_dtype
from glassplate.pipeline.tile_grid import Box

FloatArray = npt.NDArray[np.floating]

# Share of the pixels of two exposures that may differ by more than five sigma without a warning: the cosmic
# rays of half an hour hit some per mille.
MOST_APART = 0.02
# Share of the bright pixels that must be bright in both exposures: stars that have moved by their width are
# not.
LEAST_OVERLAP = 0.5
# Pixels around a region on which its combined values depend, through the level and the slopes.
MARGIN = 1
# Bytes for a pixel, channel and exposure while they are combined: values as read and sorted, weights,
# variances and bounds, most of them float64.
EXPOSURE_BYTES = 90


@dataclass(frozen=True)
class Alignment:
    """How the pixels of an exposure map to the grid and the units of the first exposure."""

    dy: int
    dx: int
    """Pixel ``(y, x)`` of the first exposure is ``(y + dy, x + dx)`` of this one."""
    leftover: float
    """Largest error of that shift along an axis, pixels."""
    match: Match
    noise: NoiseModel
    """Noise of this exposure, in its own units."""

    def variance(self, level: FloatArray) -> FloatArray:
        """Variance of the noise at a level (c, h, w), both in the units of the first exposure."""
        own = (level - self.match.offset) / self.match.scale
        return self.noise.pixel_variance(own) * self.match.scale**2

    def scaled(self, exponent: int) -> Alignment:
        """The same for exposures that are all multiplied by ``2**exponent``."""
        offset = math.ldexp(self.match.offset, exponent)
        matched = replace(self.match, offset=offset)
        return replace(self, match=matched, noise=self.noise.scaled(exponent))


@dataclass(frozen=True)
class Combination:
    """How exposures are combined; small and picklable, so that every worker combines them in the same way."""

    keep_last: bool = field(default=False, kw_only=True)
    """Whether the last exposure is kept out of the mean, for validation of the fits to it."""
    alignments: tuple[Alignment, ...]
    """One for each exposure, in their order, the first exposure included."""

    def scaled(self, exponent: int) -> Combination:
        """The same for exposures that are all multiplied by ``2**exponent``."""
        return replace(self, alignments=tuple(one.scaled(exponent) for one in self.alignments))


class CombinedSource(WrappedSource):
    """The inverse-variance weighted mean of a source and of further exposures of its scene.

    A pixel of an exposure has no weight where it is invalid, outside the image or an outlier. The mean is
    invalid where no exposure has weight. Mask, variance and guide are those of the first exposure.
    """

    def __init__(self, first: Source, others: Sequence[Source], combination: Combination) -> None:
        super().__init__(first, *others)
        self._others, self._combination = tuple(others), combination

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> Pixels:
        """Read one box of all exposures."""
        around = box.grown(MARGIN, self.shape[1:])
        first = self._source.read(around, channels)
        found = self._stack(first, around, channels)
        used = found.valid & ~found.outliers()
        validation = None
        if self._combination.keep_last:
            validation = np.where(_validating(found, used), found.values[-1], np.nan)
            used[-1] = False
        mean, valid, variance = found.mean(used)
        saturated = first.saturated
        if saturated is not None:
            saturated = saturated & ~valid  # where another exposure is not, it has the value
            mean = np.where(saturated, first.values, mean)
        inner = (slice(None), *box.relative_to(around).slices)
        return Pixels(
            # the precision of the first exposure, whatever the exponent of its unit
            mean[inner].astype(choose_working_dtype(self.dtype)),
            valid[inner],
            variance[inner].astype(np.float32),
            None if first.guide is None else first.guide[inner],
            validation=None if validation is None else validation[inner].astype(np.float32),
            hidden=None if first.hidden is None else first.hidden[inner[1:]],
            saturated=None if saturated is None else saturated[inner],
        )

    def _stack(self, first: Pixels, box: Box, channels: tuple[int, int] | None) -> Exposures:
        values = np.zeros((1 + len(self._others), *first.values.shape))
        valid = np.zeros(values.shape, bool)
        values[0], valid[0] = first.values, first.valid
        alignments = self._combination.alignments
        for place, (other, alignment) in enumerate(
            zip(self._others, alignments[1:], strict=True), 1
        ):
            part, known = read_shifted(other, box, (alignment.dy, alignment.dx), channels)
            values[place] = alignment.match.scale * part + alignment.match.offset
            valid[place] = known
        noises = [alignment.variance for alignment in alignments]
        if first.variance is None:
            return with_noise(values, valid, noises, None)
        return with_noise(values, valid, [None, *noises[1:]], first.variance.astype(np.float64))


def _validating(found: Exposures, used: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Where the last exposure validates, ``(c, h, w)``: of two exposures, only where they agree."""
    validating: npt.NDArray[np.bool_] = used[-1].copy()
    if len(used) == 2:
        validating &= ~found.disagree(0, 1)
    return validating


def read_shifted(
    source: Source, box: Box, shift: tuple[int, int], channels: tuple[int, int] | None
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Values and validity of a box shifted by whole pixels; 0 and False outside the image."""
    dy, dx = shift
    _, height, width = source.shape
    y0, y1 = max(0, box.y0 + dy), min(height, box.y1 + dy)
    x0, x1 = max(0, box.x0 + dx), min(width, box.x1 + dx)
    first, last = channels or (0, source.shape[0])
    values = np.zeros((last - first, *box.shape))
    valid = np.zeros(values.shape, bool)
    if y0 < y1 and x0 < x1:
        pixels = source.read(Box(y0, y1, x0, x1), channels)
        place = Box(y0 - dy, y1 - dy, x0 - dx, x1 - dx).relative_to(box).slices
        values[:, *place], valid[:, *place] = pixels.values, pixels.valid
    return values, valid


def check_exposure(first: Source, other: Source, label: str) -> None:
    """Refuse an exposure that cannot be laid over the first; reads no pixel.

    Raises
    ------
    SourceError, UsageError
        If it has another number of channels, or as `whole_shift`.
    """
    if other.shape[0] != first.shape[0]:
        raise SourceError(
            f"{label}: {other.shape[0]} channels, {first.spec.path} has {first.shape[0]}; all exposures "
            "must have the same"
        )
    whole_shift(first, other)


def align(
    first: Source, others: Sequence[Source], noise: NoiseSettings
) -> tuple[Combination, list[str]]:
    """Find the shift, the brightness and the noise of every exposure.

    Parameters
    ----------
    first
        With its mask and variance.
    others
        At least one.
    noise
        What the user says of the noise of each exposure.

    Returns
    -------
    combination, warnings
        The mean of all exposures; one line for each exposure that seems to show another scene.

    Raises
    ------
    UsageError
        If an exposure is not shifted by whole pixels, or its values do not increase with the first one's.
    """
    windows = sample_windows(first)
    seen = [first.read(box, planes) for box, planes in windows]
    own = estimate_noise([(pixels.values, pixels.valid) for pixels in seen], noise)
    alignments, warnings = [Alignment(0, 0, 0.0, Match(), own)], []
    for other in others:
        dy, dx, leftover = whole_shift(first, other)
        parts = [read_shifted(other, box, (dy, dx), planes) for box, planes in windows]
        model = estimate_noise(parts, noise)
        pairs = [
            Pair(pixels.values, values, pixels.valid & valid)
            for pixels, (values, valid) in zip(seen, parts, strict=True)
        ]
        labels = (f"exposure {other.spec.path}", str(first.spec.path))
        matched = _matched(pairs, (own, model), labels)
        alignment = Alignment(dy, dx, leftover, matched, model)
        alignments.append(alignment)
        apart = _apart(pairs, alignments[0], alignment)
        if apart > MOST_APART or matched.overlap < LEAST_OVERLAP:
            warnings.append(
                f"{labels[0]}: {100 * apart:.1f} % of its pixels differ from those of {labels[1]} by more "
                f"than five sigma, {100 * matched.overlap:.0f} % of what is bright is so in both; is it of "
                "the same scene, on the same grid?"
            )
    return Combination(tuple(alignments)), warnings


def _matched(
    pairs: Sequence[Pair], noises: tuple[NoiseModel, NoiseModel], labels: tuple[str, str]
) -> Match:
    """Brightness of an exposure against the first, from windows of both.

    Parameters
    ----------
    pairs
        The same windows of the first exposure and of the other.
    noises
        Of the first exposure and of the other.
    labels
        What messages call the other exposure and the first.
    """
    if not any(pair.valid.any() for pair in pairs):
        raise UsageError(f"{labels[0]}: has no valid pixel in common with {labels[1]}; drop it")
    sigmas = (
        _sigma(noises[0], [pair.first for pair in pairs]),
        _sigma(noises[1], [pair.other for pair in pairs]),
    )
    try:
        return match_exposure(pairs, *sigmas)
    except ValueError as error:
        raise UsageError(
            f"{labels[0]}: {error} against {labels[1]}, must be positive; is it of the same scene, and on "
            "the same grid?"
        ) from error


def _sigma(noise: NoiseModel, windows: Sequence[FloatArray]) -> float:
    """Standard deviation of the noise at the median level."""
    level = np.median(np.concatenate([values.ravel() for values in windows]))
    return float(np.sqrt(noise.variance(np.asarray(level))))


def _apart(pairs: Sequence[Pair], first: Alignment, other: Alignment) -> float:
    """Share of the common valid pixels that differ by more than their noise."""
    differ = common = 0
    for pair in pairs:
        moved = other.match.scale * pair.other + other.match.offset
        valid = np.stack([pair.valid, pair.valid])
        both = with_noise(
            np.stack([pair.first, moved]), valid, [first.variance, other.variance], None
        )
        differ += int(both.disagree(0, 1).sum())
        common += int(pair.valid.sum())
    return differ / common if common else 0.0
