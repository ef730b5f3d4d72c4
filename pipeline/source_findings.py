"""What planning finds in a source, by which every process reads it in the same way."""

from __future__ import annotations

from dataclasses import dataclass

from glassplate.pipeline.companions.exposures import Combination
from glassplate.pipeline.defects.cosmic_rays import Detector
from glassplate.pipeline.defects.wild_pixels import WildLimits
from glassplate.pipeline.sources.source import SourceSpec


@dataclass(frozen=True)
class SourceFindings:
    """What planning finds in a source and the user did not say; small, hashable and picklable.

    All numbers with a unit are those of values less the pedestal, divided by ``2**exponent``.
    """

    exponent: int = 0
    """Values are read divided by ``2**exponent``, which brings them near 1."""
    pedestal: float = 0.0
    """Level of the file's values that is subtracted before; 0 unless float32 would lose their noise."""
    limits: tuple[WildLimits | None, ...] = ()
    """Limits beyond which a pixel is wild, thus invalid: of the image and of each exposure; empty where
    nothing is wild."""
    combination: Combination | None = None
    """How the exposures become one measurement; None before all of them have been looked at."""
    detector: Detector | None = None
    """Finds defects, which are then invalid; None where none are looked for."""
    unused: tuple[str, ...] = ()
    """Roles of companions that were found by name and are not used, because they contradict the image."""


NOTHING_FOUND = SourceFindings()
"""Of a source that has not been looked at: its values are read as they stand in the file."""


def exposure_mask_role(place: int) -> str:
    """Role of the mask of a further exposure among companions, by its number from 1."""
    return f"mask of exposure {place}"


def has_variance(spec: SourceSpec, findings: SourceFindings) -> bool:
    """Whether the pixels of a source have the variance of an image of the noise."""
    return spec.variance is not None and "variance" not in findings.unused
