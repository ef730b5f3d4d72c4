"""Artificial stars in made skies and in real exposures: what a restoration does to their light.

The signal to noise of a star is that of a matched filter: its flux over the scatter of fluxes that the filter
measures where there is nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from scipy import ndimage
from star_figures import BINS, Field, star, star_figures
from studies import Method, Wanted, timed

from glassplate.pipeline.assess.injection.matched_filter import scatter

STEP = 22  # pixels between stars


def stars(
    data: Path, ours: dict[str, Method], wanted: Wanted
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Flux, places, detections and empty sky, each beside that of the input (see `star_figures`)."""
    for name, field in fields(data, wanted):
        for method, run in ours.items():
            result, facts, spent = timed(run, field.image[None])
            figures = star_figures(field, result[0], facts.pop("uncertainty", None))
            yield name, method, {**figures, **spent, **facts}


def fields(data: Path, wanted: Wanted) -> Iterator[tuple[str, Field]]:
    """Made skies of white and correlated noise and of photons; DECam exposures; two sets of stars each."""
    for seed in (1, 2):
        for kind in ("white", "correlated", "photons"):
            if wanted(f"{kind} {seed}"):
                yield f"{kind} {seed}", made(kind, seed)
    folder = data / "astro" / "pairs" / "decam_i_2nights"
    names = "abcde"
    images = {k: fits.getdata(folder / f"DEC-OBS04{k}.mini.fits").astype(float) for k in names}
    deep = np.mean(list(images.values()), axis=0)
    for name, image in images.items():
        for seed in (1, 2):
            if wanted(f"decam {name} {seed}"):
                yield f"decam {name} {seed}", real(image, deep, seed)


def made(kind: str, seed: int, side: int = 512, fwhm: float = 4.0) -> Field:
    """A sky of 1000 with galaxies, and noise of 10."""
    rng = np.random.default_rng(seed)
    scene = 1000 + galaxies(side, rng)
    busy = scene > 1004
    noise = rng.normal(0, 10, (side, side))
    if kind == "correlated":
        noise = ndimage.gaussian_filter(noise, 0.7, mode="wrap")
        noise *= 10 / noise.std()
    elif kind == "photons":  # a tenth of the light, so that the noise of the sky is 10
        noise = rng.poisson(scene / 10) * 10.0 - scene
    return with_stars(scene + noise, busy, noise, fwhm, rng, scene)


def real(image: np.ndarray, deep: np.ndarray, seed: int, fwhm: float = 4.5) -> Field:
    """A real exposure, with stars where the mean of all exposures has nothing."""
    smooth = ndimage.gaussian_filter(deep, 1.5) - np.median(deep)
    busy = ndimage.binary_dilation(smooth > 4 * scatter(smooth), iterations=2)
    noise = np.where(busy, 0, image - np.median(image[~busy]))
    return with_stars(image, busy, noise, fwhm, np.random.default_rng(seed))


def galaxies(side: int, rng: np.random.Generator) -> np.ndarray:
    """25 exponential disks per 512x512 pixels."""
    rows, columns = np.mgrid[:side, :side]
    total = np.zeros((side, side))
    for _ in range(25 * side**2 // 512**2):
        y, x, angle = rng.uniform(0, (side, side, np.pi))
        radius, ratio = rng.uniform((3, 0.4), (10, 1))
        along = (rows - y) * np.cos(angle) + (columns - x) * np.sin(angle)
        across = (columns - x) * np.cos(angle) - (rows - y) * np.sin(angle)
        total += rng.uniform(10, 150) * np.exp(-np.hypot(along, across / ratio) / radius)
    return total


def with_stars(
    image: np.ndarray,
    busy: np.ndarray,
    noise: np.ndarray,
    fwhm: float,
    rng: np.random.Generator,
    truth: np.ndarray | None = None,
) -> Field:
    """Put stars of all `BINS` on a jittered grid, where nothing else is."""
    profile = star(fwhm, 12, 0, 0)
    filtered = ndimage.convolve(noise, profile) / (profile**2).sum()
    free = ~ndimage.binary_dilation(busy, iterations=6)
    flux_error = scatter(filtered[free])
    light, empty, placed = np.zeros_like(image), free.copy(), []
    for row in range(STEP, image.shape[0] - 16, STEP):
        for column in range(STEP, image.shape[1] - 16, STEP):
            y, x = row + rng.uniform(-2, 2), column + rng.uniform(-2, 2)
            if free[round(y), round(x)]:
                placed.append((y, x))
    places = np.array(placed)
    significance = np.array([BINS[n % len(BINS)] for n in rng.permutation(len(places))])
    flux = significance * flux_error
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    for (y, x), of_star in zip(places, flux, strict=True):
        top, left = round(y), round(x)
        box = np.s_[top - 12 : top + 13, left - 12 : left + 13]
        light[box] += of_star * star(fwhm, 12, y - top, x - left)
        empty &= np.hypot(rows - y, columns - x) > 2.5 * fwhm
    truth = None if truth is None else truth + light
    return Field(image + light, places, significance, flux, fwhm, empty, flux_error, truth)
