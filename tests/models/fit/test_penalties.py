"""Total variation: what it costs, that it means the same for every image, and what it does to a fit."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from windows import SIGMA, measurement, problem, sky

from glassplate.models.batching.fit_each import fit_batch
from glassplate.models.fit.losses import TV_SMOOTHING, total_variation
from glassplate.models.fit.penalties import NoPenalty, TotalVariation
from glassplate.models.fit.settings import FitSettings
from glassplate.models.fit.window import Window
from glassplate.models.noise.model import NoiseModel
from glassplate.models.operators.downsample import Downsample
from glassplate.models.pixel_transform import PixelTransform

ONE = torch.ones(1, 1, 1, 1, dtype=torch.float64)


def image(seed=0, shape=(1, 2, 6, 5)):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def settings(tv):
    return replace(problem().fit, tv=tv)


class TestTotalVariation:
    def test_gradient_is_that_of_finite_differences(self):
        unit, weight = 0.5 + image(1).abs(), image(2).abs()
        u = image().requires_grad_()
        assert torch.autograd.gradcheck(lambda u: total_variation(u, unit, weight), (u,))

    def test_constant_costs_nothing_and_has_no_gradient(self):
        u = torch.full((1, 2, 6, 5), 3.5, dtype=torch.float64, requires_grad=True)
        cost = total_variation(u, ONE, ONE)
        cost.backward()
        assert cost.abs() < 1e-15
        assert (u.grad == 0).all()

    def test_offset_does_not_matter(self):
        torch.testing.assert_close(
            total_variation(image() + 7, ONE, ONE), total_variation(image(), ONE, ONE)
        )

    def test_is_in_proportion_to_its_weight(self):
        torch.testing.assert_close(
            total_variation(image(), ONE, 3 * ONE), 3 * total_variation(image(), ONE, ONE)
        )

    def test_counts_gradients_in_units(self):
        torch.testing.assert_close(
            total_variation(5 * image(), 5 * ONE, ONE), total_variation(image(), ONE, ONE)
        )

    def test_of_an_edge_is_its_height_and_length(self):
        u = torch.zeros(1, 1, 8, 10, dtype=torch.float64)
        u[..., 4:] = 100.0
        # eight pixels have a step of 100 to their right
        assert float(total_variation(u, ONE, ONE)) == pytest.approx(
            8 * (100 - TV_SMOOTHING) / 80, rel=1e-4
        )

    def test_one_pixel_has_no_gradient(self):
        assert total_variation(image(shape=(1, 1, 1, 1)), ONE, ONE) == 0


class TestPenaltyOfAWindow:
    def window(self, tv=1.0, factor=1.0, **changes):
        values = factor * sky(20, 24)[1]
        transform = PixelTransform("linear", offset=factor * 90.0, scale=factor * 50.0)
        noise = NoiseModel((factor * SIGMA) ** 2, 0.0, 0.0, False, "given")
        changes = {"transform": transform, "noise": noise, **changes}
        return Window(measurement(values), problem(fit=settings(tv), **changes)), values

    def test_none_costs_nothing(self):
        window, values = self.window(tv=0)
        assert isinstance(window.objective.penalty, NoPenalty)
        assert window.objective.penalty(torch.from_numpy(values)[None]) == 0

    def test_does_not_depend_on_the_units_of_the_source(self):
        costs = []
        for factor in (1.0, 1000.0):
            window, values = self.window(factor=factor)
            costs.append(float(window.objective.penalty(torch.from_numpy(values)[None])))
        assert costs[0] == pytest.approx(costs[1], rel=1e-3)

    def test_pure_noise_costs_about_what_it_costs_the_data_term(self):
        window, values = self.window()
        noise = SIGMA * np.random.default_rng(5).standard_normal(values.shape)
        flat = torch.full((1, *values.shape), 100.0)
        x = flat + torch.from_numpy(noise.astype("f4"))
        # a gradient of white noise is some 1.6 standard deviations, less the smoothing; its variance is
        # 0.01 in the network's domain
        assert float(window.objective.penalty(x)) == pytest.approx(1.6 * 0.01, rel=0.15)
        assert float(window.objective.penalty(flat)) == 0

    def test_without_noise_there_is_no_penalty(self):
        window, values = self.window(noise=NoiseModel(0.0, 0.0, 0.0, False, "given"))
        x = torch.from_numpy(values)[None].requires_grad_()
        cost = window.objective.penalty(x)
        cost.backward()
        assert cost == 0
        assert (x.grad == 0).all()

    def test_a_hole_has_the_penalty_of_its_surroundings(self):
        _, noisy = sky(20, 24)
        valid = np.ones(noisy.shape, bool)
        valid[:, 5:12, 5:12] = False
        variance = np.where(valid, np.float32(SIGMA**2), np.nan).astype("f4")
        given = problem(fit=settings(1.0))
        window = Window(measurement(noisy, valid, variance), given)
        assert isinstance(window.objective.penalty, TotalVariation)
        assert window.objective.penalty.unit.isfinite().all()
        assert (window.objective.penalty.cost > 0).all()

    def test_is_counted_at_the_resolution_of_the_estimate(self):
        window, _ = self.window(operator=Downsample(2))
        _, c, h, w = window.y.shape
        x = torch.full((1, c, 2 * h, 2 * w), 100.0)
        assert window.objective.penalty(x) == 0
        assert window.objective.penalty(x + torch.rand(x.shape)) > 0


class TestFit:
    def test_no_weight_changes_no_byte(self):
        _, noisy = sky(20, 24)
        one, other = (
            fit_batch([measurement(noisy)], problem(fit=fit))[0]
            for fit in (problem().fit, settings(0.0))
        )
        assert one.values.tobytes() == other.values.tobytes()

    @pytest.mark.slow
    @pytest.mark.parametrize("source", ["noise", "blindspot"])
    def test_makes_the_estimate_smoother(self, source):
        _, noisy = sky(24, 24)
        roughness = []
        for tv in (0.0, 3.0):
            fit = replace(settings(tv), iterations=60, log_period=20, input=source, posterior=False)
            [result] = fit_batch([measurement(noisy)], problem(fit=fit))
            roughness.append(float(np.abs(np.diff(result.values)).mean()))
        assert roughness[1] < 0.9 * roughness[0]

    def test_the_log_has_the_data_term_alone(self):
        _, noisy = sky(20, 24)
        first = []
        for tv in (0.0, 50.0):
            fit = replace(settings(tv), iterations=1, log_period=1)
            first.append(fit_batch([measurement(noisy)], problem(fit=fit))[0].log[0].data_term)
        assert first[0] == first[1]


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_refuses_an_impossible_weight(weight):
    with pytest.raises(ValueError, match=rf"tv is {weight}, must be at least 0 and finite"):
        FitSettings(tv=weight)
