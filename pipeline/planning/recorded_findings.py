"""What an earlier run found in its image, from the plan that its manifest records."""

from __future__ import annotations

import math
from dataclasses import replace

from glassplate.pipeline.defects.cosmic_rays import Detector
from glassplate.pipeline.defects.wild_pixels import WildLimits
from glassplate.pipeline.provenance.recorded_plan import RecordedPlan
from glassplate.pipeline.source_findings import SourceFindings


def findings_as_recorded(detector: Detector | None, recorded: RecordedPlan) -> SourceFindings:
    """Findings of an earlier run: exposures, wild pixels and defects as they were judged then."""
    exponent = recorded.unit_exponent
    if detector is not None:
        low = recorded.low_level
        level = -math.inf if low is None else math.ldexp(low, -exponent)
        noise = recorded.defect_noise or recorded.noise  # early runs recorded one
        detector = replace(detector, noise=noise.scaled(-exponent), low=level)
    return SourceFindings(
        exponent=exponent,
        pedestal=recorded.pedestal,
        limits=tuple(
            None if limits is None else WildLimits.from_json(limits).scaled(-exponent)
            for limits in recorded.wild
        ),
        combination=recorded.exposures and recorded.exposures.scaled(-exponent),
        detector=detector,
        unused=tuple(
            one.role for one in recorded.companions if not one.used and one.role != "detector"
        ),
    )
