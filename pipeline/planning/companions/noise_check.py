"""Compare the noise that is given, or found by name, with the noise that is estimated from the image.

What is given is refused if it differs by much, or gives a warning where the estimate is uncertain. What is
found by name is not used then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from glassplate.models.noise.description import describe_noise
from glassplate.models.noise.estimate import estimate_noise, typical_sigma
from glassplate.models.noise.model import NoiseModel, NoiseSettings
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.open_source import SourceFiles
from glassplate.pipeline.recipes.recipe import Recipe
from glassplate.pipeline.scaling import Sample
from glassplate.pipeline.source_findings import NOTHING_FOUND, SourceFindings
from glassplate.pipeline.sources.sample_windows import sample_windows
from glassplate.pipeline.sources.source import NOISE_KINDS, NoiseKind, SourceSpec

# Factor by which the given noise may differ from the estimate. The estimate errs by 3 % on
# photographs and by 30 % on the finest textures (docs/design/004-noise-estimation.md).
MOST_CONTRADICTION = 2.0
# Factor beyond which an image of the noise is refused even where the estimate is not certain. All of 28 that
# come with their images (DECam, Mosaic, 90prime, HSC, a Gemini spectrum, the rms of an extractor) lie within
# 0.92 and 1.12 of the estimate. A variance from before the image was smoothed is larger than the estimate: by
# 2.0 after a box of 2x2 pixels, 3.2 after one of 3x3, 3.8 after a Gaussian of 1 pixel, 1.2 to 1.6 after
# resampling to half and a third of a pixel.
MOST_OFF = 5.0
# Factor within which an image of the noise, read as another kind, is taken for that kind: twice as far as
# those 28 lie.
MOST_OFF_AS_ANOTHER = 1.25
# Share of the valid pixels of an image that must have a noise above 0 in what was found by name: a plane of
# zeros, or the weights of a few objects, would leave nothing of the image.
LEAST_SHARE = 0.5
# Valid pixels, a square of 32, below which the estimate is too uncertain to refuse anything.
LEAST_PIXELS = 1024

_IN_WORDS: Mapping[NoiseKind, str] = {
    "variance": "variances",
    "sigma": "standard deviations",
    "weight": "weights",
}


def contradicted(samples: Sequence[Sample], noise: NoiseModel, exponent: int) -> tuple[str, ...]:
    """Warn where the noise that the recipe gives differs from what the image shows, as a whole or by channel.

    Samples and noise are in source units over ``2**exponent``; the warnings are in source units.
    """
    if not noise.origin.startswith("given"):
        return ()
    shown = estimate_noise(samples, NoiseSettings())
    given, measured = (
        math.ldexp(typical_sigma(samples, model), exponent) for model in (noise, shown)
    )
    warnings = []
    if not _agree(given, measured, MOST_CONTRADICTION):
        warnings.append(
            f"noise {noise.origin}: a standard deviation of {given:.4g}, but the image shows {measured:.4g}; "
            "what is given is taken, leave it out to take what is measured"
        )
    if shown.shares and noise.slope == 0:
        by_channel = ", ".join(f"{measured * share**0.5:.4g}" for share in shown.shares)
        warnings.append(
            f"noise {noise.origin}: one standard deviation, {given:.4g}, for all channels, but the image "
            f"shows {by_channel}; what is given is taken, leave it out to take that of each channel"
        )
    return tuple(warnings)


@dataclass(frozen=True)
class SeenNoise:
    """What an image of the noise says, and what the image shows, in the windows that are looked at."""

    given: float
    """Median standard deviation by the image of the noise, in units of the image."""
    measured: float
    """Standard deviation that the image shows at its median pixel."""
    pixels: int
    """Number of pixels that are valid in both."""
    share: float
    """Share of the valid pixels of the image at which there is a noise above 0."""
    other: NoiseKind | None
    """Another kind of noise image as which the numbers would agree; None if there is none."""
    certain: bool
    """Whether what the image shows is white, and surely known."""

    @property
    def agrees(self) -> bool:
        """Whether they differ by no more than `MOST_CONTRADICTION`."""
        return _agree(self.given, self.measured, MOST_CONTRADICTION)

    @property
    def both(self) -> str:
        """Both numbers, for a message."""
        return f"a standard deviation of {self.given:.4g}, but the image shows {self.measured:.4g}"


def look_at_noise(
    files: SourceFiles, recipe: Recipe, findings: SourceFindings = NOTHING_FOUND
) -> SeenNoise | None:
    """Compare the image of the noise, if there is one, with what the image shows.

    Parameters
    ----------
    files
        With several exposures, the noise is that of the first.
    recipe
        A task that does not use the variance compares nothing.
    findings
        Those of `find_value_range`.

    Returns
    -------
    SeenNoise
        None where there is nothing to compare: no image of the noise, or no valid pixel.

    Raises
    ------
    SourceError
        If the image cannot be read.
    """
    spec = files.spec
    if spec.variance is None or (not recipe.traits.fits and not spec.exposures):
        return None
    samples, sigmas, share = _sampled(files, findings)
    shown = estimate_noise(samples, NoiseSettings())
    measured = math.ldexp(typical_sigma(samples, shown), findings.exponent)
    if not len(sigmas):
        return SeenNoise(math.nan, measured, 0, share, None, certain=False)
    given = math.ldexp(float(np.median(sigmas)), findings.exponent)
    other = _other_kind(spec.noise_kind, given, measured)
    if shown.correlated:
        certain, other = False, other if not _agree(given, measured, MOST_OFF) else None
    else:
        certain = describe_noise(samples, shown, "").confidence != "low"
    return SeenNoise(given, measured, len(sigmas), share, other, certain)


def check_given_noise(spec: SourceSpec, seen: SeenNoise) -> tuple[str, ...]:
    """Judge an image of the noise that is given.

    Returns
    -------
    warnings
        One line if it differs from the image by more than `MOST_CONTRADICTION`, and that may be right: the
        noise of the image is not surely known, or correlated by a resampling that the noise image ignores.

    Raises
    ------
    UsageError
        If they differ by more than `MOST_CONTRADICTION` although the estimate is certain, by more than
        `MOST_OFF`, or if only another kind of noise image would agree.
    """
    if not seen.pixels or seen.agrees:
        return ()  # without a valid pixel, the image is refused when it is sampled
    difference = f"--{spec.noise_kind} {spec.variance}: {seen.both}"
    far = not _agree(seen.given, seen.measured, MOST_OFF)
    if seen.pixels >= LEAST_PIXELS and (far or seen.certain or seen.other is not None):
        raise UsageError(f"{difference}; {_cause(seen.other)}")
    return (f"{difference}; what is given is taken, leave it out to take what is measured",)


def objection_to_found(kind: NoiseKind, seen: SeenNoise) -> str:
    """Why an image of the noise that was found by name is not used; empty if it is used."""
    if seen.share < LEAST_SHARE:
        return (
            f"only {seen.share:.0%} of the valid pixels have a noise above 0 there, at least "
            f"{LEAST_SHARE:.0%} are expected"
        )
    if seen.agrees:
        return ""
    if seen.other is not None:
        likely = f"it looks like {_IN_WORDS[seen.other]}"
    elif kind == "weight":
        likely = "they are relative weights or exposure times"
    else:
        likely = "it has another unit, or is that of the image before it was resampled"
    return f"{seen.both}; {likely}"


def _cause(other: NoiseKind | None) -> str:
    if other is None:
        return (
            f"more than a factor of {MOST_CONTRADICTION:g}, as no kind of noise image "
            f"({', '.join(NOISE_KINDS)}) in units of the image; correct it or leave it out"
        )
    return f"it looks like {_IN_WORDS[other]}: give it as --{other}"


def _sampled(
    files: SourceFiles, findings: SourceFindings
) -> tuple[list[Sample], npt.NDArray[np.float64], float]:
    """Windows of the image, the given standard deviations of valid pixels, and the share that has one."""
    source = files.source(findings, without=("hints",))
    alone = files.source(findings, without=("hints", "variance"))
    samples: list[Sample] = []
    sigmas = [np.zeros(0)]
    all_valid = 0
    for box, planes in sample_windows(source):
        pixels, without_noise = source.read(box, planes), alone.read(box, planes)
        # the image shows its noise also where no noise is given
        samples.append((without_noise.values, without_noise.valid))
        all_valid += int(without_noise.valid.sum())
        if pixels.variance is not None:
            sigmas.append(np.sqrt(pixels.variance[pixels.valid].astype(np.float64)))
    found = np.concatenate(sigmas)
    return samples, found, len(found) / max(all_valid, 1)


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
