"""The noise model of an image, estimated from some of its windows and from what the user knows about it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from glassplate.models.noise.channel_noise import channel_shares
from glassplate.models.noise.clipping import correct_clipping, without_clipped
from glassplate.models.noise.components import MOST_COLOURS, measure_components
from glassplate.models.noise.flat_squares import (
    FEWEST_SQUARES,
    Squares,
    constant_variance,
    measure_correlated,
    measure_white,
)
from glassplate.models.noise.impulses import MEDIAN_ABSOLUTE, without_impulses
from glassplate.models.noise.lights import without_lights
from glassplate.models.noise.model import NoiseModel, NoiseSettings
from glassplate.models.noise.repeats import without_repeats
from glassplate.models.noise.spectra import Sample
from glassplate.models.noise.variance_curve import (
    BrightnessClasses,
    VarianceLine,
    brightness_classes,
    fit_line,
    growing_line,
    growth_is_significant,
    typical_variance,
)

# Lag-1 autocorrelation above which the noise counts as correlated, if it is above three standard errors too.
# Measured: white noise on Set9 and on star fields -0.03 to 0.03, counts of XMM -0.04 to 0.03; resampled
# DECam exposures 0.07 to 0.18, a scanned plate 0.46, 2MASS 0.53 (design note 004).
CORRELATED_FROM = 0.05
# Lag-1 autocorrelation below which whole numbers whose variance is their level are counts of photons, and
# white. Six X-ray images (XMM) have -0.03 to 0.01 and a slope of 0.98 to 1.04. In the dark parts of one there
# is less than a twelfth of a photon in a pixel, no more than the noise of rounding: it was taken for a JPEG.
COUNTS_BELOW = 0.15
# Range of the slope, and most of the floor in units of its square, of the variance of counted photons.
COUNTS_SLOPE, COUNTS_FLOOR = (0.8, 1.25), 0.25
# Times the variance that high orders show, from which that of the colours at all frequencies is of grain too
# coarse to be seen there. Measured: white noise of 2 to 25 levels on 17 photographs up to 1.5, grain of a
# Gaussian of 2 pixels 9.5 and more. Brightness has up to 3.5 by its texture, and is not asked.
COARSE_FROM = 4.0
# Every so many windows are looked at for that.
COARSE_WINDOWS = 4
# Share of the variance below which noise measured beside a repeating pattern counts: what was measured with
# the pattern was the pattern.
LESS = 0.7
# What the origin of such a noise ends with.
BESIDE_A_PATTERN = ", beside a repeating pattern"
# Variance of the noise of rounding to whole numbers.
ROUNDING = 1 / 12
# Variance up to which there is not even that: the flat squares of a drawing, whose spectra are 0 but for the
# arithmetic, where camera JPEGs have 0.02 to 0.06.
LEAST_ROUNDING = 1e-6


def estimate_noise(samples: Sequence[Sample], settings: NoiseSettings) -> NoiseModel:
    """Estimate the noise model of a whole image from some of its windows.

    Parameters
    ----------
    samples
        Windows of the image: values ``(c, h, w)`` in source units (ignored where invalid, NaN
        included) with their valid map ``(c, h, w)``, True where the pixel is to be trusted. Any
        size, any number; about 64 windows of 128x128 spread over the image are plenty.
    settings
        What is known; the rest is estimated.

    Returns
    -------
    NoiseModel
        The variance is 0 where nothing can be measured: no valid pair of pixels, a constant image.
    """
    finite = [_finite(sample) for sample in samples]
    if settings.impulses:
        finite = [without_impulses(sample) for sample in finite]
    noise = _measured(finite, settings)
    if not noise.origin.startswith("estimated") or settings.model == "poisson-gaussian":
        return noise
    apart = without_repeats(finite) if noise.floor + noise.slope > 0 else None
    if apart is None or _is_smoothed(finite):
        return noise
    beside = _measured(apart, replace(settings, model="gaussian"))
    if beside.floor >= LESS * typical_sigma(finite, noise) ** 2:
        return noise
    return replace(beside, origin=beside.origin + BESIDE_A_PATTERN)


def _measured(finite: Sequence[Sample], settings: NoiseSettings) -> NoiseModel:
    """The noise model of windows as for `estimate_noise`, finite and without impulses."""
    squares, correlation = measure_white(finite)
    blind = settings.correlation == "auto"
    counts = blind and correlation.lag1 < COUNTS_BELOW and _are_counts(squares, finite)
    correlated = settings.correlation == "correlated" or (
        blind and not counts and correlation.lag1 > max(CORRELATED_FROM, 3 * correlation.error)
    )
    lag1, constant, even = correlation.lag1, None, True
    rounded = blind and not counts and _only_rounded(squares, finite)
    if blind and not (counts or correlated or rounded):
        correlated = _colours_are_coarse(squares, finite[::COARSE_WINDOWS])
    if correlated or rounded:
        rest = without_lights(finite)
        components = measure_components(rest)
        everywhere_flat = measure_correlated(without_clipped(rest))
        enough = len(everywhere_flat.squares) >= FEWEST_SQUARES
        if enough and constant_variance(everywhere_flat.squares) > ROUNDING:
            correlated = True
        if enough and correlated:
            squares, lag1 = everywhere_flat.squares, everywhere_flat.lag1
            constant = None if components is None else components.variance
        # where JPEG made places flat, a channel's noise there tells nothing of its noise elsewhere
        even = not rounded and components is not None and components.even
    stated = _given(settings)
    if stated is not None:
        line, origin = stated
        return NoiseModel(line.floor, line.slope, lag1, correlated, origin, line.pedestal)
    if len(squares) >= FEWEST_SQUARES:
        squares = correct_clipping(squares, finite)
    line, origin = _estimated(squares, finite, settings, constant)
    shares: tuple[float, ...] = ()
    if even and settings.gain is None and settings.read_noise is None:
        shares = _shares(squares, finite, line)
    if shares:
        # channels of different noise and brightness would look like noise that grows with brightness
        alike = squares.in_units_of(shares)
        line, origin = _estimated(alike, finite, settings, constant)
        shares = _shares(squares, finite, line)
    return NoiseModel(line.floor, line.slope, lag1, correlated, origin, line.pedestal, shares)


def _shares(squares: Squares, samples: Sequence[Sample], line: VarianceLine) -> tuple[float, ...]:
    """Shares of the channels as for `NoiseModel`; none for an image of more than `MOST_COLOURS`."""
    channels = len(samples[0][0]) if samples else 0
    if channels > MOST_COLOURS or len(squares) < FEWEST_SQUARES:
        return ()
    return channel_shares(squares, channels, line)


def noise_between_sources(samples: Sequence[Sample], noise: NoiseModel) -> NoiseModel:
    """Raise estimated noise that is correlated to that of the typical class of brightness.

    Correlated noise is measured in the flattest places. Elsewhere there are stars and nebulae too faint to be
    seen one by one, among which a faint star stands out less than it does there.

    Parameters
    ----------
    samples
        As for `estimate_noise`.
    noise
        Its result. White, given and growing noise is returned as it is.
    """
    if not noise.correlated or noise.slope > 0 or not noise.origin.startswith("estimated"):
        return noise
    squares = measure_correlated(without_clipped([_finite(sample) for sample in samples])).squares
    if len(squares) < FEWEST_SQUARES:
        return noise
    classes = brightness_classes(squares)
    if not len(classes.level):
        return noise
    return replace(noise, floor=max(noise.floor, typical_variance(classes)))


def _colours_are_coarse(squares: Squares, samples: Sequence[Sample]) -> bool:
    """Whether colours have much more noise than `squares` show in their high orders.

    Coarse grain leaves nothing there but the white noise of the picture itself.
    """
    if len(squares) < FEWEST_SQUARES:
        return False
    components = measure_components(samples)
    if components is None or components.colour is None:
        return False
    # of the mean variance of a channel, if all components had the same
    share = 1 - 1 / len(samples[0][0])
    return components.colour.variance > share * COARSE_FROM * constant_variance(squares) > 0


def _are_counts(squares: Squares, samples: Sequence[Sample]) -> bool:
    """Whether an image holds counted photons: whole numbers from 0, with their own number as variance."""
    if len(squares) < FEWEST_SQUARES:
        return False
    if any(bool((values != np.rint(values)).any() or (values < 0).any()) for values, _ in samples):
        return False
    line, _ = _estimated(squares, samples, NoiseSettings(), None)
    low, high = COUNTS_SLOPE
    return low <= line.slope <= high and line.floor <= COUNTS_FLOOR * line.slope**2


def _only_rounded(squares: Squares, samples: Sequence[Sample]) -> bool:
    """Whether the high orders of an image of whole numbers have no more than the noise of rounding.

    JPEG took them; the noise that it left is at low frequencies. Where even rounding left none, as in a
    drawing, there is no noise.
    """
    if len(squares) < FEWEST_SQUARES or not LEAST_ROUNDING < constant_variance(squares) <= ROUNDING:
        return False
    return all(bool((values == np.rint(values)).all()) for values, _ in samples)


def _is_smoothed(samples: Sequence[Sample]) -> bool:
    """Whether JPEG took the high frequencies, so that places with structure have more noise than others."""
    components = measure_components(samples)
    uneven = components is not None and not components.even
    return uneven or _only_rounded(measure_white(samples)[0], samples)


def _finite(sample: Sample) -> Sample:
    """Mark values that are not finite as invalid, and set invalid ones to 0."""
    values, valid = sample
    good = valid & np.isfinite(values)
    return np.where(good, values, 0), good


def typical_sigma(samples: Sequence[Sample], noise: NoiseModel) -> float:
    """Median standard deviation of the noise over the valid pixels; 0 if none is valid."""
    sigmas = [
        np.sqrt(noise.variance(values[valid].astype(np.float64))) for values, valid in samples
    ]
    found = np.concatenate(sigmas) if sigmas else np.zeros(0)
    return float(np.median(found)) if found.size else 0.0


def difference_sigma(samples: Sequence[Sample]) -> float:
    """Estimate sigma from differences of neighbours, which need no wholly valid square.

    Returns
    -------
    sigma
        From the median absolute value of ``(a - b - c + d) / 2`` over wholly valid 2x2 squares, or, where
        there is none, of ``(a - b) / sqrt(2)`` over valid pairs; 0 where no pair is valid.
    """
    quads, pairs = [np.zeros(0)], [np.zeros(0)]
    for values, valid in samples:
        x = np.where(valid, values, 0).astype(np.float64)  # (c, h, w)
        down, good = x[:, 1:] - x[:, :-1], valid[:, 1:] & valid[:, :-1]
        quads.append((down[..., 1:] - down[..., :-1])[good[..., 1:] & good[..., :-1]] / 2)
        side = valid[..., 1:] & valid[..., :-1]
        pairs += [down[good] / math.sqrt(2), (x[..., 1:] - x[..., :-1])[side] / math.sqrt(2)]
    for group in (quads, pairs):
        found = np.concatenate(group)
        if found.size:
            return float(np.median(np.abs(found)) / MEDIAN_ABSOLUTE)
    return 0.0


def _given(settings: NoiseSettings) -> tuple[VarianceLine, str] | None:
    """Noise that the settings state completely; None where something is left to estimate."""
    gain, read_noise = settings.gain, settings.read_noise
    if settings.sigma is not None:
        return VarianceLine(settings.sigma**2), "given: sigma"
    if gain is not None and read_noise is not None:
        return VarianceLine((read_noise / gain) ** 2, 1 / gain), "given: gain, read_noise"
    if settings.model == "poisson":
        return VarianceLine(0.0, 1 / (gain or 1.0)), "given: poisson" + (", gain" if gain else "")
    return None


def _estimated(
    squares: Squares, samples: Sequence[Sample], settings: NoiseSettings, constant: float | None
) -> tuple[VarianceLine, str]:
    """Noise measured in flat squares, or from differences of neighbours where squares are too few.

    `constant` is the variance of flat places, if it is known better than the squares tell it; else None.
    """
    if len(squares) < FEWEST_SQUARES:
        sigma = difference_sigma(samples)
        return VarianceLine(sigma**2), "estimated: gaussian, from differences"
    classes = brightness_classes(squares)
    of_squares = constant_variance(squares)
    if constant is None:
        constant = of_squares
    if not len(classes.level):
        return VarianceLine(constant), "estimated: gaussian"
    if settings.gain is not None or settings.read_noise is not None:
        return _partly_given(classes, settings)
    line = growing_line(classes)
    wanted = settings.model == "poisson-gaussian" and line.slope > 0
    if wanted or (settings.model == "auto" and growth_is_significant(classes, line)):
        kind = "poisson-gaussian" if line.floor > 0 else "poisson"
        # squares tell how the noise depends on brightness, brightness and colours apart how much there is
        coloured = len(samples[0][0]) > 1 and of_squares > 0
        return line.scaled(constant / of_squares if coloured else 1.0), f"estimated: {kind}"
    return VarianceLine(constant), "estimated: gaussian"


def _partly_given(classes: BrightnessClasses, settings: NoiseSettings) -> tuple[VarianceLine, str]:
    """Estimate the read noise where the gain is given, or the gain where the read noise is given."""
    light = np.maximum(classes.level, 0)
    if settings.gain is not None:
        slope = 1 / settings.gain
        floor = float(fit_line(classes, np.ones_like(light), slope * light)[0])
        return VarianceLine(max(floor, 0.0), slope), "given: gain; estimated: read_noise"
    # variance = light * s + (read_noise * s)**2 with s = 1 / gain, solved for each class
    read2 = (settings.read_noise or 0.0) ** 2
    root = np.sqrt(light**2 + 4 * read2 * classes.variance)
    usable = light + root > 0
    if not usable.any():
        return VarianceLine(0.0), "given: read_noise; gain not measurable"
    slope = float(np.median(2 * classes.variance / (light + root)[usable]))
    return VarianceLine(read2 * slope**2, slope), "given: read_noise; estimated: gain"
