"""What will be done, before anything is done: tiles, batches, scaling, noise, memory, disk."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from glassplate.models.blur import Psf
from glassplate.models.colour import lightness
from glassplate.models.donor import donor_iterations, warm
from glassplate.models.fit import Measurement, Problem, seconds_per_iteration
from glassplate.models.jpeg import Quantisation
from glassplate.models.metrics import mad_sigma
from glassplate.models.noise import NoiseModel, NoiseSettings, estimate_noise
from glassplate.models.numerics import Numerics, resolve
from glassplate.models.operators import Operator
from glassplate.models.transform import PixelTransform
from glassplate.pipeline.capacity import project
from glassplate.pipeline.defects import Detector
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.exposures import Combination, align, kept_last
from glassplate.pipeline.forward import (
    check_exposures_are_wanted,
    check_guide_is_wanted,
    check_psf_is_wanted,
    check_reach,
    make_operator,
)
from glassplate.pipeline.header import is_per_pixel
from glassplate.pipeline.hints import HintedSource, check_hints_are_wanted, look_through, white_of
from glassplate.pipeline.inherit import Inherited, check_inherited
from glassplate.pipeline.open_source import open_exposures, open_named, open_source
from glassplate.pipeline.psf import ReadPsf, read_psf
from glassplate.pipeline.quantisation import quantisation_of
from glassplate.pipeline.recipe import Recipe
from glassplate.pipeline.sampling import WINDOW, sample
from glassplate.pipeline.scaling import Sample, ScalingSettings, make_transform
from glassplate.pipeline.sharpness import stars_are_wide
from glassplate.pipeline.source import Pixels, Source, SourceSpec
from glassplate.pipeline.store import Layout
from glassplate.pipeline.tiles import TileGrid

# Tiles of one unit of work where nothing is fitted: copying a tile takes milliseconds, handing it to
# a worker about three, so that a few dozen at once keep the pool's own cost to some per cent.
COPIED_AT_ONCE = 32
# Times by which the noise that is given may differ from what the image shows. The estimate errs by 3 % on
# photographs, by 30 % on the finest textures (docs/design/004-noise-estimation.md).
MOST_CONTRADICTION = 2.0


# L of white.
LIGHTEST = 100.0
# L that counts as one for the network that sees it: contrast several times that of its random code, so that
# colours follow the photograph. With a code of 4 channels (F16, 96x96, 2 % hints, 100 iterations, mean of
# 4 fits): 30.4 dB, against 28.9 for a code of 32 channels and an L from 0 to 1.
GUIDING = 25.0

Device: TypeAlias = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class Plan:
    """Everything that decides the pixels of a result; picklable, and written to its manifest."""

    spec: SourceSpec
    recipe: Recipe
    recipe_name: str
    grid: TileGrid
    layout: Layout
    working_dtype: str
    """Pixel type in which windows are kept until they are stitched."""
    transform: PixelTransform
    noise: NoiseModel
    numerics: Numerics
    flux_factor: float
    """What restored values are multiplied by at the end; 1, or 1 / scale**2 to keep sums."""
    batch_size: int
    resident_bytes: int
    """Decoded pixels each worker keeps, of formats that cannot be read in parts."""
    noise_before: float | None
    """Robust standard deviation between neighbours of the input, source units."""
    psf: Psf | None = None
    """Point-spread function on the grid of the estimate."""
    guide: PixelTransform | None = None
    """Scaling of the guide, where there is one."""
    guide_channels: int = 0
    """Planes of the guide."""
    donor: Inherited | None = None
    """Donor of an earlier result, from which this one's is made."""
    quantisation: Quantisation | None = None
    """How the JPEG rounded of which artefacts are to be removed."""
    white: float | None = None
    """Value of white of a photograph to be coloured, source units."""
    warnings: tuple[str, ...] = ()
    """What the user should know before anything runs, one line each."""

    @property
    def batches(self) -> list[range]:
        """Tile numbers of every unit of work."""
        return [
            range(start, min(start + self.batch_size, len(self.grid)))
            for start in range(0, len(self.grid), self.batch_size)
        ]

    @property
    def warm(self) -> bool:
        """Whether tiles start from a donor's weights: where there are enough of them to pay for it.

        One that is taken over costs next to nothing.
        """
        if self.donor is not None:
            return True
        least = self.recipe.donor.tiles
        blind = self.recipe.task != "identity" and self.problem.input == "blindspot"
        return blind and 0 < least <= len(self.grid)

    @property
    def donor_iterations(self) -> int:
        """Optimiser steps of the donor; 0 where there is none or it is taken as it is."""
        inherited = self.donor is not None
        steps = donor_iterations(self.problem, self.recipe.donor, inherited=inherited)
        return steps if self.warm else 0

    @property
    def operator(self) -> Operator:
        """How the measurement came from what is sought."""
        return make_operator(self.recipe, self.psf)

    @property
    def tile_problem(self) -> Problem:
        """How a tile is fitted: from the donor, where there is one."""
        return warm(self.problem, self.recipe.donor) if self.warm else self.problem

    @property
    def problem(self) -> Problem:
        """What a fit from random weights needs to know beside its pixels."""
        recipe = self.recipe
        return Problem(
            network=recipe.network,
            fit=recipe.fit,
            stopping=recipe.stopping,
            operator=self.operator,
            transform=self.transform,
            noise=self.noise,
            numerics=self.numerics,
            guide_channels=self.guide_channels,
            quantisation=self.quantisation,
        )

    def measurement(self, pixels: Pixels, seed: int, corner: tuple[int, int]) -> Measurement:
        """The pixels of a window as a fit takes them; `corner` is its row and column in the image."""
        if pixels.hints is not None:
            return self._chroma(pixels, pixels.hints, seed, corner)
        guide = None
        if pixels.guide is not None and self.guide is not None:
            # what is invalid in the guide says nothing: its middle level
            guide = np.nan_to_num(self.guide.forward(pixels.guide)).astype(np.float32)
        return Measurement(
            pixels.values.astype(np.float32),
            pixels.valid,
            pixels.variance,
            seed,
            guide,
            pixels.witness,
            corner,
        )

    def _chroma(
        self, pixels: Pixels, hints: npt.NDArray[np.float32], seed: int, corner: tuple[int, int]
    ) -> Measurement:
        """Colours to be fitted, with the photograph as their guide."""
        valid = np.isfinite(hints)
        guide = (lightness(self.grey_of(pixels)) / GUIDING).astype(np.float32)
        return Measurement(np.where(valid, hints, 0), valid, None, seed, guide[None], origin=corner)

    def grey_of(self, pixels: Pixels) -> npt.NDArray[np.float64]:
        """A photograph to be coloured, ``(h, w)``, 0 black and 1 white."""
        grey: npt.NDArray[np.float64] = pixels.values[0].astype(np.float64) / (self.white or 1.0)
        return grey

    def in_lab(self, pixels: Pixels, chroma: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """L of a photograph and its restored chroma ``(2, h, w)``: L, a, b, ``(3, h, w)``."""
        light = lightness(self.grey_of(pixels))[None]
        return np.concatenate([light, chroma]).astype(np.float32)

    def to_fill(self, pixels: Pixels) -> npt.NDArray[np.bool_]:
        """Invalid pixels of a region that get the network's estimate, ``(c, h, w)``."""
        if self.recipe.fills:
            return ~pixels.valid
        return np.zeros_like(pixels.valid) if pixels.found is None else pixels.found

    def to_json(self) -> dict[str, Any]:
        """All of the plan but the recipe, for the manifest."""
        return {
            "output_shape": list(self.layout.stored_shape),
            "output_dtype": self.layout.dtype,
            "grid": {**asdict(self.grid), "dimensions": list(self.grid.dimensions)},
            "tiles": len(self.grid),
            "batches": len(self.batches),
            "batch_size": self.batch_size,
            "layout": asdict(self.layout),
            "working_dtype": self.working_dtype,
            "transform": self.transform.to_json(),
            "noise": self.noise.to_json(),
            "numerics": asdict(self.numerics),
            "warm": self.warm,
            "donor": self.donor and self.donor.to_json(),
            "donor_iterations": self.donor_iterations,
            "exposures": self.spec.combination and self.spec.combination.to_json(),
            "flux_factor": self.flux_factor,
            "noise_before": self.noise_before,
            "guide": None if self.guide is None else self.guide.to_json(),
            "psf_shape": None if self.psf is None else list(self.psf.shape),
            "defects": None if self.spec.detector is None else asdict(self.spec.detector.settings),
            "quantisation": None if self.quantisation is None else asdict(self.quantisation),
            "white": self.white,
            "warnings": list(self.warnings),
        }

    def as_recorded(self, recorded: dict[str, Any]) -> Plan:
        """This plan with what depends on the machine taken from an earlier run's manifest.

        A run that resumes on another machine must go on with the precision, threads, noise and
        scaling that it began with, or its tiles would not fit together.
        """
        noise = NoiseModel.from_json(recorded["noise"])
        return replace(
            self,
            spec=_as_seen(self.spec, noise, recorded.get("exposures")),
            numerics=Numerics(**recorded["numerics"]),
            noise=noise,
            transform=PixelTransform.from_json(recorded["transform"]),
            batch_size=recorded["batch_size"],
            guide=self.guide and PixelTransform.from_json(recorded["guide"]),
        )


def make_plan(
    spec: SourceSpec,
    recipe: Recipe,
    *,
    recipe_name: str,
    device: Device = "auto",
    donor: Inherited | None = None,
) -> Plan:
    """Open the source, look at it, and decide how it will be restored.

    Parameters
    ----------
    spec, recipe, recipe_name, device
        As in `RestoreRequest`.
    donor
        Of an earlier result, from which this one's is made; None for one of its own.

    Raises
    ------
    SourceError
        If the source or its PSF cannot be read, or the source has no valid pixel.
    UsageError
        If the recipe does not fit the source, the PSF or the machine.
    """
    check_psf_is_wanted(recipe, spec)
    check_guide_is_wanted(recipe, spec)
    check_exposures_are_wanted(recipe, spec)
    check_hints_are_wanted(recipe, spec)
    spec, warnings = _combined(spec, recipe)
    source = open_source(spec)
    try:
        found = None if spec.psf is None else read_psf(spec.psf)
        plan = _plan_for(source, recipe, recipe_name, device, found)
    finally:
        source.close()
    plan = replace(plan, warnings=(*plan.warnings, *warnings))
    return plan if donor is None else _with_donor(plan, donor)


def _combined(spec: SourceSpec, recipe: Recipe) -> tuple[SourceSpec, list[str]]:
    """The source with its exposures looked at, and what is odd about them."""
    if not spec.exposures:
        return spec, []
    source = open_source(spec)
    others = open_exposures(spec, source)
    try:
        combination, warnings = align(source, others, recipe.noise)
    finally:
        for one in (source, *others):
            one.close()
    if recipe.stopping.rule == "exposure":
        combination = kept_last(combination)
    return replace(spec, combination=combination), warnings


def _with_donor(plan: Plan, donor: Inherited) -> Plan:
    if plan.recipe.task == "identity":
        raise UsageError(f"--donor {donor.store}: task identity fits nothing; drop it")
    channels, _, _ = plan.grid.window_shape
    check_inherited(donor, plan.problem, channels, plan.recipe.donor.tiles)
    return replace(plan, donor=donor)


def _plan_for(
    source: Source, recipe: Recipe, recipe_name: str, device: Device, found: ReadPsf | None
) -> Plan:
    psf = None if found is None else found.psf
    grid = TileGrid(source.shape, source.joint, recipe.tiles.core, recipe.tiles.halo)
    operator = make_operator(recipe, psf)
    check_reach(operator, psf, grid)
    samples = sample(source)
    identity = recipe.task == "identity"
    noise = _noise(samples, recipe, of_a_mean=bool(source.spec.exposures))
    detector = _detector(samples, source, recipe, noise)
    layout = Layout(
        source_shape=source.shape,
        ndim=source.ndim,
        joint=source.joint,
        scale=operator.scale,
        dtype=source.output_dtype.name,
        # the residual's chunks are the image's by the scale
        chunk=-(-recipe.output.chunk // operator.scale) * operator.scale,
        max_shard=recipe.output.shard,
        fills=recipe.fills or detector is not None,
        uncertain=recipe.uncertain,
        mixes=operator.mixes,
    )
    spec = replace(source.spec, detector=detector)
    batch = recipe.tiles.batch
    batch_size = batch if batch != "auto" else (COPIED_AT_ONCE if identity else 1)
    plan = Plan(
        spec=spec,
        recipe=recipe,
        recipe_name=recipe_name,
        grid=grid,
        layout=layout,
        working_dtype=source.working_dtype.name if identity else "float32",
        transform=make_transform(samples, recipe.scaling, noise, source.output_dtype),
        noise=noise,
        numerics=_numerics(device, recipe),
        flux_factor=_flux_factor(recipe, source),
        batch_size=batch_size,
        resident_bytes=source.resident_bytes,
        noise_before=_noise_between_neighbours(samples),
        psf=psf,
        quantisation=quantisation_of(source, recipe) if recipe.task == "deartifact" else None,
        **_guide(spec),
        warnings=(*(() if found is None else found.warnings), *_contradicted(samples, noise)),
    )
    return replace(plan, **_colouring(source, grid, samples))


def _colouring(source: Source, grid: TileGrid, samples: list[Sample]) -> dict[str, Any]:
    """What a plan knows of a photograph to be coloured, as its fields; of another image nothing."""
    if not isinstance(source, HintedSource):
        return {}
    white = white_of(source)
    if float(np.median(np.concatenate([values[valid] for values, valid in samples]))) > white:
        raise UsageError(
            f"{source.spec.path}: floats mostly above 1, which is white for colorize; divide them by their "
            "white, or save it as integers"
        )
    return {
        # a and b as they are, about 0
        "transform": PixelTransform("linear", offset=0.0, scale=LIGHTEST),
        "guide_channels": 1,
        "white": white,
        "warnings": look_through(source, grid),
    }


def _guide(spec: SourceSpec) -> dict[str, Any]:
    """Scaling and number of planes of the guide, where there is one, as fields of a plan."""
    if spec.guide is None:
        return {}
    guide = open_named(spec.guide, "guide")
    try:
        samples = sample(guide)
        noise = estimate_noise(samples, NoiseSettings())
        transform = make_transform(samples, ScalingSettings(), noise, guide.output_dtype)
        return {"guide": transform, "guide_channels": guide.shape[0]}
    finally:
        guide.close()


def _detector(
    samples: list[Sample], source: Source, recipe: Recipe, noise: NoiseModel
) -> Detector | None:
    """What looks for defects; None where nothing is looked for."""
    pixels = np.concatenate([values[valid] for values, valid in samples])
    sky = float(np.median(pixels)) if pixels.size else 0.0
    settings = recipe.defects
    if settings.cosmic_rays == "auto":
        settings = replace(settings, cosmic_rays=stars_are_wide(samples, noise, sky))
    quantum = 0.0 if source.dtype.kind == "f" else 1.0
    return Detector(settings, noise, quantum, sky) if settings.any else None


def _as_seen(spec: SourceSpec, noise: NoiseModel, exposures: dict[str, Any] | None) -> SourceSpec:
    """The same source, its exposures joined and its defects judged as they once were."""
    if exposures is not None:
        spec = replace(spec, combination=Combination.from_json(exposures))
    if spec.detector is None:
        return spec
    return replace(spec, detector=replace(spec.detector, noise=noise))


def _noise(samples: list[Sample], recipe: Recipe, *, of_a_mean: bool) -> NoiseModel:
    if recipe.task in ("identity", "deartifact", "colorize"):
        return NoiseModel(floor=0.0, slope=0.0, lag1=0.0, correlated=False, origin="not needed")
    if of_a_mean:
        # what the recipe knows is the noise of one exposure
        return estimate_noise(samples, NoiseSettings(correlation=recipe.noise.correlation))
    return estimate_noise(samples, recipe.noise)


def _contradicted(samples: list[Sample], noise: NoiseModel) -> tuple[str, ...]:
    """What to say where the noise that was given is not what the image shows."""
    if not noise.origin.startswith("given"):
        return ()
    shown = estimate_noise(samples, NoiseSettings())
    given, measured = (_typical_sigma(samples, model) for model in (noise, shown))
    if measured <= 0 or 1 / MOST_CONTRADICTION <= given / measured <= MOST_CONTRADICTION:
        return ()
    return (
        f"noise {noise.origin}: a standard deviation of {given:.4g}, but the image shows {measured:.4g}; "
        "what is given is taken, leave it out to take what is measured",
    )


def _typical_sigma(samples: list[Sample], noise: NoiseModel) -> float:
    """Median standard deviation of the noise over the samples' valid pixels; 0 without any."""
    sigmas = [
        np.sqrt(noise.variance(values[valid].astype(np.float64))) for values, valid in samples
    ]
    found = np.concatenate(sigmas)
    return float(np.median(found)) if found.size else 0.0


def _numerics(device: Device, recipe: Recipe) -> Numerics:
    try:
        return resolve(device, "auto", threads=recipe.tiles.threads)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _flux_factor(recipe: Recipe, source: Source) -> float:
    scale, flux = recipe.operator.scale, recipe.output.flux
    per_pixel = source.format == "fits" and is_per_pixel(source.unit)
    keep_sums = flux == "total" or (flux == "auto" and per_pixel)
    return 1 / scale**2 if keep_sums else 1.0


def _noise_between_neighbours(samples: list[Sample]) -> float | None:
    values = [
        sigma
        for pixels, valid in samples
        if np.isfinite(sigma := mad_sigma(np.where(valid, pixels, np.nan)))
    ]
    return float(np.median(values)) if values else None


def summarise(plan: Plan, *, workers: int) -> dict[str, Any]:
    """The document of `glassplate plan --json`; runs a short trial to estimate the time."""
    capacity = project(plan, workers=workers)
    return {
        "source": str(plan.spec.path),
        "recipe": plan.recipe_name,
        "input_shape": list(plan.layout.source_shape[-plan.layout.ndim :]),
        "output_shape": list(plan.layout.stored_shape),
        "output_dtype": plan.layout.dtype,
        "tiles": len(plan.grid),
        "tile_grid": list(plan.grid.dimensions),
        "window_shape": list(plan.grid.window_shape),
        "batches": len(plan.batches),
        "workers": workers,
        "host_bytes": capacity.host_bytes,
        "device_bytes": capacity.device_bytes,
        "disk_bytes": capacity.disk_bytes,
        "seconds": projected_seconds(plan, workers),
        "noise": plan.noise.to_json(),
        "transform": plan.transform.to_json(),
        "numerics": asdict(plan.numerics),
        "warm": plan.warm,
        "donor": plan.donor and plan.donor.to_json(),
        "donor_iterations": plan.donor_iterations,
        "psf_shape": None if plan.psf is None else list(plan.psf.shape),
        "exposures": plan.spec.combination and plan.spec.combination.to_json(),
        "warnings": list(plan.warnings),
        "stages": capacity.stages,
    }


# Bytes per second at which one worker reads, blends, compresses and writes (benchmarks/pipeline.py).
COPY_BYTES_PER_S = 40e6


def projected_seconds(plan: Plan, workers: int) -> float:
    """Time to expect: the donor, every fit to its cap on iterations, and the copying around them."""
    copying = plan.layout.uncompressed_bytes / COPY_BYTES_PER_S / workers
    if plan.recipe.task == "identity":
        return copying
    problem = plan.tile_problem
    step = seconds_per_iteration(problem, plan.grid.window_shape)
    rounds = -(-len(plan.batches) // workers)
    tiles = step * problem.fit.iterations * problem.fit.members * plan.batch_size * rounds
    _, height, width = plan.grid.window_shape
    share = WINDOW**2 / (height * width)
    donor = plan.donor_iterations * step * share
    return donor + tiles + copying
