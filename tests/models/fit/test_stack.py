"""Fits that advance together against the same fits alone."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from jpegs import photograph, saved
from stacks import (
    CASES,
    PLAIN,
    ROUNDED,
    assert_alike,
    ensemble_of,
    stacked,
    windows,
)
from torch.utils._python_dispatch import TorchDispatchMode
from windows import measurement, problem, sky

from glassplate.models.fit import loop
from glassplate.models.fit.loop import fit_batch, fit_each
from glassplate.models.fit.member import Start
from glassplate.models.fit.stack import Stack
from glassplate.models.fit.stopping import StoppingSettings
from glassplate.models.networks.make import NetworkSettings
from glassplate.models.transform import PixelTransform

WAYS = ("separate", "grouped", "gemm")


@cache
def alone(case):
    """What each window of a case gives by itself."""
    given, measured = CASES[case]
    return [fit_batch([one], given)[0] for one in measured]


@pytest.mark.parametrize("case", CASES)
class TestTogetherAsAlone:
    def test_separate_networks_give_the_same_bytes(self, case):
        given, measured = CASES[case]
        together = fit_batch(measured, stacked(given, 3))
        if case in ROUNDED:
            assert_alike(alone(case), together)
        else:
            expected = [r.values.tobytes() for r in alone(case)]
            assert [r.values.tobytes() for r in together] == expected

    @pytest.mark.parametrize("way", ["grouped", "gemm"])
    def test_joint_networks_differ_by_rounding(self, case, way):
        given, measured = CASES[case]
        assert_alike(alone(case), fit_batch(measured, stacked(given, 3, way)))


def test_jpegs_are_shaken_each_by_its_own_dice():
    y, quantisation = saved(photograph(), 10)
    values = y[0].numpy().astype("f4")
    given = problem(
        quantisation=quantisation, transform=PixelTransform("linear", offset=0.0, scale=255.0)
    )
    measured = [measurement(values, seed=n) for n in range(3)]
    alone = [fit_batch([one], given)[0] for one in measured]
    together = fit_batch(measured, stacked(given, 3))
    assert [r.values.tobytes() for r in alone] == [r.values.tobytes() for r in together]
    assert alone[0].values.tobytes() != alone[1].values.tobytes()


@pytest.mark.parametrize("way", WAYS)
class TestNeighbours:
    def test_order_does_not_matter(self, way):
        one = fit_batch(PLAIN, stacked(problem(), 4, way))
        assert_alike(one, fit_batch(PLAIN[::-1], stacked(problem(), 4, way))[::-1])

    def test_a_fit_that_runs_to_infinity_harms_no_other(self, way):
        spoilt = sky(20, 24, 5)[1]
        spoilt[0, 3, 3] = np.inf
        given = stacked(problem(), 3, way)
        stack = Stack([Start(one, given).begun() for one in (measurement(spoilt), *PLAIN[2:])])
        for _ in range(6):
            stack.advance()
        spoilt, *others = stack.state.read([0, 1, 2])
        assert not np.isfinite(spoilt.data_term)
        for measured, reading in zip(PLAIN[2:], others, strict=True):
            alone = Stack([Start(measured, problem()).begun()])
            for _ in range(6):
                alone.advance()
            [expected] = alone.state.read([0])
            torch.testing.assert_close(reading.mean, expected.mean, rtol=0, atol=0.5)
            assert reading.data_term == pytest.approx(expected.data_term, rel=0.01)

    def test_it_starts_again_in_its_slot(self, way, monkeypatch):
        usual = problem().fit.learning_rate

        class Unlucky(Start):
            def begun(self):
                if self.rate == usual and self.window.y[0, 0, 0, 0] == PLAIN[2].values[0, 0, 0]:
                    next(self.network.parameters()).data.fill_(np.nan)
                return super().begun()

        fit = replace(problem().fit, learning_rate=loop.CAUTION * usual)
        expected = fit_batch(PLAIN, problem())
        expected[2] = fit_batch(PLAIN[2:3], problem(fit=fit))[0]
        monkeypatch.setattr(loop, "Start", Unlucky)
        assert_alike(expected, fit_batch(PLAIN, stacked(problem(), 3, way)))


class TestDivergence:
    def test_one_that_diverges_twice_costs_no_other(self):
        spoilt = sky(20, 24, 5)[1]
        spoilt[0, 3, 3] = np.inf
        measured = [PLAIN[0], measurement(spoilt), *PLAIN[1:]]
        given = stacked(ensemble_of(2), 3)
        found = list(fit_each(enumerate(measured), given))
        assert sorted(place for place, _ in found) == list(range(5))
        assert isinstance(dict(found)[1], FloatingPointError)
        expected = fit_batch(PLAIN, ensemble_of(2))
        got = [dict(found)[place] for place in (0, 2, 3, 4)]
        assert [r.values.tobytes() for r in got] == [r.values.tobytes() for r in expected]


class TestTurns:
    def coming(self, measured, taken):
        for place, window in enumerate(measured):
            taken.append(place)
            yield place, window

    def test_windows_are_brought_in_when_a_slot_is_free(self):
        taken, seen = [], []
        for place, _ in fit_each(self.coming(windows(6), taken), stacked(problem(), 2)):
            seen.append((place, len(taken)))
        assert taken == list(range(6))
        assert sorted(place for place, _ in seen) == taken
        assert seen[0][1] <= 4  # two in their slots, and the two that took their places

    @pytest.mark.parametrize("way", WAYS)
    def test_slots_are_refilled_and_given_up_as_fits_end(self, way):
        # blank windows stop at once, the others run to the cap
        blank = measurement(np.full((1, 16, 16), 100.0))
        given = problem(stopping=StoppingSettings(patience=3, minimum=3), iterations=12)
        measured = [blank, *(measurement(sky(16, 16, n)[1], seed=n) for n in range(3)), blank]
        alone = [fit_batch([one], given)[0] for one in measured]
        together = fit_batch(measured, stacked(given, 3, way))
        assert alone[0].iterations < alone[1].iterations
        assert_alike(alone, together)

    def test_windows_without_valid_pixels_take_no_slot(self):
        empty = measurement(np.zeros((1, 20, 24)), np.zeros((1, 20, 24), bool))
        found = fit_batch([empty, PLAIN[0], empty, empty], stacked(problem(), 2))
        assert [r.stop_reason for r in found].count("no valid pixels") == 3
        assert found[1].iterations == 6


class Refused(TorchDispatchMode):
    """Torch on a GPU where sums are to have a fixed order, as far as its documentation tells."""

    NAMES = (
        "reflection_pad2d_backward",
        "upsample_bilinear2d_backward",
        "max_pool2d_with_indices_backward",
        "median.dim",
        "cumsum",
        "histc",
        "bincount",
        "put_",
    )

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = str(function).removeprefix("aten.").removesuffix(".default")
        if any(name == refused or name.removeprefix("nan") == refused for refused in self.NAMES):
            raise RuntimeError(f"{name} does not have a deterministic implementation")
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", ["lean", "skip", "hourglass", "unet", "resnet", "decoder"])
class TestFixedOrder:
    def fitted(self, kind, way):
        network = NetworkSettings(kind, channels=4, scales=2, skip_channels=4, upsample="bilinear")
        given = problem(network=network, collaborative=True)
        given = replace(given, fit=replace(given.fit, guard=4.0, uncertainty=kind != "decoder"))
        return fit_batch(PLAIN[:2], stacked(given, 2, way))

    @pytest.mark.parametrize("way", ["separate", "grouped"])
    def test_nothing_is_asked_of_a_gpu_that_it_would_refuse(self, kind, way):
        usual = self.fitted(kind, way)
        torch.use_deterministic_algorithms(True)
        try:
            with Refused():
                strict = self.fitted(kind, way)
        finally:
            torch.use_deterministic_algorithms(False)
        assert_alike(usual, strict)

    def test_without_the_switch_it_would(self, kind):
        if kind == "decoder":
            pytest.skip("its convolutions have no borders")
        with (
            Refused(),
            pytest.raises(RuntimeError, match="not have a deterministic implementation"),
        ):
            self.fitted(kind, "separate")


class Cramped:
    """A device that holds fewer fits than are wanted: the real stack, but for what it refuses."""

    def __init__(self, monkeypatch, room, at=0):
        self.widths = []
        whole = loop.Stack

        class Small(whole):
            def __init__(inner, begun):
                self.widths.append(len(begun))
                inner.count = 0
                super().__init__(begun)

            def advance(inner):
                if len(inner.state.total) > room and inner.count >= at:
                    raise torch.OutOfMemoryError("CUDA out of memory")
                inner.count += 1
                super().advance()

        monkeypatch.setattr(loop, "Stack", Small)


@pytest.fixture
def forgetful(monkeypatch):
    """A process that has not run out of memory yet."""
    monkeypatch.setattr(loop, "_ROOM", {})


@pytest.mark.usefixtures("forgetful")
class TestOutOfMemory:
    @pytest.mark.parametrize("at", [0, 4])
    def test_half_as_many_go_on(self, monkeypatch, at):
        measured = windows(6)
        alone = fit_batch(measured, problem())
        cramped = Cramped(monkeypatch, room=2, at=at)
        found = fit_batch(measured, stacked(problem(), 6))
        assert cramped.widths == [6, 3, 1]
        assert {r.slots for r in found} == {1}
        assert [r.values.tobytes() for r in found] == [r.values.tobytes() for r in alone]

    def test_the_next_batch_asks_for_no_more(self, monkeypatch):
        cramped = Cramped(monkeypatch, room=3)
        fit_batch(windows(6), stacked(problem(), 6))
        fit_batch(windows(6), stacked(problem(), 6))
        assert cramped.widths == [6, 3, 3]

    def test_windows_of_another_shape_do(self, monkeypatch):
        Cramped(monkeypatch, room=3)
        fit_batch(windows(6), stacked(problem(), 6))
        small = [measurement(sky(12, 12, n)[1], seed=n) for n in range(3)]
        found = fit_batch(small, stacked(problem(), 6))
        assert {r.slots for r in found} == {6}  # that there might be, of which three are taken

    @pytest.mark.parametrize("name", ["Start", "Window", "restorations"])
    @pytest.mark.parametrize("call", [2, 3, 4])
    def test_wherever_it_happens_no_window_is_lost_or_done_twice(self, monkeypatch, name, call):
        measured = windows(6)
        given = ensemble_of(2)
        alone = fit_batch(measured, given)
        real, calls = getattr(loop, name), []

        def refusing(*args, **kwargs):
            calls.append(name)
            if len(calls) == call:
                raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")
            return real(*args, **kwargs)

        monkeypatch.setattr(loop, name, refusing)
        # each window can be read once only, as from a reader that is ahead
        found = list(fit_each(iter(enumerate(measured)), stacked(given, 3)))
        assert sorted(place for place, _ in found) == list(range(6))
        assert all(r.values.tobytes() == alone[place].values.tobytes() for place, r in found)

    def test_one_alone_that_is_too_large_is_said(self, monkeypatch):
        Cramped(monkeypatch, room=0)
        with pytest.raises(torch.OutOfMemoryError):
            fit_batch(PLAIN, stacked(problem(), 4))
