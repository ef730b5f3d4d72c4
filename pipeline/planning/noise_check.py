"""Whether the noise that is given is what the image shows: said where not, refused where it cannot be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from glassplate.models.noise.estimate import estimate_noise
from glassplate.models.noise.model import NoiseModel, NoiseSettings
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.recipe import Recipe
from glassplate.pipeline.scaling import Sample
from glassplate.pipeline.sources.sample_windows import sample_windows
from glassplate.pipeline.sources.source import NOISE_KINDS, NoiseKind, SourceSpec

# Times by which the noise that is given may differ from what the image shows. The estimate errs by 3 % on
# photographs, by 30 % on the finest textures (docs/design/004-noise-estimation.md).
MOST_CONTRADICTION = 2.0
# Times by which no image of the noise is off that is one. Of 28 that come with their images (DECam, Mosaic,
# 90prime, HSC, a Gemini spectrum, the rms of an extractor) all lie within 0.92 and 1.12. Variances that
# know nothing of a later smoothing exceed what is shown: by 2.0 after a box of 2x2 pixels, 3.2 after one
# of 3x3, 3.8 after a Gaussian of 1 pixel, 1.2 to 1.6 after resampling to half and a third of a pixel.
MOST_OFF = 5.0
# Times by which what is given, read as another kind, may differ from what is shown to be taken for that:
# twice as far as those 28 go.
MOST_OFF_AS_ANOTHER = 1.25
# Fewer valid pixels, a square of 32, do not show enough of their noise to refuse what is given.
LEAST_PIXELS = 1024

_IN_WORDS: Mapping[NoiseKind, str] = {
    "variance": "variances",
    "sigma": "standard deviations",
    "weight": "weights",
}


def contradicted(samples: Sequence[Sample], noise: NoiseModel, exponent: int) -> tuple[str, ...]:
    """What to say where the noise that the recipe gives is not what the image shows.

    Samples and noise are in source units over ``2**exponent``; what is said is in source units.
    """
    if not noise.origin.startswith("given"):
        return ()
    shown = estimate_noise(samples, NoiseSettings())
    given, measured = (
        math.ldexp(_typical_sigma(samples, model), exponent) for model in (noise, shown)
    )
    if _agree(given, measured, MOST_CONTRADICTION):
        return ()
    return (
        f"noise {noise.origin}: a standard deviation of {given:.4g}, but the image shows {measured:.4g}; "
        "what is given is taken, leave it out to take what is measured",
    )


def check_noise_image(spec: SourceSpec, recipe: Recipe) -> tuple[str, ...]:
    """Compare the image of the noise that is given, if one is, with what the image shows.

    Parameters
    ----------
    spec
        Of several exposures the noise is that of the first.
    recipe
        A task that uses no variance takes any.

    Returns
    -------
    warnings
        What to say where they differ by more than `MOST_CONTRADICTION`.

    Raises
    ------
    UsageError
        If they differ by more than `MOST_OFF`, or if what is given fits as another kind only.
    SourceError
        As `open_source`.
    """
    if spec.variance is None or (not recipe.traits.fits and not spec.exposures):
        return ()
    samples, sigmas = _look(spec)
    if not len(sigmas):
        return ()  # nothing is valid, which sampling refuses in its own words
    shown = estimate_noise(samples, NoiseSettings())
    measured, given = (
        math.ldexp(sigma, spec.exponent)
        for sigma in (_typical_sigma(samples, shown), float(np.median(sigmas)))
    )
    if _agree(given, measured, MOST_CONTRADICTION):
        return ()
    told = (
        f"--{spec.noise_kind} {spec.variance}: a standard deviation of {given:.4g}, but the image shows "
        f"{measured:.4g}"
    )
    other = None if shown.correlated else _other_kind(spec.noise_kind, given, measured)
    far = not _agree(given, measured, MOST_OFF)
    if len(sigmas) >= LEAST_PIXELS and (far or other is not None):
        other = other or _other_kind(spec.noise_kind, given, measured)
        raise UsageError(f"{told}; {_cause(other)}")
    return (f"{told}; what is given is taken, leave it out to take what is measured",)


def _cause(other: NoiseKind | None) -> str:
    if other is None:
        return (
            f"more than a factor of {MOST_OFF:g}, as no kind of noise image ({', '.join(NOISE_KINDS)}) in "
            "units of the image; correct it or leave it out"
        )
    return f"it looks like {_IN_WORDS[other]}: give it as --{other}"


def _look(spec: SourceSpec) -> tuple[list[Sample], npt.NDArray[np.float64]]:
    """Windows of the image, and the standard deviations given of their valid pixels."""
    source = open_source(replace(spec, combination=None, detector=None, hints=None))
    samples: list[Sample] = []
    sigmas: list[npt.NDArray[np.float64]] = []
    try:
        for box, planes in sample_windows(source):
            pixels = source.read(box, planes)
            samples.append((pixels.values, pixels.valid))
            if pixels.variance is not None:
                sigmas.append(np.sqrt(pixels.variance[pixels.valid].astype(np.float64)))
    finally:
        source.close()
    return samples, np.concatenate(sigmas)


def _other_kind(kind: NoiseKind, given: float, measured: float) -> NoiseKind | None:
    """What the numbers are, if not what they are given as: the kind as which they fit."""
    number = {"variance": given**2, "sigma": given, "weight": given**-2}[kind]
    sigmas: dict[NoiseKind, float] = {
        "variance": number**0.5,
        "sigma": number,
        "weight": number**-0.5,
    }
    fitting = [
        other
        for other in NOISE_KINDS
        if other != kind and _agree(sigmas[other], measured, MOST_OFF_AS_ANOTHER)
    ]
    return fitting[0] if fitting else None


def _agree(given: float, measured: float, most: float) -> bool:
    """Whether two standard deviations differ by no more than a factor; no noise shown agrees with any."""
    return measured <= 0 or 1 / most <= given / measured <= most


def _typical_sigma(samples: Sequence[Sample], noise: NoiseModel) -> float:
    """Median standard deviation of the noise over the samples' valid pixels; 0 without any."""
    sigmas = [
        np.sqrt(noise.variance(values[valid].astype(np.float64))) for values, valid in samples
    ]
    found = np.concatenate(sigmas)
    return float(np.median(found)) if found.size else 0.0
