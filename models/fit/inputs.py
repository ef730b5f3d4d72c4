"""The input of a prior network at each iteration, its loss mask and its averaging mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F

from glassplate.models.filters import fill_unknown
from glassplate.models.fit.settings import MORE_SQUARES
from glassplate.models.operators.downsample import upsample_bicubic
from glassplate.models.stacked_state import RandomGenerators, StackedState

# The random code is uniform in [0, CODE_AMPLITUDE), as in the DIP paper's code (get_noise).
CODE_AMPLITUDE = 0.1
# Fixed uniform noise on the last channel of an input made from the measurement, far below the 1 that marks
# kept pixels. Where all pixels are equal (a single one, dropped) every batch norm would divide by its
# epsilon, and the gradient grow 316-fold a layer, to infinity.
DITHER = 1e-3
# Side of the squares dropped where the noise is correlated, pixels: their centre is then two pixels
# from anything the network sees (DECam exposure a: 19.0 dB of gain, 17.7 with single pixels dropped).
SQUARE = 3
# Gaussian with which dropped squares are filled from what surrounds them, pixels.
FILL_RADIUS = 2.0


class Draw(NamedTuple):
    """One iteration's input and masks, of B windows of one shape."""

    z: torch.Tensor
    """(B, inputs, H', W') float32: the input, padded to a size that the networks take."""
    loss_mask: torch.Tensor
    """(B, C, h, w) bool: pixels of the measurements in the data term."""
    averaging_mask: torch.Tensor
    """(B, C, H, W) bool: pixels of the estimates that enter the average."""


class Input(Protocol):
    """The input z of a prior network, or of several side by side."""

    @property
    def channels(self) -> int:
        """Channels of `Draw.z`."""

    def draw(self) -> Draw:
        """Draw the input and the masks of the next iteration."""


@dataclass(frozen=True)
class PixelSplit(StackedState):
    """Which pixels of a measurement are fitted and which are held out; each (B, C, h, w) bool."""

    valid: torch.Tensor
    """Pixels to trust."""
    heldout: torch.Tensor
    """Valid pixels that are never in the data term and give the validation loss."""
    usable: torch.Tensor
    """Valid pixels that may be in the input and in the data term: neither held out nor of correlated noise
    with a pixel that is."""


def split_pixels(
    valid: torch.Tensor, share: float, correlated: bool, generator: torch.Generator
) -> PixelSplit:
    """Hold out a random share of the valid pixels, all channels of a pixel together.

    Parameters
    ----------
    valid
        (1, C, h, w) bool.
    share
        Of the valid pixels. Small windows hold out more, 16 pixels or a quarter of what they have, so
        that the held-out loss means something.
    correlated
        Whether the noise of neighbours is correlated; then the squares around held-out pixels are not usable.
    generator
        On the CPU.
    """
    some_channel = valid.any(1, keepdim=True)  # (1, 1, h, w)
    area = SQUARE * SQUARE // MORE_SQUARES if correlated else 1
    n = int(some_channel.sum())
    count = max(round(share * n), min(16, n // 4)) // area if share > 0 else 0
    order = torch.rand(some_channel.shape, generator=generator).to(valid.device)
    order = torch.where(some_channel, order, 2.0).flatten()
    heldout = torch.zeros_like(some_channel).flatten()
    heldout[order.topk(count, largest=False).indices] = True
    heldout = heldout.view_as(some_channel)
    unusable = squares(heldout) if correlated else heldout
    return PixelSplit(valid, heldout & valid, valid & ~unusable)


def squares(centres: torch.Tensor) -> torch.Tensor:
    """Extend each True pixel to the square around it; (B, C, h, w) bool to the same."""
    return F.max_pool2d(centres.float(), SQUARE, stride=1, padding=SQUARE // 2) > 0


@dataclass(frozen=True)
class Scene(StackedState):
    """The measurement that an input is made from."""

    values: torch.Tensor
    """(B, C, h, w) float32: the measurement in the network's domain; anything where not valid."""
    split: PixelSplit
    scale: int
    """Pixels of the estimate per pixel of the measurement, along each axis."""
    size: tuple[int, int]
    """Height and width of the input: at least those of the estimate, except for a decoder's small code."""
    mixes: bool
    """Whether a pixel of the measurement is made of several pixels of the estimate."""
    device_generators: RandomGenerators
    """On the device of the values."""
    guide: torch.Tensor | None = None
    """(B, g, h, w) float32: a second image of the same scene."""

    @property
    def guide_channels(self) -> int:
        """Channels that the guide adds to an input."""
        return 0 if self.guide is None else self.guide.shape[1]

    def guided(self, z: torch.Tensor) -> torch.Tensor:
        """Append the guide's channels to an input (B, inputs, H', W')."""
        if self.guide is None:
            return z
        return torch.cat([z, to_size(self.guide, self, "replicate")], 1)

    def everywhere(self) -> torch.Tensor:
        """An averaging mask of every pixel of the estimate, (B, C, H, W) bool."""
        b, c, h, w = self.values.shape
        shape = (b, c, h * self.scale, w * self.scale)
        return torch.ones(shape, dtype=torch.bool, device=self.values.device)

    def dither(self) -> torch.Tensor:
        """Draw fixed noise for the last channel of an input and zeros for the others; (B, C + 1, H', W')."""
        b, c, _, _ = self.values.shape
        noise = torch.zeros((b, c + 1, *self.size), device=self.values.device)
        noise[:, -1] = DITHER * self.device_generators.uniform(*self.size)
        return noise


class NoiseCode(StackedState):
    """The paper's input: one random code, with a little fresh noise at each iteration."""

    def __init__(self, scene: Scene, depth: int, fresh_noise: float) -> None:
        self.channels = depth + scene.guide_channels
        self.scene = scene
        self.fresh_noise = fresh_noise
        self.code = CODE_AMPLITUDE * scene.device_generators.uniform(depth, *scene.size)
        self.loss_mask = scene.split.usable
        self.averaging_mask = scene.everywhere()

    def draw(self) -> Draw:
        """Perturb the code; the data term has every usable pixel."""
        noise = self.scene.device_generators.normal(*self.code.shape[1:])
        z = self.scene.guided(self.code + self.fresh_noise * noise)
        return Draw(z, self.loss_mask, self.averaging_mask)


class BlindSpot(StackedState):
    """The measurement itself, with random pixels dropped and filled.

    The data term has the dropped pixels only, so that what a pixel measured never reaches its own estimate.
    Invalid and held-out pixels are always dropped; the others at random, all channels together. Where the
    noise is correlated, whole squares are dropped and the data term has their centres, so that no neighbour
    reveals the pixel's noise. The last channel of the input is the share of channels kept at each pixel. With
    `generators`, which are on the CPU, the pattern of the missing pixels is dropped too, moved at random
    (docs/design/007-filling.md).
    """

    def __init__(
        self,
        scene: Scene,
        drop: float,
        correlated: bool,
        generators: RandomGenerators | None = None,
    ) -> None:
        self.channels = scene.values.shape[1] + 1 + scene.guide_channels
        self.scene = scene
        self.usable = scene.split.usable
        self.values = torch.where(self.usable, scene.values, 0)  # (B, C, h, w)
        self.always = scene.split.heldout | ~scene.split.valid  # missing from every input
        self.correlated = correlated
        rate = 1 - (1 - drop) ** (MORE_SQUARES / SQUARE**2) if correlated else drop
        self.dither = scene.dither()
        self.everywhere = scene.everywhere()
        self.generators = generators
        self.holes = (~scene.split.valid).any(1, keepdim=True)  # (B, 1, h, w)
        share = self.holes.double().mean((1, 2, 3), keepdim=True)
        # Where more than the share `drop` is missing, dropping the pattern too would leave too few pixels.
        self.holes &= (share <= drop) if generators is not None and not correlated else False
        # the pattern and the random pixels together are the share `drop`
        fewer = 1 - (1 - drop) / (1 - share.clamp(max=drop))
        has_holes = self.holes.flatten(1).any(1).view_as(share)
        self.rate = torch.where(has_holes, fewer, rate).float()  # (B, 1, 1, 1)

    def draw(self) -> Draw:
        """Drop other pixels; the data term has these."""
        centres = self.scene.device_generators.uniform(1, *self.values.shape[-2:]) < self.rate
        if self.generators is not None and not self.correlated:
            centres = centres | moved(self.holes, self.generators)
        dropped = squares(centres) if self.correlated else centres  # (B, 1, h, w)
        kept = self.usable & ~dropped  # (B, C, h, w)
        filled = fill_unknown(self.values, kept, FILL_RADIUS if self.correlated else None)
        z = self.scene.guided(prepare(filled, kept, self.scene) + self.dither)
        # Where A mixes pixels, no pixel of the estimate has a measured pixel of its own: all are averaged.
        averaging_mask = self.everywhere if self.scene.mixes else centres | self.always
        return Draw(z, centres & self.usable, averaging_mask)


def moved(patterns: torch.Tensor, generators: RandomGenerators) -> torch.Tensor:
    """Mirror each of (B, 1, h, w) or not, and shift it around its borders, at random.

    The generators are on the CPU, so that no device is waited for.
    """
    h, w = patterns.shape[-2:]
    found = []
    for pattern, (down, right, y, x) in zip(patterns, generators.uniform(4).tolist(), strict=True):
        mirrored = [axis for axis, number in ((-2, down), (-1, right)) if number < 0.5]
        found.append(pattern.flip(mirrored).roll((int(y * h), int(x * w)), (-2, -1)))
    return torch.stack(found)


class Whole(StackedState):
    """The measurement itself, interpolated, nothing dropped: for super-resolution and deconvolution.

    There the network has to find what lies between the pixels, or what the optics have blurred, and does so
    best from the whole measurement. (Butterfly x2, 128x128, Y channel: 30.7 dB after
    200 iterations; 29.4 with 30 % dropped, 24 with the random code, 28.9 for Lanczos-3 interpolation.)
    """

    def __init__(self, scene: Scene) -> None:
        self.channels = scene.values.shape[1] + 1 + scene.guide_channels
        self.usable = scene.split.usable
        filled = fill_unknown(torch.where(self.usable, scene.values, 0), self.usable)
        self.z = scene.guided(prepare(filled, self.usable, scene) + scene.dither())
        self.everywhere = scene.everywhere()

    def draw(self) -> Draw:
        """Return the same input; the data term has every usable pixel."""
        return Draw(self.z, self.usable, self.everywhere)


def prepare(filled: torch.Tensor, kept: torch.Tensor, scene: Scene) -> torch.Tensor:
    """Bring a filled measurement to the estimate's resolution and to a size that the network takes.

    Both arguments are (B, C, h, w). The result is (B, C + 1, H', W'); its last channel is the share of
    channels kept at each pixel, 0 in the padding.
    """
    share = kept.float().mean(1, keepdim=True)  # (B, 1, h, w)
    return torch.cat([to_size(filled, scene, "replicate"), to_size(share, scene, "constant")], 1)


def to_size(values: torch.Tensor, scene: Scene, border: str) -> torch.Tensor:
    """Interpolate (B, C, h, w) to the estimate's resolution and pad below and right: (B, C, H', W')."""
    if scene.scale > 1:
        values = upsample_bicubic(values, scene.scale)
    down, right = (n - m for n, m in zip(scene.size, values.shape[-2:], strict=True))
    return F.pad(values, (0, right, 0, down), mode=border) if down or right else values
