import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from windows import measurement, problem, sky

from glassplate.models.donor import second_process as module
from glassplate.models.donor.second_process import SecondProcess, gradients_on_each, second_process
from glassplate.models.fit.loop import Network
from glassplate.models.fit.window import Window


def windows(count=2):
    return [measurement(sky(20, 24, seed)[1], seed=seed) for seed in range(count)]


def network(given=None):
    window = Window(given or windows()[0], problem())
    channels = window.input().channels, window.channels
    made = Network.for_window(window, channels[0], 0.01, None, torch.Generator().manual_seed(0))
    return made, channels


def values_of(found):
    return [
        [gradient.numpy().tobytes() for gradient in of_one.gradients] + [of_one.losses.item()]
        for of_one in found
    ]


def alone(made, measurements):
    return values_of(gradients_on_each(made, problem(), measurements, None))


def wait_until_asked(second, measurement):
    """Ask until the process has started."""
    deadline = time.monotonic() + 120
    while not second.ask(measurement, share=0.5):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def second():
    made, channels = network()
    process = SecondProcess(made, problem(), channels)
    yield made, process
    process.close()


def test_it_finds_the_same_bytes_and_follows_the_weights(second):
    made, process = second
    given = windows()
    wait_until_asked(process, given[1])
    assert values_of([process.answer()]) == alone(made, given)[1:]
    for _ in range(2):
        expected = alone(made, given)
        assert process.ask(given[1], share=0.5)
        found = process.answer()
        assert values_of([found]) == expected[1:]
        made.step_along([found.gradients])


def test_both_together_find_what_one_finds(second):
    made, process = second
    given = windows()
    wait_until_asked(process, given[0])
    process.answer()
    assert values_of(gradients_on_each(made, problem(), given, process)) == alone(made, given)
    assert values_of(gradients_on_each(made, problem(), given[:1], process)) == alone(
        made, given[:1]
    )


def turned(array):
    """An array (c, h, w) as a view of (h, w, c)."""
    return np.ascontiguousarray(array.transpose(1, 2, 0)).transpose(2, 0, 1)


def test_the_order_of_the_pixels_in_memory_does_not_matter():
    # The pixels of a colour image in float32 were a view of (h, w, 3). Once sent to the process they
    # were no longer, and torch summed them in another order: a donor depended on when the process was ready.
    coloured = [measurement(sky(40, 48, seed, channels=3)[1], seed=seed) for seed in range(8)]
    made, channels = network(coloured[0])
    process = SecondProcess(made, problem(), channels)
    try:
        wait_until_asked(process, coloured[0])
        process.answer()
        for given in coloured:
            interleaved = replace(given, values=turned(given.values), valid=turned(given.valid))
            assert not interleaved.values.flags.c_contiguous
            assert process.ask(interleaved, share=0.5)
            answer = values_of([process.answer()])
            for same in (given, interleaved):
                assert answer == alone(made, [given, same])[1:]
    finally:
        process.close()


@pytest.mark.parametrize("asked", [False, True])
def test_a_process_that_is_killed_is_done_without(second, asked):
    made, process = second
    given = windows()
    wait_until_asked(process, given[0])
    if not asked:
        process.answer()
    os.kill(process._process.pid, signal.SIGKILL)
    process._process.wait()
    if asked:
        process.answer()  # it may have been quicker than the signal
    assert values_of(gradients_on_each(made, problem(), given, process)) == alone(made, given)
    assert not process.ask(given[0], share=0.5)
    assert process.answer() is None


def test_it_ends_when_the_other_end_is_closed(second):
    _, process = second
    process._connection.close()
    assert process._process.wait(120) == 0


def test_ctrl_c_does_not_end_it(second):
    made, process = second
    given = windows()
    wait_until_asked(process, given[1])
    process.answer()
    os.kill(process._process.pid, signal.SIGINT)
    assert process.ask(given[1], share=0.5)
    assert values_of([process.answer()]) == alone(made, given)[1:]


def test_a_process_that_does_not_start_is_done_without(monkeypatch):
    monkeypatch.setattr(module.sys, "executable", shutil.which("false"))
    made, channels = network()
    given = windows()
    with second_process(made, problem(), channels) as process:
        if process is not None:  # on one core there is none
            process._process.wait()
        for _ in range(2):
            assert values_of(gradients_on_each(made, problem(), given, process)) == alone(
                made, given
            )


@pytest.mark.parametrize("cores", [1, 2])
def test_there_is_one_where_there_is_a_core_for_it(monkeypatch, cores):
    monkeypatch.setattr(module, "cpu_count", lambda: cores)
    with second_process(*with_problem(network())) as second:
        assert (second is not None) == (cores > 1)
    if second is not None:
        assert second._process.poll() is not None


def test_without_room_for_a_process_there_is_none(monkeypatch):
    def full(*_, **__):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(module, "cpu_count", lambda: 2)
    monkeypatch.setattr(subprocess, "Popen", full)
    with second_process(*with_problem(network())) as second:
        assert second is None


def with_problem(of_network):
    made, channels = of_network
    return made, problem(), channels
