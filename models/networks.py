"""Prior networks: untrained, fitted to one tile, thrown away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class NetworkSettings:
    """Shape of a prior network."""

    __pydantic_config__ = {"extra": "forbid"}

    kind: Literal["skip"] = "skip"
    """skip: encoder-decoder with skip connections, the network of the DIP paper."""
    channels: int = 32
    """Feature channels of every scale."""
    scales: int = 4
    """Times the resolution is halved."""
    skip_channels: int = 32
    """Channels of each skip connection."""
    output: Literal["linear", "sigmoid"] = "linear"
    """Last layer: linear may be negative, as sky must; sigmoid is the paper's."""
