"""Filter similar blocks together: BM3D's Wiener step, with the answer of a prior as the pilot."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F

from glassplate.models.cosine_transform import cosine_matrix
from glassplate.models.estimate.colour_components import colour_components, colour_variance
from glassplate.models.estimate.posterior import COLOURS
from glassplate.models.fit.losses import masked_median

# Set9 at sigma 25, four crops: blocks of 4 to 10 pixels differ by 0.03 dB in the mean (6: 32.35, 8: 32.31),
# groups of 16 and 32 by 0.025, a reach of 12 and 19 by up to 0.1.
SIDE = 6
STEP = 3
REACH = 16
GROUPS = (32, 16, 8, 4, 2, 1)
# Mean squared difference of the pilot's pixels, in units of the noise variance, up to which two blocks are
# similar: BM3D's 400 for 8 bits at its sigma of 25.
SIMILAR = 0.64
# Factor on the noise variance in the gain: the pilot has lost energy, and Wiener's gain would remove as much
# again. 1, 0.7 and 0.5 are within 0.05 dB on photographs; stars at ten times the noise of a matched filter
# keep 84, 87 and 89 % of their flux (docs/design/010-blocks-alike.md).
DISCOUNT = 0.6
# Shape of the Kaiser window that blends a block with those it overlaps, as in BM3D.
KAISER = 2.0
# Blocks that are transformed together: 7 MB for each tensor of a colour image.
TOGETHER = 2**14
# Noise of a group, in units of the usual noise of a coefficient, below which it counts as without.
LEAST = 1e-9


class Filtered(NamedTuple):
    """A filtered measurement and the variance of its error."""

    values: torch.Tensor
    """(B, C, h, w), source units."""
    variance: torch.Tensor
    """(B, C, h, w), squared source units: of the noise that remains, and of what was removed as noise."""


def collaborative_wiener(
    pilot: torch.Tensor,
    y: torch.Tensor,
    variance: torch.Tensor,
    valid: torch.Tensor,
    lag1: float = 0.0,
    seen: torch.Tensor | None = None,
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
    without similar ones stays as the pilot has it. Noise that differs from pixel to pixel is propagated
    exactly to each coefficient (``V = (T o T) variance``). In the gain it counts `DISCOUNT` times, because
    the pilot has lost energy.

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
        return Filtered(measured.reshape(shape), torch.zeros(shape).to(y))
    # in units of the usual noise, squares of faint fluxes stay within single precision
    unit = masked_median(noise, noisy).nan_to_num(nan=1.0).sqrt()  # (B, 1, 1, 1)
    of_components = colour_variance(noise / unit.square())
    if seen is not None:
        of_components = of_components * seen[:, :, None, None]
    whole = (
        colour_components(pilot / unit),
        colour_components(measured / unit),
        of_components,
    )
    # one by one, images stay in a CPU's cache; a GPU would start as many kernels for each
    at_once = 1 if y.device.type == "cpu" else len(y)
    parts = zip(*(torch.split(planes, at_once) for planes in whole), strict=True)
    found = [_in_units_of_noise(p, m, v, lag1) for p, m, v in parts]
    values, left = (torch.cat(images) for images in zip(*found, strict=True))
    values = colour_components(values, inverse=True)
    left = colour_variance(left, inverse=True)
    values = torch.where(noisy, unit * values, measured)
    return Filtered(values.reshape(shape), (unit.square() * left).reshape(shape))


def _in_units_of_noise(
    pilot: torch.Tensor, y: torch.Tensor, variance: torch.Tensor, lag1: float
) -> Filtered:
    """Filter the colour components of images in units of their noise; all (B, C, h, w)."""
    b, c, h, w = pilot.shape
    pilot, y, variance = (_padded(planes) for planes in (pilot, y, variance))
    *_, height, width = pilot.shape
    totals = torch.zeros(2 * c + 1, b * height * width, dtype=pilot.dtype, device=pilot.device)
    block = _block(width, pilot.device)  # (SIDE * SIDE,)
    for corners in _groups(pilot):
        basis = _Basis(corners.shape[1], lag1, pilot)
        for some in torch.split(corners, TOGETHER // basis.group):
            place = some.unsqueeze(-1) + block  # (n, group, SIDE * SIDE)
            painted, measured, noise = (_gathered(whole, place) for whole in (pilot, y, variance))
            values, left, weight = basis.filtered(painted, measured, noise)
            # for a block without similar ones the filter would only give its noise back
            _add(totals, place, painted if basis.group == 1 else values, left, weight)
    weight = totals[-1].clamp(min=torch.finfo(totals.dtype).tiny)
    sums = (totals[:-1] / weight).view(2, c, b, height, width)[..., :h, :w].transpose(1, 2)
    return Filtered(sums[0], sums[1])


def _padded(planes: torch.Tensor) -> torch.Tensor:
    """Repeat the last row and column of (B, C, h, w) until blocks in steps of `STEP` reach them."""
    missing = [SIDE - size if size < SIDE else -(size - SIDE) % STEP for size in planes.shape[-2:]]
    return F.pad(planes, (0, missing[1], 0, missing[0]), mode="replicate")


def _block(width: int, device: torch.device) -> torch.Tensor:
    """Flat offsets of a block's pixels from its corner, (SIDE * SIDE,)."""
    t = torch.arange(SIDE, device=device)
    return (t[:, None] * width + t).reshape(-1)


def _groups(pilot: torch.Tensor) -> Iterator[torch.Tensor]:
    """Corners of the blocks of every group, (n, size) for each size of `GROUPS` there is.

    `pilot` is (B, C, h, w), in units of the noise; corners are flat indices into (B, h, w). A group has as
    many blocks of one image as are similar, rounded down to a size.
    """
    # one by one, shifts stay in a CPU's cache (0.6 s a window of 3x256x256, all at once 5 s); a GPU would
    # start thousands of kernels for them
    at_once = 1 if pilot.device.type == "cpu" else 2 * REACH + 1
    rows = list(_most_similar(pilot, at_once))
    corners, distances = (torch.cat(parts) for parts in zip(*rows, strict=True))  # (n, most)
    similar = (distances < SIMILAR).sum(1)
    most = corners.shape[1]
    above = most + 1
    for size in GROUPS:
        chosen = corners[(similar >= size) & (similar < above), :size]
        if size <= most and len(chosen):
            yield chosen
            above = size


def _most_similar(pilot: torch.Tensor, at_once: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Find the corners and distances of the most similar blocks, for each row of reference blocks.

    `pilot` is (B, C, h, w), both results are (B n, most). `at_once` shifts down are compared at once.
    """
    b, c, h, w = pilot.shape
    side = 2 * REACH + 1
    # blocks within reach of a corner of the image
    most = math.prod(min(REACH, size - SIDE) + 1 for size in (h, w))
    # blocks beyond the border are infinitely far
    wide = F.pad(pilot, (REACH,) * 4, value=math.inf)  # (B, C, h + 2 REACH, w + 2 REACH)
    first = torch.arange(b, device=pilot.device).view(-1, 1, 1) * (h * w)
    columns = torch.arange(0, w - SIDE + 1, STEP, device=pilot.device)
    for row in range(0, h - SIDE + 1, STEP):
        own = pilot[:, :, None, row : row + SIDE, None]  # (B, C, 1, SIDE, 1, w)
        # (B, C, side, side, w, SIDE): for each shift down and right the rows that a block there would have
        shifted = wide[:, :, row : row + side + SIDE - 1].unfold(3, w, 1).unfold(2, SIDE, 1)
        parts = torch.split(shifted.movedim(-1, 3), at_once, 2)  # (B, C, at_once, SIDE, side, w)
        # squared differences summed over the colours and rows of a block
        squares = torch.cat([(there - own).square().sum((1, 3)) for there in parts], 1)
        squares = squares.flatten(1, 2)  # (B, side * side, w)
        distance = F.avg_pool1d(squares, SIDE, STEP) / (c * SIDE)  # (B, side * side, n)
        # each block belongs to its own group, so that all pixels are covered
        distance[:, REACH * side + REACH] = -1
        nearest = distance.mT.topk(min(max(GROUPS), most), largest=False, sorted=True)
        dy, dx = nearest.indices // side - REACH, nearest.indices % side - REACH
        corners = first + (row + dy) * w + columns[:, None] + dx  # (B, n, most)
        yield corners.flatten(0, 1), nearest.values.flatten(0, 1)


def _gathered(whole: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Pixels of (B, C, h, w) as groups of blocks, (n, C, group, SIDE * SIDE)."""
    return whole.transpose(0, 1).flatten(1)[:, place].transpose(0, 1)


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
    # one row at a time: in one dimension the sum has a fixed order on a CPU, and is many times faster
    for row, plane in zip(totals, planes, strict=True):
        row.index_add_(0, flat, plane.expand(place.shape).reshape(-1))


class _Basis:
    """Cosines over the group and the pixels of its blocks."""

    def __init__(self, group: int, lag1: float, like: torch.Tensor) -> None:
        self.group = group
        block = torch.from_numpy(cosine_matrix(SIDE))
        matrices = (
            torch.from_numpy(cosine_matrix(group)),
            torch.kron(block, block),
        )
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
        gain = energy / (energy + DISCOUNT * noise).clamp(min=torch.finfo(energy.dtype).tiny)
        gain[:, :, 0, 0] = 1  # the mean of each component, which is the pilot's
        spectrum = gain * _transformed(y, self.forward)
        spectrum[:, :, 0, 0] = paint[:, :, 0, 0]
        values = _transformed(spectrum, [matrix.T for matrix in self.forward])
        left = _transformed(gain * noise, [matrix.T for matrix in self.squared])
        total = (gain.square() * noise).sum((1, 2, 3), keepdim=True)
        return values, left, self.window / total.clamp(min=LEAST)


def _transformed(groups: torch.Tensor, matrices: list[torch.Tensor]) -> torch.Tensor:
    """Apply a matrix to each of the last two dimensions, (n, C, group, SIDE * SIDE) to the same."""
    group, block = matrices
    return group @ (groups @ block.T)
