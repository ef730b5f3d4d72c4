"""A tiny fit: a window of a made sky, and how it is fitted."""

from dataclasses import replace

import numpy as np

from glassplate.models.device.arithmetic import resolve
from glassplate.models.fit.problem import Measurement, Problem
from glassplate.models.fit.settings import FitSettings
from glassplate.models.fit.stopping import StoppingSettings
from glassplate.models.networks.settings import NetworkSettings
from glassplate.models.noise.model import NoiseModel
from glassplate.models.operators.operator import Identity
from glassplate.models.operators.psf import Psf
from glassplate.models.pixel_transform import PixelTransform

SIGMA = 5.0


# A Gaussian of 1.5 pixels.
PSF = Psf.of(np.exp(-0.5 * sum(np.square(np.mgrid[-6:7, -6:7] / 1.5))))


def problem(**changes):
    """A tiny problem: sky at 100 with noise of 5."""
    fit = FitSettings(
        iterations=changes.pop("iterations", 6),
        predictions=changes.pop("predictions", 0),
        log_period=changes.pop("log_period", 3),
        input=changes.pop("input", "auto"),
        collaborative=changes.pop("collaborative", False),
    )
    base = Problem(
        network=NetworkSettings(channels=8, scales=2, skip_channels=4),
        fit=fit,
        stopping=StoppingSettings(),
        operator=Identity(),
        transform=PixelTransform("linear", offset=90.0, scale=50.0),
        noise=NoiseModel(SIGMA**2, 0.0, 0.0, changes.pop("correlated", False), "given: sigma"),
        numerics=resolve("cpu", "fp32", threads=1),
    )
    return replace(base, **changes)


def sky(h, w, seed=0, channels=1):
    """A faint slope with a few soft blobs, and it with noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:h, 0:w]
    truth = np.broadcast_to(100 + 0.05 * x, (channels, h, w)).copy()
    for _ in range(4):
        cy, cx = rng.uniform(0, h), rng.uniform(0, w)
        truth += 60 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 40)
    noisy = truth + SIGMA * rng.standard_normal(truth.shape)
    return truth.astype(np.float32), noisy.astype(np.float32)


def measurement(values, valid=None, variance=None, seed=7):
    valid = np.ones(values.shape, bool) if valid is None else valid
    return Measurement(np.where(valid, values, 0).astype(np.float32), valid, variance, seed)
