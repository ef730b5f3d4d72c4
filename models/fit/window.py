"""One window's measurement on the device, and every question that a fit asks of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from glassplate.models.batching.slots import Dice
from glassplate.models.estimate.faint_sources import left_over
from glassplate.models.estimate.hole_edges import membrane
from glassplate.models.estimate.posterior import (
    posterior_mean,
    posterior_through,
    posterior_variance,
)
from glassplate.models.estimate.similar_blocks import Filtered, collaborative_wiener
from glassplate.models.filters import neighbour_mean
from glassplate.models.fit.inputs import BlindSpot, Input, NoiseCode, Scene, Whole, split
from glassplate.models.fit.jpeg_inputs import Requantised
from glassplate.models.fit.losses import masked_mean, whiteness
from glassplate.models.fit.objective import Objective
from glassplate.models.fit.penalties import NoPenalty, Penalty, TotalVariation
from glassplate.models.fit.problem import FloatArray, Measurement, Problem
from glassplate.models.fit.score import Judge
from glassplate.models.networks.make import input_size
from glassplate.models.operators.jpeg_cells import QuantisationCells

# Bound of a ratio that a few hundred held-out pixels tell.
MOST_OPTIMISM = 10.0
# Times the bound of Huber's loss from which a pixel is no measurement of the scene: with the usual 1.5,
# 4.5 typical residuals.
DISBELIEF = 3.0
# Factor on the variance of the noise that the collaborative filter says it left, for what its pilot had lost:
# with it 0.70 to 0.79 of the errors lie within one standard deviation, and 0.92 to 0.98 within two (F16,
# house, lena, kodak3; 256x256, sigma 25; 2.4, 2.8, 1.5 and 3.5 fit their mean squares).
LEFT = 2.5
# Quanta that a pixel must have at least for its noise to be near enough to normal for the guard.
QUANTA = 2.0


class Answer(NamedTuple):
    """What a window's restoration is."""

    values: FloatArray
    """(c, H, W) float32, source units."""
    guarded: int
    """Valid pixels that the guard on faint sources gave back."""


class Window:
    """One window's measurement on the device, and every question that a fit asks of it."""

    def __init__(self, measurement: Measurement, problem: Problem) -> None:
        self.problem, self.origin = problem, measurement.origin
        device = problem.numerics.device
        self.dice = torch.Generator().manual_seed(measurement.seed)
        seed = int(torch.randint(2**62, (), generator=self.dice))
        self.draws = Dice([torch.Generator(device).manual_seed(seed)])
        valid = torch.from_numpy(measurement.valid)[None].to(device)  # (1, C, h, w)
        values = torch.from_numpy(measurement.values)[None].to(device)
        self.y = torch.where(valid, values, problem.transform.offset)
        self.channels = self.y.shape[1]
        share = problem.stopping.heldout if problem.stopping.rule == "heldout" else 0.0
        self.parts = split(valid, share, problem.noise.correlated, self.dice)
        self.guide: torch.Tensor | None = None
        if measurement.guide is not None:
            self.guide = torch.from_numpy(measurement.guide)[None].to(device)  # (1, g, h, w)
        self.painted = problem.transform.forward(self.y)  # (1, C, h, w), the network's domain
        # What a pixel's neighbours say of it: a level that does not know the pixel's own noise, without
        # which the weights would follow the noise and the flux be biased.
        level = problem.transform.inverse(neighbour_mean(self.painted, self.parts.usable))
        slope = problem.transform.derivative(level)  # (1, C, h, w)
        precision = torch.ones_like(self.y)
        self.variance: torch.Tensor | None = None
        if measurement.variance is not None:
            self.variance = torch.from_numpy(measurement.variance)[None].to(device)
            precision = _relative_precision(self.variance, valid)
        witness: torch.Tensor | None = None
        if measurement.witness is not None:
            witness = torch.from_numpy(measurement.witness)[None].to(device)  # (1, C, h, w)
        moments = _moments(self.painted, self.parts.usable)
        penalty = self._penalty(level, precision, slope)
        self.objective = Objective(problem, self.y, precision, slope, moments, penalty)
        self.judge = Judge(self.objective, valid, self.parts.heldout, self.variance, witness)

    def input(self) -> Input:
        """The input that the settings ask for."""
        fit, operator = self.problem.fit, self.problem.operator
        scale = operator.scale
        h, w = self.y.shape[-2:]
        network = self.problem.network
        size = input_size(network, h * scale, w * scale)
        scene = Scene(self.painted, self.parts, scale, size, operator.mixes, self.draws, self.guide)
        dice = Dice([self.dice])
        if self.problem.input == "noise":
            fresh = 0.0 if network.kind == "decoder" else fit.input_noise
            return NoiseCode(scene, fit.input_depth, fresh)
        if self.problem.input == "measurement":
            return Whole(scene)
        if self.problem.input == "requantised" and self.problem.quantisation is not None:
            return Requantised(scene, self.problem.quantisation, self.problem.transform, dice)
        correlated = self.problem.noise.correlated
        return BlindSpot(scene, fit.drop, correlated, dice if fit.holes else None)

    def _penalty(
        self, level: torch.Tensor, precision: torch.Tensor, slope: torch.Tensor
    ) -> Penalty:
        """The penalty that the settings ask for, of what an `Objective` takes; `level` in source units."""
        fit, scale = self.problem.fit, self.problem.operator.scale
        if fit.tv == 0:
            return NoPenalty()
        known = self.variance
        variance = self.problem.noise.variance(level) if known is None else known
        noisy = self.parts.valid & (variance > 0)
        sigma = torch.where(noisy, variance, 0).sqrt() * slope  # (1, C, h, w)
        # a hole is painted as smooth as what has noise
        typical = sigma[noisy].median() if noisy.any() else torch.zeros_like(sigma[0, 0, 0, 0])
        sigma = torch.where(noisy, sigma, typical)
        return TotalVariation(fit.tv, sigma, precision, self.problem.transform, scale)

    def whiteness(self, mean: torch.Tensor) -> float:
        """Lag-1 autocorrelation of an average's residual."""
        seen = self.problem.operator.forward(mean)
        variance = self.judge.noise(seen)
        sigma = torch.where(variance > 0, variance, 1).sqrt()
        return float(whiteness((self.y - seen) / sigma, self.parts.valid))

    def answer(self, mean: torch.Tensor, alike: Filtered | None) -> Answer:
        """The restoration's values from an average, (1, C, H, W), and what `filtered` made of it."""
        if self.problem.operator.mixes:
            return Answer(self._reconciled(mean)[0].float().cpu().numpy(), 0)
        mean = self._combined(mean, alike)
        if self.problem.quantisation is not None:
            cells = QuantisationCells(
                self.problem.quantisation, self.y, self.parts.valid, self.origin
            )
            mean = cells.project(mean)
        faint = self._faint(mean)
        values = torch.where(faint, self.y, mean)
        return Answer(values[0].float().cpu().numpy(), int(faint.sum()))

    def _reconciled(self, mean: torch.Tensor) -> torch.Tensor:
        """What the measurement of mixed pixels still says beside the average."""
        if not self.problem.fit.posterior:
            return mean
        operator = self.problem.operator
        noise = self.judge.noise(operator.forward(mean))
        return posterior_through(operator, mean, self.y, noise, self._believed(mean))

    def _combined(self, mean: torch.Tensor, alike: Filtered | None) -> torch.Tensor:
        """What the average and the measurement say together.

        What the measurement changes on the border of holes is carried into them.
        """
        combined = self._with_measurement(mean) if alike is None else alike.values
        valid = self.parts.valid
        if valid.all() or combined is mean:
            return combined
        # so that what is filled meets what surrounds it without a seam
        return torch.where(valid, combined, mean + membrane(combined - mean, valid))

    def _with_measurement(self, mean: torch.Tensor) -> torch.Tensor:
        """Each pixel's own measurement given back by Bayes' rule, where the input was blind to it."""
        fit = self.problem.fit
        if not (fit.posterior and self.problem.input == "blindspot"):
            return mean
        believed, noise = self._believed(mean), self.judge.noise(mean)
        radius, doubt = fit.posterior_radius, fit.posterior_doubt
        return posterior_mean(mean, self.y, noise, believed, radius, doubt)

    def to_be_filtered(self, mean: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Pilot, measurement, its noise and what is believed of it, each (1, C, h, w), for an average."""
        pilot = self._with_measurement(mean)
        return pilot, self.y, self.judge.noise(pilot), self._believed(mean)

    def _believed(self, mean: torch.Tensor) -> torch.Tensor:
        """Valid pixels that are no outliers, (1, C, h, w) bool."""
        valid = self.parts.valid
        if self.problem.fit.robust is None:
            return valid
        pull = self.objective.pull(self.problem.operator.forward(mean), valid)
        return valid & (pull > 1 / DISBELIEF)

    def _faint(self, answer: torch.Tensor) -> torch.Tensor:
        """Pixels of faint sources that the answer has lost, (1, C, h, w) bool."""
        fit, valid = self.problem.fit, self.parts.valid
        if fit.guard is None:
            return torch.zeros_like(valid)
        variance = self.judge.noise(answer)
        # where a single photon stands out no peak means anything
        normal = valid & (variance > 0) & (variance >= QUANTA * self.problem.noise.slope**2)
        sigma = torch.where(normal, variance, 1).sqrt()
        return left_over(self.y - answer, sigma, normal, fit.guard)

    def uncertainty(self, means: torch.Tensor, alike: Filtered | None) -> FloatArray:
        """Standard deviation of the answer's error, (c, H, W).

        Takes the averages of all members, (members, 1, C, H, W), and what `filtered` made of their mean.
        Where the input is blind, the residual tells it; else only how far two or more members differ.
        """
        fit, operator = self.problem.fit, self.problem.operator
        mean = means.mean(0)
        if self.problem.input == "blindspot" and not operator.mixes:
            variance = posterior_variance(
                mean,
                self.y,
                self.judge.noise(mean),
                self._believed(mean),
                fit.posterior_radius,
                fit.posterior,
                self._optimism(means[0]),
            )
            if alike is not None:
                # no more than the measurement's own: a block alone was not filtered at all
                left = torch.minimum(LEFT * alike.variance, self.judge.noise(mean))
                variance = torch.where(self.parts.valid, left, variance)
        else:
            variance = means.var(0) / len(means)
        values: FloatArray = variance.sqrt()[0].float().cpu().numpy()
        return values

    def _optimism(self, mean: torch.Tensor) -> float:
        """How much larger squared errors are than residuals tell, 1 to `MOST_OPTIMISM`.

        The fit was asked about the pixels of which the residual is taken, over and over, and never about
        those held out. The average must be that of the fit which held these out.
        """
        squares = (self.y - mean).square() / self.judge.noise(mean).clamp(
            min=torch.finfo(mean.dtype).tiny
        )
        asked = float(masked_mean(squares, self.parts.usable)) - 1
        never = float(masked_mean(squares, self.parts.heldout)) - 1
        return min(max(never / asked, 1.0), MOST_OPTIMISM) if asked > 0 and never > 0 else 1.0


def filtered(windows: Sequence[Window], means: Sequence[torch.Tensor]) -> list[Filtered | None]:
    """Averages of windows of one shape, (1, C, h, w), once more by blocks that look alike in them.

    All at once, since a device would otherwise start as many kernels for each; None where it is not asked
    for.
    """
    problem = windows[0].problem
    if not problem.fit.collaborative or problem.operator.mixes:
        return [None] * len(windows)
    each = [window.to_be_filtered(mean) for window, mean in zip(windows, means, strict=True)]
    lag1 = problem.noise.lag1 if problem.noise.correlated else 0.0
    pilots, measured, noise, believed = (torch.cat(planes) for planes in zip(*each, strict=True))
    whole = collaborative_wiener(pilots, measured, noise, believed, lag1)
    parts = (torch.split(planes, 1) for planes in whole)
    return [Filtered(*planes) for planes in zip(*parts, strict=True)]


def _relative_precision(variance: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Median variance over variance, at most 10, so that no pixel rules the fit; (1, C, h, w)."""
    noisy = valid & (variance > 0)
    if not noisy.any():
        return torch.ones_like(variance)
    ratio = variance[noisy].median() / torch.where(noisy, variance, 1)
    return torch.where(noisy, ratio.clamp(max=10.0), 1.0)


def _moments(values: torch.Tensor, counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each channel where `counts`; two (1, C, 1, 1), 0 where nowhere."""
    n = counts.sum((-2, -1), keepdim=True).clamp(min=1)
    mean = torch.where(counts, values, 0).sum((-2, -1), keepdim=True) / n
    variance = torch.where(counts, values - mean, 0).square().sum((-2, -1), keepdim=True) / n
    return mean, variance.sqrt()
