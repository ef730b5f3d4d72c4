"""The loop: fit a batch of tiles, average, log, stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from glassplate.models.inputs import BlindSpot, Input, NoiseCode, Scene, fill, split
from glassplate.models.losses import chi2, masked_mean, weighted_squares, whiteness
from glassplate.models.networks import NetworkSettings, make_network, padded_size
from glassplate.models.noise import NoiseModel
from glassplate.models.numerics import Numerics
from glassplate.models.operators import Operator
from glassplate.models.posterior import posterior_mean
from glassplate.models.stopping import StoppingSettings, decide
from glassplate.models.transform import PixelTransform

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

# Factor on the learning rate when a fit that ran to infinity starts again.
CAUTION = 0.1


@dataclass(frozen=True)
class FitSettings:
    """How a prior network is fitted to a tile."""

    __pydantic_config__ = {"extra": "forbid"}

    input: Literal["auto", "blindspot", "noise"] = "auto"
    """blindspot: the measurement with random pixels dropped; noise: the paper's fixed random code."""
    iterations: int = 1000
    """Cap on optimiser steps."""
    learning_rate: float = 0.01
    """Adam's step size."""
    drop: float = 0.3
    """Share of pixels dropped at each iteration (blindspot)."""
    input_depth: int = 32
    """Channels of the random code (noise)."""
    input_noise: float = 0.0333
    """Standard deviation of the noise added to the code at each iteration (noise)."""
    average: float = 0.99
    """Decay of the exponential average of the outputs, which is the answer."""
    posterior: bool = True
    """Give back each pixel's own measurement by Bayes' rule (blindspot)."""
    posterior_radius: float = 3.0
    """Gaussian radius, in pixels, over which the prior's variance is averaged (posterior)."""
    log_period: int = 25
    """Iterations between records of the log."""


@dataclass(frozen=True)
class Measurement:
    """One tile's window as it was measured."""

    values: FloatArray
    """(c, h, w) float32, source units; 0 where not valid."""
    valid: BoolArray
    """(c, h, w) bool, True means trust the pixel."""
    variance: FloatArray | None
    """(c, h, w) float32, squared source units, where the source has it per pixel."""
    seed: int
    """Everything random in the fit derives from it."""


@dataclass(frozen=True)
class Problem:
    """What all tiles of an image share."""

    network: NetworkSettings
    fit: FitSettings
    stopping: StoppingSettings
    operator: Operator
    transform: PixelTransform
    noise: NoiseModel
    numerics: Numerics


@dataclass(frozen=True)
class Record:
    """One line of the iteration log; the fields are declared here and nowhere else."""

    iteration: int
    """Optimiser steps so far."""
    data_term: float
    """Mean data term of the iterations since the last record, squared units of the transform."""
    heldout_loss: float
    """Weighted squares of the average on held-out pixels, same units; NaN where none are held out."""
    chi2: float
    """Mean squared residual of the average over the noise variance; NaN where there is no noise."""
    seconds: float
    """Since the fit of this tile began."""


@dataclass(frozen=True)
class Restoration:
    """What one fit gave."""

    values: FloatArray
    """(c, h scale, w scale) float32, source units, finite everywhere, invalid pixels included."""
    log: tuple[Record, ...]
    iterations: int
    """Optimiser steps taken."""
    best_iteration: int
    """Step whose average is the answer."""
    stop_reason: str
    """"held-out minimum", "iteration cap" or "no valid pixels"."""
    heldout_loss: float
    chi2: float
    """As in `Record`, of the average that is the answer, before the posterior step."""
    whiteness: float
    """Lag-1 autocorrelation of that average's residual in units of the noise; 0 when only white noise
    was removed."""
    seconds: float


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
    window = _Window(measurement, problem)
    source = window.input()
    network = make_network(problem.network, source.channels, window.channels, window.dice)
    network = network.to(numerics.device, memory_format=numerics.layout)
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


class _Window:
    """One window's measurement on the device, and every question that the loop asks of it."""

    def __init__(self, measurement: Measurement, problem: Problem) -> None:
        self.problem = problem
        device = problem.numerics.device
        self.dice = torch.Generator().manual_seed(measurement.seed)
        seed = int(torch.randint(2**62, (), generator=self.dice))
        self.draws = torch.Generator(device).manual_seed(seed)
        valid = torch.from_numpy(measurement.valid)[None].to(device)  # (1, C, h, w)
        values = torch.from_numpy(measurement.values)[None].to(device)
        self.y = torch.where(valid, values, problem.transform.offset)
        self.channels = self.y.shape[1]
        share = problem.stopping.heldout if problem.stopping.rule == "heldout" else 0.0
        self.parts = split(valid, share, problem.noise.correlated, self.dice)
        # What a pixel's neighbours say of it: a level that does not know the pixel's own noise.
        self.painted = problem.transform.forward(self.y)  # (1, C, h, w), the network's domain
        level = problem.transform.inverse(fill(self.painted, self.parts.usable))
        self.precision = torch.ones_like(self.y)
        self.variance: torch.Tensor | None = None
        if measurement.variance is not None:
            self.variance = torch.from_numpy(measurement.variance)[None].to(device)
            self.precision = _relative_precision(self.variance, valid)
        self.judging = self.precision * problem.transform.derivative(level).square()

    def input(self) -> Input:
        """The input that the settings ask for."""
        fit, scale = self.problem.fit, self.problem.operator.scale
        h, w = self.y.shape[-2:]
        size = padded_size(self.problem.network, h * scale, w * scale)
        scene = Scene(self.painted, self.parts, scale, size, self.draws)
        if resolved_input(self.problem) == "noise":
            return NoiseCode(scene, fit.input_depth, fit.input_noise)
        return BlindSpot(scene, fit.drop, self.problem.noise.correlated)

    def estimate(self, u: torch.Tensor) -> torch.Tensor:
        """The network's output (1, C, H', W') in source units, without its padding: (1, C, H, W)."""
        scale = self.problem.operator.scale
        h, w = self.y.shape[-2:]
        return self.problem.transform.inverse(u[..., : h * scale, : w * scale])

    def data_term(self, x: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
        """Weighted squares in source units; see docs/design/003-data-term.md for the weight."""
        seen = self.problem.operator.forward(x)  # (1, C, h, w)
        slope = self.problem.transform.derivative(seen.detach())
        return weighted_squares(seen, self.y, self.precision * slope.square() * asked)

    def judge(self, mean: torch.Tensor) -> tuple[float, float]:
        """Held-out loss and chi2 of an average."""
        seen = self.problem.operator.forward(mean)
        squares = self.judging * (seen - self.y).square()
        heldout_loss = masked_mean(squares, self.parts.heldout)
        surprise = chi2(seen, self.y, self.noise(seen), self.parts.valid)
        return float(heldout_loss), float(surprise)

    def noise(self, seen: torch.Tensor) -> torch.Tensor:
        """Variance of the measurement's noise, (1, C, h, w), given an estimate of it."""
        if self.variance is not None:
            return self.variance
        variance: torch.Tensor = self.problem.noise.variance(seen)
        return variance

    def whiteness(self, mean: torch.Tensor) -> float:
        """Lag-1 autocorrelation of an average's residual."""
        seen = self.problem.operator.forward(mean)
        variance = self.noise(seen)
        sigma = torch.where(variance > 0, variance, 1).sqrt()
        return float(whiteness((self.y - seen) / sigma, self.parts.valid))

    def answer(self, mean: torch.Tensor) -> FloatArray:
        """The restoration's values, (c, H, W)."""
        fit, operator = self.problem.fit, self.problem.operator
        blind = resolved_input(self.problem) == "blindspot"
        if fit.posterior and blind and operator.scale == 1:
            mean = posterior_mean(
                mean, self.y, self.noise(mean), self.parts.valid, fit.posterior_radius
            )
        values: FloatArray = mean[0].float().cpu().numpy()
        return values


def resolved_input(problem: Problem) -> Literal["blindspot", "noise"]:
    """Which input `auto` means for this problem."""
    if problem.fit.input != "auto":
        return problem.fit.input
    return "blindspot" if problem.operator.scale == 1 else "noise"


def _relative_precision(variance: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Median variance over variance, at most 10, so that no pixel rules the fit; (1, C, h, w)."""
    noisy = valid & (variance > 0)
    if not noisy.any():
        return torch.ones_like(variance)
    ratio = variance[noisy].median() / torch.where(noisy, variance, 1)
    return torch.where(noisy, ratio.clamp(max=10.0), 1.0)


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


def projected_bytes(problem: Problem, window_shape: tuple[int, int, int], count: int) -> int:
    """Memory that one call of `fit_batch` takes beyond the bare process, from above.

    Parameters
    ----------
    problem
        What would be fitted.
    window_shape
        ``(c, h, w)`` of the largest window, in pixels of the measurement.
    count
        Windows of the batch; they are fitted one after another, so only their pixels add up.
    """
    c, h, w = window_shape
    s = problem.operator.scale
    pixels = h * w * s * s
    multiple = 2 ** (problem.network.scales + 1)
    padded = math.prod(-(-n * s // multiple) * multiple for n in (h, w))
    wide, skip = problem.network.channels, problem.network.skip_channels
    bytes_each = 2 if problem.numerics.precision == "bf16" else 4
    features = 12 * (wide + skip) * bytes_each * padded * 4 // 3
    maps = 24 * c * 4 * pixels + 4 * problem.fit.input_depth * 4 * pixels
    return features + maps + 2 * count * c * pixels * 8 + (64 << 20)


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
