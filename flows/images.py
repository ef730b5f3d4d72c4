"""The images of a job: what its inputs stand for now, and what becomes of each."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from glassplate.flows.job import Job, JobInput
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.open_source import sniff_format
from glassplate.pipeline.recipe import Recipe, load_recipe
from glassplate.pipeline.source import NOISE_KINDS, SourceSpec, noise_image


@dataclass(frozen=True)
class Image:
    """One image of a job."""

    spec: SourceSpec
    store: Path
    recipe: str | None
    overrides: tuple[str, ...]
    scale: int | None
    export: Literal["fits", "tif", "auto"] | None
    donor: Path | None = None
    """Earlier result from whose donor the tiles start; in a sequence, of its first image alone."""

    def load(self, default: str) -> tuple[str, Recipe]:
        """Name and settings of the recipe, `default` where the job names none."""
        name = self.recipe or default
        return name, load_recipe(name, self.overrides, scale=self.scale)

    def export_path(self, *, is_fits: bool) -> Path | None:
        """Where the export goes; None where none is wished."""
        if self.export is None:
            return None
        kind = ("fits" if is_fits else "tif") if self.export == "auto" else self.export
        return self.store.with_name(self.store.name.removesuffix(".zarr") + f".{kind}")


def images_of(job: Job) -> list[Image]:
    """Find the images of a job, now.

    A path without wildcards that is not there is listed too: the job is to report it. A glob may
    match nothing: tonight's images may not have come yet.

    Raises
    ------
    UsageError
        If two images would become one result, or an export would overwrite an input.
    """
    images = [image for entry in job.inputs for image in _images_of_entry(job, entry)]
    owners: dict[Path, Path] = {}
    sources = {image.spec.path.resolve() for image in images}
    for image in images:
        owner = owners.setdefault(image.store, image.spec.path)
        if owner != image.spec.path:
            raise UsageError(
                f"inputs {owner} and {image.spec.path} would both become {image.store}; give one of "
                "them another name: inputs: [{path: ..., name: ...}]"
            )
        for is_fits in (True, False):
            export = image.export_path(is_fits=is_fits)
            if export is not None and export.resolve() in sources:
                raise UsageError(
                    f"export {export} would overwrite an input; choose another output folder"
                )
    return list({image.store: image for image in images}.values())


def require_any(job: Job, images: list[Image]) -> None:
    """Refuse a job without a single file.

    Raises
    ------
    UsageError
        If there is none.
    """
    if not any(image.spec.path.is_file() for image in images):
        wished = ", ".join(entry.path for entry in job.inputs[:3])
        raise UsageError(f"inputs {wished}: no such file")


def check_recipes(images: list[Image]) -> None:
    """Load every recipe that is named, so that a wrong one is refused before anything runs.

    Raises
    ------
    UsageError
        If a recipe, key or value is unknown or impossible.
    """
    for name, overrides, scale in {(i.recipe, i.overrides, i.scale) for i in images}:
        # without a name the format decides, and what holds for one default holds for the other
        load_recipe(name or "astro-denoise", overrides, scale=scale)


def default_recipe(path: Path) -> str:
    """Name of the recipe for a file where none is named: by its format.

    Raises
    ------
    SourceError
        If the file cannot be read or is of no known format.
    """
    return "astro-denoise" if sniff_format(path) == "fits" else "archive-denoise"


def stem_of(path: Path) -> str:
    """The file's name without what says its format: ``m31`` of ``m31.fits.gz``."""
    name = path.name
    for packed in (".gz", ".bz2", ".fz"):
        name = name.removesuffix(packed)
    return Path(name).stem


def _images_of_entry(job: Job, entry: JobInput) -> Iterator[Image]:
    def wish(key: str) -> Any:
        return getattr(entry if key in entry.model_fields_set else job, key)

    # an entry that says how noisy its pixels are takes nothing of this from the job
    own = any(kind in entry.model_fields_set for kind in NOISE_KINDS)
    noise, noise_kind = noise_image(
        {kind: getattr(entry if own else job, kind) for kind in NOISE_KINDS}
    )
    matches = _matches(entry.path)
    if entry.name is not None and len(matches) > 1:
        raise UsageError(f"inputs {entry.path}: name {entry.name!r} is for {len(matches)} images")
    for path, folder in matches:
        yield Image(
            spec=SourceSpec(
                path=path,
                hdu=wish("hdu"),
                page=wish("page"),
                mask=wish("mask"),
                variance=noise,
                noise_kind=noise_kind,
                psf=wish("psf"),
                guide=wish("guide"),
                exposures=wish("exposures"),
                hints=wish("hints"),
                overlay=wish("overlay"),
            ),
            store=job.output / folder / f"{entry.name or stem_of(path)}.zarr",
            recipe=wish("recipe"),
            overrides=job.set + entry.set,
            scale=wish("scale"),
            export=wish("export"),
            donor=wish("donor"),
        )


def _matches(pattern: str) -> list[tuple[Path, Path]]:
    """Files of a path or glob, each with the folders that wildcards stood for."""
    literal = Path(pattern)
    if literal.is_dir():
        raise UsageError(
            f"inputs {pattern}: is a folder; write {pattern.rstrip('/')}/*.fits or the like"
        )
    if literal.exists() or not glob.has_magic(pattern):
        return [(literal, Path())]
    fixed = Path()
    for part in literal.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed /= part
    found = sorted(Path(match) for match in glob.glob(pattern, recursive=True))
    return [(path, path.relative_to(fixed).parent) for path in found if path.is_file()]
