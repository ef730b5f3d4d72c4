"""Photographs of a camera with the noise that it made, and the mean of many exposures as their truth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rivals import Method, bm3d, unchanged
from skimage import io
from studies import Wanted, central, timed

from glassplate.models.metrics import psnr

# Standard deviations, levels of 255, of which the best for each image is BM3D's: no user can know it.
SIGMAS = (2, 4, 6, 8, 10, 12)


def real(
    data: Path, ours: dict[str, Method], wanted: Wanted
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Crops of PolyU's camera JPEGs (Xu et al. 2018), blind; PSNR over all channels, result clipped."""
    for path in sorted((data / "std" / "polyu").glob("*_real.*")):
        name = path.stem.removesuffix("_real")
        if not wanted(name):
            continue
        truth_path = path.with_name(path.name.replace("_real", "_mean"))
        noisy, crop = central(io.imread(path).transpose(2, 0, 1) / 255)
        truth, _ = central(io.imread(truth_path).transpose(2, 0, 1) / 255)
        methods = {"noisy": unchanged, "BM3D, best sigma": best_bm3d(truth)}
        methods |= {title: in_levels(method) for title, method in ours.items()}
        for title, method in methods.items():
            result, facts, spent = timed(method, noisy)
            decibel = psnr(np.clip(result, 0, 1), truth, 1.0)
            gained = decibel - psnr(noisy, truth, 1.0)
            yield (
                name,
                title,
                {"psnr_db": decibel, "gain_db": gained, "crop": crop, **spent, **facts},
            )


def in_levels(method: Method) -> Method:
    """Give a method the whole numbers of the file instead of values from 0 to 1."""

    def run(image: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        result, facts = method(np.round(255 * image))
        return result / 255, facts

    return run


def best_bm3d(truth: np.ndarray) -> Method:
    """BM3D with that of `SIGMAS` that comes closest to the truth (c, y, x)."""

    def run(image: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        results = {sigma: bm3d(sigma / 255)(image)[0] for sigma in SIGMAS}
        best = max(SIGMAS, key=lambda sigma: psnr(np.clip(results[sigma], 0, 1), truth, 1.0))
        return results[best], {"sigma": best}

    return run
