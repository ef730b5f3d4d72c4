"""Images of the noise: their pixels have the variance of their neighbours, not of their own counts."""

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from glassplate.pipeline.companions.variance import without_own_noise
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box


@pytest.fixture
def counted(tmp_path):
    """Electrons of an even sky, with the variance that an observatory gives: of each pixel's own count."""
    rng = np.random.default_rng(0)
    electrons = rng.poisson(30, (200, 200)) + rng.normal(0, 4, (200, 200))
    variance = np.maximum(electrons, 0) + 16
    for name, values in (("sky", electrons), ("var", variance)):
        fits.writeto(tmp_path / f"{name}.fits", values.astype("f4"))
    return SourceSpec(tmp_path / "sky.fits", variance=tmp_path / "var.fits")


def read(spec, box):
    source = open_source(spec)
    pixels = source.read(box)
    source.close()
    return pixels


def test_the_level_is_not_one_electron_too_low(counted):
    pixels = read(counted, Box(0, 200, 0, 200))
    own = 1 / fits.getdata(counted.variance)
    values = pixels.values[0]
    error = float(values.std()) / 200
    assert np.average(values, weights=own) == pytest.approx(values.mean() - 1, abs=4 * error)
    mean = np.average(values, weights=1 / pixels.variance[0])
    assert mean == pytest.approx(values.mean(), abs=error)


@given(
    y=st.integers(0, 29), x=st.integers(0, 39), height=st.integers(1, 30), width=st.integers(1, 40)
)
def test_no_window_changes_it(y, x, height, width):
    rng = np.random.default_rng(1)
    variance, valid = rng.uniform(1, 3, (1, 30, 40)).astype("f4"), rng.random((1, 30, 40)) < 0.9
    whole = without_own_noise(variance, valid)
    box = Box(y, min(y + height, 30), x, min(x + width, 40))
    around = box.grown(1, (30, 40))
    part = without_own_noise(variance[:, *around.slices], valid[:, *around.slices])
    np.testing.assert_array_equal(part[:, *box.relative_to(around).slices], whole[:, *box.slices])


def test_it_is_the_mean_of_the_valid_neighbours_alone():
    variance = np.arange(1, 10, dtype="f4").reshape(1, 3, 3)
    valid = np.ones((1, 3, 3), bool)
    valid[0, 0, 0] = False
    found = without_own_noise(variance, valid)
    assert found[0, 1, 1] == pytest.approx((2 + 3 + 4 + 6 + 7 + 8 + 9) / 7)
    assert found[0, 0, 0] == 1, "an invalid pixel keeps its own"
    assert found[0, 2, 2] == pytest.approx((5 + 6 + 8) / 3)


def test_another_kind_of_noise_keeps_its_own():
    variance = np.ones((1, 5, 5), "f4")
    variance[0, 2, 2] = 1e4  # a pixel that is known to be bad
    found = without_own_noise(variance, np.ones((1, 5, 5), bool))
    assert found[0, 2, 2] == 1e4
    assert found[0, 0, 0] == 1
    alone = np.zeros((1, 3, 3), bool)
    alone[0, 1, 1] = True
    assert without_own_noise(np.full((1, 3, 3), 2, "f4"), alone)[0, 1, 1] == 2


def test_an_exact_noise_stays_exact():
    constant = np.full((2, 30, 40), 9.0, "f4")
    valid = np.random.default_rng(0).random(constant.shape) < 0.5
    np.testing.assert_allclose(without_own_noise(constant, valid), 9, rtol=1e-6)
