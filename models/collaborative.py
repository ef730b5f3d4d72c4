"""What blocks that look alike say of each other: BM3D's Wiener step, with a prior's answer as pilot."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F

from glassplate.models.posterior import COLOURS

# Set9 at sigma 25, four crops: blocks of 4 to 10 pixels differ by 0.03 dB in the mean (6: 32.35, 8: 32.31),
# groups of 16 and 32 by 0.025, a reach of 12 and 19 by up to 0.1.
SIDE = 6
STEP = 3
REACH = 16
GROUP = 32
# Shape of the Kaiser window that blends a block with those it overlaps, as in BM3D.
KAISER = 2.0
# Groups that are transformed together: 7 MB for each tensor of a colour image.
TOGETHER = 512
# Noise of a group, in units of the usual noise of a coefficient, below which it counts as without.
LEAST = 1e-9


class Filtered(NamedTuple):
    """An estimate and how far it may err."""

    values: torch.Tensor
    """(B, C, h, w), source units."""
    variance: torch.Tensor
    """(B, C, h, w), squared source units: of the noise that is left, and of what was taken for noise."""


def collaborative_wiener(
    pilot: torch.Tensor,
    y: torch.Tensor,
    variance: torch.Tensor,
    valid: torch.Tensor,
    lag1: float = 0.0,
) -> Filtered:
    """Filter a measurement with a pilot estimate of it, in groups of blocks that look alike in the pilot.

    The second step of BM3D (Dabov et al. 2007, 10.1109/TIP.2007.901238, section III.B): the blocks of a
    group are stacked, transformed together by cosines over rows, columns, group and colours, and each
    coefficient of the measurement is multiplied by ``P^2 / (P^2 + V)``, P being the pilot's and V the
    variance of its noise. Blocks overlap; they are averaged with weights ``1 / sum(G^2 V)``. A prior fitted
    to pixels alone paints an edge anew wherever it appears; the group tells what its copies share.

    Three things differ from the paper: the mean of a group is the pilot's, so that nothing depends on where
    zero is and no flux is lost (the pilot knows it from a larger neighbourhood than the group, whose blocks
    overlap: eight times the noise variance of as many independent pixels on photographs); noise that differs from pixel to pixel is propagated exactly to each
    coefficient (``V = (T o T) variance``); and the group is always of one size, with the coefficients to
    tell apart what does not belong together.

    Parameters
    ----------
    pilot, y, variance
        (B, C, h, w), source units, and squared source units for the variance. Where `y` is not valid the
        pilot stands in for it, as if measured without noise.
    valid
        (B, C, h, w) bool.
    lag1
        Autocorrelation of the noise between direct neighbours: it is taken for a separable autoregressive
        process of order one.

    Returns
    -------
    Filtered, finite everywhere; `y` where a valid pixel has no noise.
    """
    if pilot.shape[1] > COLOURS:
        alone = [
            collaborative_wiener(
                pilot[:, c : c + 1],
                y[:, c : c + 1],
                variance[:, c : c + 1],
                valid[:, c : c + 1],
                lag1,
            )
            for c in range(pilot.shape[1])
        ]
        return Filtered(
            torch.cat([part.values for part in alone], 1),
            torch.cat([part.variance for part in alone], 1),
        )
    noise = torch.where(valid, variance, 0)
    noisy = noise > 0
    if not noisy.any():
        return Filtered(torch.where(valid, y, pilot), torch.zeros_like(noise))
    # in units of the usual noise, squares of faint fluxes stay within single precision
    unit = noise[noisy].median().sqrt()
    measured = torch.where(valid, y, pilot)
    scaled = (pilot / unit, measured / unit, noise / unit.square())
    images = [_of_one_image(*planes, lag1) for planes in zip(*scaled, strict=True)]
    values = unit * torch.stack([image.values for image in images])
    left = unit.square() * torch.stack([image.variance for image in images])
    return Filtered(torch.where(valid & ~noisy, y, values), left)


def _of_one_image(
    pilot: torch.Tensor, y: torch.Tensor, variance: torch.Tensor, lag1: float
) -> Filtered:
    """Filter one image; all (C, h, w), in units of the noise."""
    c, h, w = pilot.shape
    pilot, y, variance = (_padded(plane) for plane in (pilot, y, variance))
    _, height, width = pilot.shape
    totals = torch.zeros(2 * c + 1, height * width, dtype=pilot.dtype, device=pilot.device)
    basis = _Basis(c, _group_size(height, width), lag1, pilot)
    block = _block(width, pilot.device)  # (SIDE * SIDE,)
    for corners in _groups(pilot, basis.group):
        for some in torch.split(corners, TOGETHER):
            place = some.unsqueeze(-1) + block  # (n, group, SIDE * SIDE)
            groups = [_gathered(plane, place) for plane in (pilot, y, variance)]
            values, left, weight = basis.filtered(*groups)
            _add(totals, place, values, left, weight)
    weight = totals[-1].clamp(min=torch.finfo(totals.dtype).tiny)
    sums = (totals[:-1] / weight).reshape(2, c, height, width)[..., :h, :w]
    return Filtered(sums[0], sums[1])


def _padded(plane: torch.Tensor) -> torch.Tensor:
    """Repeat the last row and column until blocks in steps of `STEP` reach them."""
    missing = [SIDE - size if size < SIDE else -(size - SIDE) % STEP for size in plane.shape[-2:]]
    return F.pad(plane[None], (0, missing[1], 0, missing[0]), mode="replicate")[0]


def _group_size(height: int, width: int) -> int:
    """Blocks of a group: `GROUP`, or as many as a corner of a small image has within reach."""
    within = [min(REACH, size - SIDE) + 1 for size in (height, width)]
    return min(GROUP, within[0] * within[1])


def _block(width: int, device: torch.device) -> torch.Tensor:
    """Flat offsets of a block's pixels from its corner, (SIDE * SIDE,)."""
    t = torch.arange(SIDE, device=device)
    return (t[:, None] * width + t).reshape(-1)


def _groups(pilot: torch.Tensor, group: int) -> Iterator[torch.Tensor]:
    """For each row of reference blocks the corners of those most alike, (n, group) flat indices.

    `pilot` is (C, h, w).
    """
    _, h, w = pilot.shape
    side = 2 * REACH + 1
    # blocks that leave the image are infinitely far
    wide = F.pad(pilot, (REACH,) * 4, value=math.inf)  # (C, h + 2 REACH, w + 2 REACH)
    columns = torch.arange(0, w - SIDE + 1, STEP, device=pilot.device)
    for row in range(0, h - SIDE + 1, STEP):
        own = pilot[:, row : row + SIDE, None]  # (C, SIDE, 1, w)
        shifted = [wide[:, at : at + SIDE].unfold(2, w, 1) for at in range(row, row + side)]
        # each (C, SIDE, side, w): squared differences summed over the colours and rows of a block
        squares = torch.cat([(there - own).square().sum((0, 1)) for there in shifted])
        distance = F.avg_pool1d(squares[None], SIDE, STEP)[0]  # (side * side, n)
        distance[
            REACH * side + REACH
        ] = -1  # each belongs to its own group, so that all are covered
        _, shift = distance.T.topk(group, largest=False, sorted=True)  # (n, group)
        dy, dx = shift // side - REACH, shift % side - REACH
        yield (row + dy) * w + columns[:, None] + dx


def _gathered(plane: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Pixels of a (C, h, w) plane as groups of blocks, (n, C, group, SIDE * SIDE)."""
    return plane.flatten(1)[:, place].transpose(0, 1)


def _add(
    totals: torch.Tensor,
    place: torch.Tensor,
    values: torch.Tensor,
    left: torch.Tensor,
    weight: torch.Tensor,
) -> None:
    """Add weighted blocks, (n, C, group, SIDE * SIDE), to the sums, and their weights to the last row."""
    flat = place.reshape(-1)
    planes = [*(values * weight).unbind(1), *(left * weight).unbind(1), weight[:, 0]]
    # a row at a time: of one dimension the sum has one order on a CPU, and is many times faster
    for row, plane in zip(totals, planes, strict=True):
        row.index_add_(0, flat, plane.expand(place.shape).reshape(-1))


class _Basis:
    """Cosines over the colours, the group, and the pixels of its blocks."""

    def __init__(self, colours: int, group: int, lag1: float, like: torch.Tensor) -> None:
        self.group = group
        block = cosines(SIDE)
        matrices = (cosines(colours), cosines(group), torch.kron(block, block))
        self.forward = [matrix.to(like) for matrix in matrices]
        self.squared = [matrix.square() for matrix in self.forward]
        t = torch.arange(SIDE)
        covariance = max(lag1, 0.0) ** (t[:, None] - t).abs().double()
        share = (block @ covariance @ block.T).diagonal()
        self.share = torch.kron(share, share).to(like)  # (SIDE * SIDE,), mean 1
        window = torch.kaiser_window(SIDE, periodic=False, beta=KAISER, dtype=torch.float64)
        self.window = torch.kron(window, window).to(like)  # (SIDE * SIDE,)

    def filtered(
        self, pilot: torch.Tensor, y: torch.Tensor, variance: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Filter groups, all (n, C, group, SIDE * SIDE).

        Returns
        -------
        values, variance, weight
            The last is (n, 1, 1, SIDE * SIDE).
        """
        paint = _transformed(pilot, self.forward)
        energy = paint.square()
        noise = _transformed(variance, self.squared) * self.share
        gain = energy / (energy + noise).clamp(min=torch.finfo(energy.dtype).tiny)
        gain[:, :, 0, 0] = 1  # the mean of each colour, which is the pilot's
        spectrum = gain * _transformed(y, self.forward)
        spectrum[:, :, 0, 0] = paint[:, :, 0, 0]
        values = _transformed(spectrum, [matrix.T for matrix in self.forward])
        left = _transformed(gain * noise, [matrix.T for matrix in self.squared])
        total = (gain.square() * noise).sum((1, 2, 3), keepdim=True)
        return values, left, self.window / total.clamp(min=LEAST)


def _transformed(groups: torch.Tensor, matrices: list[torch.Tensor]) -> torch.Tensor:
    """Apply a matrix to each dimension but the first, (n, C, group, SIDE * SIDE) to the same."""
    colour, group, block = matrices
    groups = group @ (groups @ block.T)
    return (colour @ groups.flatten(2)).view_as(groups)


def cosines(n: int) -> torch.Tensor:
    """Orthonormal cosine transform of n points (DCT-II), float64, one basis vector a row: (n, n)."""
    k = torch.arange(n, dtype=torch.float64)
    rows = torch.cos(math.pi / n * k[:, None] * (k + 0.5)) * math.sqrt(2 / n)
    rows[0] /= math.sqrt(2)
    return rows
