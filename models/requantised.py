"""The input of a network that removes the artefacts of a JPEG: the JPEG, with artefacts of its own again."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from glassplate.models.inputs import Draw, Scene, fill, prepare
from glassplate.models.jpeg import (
    BLOCK,
    Quantisation,
    cosines,
    from_components,
    joined_blocks,
    to_components,
    whole_blocks,
)
from glassplate.models.transform import PixelTransform


class Requantised:
    """The measurement, quantised again as the JPEG was, on a lattice shifted at random at each iteration.

    The network is asked for the JPEG from a copy that has more of the same artefacts elsewhere, so that it
    learns what they look like and what is under them, and it sees the JPEG's own only through others: what
    a blind spot is to noise. The mean over all shifts is a known filter by itself (Nosratinia 2001), which
    the network starts from and surpasses. It over-fits late. (Lena, 128x128, quality 10, 25.24 dB: 26.17
    after 50 iterations, 26.22 after 200, 26.20 after 300; fed with noise 26.19 after 300, 26.15 after 500;
    the mean over the shifts 25.97.)

    Parameters
    ----------
    scene
        What an input is made from.
    quantisation
        Of the JPEG.
    transform
        Between the scene's values and 0 to 255.
    dice
        On the CPU, so that no device is waited for.
    """

    def __init__(
        self,
        scene: Scene,
        quantisation: Quantisation,
        transform: PixelTransform,
        dice: torch.Generator,
    ) -> None:
        self.channels = scene.values.shape[1] + 1 + scene.guide_channels
        self.scene, self.transform, self.dice = scene, transform, dice
        self.usable = scene.parts.usable
        filled = fill(torch.where(self.usable, scene.values, 0), self.usable)
        self.components = to_components(transform.inverse(filled))  # (1, C, h, w)
        tables = torch.tensor(quantisation.tables).to(filled)
        self.steps = tables.view(-1, 1, BLOCK, BLOCK)  # (C, 1, 8, 8)
        self.dither, self.everywhere = scene.dither(), scene.everywhere()

    def draw(self) -> Draw:
        """Quantise anew; ask about every usable pixel."""
        down, right = (int(n) for n in torch.randint(BLOCK, (2,), generator=self.dice))
        again = from_components(requantised(self.components, self.steps, (down, right)))
        z = prepare(self.transform.forward(again), self.usable, self.scene) + self.dither
        return Draw(self.scene.guided(z), self.usable, self.everywhere)


def requantised(
    components: torch.Tensor, steps: torch.Tensor, shift: tuple[int, int]
) -> torch.Tensor:
    """Round the coefficients of blocks that begin `shift` pixels before the window's corner.

    Parameters
    ----------
    components
        (1, C, h, w), about 0. Those of colour are rounded at full resolution, whatever their sampling was.
    steps
        (C, 1, 8, 8).
    shift
        Rows and columns, 0 to 7.

    Returns
    -------
    (1, C, h, w).
    """
    h, w = components.shape[-2:]
    top, left = shift
    margins = (left, -(w + left) % BLOCK, top, -(h + top) % BLOCK)
    wide = F.pad(components, margins, mode="replicate")[0]  # (C, H, W)
    basis = cosines(components)
    coefficients = basis @ whole_blocks(wide) @ basis.T  # (C, blocks, 8, 8)
    rounded = basis.T @ (steps * torch.round(coefficients / steps)) @ basis
    again = joined_blocks(rounded, (wide.shape[1], wide.shape[2]))
    return again[None, :, top : top + h, left : left + w]
