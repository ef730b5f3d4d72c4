"""Images of the noise: variances, standard deviations and weights; what contradicts the image is refused."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from scipy import ndimage

from glassplate.pipeline.errors import StoreError, UsageError
from glassplate.pipeline.open_source import open_files, open_source
from glassplate.pipeline.planning.companions.noise_check import (
    SeenNoise,
    check_given_noise,
    look_at_noise,
)
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.provenance.manifest import read_manifest
from glassplate.pipeline.provenance.verify import verify
from glassplate.pipeline.recipes.recipe import load_recipe
from glassplate.pipeline.run.restore import RestoreRequest, restore
from glassplate.pipeline.sources.source import NOISE_KINDS, SourceSpec
from glassplate.pipeline.tile_grid import Box

SHAPE = (96, 128)
KINDS = {"variance": lambda s: s**2, "sigma": lambda s: s, "weight": lambda s: s**-2}


@pytest.fixture
def sky(tmp_path):
    """A sky with noise of any strength, and an image of it as any kind."""

    def make(sigma, given=None, smooth=None):
        noise = np.random.default_rng(0).normal(0, sigma, SHAPE)
        fits.writeto(tmp_path / "sky.fits", (smooth(noise) if smooth else noise) + 100 * sigma)
        for kind, of in KINDS.items():
            name = tmp_path / f"{kind}.fits"
            fits.writeto(name, np.full(SHAPE, of(sigma if given is None else given)))
        return tmp_path / "sky.fits"

    return make


def spec_of(path, kind, holds=None):
    return SourceSpec(path, variance=path.with_name(f"{holds or kind}.fits"), noise_kind=kind)


def check(spec, recipe="draft"):
    with open_files(spec) as files:
        seen = look_at_noise(files, load_recipe(recipe))
    return () if seen is None else check_given_noise(spec, seen)


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [1e-3, 0.05, 1.0, 30.0, 4e3])
@pytest.mark.parametrize("kind", NOISE_KINDS)
def test_a_right_image_of_the_noise_is_accepted(sky, sigma, kind):
    assert check(spec_of(sky(sigma), kind)) == ()


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [1e-3, 0.05, 30.0, 4e3])
@pytest.mark.parametrize("kind", NOISE_KINDS)
def test_another_kind_of_noise_image_is_refused_and_named(sky, sigma, kind):
    """A weight map given as variance was taken without a word, and nothing was restored."""
    path = sky(sigma)
    for holds in set(NOISE_KINDS) - {kind}:
        with pytest.raises(UsageError, match=rf"give it as --{holds}$") as caught:
            check(spec_of(path, kind, holds))
        assert f"--{kind} " in str(caught.value)
        assert "the image shows" in str(caught.value)


@pytest.mark.parametrize(
    ("given", "ends"),
    [(1.5, None), (0.6, None), (3.0, "no"), (0.4, "no"), (6.0, "no"), (0.1, "no")],
)
def test_the_factor_of_refusal(sky, given, ends):
    """Of a noise of 1 no kind fits but what is near it."""
    spec = spec_of(sky(1.0, given), "sigma")
    if ends == "no":
        with pytest.raises(UsageError, match="more than a factor of 2"):
            check(spec)
    else:
        assert check(spec) == ()


def test_an_estimate_that_is_not_certain_gives_a_warning_up_to_a_factor_of_5(tmp_path):
    """In a crowded field the image shows more than its noise, and a resampling makes it less."""
    spec = SourceSpec(tmp_path / "a.fits", variance=tmp_path / "s.fits", noise_kind="sigma")
    seen = SeenNoise(3.0, 1.0, pixels=10_000, share=1.0, other=None, certain=False)
    (warning,) = check_given_noise(spec, seen)
    assert "a standard deviation of 3, but the image shows 1; what is given is taken" in warning
    for refused in (replace(seen, certain=True), replace(seen, given=6.0)):
        with pytest.raises(UsageError, match="more than a factor of 2"):
            check_given_noise(spec, refused)


@pytest.mark.parametrize("size", [2, 3])
def test_noise_of_before_a_smoothing_is_not_refused(sky, size):
    """Variances of drizzled images know nothing of what neighbours share."""
    path = sky(1.0, smooth=lambda noise: ndimage.uniform_filter(noise, size))
    assert len(check(spec_of(path, "variance"))) <= 1, "a warning at most"


def test_a_task_without_noise_accepts_any(sky):
    path = sky(30.0)
    assert check(spec_of(path, "variance", "weight"), "identity") == ()
    exposed = SourceSpec(path, variance=path.with_name("weight.fits"), exposures=(path,))
    with pytest.raises(UsageError, match="--weight"):
        check(exposed, "identity")


def test_few_pixels_give_a_warning_and_no_refusal(sky, tmp_path):
    path = sky(30.0)
    weight = np.zeros(SHAPE)
    weight[:20, :20] = 1 / 900
    fits.writeto(tmp_path / "few.fits", weight)
    (warning,) = check(SourceSpec(path, variance=tmp_path / "few.fits"))
    assert "the image shows" in warning


def test_every_kind_is_read_as_a_variance(sky):
    path = sky(3.0)
    for kind in NOISE_KINDS:
        source = open_source(spec_of(path, kind))
        pixels = source.read(Box(0, 8, 0, 8))
        source.close()
        np.testing.assert_allclose(pixels.variance, 9, rtol=1e-6)
        assert pixels.variance.dtype == np.float32


@pytest.mark.parametrize("kind", NOISE_KINDS)
def test_pixels_without_a_finite_positive_value_are_invalid(tmp_path, kind):
    fits.writeto(tmp_path / "sky.fits", np.ones((4, 6), "f4"))
    given = np.ones((4, 6))
    given[0] = [0, -1, np.nan, np.inf, 1e-300, 1e300]
    fits.writeto(tmp_path / f"{kind}.fits", given)
    source = open_source(spec_of(tmp_path / "sky.fits", kind))
    pixels = source.read(Box(0, 4, 0, 6))
    source.close()
    assert not pixels.valid[0, 0].any()
    assert pixels.valid[0, 1:].all()
    assert (pixels.variance[~pixels.valid] == 0).all()


def test_a_run_is_not_resumed_with_another_kind(sky, tmp_path):
    path, store = sky(30.0), tmp_path / "o.zarr"

    def run(spec):
        restore(
            RestoreRequest(spec, store, load_recipe("identity"), "identity", "cpu"), InlinePool()
        )

    run(spec_of(path, "sigma"))
    run(spec_of(path, "sigma"))
    assert read_manifest(store).identity.noise_kind == "sigma"
    checks = {one.name: one for one in verify(store)}
    assert checks["sigma"].ok
    assert "variance" not in checks
    with pytest.raises(StoreError, match=r"made with sigma .*, not with it as weight; choose"):
        run(spec_of(path, "weight", "sigma"))


def test_a_wrong_image_is_refused_before_anything_is_written(sky, tmp_path):
    path, store = sky(30.0), tmp_path / "o.zarr"
    request = RestoreRequest(
        spec_of(path, "variance", "weight"), store, load_recipe("draft"), "draft", "cpu"
    )
    with pytest.raises(UsageError, match="it looks like weights"):
        restore(request, InlinePool())
    assert not store.exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", NOISE_KINDS)
def test_real_weights(real_data, kind):
    """Inverse variances of DECam, Mosaic and 90prime come from the observatories' own pipelines."""
    folder = real_data / "astro" / "mef_dq_weight"
    images = sorted(folder.glob("*/*_ooi_*.fits"))
    assert len(images) > 20
    for image in images:
        weight = image.with_name(image.name.replace("_ooi_", "_oow_"))
        spec = SourceSpec(image, variance=weight, noise_kind=kind)
        if kind == "weight":
            assert check(spec) == ()
        elif "k4m_" not in image.name:  # whose noise is near 1, so that every kind is near it
            with pytest.raises(UsageError):
                check(spec)
