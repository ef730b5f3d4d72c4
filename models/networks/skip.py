"""The encoder-decoder of the Deep Image Prior paper: with skip connections, without them, and leaner.

Kind `skip` is the network of Ulyanov, Vedaldi & Lempitsky, "Deep Image Prior" (CVPR 2018), read from their
`models/skip.py`. One thing differs, without effect on the functions that it can compute: convolutions before
a batch norm have no bias, because the norm removes it. Kind `hourglass` is the same with 0 channels in its
skip connections, as their code inpaints large holes. Kind `lean` leaves out what costs time and gains nothing
(docs/design/005-speed.md). Kind `unshuffled` is a lean network at half the resolution: each square of 2x2
pixels becomes four channels of its input and its output, as in FFDNet (Zhang, Zuo & Zhang 2018,
10.1109/TIP.2018.2839891), since passes over memory at full resolution take most of the time.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from glassplate.models.networks.layers import BatchNorm, Head, Upsample, conv_norm_activation
from glassplate.models.networks.prior_network import PriorNetwork
from glassplate.models.networks.settings import LEAN, NetworkSettings

# Side of the square of pixels that become channels.
SQUARE = 2


class SkipNetwork(PriorNetwork):
    """An encoder-decoder; without skip connections if `skip_channels` is 0 or the kind is `hourglass`.

    In the kinds `skip` and `hourglass` the bias of the norm after a joint has no effect, as in the paper: the
    norm after the next convolution removes it.
    """

    def __init__(self, settings: NetworkSettings, inputs: int, outputs: int) -> None:
        super().__init__()
        wide, lean = settings.channels, settings.kind in LEAN
        fine = min(settings.fine_channels, wide) if lean else wide
        self.upsample = Upsample(settings.upsample)
        self.skips, self.downs = nn.ModuleList(), nn.ModuleList()
        self.narrowings, self.ups = nn.ModuleList(), nn.ModuleList()
        for scale in range(settings.scales):
            above, width = (inputs, fine) if scale == 0 else (wide, wide)
            skip = skip_channels(settings, width)
            if skip:
                self.skips.append(conv_norm_activation(above, skip, 1))
            down: list[nn.Module] = [conv_norm_activation(above, wide, 3, stride=2)]
            up: list[nn.Module] = [
                conv_norm_activation(skip + width, width, 3),
                conv_norm_activation(width, width, 1),
            ]
            if not lean:
                down.append(conv_norm_activation(wide, wide, 3))
                up.insert(0, BatchNorm(skip + width))
            self.downs.append(nn.Sequential(*down))
            self.ups.append(nn.Sequential(*up))
            # narrowed before the upsampling, at a quarter of the pixels
            narrower = width < wide
            self.narrowings.append(
                conv_norm_activation(wide, width, 1) if narrower else nn.Identity()
            )
        self.head = Head(fine, outputs, settings.output)

    def features(self, z: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) to (B, channels at full resolution, H, W)."""
        x, passed = z, []
        for scale, down in enumerate(self.downs):
            if self.skips:
                passed.append(self.skips[scale](x))  # (B, skip, H/2^k, W/2^k)
            x = down(x)  # (B, wide, H/2^(k+1), W/2^(k+1))
        for narrow, up in zip(reversed(self.narrowings), reversed(self.ups), strict=True):
            x = self.upsample(narrow(x))  # (B, width, H/2^k, W/2^k)
            if passed:
                x = torch.cat([passed.pop(), x], 1)
            x = up(x)  # (B, width, H/2^k, W/2^k)
        return x


def skip_channels(settings: NetworkSettings, width: int) -> int:
    """Channels of the skip connection at a scale that has `width` feature channels."""
    if settings.kind == "hourglass":
        return 0
    return min(settings.skip_channels, width) if settings.kind in LEAN else settings.skip_channels


class UnshuffledNetwork(SkipNetwork):
    """A lean network at half the resolution; its input has an even height and width."""

    def __init__(self, settings: NetworkSettings, inputs: int, outputs: int) -> None:
        super().__init__(settings, inputs * SQUARE**2, outputs * SQUARE**2)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W) float32."""
        last = z.is_contiguous(memory_format=torch.channels_last)
        z = F.pixel_unshuffle(z, SQUARE)  # (B, 4 inputs, H/2, W/2)
        if last:
            z = z.contiguous(memory_format=torch.channels_last)
        return F.pixel_shuffle(super().forward(z), SQUARE)
