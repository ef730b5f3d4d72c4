"""A made photograph and the JPEG of it."""

import imagecodecs
import numpy as np
import torch

from glassplate.models.operators.quantisation import standard_quantisation

SAMPLINGS = {"444": (1, 1), "422": (1, 2), "420": (2, 2)}


def photograph(height=64, width=96, channels=3):
    """Smooth shades, an edge and some texture, 40 to 215; uint8 (y, x) or (y, x, 3)."""
    y, x = np.mgrid[:height, :width]
    rng = np.random.default_rng(0)
    planes = [
        128 + 40 * np.sin(x / (7 + c)) * np.cos(y / 9) + 30 * (x > y) + 4 * rng.normal(size=x.shape)
        for c in range(channels)
    ]
    return np.clip(np.stack(planes, -1), 40, 215).astype("u1").squeeze()


def tensor(image):
    planes = image[None] if image.ndim == 2 else np.moveaxis(image, -1, 0)
    return torch.from_numpy(planes[None].astype("f4"))


def saved(image, quality, subsampling="444"):
    """The decoded JPEG of an image as a tensor, and how it was rounded."""
    colour = {} if image.ndim == 2 else {"subsampling": subsampling}
    decoded = imagecodecs.jpeg_decode(imagecodecs.jpeg_encode(image, level=quality, **colour))
    channels = 1 if image.ndim == 2 else 3
    return tensor(decoded), standard_quantisation(quality, channels, SAMPLINGS[subsampling])
