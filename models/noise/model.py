"""The noise model: the variance of a pixel's noise as a function of its expected value."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, TypeVar, cast

Array = TypeVar("Array")
"""numpy array or torch tensor."""

# The numbers that each model may be given, and the model to which each number belongs.
PARAMETERS = {
    "auto": {"sigma", "gain", "read_noise"},
    "gaussian": {"sigma"},
    "poisson": {"gain"},
    "poisson-gaussian": {"gain", "read_noise"},
}
MODEL_OF = {"sigma": "gaussian", "gain": "poisson-gaussian", "read_noise": "poisson-gaussian"}


@dataclass(frozen=True)
class NoiseSettings:
    """What is known about the noise; the rest is estimated once for the whole image."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    model: Literal["auto", "gaussian", "poisson-gaussian", "poisson"] = "auto"
    """auto: a variance image where given, else the model that the image shows."""
    sigma: float | None = None
    """Standard deviation in source units (gaussian)."""
    gain: float | None = None
    """Electrons per source unit (poisson-gaussian); 1 for counts."""
    read_noise: float | None = None
    """Read noise in electrons (poisson-gaussian)."""
    correlation: Literal["auto", "white", "correlated"] = "auto"
    """Whether the noise of neighbouring pixels is correlated; auto measures it."""
    impulses: bool = False
    """Measure the noise without the pixels that stand out from their neighbours: salt-and-pepper noise."""

    def scaled(self, exponent: int) -> NoiseSettings:
        """Settings for the image multiplied by ``2**exponent``; electrons stay electrons."""
        if exponent == 0:
            return self
        sigma, gain = self.sigma, self.gain
        if gain is None and self.model == "poisson":
            gain = 1.0  # the values are counts
        return replace(
            self,
            sigma=None if sigma is None else math.ldexp(sigma, exponent),
            gain=None if gain is None else math.ldexp(gain, -exponent),
        )

    def __post_init__(self) -> None:
        for name, value in (("sigma", self.sigma), ("gain", self.gain)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} {value} must be positive; leave it out to estimate it")
        read = self.read_noise
        if read is not None and not (math.isfinite(read) and read >= 0):
            raise ValueError(f"read_noise {read} must not be negative; leave it out to estimate it")
        for name, fitting in MODEL_OF.items():
            if getattr(self, name) is not None and name not in PARAMETERS[self.model]:
                raise ValueError(
                    f"{name} contradicts model {self.model}; drop it or set noise.model={fitting}"
                )
        if self.sigma is not None and (self.gain is not None or self.read_noise is not None):
            raise ValueError(
                f"sigma {self.sigma} contradicts gain and read_noise; give sigma "
                "alone (gaussian) or gain and read_noise (poisson-gaussian)"
            )


@dataclass(frozen=True)
class NoiseModel:
    """Variance of a pixel's noise as a function of its expected value."""

    floor: float
    """Variance where the expected value is `pedestal` or less, squared source units, not negative."""
    slope: float
    """Growth of the variance with the expected value, source units, not negative."""
    lag1: float
    """Autocorrelation of the noise between direct neighbours, mean of both directions."""
    correlated: bool
    """Whether the noise of neighbouring pixels is correlated."""
    origin: str
    """How the model was obtained, such as "estimated: gaussian" or "given: sigma"."""
    pedestal: float = 0.0
    """Value from which the variance grows, source units: the bias level of a raw exposure."""
    shares: tuple[float, ...] = ()
    """Variance of each channel's noise in units of what `variance` says; none where all have the same."""

    def variance(self, x: Array) -> Array:
        """Variance at expected values, ``floor + slope * max(x - pedestal, 0)``, in the mean of the channels.

        Parameters
        ----------
        x
            numpy array or torch tensor of any shape, source units.

        Returns
        -------
        Array
            Same kind and shape as `x`, squared source units; NaN where `x` is NaN.
        """
        # numpy and torch share clip and these operators; a protocol for both is not worth its lines
        values: Any = x
        result: Array = self.floor + self.slope * (values - self.pedestal).clip(min=0)
        return result

    def pixel_variance(self, x: Array) -> Array:
        """Variance of the noise of each pixel at its expected value.

        Parameters
        ----------
        x
            numpy array or torch tensor (..., c, h, w), source units, of as many channels as there are
            `shares`, if there are any.

        Returns
        -------
        Array
            Same kind and shape as `x`, squared source units; NaN where `x` is NaN.
        """
        result: Any = self.variance(x)
        for channel, share in enumerate(self.shares):
            result[..., channel, :, :] *= share
        return cast(Array, result)

    def of_channel(self, channel: int) -> NoiseModel:
        """Noise model of one channel alone."""
        if not self.shares:
            return self
        share = self.shares[channel]
        return replace(self, floor=share * self.floor, slope=share * self.slope, shares=())

    def scaled(self, exponent: int) -> NoiseModel:
        """Noise model of the image multiplied by ``2**exponent``."""
        return replace(
            self,
            floor=math.ldexp(self.floor, 2 * exponent),
            slope=math.ldexp(self.slope, exponent),
            pedestal=math.ldexp(self.pedestal, exponent),
        )
