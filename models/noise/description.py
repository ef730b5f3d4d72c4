"""What the noise of an image looks like, in numbers and in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from glassplate.models.noise.components import measure_components
from glassplate.models.noise.estimate import BESIDE_A_PATTERN, typical_sigma
from glassplate.models.noise.lights import without_lights
from glassplate.models.noise.model import NoiseModel
from glassplate.models.noise.repeats import without_repeats
from glassplate.models.noise.spectra import Sample

# Side of a grain, pixels, from which it is called coarse. A square of 8 pixels shows grain of 7 pixels as
# 2.9, so that this is also the largest that is told apart.
COARSE = 2.8
# Shares of the image that show little but noise, from which it is well known, and known at all. Made noise
# on six photographs: sigma of the brightness within 15 % above the first, up to 35 % off below the second.
HIGH_CONFIDENCE, LOW_CONFIDENCE = 0.2, 0.05
# Share of the standard deviation from which the noise of colours is worth a word. The colours of a grey
# picture that was saved with three channels have none but for the arithmetic.
LEAST_COLOUR = 0.01


@dataclass(frozen=True)
class NoiseDescription:
    """The noise that was found in an image. Standard deviations are in source units."""

    sigma: float
    """Standard deviation at the median pixel."""
    brightness: float
    """Part of `sigma` that all channels share; all of it for an image of one channel."""
    colour: float | None
    """Part in which the channels differ: ``sigma**2 = brightness**2 + colour**2``. None for one channel."""
    grain: float
    """Side of the square that holds one independent value of the brightness' noise, pixels."""
    colour_grain: float | None
    """The same for the colours; None for one channel."""
    correlated: bool
    """Whether the noise of neighbouring pixels is correlated."""
    grows: bool
    """Whether the noise grows with brightness."""
    flat: float
    """Share of the image that shows little but noise, 0 to 1."""
    unit: str = ""
    """What follows a standard deviation in words."""
    channels: tuple[float, ...] = ()
    """Standard deviation in each channel; empty where all have the same."""
    power: tuple[float, ...] = ()
    """Power of the brightness' noise at each of the `FREQUENCIES` of `noise_spectrum`, over that of white
    noise of the same standard deviation; empty if it is not known."""
    colour_power: tuple[float, ...] = ()
    """The same for the colours; empty for one channel."""

    @property
    def confidence(self) -> Literal["high", "fair", "low"]:
        """How well the noise is known, by the share of the image that shows little but noise."""
        if self.flat >= HIGH_CONFIDENCE:
            return "high"
        return "fair" if self.flat >= LOW_CONFIDENCE else "low"

    def scaled(self, exponent: int) -> NoiseDescription:
        """Noise of the image multiplied by ``2**exponent``."""
        return replace(
            self,
            sigma=math.ldexp(self.sigma, exponent),
            brightness=math.ldexp(self.brightness, exponent),
            colour=None if self.colour is None else math.ldexp(self.colour, exponent),
            channels=tuple(math.ldexp(sigma, exponent) for sigma in self.channels),
        )

    @property
    def words(self) -> str:
        """The noise in one line."""
        if self.sigma == 0:
            return "none"
        after = f" {self.unit}" if self.unit else ""
        growing = ", growing with brightness" if self.grows else ""
        if self.channels:
            growing = (
                f", by channel {', '.join(f'{sigma:.3g}' for sigma in self.channels)}{growing}"
            )
        known = (
            f"; confidence {self.confidence}, {self.flat:.0%} of the image shows little but noise"
        )
        if not self.correlated:
            return f"white, {self.sigma:.3g}{after}{growing}{known}"
        coarse = "coarse grain" if self.grain >= COARSE else "grain"
        colour = ""
        if self.colour is not None and self.colour > LEAST_COLOUR * self.sigma:
            colour = f", colour noise {self.colour:.3g}{after} at {self.colour_grain:.2g} pixels"
        return f"{coarse}, {self.brightness:.3g}{after} at {self.grain:.2g} pixels{colour}{growing}{known}"


def describe_noise(samples: Sequence[Sample], noise: NoiseModel, unit: str) -> NoiseDescription:
    """Describe the noise of an image.

    Parameters
    ----------
    samples
        Windows of the image: values ``(c, h, w)`` in source units, NaN allowed where not valid, and their
        valid map ``(c, h, w)``.
    noise
        What `estimate_noise` found in them.
    unit
        Name of the unit of the source; empty if it has none.
    """
    sigma = typical_sigma(samples, noise)
    finite = [(np.where(valid, values, 0), valid) for values, valid in samples]
    if noise.origin.endswith(BESIDE_A_PATTERN):
        finite = without_repeats(finite) or finite
    found = measure_components(without_lights(finite) if noise.correlated else finite)
    if found is None or found.variance == 0:
        return NoiseDescription(
            sigma, sigma, None, 1.0, None, noise.correlated, noise.slope > 0, 0.0, unit
        )
    # the model's total, which depends on brightness, shared out as measured in flat places
    scale = sigma / math.sqrt(found.variance)
    colour = found.colour
    return NoiseDescription(
        sigma=sigma,
        brightness=scale * math.sqrt(found.brightness.variance),
        colour=None if colour is None else scale * math.sqrt(colour.variance),
        grain=found.brightness.grain,
        colour_grain=None if colour is None else colour.grain,
        correlated=noise.correlated,
        grows=noise.slope > 0,
        flat=found.brightness.flat,
        unit=unit,
        channels=tuple(sigma * math.sqrt(share) for share in noise.shares),
        power=found.brightness.power,
        colour_power=() if colour is None else colour.power,
    )
