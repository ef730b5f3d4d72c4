"""What a fit is given: settings, measurement, and what all windows of an image share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from glassplate.models.device.numerics import Numerics
from glassplate.models.fit.stopping import StoppingSettings
from glassplate.models.networks.make import NetworkSettings
from glassplate.models.noise.model import NoiseModel
from glassplate.models.operators.jpeg import Quantisation
from glassplate.models.operators.operator import Operator
from glassplate.models.pixel_transform import PixelTransform

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
Weights: TypeAlias = Mapping[str, FloatArray]
"""Weights of a prior network, by the name of the parameter."""

# Between the seeds of the members of an ensemble: odd, so that no two of 2^63 are equal, and with bits
# all over (2^64 over the golden ratio).
SEED_STEP = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class FitSettings:
    """How a prior network is fitted to a window."""

    __pydantic_config__ = {"extra": "forbid"}

    input: Literal["auto", "blindspot", "measurement", "noise", "requantised"] = "auto"
    """blindspot: the measurement with random pixels dropped; measurement: nothing dropped; noise: the
    paper's fixed random code; requantised: a JPEG, compressed again with its blocks elsewhere; auto: noise
    for a decoder network, which takes nothing else, requantised for deartifact, measurement where A mixes
    pixels (super-resolution, deconvolution), else blindspot."""
    iterations: int = 1000
    """Cap on iterations of any fit; tiles that start from a donor have `donor.tile_iterations`."""
    predictions: int = 0
    """Iterations before the cap in which the network predicts and no longer learns, which takes a third of
    the time; at most `iterations`. Tiles that start from a donor have `donor.tile_predictions`."""
    learning_rate: float = 0.01
    """Adam's step size."""
    drop: float = 0.3
    """Share of pixels dropped at each iteration; in squares, and three times as many, where the noise of
    neighbours is correlated (blindspot)."""
    holes: bool = False
    """Also drop the pattern of the missing pixels, moved at random, so that the network learns to fill
    holes of their shape (blindspot, where noise is not correlated)."""
    input_depth: int = 32
    """Channels of the random code (noise)."""
    input_noise: float = 0.0333
    """Standard deviation of the noise added to the code at each iteration (noise; none is added to a
    decoder network's code)."""
    average: float = 0.99
    """Decay of the exponential average of the outputs, which is the answer."""
    posterior: bool = True
    """Combine the average with the measurement by Bayes' rule: each pixel with its own (blindspot), and
    what this changes around holes is carried into them; where A mixes pixels, the estimate is corrected
    until A of it agrees with the measurement."""
    posterior_radius: float = 3.0
    """Gaussian radius, in pixels, over which the prior's variance is averaged (posterior)."""
    posterior_doubt: float = 1.0
    """Standard errors of that average below which it counts as noise (posterior)."""
    collaborative: bool = False
    """Then filter the measurement in groups of similar blocks, as BM3D does in its second step, with the
    answer so far as the pilot (where A does not mix pixels). Where the noise of neighbouring pixels is
    correlated and no guard is set, colours are also smoothed under the guidance of the brightness."""
    filter_passes: int = 1
    """Passes of that filter, each with the answer of the one before as its pilot; all but the last are
    coarser (collaborative). Two pay where a network has learnt little; a prediction that is nearly right
    gains nothing."""
    guard: float | None = None
    """Standard deviations above which structure in the measurement (a wavelet coefficient) is a source whose
    light the answer must have too (denoise); none: no guard."""
    robust: float | None = None
    """Residual, in units of the typical one, beyond which the pull of a pixel no longer grows: for
    salt-and-pepper noise and other outliers, which the posterior then ignores (Huber's loss; 1.5 is usual);
    none: squares."""
    members: int = 1
    """Fits of each tile, from different random numbers, whose answers are averaged; the time grows with
    their number."""
    uncertainty: bool = False
    """Also give the standard deviation of the answer's error: by Bayes' rule (blindspot), otherwise from
    the differences between the members of an ensemble."""
    log_period: int = 25
    """Iterations between records of the log."""
    tv: float = 0.0
    """Weight of the estimate's total variation as a penalty beside the data term, 0 for none. Both are in
    units of the noise, so that a weight means the same for every image; without noise there is no
    penalty."""

    def __post_init__(self) -> None:
        for name in ("members", "filter_passes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1")
        if not 0 <= self.predictions <= self.iterations:
            raise ValueError(
                f"predictions is {self.predictions}, must be from 0 to iterations, {self.iterations}"
            )
        for name, value in (("guard", self.guard), ("robust", self.robust)):
            if value is not None and not 0 < value < math.inf:
                raise ValueError(
                    f"{name} is {value}, must be above 0 and finite; leave it out for none"
                )
        if not 0 <= self.tv < math.inf:
            raise ValueError(f"tv is {self.tv}, must be at least 0 and finite")

    def learns(self, iteration: int) -> bool:
        """Whether the network learns in the iteration after so many."""
        return iteration < self.iterations - self.predictions


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


def check_input(network: NetworkSettings, fit: FitSettings) -> None:
    """Refuse an input that the network cannot take.

    Raises
    ------
    ValueError
        If a decoder is to be fed anything but noise, or an enlarging network anything but the image.
    """
    if network.kind == "decoder" and fit.input not in ("auto", "noise"):
        raise ValueError(
            f"fit.input is {fit.input}, must be noise (or auto) for network.kind decoder, which paints "
            "from a small random code; set fit.input=noise or choose another network.kind"
        )
    if network.kind == "enlarging" and fit.input != "auto":
        raise ValueError(
            f"fit.input is {fit.input}, must be auto for network.kind enlarging, which learns from the image "
            "made smaller; drop it or choose another network.kind"
        )
