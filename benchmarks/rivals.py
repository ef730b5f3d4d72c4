"""Classical methods that are told the noise, for comparison."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
from scipy import ndimage
from skimage import restoration

Method = Callable[[np.ndarray], tuple[np.ndarray, dict[str, Any]]]
"""From an image (c, y, x) to an estimate of the same shape and facts about how it came to be."""


def nlm(sigma: float, strength: float = 0.8) -> Method:
    """Non-local means, fast mode, told the noise; of no white noise `strength` is the width itself."""

    def run(image: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        colour = len(image) > 1
        result = restoration.denoise_nl_means(
            image.transpose(1, 2, 0) if colour else image[0],
            patch_size=5,
            patch_distance=6,
            h=strength * sigma if sigma else strength,
            sigma=sigma,
            fast_mode=True,
            channel_axis=-1 if colour else None,
        )
        result = result.transpose(2, 0, 1) if colour else result[None]
        return result, {}

    return run


def joint_bilateral(
    guide: np.ndarray, sigma: float, radius: int = 6, spread: float = 3.0
) -> Method:
    """Joint bilateral filter (Petschnigg et al. 2004): weights by distance and by the guide's difference.

    `guide` is (y, x); `sigma` the difference in the guide that halves trust, roughly.
    """

    def run(image: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        pad = [(radius, radius)] * 2
        wide_guide = np.pad(guide, pad, mode="reflect")
        wide = np.pad(image, [(0, 0), *pad], mode="reflect")
        total, weights = np.zeros_like(image), np.zeros(guide.shape)
        h, w = guide.shape
        for dy in range(2 * radius + 1):
            for dx in range(2 * radius + 1):
                far = ((dy - radius) ** 2 + (dx - radius) ** 2) / spread**2
                unlike = ((wide_guide[dy : dy + h, dx : dx + w] - guide) / sigma) ** 2
                weight = np.exp(-(far + unlike) / 2)
                weights += weight
                total += weight * wide[:, dy : dy + h, dx : dx + w]
        return total / weights, {}

    return run


def biharmonic(image: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Biharmonic equations over the NaN, by scikit-image."""
    missing = np.isnan(image)
    result = restoration.inpaint_biharmonic(
        np.where(missing, 0, image).transpose(1, 2, 0), missing.any(0), channel_axis=-1
    )
    return result.transpose(2, 0, 1), {}


def bm3d(sigma: float) -> Method:
    """BM3D, told the noise."""
    import bm3d as package

    def run(image: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        if len(image) == 3:
            return package.bm3d_rgb(image.transpose(1, 2, 0), sigma).transpose(2, 0, 1), {}
        return np.stack([package.bm3d(plane, sigma) for plane in image]), {}

    return run


def total_variation(sigma: float, weight: float = 1.0) -> Method:
    """Chambolle's total variation, in units of the noise."""
    return lambda image: (
        restoration.denoise_tv_chambolle(image[0] / sigma, weight=weight)[None] * sigma,
        {},
    )


def colour_variation(weight: float) -> Method:
    """Chambolle's total variation of all channels together."""
    return lambda image: (restoration.denoise_tv_chambolle(image, weight, channel_axis=0), {})


def mean_over_shifts(quality: int) -> Method:
    """JPEG again, on each of the 64 shifts of its lattice, and the mean (Nosratinia 2001)."""

    def run(image: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        _, h, w = image.shape
        wide = np.pad(image, [(0, 0), (8, 8), (8, 8)], mode="edge")
        levels = np.rint(255 * wide).astype("u1").transpose(1, 2, 0)
        total = np.zeros((h, w, len(image)))
        for down in range(8):
            for right in range(8):
                part = np.ascontiguousarray(levels[down:, right:]).squeeze()
                again = imagecodecs.jpeg_decode(imagecodecs.jpeg_encode(part, level=quality))
                y, x = 8 - down, 8 - right
                total += np.atleast_3d(again)[y : y + h, x : x + w]
        return total.transpose(2, 0, 1) / 64 / 255, {}

    return run


def gaussian(radius: float) -> Method:
    """Gaussian filter."""
    return lambda image: (ndimage.gaussian_filter(image, (0, radius, radius)), {})


def unchanged(image: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Give the measurement back."""
    return image, {}


def in_anscombe(method: Method) -> Method:
    """Apply a method for noise of 1 to counts, with the closed-form unbiased inverse."""

    def run(counts: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        d, facts = method(2 * np.sqrt(counts + 3 / 8))
        d = np.maximum(d, 2 * np.sqrt(3 / 8))
        # Makitalo & Foi 2011
        root = np.sqrt(1.5)
        x = d**2 / 4 + root / (4 * d) - 11 / (8 * d**2) + 5 * root / (8 * d**3) - 1 / 8
        return np.maximum(x, 0), facts

    return run
