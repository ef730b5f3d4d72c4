"""Noise models and their estimation from the image alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Sample = tuple[npt.NDArray[Any], BoolArray]
"""Values ``(c, h, w)`` in source units with their valid map ``(c, h, w)``."""

Array = TypeVar("Array")
"""numpy array or torch tensor."""

# A normal variable's standard deviation over its median absolute deviation.
MAD_TO_SIGMA = 1.482602218505602
# Side of the blocks in which trends are removed, pixels.
BLOCK = 16
# Lag-1 autocorrelation above which noise counts as correlated.
CORRELATED_FROM = 0.1


@dataclass(frozen=True)
class NoiseSettings:
    """What is known of the noise; what is not is estimated once for the whole image."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    model: Literal["auto", "gaussian", "poisson-gaussian", "poisson"] = "auto"
    """auto: a variance image where given, else decided by the image."""
    sigma: float | None = None
    """Standard deviation in source units (gaussian)."""
    gain: float | None = None
    """Electrons per source unit (poisson-gaussian); 1 for counts."""
    read_noise: float | None = None
    """Read noise in electrons (poisson-gaussian)."""
    correlation: Literal["auto", "white", "correlated"] = "auto"
    """Whether neighbouring pixels share noise; auto measures it."""

    def __post_init__(self) -> None:
        for name, value in (("sigma", self.sigma), ("gain", self.gain)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} {value} must be positive; leave it out to estimate it")
        read = self.read_noise
        if read is not None and not (math.isfinite(read) and read >= 0):
            raise ValueError(f"read_noise {read} must not be negative; leave it out to estimate it")
        for name in _strangers(self):
            fit = {
                "sigma": "gaussian",
                "gain": "poisson-gaussian",
                "read_noise": "poisson-gaussian",
            }
            raise ValueError(
                f"{name} contradicts model {self.model}; drop it or set noise.model={fit[name]}"
            )
        if self.sigma is not None and (self.gain is not None or self.read_noise is not None):
            raise ValueError(
                f"sigma {self.sigma} contradicts gain and read_noise; give sigma "
                "alone (gaussian) or gain and read_noise (poisson-gaussian)"
            )


def _strangers(settings: NoiseSettings) -> list[str]:
    """Names of the numbers given that the model has no use for."""
    used = {
        "auto": {"sigma", "gain", "read_noise"},
        "gaussian": {"sigma"},
        "poisson": {"gain"},
        "poisson-gaussian": {"gain", "read_noise"},
    }[settings.model]
    given = [n for n in ("sigma", "gain", "read_noise") if getattr(settings, n) is not None]
    return [n for n in given if n not in used]


@dataclass(frozen=True)
class NoiseModel:
    """Variance of a pixel's noise as a function of its expected value."""

    floor: float
    """Variance where the expected value is zero or less, squared source units, not negative."""
    slope: float
    """Growth of the variance with the expected value, source units, not negative."""
    lag1: float
    """Autocorrelation of the noise between direct neighbours, mean of both directions."""
    correlated: bool
    """Whether neighbouring pixels share noise."""
    origin: str
    """How the model was obtained, such as "estimated: gaussian" or "given: sigma"."""

    def variance(self, x: Array) -> Array:
        """Variance of the noise at expected values `x`, ``floor + slope * max(x, 0)``.

        Parameters
        ----------
        x
            numpy array or torch tensor of any shape, source units.

        Returns
        -------
        Array
            Same kind and shape as `x`, squared source units; NaN where `x` is NaN.
        """
        result: Array = self.floor + self.slope * x.clip(min=0)  # type: ignore[attr-defined]
        return result

    def to_json(self) -> dict[str, Any]:
        """As a dictionary of JSON's types."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> NoiseModel:
        """From what `to_json` gave."""
        return cls(**values)


def estimate_noise(samples: Sequence[Sample], settings: NoiseSettings) -> NoiseModel:
    """Noise model of a whole image from some of its windows.

    Parameters
    ----------
    samples
        Windows of the image: values ``(c, h, w)`` in source units (ignored where invalid, NaN
        included) with their valid map ``(c, h, w)``, True where the pixel is to be trusted. Any
        size, any number; about 64 windows of 128x128 spread over the image are plenty.
    settings
        What is known; the rest is estimated.

    Returns
    -------
    NoiseModel
        ``floor`` is 0 where nothing can be measured: no valid pair of pixels, a constant image.
    """
    planes = _planes(samples)
    lag1 = _lag1(planes)
    correlated = {"white": False, "correlated": True, "auto": lag1 > CORRELATED_FROM}[
        settings.correlation
    ]
    if settings.sigma is not None:
        return NoiseModel(settings.sigma**2, 0.0, lag1, correlated, "given: sigma")
    if settings.gain is not None and settings.read_noise is not None:
        floor = (settings.read_noise / settings.gain) ** 2
        return NoiseModel(floor, 1 / settings.gain, lag1, correlated, "given: gain, read_noise")
    if settings.model == "poisson":
        origin = "given: poisson" + (", gain" if settings.gain is not None else "")
        return NoiseModel(0.0, 1 / (settings.gain or 1.0), lag1, correlated, origin)
    return NoiseModel(_diagonal_mad(planes) ** 2, 0.0, lag1, correlated, "estimated: gaussian")


def _planes(samples: Sequence[Sample]) -> list[tuple[FloatArray, BoolArray]]:
    """Split the samples into their channels, ``(h, w)``, invalid pixels zero."""
    planes = []
    for values, valid in samples:
        for plane, good in zip(values, valid, strict=True):
            trusted = good & np.isfinite(plane)
            planes.append((np.where(trusted, plane, 0).astype(np.float64), trusted))
    return planes


def _diagonal_mad(planes: list[tuple[FloatArray, BoolArray]]) -> float:
    """Measure the standard deviation on the diagonal Haar coefficients of wholly valid 2x2 squares."""
    details = []
    for x, good in planes:
        whole = good[1:, 1:] & good[1:, :-1] & good[:-1, 1:] & good[:-1, :-1]
        details.append(((x[1:, 1:] - x[1:, :-1] - x[:-1, 1:] + x[:-1, :-1]) / 2)[whole])
    every = np.concatenate(details) if details else np.zeros(0)
    return float(MAD_TO_SIGMA * np.median(np.abs(every))) if every.size else 0.0


def _lag1(planes: list[tuple[FloatArray, BoolArray]]) -> float:
    """Lag-1 autocorrelation in the flattest tenth of blocks, their plane trend removed."""
    y, x = np.mgrid[-1 : 1 : BLOCK * 1j, -1 : 1 : BLOCK * 1j]
    basis = np.linalg.qr(np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], -1).reshape(-1, 6))[
        0
    ]
    blocks: list[FloatArray] = []
    for values, good in planes:
        for top in range(0, values.shape[0] - BLOCK + 1, BLOCK):
            for left in range(0, values.shape[1] - BLOCK + 1, BLOCK):
                at = slice(top, top + BLOCK), slice(left, left + BLOCK)
                if good[at].all():
                    blocks.append(values[at].ravel())
    if not blocks:
        return 0.0
    stack = np.stack(blocks)  # (n, BLOCK * BLOCK)
    rest = stack - (stack @ basis) @ basis.T
    power = (rest**2).mean(1)
    scale = np.abs(stack).max() if stack.size else 0.0
    noisy = power > (1e-6 * scale) ** 2
    if not noisy.any():
        return 0.0
    flat = rest[noisy & (power <= np.quantile(power[noisy], 0.1, method="higher"))]
    image = flat.reshape(-1, BLOCK, BLOCK)
    pair = (image[:, 1:] * image[:, :-1]).mean() + (image[:, :, 1:] * image[:, :, :-1]).mean()
    return float(pair / 2 / (image**2).mean())
