"""The input of a network that removes the artefacts of a JPEG: the JPEG, quantised again."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from glassplate.models.filters import fill_unknown
from glassplate.models.fit.inputs import Draw, Scene, prepare
from glassplate.models.operators.jpeg import (
    block_cosine_matrix,
    box_mean,
    join_blocks,
    rgb_to_ycbcr,
    split_blocks,
    ycbcr_to_rgb,
)
from glassplate.models.operators.quantisation import BLOCK, Quantisation
from glassplate.models.pixel_transform import PixelTransform
from glassplate.models.stacked_state import RandomGenerators, StackedState


class Requantised(StackedState):
    """The measurement, quantised again as the JPEG was, on a lattice shifted at random at each iteration.

    The network paints the JPEG from a copy that has more of the same artefacts elsewhere. So it learns what
    they look like and what is under them, and it sees the JPEG's own artefacts only through others, as a
    blind spot hides the noise. The mean over all shifts is a known filter by itself (Nosratinia 2001), which
    the network starts from and surpasses. It over-fits late. (Lena, 128x128, quality 10, 25.24 dB: 26.17
    after 50 iterations, 26.22 after 200, 26.20 after 300, with colours compressed again at full resolution;
    fed with noise 26.19 after 300, 26.15 after 500; the mean over the shifts 25.97.)

    Parameters
    ----------
    scene
        The measurement that the input is made from.
    quantisation
        Of the JPEG.
    transform
        Between the scene's values and 0 to 255.
    generators
        On the CPU, so that no device is waited for.
    """

    def __init__(
        self,
        scene: Scene,
        quantisation: Quantisation,
        transform: PixelTransform,
        generators: RandomGenerators,
    ) -> None:
        self.channels = scene.values.shape[1] + 1 + scene.guide_channels
        self.scene, self.transform, self.generators = scene, transform, generators
        self.sampling = quantisation.sampling
        self.usable = scene.split.usable
        filled = fill_unknown(torch.where(self.usable, scene.values, 0), self.usable)
        self.components = rgb_to_ycbcr(transform.inverse(filled))  # (B, C, h, w)
        tables = torch.tensor(quantisation.tables).to(filled)
        self.steps = tables.view(1, -1, 1, BLOCK, BLOCK)  # (B, C, 1, 8, 8)
        self.dither, self.everywhere = scene.dither(), scene.everywhere()

    def draw(self) -> Draw:
        """Quantise with other shifts; the data term has every usable pixel."""
        shifts = zip(*(self.generators.integers(BLOCK * n) for n in self.sampling), strict=True)
        windows = zip(torch.split(self.components, 1), self.steps, shifts, strict=True)
        each = [requantised(*window, self.sampling) for window in windows]
        shifted = ycbcr_to_rgb(torch.cat(each))  # (B, C, h, w)
        z = prepare(self.transform.forward(shifted), self.usable, self.scene) + self.dither
        return Draw(self.scene.guided(z), self.usable, self.everywhere)


def requantised(
    components: torch.Tensor,
    steps: torch.Tensor,
    shift: tuple[int, int],
    sampling: tuple[int, int],
) -> torch.Tensor:
    """Round the coefficients of blocks that begin `shift` pixels before the window's corner.

    Parameters
    ----------
    components
        (1, C, h, w), about 0.
    steps
        (C, 1, 8, 8).
    shift
        Rows and columns, less than a block of colour has pixels.
    sampling
        Pixels for each sample of colour, ``(y, x)``.

    Returns
    -------
    (1, C, h, w).
    """
    near = (shift[0] % BLOCK, shift[1] % BLOCK)
    luma = _round_components(components[:, :1], steps[:1], near, (1, 1))
    if components.shape[1] == 1:
        return luma
    return torch.cat([luma, _round_components(components[:, 1:], steps[1:], shift, sampling)], 1)


def _round_components(
    planes: torch.Tensor, steps: torch.Tensor, shift: tuple[int, int], sampling: tuple[int, int]
) -> torch.Tensor:
    """Round the coefficients of components (1, c, h, w) of one sampling."""
    h, w = planes.shape[-2:]
    top, left = shift
    down, right = sampling
    margins = (left, -(w + left) % (BLOCK * right), top, -(h + top) % (BLOCK * down))
    samples = box_mean(F.pad(planes, margins, mode="replicate"), sampling)[0]  # (c, H, W)
    basis = block_cosine_matrix(planes)
    coefficients = basis @ split_blocks(samples) @ basis.T  # (c, blocks, 8, 8)
    rounded = basis.T @ (steps * torch.round(coefficients / steps)) @ basis
    planes = join_blocks(rounded, (samples.shape[1], samples.shape[2]))[None]
    if sampling != (1, 1):
        # libjpeg's decoder interpolates with triangles
        planes = F.interpolate(planes, scale_factor=(down, right), mode="bilinear")
    return planes[..., top : top + h, left : left + w]
