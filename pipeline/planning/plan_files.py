"""Decide how an image will be restored, from its recipe and from samples of its pixels.

Nothing is fitted and no tensor is made, so that torch is not imported where it is not needed.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from glassplate.models.device.numerics import Numerics
from glassplate.models.noise.estimate import estimate_noise, noise_between_sources
from glassplate.models.noise.model import NoiseModel, NoiseSettings
from glassplate.models.operators.operator import Operator
from glassplate.models.pixel_transform import PixelTransform
from glassplate.pipeline.companions.colour_hints import HintedSource, check_tiles_have_hints
from glassplate.pipeline.companions.exposures import align
from glassplate.pipeline.defects.cosmic_rays import Detector
from glassplate.pipeline.defects.low_pixels import low_level
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.open_source import SourceFiles
from glassplate.pipeline.planning.colour_mosaic import refuse_colour_mosaic
from glassplate.pipeline.planning.companions.companions_used import (
    cards_of,
    judge_detector,
    judge_exposure_masks,
    judge_mask,
    judge_noise,
)
from glassplate.pipeline.planning.companions.noise_check import contradicted
from glassplate.pipeline.planning.donor_reuse import Inherited, check_inherited
from glassplate.pipeline.planning.jpeg_tables import quantisation_of
from glassplate.pipeline.planning.keys_without_effect import key_warnings
from glassplate.pipeline.planning.noise_found import (
    is_removable,
    noise_found,
    noise_of,
    warnings_about,
)
from glassplate.pipeline.planning.operator import check_reach, check_size, make_operator
from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.planning.ray_share import TOO_MANY_RAYS, rays_are_few
from glassplate.pipeline.planning.stacking.network_stacking import choose_stacking
from glassplate.pipeline.planning.star_width import stars_are_wide
from glassplate.pipeline.planning.value_range import find_value_range
from glassplate.pipeline.recipes.recipe import Recipe
from glassplate.pipeline.scaling import Sample, ScalingSettings, make_transform
from glassplate.pipeline.source_findings import SourceFindings, has_variance
from glassplate.pipeline.sources.fits.stored_checksums import checksum_warnings
from glassplate.pipeline.sources.guarded_reading import as_source_errors
from glassplate.pipeline.sources.metadata.units import is_per_pixel, unit_exponent
from glassplate.pipeline.sources.sample_windows import sample
from glassplate.pipeline.sources.source import Source, white_of
from glassplate.pipeline.store.layout import Layout
from glassplate.pipeline.tile_grid import TileGrid

# Lightness L of white.
WHITE_L = 100.0


def plan_files(
    files: SourceFiles,
    recipe: Recipe,
    *,
    recipe_name: str,
    numerics: Numerics,
    donor: Inherited | None = None,
    workers: int = 1,
) -> Plan:
    """Sample an image and decide how it will be restored.

    Parameters
    ----------
    files
        The image and its companions, which have been checked.
    recipe, recipe_name
        As in `RestoreRequest`.
    numerics
        From `numerics_for`; its stack is decided here.
    donor
        Donor of an earlier result that is reused; None to fit one, where there are enough tiles.
    workers
        Number of workers that share the tiles.

    Raises
    ------
    SourceError
        If the source has no valid pixel or cannot be read.
    UsageError
        If the recipe does not fit the source or the PSF.
    """
    with as_source_errors(files.spec.path, "looked at"):
        plan = _plan_alone(files, recipe, recipe_name, numerics)
    plan = choose_stacking(plan if donor is None else _with_donor(plan, donor), workers)
    return replace(plan, warnings=(*plan.warnings, *key_warnings(plan)))


def _plan_alone(files: SourceFiles, recipe: Recipe, recipe_name: str, numerics: Numerics) -> Plan:
    """Plan an image without a reused donor, and with one fit at a time."""
    mask = judge_mask(files).joined(judge_exposure_masks(files))
    findings, of_pixels = find_value_range(files, recipe, SourceFindings(unused=mask.unused))
    judged = mask.joined(judge_noise(files, recipe, findings))
    findings = replace(findings, unused=judged.unused)
    findings, of_exposures = _combined(files, recipe, findings)
    plan = _plan_for(files, findings, recipe, recipe_name, numerics)
    return replace(
        plan,
        companions=(*judged.companions, *plan.companions),
        warnings=(*of_pixels, *plan.warnings, *judged.warnings, *of_exposures),
    )


def _combined(
    files: SourceFiles, recipe: Recipe, findings: SourceFindings
) -> tuple[SourceFindings, list[str]]:
    """Add to the findings how exposures are combined, if there are several; and warnings about them."""
    if not files.spec.exposures:
        return findings, []
    noise = recipe.noise.scaled(-findings.exponent)
    combination, warnings = align(files.source(findings), files.exposures(findings), noise)
    if recipe.stopping.rule == "exposure":
        combination = replace(combination, keep_last=True)
    return replace(findings, combination=combination), warnings


def _with_donor(plan: Plan, donor: Inherited) -> Plan:
    if not plan.recipe.traits.fits:
        raise UsageError(f"--donor {donor.store}: task {plan.recipe.task} fits nothing; drop it")
    channels, _, _ = plan.grid.window_shape
    check_inherited(donor, plan.donor_problem, channels, plan.recipe.donor.tiles)
    return replace(plan, donor=donor)


def _plan_for(
    files: SourceFiles,
    findings: SourceFindings,
    recipe: Recipe,
    recipe_name: str,
    numerics: Numerics,
) -> Plan:
    source = files.source(findings)
    psf = None if files.psf is None else files.psf.psf
    grid = TileGrid(
        source.shape, source.joint, recipe.tiles.core, recipe.tiles.halo, source.colours
    )
    operator = make_operator(recipe, psf)
    check_reach(operator, psf, grid)
    check_size(recipe, source)
    samples = sample(source)
    if recipe.traits.fits:
        refuse_colour_mosaic(source, cards_of(files.image.metadata.get("fits") or {}), samples)
    estimated = noise_of(samples, recipe, source.spec, findings.exponent)
    noise, cards = judge_detector(files, recipe, samples, estimated, findings)
    found = noise_found(samples, noise, source)
    quantum = _quantum(source, findings.exponent)
    # an image of the noise says what there is to remove
    told = has_variance(source.spec, findings)
    measured = None if told or not recipe.traits.denoises else found
    removes_nothing = measured is not None and not is_removable(
        samples, measured, quantum, findings.pedestal
    )
    detector, doubts = _detector(samples, recipe, noise, quantum)
    fills = recipe.fills or detector is not None
    fits = recipe.traits.fits and (fills or not removes_nothing)
    plan = Plan(
        spec=source.spec,
        findings=replace(findings, detector=detector),
        recipe=recipe,
        recipe_name=recipe_name,
        grid=grid,
        layout=_layout(source, recipe, operator, fills=fills),
        working_dtype="float32" if fits else source.working_dtype.name,
        transform=make_transform(samples, recipe.scaling, noise, source.output_dtype),
        noise=noise,
        numerics=numerics,
        flux_factor=_flux_factor(recipe, source),
        batch_size=1,
        resident_bytes=source.resident_bytes,
        noise_found=found,
        removes_nothing=removes_nothing,
        psf=psf,
        quantisation=quantisation_of(source, recipe) if recipe.traits.from_jpeg else None,
        **_guide(files.companions.get("guide")),
        companions=cards.companions,
        warnings=(
            *((source.info.note,) if source.info.note else ()),
            *(() if files.psf is None else files.psf.warnings),
            *checksum_warnings(source.spec),
            *contradicted(samples, noise, findings.exponent),
            *doubts,
            *(
                []
                if measured is None
                else warnings_about(measured, findings.exponent, removes_nothing)
            ),
            *cards.warnings,
        ),
    )
    return replace(plan, **_colouring(source, grid, samples))


def _layout(source: Source, recipe: Recipe, operator: Operator, *, fills: bool) -> Layout:
    alpha = source.alpha is not None
    return Layout(
        source_shape=(source.shape[0] + alpha, *source.shape[1:]),
        ndim=source.ndim,
        joint=source.joint,
        scale=operator.scale,
        dtype=source.output_dtype.name,
        # chunks of the residual are those of the image divided by the scale
        chunk=-(-recipe.output.chunk // operator.scale) * operator.scale,
        max_shard=recipe.output.shard,
        fills=fills,
        uncertain=recipe.uncertain,
        mixes=operator.mixes,
        alpha=alpha,
        colours=source.colours,
    )


def _colouring(source: Source, grid: TileGrid, samples: list[Sample]) -> dict[str, Any]:
    """Fields of the plan of a photograph that is coloured; none for any other image."""
    if not isinstance(source, HintedSource):
        return {}
    white = white_of(source)
    if float(np.median(np.concatenate([values[valid] for values, valid in samples]))) > white:
        raise UsageError(
            f"{source.spec.path}: floats mostly above 1, which is white for colorize; divide them by their "
            "white, or save it as integers"
        )
    return {
        # chroma a and b lie around 0 already
        "transform": PixelTransform("linear", offset=0.0, scale=WHITE_L),
        "guide_channels": 1,
        "white": white,
        "warnings": check_tiles_have_hints(source, grid),
    }


def _guide(guide: Source | None) -> dict[str, Any]:
    """Fields of the plan of an image with a guide; none without a guide."""
    if guide is None:
        return {}
    samples = sample(guide)
    # the guide has a unit of its own
    exponent = unit_exponent(samples)
    scaled = [(np.ldexp(values, -exponent), valid) for values, valid in samples]
    noise = estimate_noise(scaled, NoiseSettings())
    transform = make_transform(scaled, ScalingSettings(), noise, guide.output_dtype)
    return {"guide": transform.scaled(exponent), "guide_channels": guide.shape[0]}


def _detector(
    samples: list[Sample], recipe: Recipe, noise: NoiseModel, quantum: float
) -> tuple[Detector | None, tuple[str, ...]]:
    """The detector of defects, None where the recipe looks for none, and warnings."""
    pixels = np.concatenate([values[valid] for values, valid in samples])
    sky = float(np.median(pixels)) if pixels.size else 0.0
    settings = recipe.defects
    if settings.cosmic_rays == "auto":
        settings = replace(settings, cosmic_rays=stars_are_wide(samples, noise, sky))
    if not settings.any:
        return None, ()
    noise = noise_between_sources(samples, noise)
    low = low_level(samples, noise, quantum) if settings.cosmic_rays else -math.inf
    detector = Detector(settings, noise, quantum, sky, low)
    if recipe.defects.cosmic_rays != "auto" or not settings.cosmic_rays:
        return detector, ()
    if rays_are_few(samples, detector):
        return detector, ()
    without_rays = replace(settings, cosmic_rays=False)
    others = Detector(without_rays, noise, quantum, sky) if without_rays.any else None
    return others, (TOO_MANY_RAYS,)


def _quantum(source: Source, exponent: int) -> float:
    """Step between integer values as they are read; 0 for floats."""
    return 0.0 if source.dtype.kind == "f" else math.ldexp(1.0, -exponent)


def _flux_factor(recipe: Recipe, source: Source) -> float:
    scale, flux = recipe.operator.scale, recipe.output.flux
    per_pixel = source.format == "fits" and is_per_pixel(source.unit)
    keep_sums = flux == "total" or (flux == "auto" and per_pixel)
    return 1 / scale**2 if keep_sums else 1.0
