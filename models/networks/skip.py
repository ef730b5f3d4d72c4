"""The encoder-decoder of the Deep Image Prior paper, with its skip connections, leaner, or without them.

Kind `skip` is the network of Ulyanov, Vedaldi & Lempitsky, "Deep Image Prior" (CVPR 2018), read from their
`models/skip.py`. One thing differs and changes no function it can compute: convolutions before a batch norm
carry no bias (the norm removes it). Kind `hourglass` is the same with 0 channels in its skip connections,
as that code has it and as their inpainting of large holes uses it. Kind `lean` leaves out what costs time
and gains nothing (docs/design/005-speed.md).
"""

from __future__ import annotations

import torch
from torch import nn

from glassplate.models.networks.layers import BatchNorm, Doubled, Head, convolve_and_norm
from glassplate.models.networks.settings import NetworkSettings, PriorNetwork


class SkipNetwork(PriorNetwork):
    """An encoder-decoder; `skip_channels` 0, or the kind `hourglass`, leaves the skip connections out.

    In the kinds `skip` and `hourglass` the bias of the norm of what is joined does nothing, as in the
    paper: a norm follows the convolution after it.
    """

    def __init__(self, settings: NetworkSettings, inputs: int, outputs: int) -> None:
        super().__init__()
        wide, lean = settings.channels, settings.kind == "lean"
        fine = min(settings.fine_channels, wide) if lean else wide
        self.upsample = Doubled(settings.upsample)
        self.skips, self.downs = nn.ModuleList(), nn.ModuleList()
        self.narrowings, self.ups = nn.ModuleList(), nn.ModuleList()
        for scale in range(settings.scales):
            above, width = (inputs, fine) if scale == 0 else (wide, wide)
            skip = skip_channels(settings, width)
            if skip:
                self.skips.append(convolve_and_norm(above, skip, 1))
            down: list[nn.Module] = [convolve_and_norm(above, wide, 3, stride=2)]
            up: list[nn.Module] = [
                convolve_and_norm(skip + width, width, 3),
                convolve_and_norm(width, width, 1),
            ]
            if not lean:
                down.append(convolve_and_norm(wide, wide, 3))
                up.insert(0, BatchNorm(skip + width))
            self.downs.append(nn.Sequential(*down))
            self.ups.append(nn.Sequential(*up))
            # before the upsampling, where there is a quarter of the pixels
            narrower = width < wide
            self.narrowings.append(convolve_and_norm(wide, width, 1) if narrower else nn.Identity())
        self.head = Head(fine, outputs, settings.output)

    def features(self, z: torch.Tensor) -> torch.Tensor:
        """Down through the scales and up again."""
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
    return min(settings.skip_channels, width) if settings.kind == "lean" else settings.skip_channels
