from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from windows import PSF, SIGMA, measurement, problem, sky

from glassplate.models.batching.fit_each import fit_batch
from glassplate.models.donor.donor_problem import warm
from glassplate.models.donor.fit_donor import fit_donor, weight_shapes
from glassplate.models.fit import cross_scale
from glassplate.models.fit.cross_scale import ORIENTATIONS, SIZES, draw_example, oriented, upright
from glassplate.models.fit.loop import Network
from glassplate.models.fit.settings import DonorSettings
from glassplate.models.networks.enlarging import DOUBLE
from glassplate.models.networks.make import make_network
from glassplate.models.networks.settings import NetworkSettings
from glassplate.models.noise.model import NoiseModel
from glassplate.models.operators.blur import Blur
from glassplate.models.operators.downsample import Downsample, upsample_bicubic

BLOCKS = 2
# Pixels on which a doubled pixel depends: the first layer, two layers a block.
REACH = 2 * BLOCKS + 1
NO_NOISE = NoiseModel(0.0, 0.0, 0.0, False, "given: none")


def enlarging(scale=2, kernel="lanczos3", noise=NO_NOISE, **changes):
    network = NetworkSettings("enlarging", channels=8, scales=BLOCKS)
    return problem(network=network, operator=Downsample(scale, kernel), noise=noise, **changes)


def untrained(channels=1, seed=0, head=1.0):
    """Weights of a network that has learnt nothing; with a head of 0 it adds nothing."""
    network = make_network(
        NetworkSettings("enlarging", channels=8, scales=BLOCKS),
        channels,
        channels,
        torch.Generator().manual_seed(seed),
    )
    with torch.no_grad():
        network.head.weight.mul_(head)
    return {name: weight.numpy() for name, weight in network.state_dict().items()}


def network_of(weights, channels=1):
    settings = NetworkSettings("enlarging", channels=8, scales=BLOCKS)
    module = make_network(settings, channels, channels, torch.Generator().manual_seed(0))
    module.load_state_dict({name: torch.from_numpy(w) for name, w in weights.items()})
    return Network(module, 0.01)


def doubled(values, weights, given=None):
    """What a window becomes, without the step that makes it agree with the measurement."""
    given = enlarging() if given is None else given
    given = replace(given, fit=replace(given.fit, posterior=False))
    [found] = fit_batch([measurement(values)], given, start=weights)
    return found.values


def letters(height=96, width=96, seed=0):
    """Sharp bright bars of several widths at several angles, levels of 90 and 140."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / 1.0
    image = np.zeros((height, width))
    for _ in range(14):
        angle, place = rng.uniform(0, np.pi), rng.uniform(0, max(height, width))
        along = np.cos(angle) * x + np.sin(angle) * y
        image += np.abs(along - place) < rng.uniform(2, 9)
    return (90 + 50 * (image % 2))[None].astype(np.float32)


class TestOrientations:
    @given(turn=st.integers(0, ORIENTATIONS - 1), h=st.integers(1, 5), w=st.integers(1, 5))
    def test_are_undone(self, turn, h, w):
        x = torch.arange(2.0 * h * w).view(1, 2, h, w)
        assert torch.equal(upright(oriented(x, turn), turn), x)

    def test_all_differ(self):
        x = torch.arange(9.0).view(1, 1, 3, 3)
        assert (
            len({tuple(oriented(x, turn).flatten().tolist()) for turn in range(ORIENTATIONS)}) == 8
        )


class TestExample:
    @settings(max_examples=40, deadline=None)
    @given(
        seed=st.integers(0, 2**62),
        h=st.integers(14, 40),
        w=st.integers(14, 40),
        kernel=st.sampled_from(["lanczos2", "lanczos3", "bicubic", "box"]),
    )
    def test_is_an_image_and_its_half_by_the_operator(self, seed, h, w, kernel):
        given = enlarging(kernel=kernel)
        values = sky(h, w)[0]
        example = draw_example(measurement(values), given, torch.Generator().manual_seed(seed))
        high = given.transform.inverse(example.high)
        low = given.transform.inverse(example.low)
        torch.testing.assert_close(low, Downsample(DOUBLE, kernel).forward(high))
        assert example.known.all()
        assert example.known.shape == high.shape
        assert min(high.shape[-2:]) >= DOUBLE * int(SIZES[-1] * min(h, w) / DOUBLE)
        # resampling by a bicubic filter may overshoot, by less than a fifth of the range
        room = 0.2 * (values.max() - values.min())
        assert values.min() - room < high.min() <= high.max() < values.max() + room

    def test_every_size_and_orientation_is_drawn(self):
        values = sky(40, 60)[0]
        shapes = set()
        for seed in range(300):
            generator = torch.Generator().manual_seed(seed)
            shapes.add(draw_example(measurement(values), enlarging(), generator).high.shape[-2:])
        sides = {(DOUBLE * int(40 * s / 2), DOUBLE * int(60 * s / 2)) for s in SIZES}
        assert shapes == sides | {side[::-1] for side in sides}

    def test_what_invalid_pixels_hold_changes_nothing(self):
        values = sky(40, 40)[0]
        valid = np.ones(values.shape, bool)
        valid[:, 10:16, 20:23] = False
        found = []
        for wild in (0.0, 1e9):
            image = measurement(np.where(valid, values, wild))
            image = replace(image, valid=valid)
            generator = torch.Generator().manual_seed(3)
            found.append(draw_example(image, enlarging(), generator))
        for one, other in zip(*found, strict=True):
            torch.testing.assert_close(one, other)
        assert 0 < int((~found[0].known).sum()) < 100

    @pytest.mark.parametrize("shape", [(1, 1), (7, 40), (12, 9)])
    def test_small_windows_have_none_or_a_whole_one(self, shape):
        for seed in range(30):
            generator = torch.Generator().manual_seed(seed)
            example = draw_example(measurement(sky(*shape)[0]), enlarging(), generator)
            assert example is None or min(example.high.shape[-2:]) >= cross_scale.LEAST_SIDE

    @pytest.mark.parametrize("kernel", ["bicubic", "box", "lanczos3"])
    def test_the_half_is_as_noisy_as_the_measurement(self, kernel):
        given = enlarging(kernel=kernel, noise=NoiseModel(SIGMA**2, 0.0, 0.0, False, "given"))
        rng = np.random.default_rng(0)
        sigmas = []
        for seed in range(40):
            values = 100 + SIGMA * rng.standard_normal((1, 96, 96), dtype=np.float32)
            generator = torch.Generator().manual_seed(seed)
            example = draw_example(measurement(values), given, generator)
            if max(example.high.shape[-2:]) == 96:  # not resampled before
                sigmas.append(float(given.transform.inverse(example.low).std()))
        assert np.median(sigmas) == pytest.approx(SIGMA, rel=0.05)

    def test_no_noise_is_added_where_there_is_none_or_it_is_correlated(self):
        low = torch.full((1, 1, 8, 8), 100.0)
        for noise in (NO_NOISE, NoiseModel(25.0, 0.0, 0.4, True, "given")):
            added = cross_scale._lost_noise(low, enlarging(noise=noise), torch.Generator())
            assert added == 0


class TestEnlarge:
    @pytest.mark.parametrize("scale", [2, 3, 4, 5, 8])
    @pytest.mark.parametrize("shape", [(1, 1), (2, 5), (9, 12)])
    def test_gives_the_size_that_is_asked_for(self, scale, shape):
        values = sky(*shape, channels=2)[0]
        found = doubled(values, untrained(2), enlarging(scale))
        assert found.shape == (2, shape[0] * scale, shape[1] * scale)
        assert np.isfinite(found).all()

    def test_is_interpolation_where_nothing_has_been_learnt(self):
        values = sky(20, 24)[0]
        found = doubled(values, untrained(head=0.0))
        expected = upsample_bicubic(torch.from_numpy(values)[None], 2)[0].numpy()
        np.testing.assert_allclose(found, expected, atol=1e-3)

    @pytest.mark.parametrize("scale", [2, 3, 4])
    def test_a_constant_moves_by_the_network_alone_and_evenly(self, scale):
        values = np.full((1, 16, 16), 123.0, np.float32)
        found = doubled(values, untrained(), enlarging(scale))
        np.testing.assert_allclose(found, found.flat[0], atol=1e-3)

    @settings(max_examples=10, deadline=None)
    @given(axes=st.sampled_from([(1,), (2,), (1, 2)]), seed=st.integers(0, 99))
    def test_mirrored_images_are_enlarged_to_mirrored_ones(self, axes, seed):
        values, weights = sky(14, 18, seed)[0], untrained(seed=seed)
        mirrored = doubled(np.flip(values, axes).copy(), weights)
        np.testing.assert_allclose(np.flip(mirrored, axes), doubled(values, weights), atol=2e-3)

    def test_pixels_depend_on_their_neighbourhood_alone(self):
        """So that windows which share pixels agree in them, and no seam shows."""
        values, weights = sky(40, 48)[0], untrained()
        whole, part = doubled(values, weights), doubled(values[:, 8:, 10:], weights)
        inner = np.s_[:, 2 * REACH :, 2 * REACH :]
        np.testing.assert_allclose(whole[:, 16:, 20:][inner], part[inner], atol=2e-3)
        changed = values.copy()
        changed[0, 20, 24] += 40
        moved = np.abs(doubled(changed, weights) - whole)[0]
        rows, columns = np.nonzero(moved > 1e-3)
        assert rows.min() >= 2 * (20 - REACH)
        assert rows.max() < 2 * (21 + REACH)
        assert columns.min() >= 2 * (24 - REACH)
        assert columns.max() < 2 * (25 + REACH)

    def test_the_result_agrees_with_the_measurement(self):
        values, given = letters(40, 44), enlarging()
        [found] = fit_batch([measurement(values)], given, start=untrained())
        seen = given.operator.forward(torch.from_numpy(found.values)[None])[0].numpy()
        assert np.abs(seen - values).max() < 0.5
        assert np.sqrt(np.mean((seen - values) ** 2)) < 0.1

    def test_the_log_says_that_nothing_was_learnt(self):
        [found] = fit_batch([measurement(sky(12, 12)[1])], enlarging(), start=untrained())
        assert (found.iterations, found.stop_reason, len(found.log)) == (0, "predicted", 1)

    def test_windows_of_a_stack_are_enlarged_as_alone(self):
        windows = [measurement(sky(12, 12, seed)[1], seed=seed) for seed in range(3)]
        given = enlarging()
        stacked = replace(given, numerics=replace(given.numerics, stack=3))
        alone = fit_batch(windows, given, start=untrained())
        together = fit_batch(windows, stacked, start=untrained())
        for one, other in zip(alone, together, strict=True):
            assert one.values.tobytes() == other.values.tobytes()

    def test_a_prediction_that_is_not_finite_is_an_error(self):
        weights = untrained()
        weights["head.weight"] = np.full_like(weights["head.weight"], np.nan)
        with pytest.raises(FloatingPointError, match="data term nan, must be finite"):
            fit_batch([measurement(sky(12, 12)[1])], enlarging(), start=weights)

    def test_needs_a_donor(self):
        with pytest.raises(ValueError, match="no donor to learn from"):
            fit_batch([measurement(sky(12, 12)[1])], enlarging())


class TestDonor:
    def donor(self, measurements, steps=12, given=None):
        settings = DonorSettings(iterations=steps)
        given = enlarging(iterations=steps) if given is None else given
        return fit_donor(measurements, given, settings)

    def test_learns_to_enlarge_what_the_image_holds(self):
        truth = letters(128, 128)
        small = Downsample(2, "lanczos3").forward(torch.from_numpy(truth)[None])[0].numpy()
        given = enlarging(iterations=400)
        given = replace(given, fit=replace(given.fit, learning_rate=0.005))
        weights = self.donor([measurement(small)], 400, given)

        def error(found):
            return float(np.sqrt(np.mean((found - truth)[:, 8:-8, 8:-8] ** 2)))

        learnt, interpolated = (doubled(small, w) for w in (weights, untrained(head=0.0)))
        assert error(learnt) < 0.9 * error(interpolated)

    def test_depends_on_its_windows_alone(self):
        windows = [measurement(sky(20, 24, seed)[1], seed=seed) for seed in range(3)]
        one, other, fewer = (self.donor(w) for w in (windows, windows, windows[:2]))
        assert all(one[name].tobytes() == other[name].tobytes() for name in one)
        assert any(one[name].tobytes() != fewer[name].tobytes() for name in one)

    def test_has_the_weights_that_are_announced(self):
        weights = self.donor([measurement(sky(20, 24, channels=3)[1])])
        announced = weight_shapes(enlarging(), 3)
        assert {name: weight.shape for name, weight in weights.items()} == announced

    def test_too_small_a_window_teaches_nothing(self):
        weights = self.donor([measurement(sky(6, 6)[1])])
        found = doubled(sky(6, 6)[1], weights)
        assert np.isfinite(found).all()

    def test_tiles_keep_the_problem(self):
        assert warm(enlarging(), DonorSettings(network="unshuffled")) == enlarging()

    def test_a_blur_cannot_be_learnt(self):
        blurred = replace(enlarging(), operator=Blur(PSF))
        with pytest.raises(ValueError, match="which shows no blur of a PSF"):
            self.donor([measurement(sky(20, 24)[1])], given=blurred)
