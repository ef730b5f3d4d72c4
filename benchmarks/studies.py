"""What is measured on what: each study yields image, method and figures, one method after another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from rivals import Method, bm3d, gaussian, in_anscombe, nlm, total_variation, unchanged
from scipy import ndimage
from skimage import io

from glassplate.models.metrics import flux_ratio, mse, psnr

SIGMA = 25 / 255
Wanted = Callable[[str], bool]
"""Whether an image, by its name, is to be measured."""


def set9(
    data: Path, ours: dict[str, Method], wanted: Wanted
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Photographs with white noise of 25/255, clipped; PSNR over all channels, result clipped."""
    methods = {"noisy": unchanged, "NLM": nlm(SIGMA, 0.6), "BM3D": bm3d(SIGMA), **ours}
    for path in sorted((data / "std" / "set9").glob("*.png")):
        if not wanted(path.stem):
            continue
        clean, crop = central(io.imread(path).transpose(2, 0, 1) / 255)
        noise = np.random.default_rng(0).normal(0, SIGMA, clean.shape[1:] + clean.shape[:1])
        noisy = np.clip(clean + noise.transpose(2, 0, 1), 0, 1)
        for name, method in methods.items():
            result, facts, spent = timed(method, noisy)
            decibel = psnr(np.clip(result, 0, 1), clean, 1.0)
            yield path.stem, name, {"psnr_db": decibel, "crop": crop, **spent, **facts}


def whole(
    data: Path, ours: dict[str, Method], wanted: Wanted
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The same photographs uncropped, those of several tiles, with the same noise."""
    methods = {"noisy": unchanged, "NLM": nlm(SIGMA, 0.6), "BM3D": bm3d(SIGMA), **ours}
    for path in sorted((data / "std" / "set9").glob("*.png")):
        clean = io.imread(path).transpose(2, 0, 1) / 255
        if not wanted(path.stem) or min(clean.shape[1:]) <= 256:
            continue
        noise = np.random.default_rng(0).normal(0, SIGMA, clean.shape[1:] + clean.shape[:1])
        noisy = np.clip(clean + noise.transpose(2, 0, 1), 0, 1)
        for name, method in methods.items():
            result, facts, spent = timed(method, noisy)
            decibel = psnr(np.clip(result, 0, 1), clean, 1.0)
            yield path.stem, name, {"psnr_db": decibel, **spent, **facts}


def central(image: np.ndarray, side: int = 256) -> tuple[np.ndarray, list[int]]:
    """Rows and columns 128 to 384 where there are so many, else the centre; with the crop's edges."""
    edges = []
    for size in image.shape[1:]:
        start = 128 if size >= 128 + side else max(0, (size - side) // 2)
        edges += [start, min(start + side, size)]
    return image[:, edges[0] : edges[1], edges[2] : edges[3]], edges


def xmm(
    data: Path, ours: dict[str, Method], wanted: Wanted
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """X-ray counts of 20 ks against the independent rest of the exposure.

    The plain gain is that of the brightest sources; weighted by the inverse of the counts expected, it
    is that of the whole field.
    """
    methods = {
        "noisy": unchanged,
        "Gaussian 0.6 px": in_anscombe(gaussian(0.6)),
        "NLM": in_anscombe(nlm(1.0)),
        "TV": in_anscombe(total_variation(1.0)),
        **ours,
    }
    for path in sorted((data / "astro" / "pairs" / "xmm").glob("20ks_*")):
        field = path.name.split("_")[1]
        if not wanted(field):
            continue
        [whole] = path.parent.glob(f"full_{field}_*")
        (y, y_s), (full, full_s) = counts(path), counts(whole)
        scale = y_s / (full_s - y_s)
        truth, variance = (full - y) * scale, (full - y) * scale**2
        # the truth is Poisson: its counts are the estimate of its variance
        weight = 1 / (ndimage.gaussian_filter(full * y_s / full_s, (0, 3, 3)) + 0.05)
        before: tuple[float, float] | None = None
        for name, method in methods.items():
            x, facts, spent = timed(method, y)
            error = mse(x, truth) - float(variance.mean())
            weighted = float(np.mean(weight * ((x - truth) ** 2 - variance)))
            before = before or (error, weighted)
            figures = {
                "gain_db": decibels(before[0], error),
                "weighted_gain_db": decibels(before[1], weighted),
                "flux_ratio": flux_ratio(x, truth),
                "own_flux_ratio": flux_ratio(x, y),
            }
            yield field, name, {**figures, **spent, **facts}


def counts(path: Path) -> tuple[np.ndarray, float]:
    """Counts ``(1, y, x)`` and exposure in seconds."""
    with fits.open(path) as hdus:
        return np.asarray(hdus[0].data, np.float64)[None], float(hdus[0].header["EXPOSURE"])


def decam(
    data: Path, ours: dict[str, Method], wanted: Wanted
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each of five resampled exposures of a night against the mean of the other four.

    The gain is that of the sky, where the seeing, which differs, does not matter; the flux that of the
    sources.
    """
    folder = data / "astro" / "pairs" / "decam_i_2nights"
    paths = sorted(folder.glob("DEC-OBS04?.mini.fits"))
    exposures = np.stack([np.asarray(fits.getdata(path), np.float64) for path in paths])[:, None]
    stack = np.asarray(fits.getdata(folder / "Stack-DEC-OBS04.fits"), np.float64)[None]
    spread = 1.4826 * np.median(np.abs(stack - np.median(stack)))
    smooth = ndimage.gaussian_filter(stack, (0, 1, 1))
    sky, source = smooth < 3 * spread, smooth > 5 * spread
    for place, path in enumerate(paths):
        exposure = path.name.split(".")[0][-1]
        if not wanted(exposure):
            continue
        y, others = exposures[place], np.delete(exposures, place, 0)
        truth, variance = others.mean(0), others.var(0, ddof=1) / len(others)
        sigma = 1.4826 * np.median(np.abs(y - np.median(y)))
        methods = {
            "noisy": unchanged,
            "Gaussian 1.5 px": gaussian(1.5),
            "NLM": nlm(sigma),
            "TV": total_variation(sigma),
            **ours,
        }
        before = None
        for name, method in methods.items():
            x, facts, spent = timed(method, y)
            error = mse(x, truth, sky) - float(variance[sky].mean())
            before = before or error
            figures = {
                "gain_db": decibels(before, error),
                "flux_ratio": flux_ratio(x, truth, source),
                "own_flux_ratio": flux_ratio(x, y, source),
            }
            yield exposure, name, {**figures, **spent, **facts}


def decibels(before: float, after: float) -> float | None:
    """Gain in mean squared error; None where the reference's noise exceeds what is left."""
    return 10 * float(np.log10(before / after)) if before > 0 and after > 0 else None


def timed(method: Method, image: np.ndarray) -> tuple[np.ndarray, dict[str, Any], dict[str, float]]:
    """Apply a method; seconds of the clock and of the processor, which a busy machine does not lengthen."""
    clock, processor = time.perf_counter(), time.process_time()
    result, facts = method(image)
    spent = {"seconds": time.perf_counter() - clock, "cpu_seconds": time.process_time() - processor}
    return result, facts, {key: round(value, 3) for key, value in spent.items()}
