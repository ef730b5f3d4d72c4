"""Compare the noise that the user gives with the noise that is estimated from the image.

A large difference gives a warning. A difference that no image of the noise has is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from glassplate.models.noise.description import typical_sigma
from glassplate.models.noise.estimate import estimate_noise
from glassplate.models.noise.model import NoiseModel, NoiseSettings
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.open_source import SourceFiles
from glassplate.pipeline.recipes.recipe import Recipe
from glassplate.pipeline.scaling import Sample
from glassplate.pipeline.source_findings import NOTHING_FOUND, SourceFindings
from glassplate.pipeline.sources.sample_windows import sample_windows
from glassplate.pipeline.sources.source import NOISE_KINDS, NoiseKind

# Factor by which the given noise may differ from the estimate without a warning. The estimate errs by 3 % on
# photographs and by 30 % on the finest textures (docs/design/004-noise-estimation.md).
MOST_CONTRADICTION = 2.0
# Factor beyond which an image of the noise is refused. All of 28 that come with their images (DECam, Mosaic,
# 90prime, HSC, a Gemini spectrum, the rms of an extractor) lie within 0.92 and 1.12 of the estimate. A
# variance from before the image was smoothed is larger than the estimate: by 2.0 after a box of 2x2 pixels,
# 3.2 after one of 3x3, 3.8 after a Gaussian of 1 pixel, 1.2 to 1.6 after resampling to half and a third of
# a pixel.
MOST_OFF = 5.0
# Factor within which an image of the noise, read as another kind, is taken for that kind: twice as far as
# those 28 lie.
MOST_OFF_AS_ANOTHER = 1.25
# Valid pixels, a square of 32, below which the estimate is too uncertain to refuse anything.
LEAST_PIXELS = 1024

_IN_WORDS: Mapping[NoiseKind, str] = {
    "variance": "variances",
    "sigma": "standard deviations",
    "weight": "weights",
}


def contradicted(samples: Sequence[Sample], noise: NoiseModel, exponent: int) -> tuple[str, ...]:
    """Warn where the noise that the recipe gives differs from what the image shows.

    Samples and noise are in source units over ``2**exponent``; the warning is in source units.
    """
    if not noise.origin.startswith("given"):
        return ()
    shown = estimate_noise(samples, NoiseSettings())
    given, measured = (
        math.ldexp(typical_sigma(samples, model), exponent) for model in (noise, shown)
    )
    if _agree(given, measured, MOST_CONTRADICTION):
        return ()
    return (
        f"noise {noise.origin}: a standard deviation of {given:.4g}, but the image shows {measured:.4g}; "
        "what is given is taken, leave it out to take what is measured",
    )


def check_noise_image(
    files: SourceFiles, recipe: Recipe, findings: SourceFindings = NOTHING_FOUND
) -> tuple[str, ...]:
    """Compare the given image of the noise, if there is one, with what the image shows.

    Parameters
    ----------
    files
        With several exposures, the noise is that of the first.
    recipe
        A task that does not use the variance accepts any.
    findings
        Those of `find_value_range`.

    Returns
    -------
    warnings
        One line if they differ by more than `MOST_CONTRADICTION`.

    Raises
    ------
    UsageError
        If they differ by more than `MOST_OFF`, or if only another kind of noise image would agree.
    SourceError
        If the image cannot be read.
    """
    spec = files.spec
    if spec.variance is None or (not recipe.traits.fits and not spec.exposures):
        return ()
    samples, sigmas = _sampled(files, findings)
    if not len(sigmas):
        return ()  # no pixel is valid, which is refused when the image is sampled
    shown = estimate_noise(samples, NoiseSettings())
    measured, given = (
        math.ldexp(sigma, findings.exponent)
        for sigma in (typical_sigma(samples, shown), float(np.median(sigmas)))
    )
    if _agree(given, measured, MOST_CONTRADICTION):
        return ()
    difference = (
        f"--{spec.noise_kind} {spec.variance}: a standard deviation of {given:.4g}, but the image shows "
        f"{measured:.4g}"
    )
    other = None if shown.correlated else _other_kind(spec.noise_kind, given, measured)
    far = not _agree(given, measured, MOST_OFF)
    if len(sigmas) >= LEAST_PIXELS and (far or other is not None):
        other = other or _other_kind(spec.noise_kind, given, measured)
        raise UsageError(f"{difference}; {_cause(other)}")
    return (f"{difference}; what is given is taken, leave it out to take what is measured",)


def _cause(other: NoiseKind | None) -> str:
    if other is None:
        return (
            f"more than a factor of {MOST_OFF:g}, as no kind of noise image ({', '.join(NOISE_KINDS)}) in "
            "units of the image; correct it or leave it out"
        )
    return f"it looks like {_IN_WORDS[other]}: give it as --{other}"


def _sampled(
    files: SourceFiles, findings: SourceFindings
) -> tuple[list[Sample], npt.NDArray[np.float64]]:
    """Windows of the image, and the given standard deviations of their valid pixels, ``(n,)``."""
    source = files.source(findings, without=("hints",))
    samples: list[Sample] = []
    sigmas: list[npt.NDArray[np.float64]] = []
    for box, planes in sample_windows(source):
        pixels = source.read(box, planes)
        samples.append((pixels.values, pixels.valid))
        if pixels.variance is not None:
            sigmas.append(np.sqrt(pixels.variance[pixels.valid].astype(np.float64)))
    return samples, np.concatenate(sigmas)


def _other_kind(kind: NoiseKind, given: float, measured: float) -> NoiseKind | None:
    """Another kind of noise image as which the given numbers would agree; None if there is none."""
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
    """Whether two standard deviations differ by a factor of at most `most`; always if `measured` is 0."""
    return measured <= 0 or 1 / most <= given / measured <= most
