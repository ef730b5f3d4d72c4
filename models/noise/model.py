"""Noise models and their estimation from the image alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np

from glassplate.models.noise.curve import (
    FEWEST,
    Classes,
    Line,
    brightness_classes,
    constant_variance,
    fit_line,
    growing_variance,
    grows,
    uncut,
)
from glassplate.models.noise.flatness import (
    Flats,
    correlated_flats,
    difference_sigma,
    white_flats,
)
from glassplate.models.spectra import FloatArray, Sample

Array = TypeVar("Array")
"""numpy array or torch tensor."""

# Lag-1 autocorrelation above which noise counts as correlated, if it is so by three standard errors.
# Measured: white noise on Set9 and on star fields -0.03 to 0.03, counts of XMM -0.04 to 0.03; resampled
# DECam exposures 0.07 to 0.18, a scanned plate 0.46, 2MASS 0.53 (design note 004).
CORRELATED_FROM = 0.05
# Standard deviations from the median of its neighbours beyond which a pixel is an impulse.
STANDING_OUT = 5.0


@dataclass(frozen=True)
class NoiseSettings:
    """What is known of the noise; what is not is estimated once for the whole image."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    model: Literal["auto", "gaussian", "poisson-gaussian", "poisson"] = "auto"
    """auto: a variance image where given, else decided by the image."""
    sigma: float | None = None
    """Standard deviation in source units (gaussian)."""
    gain: float | None = None
    """Electrons per source unit (poisson-gaussian); 1 for counts."""
    read_noise: float | None = None
    """Read noise in electrons (poisson-gaussian)."""
    correlation: Literal["auto", "white", "correlated"] = "auto"
    """Whether neighbouring pixels share noise; auto measures it."""
    impulses: bool = False
    """Measure the noise without the pixels that stand out from their neighbours: salt-and-pepper noise."""

    def scaled(self, exponent: int) -> NoiseSettings:
        """What is known of the noise of an image multiplied by ``2**exponent``; electrons stay electrons."""
        if exponent == 0:
            return self
        sigma, gain = self.sigma, self.gain
        if gain is None and self.model == "poisson":
            gain = 1.0  # the values are counts
        return replace(
            self,
            sigma=None if sigma is None else math.ldexp(sigma, exponent),
            gain=None if gain is None else math.ldexp(gain, -exponent),
        )

    def __post_init__(self) -> None:
        for name, value in (("sigma", self.sigma), ("gain", self.gain)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} {value} must be positive; leave it out to estimate it")
        read = self.read_noise
        if read is not None and not (math.isfinite(read) and read >= 0):
            raise ValueError(f"read_noise {read} must not be negative; leave it out to estimate it")
        for name in _strangers(self):
            fit = {
                "sigma": "gaussian",
                "gain": "poisson-gaussian",
                "read_noise": "poisson-gaussian",
            }
            raise ValueError(
                f"{name} contradicts model {self.model}; drop it or set noise.model={fit[name]}"
            )
        if self.sigma is not None and (self.gain is not None or self.read_noise is not None):
            raise ValueError(
                f"sigma {self.sigma} contradicts gain and read_noise; give sigma "
                "alone (gaussian) or gain and read_noise (poisson-gaussian)"
            )


def _strangers(settings: NoiseSettings) -> list[str]:
    """Names of the numbers given that the model has no use for."""
    used = {
        "auto": {"sigma", "gain", "read_noise"},
        "gaussian": {"sigma"},
        "poisson": {"gain"},
        "poisson-gaussian": {"gain", "read_noise"},
    }[settings.model]
    given = [n for n in ("sigma", "gain", "read_noise") if getattr(settings, n) is not None]
    return [n for n in given if n not in used]


@dataclass(frozen=True)
class NoiseModel:
    """Variance of a pixel's noise as a function of its expected value."""

    floor: float
    """Variance where the expected value is `pedestal` or less, squared source units, not negative."""
    slope: float
    """Growth of the variance with the expected value, source units, not negative."""
    lag1: float
    """Autocorrelation of the noise between direct neighbours, mean of both directions."""
    correlated: bool
    """Whether neighbouring pixels share noise."""
    origin: str
    """How the model was obtained, such as "estimated: gaussian" or "given: sigma"."""
    pedestal: float = 0.0
    """Value from which the variance grows, source units: the bias level of a raw exposure."""

    def variance(self, x: Array) -> Array:
        """Variance of the noise at expected values, ``floor + slope * max(x - pedestal, 0)``.

        Parameters
        ----------
        x
            numpy array or torch tensor of any shape, source units.

        Returns
        -------
        Array
            Same kind and shape as `x`, squared source units; NaN where `x` is NaN.
        """
        # both kinds of array have these operators and clip; no protocol of the two is worth its lines
        values: Any = x
        result: Array = self.floor + self.slope * (values - self.pedestal).clip(min=0)
        return result

    def scaled(self, exponent: int) -> NoiseModel:
        """The noise of an image multiplied by ``2**exponent``."""
        return replace(
            self,
            floor=math.ldexp(self.floor, 2 * exponent),
            slope=math.ldexp(self.slope, exponent),
            pedestal=math.ldexp(self.pedestal, exponent),
        )

    def to_json(self) -> dict[str, Any]:
        """As a dictionary of JSON's types."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> NoiseModel:
        """From what `to_json` gave."""
        return cls(**values)


def estimate_noise(samples: Sequence[Sample], settings: NoiseSettings) -> NoiseModel:
    """Noise model of a whole image from some of its windows.

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
    trusted = [_trusted(sample) for sample in samples]
    if settings.impulses:
        trusted = [without_impulses(sample) for sample in trusted]
    flats, lag = white_flats(trusted)
    correlated = settings.correlation == "correlated" or (
        settings.correlation == "auto" and lag.value > max(CORRELATED_FROM, 3 * lag.error)
    )
    if correlated:
        wide, wide_lag = correlated_flats(trusted)
        flats, lag = (wide, wide_lag) if len(wide) >= FEWEST else (flats, lag)
    line, origin = _given(settings) or _estimated(flats, trusted, settings)
    return NoiseModel(line.floor, line.slope, lag.value, correlated, origin, line.pedestal)


def _trusted(sample: Sample) -> Sample:
    """Count values that are not finite as invalid, and set invalid ones to 0."""
    values, valid = sample
    good = valid & np.isfinite(values)
    return np.where(good, values, 0), good


def without_impulses(sample: Sample) -> Sample:
    """Count the pixels that stand out from the median of their 3x3 neighbourhood as invalid."""
    values, valid = sample
    distance = np.abs(values - _median_of_nine(values))
    usual = float(np.median(distance[valid])) if valid.any() else 0.0
    # median absolute deviation over 0.6745: a standard deviation, of what are not impulses
    return values, valid & (distance <= STANDING_OUT * usual / 0.67448975)


def _median_of_nine(values: FloatArray) -> FloatArray:
    """Median of each pixel's 3x3 neighbourhood, borders repeated; (c, h, w) to the same."""
    wide = np.pad(values, ((0, 0), (1, 1), (1, 1)), "edge")
    views = np.lib.stride_tricks.sliding_window_view(wide, (3, 3), axis=(1, 2))  # (c, h, w, 3, 3)
    median: FloatArray = np.median(views.reshape(*values.shape, 9), axis=-1)
    return median


def _given(settings: NoiseSettings) -> tuple[Line, str] | None:
    """Noise that the settings state wholly; None where something is left to estimate."""
    gain, read_noise = settings.gain, settings.read_noise
    if settings.sigma is not None:
        return Line(settings.sigma**2), "given: sigma"
    if gain is not None and read_noise is not None:
        return Line((read_noise / gain) ** 2, 1 / gain), "given: gain, read_noise"
    if settings.model == "poisson":
        return Line(0.0, 1 / (gain or 1.0)), "given: poisson" + (", gain" if gain else "")
    return None


def _estimated(
    flats: Flats, samples: Sequence[Sample], settings: NoiseSettings
) -> tuple[Line, str]:
    """Noise measured in flat squares, or from differences where there are too few of them."""
    if len(flats) < FEWEST:
        return Line(difference_sigma(samples) ** 2), "estimated: gaussian, from differences"
    flats = uncut(flats, samples)
    classes = brightness_classes(flats)
    if not len(classes.level):
        return Line(constant_variance(flats)), "estimated: gaussian"
    if settings.gain is not None or settings.read_noise is not None:
        return _half_given(classes, settings)
    line = growing_variance(classes)
    wanted = settings.model == "poisson-gaussian" and line.slope > 0
    if wanted or (settings.model == "auto" and grows(classes, line)):
        kind = "poisson-gaussian" if line.floor > 0 else "poisson"
        return line, f"estimated: {kind}"
    return Line(constant_variance(flats)), "estimated: gaussian"


def _half_given(classes: Classes, settings: NoiseSettings) -> tuple[Line, str]:
    """Estimate read noise where the gain is given, or the gain where the read noise is."""
    light = np.maximum(classes.level, 0)
    if settings.gain is not None:
        slope = 1 / settings.gain
        floor = float(fit_line(classes, np.ones_like(light), slope * light)[0])
        return Line(max(floor, 0.0), slope), "given: gain; estimated: read_noise"
    # variance = light * s + (read_noise * s)**2 with s = 1 / gain, solved for each class
    read2 = (settings.read_noise or 0.0) ** 2
    root = np.sqrt(light**2 + 4 * read2 * classes.variance)
    usable = light + root > 0
    if not usable.any():
        return Line(0.0), "given: read_noise; gain not measurable"
    slope = float(np.median(2 * classes.variance / (light + root)[usable]))
    return Line(read2 * slope**2, slope), "given: read_noise; estimated: gain"
