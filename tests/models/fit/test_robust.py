"""Salt and pepper: pixels that are no measurement of the scene neither pull the fit nor come back."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from skimage import io
from windows import problem, sky

from glassplate.models.batching.fit_each import fit_batch
from glassplate.models.fit.problem import Measurement
from glassplate.models.fit.settings import FitSettings
from glassplate.models.fit.stopping import StoppingSettings
from glassplate.models.metrics import psnr
from glassplate.models.networks.settings import NetworkSettings
from glassplate.models.noise.estimate import estimate_noise
from glassplate.models.noise.model import NoiseSettings
from glassplate.models.pixel_transform import PixelTransform


def peppered(clean, share, low, high, seed=0):
    """An image of which a share of all pixels is black or white; and where."""
    rng = np.random.default_rng(seed)
    hit = rng.random(clean.shape) < share
    return np.where(hit, np.where(rng.random(clean.shape) < 0.5, low, high), clean), hit


def measured(values):
    values = values.astype(np.float32)
    return Measurement(values, np.ones(values.shape, bool), None, 7)


@pytest.mark.parametrize("value", [0, -1.5, np.inf, np.nan])
@pytest.mark.parametrize("name", ["robust", "guard"])
def test_an_impossible_bound_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} is .*, must be above 0 and finite; leave it out"):
        FitSettings(**{name: value})


def test_noise_is_measured_beside_the_impulses():
    rng = np.random.default_rng(0)
    clean = 100 + 5 * rng.standard_normal((1, 200, 200))
    y, _ = peppered(clean, 0.2, 0, 1000)
    sample = [(y, np.ones(y.shape, bool))]
    assert estimate_noise(sample, NoiseSettings()).floor > 50**2
    beside = estimate_noise(sample, NoiseSettings(impulses=True))
    assert np.sqrt(beside.floor) == pytest.approx(5, rel=0.1)


@pytest.mark.slow
def test_impulses_neither_pull_nor_come_back():
    _, noisy = sky(48, 48)
    y, hit = peppered(noisy, 0.1, 0, 400)
    fit = FitSettings(iterations=150, log_period=25, robust=1.5)
    robust, squares = (
        fit_batch([measured(y)], problem(fit=settings, stopping=StoppingSettings("fixed")))[
            0
        ].values
        for settings in (fit, replace(fit, robust=None))
    )
    truth, _ = sky(48, 48)
    error = [np.sqrt(np.mean((x - truth)[hit] ** 2)) for x in (robust, squares)]
    assert error[0] < 15 < error[1]
    # where there is no impulse the measurement's own noise is the most that an answer may have
    assert np.sqrt(np.mean((robust - truth)[~hit] ** 2)) < 5


@pytest.mark.slow
def test_a_photograph_comes_out_better_than_by_the_median(real_data):
    clean = (
        io.imread(real_data / "std/set9/F16_GT.png").transpose(2, 0, 1)[:, 192:256, 192:256] / 255
    )
    y, _ = peppered(clean, 0.3, 0, 1)
    median = max(psnr(ndimage.median_filter(y, (1, k, k)), clean, 1.0) for k in (3, 5))
    base = problem(
        fit=FitSettings(iterations=120, robust=1.5, posterior_radius=5.0),
        network=NetworkSettings(),
        transform=PixelTransform("linear", 0.0, 1.0),
        noise=estimate_noise([(y, np.ones(y.shape, bool))], NoiseSettings(impulses=True)),
    )
    [result] = fit_batch([measured(y)], base)
    assert psnr(np.clip(result.values, 0, 1), clean, 1.0) > median + 2
