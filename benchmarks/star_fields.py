"""Artificial stars in made skies and in real exposures: what a restoration does to their light.

The signal to noise of a star is that of a matched filter: its flux over the scatter of fluxes that the filter
measures where there is nothing. Fluxes are measured by a fit of the known profile and a constant level at the
known place, in the input and in the result alike, so that `kept` compares like with like.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from scipy import ndimage
from studies import Method, Wanted, timed

from glassplate.pipeline.assess.injection.artificial import SIGNIFICANCES as BINS
from glassplate.pipeline.assess.injection.matched_filter import fitted_flux, scatter

HALF = 7  # half the side of the box in which a star is measured
STEP = 22  # pixels between stars


@dataclass(frozen=True)
class Field:
    """An image with stars of known place and flux."""

    image: np.ndarray
    """``(y, x)``."""
    places: np.ndarray
    """``(n, 2)``, y and x in pixels."""
    significance: np.ndarray
    """``(n,)``, one of `BINS`."""
    flux: np.ndarray
    """``(n,)``, as put in."""
    fwhm: float
    empty: np.ndarray
    """``(y, x)`` bool: neither a star nor anything else is near."""


def stars(
    data: Path, ours: dict[str, Method], wanted: Wanted
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Flux kept by signal to noise, and the scatter of the empty sky in units of the input's."""
    for name, field in fields(data, wanted):
        for method, run in ours.items():
            result, facts, spent = timed(run, field.image[None])
            yield name, method, {**kept_light(field, result[0]), **spent, **facts}


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
    return with_stars(scene + noise, busy, noise, fwhm, rng)


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
    image: np.ndarray, busy: np.ndarray, noise: np.ndarray, fwhm: float, rng: np.random.Generator
) -> Field:
    """Put stars of all `BINS` on a jittered grid, where nothing else is."""
    profile = star(fwhm, 12, 0, 0)
    filtered = ndimage.convolve(noise, profile) / (profile**2).sum()
    free = ~ndimage.binary_dilation(busy, iterations=6)
    flux_error = scatter(filtered[free])
    image, empty, placed = image.copy(), free.copy(), []
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
        image[box] += of_star * star(fwhm, 12, y - top, x - left)
        empty &= np.hypot(rows - y, columns - x) > 2.5 * fwhm
    return Field(image, places, significance, flux, fwhm, empty)


def star(fwhm: float, half: int, dy: float, dx: float) -> np.ndarray:
    """A Gaussian star of flux 1, ``(2 half + 1, 2 half + 1)``, off the centre by a part of a pixel."""
    t = np.arange(-half, half + 1)
    sigma = fwhm / 2.3548
    profile = np.exp(-((t[:, None] - dy) ** 2 + (t - dx) ** 2) / (2 * sigma**2))
    return profile / profile.sum()


def fluxes(image: np.ndarray, field: Field) -> np.ndarray:
    """Flux of every star, by a fit of its profile and a level; ``(n,)``."""
    found = []
    for y, x in field.places:
        top, left = round(y), round(x)
        box = image[top - HALF : top + HALF + 1, left - HALF : left + HALF + 1]
        found.append(fitted_flux(box, star(field.fwhm, HALF, y - top, x - left)))
    return np.array(found)


def kept_light(field: Field, result: np.ndarray) -> dict[str, Any]:
    """Figures of one result."""
    before, after = fluxes(field.image, field), fluxes(result, field)
    figures: dict[str, Any] = {}
    for significance in BINS:
        chosen = field.significance == significance
        figures[f"kept_{significance}"] = float(after[chosen].mean() / before[chosen].mean())
        error = (after[chosen] - field.flux[chosen]).std() / field.flux[chosen].mean()
        figures[f"scatter_{significance}"] = float(error)
    figures["stars_a_bin"] = len(field.flux) // len(BINS)
    flat = [image - ndimage.median_filter(image, 31) for image in (field.image, result)]
    figures["sky"] = scatter(flat[1][field.empty]) / scatter(flat[0][field.empty])
    return figures
