"""What a JPEG says of the image that it was made from: a cell for each coefficient, and no value."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

from glassplate.models.spectra import cosines

# Side of a JPEG's block, samples.
BLOCK = 8
# The Independent JPEG Group's tables of quality 50, which are those of annex K of ITU-T T.81, row by row.
LUMA = (
    *(16, 11, 10, 16, 24, 40, 51, 61),
    *(12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56),
    *(14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77),
    *(24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101),
    *(72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMA = (
    *(17, 18, 24, 47, 99, 99, 99, 99),
    *(18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99),
    *(47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 32),
)
# Steps of the iteration that undoes the decoder's interpolation: each leaves a third of the error, and
# the last less than the rounding of 8 bits by far.
UNDOING = 10


@dataclass(frozen=True)
class Quantisation:
    """How a JPEG rounded: the steps of each component, and how sparsely colour was sampled."""

    tables: tuple[tuple[int, ...], ...]
    """64 steps, row by row, for each component: one for a grey image, else Y, Cb and Cr."""
    sampling: tuple[int, int] = (1, 1)
    """Pixels for each sample of Cb and Cr, ``(y, x)``: 1 or 2."""

    def __post_init__(self) -> None:
        if len(self.tables) not in (1, 3) or any(len(table) != BLOCK**2 for table in self.tables):
            raise ValueError("quantisation: must have 1 or 3 tables of 64 steps")
        if min(map(min, self.tables)) < 1:
            raise ValueError("quantisation: a step is 0, must be at least 1")
        if not all(factor in (1, 2) for factor in self.sampling):
            raise ValueError(f"quantisation: sampling is {self.sampling}, must be 1 or 2 pixels")


def of_quality(quality: int, channels: int, sampling: tuple[int, int]) -> Quantisation:
    """What libjpeg takes for a quality of 1 to 100: the standard tables, scaled (jcparam.c).

    Parameters
    ----------
    quality
        As it was asked for when the image was saved.
    channels
        1 or 3.
    sampling
        Pixels for each sample of Cb and Cr, ``(y, x)``.
    """
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    luma, chroma = (
        tuple(min(max((step * scale + 50) // 100, 1), 255) for step in table)
        for table in (LUMA, CHROMA)
    )
    return Quantisation((luma, chroma, chroma)[:channels], sampling if channels == 3 else (1, 1))


def to_components(x: torch.Tensor) -> torch.Tensor:
    """RGB to Y, Cb, Cr of JFIF, less 128 in Y, so that all are about 0; grey to grey less 128.

    `x` is (B, 1 or 3, h, w), 0 to 255; the result has the same shape.
    """
    if x.shape[1] == 1:
        return x - 128
    r, g, b = x.unbind(1)  # (B, h, w) each
    luma = 0.299 * r + 0.587 * g + 0.114 * b
    return torch.stack([luma - 128, (b - luma) / 1.772, (r - luma) / 1.402], 1)


def from_components(components: torch.Tensor) -> torch.Tensor:
    """The inverse of `to_components`; (B, 1 or 3, h, w)."""
    if components.shape[1] == 1:
        return components + 128
    luma, blue, red = components.unbind(1)  # (B, h, w) each
    luma = luma + 128
    r, b = luma + 1.402 * red, luma + 1.772 * blue
    return torch.stack([r, (luma - 0.299 * r - 0.114 * b) / 0.587, b], 1)


class Cells:
    """The cells in which a JPEG says that its coefficients lie.

    A coder keeps of each coefficient of the discrete cosine transform which multiple of its step is
    nearest. Any image of which every coefficient lies within half a step of its multiple would have given
    the same file, and the original is one of them: to bring an estimate into its cells brings it nearer to
    the original. Blocks that the border of the window cuts, or with an invalid pixel, have no cells.

    Parameters
    ----------
    quantisation
        Of the JPEG.
    y
        (1, C, h, w), the JPEG's own pixels, 0 to 255.
    valid
        (1, C, h, w) bool.
    origin
        Row and column of the window in the image: blocks begin at multiples of 8 samples there.
    """

    def __init__(
        self,
        quantisation: Quantisation,
        y: torch.Tensor,
        valid: torch.Tensor,
        origin: tuple[int, int],
    ) -> None:
        known = valid.all(1, keepdim=True).expand_as(y).to(y.dtype)
        components = to_components(y)
        self.grids = [
            Grid(quantisation.sampling if number else (1, 1), origin)
            for number in range(y.shape[1])
        ]
        self.bounds = [
            bounds(grid, table, components[:, n : n + 1], known[:, n : n + 1])
            for n, (grid, table) in enumerate(zip(self.grids, quantisation.tables, strict=True))
        ]

    def nearest(self, x: torch.Tensor) -> torch.Tensor:
        """The image nearest to (1, C, h, w) of which all coefficients lie in their cells.

        Nearest in each component by itself. Where colours were sampled at every second pixel, all pixels of
        a sample take the same step.
        """
        components = to_components(x).clone()
        for n, (grid, (lowest, highest)) in enumerate(zip(self.grids, self.bounds, strict=True)):
            plane = components[:, n : n + 1]
            c = grid.coefficients(grid.samples(plane))  # (blocks, 8, 8)
            plane += grid.pixels(torch.minimum(torch.maximum(c, lowest), highest) - c, plane)
        return from_components(components)


def bounds(
    grid: Grid, table: tuple[int, ...], plane: torch.Tensor, known: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Least and greatest of each coefficient, each (blocks, 8, 8); infinite where a block has none.

    Found in the decoded pixels, their coefficients being near multiples of the steps. Beyond half a step,
    cells are as much wider as the coefficient is off its multiple: by what 8 bits of red, green and blue did
    to it, and, where the decoder had to clip, much more.

    Parameters
    ----------
    grid
        Of the component.
    table
        Its steps.
    plane, known
        (1, 1, h, w): its pixels, and 1 where they are valid, else 0.
    """
    step = torch.tensor(table).to(plane).view(BLOCK, BLOCK)
    found = grid.coefficients(undone(grid.samples(plane), grid.sampling))
    middle = step * torch.round(found / step)
    half = step / 2 + (found - middle).abs()
    whole = grid.blocks(grid.samples(known)).flatten(1).amin(1) == 1  # (blocks,)
    half = torch.where(whole.view(-1, 1, 1), half, torch.inf)
    return middle - half, middle + half


@dataclass(frozen=True)
class Grid:
    """Where the samples and blocks of one component lie in a window."""

    sampling: tuple[int, int]
    """Pixels for each sample, ``(y, x)``."""
    origin: tuple[int, int]
    """Row and column of the window in the image."""

    @property
    def skipped(self) -> tuple[int, int]:
        """Rows and columns of the window before its first whole sample."""
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
        """Means of the pixels of each whole sample, as libjpeg's coder takes them; (1, 1, h', w')."""
        top, left = self.skipped
        return box_mean(plane[..., top:, left:], self.sampling)

    def blocks(self, samples: torch.Tensor) -> torch.Tensor:
        """Whole blocks of (1, 1, h', w'), (blocks, 8, 8)."""
        top, left = self.start
        return whole_blocks(samples[0, 0, top:, left:])

    def coefficients(self, samples: torch.Tensor) -> torch.Tensor:
        """Discrete cosine transform of the whole blocks, (blocks, 8, 8)."""
        basis = block_cosines(samples)
        return basis @ self.blocks(samples) @ basis.T

    def pixels(self, coefficients: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """What coefficients are in pixels, (1, 1, h, w) as `like`; 0 outside whole blocks.

        The adjoint of taking means, by as much as gives the same means again.
        """
        basis = block_cosines(like)
        blocks = basis.T @ coefficients @ basis
        (down, right), (skip_y, skip_x), (y, x) = self.sampling, self.skipped, self.start
        h, w = (
            (n - skip) // m
            for n, skip, m in zip(like.shape[-2:], self.skipped, self.sampling, strict=True)
        )
        h, w = (max(n - at, 0) // BLOCK * BLOCK for n, at in ((h, y), (w, x)))
        inside = joined_blocks(blocks, (h, w)).repeat_interleave(down, -2)
        inside = inside.repeat_interleave(right, -1)
        top, left = skip_y + y * down, skip_x + x * right
        whole = torch.zeros_like(like)
        whole[..., top : top + h * down, left : left + w * right] = inside
        return whole


def whole_blocks(planes: torch.Tensor) -> torch.Tensor:
    """Whole blocks of (..., h, w), row by row: (..., blocks, 8, 8); what is left over is dropped."""
    down, right = (n // BLOCK for n in planes.shape[-2:])
    inner = planes[..., : down * BLOCK, : right * BLOCK]
    inner = inner.reshape(*planes.shape[:-2], down, BLOCK, right, BLOCK)
    return inner.transpose(-3, -2).flatten(-4, -3)


def joined_blocks(blocks: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """The inverse of `whole_blocks` for planes of ``(h, w)``, multiples of 8."""
    down, right = (n // BLOCK for n in shape)
    apart = blocks.reshape(*blocks.shape[:-3], down, right, BLOCK, BLOCK).transpose(-3, -2)
    return apart.reshape(*blocks.shape[:-3], down * BLOCK, right * BLOCK)


def block_cosines(like: torch.Tensor) -> torch.Tensor:
    """Orthonormal cosine transform of the 8 samples of a block, (8, 8), type and device as `like`."""
    return _block_cosines(like.dtype, like.device)


# Kept where it is used: to be sent to a device at each iteration it would have to be waited for.
@lru_cache(maxsize=4)
def _block_cosines(dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(cosines(BLOCK)).to(device, dtype)


def box_mean(x: torch.Tensor, sampling: tuple[int, int]) -> torch.Tensor:
    """Mean over boxes of `sampling` pixels; what is left over is dropped."""
    down, right = sampling
    h, w = (n // m for n, m in zip(x.shape[-2:], sampling, strict=True))
    x = x[..., : h * down, : w * right]
    return x.reshape(*x.shape[:-2], h, down, w, right).mean((-3, -1))


def undone(means: torch.Tensor, sampling: tuple[int, int]) -> torch.Tensor:
    """The samples that were stored, from the means of what a decoder made of them; (1, 1, h', w').

    libjpeg interpolates by triangles, ``3/4`` of the nearer sample and ``1/4`` of the other; at the border
    the nearer alone. The mean over a sample's two pixels is then ``3/4 c + 1/8 (before + after)`` along an
    axis, of which the eigenvalues are 1/2 to 1, so that simple iterations undo it.
    """
    for axis, factor in zip((-2, -1), sampling, strict=True):
        if factor == 1 or means.shape[axis] == 0:
            continue
        samples = means
        for _ in range(UNDOING):
            samples = samples + 4 / 3 * (means - interpolated_mean(samples, axis))
        means = samples
    return means


def interpolated_mean(samples: torch.Tensor, axis: int) -> torch.Tensor:
    """``3/4 c + 1/8 (before + after)`` along an axis, the border's samples repeated."""
    n = samples.shape[axis]
    before = torch.cat([samples.narrow(axis, 0, 1), samples.narrow(axis, 0, n - 1)], axis)
    after = torch.cat([samples.narrow(axis, 1, n - 1), samples.narrow(axis, n - 1, 1)], axis)
    return 0.75 * samples + 0.125 * (before + after)
