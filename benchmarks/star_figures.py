"""What became of stars of known place and flux, in an image and in its restoration alike.

Fluxes are measured by a fit of the known profile and a constant level at the known place, so that `kept`
compares like with like. Detections are peaks of the same fit at every place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage
from studies import calibration

from glassplate.pipeline.assess.injection.artificial import SIGNIFICANCES as BINS
from glassplate.pipeline.assess.injection.matched_filter import (
    fitted_flux,
    flux_map,
    peaks,
    scatter,
)

HALF = 7  # half the side of the box in which a star is measured
# Signal to noise from which places and widths are compared, and above which a false source counts.
BRIGHT, FALSE = 10, 5.0
# Part of the width at half maximum within which a detection is a star.
MATCHED = 0.5
# Share of the detections that must be stars where the completeness is told.
PURITY = 0.9
# Pixels of a step by which the derivative of a profile is taken.
STEP = 0.05


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
    flux_error: float
    """Scatter of the fluxes of a matched filter where there is nothing."""
    truth: np.ndarray | None
    """``(y, x)`` without noise; None where nobody knows it."""


def star(fwhm: float, half: int, dy: float, dx: float) -> np.ndarray:
    """A Gaussian star of flux 1, ``(2 half + 1, 2 half + 1)``, off the centre by a part of a pixel."""
    t = np.arange(-half, half + 1)
    sigma = fwhm / 2.3548
    profile = np.exp(-((t[:, None] - dy) ** 2 + (t - dx) ** 2) / (2 * sigma**2))
    return profile / profile.sum()


def star_figures(
    field: Field, result: np.ndarray, uncertainty: np.ndarray | None
) -> dict[str, Any]:
    """Return all figures of one result, ``(y, x)``, with its stated standard deviation if it has one."""
    found = {
        **kept_light(field, result),
        **moved(field, result),
        **detected(field, result),
    }
    if field.truth is not None and uncertainty is not None:
        near = np.zeros(result.shape, bool)
        near[tuple(np.round(field.places).astype(int).T)] = True
        near = ndimage.binary_dilation(near, iterations=round(field.fwhm / 2))
        for name, where in (("stars", near), ("sky", field.empty)):
            shares = calibration(result, field.truth, {"uncertainty": uncertainty}, where)
            found |= {f"{key}_{name}": share for key, share in shares.items()}
    return found


def kept_light(field: Field, result: np.ndarray) -> dict[str, Any]:
    """Flux kept by signal to noise, and the scatter of the empty sky in units of the input's."""
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


def fluxes(image: np.ndarray, field: Field) -> np.ndarray:
    """Flux of every star, by a fit of its profile and a level; ``(n,)``."""
    return np.array(
        [fitted_flux(box, star(field.fwhm, HALF, *off)) for box, off in boxes(image, field)]
    )


def boxes(image: np.ndarray, field: Field) -> list[tuple[np.ndarray, tuple[float, float]]]:
    """Pixels around each star, and how far off their middle it is."""
    return [
        (
            image[round(y) - HALF : round(y) + HALF + 1, round(x) - HALF : round(x) + HALF + 1],
            (y - round(y), x - round(x)),
        )
        for y, x in field.places
    ]


def moved(field: Field, result: np.ndarray) -> dict[str, float]:
    """Shift and change of width of the stars above `BRIGHT`, each the mean weighted by flux.

    `shift` in pixels and `width` relative, those of the result less those of the input; `place_before` and
    `place_after` are the root mean square distances from the true places.
    """
    chosen = field.significance > BRIGHT
    terms = [of_place_and_width(image, field)[chosen] for image in (field.image, result)]
    means = [each[:, 1:].sum(0) / each[:, 0].sum() for each in terms]
    change = means[1] - means[0]
    errors = [float(np.sqrt(((each[:, 1:3] / each[:, :1]) ** 2).sum(1).mean())) for each in terms]
    return {
        "shift": float(np.hypot(*change[:2])),
        "width": float(change[2]),
        "place_before": errors[0],
        "place_after": errors[1],
    }


def of_place_and_width(image: np.ndarray, field: Field) -> np.ndarray:
    """Flux of each star, and flux times its distance in y and x and its excess of width; ``(n, 4)``."""
    found = []
    for box, (dy, dx) in boxes(image, field):
        profile = star(field.fwhm, HALF, dy, dx)
        terms = [
            profile,
            (star(field.fwhm, HALF, dy + STEP, dx) - profile) / STEP,
            (star(field.fwhm, HALF, dy, dx + STEP) - profile) / STEP,
            (star(field.fwhm * (1 + STEP), HALF, dy, dx) - profile) / STEP,
            np.ones_like(profile),
        ]
        matrix = np.stack([term.ravel() for term in terms], 1)
        found.append(np.linalg.lstsq(matrix, box.ravel(), rcond=None)[0][:4])
    return np.array(found)


def detected(field: Field, result: np.ndarray) -> dict[str, float | int]:
    """Completeness of the faintest stars where `PURITY` of all detections are stars, and false sources.

    A detection within `MATCHED` widths of a star is that star; one in the empty sky is false; others are of
    galaxies or of the slopes of stars, and do not count. `false` counts those above `FALSE` times the error
    of a flux in the input, in the pixels of `empty_mpx`.
    """
    figures: dict[str, float | int] = {"empty_mpx": float(field.empty.sum() / 1e6)}
    for name, image in (("before", field.image), ("after", result)):
        of_stars, false = detections(image, field)
        figures[f"false_{name}"] = int((false > FALSE * field.flux_error).sum())
        figures[f"complete_{name}"] = completeness(field, of_stars, false)
    return figures


def detections(image: np.ndarray, field: Field) -> tuple[np.ndarray, np.ndarray]:
    """Flux with which each star is detected, 0 where it is not, ``(n,)``, and fluxes of the false ones."""
    mapped = flux_map(image, star(field.fwhm, HALF, 0, 0))
    middle = np.array(mapped.shape) // 2 + HALF
    of_stars, false = np.zeros(len(field.places)), []
    for peak in peaks(mapped, 2 * field.flux_error):
        place = middle + np.array([peak.dy, peak.dx])
        distance = np.hypot(*(field.places - place).T)
        nearest = int(distance.argmin())
        if distance[nearest] <= MATCHED * field.fwhm:
            of_stars[nearest] = max(of_stars[nearest], peak.flux)
        elif field.empty[tuple(np.round(place).astype(int))]:
            false.append(peak.flux)
    return of_stars, np.array(false)


def completeness(field: Field, of_stars: np.ndarray, false: np.ndarray) -> float:
    """Share of the stars of the first of `BINS` above the least flux at which the purity is `PURITY`."""
    faintest = field.significance == BINS[0]
    best = 0.0
    for threshold in np.sort(of_stars[of_stars > 0]):
        true = int((of_stars >= threshold).sum())
        if true >= PURITY * (true + int((false >= threshold).sum())):
            best = max(best, float((of_stars[faintest] >= threshold).mean()))
    return best
