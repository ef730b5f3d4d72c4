"""Zero-Shot Noise2Noise (Mansour & Heckel, CVPR 2023), written from the paper, for comparison.

A network of three convolutions learns, from the noisy image alone, to predict one of two half-resolution
images from the other. Torch and numpy only.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

# The authors' settings for sigma 25 (their notebook): steps of Adam, its rate and when that halves.
ITERATIONS, RATE, HALVED_EVERY = 2000, 1e-3, 1500
WIDTH = 48


def pair(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Means of the two diagonals of each 2x2 pixels; (1, C, H, W) to two (1, C, H/2, W/2)."""
    a, b = image[..., ::2, ::2], image[..., ::2, 1::2]
    c, d = image[..., 1::2, ::2], image[..., 1::2, 1::2]
    return (b + c) / 2, (a + d) / 2


def make_network(channels: int) -> nn.Sequential:
    """Predict the noise."""
    return nn.Sequential(
        nn.Conv2d(channels, WIDTH, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(WIDTH, channels, 1),
    )


def loss(network: nn.Module, noisy: torch.Tensor) -> torch.Tensor:
    """Residual and consistency losses of the paper, equations 4 and 5."""
    one, two = pair(noisy)
    clean_one, clean_two = one - network(one), two - network(two)
    residual = F.mse_loss(clean_one, two) + F.mse_loss(clean_two, one)
    whole_one, whole_two = pair(noisy - network(noisy))
    consistency = F.mse_loss(clean_one, whole_one) + F.mse_loss(clean_two, whole_two)
    return (residual + consistency) / 2


class ZeroShotNoise2Noise:
    """A fit under way; `step` it, then ask for `values`."""

    def __init__(self, image: np.ndarray, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.noisy = torch.from_numpy(np.asarray(image, np.float32))[
            None
        ]  # (1, C, H, W), even sides
        self.network = make_network(len(image))
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=RATE)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimiser, HALVED_EVERY, 0.5)

    def step(self) -> None:
        """One iteration."""
        self.optimiser.zero_grad(set_to_none=True)
        loss(self.network, self.noisy).backward()
        self.optimiser.step()
        self.schedule.step()

    def values(self) -> np.ndarray:
        """(c, y, x): the image without the noise it predicts."""
        with torch.no_grad():
            return (self.noisy - self.network(self.noisy)).clamp(0, 1)[0].numpy()
