"""Whether what looks like cosmic rays may be rays, by their share of an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from glassplate.pipeline.defects.cosmic_rays import Detector
from glassplate.pipeline.scaling import Sample

# Share of the pixels above which they are no rays. Long exposures on the ground have some 0.1 %, of half an
# hour in space 3 %; in an X-ray image 8 % were found, its sources among them.
MOST_RAYS = 0.05
TOO_MANY_RAYS = (
    f"more than {MOST_RAYS:.0%} of the pixels look like cosmic rays, so that none are looked for: they may "
    "be photons or sources; if they are rays, set defects.cosmic_rays=true"
)
# Windows that are looked at, some tenths of a second together.
WINDOWS = 8


def rays_are_few(samples: Sequence[Sample], detector: Detector) -> bool:
    """Whether a detector takes no more than `MOST_RAYS` of the pixels for cosmic rays.

    Parameters
    ----------
    samples
        Windows of the image with their valid maps, ``(c, h, w)``, source units; a few of them are looked at.
    detector
        It looks for rays.

    Returns
    -------
    bool
        True for an image without a valid pixel.
    """
    rays = pixels = 0
    for values, valid in samples[:: -(-len(samples) // WINDOWS)] if samples else ():
        for plane, good in zip(values, valid, strict=True):
            found = detector.find_kinds(np.where(good, plane, 0), good)[1]
            rays += int(found.sum())
            pixels += int(good.sum())
    return rays <= MOST_RAYS * pixels
