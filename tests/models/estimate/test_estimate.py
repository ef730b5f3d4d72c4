from dataclasses import replace

import numpy as np
import pytest
import torch
from windows import PSF, SIGMA, measurement, problem, sky

from glassplate.models.batching.fit_each import fit_batch
from glassplate.models.estimate import estimate
from glassplate.models.estimate.similar_blocks import EARLIER, LAST, Filtered
from glassplate.models.fit.problem import member_measurement
from glassplate.models.fit.window import Window
from glassplate.models.noise.model import NoiseModel
from glassplate.models.operators.blur import Blur
from glassplate.models.operators.downsample import Downsample
from glassplate.models.operators.operator import Identity


def ensemble(members, **changes):
    fit = replace(problem().fit, members=members, posterior=False, **changes)
    return problem(fit=fit)


class TestUncertainty:
    @pytest.mark.parametrize("collaborative", [False, True])
    def test_is_given_where_asked_for(self, collaborative):
        _, noisy = sky(20, 24, channels=3)
        [silent] = fit_batch([measurement(noisy)], problem(collaborative=collaborative))
        assert silent.uncertainty is None
        fit = replace(problem(collaborative=collaborative).fit, uncertainty=True)
        [stated] = fit_batch([measurement(noisy)], problem(fit=fit))
        assert stated.values.tobytes() == silent.values.tobytes()
        assert stated.uncertainty.shape == stated.values.shape
        assert stated.uncertainty.dtype == np.float32
        assert (stated.uncertainty > 0).all()
        assert np.median(stated.uncertainty) < 3 * SIGMA

    def test_of_an_ensemble_that_is_not_blind_it_is_how_members_differ(self):
        _, noisy = sky(20, 24)
        given = ensemble(3, uncertainty=True, input="noise")
        [together] = fit_batch([measurement(noisy)], given)
        seeds = [member_measurement(measurement(noisy), number).seed for number in range(3)]
        alone = fit_batch(
            [measurement(noisy, seed=seed) for seed in seeds], ensemble(1, input="noise")
        )
        spread = np.std([one.values for one in alone], 0, ddof=1) / np.sqrt(3)
        np.testing.assert_allclose(together.uncertainty, spread, rtol=1e-3, atol=1e-4)


class TestOperatorsThatMix:
    @pytest.mark.parametrize(
        ("operator", "expected"),
        [(Identity(), "blindspot"), (Downsample(3), "measurement"), (Blur(PSF), "measurement")],
    )
    def test_the_input_depends_on_it(self, operator, expected):
        assert problem(operator=operator).input == expected
        assert problem(operator=operator, input="noise").input == "noise"

    def test_what_the_measurement_still_says_is_given_back(self):
        _, noisy = sky(20, 24)
        quiet = NoiseModel(1e-4, 0.0, 0.0, False, "given: sigma")
        with_step = problem(operator=Downsample(2), noise=quiet)
        without = replace(with_step, fit=replace(with_step.fit, posterior=False))

        def residual(given):
            [result] = fit_batch([measurement(noisy)], given)
            seen = given.operator.forward(torch.from_numpy(result.values)[None])[0].numpy()
            return np.sqrt(np.mean((seen - noisy) ** 2))

        assert residual(with_step) < 0.01 * residual(without)


@pytest.mark.parametrize(("guard", "seen"), [(None, True), (4.0, False)])
def test_the_residual_of_guarded_sources_is_not_taken_for_noise(guard, seen):
    """It is mostly light in a crowded field: M13 lost its faint stars by it."""
    _, noisy = sky(32, 32)
    asked = problem(iterations=1)
    noise = replace(asked.noise, correlated=True, lag1=0.5)
    asked = replace(asked, noise=noise, fit=replace(asked.fit, guard=guard))
    window = Window(measurement(noisy), asked)
    found = estimate.seen_components(window, window.y - 3 * SIGMA)
    assert (found is not None) is seen


@pytest.mark.parametrize(
    ("correlated", "guard", "collaborative", "changed"),
    [
        (True, None, True, True),
        (False, None, True, False),
        (True, 4.0, True, False),
        (True, None, False, False),
    ],
)
def test_colours_follow_brightness_where_their_noise_is_correlated(
    correlated, guard, collaborative, changed, monkeypatch
):
    _, noisy = sky(32, 32, channels=3)
    asked = problem(iterations=1)
    noise = replace(asked.noise, correlated=correlated, lag1=0.5 * correlated)
    fit = replace(asked.fit, guard=guard, collaborative=collaborative)
    window = Window(measurement(noisy), replace(asked, noise=noise, fit=fit))
    monkeypatch.setattr(estimate, "guided_colours", lambda x, variance: x + 1)
    monkeypatch.setattr(estimate, "with_measured_level", lambda x, *_: x)  # would take the 1 off
    mean = window.y - 3 * SIGMA
    [filtered] = estimate.similar_blocks([window], [mean])
    result = estimate.answer(window, mean, filtered).values
    monkeypatch.setattr(estimate, "guided_colours", lambda x, variance: x)
    without = estimate.answer(window, mean, filtered).values
    assert (result != without).all() == changed
    assert (result != without).any() == changed


@pytest.mark.parametrize(
    ("changes", "levelled"),
    [
        ({}, True),
        ({"guard": 4.0}, False),
        ({"robust": 1.5}, False),
        ({"collaborative": False}, False),
    ],
)
def test_the_level_is_measured_where_neither_sources_nor_outliers_are_expected(
    changes, levelled, monkeypatch
):
    _, noisy = sky(32, 32)
    asked = problem(iterations=1)
    asked = replace(asked, fit=replace(asked.fit, collaborative=True))
    asked = replace(asked, fit=replace(asked.fit, **changes))
    window = Window(measurement(noisy), asked)
    calls = []

    def level(x, *_):
        calls.append(x)
        return x

    monkeypatch.setattr(estimate, "with_measured_level", level)
    [filtered] = estimate.similar_blocks([window], [window.y])
    estimate.answer(window, window.y, filtered)
    assert bool(calls) is levelled


def test_a_second_pass_has_the_answer_of_the_first_as_its_pilot(monkeypatch):
    _, noisy = sky(32, 32)
    asked = problem(iterations=1)
    fit = replace(asked.fit, collaborative=True, filter_passes=3, uncertainty=True)
    window = Window(measurement(noisy), replace(asked, fit=fit))
    called = []

    def one_more(pilot, y, variance, valid, lag1, seen, *, stated, one):
        called.append((one, stated))
        return Filtered(pilot + 1, variance if stated else None)

    monkeypatch.setattr(estimate, "collaborative_wiener", one_more)
    mean = window.y.clone()
    [filtered] = estimate.similar_blocks([window], [mean])
    torch.testing.assert_close(filtered.values, estimate._with_measurement(window, mean) + 3)
    assert called == [(EARLIER, False), (EARLIER, False), (LAST, True)]
    assert filtered.variance is not None


def test_the_uncertainty_has_the_noise_that_came_back_with_a_faint_source():
    _, noisy = sky(32, 32)
    asked = problem(iterations=1)
    asked = replace(asked, fit=replace(asked.fit, guard=4.0, uncertainty=True))
    window = Window(measurement(noisy), asked)
    mean = torch.full_like(window.y, float(window.y.mean()))
    found = estimate.answer(window, mean, None)
    assert found.noise_back.max() > 0.01 * SIGMA**2
    stated, without = (
        estimate._uncertainty(window, mean[None], None, back) for back in (found.noise_back, None)
    )
    np.testing.assert_allclose(stated**2, without**2 + found.noise_back, rtol=1e-5)
