"""Lights of a photograph, whose noise the camera's curve has flattened.

The flattest squares of a photograph with white paper are those of the paper, and have a third of the noise of
the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from glassplate.models.noise.clipping import without_clipped
from glassplate.models.noise.components import MOST_COLOURS
from glassplate.models.noise.flat_squares import measure_correlated
from glassplate.models.noise.spectra import Sample
from glassplate.models.noise.variance_curve import BrightnessClasses, brightness_classes

# Share of an image in whose brightest part the class of the least noise must be.
LIGHTS = 0.2
# Most standard deviation of that class, in units of that of the middle class.
FLATTENED = 0.6
# Share of the image whose classes must be alike, and how far, relatively, each may be from the middle one.
# With these four numbers two of 15 crops of PolyU have lights, on whose paper the noise was measured at 0.35
# and 0.41 of the image's, and none of 16 photographs with made grain has (docs/design/018-seen-noise.md).
ALIKE_SHARE, ALIKE = 0.6, 0.15


def without_lights(samples: Sequence[Sample]) -> Sequence[Sample]:
    """Mark the pixels of lights as invalid if their noise is much less than that of the rest.

    Parameters
    ----------
    samples
        Windows of an image with correlated noise, finite.

    Returns
    -------
    The samples themselves where there are no such lights, and for more channels than colours have.
    """
    if not samples or len(samples[0][0]) > MOST_COLOURS:
        return samples
    planes = [
        (np.asarray(values.mean(0, np.float64))[None], np.asarray(valid.all(0))[None])
        for values, valid in without_clipped(samples)
    ]
    limit = lowest_light(brightness_classes(measure_correlated(planes).squares))
    if limit is None:
        return samples
    return [(values, valid & (values.mean(0) < limit)) for values, valid in samples]


def lowest_light(classes: BrightnessClasses) -> float | None:
    """Brightness from which on an image has lights with much less noise; None if there are none."""
    if not len(classes.level):
        return None
    order = np.argsort(classes.variance, kind="stable")
    reached = np.cumsum(classes.share[order])
    middle = float(classes.variance[order][np.searchsorted(reached, reached[-1] / 2)])
    least = int(order[0])
    if classes.share[least:].sum() > LIGHTS or classes.variance[least] > FLATTENED**2 * middle:
        return None
    alike = np.abs(np.sqrt(classes.variance / middle) - 1) <= ALIKE
    if classes.share[alike].sum() < ALIKE_SHARE:
        return None
    return float(classes.level[alike].max() + classes.level[least]) / 2
