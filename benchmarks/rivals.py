"""Classical methods that are told the noise, for comparison."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve
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


def bm3d(sigma: float | np.ndarray) -> Method:
    """BM3D, told the noise, of all channels or of each."""
    import bm3d as package

    def run(image: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        if len(image) == 3:
            return package.bm3d_rgb(image.transpose(1, 2, 0), sigma).transpose(2, 0, 1), {}
        return np.stack([package.bm3d(plane, sigma) for plane in image]), {}

    return run


def enlarged(filter_: Image.Resampling, scale: int) -> Method:
    """Pillow's interpolation of 8-bit values."""

    def run(image: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        levels = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
        height, width = image.shape[1:]
        large = Image.fromarray(levels).resize((width * scale, height * scale), filter_)
        return np.asarray(large).transpose(2, 0, 1) / 255, {}

    return run


def back_projected(scale: int, steps: int = 20) -> Method:
    """Iterative back-projection (Irani & Peleg 1991) from bicubic interpolation, both ways bicubic."""

    def resized(planes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        images = [Image.fromarray(plane.astype(np.float32)) for plane in planes]
        return np.stack([np.asarray(i.resize(size, Image.Resampling.BICUBIC)) for i in images])

    def run(image: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        height, width = image.shape[1:]
        x = resized(image, (width * scale, height * scale))
        for _ in range(steps):
            off = image - resized(x, (width, height))
            x = x + resized(off, (width * scale, height * scale))
        return x, {}

    return run


def median(side: int) -> Method:
    """Median filter."""
    return lambda image: (ndimage.median_filter(image, (1, side, side)), {})


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


def nearest_hint(hinted: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Each pixel the chroma of the hint that is nearest; of L, a, b (3, y, x), NaN where there is none."""
    known = np.isfinite(hinted[1])
    y, x = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return hinted[1:, y, x], {}


def spread_hints(radius: float) -> Method:
    """Normalised Gaussian mean of the hints; the hints themselves stay."""

    def run(hinted: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        known = np.isfinite(hinted[1:])
        weight = ndimage.gaussian_filter(known.astype("f8"), (0, radius, radius)) + 1e-12
        sums = ndimage.gaussian_filter(np.nan_to_num(hinted[1:]), (0, radius, radius))
        return np.where(known, hinted[1:], sums / weight), {}

    return run


def levin(hinted: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Colorization by optimisation (Levin, Lischinski & Weiss 2004), solved directly.

    Each pixel's chroma is the mean of its eight neighbours', weighted by how alike their lightness is, as
    in the authors' code; hints are given.
    """
    light, known = hinted[0] / 100, np.isfinite(hinted[1])
    h, w = light.shape
    index = np.arange(h * w).reshape(h, w)
    wide, places = np.pad(light, 1), np.pad(index, 1, constant_values=-1)
    beside = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    values = np.stack([wide[y : y + h, x : x + w] for y, x in beside])
    columns = np.stack([places[y : y + h, x : x + w] for y, x in beside])
    inside = columns >= 0
    squares = np.where(inside, (values - light) ** 2, np.inf)
    around = np.where(inside, values, np.nan)
    variance = np.nanvar(np.concatenate([around, light[None]]), 0)
    width = np.maximum(0.6 * variance, np.maximum(squares.min(0) / -np.log(0.01), 2e-6))
    weight = np.where(inside, np.exp(-squares / width), 0)
    weight = np.where(known, 0, weight / weight.sum(0))
    rows = np.broadcast_to(index, columns.shape)[inside]
    links = sparse.coo_matrix((-weight[inside], (rows, columns[inside])), shape=(h * w, h * w))
    system = sparse.eye(h * w, format="csc") + links.tocsc()
    given = np.nan_to_num(hinted[1:]).reshape(2, -1)
    return np.stack([spsolve(system, plane).reshape(h, w) for plane in given]), {}


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
