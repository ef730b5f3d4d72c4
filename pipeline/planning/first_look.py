"""A first look at the pixels of an image: what is in the way, and the recipe that is proposed."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from glassplate.models.device.numerics import Numerics
from glassplate.models.noise.description import NoiseDescription
from glassplate.models.operators.quantisation import Quantisation, standard_quantisation
from glassplate.pipeline.errors import GlassplateError
from glassplate.pipeline.open_source import SourceFiles, open_files
from glassplate.pipeline.planning.companions.find_companions import with_companions
from glassplate.pipeline.planning.jpeg_tables import read_quantisation
from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.planning.plan_files import plan_files
from glassplate.pipeline.planning.star_width import star_width
from glassplate.pipeline.recipes.recipe import load_recipe
from glassplate.pipeline.sources.file_format import holds_measurements
from glassplate.pipeline.sources.sample_windows import sample_windows
from glassplate.pipeline.sources.source import Source, SourceSpec, white_of

# Width of stars, pixels, below which a detector samples them too sparsely: two pixels are the least by which
# a shape can be told (Nyquist), and from six on, more pixels show nothing more.
LEAST_WIDTH, MOST_WIDTH = 2.0, 6.0
# Quality of a JPEG up to which its blocks are seen at once; up to the second, if there is no noise that
# covers them. Tables of libjpeg for 40 round the finest pattern of brightness to multiples of 20 and more.
BLOCKS_SEEN, BLOCKS_ALONE = 40, 80

Sampling = Literal["under-sampled", "well sampled", "over-sampled"]


@dataclass(frozen=True)
class JpegHistory:
    """The JPEG that an image is."""

    quality: int
    """On libjpeg's scale, that of the nearest of its tables."""
    sampling: tuple[int, int]
    """Pixels for each sample of colour, ``(y, x)``."""


@dataclass(frozen=True, kw_only=True)
class FirstLook:
    """What a look at some windows of an image has shown, and what is proposed."""

    image: str
    """Path of the file, as it was given."""
    noise: NoiseDescription | None
    """None where an image of the noise tells it."""
    noise_words: str
    correlation: float
    """Of the noise of neighbouring pixels, -1 to 1."""
    missing: float
    """Share of the pixels looked at that are invalid, 0 to 1."""
    saturated: float
    """Share of the pixels looked at that are saturated, 0 to 1."""
    star_width: float | None
    """Width (FWHM) of the stars, pixels; None where there are too few, and for pictures."""
    sampling: Sampling | None
    """Of the stars."""
    jpeg: JpegHistory | None
    """None unless the file is a JPEG."""
    companions: tuple[str, ...]
    """The mask and the noise that came with the image, one line each."""
    warnings: tuple[str, ...]
    recipe: str | None
    """The recipe that is proposed; None where nothing was found that one would improve."""
    reason: str
    command: str | None
    """The one command to run."""

    def to_json(self) -> dict[str, Any]:
        """For `glassplate inspect --json`."""
        document = asdict(self)
        if self.noise is not None:
            document["noise"]["confidence"] = self.noise.confidence
        return document


def first_look(spec: SourceSpec) -> FirstLook:
    """Look at windows of an image, as `glassplate plan` does, and propose a recipe.

    Time and memory do not grow with the image.

    Raises
    ------
    GlassplateError
        As `make_plan`: if the image cannot be restored.
    """
    return look_and_plan(spec)[0]


def look_and_plan(spec: SourceSpec) -> tuple[FirstLook, Plan]:
    """As `first_look`; also return the plan by which was looked, of a recipe that denoises.

    Raises
    ------
    GlassplateError
        As `make_plan`.
    """
    name = "astro-denoise" if holds_measurements(spec.path) else "archive-denoise"
    recipe = load_recipe(name)
    with open_files(with_companions(spec, recipe)) as files:
        # nothing is fitted, so that any numerics will do
        plan = plan_files(files, recipe, recipe_name=name, numerics=Numerics())
        counted = _counted(files, plan)
        jpeg = _jpeg(files.image)
    width = counted["star_width"] if name == "astro-denoise" else None
    proposed, reason = _proposal(plan, name, jpeg)
    noise = plan.noise_found and plan.noise_found.scaled(plan.findings.exponent)
    look = FirstLook(
        image=str(spec.path),
        noise=noise,
        noise_words=f"told by the image of it ({plan.noise.origin})"
        if noise is None
        else noise.words,
        correlation=round(plan.noise.lag1, 4),
        missing=counted["missing"] or 0.0,
        saturated=counted["saturated"] or 0.0,
        star_width=None if width is None else round(width, 2),
        sampling=None if width is None else _sampling(width),
        jpeg=jpeg,
        companions=tuple(one.words for one in plan.companions),
        warnings=plan.warnings,
        recipe=proposed,
        reason=reason,
        command=None if proposed is None else _command(spec, proposed),
    )
    return look, plan


def _counted(files: SourceFiles, plan: Plan) -> Mapping[str, float | None]:
    """Shares of missing and saturated pixels in the sampled windows, and the width of their stars."""
    # without the detector of rays, whose finds are neither missing nor peaks
    source = files.source(replace(plan.findings, detector=None))
    white = math.inf
    if source.dtype.kind in "iu":
        white = math.ldexp(white_of(files.image) - plan.findings.pedestal, -plan.findings.exponent)
    samples, pixels, missing, saturated = [], 0, 0, 0
    for box, planes in sample_windows(source):
        seen = source.read(box, planes)
        full = seen.values >= white
        if seen.saturated is not None:
            full |= seen.saturated
        pixels += seen.valid.size
        saturated += int(full.sum())
        missing += int((~seen.valid & ~full).sum())
        samples.append((seen.values, seen.valid))
    known = np.concatenate([values[valid] for values, valid in samples])
    sky = float(np.median(known)) if known.size else 0.0
    width = star_width(samples, plan.noise, sky) if plan.noise.floor > 0 else None
    return {
        "missing": missing / pixels,
        "saturated": saturated / pixels,
        "star_width": width,
    }


def _jpeg(source: Source) -> JpegHistory | None:
    """The quality that a JPEG was saved with; None for other files, and JPEGs of unusual kinds."""
    if source.format != "jpeg":
        return None
    try:
        found = read_quantisation(source.spec.path)
    except GlassplateError:
        return None
    return JpegHistory(nearest_quality(found), found.sampling)


def nearest_quality(found: Quantisation) -> int:
    """Quality of libjpeg whose table of brightness is nearest to that of a JPEG, 1 to 100."""
    steps = np.array(found.tables[0])

    def distance(quality: int) -> float:
        (table,) = standard_quantisation(quality, 1, (1, 1)).tables
        return float(np.abs(np.log(steps) - np.log(np.array(table))).sum())

    return min(range(1, 101), key=distance)


def _sampling(width: float) -> Sampling:
    if width < LEAST_WIDTH:
        return "under-sampled"
    return "well sampled" if width <= MOST_WIDTH else "over-sampled"


def _proposal(plan: Plan, name: str, jpeg: JpegHistory | None) -> tuple[str | None, str]:
    """The recipe that is proposed, and why."""
    if jpeg is not None and jpeg.quality <= (BLOCKS_ALONE if plan.removes_nothing else BLOCKS_SEEN):
        return "archive-deartifact", (
            f"the JPEG was saved with quality {jpeg.quality}, at which blocks and ringing are seen"
        )
    if plan.removes_nothing:
        more = "astro-upscale" if name == "astro-denoise" else "archive-upscale"
        return None, (
            "no noise was found that could be removed, and nothing else that a recipe would improve; for "
            f"more pixels take --recipe {more} --scale 2"
        )
    found = plan.noise_found
    if found is None:
        return name, "an image of the noise tells how strong it is, and it can be removed"
    kind = "correlated noise" if found.correlated else "noise"
    what = "measurements have" if name == "astro-denoise" else "picture has"
    return name, f"the {what} {kind} that can be removed"


def _command(spec: SourceSpec, recipe: str) -> str:
    """The command that restores the image with a recipe."""
    part = spec.hdu if spec.page is None else spec.page
    named = str(spec.path) if part is None else f"{spec.path}[{part}]"
    store = f"{spec.path.name.split('.')[0]}.zarr"
    return shlex.join(["glassplate", "restore", named, "-o", store, "--recipe", recipe])
