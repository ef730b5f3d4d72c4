import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from windows import measurement, problem, sky

from glassplate.models.batching.fit_each import fit_batch
from glassplate.models.donor import fit_donor as module
from glassplate.models.donor import second_process
from glassplate.models.donor.donor_problem import warm, windows_a_step
from glassplate.models.donor.fit_donor import fit_donor, weight_shapes
from glassplate.models.fit.loop import Network, gradients_of
from glassplate.models.fit.settings import LEAST_WINDOWS, DonorSettings
from glassplate.models.fit.window import Window
from glassplate.models.networks.make import make_network
from glassplate.models.networks.settings import NetworkSettings

SHORT = DonorSettings(iterations=12, tile_iterations=6)


def windows(count=3):
    return [measurement(sky(20, 24, seed)[1], seed=seed) for seed in range(count)]


def weights(measurements=None):
    return fit_donor(measurements or windows(), problem(iterations=12), SHORT)


def same(a, b):
    return all(a[name].tobytes() == b[name].tobytes() for name in a)


LARGE = DonorSettings(
    network="unshuffled",
    iterations=12000,
    windows=288,
    tile_least=10,
    tile_predictions=8,
    tile_passes=2,
)


class TestForTiles:
    @pytest.mark.parametrize(
        ("tiles", "windows", "steps", "each"),
        [
            (1, 32, 1000, 200),
            (16, 32, 1000, 200),
            (17, 68, 2833, 94),
            (40, 160, 6666, 40),
            (72, 288, 12000, 22),
            (160, 288, 12000, 10),
            (10_000, 288, 12000, 10),
        ],
    )
    def test_the_donor_learns_more_and_each_tile_less(self, tiles, windows, steps, each):
        found = LARGE.for_tiles(tiles)
        assert (found.windows, found.iterations, found.tile_iterations) == (windows, steps, each)
        small = tiles <= 16
        assert found.network == ("same" if small else "unshuffled")
        assert (found.tile_predictions, found.tile_passes) == ((0, 1) if small else (8, 2))

    @pytest.mark.parametrize(
        ("tiles", "each"), [(16, 200), (24, 200), (48, 100), (96, 50), (1000, 30)]
    )
    def test_correlated_noise_takes_three_times_as_many(self, tiles, each):
        assert LARGE.for_tiles(tiles, correlated=True).tile_iterations == each

    @pytest.mark.parametrize("tiles", [1, 16, 17, 300])
    def test_the_defaults_do_not_depend_on_it(self, tiles):
        assert DonorSettings().for_tiles(tiles) == DonorSettings()

    @pytest.mark.parametrize("tiles", [4, 100])
    def test_nothing_exceeds_what_is_asked_for(self, tiles):
        few = DonorSettings(iterations=6, windows=3, tile_iterations=2, tile_least=20)
        found = few.for_tiles(tiles)
        assert (found.iterations, found.windows, found.tile_iterations) == (6, 3, 2)


class TestFitDonor:
    def test_depends_on_its_windows_alone(self):
        one = weights()
        torch.rand(5)
        assert same(one, weights())
        assert not same(one, weights(windows(2)))

    def test_windows_may_differ_in_size_and_have_holes(self):
        _, noisy = sky(33, 17)
        valid = np.random.default_rng(0).random(noisy.shape) > 0.5
        found = weights([*windows(1), measurement(noisy, valid)])
        assert all(np.isfinite(w).all() for w in found.values())

    def test_a_window_without_valid_pixels_is_passed_over(self):
        empty = measurement(np.zeros((1, 20, 24)), np.zeros((1, 20, 24), bool))
        assert same(weights([*windows(2), empty]), weights(windows(2)))
        with pytest.raises(ValueError, match="none of its windows has a valid pixel"):
            weights([empty])

    def test_reports_its_iterations(self):
        heard = []
        fit_donor(windows(), problem(iterations=12), SHORT, heard.append)
        assert heard == [3, 6, 9, 12]

    def test_refines_another_donor(self):
        first = weights()
        given = replace(SHORT, refine=3)
        told = []
        again = fit_donor(windows(), problem(iterations=12), given, told.append, start=first)
        assert told == [3]
        assert set(again) == set(first)
        assert not same(again, first)
        once_more = fit_donor(windows(), problem(iterations=12), given, start=first)
        assert same(again, once_more)

    def test_starts_again_with_smaller_steps_once(self, monkeypatch):
        rates = []

        def descend(network, objective, draw):
            rates.append(network.optimiser.learning_rate)
            return torch.zeros(()), torch.tensor([float("nan")])

        monkeypatch.setattr(module, "descend", descend)
        with pytest.raises(FloatingPointError, match=r"donor: data term nan at iteration 3"):
            weights()
        assert len(rates) == 6
        assert rates[3] == pytest.approx(rates[0] / 10)


# Of a large image: two windows at each step, but the last.
MANY = replace(SHORT, windows=LEAST_WINDOWS + 1, iterations=7)


class TestSeveralWindowsAStep:
    def test_the_bytes_do_not_depend_on_cores(self, monkeypatch):
        monkeypatch.setattr(second_process, "cpu_count", lambda: 1)
        on_one = fit_donor(windows(), problem(iterations=12), MANY)
        assert same(on_one, fit_donor(windows(), problem(iterations=12), MANY))
        ask, asked = second_process.SecondProcess.ask, []

        def ask_until_ready(second, *question):
            while not ask(second, *question):
                assert second._process.poll() is None  # it starts, and takes seconds for it
                time.sleep(0.05)
            asked.append(question)
            return True

        monkeypatch.setattr(second_process, "cpu_count", lambda: 2)
        monkeypatch.setattr(second_process.SecondProcess, "ask", ask_until_ready)
        assert same(on_one, fit_donor(windows(), problem(iterations=12), MANY))
        assert len(asked) == 4  # the steps of seven windows

    def test_a_step_follows_the_mean_gradient(self):
        of_two = problem()
        one, other = (Window(each, of_two) for each in windows(2))
        pairs = [(window.objective, window.input().draw()) for window in (one, other)]
        after = []
        for together in (True, False):
            network = Network.for_window(
                one, one.input().channels, 0.01, None, torch.Generator().manual_seed(0)
            )
            if together:
                found = [gradients_of(network, *pair, share=0.5) for pair in pairs]
                network.step_along([gradients for gradients, _ in found])
            else:
                losses = [
                    objective.data_term(objective.estimate(network.paint(draw.z)), draw.loss_mask)
                    for objective, draw in pairs
                ]
                network.step(torch.cat(losses).mean())
            after.append(torch.cat([p.detach().flatten() for p in network.module.parameters()]))
        torch.testing.assert_close(*after, rtol=0, atol=1e-5)

    def test_all_visits_are_counted(self):
        heard = []
        fit_donor(windows(), problem(iterations=12), MANY, heard.append)
        assert heard == [4, 6, 7]

    def test_few_windows_and_a_donor_that_is_refined_take_one_a_step(self):
        blind, enlarging = problem(), replace(problem(), network=NetworkSettings("enlarging"))
        assert windows_a_step(blind, MANY) == 2
        assert windows_a_step(blind, MANY, inherited=True) == 1
        assert windows_a_step(blind, SHORT) == 1
        assert windows_a_step(enlarging, MANY) == 1


class TestWarmStart:
    def test_a_fit_begins_with_the_donors_weights(self):
        given = problem(iterations=1, log_period=1)
        start, [window] = weights(), windows(1)
        [from_donor] = fit_batch([window], given, start=start)
        [from_chance] = fit_batch([window], given)
        assert from_donor.log[0].data_term < from_chance.log[0].data_term

    def test_a_window_does_not_depend_on_its_batch(self):
        start, three = weights(), windows()
        together = fit_batch(three, problem(), start=start)
        for window, other in zip(three, together, strict=True):
            [alone] = fit_batch([window], problem(), start=start)
            assert alone.values.tobytes() == other.values.tobytes()

    def test_the_donor_is_not_changed_by_a_fit(self):
        start = weights()
        before = {name: w.copy() for name, w in start.items()}
        fit_batch(windows(), problem(), start=start)
        assert same(before, start)

    def test_has_every_weight_of_the_network(self):
        network = make_network(problem().network, 2, 1, torch.Generator())
        assert set(weights()) == set(network.state_dict())
        shapes = {name: weight.shape for name, weight in weights().items()}
        assert weight_shapes(problem(), 1) == shapes


def test_warm_takes_fewer_and_smaller_steps():
    cold = problem(iterations=200)
    changed = warm(cold, replace(SHORT, tile_iterations=90))
    assert changed.fit.iterations == 90
    assert changed.fit.learning_rate == SHORT.tile_learning_rate
    assert changed.stopping.patience == changed.stopping.minimum == 30
    assert changed.network == cold.network


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("iterations", 0),
        ("windows", 0),
        ("tile_iterations", 0),
        ("tile_learning_rate", 0.0),
        ("refine", -1),
    ],
)
def test_refuses_impossible_settings(field, value):
    with pytest.raises(ValueError, match=field):
        replace(SHORT, **{field: value})


@pytest.mark.slow
def test_a_donor_saves_iterations():
    """A few dozen iterations from a donor beat the same from random weights by far."""
    truth, noisy = sky(64, 64, 9)
    fit = replace(problem().fit, iterations=25, log_period=25)
    given = problem(fit=fit)
    start = fit_donor(
        [measurement(sky(64, 64, seed)[1], seed=seed) for seed in range(4)],
        problem(iterations=200, log_period=25),
        DonorSettings(iterations=200),
    )
    [cold] = fit_batch([measurement(noisy)], given)
    [donated] = fit_batch([measurement(noisy)], given, start=start)
    errors = [float(np.mean((r.values - truth) ** 2)) for r in (cold, donated)]
    assert errors[1] < 0.8 * errors[0]
