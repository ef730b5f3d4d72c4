"""A raw image under a colour filter array is refused, since its neighbours are of other colours."""

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.planning.colour_mosaic import shows_mosaic
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.recipes.recipe import load_recipe
from glassplate.pipeline.sources.source import SourceSpec

COLOURS = {"R": 300.0, "G": 500.0, "B": 200.0}
XTRANS = "GBGGRGRGRBGBGBGGRGGRGGBGBGBRGRGRGGBG"


def sky(side=72, seed=0):
    """A smooth sky with noise of 5."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    return 20 * np.sin(x / 9) * np.cos(y / 7) + rng.normal(0, 5, (side, side))


def under(pattern, image):
    """The image under an array of filters that lets different amounts of light through."""
    period = int(len(pattern) ** 0.5)
    cell = np.array([COLOURS[letter] for letter in pattern]).reshape(period, period)
    times = -(-len(image) // period)
    return image + np.tile(cell, (times, times))[: len(image), : len(image)]


def written(folder, image, **cards):
    header = fits.Header({key.upper(): value for key, value in cards.items()})
    fits.writeto(folder / "raw.fits", image.astype("f4"), header)
    return SourceSpec(folder / "raw.fits")


def planned(spec, recipe="astro-denoise"):
    return make_plan(spec, load_recipe(recipe), recipe_name=recipe)


@pytest.mark.parametrize(
    ("pattern", "cards"),
    [
        # regression: it was denoised as one colour, the noise taken for 90 instead of 5
        ("RGGB", {"bayerpat": "RGGB"}),
        ("GBRG", {"bayerpat": "GBRG  "}),
        ("BGGR", {"colortyp": "BGGR"}),
        (XTRANS, {"bayerpat": "XTRANS"}),
        (XTRANS, {"bayerpat": XTRANS}),
    ],
)
@pytest.mark.parametrize("recipe", ["astro-denoise", "astro-repair", "astro-upscale", "draft"])
def test_a_raw_mosaic_is_refused_by_what_fits(tmp_path, pattern, cards, recipe):
    spec = written(tmp_path, under(pattern, sky()), **cards)
    with pytest.raises(UsageError, match="neighbours have other colours") as error:
        planned(spec, recipe)
    assert str(error.value).startswith(f"{spec.path}: its header says {next(iter(cards)).upper()}")
    assert "\n" not in str(error.value)
    planned(spec, "identity")


@pytest.mark.parametrize(
    "image",
    [
        under("GGGG", sky()),  # demosaiced and made grey, or binned
        np.stack([sky(seed=n) + 300 for n in range(3)]),
    ],
)
def test_an_image_that_only_has_the_card_is_restored(tmp_path, image):
    assert planned(written(tmp_path, image, bayerpat="RGGB")).noise.floor == pytest.approx(
        25, rel=0.5
    )


def test_without_the_card_nothing_is_concluded(tmp_path):
    planned(written(tmp_path, under("RGGB", sky())))


@given(
    seed=st.integers(0, 999),
    slope=st.floats(-9, 9),
    level=st.floats(-1e6, 1e6),
    period=st.sampled_from([2, 6]),
)
def test_noise_and_slopes_are_no_mosaic(seed, slope, level, period):
    rng = np.random.default_rng(seed)
    image = level + slope * np.arange(90) + rng.normal(0, 3, (90, 90))
    assert not shows_mosaic([(image[None], np.ones((1, 90, 90), bool))], period)


def test_invalid_pixels_and_tiny_windows_say_nothing():
    image = under("RGGB", sky())[None]
    nowhere = np.zeros(image.shape, bool)
    assert not shows_mosaic([(image, nowhere), (image[:, :1, :1], ~nowhere[:, :1, :1])], 2)
    assert shows_mosaic([(image, ~nowhere)], 2)
