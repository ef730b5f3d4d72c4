"""What a fit is given: the measurement, and what all windows of an image share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from glassplate.models.device.numerics import Numerics
from glassplate.models.fit.settings import FitSettings, check_input
from glassplate.models.fit.stopping import StoppingSettings
from glassplate.models.networks.settings import NetworkSettings
from glassplate.models.noise.model import NoiseModel
from glassplate.models.operators.operator import Operator
from glassplate.models.operators.quantisation import Quantisation
from glassplate.models.pixel_transform import PixelTransform

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
Weights: TypeAlias = Mapping[str, FloatArray]
"""Weights of a prior network, by the name of the parameter."""

# Between the seeds of the members of an ensemble: odd, so that no two of 2^63 are equal, and with bits
# all over (2^64 over the golden ratio).
SEED_STEP = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class Measurement:
    """One window as it was measured."""

    values: FloatArray
    """(c, h, w) float32, source units; 0 where not valid."""
    valid: BoolArray
    """(c, h, w) bool, True means trust the pixel."""
    variance: FloatArray | None
    """(c, h, w) float32, squared source units, where the source has it per pixel."""
    seed: int
    """All random numbers of the fit derive from it."""
    guide: FloatArray | None = None
    """(g, h, w) float32, a second image of the same scene in a domain of about 0 to 1, finite: part of the
    network's input, never of the data term."""
    validation_exposure: FloatArray | None = None
    """(c, h, w) float32, source units: an exposure of the same scene with independent noise, which is kept
    from the fit and gives the validation loss; NaN where it is not used."""
    origin: tuple[int, int] = (0, 0)
    """Row and column of the window's first pixel in the image."""


def member_measurement(measurement: Measurement, member: int) -> Measurement:
    """The measurement with the seed of one member of an ensemble; the first member's is its own."""
    return replace(measurement, seed=(measurement.seed + member * SEED_STEP) % 2**63)


@dataclass(frozen=True)
class Problem:
    """What all windows of an image share."""

    network: NetworkSettings
    fit: FitSettings
    stopping: StoppingSettings
    operator: Operator
    transform: PixelTransform
    noise: NoiseModel
    numerics: Numerics
    guide_channels: int = 0
    """Channels of the guide that every measurement has."""
    quantisation: Quantisation | None = None
    """Quantisation of the JPEG that was measured; None for other formats."""

    def __post_init__(self) -> None:
        check_input(self.network, self.fit)

    @property
    def input(self) -> Literal["blindspot", "measurement", "noise", "requantised", "cross-scale"]:
        """The input, with `auto` resolved.

        cross-scale: the measurement, and when a donor learns, the measurement made smaller.
        """
        if self.network.kind == "enlarging":
            return "cross-scale"
        if self.fit.input != "auto":
            return self.fit.input
        if self.network.kind == "decoder":
            return "noise"
        if self.quantisation is not None:
            return "requantised"
        return "measurement" if self.operator.mixes else "blindspot"
