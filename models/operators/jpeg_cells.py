"""The set of images that would have given the same JPEG: an interval for each coefficient of each block."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from glassplate.models.operators.jpeg import (
    block_cosine_matrix,
    box_mean,
    join_blocks,
    rgb_to_ycbcr,
    split_blocks,
    ycbcr_to_rgb,
)
from glassplate.models.operators.quantisation import BLOCK, Quantisation

# Iterations that invert the decoder's interpolation. Each leaves a third of the error; what is left after the
# last is far below the rounding to 8 bits.
INVERSION_STEPS = 10


class QuantisationCells:
    """The intervals, called cells, in which a JPEG says that its coefficients lie.

    A coder stores, for each coefficient of the discrete cosine transform, the nearest multiple of its step.
    Any image whose coefficients all lie within half a step of these multiples would have given the same
    file, and the original is one of them. So an estimate that is projected onto these images comes nearer to
    the original. A block has no cells if the border of the window cuts it or one of its pixels is invalid.

    Parameters
    ----------
    quantisation
        Steps and sampling of the JPEG.
    y
        (1, C, h, w), the decoded pixels of the JPEG, 0 to 255.
    valid
        (1, C, h, w) bool.
    origin
        Row and column of the window in the image, where blocks begin at multiples of 8 samples.
    """

    def __init__(
        self,
        quantisation: Quantisation,
        y: torch.Tensor,
        valid: torch.Tensor,
        origin: tuple[int, int],
    ) -> None:
        known = valid.all(1, keepdim=True).expand_as(y).to(y.dtype)
        components = rgb_to_ycbcr(y)
        self.grids = [
            BlockGrid(quantisation.sampling if number else (1, 1), origin)
            for number in range(y.shape[1])
        ]
        self.bounds = [
            coefficient_bounds(grid, table, components[:, n : n + 1], known[:, n : n + 1])
            for n, (grid, table) in enumerate(zip(self.grids, quantisation.tables, strict=True))
        ]

    def project(self, x: torch.Tensor) -> torch.Tensor:
        """Find the nearest image to (1, C, h, w) whose coefficients all lie in their cells.

        Nearest in each component by itself. Where colours were sampled at every second pixel, all pixels of
        a sample change by the same amount.
        """
        components = rgb_to_ycbcr(x).clone()
        for n, (grid, (lowest, highest)) in enumerate(zip(self.grids, self.bounds, strict=True)):
            plane = components[:, n : n + 1]
            c = grid.coefficients(grid.samples(plane))  # (blocks, 8, 8)
            plane += grid.pixels(torch.minimum(torch.maximum(c, lowest), highest) - c, plane)
        return ycbcr_to_rgb(components)


def coefficient_bounds(
    grid: BlockGrid, table: tuple[int, ...], plane: torch.Tensor, known: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Least and greatest value of each coefficient, each (blocks, 8, 8); infinite where a block has no cells.

    They are found from the decoded pixels, whose coefficients are near multiples of the steps. A cell is
    wider than a step by twice the distance of the coefficient to its multiple. This distance comes from the
    rounding of red, green and blue to 8 bits, and is much larger where the decoder had to clip.

    Parameters
    ----------
    grid
        Blocks of the component.
    table
        Steps of the component.
    plane, known
        (1, 1, h, w): its pixels, and 1 where they are valid, else 0.
    """
    step = torch.tensor(table).to(plane).view(BLOCK, BLOCK)
    found = grid.coefficients(stored_samples(grid.samples(plane), grid.sampling))
    middle = step * torch.round(found / step)
    half = step / 2 + (found - middle).abs()
    whole = grid.blocks(grid.samples(known)).flatten(1).amin(1) == 1  # (blocks,)
    half = torch.where(whole.view(-1, 1, 1), half, torch.inf)
    return middle - half, middle + half


@dataclass(frozen=True)
class BlockGrid:
    """Where the samples and blocks of one component lie in a window."""

    sampling: tuple[int, int]
    """Pixels for each sample, ``(y, x)``."""
    origin: tuple[int, int]
    """Row and column of the window in the image."""

    @property
    def skipped(self) -> tuple[int, int]:
        """Rows and columns of pixels before the first whole sample of the window."""
        down, right = (-at % n for at, n in zip(self.origin, self.sampling, strict=True))
        return down, right

    @property
    def start(self) -> tuple[int, int]:
        """Rows and columns of samples before the first whole block."""
        down, right = (
            -((at + skipped) // n) % BLOCK
            for at, skipped, n in zip(self.origin, self.skipped, self.sampling, strict=True)
        )
        return down, right

    def samples(self, plane: torch.Tensor) -> torch.Tensor:
        """Mean of the pixels of each whole sample, as libjpeg's coder computes it; (1, 1, h', w')."""
        top, left = self.skipped
        return box_mean(plane[..., top:, left:], self.sampling)

    def blocks(self, samples: torch.Tensor) -> torch.Tensor:
        """Whole blocks of (1, 1, h', w'), (blocks, 8, 8)."""
        top, left = self.start
        return split_blocks(samples[0, 0, top:, left:])

    def coefficients(self, samples: torch.Tensor) -> torch.Tensor:
        """Discrete cosine transform of the whole blocks, (blocks, 8, 8)."""
        basis = block_cosine_matrix(samples)
        return basis @ self.blocks(samples) @ basis.T

    def pixels(self, coefficients: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Pixels with these coefficients, (1, 1, h, w) as `like`; 0 outside whole blocks.

        This is the adjoint of `samples`, scaled so that `samples` of the result gives the samples back.
        """
        basis = block_cosine_matrix(like)
        blocks = basis.T @ coefficients @ basis
        (down, right), (skip_y, skip_x), (y, x) = self.sampling, self.skipped, self.start
        h, w = (
            (n - skip) // m
            for n, skip, m in zip(like.shape[-2:], self.skipped, self.sampling, strict=True)
        )
        h, w = (max(n - at, 0) // BLOCK * BLOCK for n, at in ((h, y), (w, x)))
        inside = join_blocks(blocks, (h, w)).repeat_interleave(down, -2)
        inside = inside.repeat_interleave(right, -1)
        top, left = skip_y + y * down, skip_x + x * right
        whole = torch.zeros_like(like)
        whole[..., top : top + h * down, left : left + w * right] = inside
        return whole


def stored_samples(means: torch.Tensor, sampling: tuple[int, int]) -> torch.Tensor:
    """Recover the samples in the file from the means of the decoder's interpolation; (1, 1, h', w').

    libjpeg interpolates by triangles: ``3/4`` of the nearer sample and ``1/4`` of the other, at the border
    the nearer alone. The mean over a sample's two pixels is then ``3/4 c + 1/8 (before + after)`` along an
    axis. The eigenvalues of this are 1/2 to 1, so that a simple iteration inverts it.
    """
    for axis, factor in zip((-2, -1), sampling, strict=True):
        if factor == 1 or means.shape[axis] == 0:
            continue
        samples = means
        for _ in range(INVERSION_STEPS):
            samples = samples + 4 / 3 * (means - interpolated_mean(samples, axis))
        means = samples
    return means


def interpolated_mean(samples: torch.Tensor, axis: int) -> torch.Tensor:
    """``3/4 c + 1/8 (before + after)`` along an axis, the border's samples repeated."""
    n = samples.shape[axis]
    before = torch.cat([samples.narrow(axis, 0, 1), samples.narrow(axis, 0, n - 1)], axis)
    after = torch.cat([samples.narrow(axis, 1, n - 1), samples.narrow(axis, n - 1, 1)], axis)
    return 0.75 * samples + 0.125 * (before + after)
