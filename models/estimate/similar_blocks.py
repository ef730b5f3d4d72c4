"""Filter similar blocks together: BM3D's Wiener step, with the answer of a prior as the pilot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F

from glassplate.models.cosine_transform import cosine_matrix
from glassplate.models.estimate.block_matching import Search, nearest_blocks
from glassplate.models.estimate.colour_components import (
    channel_sigma,
    colour_axes,
    colour_components,
    colour_variance,
)
from glassplate.models.estimate.posterior import COLOURS

# Set9 at sigma 25, four crops: blocks of 4 to 10 pixels differ by 0.03 dB in the mean (6: 32.35, 8: 32.31),
# groups of 16 and 32 by 0.025, a reach of 12 and 19 by up to 0.1.
SIDE = 6
STEP = 3
REACH = 16
SIZES = (32, 16, 8, 4, 2, 1)
# Mean squared difference of the pilot's pixels, in units of the noise variance, up to which two blocks are
# similar: BM3D's 400 for 8 bits at its sigma of 25.
SIMILAR = 0.64
# Shape of the Kaiser window that blends a block with those it overlaps, as in BM3D.
KAISER = 2.0
# Blocks that are transformed together: 1.8 MB for each tensor of a colour image, so that several stay in a
# CPU's cache (1.0 s for the last pass over 3x320x320; 1.2 s with four times as many). A GPU would start more
# kernels.
TOGETHER, TOGETHER_ON_GPU = 2**12, 2**16
# Noise of a group, in units of the usual noise of a coefficient, below which it counts as without.
LEAST = 1e-9


class Pass(NamedTuple):
    """One pass of the filter."""

    discount: float
    """Factor on the noise variance in the gain: a pilot that has lost energy makes Wiener's gain remove as
    much again."""
    largest: int
    """Most blocks of a group."""
    every_other: bool
    """Whether only every other block makes a group."""


# The only one: with a discount of 1, 0.7 and 0.5 photographs are within 0.05 dB; stars at ten times the noise
# of a matched filter keep 84, 87 and 89 % of their flux (docs/design/010-blocks-alike.md).
ONLY = Pass(0.6, 32, every_other=False)
# The last of several, whose pilot has been filtered, and those before it. Quick fits of six tiles, sigma 25:
# one pass 30.89 dB in 1.21 s, two as the last 31.13 in 2.40 s, these 31.12 in 1.78 s, three 31.15 in 2.35 s
# (docs/design/019-throughput.md).
LAST = Pass(1.0, 32, every_other=False)
EARLIER = Pass(0.6, 16, every_other=True)


class Filtered(NamedTuple):
    """A filtered measurement and the variance of its error."""

    values: torch.Tensor
    """(B, C, h, w), source units."""
    variance: torch.Tensor | None
    """(B, C, h, w), squared source units: of the noise that remains, and of what was removed as noise; None
    where it was not wanted."""


def collaborative_wiener(
    pilot: torch.Tensor,
    y: torch.Tensor,
    variance: torch.Tensor,
    valid: torch.Tensor,
    lag1: float = 0.0,
    seen: torch.Tensor | None = None,
    *,
    stated: bool = True,
    one: Pass = ONLY,
) -> Filtered:
    """Filter a measurement with a pilot estimate of it, in groups of blocks that are similar in the pilot.

    The second step of BM3D (Dabov et al. 2007, 10.1109/TIP.2007.901238, section III.B): the blocks of a
    group are stacked, transformed together by cosines over colours, rows, columns and group, and each
    coefficient of the measurement is multiplied by ``P^2 / (P^2 + V)``, P being the pilot's and V the
    variance of its noise. Blocks overlap; they are averaged with weights ``1 / sum(G^2 V)``. A prior that is
    fitted to pixels alone paints each copy of an edge by itself; the group has what the copies share.

    Four things differ from the paper. The mean of a group is the pilot's, so that the zero point does not
    matter and no flux is lost: the pilot knows it from a larger neighbourhood than the group, whose blocks
    overlap (on photographs their mean has eight times the noise variance of as many separate pixels). A block
    without similar ones stays as the pilot has it. Noise that differs between the pixels of a block is
    propagated to each coefficient (``V = (T o T) variance``), that of the blocks of a group is averaged. In
    the gain it counts `Pass.discount` times, because the pilot has lost energy.

    Parameters
    ----------
    pilot, y, variance
        (B, C, h, w), source units, and squared source units for the variance. Where `y` is not valid, the
        pilot replaces it, without noise.
    valid
        (B, C, h, w) bool.
    lag1
        Autocorrelation of the noise between direct neighbours, modelled as a separable autoregressive process
        of order one.
    seen
        (B, C) factors on the variance of each colour component, see `seen_noise`; None for 1.
    stated
        Whether the variance of the error is wanted, which takes a fifth of the time.
    one
        How coarse this pass is.

    Returns
    -------
    Filtered, finite everywhere; `y` where a valid pixel has no noise, the pilot where one is not valid.
    """
    shape = pilot.shape
    if shape[1] > COLOURS:  # each channel alone
        pilot, y, variance, valid = (
            t.reshape(-1, 1, *shape[2:]) for t in (pilot, y, variance, valid)
        )
        seen = None if seen is None else seen.reshape(-1, 1)
    noise = torch.where(valid, variance, 0)
    measured = torch.where(valid, y, pilot)
    noisy = noise > 0
    if not noisy.any():
        return Filtered(measured.reshape(shape), torch.zeros(shape).to(y) if stated else None)
    # in units of the usual noise, squares of faint fluxes stay within single precision
    unit = channel_sigma(noise, noisy)  # (B, C, 1, 1)
    axes = colour_axes(unit)
    of_components = colour_variance(noise / unit.square(), axes=axes)
    if seen is not None:
        of_components = of_components * seen[:, :, None, None]
    whole = (
        colour_components(pilot / unit, axes=axes),
        colour_components(measured / unit, axes=axes),
        of_components,
    )
    # one by one, images stay in a CPU's cache; a GPU would start as many kernels for each
    at_once = 1 if y.device.type == "cpu" else len(y)
    parts = zip(*(torch.split(planes, at_once) for planes in whole), strict=True)
    found = [_in_units_of_noise(p, m, v, lag1, stated, one) for p, m, v in parts]
    values = colour_components(torch.cat([image.values for image in found]), True, axes)
    values = torch.where(noisy, unit * values, measured).reshape(shape)
    variances = [image.variance for image in found if image.variance is not None]
    if not variances:
        return Filtered(values, None)
    left = unit.square() * colour_variance(torch.cat(variances), True, axes)
    return Filtered(values, left.reshape(shape))


def _in_units_of_noise(
    pilot: torch.Tensor,
    y: torch.Tensor,
    variance: torch.Tensor,
    lag1: float,
    stated: bool,
    one: Pass,
) -> Filtered:
    """Filter the colour components of images in units of their noise; all (B, C, h, w)."""
    b, c, h, w = pilot.shape
    pilot, y, variance = (_padded(planes) for planes in (pilot, y, variance))
    *_, height, width = pilot.shape
    planes = (2 if stated else 1) * c + 1
    totals = torch.zeros(planes, b * height * width, dtype=pilot.dtype, device=pilot.device)
    block = _block(width, pilot.device)  # (SIDE * SIDE,)
    together = TOGETHER if pilot.device.type == "cpu" else TOGETHER_ON_GPU
    for corners in _groups(pilot, one):
        basis = _Basis(corners.shape[1], lag1, one.discount, pilot)
        for some in torch.split(corners, together // basis.group):
            place = some.T.unsqueeze(-1) + block  # (group, n, SIDE * SIDE)
            painted, measured, noise = (_gathered(whole, place) for whole in (pilot, y, variance))
            values, left, weight = basis.filtered(painted, measured, noise, stated)
            # for a block without similar ones the filter would only give its noise back
            values = painted if basis.group == 1 else values
            parts = (values, weight) if left is None else (values, left, weight)
            _add(totals, place, parts)
    weight = totals[-1].clamp(min=torch.finfo(totals.dtype).tiny)
    sums = (totals[:-1] / weight).view(-1, c, b, height, width)[..., :h, :w].transpose(1, 2)
    return Filtered(sums[0], sums[1] if stated else None)


def _padded(planes: torch.Tensor) -> torch.Tensor:
    """Repeat the last row and column of (B, C, h, w) until blocks in steps of `STEP` reach them."""
    missing = [SIDE - size if size < SIDE else -(size - SIDE) % STEP for size in planes.shape[-2:]]
    return F.pad(planes, (0, missing[1], 0, missing[0]), mode="replicate")


def _block(width: int, device: torch.device) -> torch.Tensor:
    """Flat offsets of a block's pixels from its corner, (SIDE * SIDE,)."""
    t = torch.arange(SIDE, device=device)
    return (t[:, None] * width + t).reshape(-1)


def _groups(pilot: torch.Tensor, one: Pass) -> Iterator[torch.Tensor]:
    """Corners of the blocks of every group, (n, size) for each of `SIZES` there is.

    `pilot` is (B, C, h, w), colour components in units of the noise; corners are flat indices into (B, h, w).
    A group has as many blocks of one image as are similar, rounded down to a size. Blocks are compared by
    their brightness, the first component, as in CBM3D, as if they had the same colours: twelve tiles of
    Kodak's photographs have the same PSNR as with all components, within 0.005 dB, in 0.85 of the time.
    """
    search = Search(SIDE, REACH, one.largest, one.every_other)
    most_different = SIMILAR * pilot.shape[1]
    corners, distances = nearest_blocks(pilot[:, :1], search, most_different)
    similar = (distances < most_different).sum(1)
    most = corners.shape[1]
    above = most + 1
    for size in SIZES:
        chosen = corners[(similar >= size) & (similar < above), :size]
        if size <= most and len(chosen):
            yield chosen
            above = size


def _gathered(whole: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Pixels of (B, C, h, w) as groups of blocks, (C, group, n, SIDE * SIDE)."""
    planes = whole.transpose(0, 1).flatten(1)  # (C, B h w)
    # contiguous, as the result of indexing is not, so that all groups are one matrix
    return planes.index_select(1, place.reshape(-1)).view(-1, *place.shape)


def _add(totals: torch.Tensor, place: torch.Tensor, parts: tuple[torch.Tensor, ...]) -> None:
    """Add blocks, (C, group, n, SIDE * SIDE), times their weights, and the weights, which come last."""
    *blocks, weight = parts  # (n, SIDE * SIDE)
    flat = place.reshape(-1)
    planes = [plane for of_one in blocks for plane in of_one * weight]
    # one row at a time: in one dimension the sum has a fixed order on a CPU, and is many times faster
    for row, plane in zip(totals, [*planes, weight], strict=True):
        row.index_add_(0, flat, plane.expand(place.shape).reshape(-1))


class _Basis:
    """Cosines over the group and the pixels of its blocks."""

    def __init__(self, group: int, lag1: float, discount: float, like: torch.Tensor) -> None:
        self.group, self.discount = group, discount
        block = torch.from_numpy(cosine_matrix(SIDE))
        matrices = (
            torch.from_numpy(cosine_matrix(group)),
            torch.kron(block, block),
        )
        self.forward = [matrix.to(like) for matrix in matrices]
        self.inverse = [matrix.T for matrix in self.forward]
        self.squared = [matrix.square() for matrix in self.forward]
        t = torch.arange(SIDE)
        covariance = max(lag1, 0.0) ** (t[:, None] - t).abs().double()
        share = (block @ covariance @ block.T).diagonal()
        self.share = torch.kron(share, share).to(like)  # (SIDE * SIDE,), mean 1
        window = torch.kaiser_window(SIDE, periodic=False, beta=KAISER, dtype=torch.float64)
        self.window = torch.kron(window, window).to(like)  # (SIDE * SIDE,)

    def filtered(
        self, pilot: torch.Tensor, y: torch.Tensor, variance: torch.Tensor, stated: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
        """Filter groups, all (C, group, n, SIDE * SIDE).

        Returns
        -------
        values, variance, weight
            The variance only if it is to be stated. The weight is (n, SIDE * SIDE).
        """
        paint = _transformed(pilot, self.forward)
        energy = paint.square()
        # blocks that are similar have a noise that is, so that the group's mean is that of each
        noise = (variance.mean(1, keepdim=True) @ self.squared[1].T) * self.share  # (C, 1, n, ..)
        tiny = torch.finfo(energy.dtype).tiny
        # in place from here on: passes over memory take the time
        gain = energy.div_(energy.add(noise, alpha=self.discount).clamp_(min=tiny))
        gain[:, 0, :, 0] = 1  # the mean of each component, which is the pilot's
        spectrum = _transformed(y, self.forward).mul_(gain)
        spectrum[:, 0, :, 0] = paint[:, 0, :, 0]
        values = _transformed(spectrum, self.inverse)
        left = None
        if stated:
            left = _transformed(gain * noise, [matrix.T for matrix in self.squared])
        total = gain.square_().mul_(noise).sum((0, 1, 3))  # (n,)
        return values, left, self.window / total.clamp(min=LEAST)[:, None]


def _transformed(groups: torch.Tensor, matrices: list[torch.Tensor]) -> torch.Tensor:
    """Apply a matrix over the group and one over the pixels, (C, group, n, SIDE * SIDE) to the same."""
    over_group, over_pixels = matrices
    return (over_group @ (groups @ over_pixels.T).flatten(2)).view(groups.shape)
