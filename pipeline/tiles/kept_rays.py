"""Pixels that were taken for cosmic rays although they hold less light than they would be filled with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.sources.source import Pixels

# Standard deviations of the noise by which the light that a ray's pixel is filled with may exceed what was
# measured: the estimate has an error, and the fainter parts of a ray are hardly above the noise.
EXCESS = 5.0


def kept_rays(
    plan: Plan, restored: npt.NDArray[np.floating], pixels: Pixels
) -> npt.NDArray[np.bool_]:
    """Pixels of cosmic rays that stay as measured.

    A ray adds light. If the estimate without it is brighter than the measurement, something else was taken
    for a ray, such as the core of a star, and what was measured is closer to the scene.

    Parameters
    ----------
    plan
        Where its operator mixes pixels, no estimate can be compared with its pixel, and none is kept.
    restored
        Estimates of a region, ``(c, h * scale, w * scale)`` in the units of `pixels`; NaN where there is
        none.
    pixels
        Its measurement.

    Returns
    -------
    ``(c, h, w)``, on the grid of the input.
    """
    if pixels.rays is None or plan.layout.mixes:
        return np.zeros_like(pixels.valid)
    variance = plan.noise.pixel_variance(restored) if pixels.variance is None else pixels.variance
    most = pixels.values + EXCESS * np.sqrt(variance)
    kept: npt.NDArray[np.bool_] = pixels.rays & (restored > most)
    return kept
