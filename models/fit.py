"""The loop: fit a batch of tiles, average, log, stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from glassplate.models.costs import projected_bytes
from glassplate.models.networks import make_network
from glassplate.models.problem import FitSettings, Measurement, Problem, Record, Restoration
from glassplate.models.stopping import decide
from glassplate.models.window import Window

__all__ = [
    "FitSettings",
    "Measurement",
    "Problem",
    "Record",
    "Restoration",
    "fit_batch",
    "projected_bytes",
    "seconds_per_iteration",
]

# Factor on the learning rate when a fit that ran to infinity starts again.
CAUTION = 0.1

OnRecord = Callable[[int, Record], None]


def fit_batch(
    measurements: Sequence[Measurement], problem: Problem, on_record: OnRecord | None = None
) -> list[Restoration]:
    """Restore the windows of one batch.

    Parameters
    ----------
    measurements
        Windows of any size from 1x1, any pattern of valid pixels.
    problem
        What they share.
    on_record
        Called with the window's position in the batch and each record as it is made. A fit that starts
        again (see Raises) reports its iterations again.

    Returns
    -------
    One restoration per measurement, in order. On the same device, software and thread count the same
    measurement gives the same bytes, whatever else is in the batch.

    Raises
    ------
    FloatingPointError
        If a fit runs to infinity, and again with a tenth of the learning rate.
    """
    with problem.numerics.applied():
        results = []
        for position, measurement in enumerate(measurements):
            report = _reporter(position, on_record)
            if not measurement.valid.any():
                results.append(_nothing_to_fit(measurement, problem))
                continue
            try:
                results.append(_fit_one(measurement, problem, report))
            except FloatingPointError:
                fit = replace(problem.fit, learning_rate=problem.fit.learning_rate * CAUTION)
                results.append(_fit_one(measurement, replace(problem, fit=fit), report))
        return results


def _fit_one(
    measurement: Measurement, problem: Problem, report: Callable[[Record], None]
) -> Restoration:
    """Fit one window."""
    start = time.perf_counter()
    fit, numerics = problem.fit, problem.numerics
    window = Window(measurement, problem)
    source = window.input()
    network = make_network(problem.network, source.channels, window.channels, window.dice)
    # Torch's stub of Module.to leaves memory_format out.
    network = network.to(numerics.device, memory_format=numerics.layout)  # type: ignore[call-overload]
    optimiser = torch.optim.Adam(network.parameters(), lr=fit.learning_rate, fused=True)
    average = _Average(fit.average)
    total = torch.zeros((), device=numerics.device)
    log: list[Record] = []
    best = torch.empty(0)

    for iteration in range(1, fit.iterations + 1):
        z, asked, answered = source.draw()
        z = z.to(numerics.dtype).contiguous(memory_format=numerics.layout)
        x = window.estimate(network(z))  # (1, C, H, W), source units
        loss = window.data_term(x, asked)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        average.add(x.detach(), answered)
        total += loss.detach()

        # Reading the loss waits for the device, so it is read once a period only.
        if iteration % fit.log_period and iteration != fit.iterations:
            continue
        mean = average.value()  # (1, C, H, W), source units
        since = iteration - (log[-1].iteration if log else 0)
        data_term = float(total) / since
        total.zero_()
        if not math.isfinite(data_term):
            raise FloatingPointError(
                f"fit: data term {data_term} at iteration {iteration}, must be finite; lower "
                f"fit.learning_rate from {fit.learning_rate:g}"
            )
        heldout_loss, surprise = window.judge(mean)
        seconds = time.perf_counter() - start
        log.append(Record(iteration, data_term, heldout_loss, surprise, seconds))
        report(log[-1])
        decision = decide(log, problem.stopping, fit.iterations)
        if decision.best == len(log) - 1:
            best = mean
        if decision.reason is not None:
            break

    record = log[decision.best]
    return Restoration(
        values=window.answer(best),
        log=tuple(log),
        iterations=log[-1].iteration,
        best_iteration=record.iteration,
        stop_reason=decision.reason or "iteration cap",
        heldout_loss=record.heldout_loss,
        chi2=record.chi2,
        whiteness=window.whiteness(best),
        seconds=time.perf_counter() - start,
    )


class _Average:
    """Exponential average of the outputs, each pixel over the iterations that answered for it."""

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.sums: torch.Tensor | None = None

    def add(self, x: torch.Tensor, answered: torch.Tensor) -> None:
        """Take in the estimate of one iteration; both (1, C, H, W)."""
        if self.sums is None:
            self.sums, self.weights = torch.zeros_like(x), torch.zeros_like(x)
        self.latest = x
        fresh = answered.to(x.dtype) * (1 - self.decay)
        self.sums.mul_(self.decay).add_(fresh * x)
        self.weights.mul_(self.decay).add_(fresh)

    def value(self) -> torch.Tensor:
        """(1, C, H, W): the average; the latest estimate where no iteration has answered yet."""
        assert self.sums is not None
        answered = self.weights > 0
        return torch.where(
            answered, self.sums / torch.where(answered, self.weights, 1), self.latest
        )


def _nothing_to_fit(measurement: Measurement, problem: Problem) -> Restoration:
    """A window without a valid pixel: the transform's offset everywhere."""
    c, h, w = measurement.values.shape
    scale, nan = problem.operator.scale, math.nan
    values = np.full((c, h * scale, w * scale), problem.transform.offset, np.float32)
    return Restoration(values, (), 0, 0, "no valid pixels", nan, nan, nan, 0.0)


def _reporter(position: int, on_record: OnRecord | None) -> Callable[[Record], None]:
    """Bind a window's position to the caller's listener."""

    def report(record: Record) -> None:
        if on_record is not None:
            on_record(position, record)

    return report


def seconds_per_iteration(problem: Problem, window_shape: tuple[int, int, int]) -> float:
    """Measure one iteration on this machine by a short trial on random pixels.

    Parameters
    ----------
    problem
        What would be fitted.
    window_shape
        ``(c, h, w)`` of a window, in pixels of the measurement.
    """
    rng = np.random.default_rng(0)
    values = rng.random(window_shape, dtype=np.float32)
    values = problem.transform.inverse(values).astype(np.float32)
    trial = Measurement(values, np.ones(window_shape, bool), None, 0)
    # The first iterations allocate and choose kernels; they are not counted.
    fit = replace(problem.fit, iterations=6, log_period=2)
    stopping = replace(problem.stopping, rule="fixed")
    [result] = fit_batch([trial], replace(problem, fit=fit, stopping=stopping))
    return (result.log[-1].seconds - result.log[0].seconds) / 4
