from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from windows import PSF, SIGMA, measurement, problem, sky

from glassplate.models.batching.fit_each import fit_batch
from glassplate.models.fit import loop
from glassplate.models.fit.problem import Measurement, member_measurement
from glassplate.models.fit.stopping import StoppingSettings
from glassplate.models.networks.settings import NetworkSettings
from glassplate.models.noise.model import NoiseModel
from glassplate.models.operators.blur import Blur
from glassplate.models.operators.downsample import Downsample
from glassplate.models.operators.operator import Composition, Identity


@pytest.mark.slow
@settings(max_examples=25)
@given(
    c=st.integers(1, 3),
    h=st.integers(1, 20),
    w=st.integers(1, 20),
    operator=st.sampled_from(
        [
            Identity(),
            Downsample(2),
            Downsample(3, "bicubic"),
            Blur(PSF),
            Composition(Blur(PSF), Downsample(2, "box")),
        ]
    ),
    source=st.sampled_from(["blindspot", "measurement", "noise"]),
    correlated=st.booleans(),
    bad=st.sampled_from([0.0, 0.3, 0.95, 1.0]),
    with_variance=st.booleans(),
    collaborative=st.booleans(),
)
def test_any_window_gets_finite_values(
    c, h, w, operator, source, correlated, bad, with_variance, collaborative
):
    rng = np.random.default_rng(h * 100 + w)
    values = (100 + 5 * rng.standard_normal((c, h, w))).astype(np.float32)
    valid = rng.random((c, h, w)) >= bad
    variance = np.full((c, h, w), 25, np.float32) if with_variance else None
    [result] = fit_batch(
        [measurement(values, valid, variance)],
        problem(
            operator=operator,
            input=source,
            correlated=correlated,
            iterations=2,
            log_period=1,
            collaborative=collaborative,
        ),
    )
    assert result.values.shape == (c, h * operator.scale, w * operator.scale)
    assert result.values.dtype == np.float32
    assert np.isfinite(result.values).all()


class TestEveryNetwork:
    KINDS = ("lean", "unshuffled", "skip", "hourglass", "unet", "resnet", "decoder")

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("operator", [Identity(), Downsample(2)])
    @pytest.mark.parametrize("size", [(1, 1), (13, 22)])
    def test_is_fitted_by_the_one_loop(self, kind, operator, size):
        network = NetworkSettings(kind, channels=4, scales=2, skip_channels=4)
        given = problem(network=network, operator=operator)
        windows = [measurement(sky(*size)[1], seed=n) for n in (7, 8)]
        together = fit_batch(windows, given)
        [alone] = fit_batch(windows[1:], given)
        assert alone.values.shape == (1, *(n * operator.scale for n in size))
        assert np.isfinite(alone.values).all()
        assert alone.values.tobytes() == together[1].values.tobytes()

    def test_a_decoder_is_fed_noise_and_nothing_else(self):
        network = NetworkSettings("decoder", channels=4, scales=2)
        assert problem(network=network).input == "noise"
        assert problem(network=network, operator=Downsample(2)).input == "noise"
        assert problem(network=network, input="noise").input == "noise"
        for wrong in ("blindspot", "measurement"):
            with pytest.raises(ValueError, match=rf"fit.input is {wrong}, must be noise"):
                problem(network=network, input=wrong)


class TestDeterminism:
    def test_a_window_does_not_depend_on_its_batch(self):
        _, noisy = sky(20, 24)
        alone, other = measurement(noisy), measurement(noisy + 3, seed=8)
        [one] = fit_batch([alone], problem())
        torch.rand(5)  # torch's own random generator does not matter
        two = fit_batch([other, alone], problem())
        assert one.values.tobytes() == two[1].values.tobytes()
        assert one.values.tobytes() != two[0].values.tobytes()

    @pytest.mark.slow
    @pytest.mark.parametrize("stack", [1, 2, 3, 8])
    def test_stacked_fits_give_the_same_bytes_as_alone(self, stack):
        windows = [measurement(sky(20, 24, seed)[1], seed=seed) for seed in range(4)]
        windows.insert(2, measurement(np.zeros((1, 6, 6)), np.zeros((1, 6, 6), bool)))
        alone = [fit_batch([window], problem())[0] for window in windows]
        numerics = replace(problem().numerics, stack=stack)
        together = fit_batch(windows, problem(numerics=numerics))
        for one, other in zip(alone, together, strict=True):
            assert one.values.tobytes() == other.values.tobytes()
            assert [r.iteration for r in one.log] == [r.iteration for r in other.log]

    @pytest.mark.slow
    def test_a_stack_is_refilled_as_fits_end(self):
        # blank windows stop at once, the others run to the cap
        blank = measurement(np.full((1, 16, 16), 100.0))
        stopping = StoppingSettings(patience=3, minimum=3)
        windows = [blank, measurement(sky(16, 16)[1]), blank, measurement(sky(16, 16, 1)[1])]
        given = problem(stopping=stopping, iterations=30)
        alone = [fit_batch([window], given)[0] for window in windows]
        numerics = replace(given.numerics, stack=2)
        together = fit_batch(windows, replace(given, numerics=numerics))
        assert [r.values.tobytes() for r in alone] == [r.values.tobytes() for r in together]

    def test_another_seed_is_another_fit(self):
        _, noisy = sky(20, 24)
        a, b = fit_batch([measurement(noisy), measurement(noisy, seed=9)], problem())
        assert not np.array_equal(a.values, b.values)

    def test_what_invalid_pixels_hold_does_not_matter(self):
        _, noisy = sky(20, 24)
        valid = np.random.default_rng(0).random(noisy.shape) > 0.2
        for source in ("blindspot", "noise"):
            clean = Measurement(np.where(valid, noisy, 0), valid, None, 7)
            spoilt = Measurement(np.where(valid, noisy, 6e4).astype(np.float32), valid, None, 7)
            a, b = fit_batch([clean, spoilt], problem(input=source))
            assert a.values.tobytes() == b.values.tobytes()


class TestSpecialWindows:
    def test_without_valid_pixels_nothing_is_fitted(self):
        empty = measurement(np.zeros((2, 5, 6), np.float32), np.zeros((2, 5, 6), bool))
        [result] = fit_batch([empty], problem(operator=Downsample(2)))
        assert result.stop_reason == "no valid pixels"
        assert result.values.shape == (2, 10, 12)
        assert (result.values == 90).all()
        assert result.log == ()
        assert result.iterations == 0

    @pytest.mark.parametrize("floor", [0.0, 25.0])
    def test_a_constant_stays(self, floor):
        constant = measurement(np.full((1, 30, 30), 123.5, np.float32))
        noise = NoiseModel(floor, 0.0, 0.0, False, "given")
        [result] = fit_batch([constant], problem(noise=noise))
        np.testing.assert_allclose(result.values, 123.5, atol=1e-3)

    @pytest.mark.parametrize("collaborative", [False, True])
    def test_no_noise_gives_back_the_measurement(self, collaborative):
        _, noisy = sky(20, 24)
        noise = NoiseModel(0.0, 0.0, 0.0, False, "given")
        without = problem(noise=noise, collaborative=collaborative)
        [result] = fit_batch([measurement(noisy)], without)
        np.testing.assert_allclose(result.values, noisy, rtol=1e-6)
        assert np.isnan(result.chi2)


class TestDivergence:
    def test_starts_again_with_smaller_steps_then_succeeds(self, monkeypatch):
        rates, real = [], loop.begin

        def spoilt(window, start, rate):
            rates.append(rate)
            state, network = real(window, start, rate)
            if rate == 1:
                next(network.module.parameters()).data.fill_(np.nan)
            return state, network

        monkeypatch.setattr(loop, "begin", spoilt)
        _, noisy = sky(20, 24)
        [result] = fit_batch([measurement(noisy)], problem())
        assert rates == [1, 0.1]
        assert result.iterations == 6
        assert np.isfinite(result.values).all()

    def test_gives_up_with_a_way_out(self):
        _, noisy = sky(20, 24)
        noisy[0, 3, 3] = np.inf
        with pytest.raises(
            FloatingPointError, match=r"data term (nan|inf) at iteration 3, must be"
        ):
            fit_batch([measurement(noisy)], problem())


def ensemble(members, **changes):
    fit = replace(problem().fit, members=members, posterior=False, **changes)
    return problem(fit=fit)


class TestEnsemble:
    def test_the_answer_is_the_mean_of_its_members(self):
        _, noisy = sky(20, 24)
        [together] = fit_batch([measurement(noisy)], ensemble(3))
        seeds = [member_measurement(measurement(noisy), number).seed for number in range(3)]
        assert seeds[0] == measurement(noisy).seed
        assert len(set(seeds)) == 3
        alone = fit_batch([measurement(noisy, seed=seed) for seed in seeds], ensemble(1))
        mean = np.mean([one.values.astype(np.float64) for one in alone], 0)
        np.testing.assert_allclose(together.values, mean, rtol=1e-6)
        assert together.iterations == sum(one.iterations for one in alone)
        assert together.best_iteration == alone[0].best_iteration
        steps = [record.iteration for one in alone for record in one.log]
        assert [record.iteration for record in together.log] == steps

    @pytest.mark.slow
    @pytest.mark.parametrize("stack", [1, 2, 5])
    def test_members_may_advance_together(self, stack):
        windows = [measurement(sky(20, 24, seed)[1], seed=seed) for seed in range(2)]
        one = fit_batch(windows, ensemble(3))
        numerics = replace(problem().numerics, stack=stack)
        other = fit_batch(windows, replace(ensemble(3), numerics=numerics))
        assert [r.values.tobytes() for r in one] == [r.values.tobytes() for r in other]

    def test_windows_without_valid_pixels_stay_what_they_are(self):
        empty = measurement(np.zeros((1, 6, 6)), np.zeros((1, 6, 6), bool))
        _, noisy = sky(20, 24)
        results = fit_batch([empty, measurement(noisy)], ensemble(2, uncertainty=True))
        assert results[0].stop_reason == "no valid pixels"
        assert np.isnan(results[0].uncertainty).all()
        assert len(results[1].log) == 4


class TestGuide:
    @pytest.mark.slow
    @pytest.mark.parametrize("source", ["blindspot", "measurement", "noise"])
    @pytest.mark.parametrize("operator", [Identity(), Downsample(2)])
    def test_any_input_takes_a_guide(self, source, operator):
        _, noisy = sky(18, 21)
        guide = np.random.default_rng(1).random((2, 18, 21), np.float32)
        given = problem(input=source, operator=operator, guide_channels=2)
        plain = measurement(noisy)
        [with_it] = fit_batch([replace(plain, guide=guide)], given)
        [without] = fit_batch([plain], replace(given, guide_channels=0))
        assert with_it.values.shape == without.values.shape
        assert np.isfinite(with_it.values).all()
        assert not np.array_equal(with_it.values, without.values)


@pytest.mark.slow
class TestQuality:
    """Real fits, small; the bounds are about half of what was measured when they were written."""

    def error(self, x, truth):
        return float(np.mean((x - truth) ** 2))

    @pytest.mark.parametrize("source", ["blindspot", "noise"])
    def test_noise_falls_and_flux_stays(self, source):
        truth, noisy = sky(64, 64)
        fit = replace(problem().fit, iterations=150, log_period=25, input=source)
        [result] = fit_batch([measurement(noisy)], problem(fit=fit))
        assert self.error(result.values, truth) < 0.35 * SIGMA**2
        assert abs(result.values.sum() / truth.sum() - 1) < 0.005

    def test_an_ensemble_errs_less_and_says_how_much(self):
        truth, noisy = sky(48, 48)
        fit = replace(problem().fit, iterations=100, log_period=25, uncertainty=True)
        [alone] = fit_batch([measurement(noisy)], problem(fit=fit))
        [three] = fit_batch([measurement(noisy)], problem(fit=replace(fit, members=3)))
        assert self.error(three.values, truth) < 0.95 * self.error(alone.values, truth)
        inside = np.abs(three.values - truth) <= 2 * three.uncertainty
        assert 0.85 < inside.mean() <= 1

    def test_similar_blocks_lower_the_error(self):
        y, x = np.mgrid[0:64, 0:64]
        truth = (100 + 20 * np.sin(x * 2 * np.pi / 9) * (y > 20)).astype(np.float32)[None]
        noisy = truth + SIGMA * np.random.default_rng(0).standard_normal(truth.shape)
        fit = replace(problem().fit, iterations=150, log_period=25, uncertainty=True)
        [alone] = fit_batch([measurement(noisy)], problem(fit=fit))
        [together] = fit_batch([measurement(noisy)], problem(fit=replace(fit, collaborative=True)))
        assert self.error(together.values, truth) < 0.7 * self.error(alone.values, truth)
        for share, least, most in ((1, 0.55, 0.97), (2, 0.8, 1.0)):
            inside = np.abs(together.values - truth) <= share * together.uncertainty
            assert least < inside.mean() <= most

    def test_a_guide_shows_where_edges_are_and_lends_no_light(self):
        rng = np.random.default_rng(0)
        y, x = np.mgrid[0:64, 0:64]
        squares = ((x // 9 + y // 9) % 2).astype(np.float32)[None]
        truth = 100 + 40 * squares * (y < 32)  # a pattern that the lower half of the scene has not
        noisy = truth + 2 * SIGMA * rng.standard_normal(truth.shape)
        fit = replace(problem().fit, iterations=150, log_period=25)
        noise = NoiseModel(4 * SIGMA**2, 0.0, 0.0, False, "given")
        [blind] = fit_batch([measurement(noisy)], problem(fit=fit, noise=noise))
        guided = replace(measurement(noisy), guide=squares)
        [shown] = fit_batch([guided], problem(fit=fit, noise=noise, guide_channels=1))
        assert self.error(shown.values, truth) < 0.7 * self.error(blind.values, truth)
        below = np.s_[:, 40:, :]
        lent = np.cov(shown.values[below].ravel(), squares[below].ravel())
        assert abs(lent[0, 1] / lent[1, 1]) < 0.05 * 40

    def test_missing_pixels_are_painted(self):
        truth, noisy = sky(64, 64)
        valid = np.random.default_rng(3).random(noisy.shape) > 0.3
        fit = replace(problem().fit, iterations=200, log_period=25)
        [result] = fit_batch([measurement(noisy, valid)], problem(fit=fit))
        assert self.error(result.values[~valid], truth[~valid]) < 0.5 * SIGMA**2

    def test_upscaling_beats_interpolation(self):
        truth, _ = sky(64, 64)
        operator = Downsample(2)
        small = operator.forward(torch.from_numpy(truth)[None])[0].numpy()
        fit = replace(problem().fit, iterations=200, log_period=25)
        noise = NoiseModel(0.01, 0.0, 0.0, False, "given")
        [result] = fit_batch([measurement(small)], problem(fit=fit, operator=operator, noise=noise))
        nearest = small.repeat(2, -1).repeat(2, -2)
        assert self.error(result.values, truth) < 0.5 * self.error(nearest, truth)

    def test_deconvolution_beats_the_blurred_measurement(self):
        truth, _ = sky(64, 64)
        operator = Blur(PSF)
        blurred = operator.forward(torch.from_numpy(truth)[None])[0].numpy()
        noisy = blurred + np.random.default_rng(1).normal(0, 0.5, blurred.shape)
        fit = replace(problem().fit, iterations=150, log_period=25)
        noise = NoiseModel(0.25, 0.0, 0.0, False, "given")
        [result] = fit_batch([measurement(noisy)], problem(fit=fit, operator=operator, noise=noise))
        assert self.error(result.values, truth) < 0.5 * self.error(noisy, truth)
