"""The noise of brightness and of colours apart, where the noise of neighbouring pixels is correlated.

A photograph's content is nearly all in its brightness, so that the noise of the colours is seen in many
places and that of the brightness in few. Measured in each channel, both would be seen in the few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from glassplate.models.cosine_transform import cosine_matrix
from glassplate.models.noise.clipping import without_clipped
from glassplate.models.noise.flat_squares import (
    FEWEST_SQUARES,
    SIDE,
    CorrelatedNoise,
    measure_correlated,
)
from glassplate.models.noise.spectra import Sample

# Most channels that are taken for colours of one scene.
MOST_COLOURS = 4
# Side of the squares, pixels, in which the colours are measured. Colours have hardly any texture, and larger
# squares show coarser noise: made noise smoothed by 2 pixels, sigma 6, on six photographs, is found in the
# colours at 3.2 to 4.2 with squares of 8, at 5.0 to 6.3 with these; in the brightness at 3.4 to 5.7 and at
# 6.1 to 16.
COLOUR_SIDE = 16
# A place is flat if its structure is at most this many times its noise.
NEARLY_FLAT = 1.5
# Share of the places that show little but the noise of the brightness, below which that is no more than the
# noise of a colour: what was measured is texture (kodim05 and kodim06 with made grain of 4 levels: 6 levels).
FEW_FLAT = 0.05
# Times the grain of the brightness that the grain of the colours may have for that: a JPEG has halved their
# resolution, and left them less noise than the brightness (3.0 and 3.2 on these; made grain up to 1.9).
COARSER = 2.2
# Power of the highest frequencies of an image of whole numbers up to which there is nothing but rounding: a
# twelfth of each channel, and as much of the brightness that a JPEG keeps, which counts three times (crops of
# PolyU: 0.05 to 0.33).
ROUNDED = 0.4


@dataclass(frozen=True)
class ComponentNoise:
    """Noise of the brightness, or of the colours."""

    variance: float
    """Its part of the mean variance of a channel, squared source units. The parts add up to the whole."""
    grain: float
    """Side of the square that holds one independent value, pixels; 1 for white noise."""
    flat: float
    """Share of the places that show hardly more than this noise, 0 to 1."""
    power: tuple[float, ...] = ()
    """As of `CorrelatedNoise`."""


@dataclass(frozen=True)
class NoiseComponents:
    """Noise of an image by what it does to it."""

    brightness: ComponentNoise
    colour: ComponentNoise | None
    """None for an image of one channel, and of more than `MOST_COLOURS`."""
    even: bool = True
    """Whether flat places have the same noise, so that others were left out; not if JPEG made them flat."""

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
        alone = _measured(measure_correlated(samples), 1.0)
        return None if alone is None else NoiseComponents(alone, None)
    whole = all(bool((values == np.rint(values)).all()) for values, _ in samples)
    even_above = ROUNDED if whole else 0.0
    rotated = [_rotated(sample) for sample in samples]
    of_brightness = measure_correlated([(v[:1], good[:1]) for v, good in rotated], SIDE, even_above)
    of_colours = measure_correlated(
        [(v[1:], good[1:]) for v, good in rotated], COLOUR_SIDE, even_above
    )
    brightness, colour = (
        _measured(of_brightness, 1 / channels),
        _measured(of_colours, 1 - 1 / channels),
    )
    if brightness is None:
        return None
    if colour is not None and of_brightness.even and colour.grain <= COARSER * brightness.grain:
        brightness = _no_texture(brightness, colour.variance / (channels - 1))
    return NoiseComponents(brightness, colour, of_brightness.even)


def _no_texture(brightness: ComponentNoise, of_a_colour: float) -> ComponentNoise:
    """Bound the noise of a brightness that has hardly a flat place by that of a colour."""
    if brightness.flat >= FEW_FLAT:
        return brightness
    return replace(brightness, variance=min(brightness.variance, of_a_colour))


def _rotated(sample: Sample) -> Sample:
    """Brightness and differences of colour, valid where all channels are."""
    values, valid = sample
    planes = np.tensordot(cosine_matrix(len(values)), values.astype(np.float64), 1)  # (c, h, w)
    return planes, np.broadcast_to(valid.all(0), valid.shape)


def _measured(found: CorrelatedNoise, share: float) -> ComponentNoise | None:
    """Noise of planes that have `share` of the sum of squares of all; None with too few flat places."""
    if len(found.squares) < FEWEST_SQUARES:
        return None
    flat = found.squares.structure <= NEARLY_FLAT * found.variance
    return ComponentNoise(share * found.variance, found.grain, float(flat.mean()), found.power)
