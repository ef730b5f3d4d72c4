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
    assert_close,
    ensemble_of,
    stacked,
    windows,
)
from torch.utils._python_dispatch import TorchDispatchMode
from windows import measurement, problem, sky

from glassplate.models.batching import queue
from glassplate.models.batching.fit_each import fit_batch, fit_each
from glassplate.models.batching.slots import Slots
from glassplate.models.fit.loop import RETRY_RATE, begin
from glassplate.models.fit.stopping import StoppingSettings
from glassplate.models.fit.window import Window
from glassplate.models.networks.settings import NetworkSettings
from glassplate.models.pixel_transform import PixelTransform

WAYS = ("separate", "grouped")


def begun(measured, given):
    """State and network of a window's fit."""
    return begin(Window(measured, given))


@cache
def alone(case):
    """What each window of a case gives by itself."""
    given, measured = CASES[case]
    return [fit_batch([one], given)[0] for one in measured]


@pytest.mark.parametrize("case", CASES)
class TestTogetherAsAlone:
    @pytest.mark.slow
    def test_separate_networks_give_the_same_bytes(self, case):
        given, measured = CASES[case]
        together = fit_batch(measured, stacked(given, 3))
        if case in ROUNDED:
            assert_close(alone(case), together)
        else:
            expected = [r.values.tobytes() for r in alone(case)]
            assert [r.values.tobytes() for r in together] == expected

    @pytest.mark.slow
    def test_grouped_networks_differ_by_rounding(self, case):
        given, measured = CASES[case]
        assert_close(alone(case), fit_batch(measured, stacked(given, 3, "grouped")))


@pytest.mark.slow
def test_each_jpeg_is_shifted_by_its_own_random_generator():
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
    @pytest.mark.slow
    def test_order_does_not_matter(self, way):
        one = fit_batch(PLAIN, stacked(problem(), 4, way))
        assert_close(one, fit_batch(PLAIN[::-1], stacked(problem(), 4, way))[::-1])

    @pytest.mark.slow
    def test_a_fit_that_diverges_harms_no_other(self, way):
        spoilt = sky(20, 24, 5)[1]
        spoilt[0, 3, 3] = np.inf
        given = stacked(problem(), 3, way)
        slots = Slots([begun(one, given) for one in (measurement(spoilt), *PLAIN[2:])])
        for _ in range(6):
            slots.advance()
        spoilt, *others = slots.read([0, 1, 2])
        assert not np.isfinite(spoilt.data_term)
        for measured, reading in zip(PLAIN[2:], others, strict=True):
            alone = Slots([begun(measured, problem())])
            for _ in range(6):
                alone.advance()
            [expected] = alone.read([0])
            torch.testing.assert_close(reading.mean, expected.mean, rtol=0, atol=0.5)
            assert reading.data_term == pytest.approx(expected.data_term, rel=0.01)

    def test_fits_that_only_predict_any_more_are_what_they_are_alone(self, way):
        """More windows than slots, so that some learn while others predict."""
        given = problem(iterations=6, predictions=3, log_period=2)
        alone = [fit_batch([one], given)[0] for one in PLAIN]
        assert_close(fit_batch(PLAIN, stacked(given, 2, way)), alone)

    @pytest.mark.slow
    def test_it_starts_again_in_its_slot(self, way, monkeypatch):
        usual = problem().fit.learning_rate

        def spoilt(window, start, rate):
            state, network = begin(window, start, rate)
            if rate == 1 and window.y[0, 0, 0, 0] == PLAIN[2].values[0, 0, 0]:
                next(network.module.parameters()).data.fill_(np.nan)
            return state, network

        fit = replace(problem().fit, learning_rate=RETRY_RATE * usual)
        expected = fit_batch(PLAIN, problem())
        expected[2] = fit_batch(PLAIN[2:3], problem(fit=fit))[0]
        monkeypatch.setattr(queue, "begin", spoilt)
        assert_close(expected, fit_batch(PLAIN, stacked(problem(), 3, way)))


class TestDivergence:
    @pytest.mark.slow
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


class TestQueue:
    def coming(self, measured, taken):
        for place, window in enumerate(measured):
            taken.append(place)
            yield place, window

    def test_windows_are_taken_when_a_slot_is_free(self):
        taken, seen = [], []
        for place, _ in fit_each(self.coming(windows(6), taken), stacked(problem(), 2)):
            seen.append((place, len(taken)))
        assert taken == list(range(6))
        assert sorted(place for place, _ in seen) == taken
        assert seen[0][1] <= 4  # two in their slots, and the two that took their places

    @pytest.mark.slow
    @pytest.mark.parametrize("way", WAYS)
    def test_slots_are_refilled_and_given_up_as_fits_end(self, way):
        # blank windows stop at once, the others run to the cap
        blank = measurement(np.full((1, 16, 16), 100.0))
        given = problem(stopping=StoppingSettings(patience=3, minimum=3), iterations=12)
        measured = [blank, *(measurement(sky(16, 16, n)[1], seed=n) for n in range(3)), blank]
        alone = [fit_batch([one], given)[0] for one in measured]
        together = fit_batch(measured, stacked(given, 3, way))
        assert alone[0].iterations < alone[1].iterations
        assert_close(alone, together)

    def test_windows_without_valid_pixels_take_no_slot(self):
        empty = measurement(np.zeros((1, 20, 24)), np.zeros((1, 20, 24), bool))
        found = fit_batch([empty, PLAIN[0], empty, empty], stacked(problem(), 2))
        assert [r.stop_reason for r in found].count("no valid pixels") == 3
        assert found[1].iterations == 6


class Refused(TorchDispatchMode):
    """Torch in deterministic mode on a GPU, as far as its documentation says."""

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


@pytest.mark.parametrize(
    "kind", ["lean", "unshuffled", "skip", "hourglass", "unet", "resnet", "decoder"]
)
class TestFixedOrder:
    def fitted(self, kind, way):
        network = NetworkSettings(kind, channels=4, scales=2, skip_channels=4, upsample="bilinear")
        # each operation passes through Python, and the second iteration does all that later ones do
        given = problem(network=network, collaborative=True, iterations=2, log_period=1)
        given = replace(given, fit=replace(given.fit, guard=4.0, uncertainty=kind != "decoder"))
        return fit_batch(PLAIN[:2], stacked(given, 2, way))

    @pytest.mark.slow
    @pytest.mark.parametrize("way", ["separate", "grouped"])
    def test_no_operation_is_used_that_a_gpu_would_refuse(self, kind, way):
        usual = self.fitted(kind, way)
        torch.use_deterministic_algorithms(True)
        try:
            with Refused():
                strict = self.fitted(kind, way)
        finally:
            torch.use_deterministic_algorithms(False)
        assert_close(usual, strict)

    def test_without_the_switch_it_would(self, kind):
        if kind == "decoder":
            pytest.skip("its convolutions have no borders")
        with (
            Refused(),
            pytest.raises(RuntimeError, match="not have a deterministic implementation"),
        ):
            self.fitted(kind, "separate")


class SmallDevice:
    """A device with memory for fewer fits than are asked for: the real slots, except that they refuse."""

    def __init__(self, monkeypatch, room, at=0):
        self.widths = []
        whole = queue.Slots

        class Small(whole):
            def __init__(inner, begun):
                self.widths.append(len(begun))
                inner.count = 0
                super().__init__(begun)

            def advance(inner, learning=None):
                if inner.width > room and inner.count >= at:
                    raise torch.OutOfMemoryError("CUDA out of memory")
                inner.count += 1
                super().advance(learning)

        monkeypatch.setattr(queue, "Slots", Small)


@pytest.fixture
def no_known_widths(monkeypatch):
    """A process that has not run out of memory yet."""
    monkeypatch.setattr(queue, "_WIDTHS", {})


@cache
def six_windows_alone():
    """Windows, a problem with two members, and what becomes of each window alone."""
    measured, given = windows(6), ensemble_of(2)
    return measured, given, fit_batch(measured, given)


@pytest.mark.usefixtures("no_known_widths")
class TestOutOfMemory:
    @pytest.mark.slow
    @pytest.mark.parametrize("at", [0, 4])
    def test_half_as_many_go_on(self, monkeypatch, at):
        measured = windows(6)
        alone = fit_batch(measured, problem())
        device = SmallDevice(monkeypatch, room=2, at=at)
        found = fit_batch(measured, stacked(problem(), 6))
        assert device.widths == [6, 3, 1]
        assert {r.slots for r in found} == {1}
        assert [r.values.tobytes() for r in found] == [r.values.tobytes() for r in alone]

    @pytest.mark.slow
    def test_the_next_batch_starts_with_as_few(self, monkeypatch):
        device = SmallDevice(monkeypatch, room=3)
        fit_batch(windows(6), stacked(problem(), 6))
        fit_batch(windows(6), stacked(problem(), 6))
        assert device.widths == [6, 3, 3]

    @pytest.mark.slow
    def test_windows_of_another_shape_start_with_all(self, monkeypatch):
        SmallDevice(monkeypatch, room=3)
        fit_batch(windows(6), stacked(problem(), 6))
        small = [measurement(sky(12, 12, n)[1], seed=n) for n in range(3)]
        found = fit_batch(small, stacked(problem(), 6))
        assert {r.slots for r in found} == {6}  # that there might be, of which three are taken

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["begin", "Window", "restorations"])
    @pytest.mark.parametrize("call", [2, 3, 4])
    def test_wherever_it_happens_no_window_is_lost_or_done_twice(self, monkeypatch, name, call):
        measured, given, alone = six_windows_alone()
        real, calls = getattr(queue, name), []

        def refusing(*args, **kwargs):
            calls.append(name)
            if len(calls) == call:
                raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")
            return real(*args, **kwargs)

        monkeypatch.setattr(queue, name, refusing)
        # each window can be read once only, as from a reader that is ahead
        found = list(fit_each(iter(enumerate(measured)), stacked(given, 3)))
        assert sorted(place for place, _ in found) == list(range(6))
        assert all(r.values.tobytes() == alone[place].values.tobytes() for place, r in found)

    def test_one_fit_that_is_too_large_is_an_error(self, monkeypatch):
        SmallDevice(monkeypatch, room=0)
        with pytest.raises(torch.OutOfMemoryError):
            fit_batch(PLAIN, stacked(problem(), 4))
