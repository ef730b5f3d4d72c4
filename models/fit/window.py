"""One window's measurement on the device, prepared for its fit."""

from __future__ import annotations

import numpy as np
import torch

from glassplate.models.filters import neighbour_mean
from glassplate.models.fit.inputs import BlindSpot, Input, NoiseCode, Scene, Whole, split_pixels
from glassplate.models.fit.jpeg_inputs import Requantised
from glassplate.models.fit.objective import Objective
from glassplate.models.fit.penalties import NoPenalty, Penalty, TotalVariation
from glassplate.models.fit.problem import BoolArray, FloatArray, Measurement, Problem
from glassplate.models.fit.score import Score
from glassplate.models.networks.make import input_size
from glassplate.models.stacked_state import RandomGenerators


class Window:
    """One window's measurement on the device: its pixel weights, objective, score and input.

    Parameters
    ----------
    measurement
        The window as it was measured.
    problem
        How it is fitted.
    """

    def __init__(self, measurement: Measurement, problem: Problem) -> None:
        self.problem, self.origin = problem, measurement.origin
        device = problem.numerics.device
        # on the CPU: draws the weights, the split, and what is decided before an iteration begins
        self.generator = torch.Generator().manual_seed(measurement.seed)
        seed = int(torch.randint(2**62, (), generator=self.generator))
        # on the device: draws what an iteration needs for each pixel
        self.device_generator = torch.Generator(device).manual_seed(seed)
        valid = _tensor(measurement.valid, device)  # (1, C, h, w)
        values = _tensor(measurement.values, device)
        self.y = torch.where(valid, values, problem.transform.offset)
        self.channels = self.y.shape[1]
        share = problem.stopping.heldout if problem.stopping.rule == "heldout" else 0.0
        self.split = split_pixels(valid, share, problem.noise.correlated, self.generator)
        self.guide: torch.Tensor | None = None
        if measurement.guide is not None:
            self.guide = _tensor(measurement.guide, device)  # (1, g, h, w)
        self.transformed = problem.transform.forward(self.y)  # (1, C, h, w), the network's domain
        # The level is what a pixel's neighbours say. If it knew the pixel's own noise, the weights would
        # follow the noise and the flux would be biased.
        level = problem.transform.inverse(neighbour_mean(self.transformed, self.split.usable))
        slope = problem.transform.derivative(level)  # (1, C, h, w)
        precision = torch.ones_like(self.y)
        self.variance: torch.Tensor | None = None
        if measurement.variance is not None:
            self.variance = _tensor(measurement.variance, device)
            precision = _relative_precision(self.variance, valid)
        exposure: torch.Tensor | None = None
        if measurement.validation_exposure is not None:
            exposure = _tensor(measurement.validation_exposure, device)
        moments = _moments(self.transformed, self.split.usable)
        penalty = self._penalty(level, precision, slope)
        self.objective = Objective(problem, self.y, precision, slope, moments, penalty)
        self.score = Score(self.objective, valid, self.split.heldout, self.variance, exposure)

    def input(self) -> Input:
        """Make the input that the settings ask for."""
        fit, operator = self.problem.fit, self.problem.operator
        h, w = self.y.shape[-2:]
        network = self.problem.network
        scene = Scene(
            values=self.transformed,
            split=self.split,
            scale=operator.scale,
            size=input_size(network, h * operator.scale, w * operator.scale),
            mixes=operator.mixes,
            device_generators=RandomGenerators([self.device_generator]),
            guide=self.guide,
        )
        generators = RandomGenerators([self.generator])
        if self.problem.input == "noise":
            fresh_noise = 0.0 if network.kind == "decoder" else fit.input_noise
            return NoiseCode(scene, fit.input_depth, fresh_noise)
        if self.problem.input == "measurement":
            return Whole(scene)
        if self.problem.input == "requantised" and self.problem.quantisation is not None:
            return Requantised(scene, self.problem.quantisation, self.problem.transform, generators)
        correlated = self.problem.noise.correlated
        return BlindSpot(scene, fit.drop, correlated, generators if fit.holes else None)

    def _penalty(
        self, level: torch.Tensor, precision: torch.Tensor, slope: torch.Tensor
    ) -> Penalty:
        """Make the penalty that the settings ask for. All are (1, C, h, w), `level` in source units."""
        fit, scale = self.problem.fit, self.problem.operator.scale
        if fit.tv == 0:
            return NoPenalty()
        given = self.variance
        variance = self.problem.noise.pixel_variance(level) if given is None else given
        noisy = self.split.valid & (variance > 0)
        sigma = torch.where(noisy, variance, 0).sqrt() * slope  # (1, C, h, w)
        # holes are painted as smooth as pixels with noise
        typical = sigma[noisy].median() if noisy.any() else torch.zeros_like(sigma[0, 0, 0, 0])
        sigma = torch.where(noisy, sigma, typical)
        return TotalVariation(fit.tv, sigma, precision, self.problem.transform, scale)


def _tensor(array: FloatArray | BoolArray, device: str) -> torch.Tensor:
    """An array (c, h, w) on the device, (1, c, h, w).

    In rows, one after the other, whatever its order in memory: torch sums in that order, and a reader's
    pixels have another one than those that were sent to another process.
    """
    return torch.from_numpy(np.ascontiguousarray(array))[None].to(device)


def _relative_precision(variance: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Median variance over variance, at most 10, so that no pixel rules the fit; (1, C, h, w)."""
    noisy = valid & (variance > 0)
    if not noisy.any():
        return torch.ones_like(variance)
    ratio = variance[noisy].median() / torch.where(noisy, variance, 1)
    return torch.where(noisy, ratio.clamp(max=10.0), 1.0)


def _moments(values: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each channel where `mask`; two (1, C, 1, 1), 0 where it is empty."""
    n = mask.sum((-2, -1), keepdim=True).clamp(min=1)
    mean = torch.where(mask, values, 0).sum((-2, -1), keepdim=True) / n
    variance = torch.where(mask, values - mean, 0).square().sum((-2, -1), keepdim=True) / n
    return mean, variance.sqrt()
