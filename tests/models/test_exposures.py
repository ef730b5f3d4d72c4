import numpy as np
import pytest

from glassplate.models.exposures import (
    FEWEST_BRIGHT,
    Pair,
    largest_step,
    match_exposure,
    median,
    neighbour_mean,
    with_noise,
)


def flat(variance):
    return lambda level: np.full(level.shape, float(variance))


def exposures(count=3, shape=(1, 12, 14), sigma=1.0, seed=0):
    rng = np.random.default_rng(seed)
    values = 100 + rng.normal(0, sigma, (count, *shape))
    return values, np.ones(values.shape, bool)


class TestMean:
    def test_with_equal_noise_is_the_arithmetic_mean(self):
        values, valid = exposures()
        made = with_noise(values, valid, [flat(4)] * 3, None)
        mean, known, variance = made.mean(valid)
        np.testing.assert_allclose(mean, values.mean(0))
        np.testing.assert_allclose(variance, 4 / 3)
        assert known.all()

    def test_weights_are_inverse_variances(self):
        values, valid = exposures(2)
        mean, _, variance = with_noise(values, valid, [flat(1), flat(3)], None).mean(valid)
        np.testing.assert_allclose(mean, (3 * values[0] + values[1]) / 4)
        np.testing.assert_allclose(variance, 3 / 4)

    def test_order_does_not_matter(self):
        values, valid = exposures(4)
        noises = [flat(v) for v in (1, 2, 3, 4)]
        one = with_noise(values, valid, noises, None).mean(valid)
        other = with_noise(values[::-1], valid, noises[::-1], None).mean(valid)
        np.testing.assert_allclose(one[0], other[0], rtol=1e-12)
        np.testing.assert_allclose(one[2], other[2], rtol=1e-12)

    def test_invalid_pixels_do_not_count(self):
        values, valid = exposures()
        values[0, 0, 3, 4] = -1e6
        valid[0, 0, 3, 4] = valid[:, 0, 5, 5] = False
        mean, known, variance = with_noise(values, valid, [flat(1)] * 3, None).mean(valid)
        assert mean[0, 3, 4] == pytest.approx(values[1:, 0, 3, 4].mean())
        assert variance[0, 3, 4] == pytest.approx(1 / 2)
        assert not known[0, 5, 5]
        assert mean[0, 5, 5] == variance[0, 5, 5] == 0
        assert known.sum() == known.size - 1

    def test_a_given_variance_replaces_a_noise_model(self):
        values, valid = exposures(2)
        given = np.linspace(1, 2, values[0].size).reshape(values[0].shape)
        _, _, variance = with_noise(values, valid, [None, flat(2)], given).mean(valid)
        np.testing.assert_allclose(variance, 1 / (1 / given + 1 / 2))

    def test_without_noise_all_have_equal_weight(self):
        values, valid = exposures(2)
        mean, _, variance = with_noise(values, valid, [flat(0), flat(0)], None).mean(valid)
        np.testing.assert_allclose(mean, values.mean(0))
        assert (variance == 0).all()

    def test_counts_are_not_biased_by_their_own_noise(self):
        # weights from the pixel's own counts would lose about one count in twenty
        rng = np.random.default_rng(1)
        values = rng.poisson(20, (3, 1, 200, 200)).astype(float)
        valid = np.ones(values.shape, bool)
        noises = [
            lambda level: np.maximum(level, 0.1),
            lambda level: np.maximum(level, 0.1),
            flat(20),
        ]
        made = with_noise(values, valid, noises, None)
        mean, _, variance = made.mean(valid)
        assert mean.mean() == pytest.approx(20, abs=0.03)
        assert variance.mean() == pytest.approx(mean.var(), rel=0.05)


class TestOutliers:
    def test_a_cosmic_ray_and_nothing_else_is_found(self):
        values, valid = exposures(3, (1, 60, 60))
        values[1, 0, 20, 20:24] += 40
        found = with_noise(values, valid, [flat(1)] * 3, None).outliers()
        expected = np.zeros_like(found)
        expected[1, 0, 20, 20:24] = True
        np.testing.assert_array_equal(found, expected)

    def test_two_exposures_disagree_without_an_outlier(self):
        values, valid = exposures(2)
        values[1, 0, 5, 5] += 40
        made = with_noise(values, valid, [flat(1)] * 2, None)
        assert not made.outliers().any()
        assert made.disagree(0, 1)[0, 5, 5]
        valid[0, 0, 5, 5] = False
        assert not with_noise(values, valid, [flat(1)] * 2, None).disagree(0, 1).any()

    def test_the_slopes_of_a_star_may_differ(self):
        y, x = np.mgrid[:41, :41]
        far = (y - 20) ** 2 + (x - 20) ** 2
        widths = (1.7, 1.9, 2.1)
        stars = np.stack([3000 / w**2 * np.exp(-far / (2 * w**2)) for w in widths])[:, None]
        valid = np.ones(stars.shape, bool)
        assert not with_noise(stars, valid, [flat(1)] * 3, None).outliers().any()

    def test_most_of_many_cosmic_rays_are_found(self):
        values, valid = exposures(5, (1, 80, 80))
        rng = np.random.default_rng(3)
        hit = rng.random(values.shape) < 0.01
        values[hit] += 60
        found = with_noise(values, valid, [flat(1)] * 5, None).outliers()
        assert (found & hit).sum() > 0.9 * hit.sum()
        assert not (found & ~hit).any()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_the_median_is_that_of_numpy(count):
    rng = np.random.default_rng(count)
    values, valid = rng.normal(size=(count, 1, 9, 9)), rng.random((count, 1, 9, 9)) < 0.7
    with np.errstate(all="ignore"):
        expected = np.ma.filled(np.ma.median(np.ma.array(values, mask=~valid), axis=0), np.nan)
    np.testing.assert_allclose(median(values, valid), expected)


def test_the_neighbour_mean_does_not_depend_on_the_pixel_itself():
    values = np.arange(20.0).reshape(1, 4, 5)
    before = neighbour_mean(values)
    values[0, 1, 1] = 1e9
    after = neighbour_mean(values)
    assert after[0, 1, 1] == before[0, 1, 1]
    assert neighbour_mean(np.full((1, 1, 1), 3.0))[0, 0, 0] == 3
    assert neighbour_mean(np.full((1, 2, 2), np.nan)).tolist() == [[[0, 0], [0, 0]]]


def test_the_largest_step_is_that_to_any_neighbour():
    values = np.zeros((1, 3, 3))
    values[0, 1, 1] = 5
    assert largest_step(values)[0].tolist() == [[5, 5, 5], [5, 5, 5], [5, 5, 5]]


class TestMatch:
    def pair(self, scale, offset, sigma=1.0, stars=6):
        rng = np.random.default_rng(0)
        y, x = np.mgrid[:128, :128]
        scene = np.zeros((128, 128))
        for cy, cx in rng.integers(10, 118, (stars, 2)):
            scene += 800 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 18)
        first = 50 + scene + rng.normal(0, sigma, scene.shape)
        other = (50 + scene + rng.normal(0, sigma, scene.shape) - offset) / scale
        valid = np.ones((1, 128, 128), bool)
        return Pair(first[None], other[None], valid)

    @pytest.mark.parametrize(("scale", "offset"), [(2.0, 0.0), (0.5, 30.0), (1.1, -10.0)])
    def test_finds_level_and_scale(self, scale, offset):
        found = match_exposure([self.pair(scale, offset)], 1.0, 1 / scale)
        assert found.scale == pytest.approx(scale, rel=0.01)
        assert found.scale * (50 - offset) / scale + found.offset == pytest.approx(50, abs=0.1)
        assert "bright pixels" in found.origin

    def test_a_scale_near_one_is_taken_as_one(self):
        assert match_exposure([self.pair(1.0, 7.0)], 1.0, 1.0).scale == 1.0

    def test_cosmic_rays_do_not_matter(self):
        pair = self.pair(1.5, 0.0)
        pair.other[0, 5, 5:60] += 2000
        assert match_exposure([pair], 1.0, 1.0).scale == pytest.approx(1.5, rel=0.02)

    def test_an_empty_sky_gives_the_level_alone(self):
        found = match_exposure([self.pair(1.0, 7.0, stars=0)], 1.0, 1.0)
        assert found.scale == 1
        assert found.offset == pytest.approx(7, abs=0.1)
        assert "too few bright pixels" in found.origin

    def test_a_negative_is_refused_as_another_scene(self):
        pair = self.pair(1.0, 0.0)
        with pytest.raises(ValueError, match="flux scale -1"):
            match_exposure([Pair(pair.first, -pair.other, pair.valid)], 1.0, 1.0)

    def test_stars_that_have_moved_do_not_overlap(self):
        pair = self.pair(1.0, 0.0)
        assert match_exposure([pair], 1.0, 1.0).overlap > 0.9
        moved = Pair(pair.first, np.roll(pair.other, 14, axis=2), pair.valid)
        assert match_exposure([moved], 1.0, 1.0).overlap < 0.3

    def test_without_common_pixels_nothing_changes(self):
        pair = self.pair(1.0, 0.0)
        found = match_exposure([Pair(pair.first, pair.other, pair.valid & False)], 1.0, 1.0)
        assert (found.scale, found.offset) == (1.0, 0.0)

    def test_the_fewest_bright_pixels_are_100(self):
        assert FEWEST_BRIGHT == 100
