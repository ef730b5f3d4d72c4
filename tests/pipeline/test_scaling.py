"""The scaling is one for the image, robust, and reversible to float precision."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassplate.models.noise.model import NoiseModel
from glassplate.pipeline.scaling import ScalingSettings, make_transform

NOISE = NoiseModel(floor=25.0, slope=0.0, lag1=0.0, correlated=False, origin="test")
QUIET = NoiseModel(floor=0.0, slope=0.0, lag1=0.0, correlated=False, origin="test")
F4, U1, U2 = np.dtype("f4"), np.dtype("u1"), np.dtype("u2")


def sample(pixels, valid=None):
    values = np.asarray(pixels, "f4").reshape(1, -1, 1)
    return [(values, np.ones(values.shape, bool) if valid is None else valid.reshape(values.shape))]


def stars():
    rng = np.random.default_rng(0)
    sky = rng.normal(100, 5, 10_000)
    sky[::500] += 30_000
    return sky


@pytest.mark.parametrize(
    ("pixels", "dtype", "kind"),
    [
        (stars(), F4, "asinh"),
        (np.random.default_rng(0).normal(100, 5, 10_000), F4, "linear"),
        (np.random.default_rng(0).uniform(0, 1, 10_000), F4, "linear"),
        (np.random.default_rng(0).integers(0, 256, 10_000), U1, "linear"),
        (np.random.default_rng(0).integers(0, 4096, 10_000), U2, "linear"),
    ],
)
def test_auto_takes_asinh_where_few_pixels_are_far_brighter(pixels, dtype, kind):
    assert make_transform(sample(pixels), ScalingSettings(), NOISE, dtype).kind == kind


def test_eight_bits_have_a_natural_range():
    transform = make_transform(sample([17, 200]), ScalingSettings(), NOISE, U1)
    assert (transform.offset, transform.scale) == (0.0, 255.0)


def test_outliers_do_not_set_the_linear_scale():
    pixels = np.random.default_rng(0).uniform(0, 1, 10_000)
    pixels[:10] = 1e6
    transform = make_transform(sample(pixels), ScalingSettings(kind="linear"), NOISE, F4)
    assert transform.scale == pytest.approx(0.99, abs=0.02)


def test_range_takes_the_extremes():
    transform = make_transform(sample([-5, 0, 45]), ScalingSettings(kind="range"), NOISE, F4)
    assert (transform.offset, transform.scale) == (-5.0, 50.0)


def test_asinh_is_linear_up_to_its_softening():
    transform = make_transform(sample(stars()), ScalingSettings(), NOISE, F4)
    assert transform.softening == pytest.approx(50)
    assert transform.offset == pytest.approx(100, abs=1)
    assert float(transform.forward(np.array(30_100.0))) == pytest.approx(1, abs=0.02)


@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=40),
    st.sampled_from(["auto", "linear", "asinh", "range"]),
    st.sampled_from([NOISE, QUIET]),
)
def test_every_scaling_is_finite_and_invertible(pixels, kind, noise):
    values = np.array(pixels)
    transform = make_transform(sample(values), ScalingSettings(kind=kind), noise, F4)
    painted = transform.forward(values)
    assert np.isfinite(painted).all()
    span = max(1.0, float(np.abs(values).max()))
    np.testing.assert_allclose(transform.inverse(painted), values, rtol=1e-6, atol=1e-9 * span)


@pytest.mark.parametrize("level", [0.0, -3.5, 1e5])
@pytest.mark.parametrize("kind", ["linear", "asinh", "range"])
def test_a_constant_image_has_a_scale(level, kind):
    transform = make_transform(sample([level] * 9), ScalingSettings(kind=kind), QUIET, F4)
    assert transform.scale > 0
    assert float(transform.inverse(transform.forward(np.array(level)))) == pytest.approx(level)


def test_invalid_pixels_are_ignored():
    pixels, valid = np.array([0.0, 1.0, 1e9]), np.array([True, True, False])
    transform = make_transform(sample(pixels, valid), ScalingSettings(kind="range"), NOISE, F4)
    assert transform.scale == 1.0


def test_no_valid_pixel_still_gives_a_transform():
    transform = make_transform(sample([1.0], np.array([False])), ScalingSettings(), NOISE, F4)
    assert (transform.kind, transform.scale) == ("linear", 1.0)
