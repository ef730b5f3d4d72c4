"""Whether rays can be told from stars: by how wide the stars are."""

import numpy as np
import pytest
from astropy.io import fits

from glassplate.models.noise.estimate import estimate_noise
from glassplate.models.noise.model import NoiseModel, NoiseSettings
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.planning.star_width import star_width, stars_are_wide
from glassplate.pipeline.recipes.recipe import load_recipe
from glassplate.pipeline.sources.sample_windows import sample
from glassplate.pipeline.sources.source import SourceSpec

WHITE = NoiseModel(25.0, 0.0, 0.0, False, "given: sigma")


def field(fwhm, stars=12, rays=0, seed=0, side=200):
    """Sky of 1000 with noise of 5, stars of a width, and rays of one pixel."""
    rng = np.random.default_rng(seed)
    image = 1000 + 5 * rng.standard_normal((side, side))
    y, x = np.mgrid[:side, :side]
    for _ in range(stars):
        cy, cx = rng.uniform(10, side - 10, 2)
        image += 3000 * np.exp(-4 * np.log(2) * ((y - cy) ** 2 + (x - cx) ** 2) / fwhm**2)
    for _ in range(rays):
        image[tuple(rng.integers(10, side - 10, 2))] += 2000
    return image[None]


def sampled(image, valid=None):
    return [(image, np.ones(image.shape, bool) if valid is None else valid)]


@pytest.mark.parametrize(
    ("image", "wide"),
    [
        (field(4.0), True),
        (field(3.3), True),
        (field(2.2), False),
        (field(1.5), False),
        (field(4.0, rays=8), True),
        (field(4.0, stars=4, rays=40), False),  # rays outnumber stars: nothing can be told
        (field(4.0, stars=2), False),
        (field(4.0, stars=0), False),
        (np.zeros((1, 4, 4)), False),
        (np.full((1, 50, 50), 1000.0), False),
    ],
)
def test_wide_stars_are_distinguished_from_sharp_ones(image, wide):
    assert stars_are_wide(sampled(image), WHITE, 1000.0) is wide


def test_peaks_beside_invalid_pixels_do_not_count():
    image = field(4.0)
    assert not stars_are_wide(sampled(image, np.zeros(image.shape, bool)), WHITE, 1000.0)


@pytest.mark.parametrize("gain", [1.0, 0.9, 100.0])
@pytest.mark.parametrize(("read_noise", "wide"), [(0.0, False), (0.16, False), (3.0, True)])
def test_photon_counts_have_no_rays(read_noise, gain, wide):
    """An X-ray image was found to have a read noise of 0.16; a twelfth of its pixels were taken for rays."""
    photons = NoiseModel((read_noise / gain) ** 2, 1 / gain, 0.0, False, "estimated")
    assert stars_are_wide(sampled(field(4.0) / gain), photons, 1000.0 / gain) is wide


def test_noise_that_grows_from_a_bias_is_that_of_a_detector():
    """Rays on a sky of 100 look like noise that grows from there, forty times as fast as photons."""
    model = NoiseModel(18.0, 40.0, 0.0, False, "estimated", pedestal=1000.0)
    assert stars_are_wide(sampled(field(4.0)), model, 1000.0)


def test_rays_on_a_scanned_plate_cannot_be_distinguished():
    plate = NoiseModel(25.0, 0.0, 0.77, True, "given: sigma")
    assert not stars_are_wide(sampled(field(4.0)), plate, 1000.0)


@pytest.mark.parametrize(("fwhm", "looks"), [(4.0, True), (1.5, False)])
def test_the_plan_looks_for_rays_where_stars_are_wide(tmp_path, fwhm, looks):
    fits.writeto(tmp_path / "a.fits", field(fwhm, rays=5)[0].astype("f4"))
    plan = make_plan(SourceSpec(tmp_path / "a.fits"), load_recipe("astro-denoise"), recipe_name="a")
    assert (plan.findings.detector is not None) is looks
    assert plan.layout.fills is looks
    said = plan.recorded().defects
    assert (said is not None) is looks
    assert not looks or said["cosmic_rays"] is True


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "wide"),
    [
        ("pairs/decam_i_2nights/DEC-OBS04c.mini.fits", True),
        ("pairs/decam_i_2nights/DEC-OBS04e.mini.fits", True),
        ("pairs/xmm/20ks_0200920101_image_split_500_2000_20ks_4_1.fits.gz", False),
        ("single/sep_image.fits", False),
        ("single/spitzer_example_image.fits", False),
    ],
)
def test_real_exposures(real_data, name, wide):
    source = open_source(SourceSpec(real_data / "astro" / name))
    samples = sample(source)
    source.close()
    noise = estimate_noise(samples, NoiseSettings())
    sky = float(np.median(np.concatenate([values[valid] for values, valid in samples])))
    assert stars_are_wide(samples, noise, sky) is wide


@pytest.mark.parametrize("fwhm", [2.5, 3.5, 5.0])
def test_the_width_of_stars(fwhm):
    found = star_width(sampled(field(fwhm)), WHITE, 1000.0)
    assert found == pytest.approx(fwhm, rel=0.15)


@pytest.mark.parametrize("image", [field(4.0, stars=2), np.zeros((1, 4, 4))])
def test_too_few_stars_have_no_width(image):
    assert star_width(sampled(image), WHITE, 1000.0) is None
