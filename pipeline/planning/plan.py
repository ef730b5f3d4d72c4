"""The plan of a restoration: all that is decided before anything is done. `make_plan` makes it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from glassplate.models.colour import lightness
from glassplate.models.device.numerics import Numerics
from glassplate.models.donor.donor_problem import (
    donor_iterations,
    warm,
    windows_a_step,
    with_donor_network,
)
from glassplate.models.fit.problem import Measurement, Problem
from glassplate.models.fit.settings import DonorSettings
from glassplate.models.noise.description import NoiseDescription
from glassplate.models.noise.model import NoiseModel
from glassplate.models.operators.operator import Operator
from glassplate.models.operators.psf import Psf
from glassplate.models.operators.quantisation import Quantisation
from glassplate.models.pixel_transform import PixelTransform
from glassplate.pipeline.planning.donor_reuse import Inherited
from glassplate.pipeline.planning.operator import make_operator
from glassplate.pipeline.planning.recorded_findings import findings_as_recorded
from glassplate.pipeline.provenance.recorded_plan import (
    RecordedCompanion,
    RecordedGrid,
    RecordedPlan,
)
from glassplate.pipeline.recipes.recipe import Recipe
from glassplate.pipeline.source_findings import SourceFindings, has_variance
from glassplate.pipeline.sources.source import Pixels, SourceSpec
from glassplate.pipeline.store.layout import Layout
from glassplate.pipeline.tile_grid import TileGrid

# Lightness L that is 1 in the network's input: the photograph then has several times the contrast of the
# random code, so that colours follow it. With a code of 4 channels (F16, 96x96, 2 % hints, 100 iterations,
# mean of 4 fits): 30.4 dB, against 28.9 for a code of 32 channels and an L from 0 to 1.
GUIDING = 25.0


@dataclass(frozen=True)
class Plan:
    """All that decides the pixels of a result. It can be pickled, and is written to the manifest."""

    spec: SourceSpec
    """What the user wished to be read."""
    findings: SourceFindings
    """What was found in it."""
    recipe: Recipe
    recipe_name: str
    grid: TileGrid
    layout: Layout
    working_dtype: str
    """Pixel type of the restored windows until they are stitched."""
    transform: PixelTransform
    """Of values as they are read, as all numbers here with a unit: over ``2**exponent`` of `findings`."""
    noise: NoiseModel
    numerics: Numerics
    flux_factor: float
    """Factor on the restored values: 1, or 1 / scale**2 to keep sums."""
    batch_size: int
    resident_bytes: int
    """Decoded pixels that each worker keeps, for formats that cannot be read in parts."""
    noise_found: NoiseDescription | None = None
    """What the noise looks like; None where it was given or is not needed."""
    removes_nothing: bool = False
    """Whether noise is to be removed and there is none that could be."""
    psf: Psf | None = None
    """Point-spread function on the grid of the estimate."""
    guide: PixelTransform | None = None
    """Scaling of the guide; None without a guide."""
    guide_channels: int = 0
    """Planes of the guide; 0 without a guide."""
    donor: Inherited | None = None
    """Donor of an earlier result that is reused; None where the image fits its own, or none."""
    quantisation: Quantisation | None = None
    """Quantisation of the JPEG whose artefacts are removed."""
    white: float | None = None
    """White of a photograph that is coloured, source units; None for other tasks."""
    companions: tuple[RecordedCompanion, ...] = ()
    """The mask and the noise that came with the image, and what is used of them."""
    warnings: tuple[str, ...] = ()
    """Warnings for the user, one line each."""

    @property
    def has_variance(self) -> bool:
        """Whether pixels have the variance of an image of the noise."""
        return has_variance(self.spec, self.findings)

    @property
    def batches(self) -> list[range]:
        """Indices of the tiles in each unit of work."""
        return [
            range(start, min(start + self.batch_size, len(self.grid)))
            for start in range(0, len(self.grid), self.batch_size)
        ]

    @property
    def fits(self) -> bool:
        """Whether tiles are fitted; otherwise all are copied."""
        return self.recipe.traits.fits and (self.layout.fills or not self.removes_nothing)

    @property
    def copied_because(self) -> str | None:
        """Stop reason of a tile that is copied instead of fitted; None where every tile is fitted."""
        return "nothing to remove" if self.removes_nothing else self.recipe.traits.copied_because

    @property
    def warm(self) -> bool:
        """Whether tiles start from a donor's weights.

        They do if there are enough tiles to pay for the donor's fit, whenever a donor is reused, which costs
        next to nothing, and where only a donor learns.
        """
        if self.donor is not None or (self.fits and self.problem.input == "cross-scale"):
            return True
        least = self.recipe.donor.tiles
        blind = self.fits and self.problem.input == "blindspot"
        return blind and 0 < least <= len(self.grid)

    @property
    def donor_iterations(self) -> int:
        """Windows that the donor learns from, counting each visit; 0 if it learns from none."""
        inherited = self.donor is not None
        steps = donor_iterations(self.problem, self.donor_settings, inherited=inherited)
        return steps if self.warm else 0

    @property
    def donor_windows_a_step(self) -> int:
        """Windows from which the donor learns at each of its optimiser steps."""
        return windows_a_step(self.problem, self.donor_settings, inherited=self.donor is not None)

    @property
    def donor_settings(self) -> DonorSettings:
        """How a donor of this image, and tiles that start from it, are fitted."""
        return self.recipe.donor.for_tiles(len(self.grid), correlated=self.noise.correlated)

    @property
    def donor_problem(self) -> Problem:
        """How the donor is fitted."""
        return with_donor_network(self.problem, self.donor_settings)

    @property
    def operator(self) -> Operator:
        """The forward operator: the measurement is about A(x), where x is sought."""
        return make_operator(self.recipe, self.psf)

    @property
    def tile_problem(self) -> Problem:
        """How a tile is fitted: from the donor's weights where `warm`, else as `problem`."""
        return warm(self.problem, self.donor_settings) if self.warm else self.problem

    @property
    def problem(self) -> Problem:
        """How a tile is fitted from random weights."""
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
        """The measurement of a window; `corner` is its first row and column in the image."""
        if pixels.hints is not None:
            return self._chroma(pixels, pixels.hints, seed, corner)
        guide = None
        if pixels.guide is not None and self.guide is not None:
            # invalid pixels of the guide get its middle level
            guide = np.nan_to_num(self.guide.forward(pixels.guide)).astype(np.float32)
        return Measurement(
            # the value of an invalid pixel may not fit into float32
            np.where(pixels.valid, pixels.values, 0).astype(np.float32),
            pixels.valid,
            pixels.variance,
            seed,
            guide,
            pixels.validation,
            corner,
        )

    def _chroma(
        self, pixels: Pixels, hints: npt.NDArray[np.float32], seed: int, corner: tuple[int, int]
    ) -> Measurement:
        """The measurement for colorize: chroma where there are hints, and the photograph as the guide."""
        valid = np.isfinite(hints)
        guide = (lightness(self.grey_of(pixels)) / GUIDING).astype(np.float32)
        return Measurement(np.where(valid, hints, 0), valid, None, seed, guide[None], origin=corner)

    def grey_of(self, pixels: Pixels) -> npt.NDArray[np.float64]:
        """Greyscale of a photograph that is coloured, ``(h, w)``, 0 is black and 1 white."""
        grey: npt.NDArray[np.float64] = pixels.values[0].astype(np.float64) / (self.white or 1.0)
        return grey

    def in_lab(self, pixels: Pixels, chroma: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Join a photograph's lightness and its restored chroma ``(2, h, w)`` to L, a, b, ``(3, h, w)``."""
        light = lightness(self.grey_of(pixels))[None]
        return np.concatenate([light, chroma]).astype(np.float32)

    def in_source_units(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Values as they were read or fitted, in the source's own units; exact but at the ends of a type."""
        given, pedestal = self.differences_in_source_units(values), self.findings.pedestal
        return given + pedestal if pedestal else given

    def differences_in_source_units(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Differences and standard deviations of values, in the source's own units."""
        exponent = self.findings.exponent
        if exponent == 0:
            return values
        given: npt.NDArray[Any] = np.ldexp(values, exponent)
        return given

    def to_fill(self, pixels: Pixels) -> npt.NDArray[np.bool_]:
        """Invalid pixels of a region that get the network's estimate, ``(c, h, w)`` bool."""
        if not self.recipe.fills:
            return np.zeros_like(pixels.valid) if pixels.found is None else pixels.found
        unknown = ~pixels.valid
        if pixels.hidden is not None:
            unknown &= ~pixels.hidden
        if pixels.saturated is not None:
            unknown &= ~pixels.saturated
        return unknown

    def recorded(self) -> RecordedPlan:
        """The plan without its recipe, for the manifest; numbers in source units, less the pedestal."""
        exponent, combination = self.findings.exponent, self.findings.combination
        detector = self.findings.detector
        return RecordedPlan(
            output_shape=self.layout.stored_shape,
            output_dtype=self.layout.dtype,
            grid=RecordedGrid(**asdict(self.grid), dimensions=self.grid.dimensions),
            tiles=len(self.grid),
            batches=len(self.batches),
            batch_size=self.batch_size,
            layout=self.layout,
            working_dtype=self.working_dtype,
            unit_exponent=exponent,
            pedestal=self.findings.pedestal,
            wild=tuple(
                None if limits is None else limits.scaled(exponent).to_json()
                for limits in self.findings.limits
            ),
            transform=self.transform.scaled(exponent),
            noise=self.noise.scaled(exponent),
            numerics=self.numerics,
            warm=self.warm,
            donor=None if self.donor is None else self.donor.recorded(),
            donor_iterations=self.donor_iterations,
            exposures=combination and combination.scaled(exponent),
            flux_factor=self.flux_factor,
            noise_found=self.noise_found and self.noise_found.scaled(exponent),
            removes_nothing=self.removes_nothing,
            guide=self.guide,
            psf_shape=None if self.psf is None else self.psf.shape,
            defects=None if detector is None else asdict(detector.settings),
            defect_noise=None if detector is None else detector.noise.scaled(exponent),
            low_level=self._low_level,
            quantisation=self.quantisation,
            white=self.white,
            companions=self.companions,
            warnings=self.warnings,
        )

    @property
    def _low_level(self) -> float | None:
        """Value below which pixels are dead, in the source's own units; None where there is none."""
        detector = self.findings.detector
        if detector is None or math.isinf(detector.low):
            return None
        return math.ldexp(detector.low, self.findings.exponent)

    def as_recorded(self, recorded: RecordedPlan) -> Plan:
        """This plan with what depends on the machine taken from an earlier run's manifest.

        A run that resumes on another machine must go on with the precision, threads, noise and
        scaling that it began with, or its tiles would not fit together.
        """
        noise = recorded.noise.scaled(-recorded.unit_exponent)
        return replace(
            self,
            findings=findings_as_recorded(self.findings.detector, recorded),
            numerics=recorded.numerics,
            noise=noise,
            removes_nothing=recorded.removes_nothing,
            transform=recorded.transform.scaled(-recorded.unit_exponent),
            batch_size=recorded.batch_size,
            guide=recorded.guide,
            companions=recorded.companions,
        )
