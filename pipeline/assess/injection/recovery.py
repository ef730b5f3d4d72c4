"""What is found again of artificial sources, in an input and in its restoration."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.assess.injection.artificial import (
    KINDS,
    SIGNIFICANCES,
    ArtificialSource,
    Kind,
)
from glassplate.pipeline.assess.injection.matched_filter import (
    Peak,
    fitted_flux,
    fitted_stretch,
    flux_map,
    peaks,
)
from glassplate.pipeline.assess.injection.placing import Reach, profile_of
from glassplate.pipeline.assess.injection.profile import PointSpread
from glassplate.pipeline.assess.result import rounded

FloatArray = npt.NDArray[np.float64]

# Signal to noise in the input above which a peak is a detection, in the input and in the result.
THRESHOLD = 4.0
# Widths of the PSF from the true place within which a detection is the source, and within which nothing else
# is counted, because noise on the slope of a bright source makes peaks of its own.
MATCHED, ITS_OWN = 0.5, 2.0
# Limits between the classes of a measured signal to noise: the geometric means of `SIGNIFICANCES`.
BETWEEN = tuple(math.sqrt(a * b) for a, b in itertools.pairwise(SIGNIFICANCES))


@dataclass(frozen=True)
class Recovered:
    """Sources of one kind and signal to noise, found again in one image."""

    completeness: float
    """Share of the sources that are detected within half a width of their place, 0 to 1."""
    flux_bias: float
    """Mean of measured over true flux, less 1; the flux is that of a fit of profile and level at the true
    place. 0 is expected."""
    flux_scatter: float | None
    """Standard deviation of measured over true flux; 1 over the signal to noise is expected in the input.
    None for a single source."""
    shift: float | None
    """Root mean square distance of the detections from the true places, pixels; None if none is detected."""
    width: float | None
    """Mean width over the true one; 1 is expected. None if the mean flux is not positive."""


@dataclass(frozen=True)
class RecoveryRow:
    """Sources of one kind and signal to noise, before and after."""

    kind: Kind
    significance: int
    """Signal to noise of a matched filter in the input."""
    sources: int
    before: Recovered
    """In the input."""
    after: Recovered
    """In the result."""
    kept: float | None
    """Mean flux measured in the result over that in the input; None if the latter is not positive."""
    kept_error: float | None
    """Standard error of `kept`, from the scatter of the differences; None for a single source."""


@dataclass(frozen=True)
class PurityRow:
    """Detections of one measured signal to noise, both kinds together."""

    significance: int
    """The class of `SIGNIFICANCES` that is nearest to the measured flux over the error of a point in the
    input, in both images."""
    detections_before: int
    """Detections in the input, around the artificial sources."""
    detections_after: int
    """The same in the result."""
    before: float | None
    """Share of the detections that are artificial sources, 0 to 1; None without a detection. What is not may
    also be a real source that is too faint to be known."""
    after: float | None
    """The same in the result."""


@dataclass(frozen=True, eq=False)
class SourcePixels:
    """A source, and the pixels around it in both images."""

    source: ArtificialSource
    error: float
    """Scatter of the fluxes of points around it in the input, source units."""
    given: FloatArray
    """Input, a square of half side `Reach.box` around the pixel of its centre, source units."""
    restored: FloatArray
    """The same of the result."""


@dataclass(frozen=True, eq=False)
class _Measured:
    """One source measured in one image."""

    flux: float
    """Over the true flux."""
    stretch: float
    """Flux times excess width, over the true flux."""
    distance: float | None
    """Of its detection from its true place, pixels; None if it is not detected."""
    true: float | None
    """Signal to noise of its detection; None if it is not detected."""
    false: tuple[float, ...]
    """Signal to noise of each other detection in its square."""


def measure_recovery(
    found: Sequence[SourcePixels], psf: PointSpread
) -> tuple[tuple[RecoveryRow, ...], tuple[PurityRow, ...]]:
    """Measure artificial sources in the input and in the result, both in the same way."""
    before = [_measure(one, one.given, psf) for one in found]
    after = [_measure(one, one.restored, psf) for one in found]
    rows = []
    for kind in KINDS:
        for significance in SIGNIFICANCES:
            chosen = [
                place
                for place, one in enumerate(found)
                if (one.source.kind, one.source.significance) == (kind, significance)
            ]
            if chosen:
                rows.append(
                    _row(
                        kind, significance, [before[i] for i in chosen], [after[i] for i in chosen]
                    )
                )
    return tuple(rows), _purity(before, after)


def _measure(one: SourcePixels, image: FloatArray, psf: PointSpread) -> _Measured:
    source, reach = one.source, Reach(psf.measured_half)
    profile = profile_of(source, psf)
    half = reach.measured
    middle = len(image) // 2
    square = image[middle - half : middle + half + 1, middle - half : middle + half + 1]
    light = profile.at(*source.offset, half)
    stretching = profile.derivative_of_width(*source.offset, half)
    around = middle - reach.cell - half
    part = image[around : len(image) - around, around : len(image) - around]
    found = peaks(flux_map(part, psf.star.at(0, 0, half)), THRESHOLD * one.error)
    distances = [_distance(peak, source) for peak in found]
    near = [
        (distance, peak.flux)
        for peak, distance in zip(found, distances, strict=True)
        if distance <= max(MATCHED * psf.fwhm, 1.0)
    ]
    return _Measured(
        flux=fitted_flux(square, light) / source.flux,
        stretch=fitted_stretch(square, light, stretching) / source.flux,
        distance=near[0][0] if near else None,
        true=near[0][1] / one.error if near else None,
        false=tuple(
            peak.flux / one.error
            for peak, distance in zip(found, distances, strict=True)
            if distance > ITS_OWN * psf.fwhm
        ),
    )


def _distance(peak: Peak, source: ArtificialSource) -> float:
    dy, dx = source.offset
    return math.hypot(peak.dy - dy, peak.dx - dx)


def _row(
    kind: Kind, significance: int, before: Sequence[_Measured], after: Sequence[_Measured]
) -> RecoveryRow:
    first, second = (np.array([one.flux for one in many]) for many in (before, after))
    mean = float(first.mean())
    kept = float(second.mean()) / mean if mean > 0 else math.nan
    # of a ratio of means, by the scatter of the differences (Cochran 1977, "Sampling Techniques", chapter 6)
    error = (second - kept * first).std(ddof=1) / mean if len(first) > 1 and mean > 0 else math.nan
    return RecoveryRow(
        kind=kind,
        significance=significance,
        sources=len(first),
        before=_recovered(before),
        after=_recovered(after),
        kept=rounded(kept),
        kept_error=rounded(float(error) / math.sqrt(len(first)), 2),
    )


def _recovered(many: Sequence[_Measured]) -> Recovered:
    flux = np.array([one.flux for one in many])
    distances = np.array([one.distance for one in many if one.distance is not None])
    mean = float(flux.mean())
    stretch = float(np.mean([one.stretch for one in many]))
    return Recovered(
        completeness=rounded(len(distances) / len(many)) or 0.0,
        flux_bias=rounded(mean - 1) or 0.0,
        flux_scatter=rounded(float(flux.std(ddof=1))) if len(flux) > 1 else None,
        shift=rounded(float(np.sqrt((distances**2).mean()))) if len(distances) else None,
        width=rounded(1 + stretch / mean) if mean > 0 else None,
    )


def _purity(before: Sequence[_Measured], after: Sequence[_Measured]) -> tuple[PurityRow, ...]:
    counts = [_counts(many) for many in (before, after)]  # each (class, 2): true and false
    return tuple(
        PurityRow(
            significance=significance,
            detections_before=int(counts[0][place].sum()),
            detections_after=int(counts[1][place].sum()),
            before=_share(counts[0][place]),
            after=_share(counts[1][place]),
        )
        for place, significance in enumerate(SIGNIFICANCES)
    )


def _counts(many: Sequence[_Measured]) -> FloatArray:
    true = [one.true for one in many if one.true is not None]
    false = [value for one in many for value in one.false]
    counts = [
        np.bincount(np.searchsorted(BETWEEN, values), minlength=len(SIGNIFICANCES))
        for values in (true, false)
    ]
    return np.stack(counts, 1).astype(np.float64)


def _share(counts: FloatArray) -> float | None:
    true, false = (float(count) for count in counts)
    return rounded(true / (true + false)) if true + false else None
