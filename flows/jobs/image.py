"""One image of a job, and how it is restored."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from glassplate.flows.jobs.image_settings import Step
from glassplate.flows.jobs.inputs.facts import Facts
from glassplate.flows.jobs.inputs.input_files import STORE_SUFFIX
from glassplate.pipeline.recipes.recipe import Recipe, load_recipe
from glassplate.pipeline.sources.file_format import holds_measurements
from glassplate.pipeline.sources.source import SourceSpec


@dataclass(frozen=True)
class Image:
    """One image of a job, and how it is restored."""

    spec: SourceSpec
    store: Path
    recipe: str | None
    overrides: tuple[str, ...]
    scale: int | None
    export: Literal["fits", "tif", "auto"] | None
    joint: Path | None = None
    """FITS file to which this image and others of its file are exported together, when all have ended."""
    donor: Path | None = None
    """Earlier result from whose donor the tiles start; in a sequence, the first image alone uses it."""
    fault: str = ""
    """Why the job cannot give the image a result of its own, on one line; empty if it can."""
    steps: tuple[Step, ...] = ()
    """Recipes that are applied one after the other, in place of `recipe`."""
    facts: Facts | None = field(default=None, compare=False)
    """What rules and names have read of the image."""

    @property
    def part(self) -> str:
        """The HDU or page that the job names; empty if it names none."""
        if self.spec.hdu is not None:
            return str(self.spec.hdu)
        return "" if self.spec.page is None else f"page {self.spec.page}"

    @property
    def label(self) -> str:
        """The file's name with the image in it: ``m31.fits`` or ``m31.fits[SCI]``."""
        return self.spec.path.name + (f"[{self.part}]" if self.part else "")

    def load_recipe(self, default: str) -> tuple[str, Recipe]:
        """Return the recipe's name and settings; `default` is the name if the job gives none."""
        name = self.recipe or default
        return name, load_recipe(name, self.overrides, scale=self.scale)

    def export_path(self, *, is_fits: bool) -> Path | None:
        """Return the path of the image's own export; None if none is requested."""
        if self.export is None or self.joint is not None:
            return None
        kind = ("fits" if is_fits else "tif") if self.export == "auto" else self.export
        return beside(self.store, f".{kind}")

    @property
    def stores(self) -> list[Path]:
        """The results of all steps, that of the last one last."""
        earlier = [beside(self.store, _step_suffix(n)) for n in range(1, len(self.steps))]
        return [*earlier, self.store]

    def stages(self) -> list[Image]:
        """The image as one image for each of its steps, in order; itself without steps.

        Each step but the first reads the export of the step before. Masks and other files go with the first
        step, because their pixels are those of the original; the donor does too.

        Raises
        ------
        SourceError
            If the format of the file is needed and cannot be told.
        """
        if not self.steps:
            return [self]
        kind: Literal["fits", "tif"] = "fits" if holds_measurements(self.spec.path) else "tif"
        stages: list[Image] = []
        spec, donor = self.spec, self.donor
        for number, (step, store) in enumerate(zip(self.steps, self.stores, strict=True), start=1):
            is_last = number == len(self.steps)
            stages.append(
                replace(
                    self,
                    spec=spec,
                    store=store,
                    recipe=step.recipe,
                    overrides=self.overrides + step.set,
                    scale=step.scale,
                    export=self.export if is_last else kind,
                    donor=donor,
                    steps=(),
                )
            )
            page: Literal["all"] | None = "all" if spec.page == "all" else None
            hdu = spec.hdu if kind == "fits" else None
            spec, donor = SourceSpec(beside(store, f".{kind}"), hdu=hdu, page=page), None
        return stages


def beside(store: Path, suffix: str) -> Path:
    """The path of a result with another suffix in place of its own."""
    return store.with_name(store.name.removesuffix(STORE_SUFFIX) + suffix)


def _step_suffix(number: int) -> str:
    return f".step{number}{STORE_SUFFIX}"
