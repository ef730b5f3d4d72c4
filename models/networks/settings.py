"""The shape of a prior network as the user sets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# Kinds of a skip network without what costs time and gains nothing.
LEAN = ("lean", "unshuffled")


@dataclass(frozen=True)
class NetworkSettings:
    """Shape of a prior network."""

    __pydantic_config__ = {"extra": "forbid"}

    kind: Literal[
        "lean", "unshuffled", "skip", "hourglass", "unet", "resnet", "decoder", "enlarging"
    ] = "lean"
    """skip: encoder-decoder with skip connections, the network of the DIP paper; lean: the same with
    fewer channels at full resolution, one convolution instead of two on the way down, and no norm where
    skip connections join; unshuffled: lean at half the resolution, where each square of 2x2 pixels is four
    channels; hourglass: skip without skip connections; unet: skip connections carry all
    channels; resnet: residual blocks at full resolution; decoder: 1x1 convolutions and upsampling from a
    small random code, few weights, no input but `noise`; enlarging: residual blocks that double the size of
    an image, and learn it from the image made smaller (superres). docs/networks.md says which kind suits
    what."""
    channels: int = 32
    """Feature channels of every scale; for a unet those at full resolution, doubled with every scale."""
    fine_channels: int = 16
    """Feature channels at the finest resolution, where most of the time goes; at most `channels` (lean,
    unshuffled)."""
    scales: int = 4
    """How often the resolution is halved; for a resnet and an enlarging network, which never halve it, the
    number of blocks."""
    skip_channels: int = 32
    """Channels of each skip connection; in a lean network at most those of its scale (lean, unshuffled,
    skip)."""
    upsample: Literal["nearest", "bilinear"] = "nearest"
    """Upsampling from scale to scale: nearest is cheapest and fits faster; bilinear is the paper's
    (lean, unshuffled, skip, hourglass, unet; a decoder is always bilinear)."""
    output: Literal["linear", "sigmoid"] = "linear"
    """Last layer: linear allows negative values, which sky needs; sigmoid is the paper's."""

    def __post_init__(self) -> None:
        for name, least in (
            ("channels", 1),
            ("fine_channels", 1),
            ("scales", 1),
            ("skip_channels", 0),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least {least}")
