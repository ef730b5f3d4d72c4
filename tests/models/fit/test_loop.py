import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from windows import SIGMA, measurement, problem, sky

from glassplate.models.batching.fit_each import fit_batch
from glassplate.models.device.arithmetic import applied
from glassplate.models.fit.loop import advance, begin, fit_window
from glassplate.models.fit.stopping import StoppingSettings
from glassplate.models.fit.window import Window


class TestFitWindow:
    def test_gives_the_average_and_the_log_that_restorations_are_made_of(self):
        _, noisy = sky(20, 24)
        records = []
        given = problem(iterations=8)
        with applied(given.numerics):
            fit = fit_window(measurement(noisy), given, records.append)
        [restored] = fit_batch([measurement(noisy)], given)
        assert fit.log == tuple(records)
        assert [r.iteration for r in fit.log] == [r.iteration for r in restored.log] == [3, 6, 8]
        assert fit.best.iteration == restored.best_iteration
        assert fit.mean.shape == (1, 1, 20, 24)
        assert (fit.slots, fit.stop_reason) == (1, "iteration cap")

    def test_a_fit_that_diverges_is_an_error_at_once(self):
        _, noisy = sky(20, 24)
        noisy[0, 3, 3] = np.inf
        given = problem()
        with applied(given.numerics), pytest.raises(FloatingPointError, match="at iteration 3"):
            fit_window(measurement(noisy), given)


class TestPredictions:
    def test_the_network_no_longer_learns_and_its_predictions_enter_the_average(self):
        _, noisy = sky(20, 24)
        given = problem(iterations=7, predictions=4, log_period=1)
        state, network = begin(Window(measurement(noisy), given))
        weights, means = [], []
        with applied(given.numerics):
            for iteration in range(7):
                advance(state, network, [given.fit.learns(iteration)])
                weights.append([w.clone() for w in network.module.state_dict().values()])
                means.append(state.average.value())
        assert any(not torch.equal(a, b) for a, b in zip(weights[0], weights[2], strict=True))
        for later in weights[3:]:
            assert all(torch.equal(a, b) for a, b in zip(weights[2], later, strict=True))
        assert not any(torch.equal(before, after) for before, after in itertools.pairwise(means))
        with applied(given.numerics):
            fit = fit_window(measurement(noisy), given)
        assert [record.iteration for record in fit.log] == list(range(1, 8))
        torch.testing.assert_close(fit.log[-1].chi2, float(state.score.chi2(state.average.value())))

    @pytest.mark.parametrize("predictions", [-1, 8])
    def test_there_are_no_more_than_iterations(self, predictions):
        with pytest.raises(ValueError, match=f"predictions is {predictions}, must be from 0 to"):
            problem(iterations=7, predictions=predictions)


class TestLog:
    def test_records_come_in_order_and_are_reported(self):
        _, noisy = sky(20, 24)
        heard = []
        results = fit_batch(
            [measurement(noisy), measurement(noisy, seed=8)],
            problem(iterations=8),
            lambda position, record: heard.append((position, record)),
        )
        assert [r.iteration for r in results[0].log] == [3, 6, 8]
        assert heard == [(n, record) for n in (0, 1) for record in results[n].log]
        seconds = [r.seconds for r in results[0].log]
        assert seconds == sorted(seconds)
        assert results[0].seconds >= seconds[-1]

    def test_answer_is_the_average_at_the_least_heldout_loss(self):
        _, noisy = sky(32, 32)
        settings = problem(iterations=60, log_period=10)
        [result] = fit_batch([measurement(noisy)], settings)
        best = min(result.log, key=lambda record: record.heldout_loss)
        assert result.best_iteration == best.iteration
        assert result.heldout_loss == best.heldout_loss
        removed = noisy - result.values
        variance = settings.noise.variance(result.values)
        assert result.chi2 == pytest.approx(np.mean(removed**2 / variance), rel=1e-4)
        assert result.stop_reason == "iteration cap"

    def test_the_fit_ends_when_heldout_pixels_get_no_better(self):
        _, noisy = sky(24, 24)
        stopping = StoppingSettings(patience=20, minimum=10)
        # a fast average of a fast fit of pure noise must over-fit soon
        fit = replace(problem().fit, iterations=2000, log_period=5, learning_rate=0.05, average=0.5)
        [result] = fit_batch(
            [measurement(np.random.default_rng(0).normal(100, SIGMA, noisy.shape))],
            problem(fit=fit, stopping=stopping),
        )
        assert result.stop_reason == "held-out minimum"
        assert result.iterations < 2000
        assert result.iterations - result.best_iteration >= 20

    def test_fixed_rule_holds_nothing_out_and_runs_to_the_cap(self):
        _, noisy = sky(20, 24)
        [result] = fit_batch([measurement(noisy)], problem(stopping=StoppingSettings("fixed")))
        assert result.iterations == result.best_iteration == 6
        assert np.isnan(result.heldout_loss)
