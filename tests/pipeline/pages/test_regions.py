"""Regions lie in the image, do not overlap, and hold what they are named for."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from glassplate.pipeline.pages.regions import choose_regions


@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.integers(1, 8),
    st.integers(1, 50),
    st.integers(0, 99),
)
def test_regions_lie_in_the_image_and_do_not_overlap(small, factor, side, seed):
    shape = small[0] * factor, small[1] * factor
    rng = np.random.default_rng(seed)
    overview = rng.normal(size=(1, *small))
    overview[rng.random((1, *small)) < 0.02] = np.nan
    regions = choose_regions(overview, shape, side, {"chi2": rng.random((2, 3))})
    assert regions
    for region in regions:
        assert region.box.shape == (min(side, shape[0]), min(side, shape[1]))
        assert region.box.y1 <= shape[0]
        assert region.box.x1 <= shape[1]
    for one, other in itertools.combinations(regions, 2):
        assert one.box.intersection(other.box) is None


def test_each_region_shows_what_it_is_named_for():
    overview = np.full((1, 60, 60), 10.0)
    overview[0, 20:, :] += np.random.default_rng(0).normal(0, 1, (40, 60))
    overview[0, 40:60, 20:40] += 50 * (np.arange(20) % 2)
    chi2 = np.ones((3, 3))
    chi2[1, 2] = 9
    found = {
        region.name: region.box.corner
        for region in choose_regions(overview, (600, 600), 200, {"chi2": chi2})
    }
    assert found == {"flattest part": (0, 0), "most detail": (400, 200), "chi2": (200, 400)}


def test_an_image_without_a_valid_pixel_has_a_region():
    (region,) = choose_regions(np.full((1, 5, 5), np.nan), (50, 50), 20, {})
    assert region.box.corner == (15, 15)
