"""The noise of brightness and of colours apart, where the noise of neighbouring pixels is correlated.

A photograph's content is nearly all in its brightness, so that the noise of the colours is seen in many
places and that of the brightness in few. Measured in each channel, both would be seen in the few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from glassplate.models.cosine_transform import cosine_matrix
from glassplate.models.noise.clipping import without_clipped
from glassplate.models.noise.flat_squares import FEWEST_SQUARES, SIDE, measure_correlated
from glassplate.models.noise.spectra import Sample
from glassplate.models.noise.variance_curve import constant_variance

# Most channels that are taken for colours of one scene.
MOST_COLOURS = 4
# Side of the squares, pixels, in which the colours are measured. Colours have hardly any texture, and larger
# squares show coarser noise: made noise smoothed by 2 pixels, sigma 6, on six photographs, is found in the
# colours at 3.2 to 4.2 with squares of 8, at 5.0 to 6.3 with these; in the brightness at 3.4 to 5.7 and at
# 6.1 to 16.
COLOUR_SIDE = 16
# A place is flat if its structure is at most this many times its noise.
NEARLY_FLAT = 1.5


@dataclass(frozen=True)
class ComponentNoise:
    """Noise of the brightness, or of the colours."""

    variance: float
    """Its part of the mean variance of a channel, squared source units. The parts add up to the whole."""
    grain: float
    """Side of the square that holds one independent value, pixels; 1 for white noise."""
    flat: float
    """Share of the places that show hardly more than this noise, 0 to 1."""


@dataclass(frozen=True)
class NoiseComponents:
    """Noise of an image by what it does to it."""

    brightness: ComponentNoise
    colour: ComponentNoise | None
    """None for an image of one channel, and of more than `MOST_COLOURS`."""

    @property
    def variance(self) -> float:
        """Mean variance of a channel, squared source units."""
        return self.brightness.variance + (0.0 if self.colour is None else self.colour.variance)


def measure_components(samples: Sequence[Sample]) -> NoiseComponents | None:
    """Measure the noise of brightness and of colours in the places where each is flat.

    Parameters
    ----------
    samples
        Windows of the image as for `estimate_noise`, finite; a place counts where all channels are valid.

    Returns
    -------
    NoiseComponents or None
        None where too few places are wholly valid.
    """
    samples = without_clipped(samples)
    channels = len(samples[0][0]) if samples else 0
    if not 1 < channels <= MOST_COLOURS:
        brightness, colour = _measure(samples, 1.0, SIDE), None
    else:
        rotated = [_rotated(sample) for sample in samples]
        brightness = _measure([(v[:1], good[:1]) for v, good in rotated], 1 / channels, SIDE)
        colour = _measure([(v[1:], good[1:]) for v, good in rotated], 1 - 1 / channels, COLOUR_SIDE)
    return None if brightness is None else NoiseComponents(brightness, colour)


def _rotated(sample: Sample) -> Sample:
    """Brightness and differences of colour, valid where all channels are."""
    values, valid = sample
    planes = np.tensordot(cosine_matrix(len(values)), values.astype(np.float64), 1)  # (c, h, w)
    return planes, np.broadcast_to(valid.all(0), valid.shape)


def _measure(samples: Sequence[Sample], share: float, side: int) -> ComponentNoise | None:
    """Noise of planes that have `share` of the sum of squares of all; None with too few flat places."""
    found = measure_correlated(samples, side)
    if len(found.squares) < FEWEST_SQUARES:
        return None
    variance = constant_variance(found.squares)
    flat = found.squares.structure <= NEARLY_FLAT * variance
    return ComponentNoise(share * variance, found.grain, float(flat.mean()))
