"""What a prior network is fed at each iteration, and which pixels it is asked about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F

from glassplate.models.batching.slots import Dice, Slotted
from glassplate.models.filters import fill_unknown
from glassplate.models.operators.downsample import upsample_bicubic

# The random code is uniform in [0, CODE_AMPLITUDE), as in the DIP paper's code (get_noise).
CODE_AMPLITUDE = 0.1
# Fixed uniform noise on the last channel of an input made from the measurement, far below the 1 that it
# tells from 0. Where all pixels are alike (a single one, dropped) every batch norm would divide by its
# epsilon, and the gradient grow 316-fold a layer, to infinity.
DITHER = 1e-3
# Side of the squares dropped where the noise is correlated, pixels: their centre is then two pixels
# from anything the network sees (DESIGN section 6: 19.0 dB of gain on DECam against 17.7).
SQUARE = 3
# Gaussian with which dropped squares are filled from what surrounds them, pixels.
FILL_RADIUS = 2.0


class Draw(NamedTuple):
    """One iteration's input and question, of B windows of one shape."""

    z: torch.Tensor
    """(B, inputs, H', W') float32: what the networks are fed, padded to a size they can take."""
    asked: torch.Tensor
    """(B, C, h, w) bool: pixels of the measurements in the data term."""
    answered: torch.Tensor
    """(B, C, H, W) bool: pixels of the estimates that enter the average."""


class Input(Protocol):
    """The input z of a prior network, or of several side by side."""

    @property
    def channels(self) -> int:
        """Channels of `Draw.z`."""

    def draw(self) -> Draw:
        """Input and question of the next iteration."""


@dataclass(frozen=True)
class Split(Slotted):
    """Which pixels of a measurement serve for what; each (B, C, h, w) bool."""

    valid: torch.Tensor
    """Pixels to trust."""
    heldout: torch.Tensor
    """Valid pixels that are never in the data term and judge the fit."""
    usable: torch.Tensor
    """Valid pixels that may be in the input and in the data term: not held out, nor sharing noise with
    a pixel that is."""


def split(valid: torch.Tensor, share: float, correlated: bool, generator: torch.Generator) -> Split:
    """Hold out a random share of the valid pixels, all channels of a pixel together.

    Parameters
    ----------
    valid
        (1, C, h, w) bool.
    share
        Of the valid pixels; small windows hold out more, 16 pixels or a quarter of what they have, so
        that the held-out loss means something.
    correlated
        Whether neighbours share noise; then the squares around held-out pixels are not usable.
    generator
        On the CPU.
    """
    some = valid.any(1, keepdim=True)  # (1, 1, h, w)
    area = SQUARE * SQUARE if correlated else 1
    n = int(some.sum())
    count = max(round(share * n), min(16, n // 4)) // area if share > 0 else 0
    score = torch.rand(some.shape, generator=generator).to(valid.device)
    score = torch.where(some, score, 2.0).flatten()
    heldout = torch.zeros_like(some).flatten()
    heldout[score.topk(count, largest=False).indices] = True
    heldout = heldout.view_as(some)
    quiet = squares(heldout) if correlated else heldout
    return Split(valid, heldout & valid, valid & ~quiet)


def squares(centres: torch.Tensor) -> torch.Tensor:
    """Bool map of the squares around the pixels that are True; (B, C, h, w) to the same."""
    return F.max_pool2d(centres.float(), SQUARE, stride=1, padding=SQUARE // 2) > 0


@dataclass(frozen=True)
class Scene(Slotted):
    """What an input is made from."""

    values: torch.Tensor
    """(B, C, h, w) float32: the measurement in the network's domain; anything where not valid."""
    parts: Split
    scale: int
    """Pixels of the estimate per pixel of the measurement, along each axis."""
    size: tuple[int, int]
    """Height and width of the input; at least those of the estimate, but for a decoder's small code."""
    mixes: bool
    """Whether a pixel of the measurement is made of several pixels of the estimate."""
    draws: Dice
    """On the device of the values."""
    guide: torch.Tensor | None = None
    """(B, g, h, w) float32: a second image of the same scene."""

    @property
    def guide_channels(self) -> int:
        """Channels that the guide adds to an input."""
        return 0 if self.guide is None else self.guide.shape[1]

    def guided(self, z: torch.Tensor) -> torch.Tensor:
        """An input (B, inputs, H', W') with the guide's channels after its own."""
        if self.guide is None:
            return z
        return torch.cat([z, to_size(self.guide, self, "replicate")], 1)

    def everywhere(self) -> torch.Tensor:
        """(B, C, H, W) bool, True: every pixel of the estimate."""
        b, c, h, w = self.values.shape
        shape = (b, c, h * self.scale, w * self.scale)
        return torch.ones(shape, dtype=torch.bool, device=self.values.device)

    def dither(self) -> torch.Tensor:
        """Fixed noise for the last channel of an input, nothing for the others; (B, C + 1, H', W')."""
        b, c, _, _ = self.values.shape
        noise = torch.zeros((b, c + 1, *self.size), device=self.values.device)
        noise[:, -1] = DITHER * self.draws.uniform(*self.size)
        return noise


class NoiseCode(Slotted):
    """The paper's input: one random code, and a little fresh noise on it at each iteration."""

    def __init__(self, scene: Scene, depth: int, fresh: float) -> None:
        self.channels = depth + scene.guide_channels
        self.scene = scene
        self.fresh = fresh
        self.code = CODE_AMPLITUDE * scene.draws.uniform(depth, *scene.size)
        self.asked = scene.parts.usable
        self.answered = scene.everywhere()

    def draw(self) -> Draw:
        """Perturb the code; ask about every usable pixel."""
        noise = self.scene.draws.normal(*self.code.shape[1:])
        z = self.scene.guided(self.code + self.fresh * noise)
        return Draw(z, self.asked, self.answered)


class BlindSpot(Slotted):
    """The measurement itself, with random pixels dropped, filled and asked about (DESIGN, decision 5).

    What a pixel measured never reaches its own estimate: pixels that are invalid or held out are always
    dropped; the others at random, all channels together. Where the noise is correlated whole squares are
    dropped and their centre is asked about, so that no neighbour tells the pixel's noise. The last
    channel of the input is the share of channels kept at each pixel. With dice, which are the CPU's, the
    pattern of the missing pixels is dropped too, moved at random (docs/design/007-filling.md).
    """

    def __init__(
        self, scene: Scene, drop: float, correlated: bool, dice: Dice | None = None
    ) -> None:
        self.channels = scene.values.shape[1] + 1 + scene.guide_channels
        self.scene = scene
        self.usable = scene.parts.usable
        self.values = torch.where(self.usable, scene.values, 0)  # (B, C, h, w)
        self.always = scene.parts.heldout | ~scene.parts.valid  # missing from every input
        self.correlated = correlated
        # With squares, the rate of centres makes the share of dropped pixels what is asked for.
        rate = 1 - (1 - drop) ** (1 / SQUARE**2) if correlated else drop
        self.dither = scene.dither()
        self.everywhere = scene.everywhere()
        self.dice = dice
        self.holes = (~scene.parts.valid).any(1, keepdim=True)  # (B, 1, h, w)
        share = self.holes.double().mean((1, 2, 3), keepdim=True)
        # with as many missing as are dropped anyway, to drop as many again leaves too little
        self.holes &= (share <= drop) if dice is not None and not correlated else False
        # so that what is dropped stays the same share
        fewer = 1 - (1 - drop) / (1 - share.clamp(max=drop))
        some = self.holes.flatten(1).any(1).view_as(share)
        self.rate = torch.where(some, fewer, rate).float()  # (B, 1, 1, 1)

    def draw(self) -> Draw:
        """Drop anew; ask about what was dropped."""
        centres = self.scene.draws.uniform(1, *self.values.shape[-2:]) < self.rate
        if self.dice is not None and not self.correlated:
            centres = centres | moved(self.holes, self.dice)
        dropped = squares(centres) if self.correlated else centres  # (B, 1, h, w)
        kept = self.usable & ~dropped  # (B, C, h, w)
        filled = fill_unknown(self.values, kept, FILL_RADIUS if self.correlated else None)
        z = self.scene.guided(prepare(filled, kept, self.scene) + self.dither)
        # Where A mixes pixels none of the estimate has a pixel of its own that could be kept from it:
        # the whole output is averaged.
        answered = self.everywhere if self.scene.mixes else centres | self.always
        return Draw(z, centres & self.usable, answered)


def moved(patterns: torch.Tensor, dice: Dice) -> torch.Tensor:
    """Patterns (B, 1, h, w), each mirrored or not and shifted around its borders at random.

    The dice are the CPU's, so that no device is waited for.
    """
    h, w = patterns.shape[-2:]
    found = []
    for pattern, (down, right, y, x) in zip(patterns, dice.uniform(4).tolist(), strict=True):
        mirrored = [axis for axis, number in ((-2, down), (-1, right)) if number < 0.5]
        found.append(pattern.flip(mirrored).roll((int(y * h), int(x * w)), (-2, -1)))
    return torch.stack(found)


class Whole(Slotted):
    """The measurement itself, interpolated, nothing dropped: for super-resolution and deconvolution.

    There the network has to invent what lies between the pixels, or what the optics have blurred, not to
    clean them, and sees best what it has to agree with. (Butterfly x2, 128x128, Y channel: 30.7 dB after
    200 iterations; 29.4 with 30 % dropped, 24 with the random code, 28.9 for Lanczos-3 interpolation.)
    """

    def __init__(self, scene: Scene) -> None:
        self.channels = scene.values.shape[1] + 1 + scene.guide_channels
        self.usable = scene.parts.usable
        filled = fill_unknown(torch.where(self.usable, scene.values, 0), self.usable)
        self.z = scene.guided(prepare(filled, self.usable, scene) + scene.dither())
        self.everywhere = scene.everywhere()

    def draw(self) -> Draw:
        """Give the same input, ask about every usable pixel."""
        return Draw(self.z, self.usable, self.everywhere)


def prepare(filled: torch.Tensor, kept: torch.Tensor, scene: Scene) -> torch.Tensor:
    """Bring a filled measurement to the resolution of the estimate and to a size the network takes.

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
