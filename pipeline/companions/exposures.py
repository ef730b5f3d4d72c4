"""Further exposures of the scene of a source: read with it, as one measurement of less noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from glassplate.models.exposures import Exposures, Match, Pair, match_exposure, with_noise
from glassplate.models.noise.estimate import estimate_noise
from glassplate.models.noise.model import NoiseModel, NoiseSettings
from glassplate.pipeline.companions.exposure_shift import whole_shift
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.grid import Box
from glassplate.pipeline.sources.sample_windows import sample_windows
from glassplate.pipeline.sources.source import Pixels, Source, choose_working_dtype
from glassplate.pipeline.sources.wrapped import WrappedSource

FloatArray = npt.NDArray[np.floating]

# Share of the pixels of two exposures that may differ by more than five sigma before it is said: cosmic
# rays of half an hour hit some per mille.
MOST_APART = 0.02
# Share of what is bright that must be bright in both: stars that have moved by their width are not.
LEAST_OVERLAP = 0.5
# Pixels around a region on which it depends what is read there: the level and the slopes.
MARGIN = 1
# Bytes for a pixel, channel and exposure while they are combined: values as read and sorted, weights,
# variances and bounds, most of them float64.
EXPOSURE_BYTES = 90


@dataclass(frozen=True)
class Alignment:
    """How an exposure's pixels become measurements on the first one's grid, in its units."""

    dy: int
    dx: int
    """Pixel ``(y, x)`` of the first is ``(y + dy, x + dx)`` of this one."""
    leftover: float
    """Pixels along an axis by which that is not exact, at most."""
    match: Match
    noise: NoiseModel
    """Of its own values, own units."""

    def variance(self, level: FloatArray) -> FloatArray:
        """Variance of its noise at a level, both in the units of the first."""
        own = (level - self.match.offset) / self.match.scale
        return self.noise.variance(own) * self.match.scale**2

    def scaled(self, exponent: int) -> Alignment:
        """The same of exposures that are all multiplied by ``2**exponent``."""
        offset = math.ldexp(self.match.offset, exponent)
        matched = replace(self.match, offset=offset)
        return replace(self, match=matched, noise=self.noise.scaled(exponent))

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Alignment:
        """From what `asdict` gave."""
        parts = {
            "match": Match(**values["match"]),
            "noise": NoiseModel.from_json(values["noise"]),
        }
        return cls(**{**values, **parts})


@dataclass(frozen=True)
class Combination:
    """How exposures become one measurement; small and picklable, so that each worker does it alike."""

    alignments: tuple[Alignment, ...]
    """Of every exposure, the first one's first."""
    keep_last: bool = False
    """Whether the last one is kept from the mean, to judge fits to it."""

    def scaled(self, exponent: int) -> Combination:
        """The same of exposures that are all multiplied by ``2**exponent``."""
        return replace(self, alignments=tuple(one.scaled(exponent) for one in self.alignments))

    def to_json(self) -> dict[str, Any]:
        """For the manifest."""
        return {"keep_last": self.keep_last, "alignments": [asdict(a) for a in self.alignments]}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Combination:
        """From what `to_json` gave."""
        alignments = tuple(Alignment.from_json(one) for one in values["alignments"])
        return cls(alignments, values["keep_last"])


class ExposedSource(WrappedSource):
    """A source and further exposures of its scene, as their inverse-variance weighted mean.

    What is invalid in one exposure, lies outside of it, or is an outlier there does not count; a pixel is
    invalid where none counts. Mask, variance and guide are those of the first.
    """

    def __init__(self, first: Source, others: Sequence[Source], combination: Combination) -> None:
        super().__init__(first)
        self._others, self._combination = tuple(others), combination
        self.resident_bytes = sum(one.resident_bytes for one in (first, *others))

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> Pixels:
        """Read one box of all exposures."""
        around = box.grown(MARGIN, self.shape[1:])
        first = self._source.read(around, channels)
        found = self._stack(first, around, channels)
        used = found.valid & ~found.outliers()
        witness = None
        if self._combination.keep_last:
            witness = np.where(_judging(found, used), found.values[-1], np.nan)
            used[-1] = False
        mean, valid, variance = found.mean(used)
        inner = (slice(None), *box.relative_to(around).slices)
        return Pixels(
            # the precision of the first, in whatever unit it is read
            mean[inner].astype(choose_working_dtype(self.dtype)),
            valid[inner],
            variance[inner].astype(np.float32),
            None if first.guide is None else first.guide[inner],
            witness=None if witness is None else witness[inner].astype(np.float32),
            hidden=None if first.hidden is None else first.hidden[inner[1:]],
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

    def close(self) -> None:
        """Close all exposures, which this owns."""
        for source in (self._source, *self._others):
            source.close()


def _judging(found: Exposures, used: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Where the last exposure judges, ``(c, h, w)``: not where it and the only other one disagree."""
    judging: npt.NDArray[np.bool_] = used[-1].copy()
    if len(used) == 2:
        judging &= ~found.disagree(0, 1)
    return judging


def read_shifted(
    source: Source, box: Box, shift: tuple[int, int], channels: tuple[int, int] | None
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Values and validity of a box moved by whole pixels; 0 and False outside of the image."""
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


def align(
    first: Source, others: Sequence[Source], noise: NoiseSettings
) -> tuple[Combination, list[str]]:
    """Look at all exposures: how they lie, how bright they are, how noisy.

    Parameters
    ----------
    first
        With its mask and variance.
    others
        At least one.
    noise
        What is known of the noise of each.

    Returns
    -------
    combination, warnings
        With all exposures in the mean; one line for each exposure that looks like another scene.

    Raises
    ------
    UsageError
        If one cannot be laid over the first by whole pixels, or does not follow its values.
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
        if not any(pair.valid.any() for pair in pairs):
            raise UsageError(
                f"exposure {other.spec.path}: has no valid pixel in common with {first.spec.path}; drop it"
            )
        sigmas = (_sigma(own, [pair.first for pair in pairs]), _sigma(model, [p[0] for p in parts]))
        try:
            matched = match_exposure(pairs, *sigmas)
        except ValueError as error:
            raise UsageError(
                f"exposure {other.spec.path}: {error} against {first.spec.path}, must be positive; is it "
                "of the same scene, and on the same grid?"
            ) from error
        alignment = Alignment(dy, dx, leftover, matched, model)
        alignments.append(alignment)
        apart = _apart(pairs, alignments[0], alignment)
        if apart > MOST_APART or matched.overlap < LEAST_OVERLAP:
            warnings.append(
                f"exposure {other.spec.path}: {100 * apart:.1f} % of its pixels differ from those of "
                f"{first.spec.path} by more than five sigma, {100 * matched.overlap:.0f} % of what is "
                "bright is so in both; is it of the same scene, on the same grid?"
            )
    return Combination(tuple(alignments)), warnings


def _sigma(noise: NoiseModel, windows: Sequence[FloatArray]) -> float:
    """Standard deviation of the noise at the median level."""
    level = np.median(np.concatenate([values.ravel() for values in windows]))
    return float(np.sqrt(noise.variance(np.asarray(level))))


def _apart(pairs: Sequence[Pair], first: Alignment, other: Alignment) -> float:
    """Share of the pixels that both have that differ by more than their noise."""
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


def kept_last(combination: Combination) -> Combination:
    """The same with the last exposure kept from the mean, to judge."""
    return replace(combination, keep_last=True)
