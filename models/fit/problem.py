"""The values that a fit takes and gives: settings, measurement, problem, record, restoration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from glassplate.models.device.numerics import Numerics
from glassplate.models.fit.stopping import StoppingSettings
from glassplate.models.networks.make import NetworkSettings
from glassplate.models.noise.model import NoiseModel
from glassplate.models.operators.jpeg import Quantisation
from glassplate.models.operators.operator import Operator
from glassplate.models.transform import PixelTransform

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
Weights: TypeAlias = Mapping[str, FloatArray]
"""Weights of a prior network, by the name of the parameter."""


@dataclass(frozen=True)
class FitSettings:
    """How a prior network is fitted to a tile."""

    __pydantic_config__ = {"extra": "forbid"}

    input: Literal["auto", "blindspot", "measurement", "noise", "requantised"] = "auto"
    """blindspot: the measurement with random pixels dropped; measurement: nothing dropped; noise: the
    paper's fixed random code; requantised: a JPEG, compressed again with its blocks elsewhere; auto: noise
    for a decoder network, which takes nothing else, requantised for deartifact, measurement where A mixes
    pixels (super-resolution, deconvolution), else blindspot."""
    iterations: int = 1000
    """Cap on optimiser steps of any fit."""
    learning_rate: float = 0.01
    """Adam's step size."""
    drop: float = 0.3
    """Share of pixels dropped at each iteration (blindspot)."""
    holes: bool = False
    """Also drop the pattern of the missing pixels, moved at random: so the network learns to fill holes
    of their kind (blindspot, where noise is not correlated)."""
    input_depth: int = 32
    """Channels of the random code (noise)."""
    input_noise: float = 0.0333
    """Standard deviation of the noise added to the code at each iteration (noise; a decoder network's
    code stays as it is)."""
    average: float = 0.99
    """Decay of the exponential average of the outputs, which is the answer."""
    posterior: bool = True
    """Give back by Bayes' rule what the measurement says beyond the average: each pixel its own (blindspot),
    and holes what that changes around them; or, where A mixes pixels, what agreement still lacks."""
    posterior_radius: float = 3.0
    """Gaussian radius, in pixels, over which the prior's variance is averaged (posterior)."""
    posterior_doubt: float = 1.0
    """Standard errors of that average below which it is taken for noise (posterior)."""
    collaborative: bool = False
    """Then filter the measurement once more in groups of blocks that look alike, as BM3D does in its second
    step, with the answer so far as the pilot (where A does not mix pixels)."""
    guard: float | None = None
    """Standard deviations above which point-like light left in the residual is a faint source, whose pixels
    are given back as they were measured (denoise); none: no guard."""
    robust: float | None = None
    """Typical residuals beyond which a pixel pulls no harder, and is not believed: for salt-and-pepper noise
    and other outliers (Huber's loss; 1.5 is usual); none: squares."""
    members: int = 1
    """Fits, each with dice of its own, whose answers are averaged; the time grows as their number."""
    flips: bool = False
    """Show the network its input turned round at random at each iteration, so that the average is one over
    the four orientations, too: it is slower to learn the image, and slower to learn the noise."""
    uncertainty: bool = False
    """Also give the standard deviation of the answer's error: by Bayes' rule (blindspot), else from how
    the members of an ensemble differ."""
    log_period: int = 25
    """Iterations between records of the log."""
    tv: float = 0.0
    """Weight of the estimate's total variation as a penalty beside the data term, 0 for none. Both are
    counted in units of the noise, so that a weight means the same for every image; where there is no
    noise nothing is paid."""

    def __post_init__(self) -> None:
        if self.members < 1:
            raise ValueError(f"members is {self.members}, must be at least 1")
        for name, value in (("guard", self.guard), ("robust", self.robust)):
            if value is not None and not 0 < value < math.inf:
                raise ValueError(
                    f"{name} is {value}, must be above 0 and finite; leave it out for none"
                )
        if not 0 <= self.tv < math.inf:
            raise ValueError(f"tv is {self.tv}, must be at least 0 and finite")


@dataclass(frozen=True)
class Measurement:
    """One tile's window as it was measured."""

    values: FloatArray
    """(c, h, w) float32, source units; 0 where not valid."""
    valid: BoolArray
    """(c, h, w) bool, True means trust the pixel."""
    variance: FloatArray | None
    """(c, h, w) float32, squared source units, where the source has it per pixel."""
    seed: int
    """Everything random in the fit derives from it."""
    guide: FloatArray | None = None
    """(g, h, w) float32, a second image of the same scene in a domain of about 0 to 1, finite: the network
    sees it, and is never asked for it."""
    witness: FloatArray | None = None
    """(c, h, w) float32, source units: an exposure of the same scene with noise of its own, which is kept
    from the fit and judges it; NaN where it does not."""
    origin: tuple[int, int] = (0, 0)
    """Row and column of its first pixel in the image."""


@dataclass(frozen=True)
class Problem:
    """What all tiles of an image share."""

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
    """How the JPEG rounded that the measurement is; None where it is none."""

    def __post_init__(self) -> None:
        check_input(self.network, self.fit)

    @property
    def input(self) -> Literal["blindspot", "measurement", "noise", "requantised"]:
        """The input, with what `auto` means here."""
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
        If a decoder is to be fed anything but noise.
    """
    if network.kind == "decoder" and fit.input not in ("auto", "noise"):
        raise ValueError(
            f"fit.input is {fit.input}, must be noise (or auto) for network.kind decoder, which paints "
            "from a small random code; set fit.input=noise or choose another network.kind"
        )


@dataclass(frozen=True)
class Record:
    """One line of the iteration log; the fields are declared here and nowhere else."""

    iteration: int
    """Optimiser steps so far."""
    data_term: float
    """Mean data term of the iterations since the last record, squared units of the transform."""
    heldout_loss: float
    """Weighted squares of the average on held-out pixels, or against the exposure that is kept from the
    fit, same units; NaN where nothing is held out."""
    chi2: float
    """Mean squared residual of the average over the noise variance; NaN where there is no noise."""
    variance: float
    """Moving variance of the estimates, same units; NaN where the stopping rule does not look at it."""
    seconds: float
    """Since the fit of this tile began."""


@dataclass(frozen=True)
class Restoration:
    """What one fit gave."""

    values: FloatArray
    """(c, h scale, w scale) float32, source units, finite everywhere, invalid pixels included."""
    uncertainty: FloatArray | None
    """(c, h scale, w scale) float32, source units, where asked for: standard deviation of the error."""
    log: tuple[Record, ...]
    """Of an ensemble, that of one member after the other."""
    iterations: int
    """Optimiser steps taken; of an ensemble, by all members."""
    best_iteration: int
    """Step whose average is the answer; of an ensemble, the first member's."""
    stop_reason: str
    """"held-out minimum", "chi2 reached", "variance minimum", "iteration cap" or "no valid pixels"; of an
    ensemble, the first member's."""
    heldout_loss: float
    """As in `Record`, of the average that is the answer; of an ensemble, the members' mean."""
    chi2: float
    """As in `Record`, of the average that is the answer, before the posterior step."""
    guarded: int
    """Valid pixels that the guard on faint sources gave back."""
    whiteness: float
    """Lag-1 autocorrelation of that average's residual in units of the noise; 0 when only white noise
    was removed."""
    slots: int
    """Fits that were let advance together: `Numerics.stack`, or fewer where memory had run out. Of an
    ensemble, the fewest."""
    seconds: float
