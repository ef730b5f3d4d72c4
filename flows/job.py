"""A bulk job: which images, where to, by which recipe; read from a YAML file and checked once."""

from __future__ import annotations

import difflib
import glob
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from glassplate.flows.wording import one_line
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.open_source import sniff_format
from glassplate.pipeline.recipe import Recipe, load_recipe
from glassplate.pipeline.source import SourceSpec


class Wishes(BaseModel):
    """What may be said once for a whole job and again for one of its inputs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: str | None = None
    """A shipped recipe or a YAML file; None: astro-denoise for FITS, archive-denoise for the rest."""
    set: tuple[str, ...] = ()
    """Overrides such as ``fit.iterations=500``; in the file also a mapping."""
    scale: int | None = None
    export: Literal["fits", "tif", "auto"] | None = None
    """Write STEM.fits or STEM.tif beside the Zarr; auto: FITS for FITS, TIFF for the rest."""
    hdu: int | str | None = None
    page: int | None = None
    mask: Path | None = None
    variance: Path | None = None

    @field_validator("set", mode="before")
    @classmethod
    def _set_as_overrides(cls, value: Any) -> Any:
        if value is None:
            return ()
        if isinstance(value, str):
            return (value,)
        return tuple(_flat(value)) if isinstance(value, Mapping) else value


class JobInput(Wishes):
    """One entry of `inputs` that differs from the rest."""

    path: str = Field(min_length=1)
    """A file or a glob."""
    name: str | None = Field(None, pattern=r"^[^/]+$")
    """Name of the result instead of the file's stem."""


class Job(Wishes):
    """A bulk job."""

    inputs: tuple[JobInput, ...] = Field(min_length=1)
    """Files and globs, relative to the current folder; ``~`` is your home."""
    output: Path
    """Folder: each image becomes STEM.zarr in it. Where a glob has wildcards in its folders, those
    folders are made again below it, so that ``night*/a.fits`` do not meet."""
    pool: str = "auto"
    workers: int | None = Field(None, ge=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    name: str = "glassplate-bulk"
    """Name of the runs in Prefect."""
    tags: tuple[str, ...] = ()
    """Tags of the runs in Prefect."""
    keep_scratch: bool = False

    @field_validator("inputs", mode="before")
    @classmethod
    def _inputs_as_entries(cls, value: Any) -> Any:
        entries = [value] if isinstance(value, str | Mapping | JobInput) else value
        if not isinstance(entries, list | tuple):
            return entries
        return tuple({"path": entry} if isinstance(entry, str) else entry for entry in entries)


@dataclass(frozen=True)
class Image:
    """One image of a job."""

    spec: SourceSpec
    store: Path
    recipe: str | None
    overrides: tuple[str, ...]
    scale: int | None
    export: Literal["fits", "tif", "auto"] | None

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


def read_job(path: Path) -> Job:
    """Read a job file; its paths become absolute, so that a schedule may run it from anywhere.

    Raises
    ------
    UsageError
        If the file cannot be read or a key or value of it is unknown or impossible.
    """
    try:
        raw = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or one_line(error)
        raise UsageError(f"job {path}: {reason}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"job {path}: not YAML: {one_line(error)}") from error
    if not isinstance(raw, dict):
        raise UsageError(
            f"job {path}: expected keys such as inputs, output and recipe, got {type(raw).__name__}"
        )
    try:
        job = Job.model_validate(raw)
    except ValidationError as error:
        raise UsageError(f"job {path}: {_fault(error)}") from error
    return _absolute(job)


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
                variance=wish("variance"),
            ),
            store=job.output / folder / f"{entry.name or stem_of(path)}.zarr",
            recipe=wish("recipe"),
            overrides=job.set + entry.set,
            scale=wish("scale"),
            export=wish("export"),
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


def _absolute(job: Job) -> Job:
    def place(path: Path | None) -> Path | None:
        return None if path is None else path.expanduser().absolute()

    def recipe(name: str | None) -> str | None:
        is_file = name is not None and (name.endswith((".yaml", ".yml")) or "/" in name)
        return str(Path(str(name)).expanduser().absolute()) if is_file else name

    def common(wishes: Wishes) -> dict[str, Any]:
        """Only what was said: what an input does not say, it takes from the job."""
        moved = {
            "mask": place(wishes.mask),
            "variance": place(wishes.variance),
            "recipe": recipe(wishes.recipe),
        }
        return {key: value for key, value in moved.items() if key in wishes.model_fields_set}

    entries = tuple(
        entry.model_copy(update={"path": str(place(Path(entry.path))), **common(entry)})
        for entry in job.inputs
    )
    return job.model_copy(update={"inputs": entries, "output": place(job.output), **common(job)})


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Overrides of a mapping, nested or dotted."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}={json.dumps(value)}"


def _fault(error: ValidationError) -> str:
    """First fault of a validation, on one line, with the nearest known key."""
    fault = error.errors()[0]
    place = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        model = JobInput if fault["loc"][0] == "inputs" else Job
        word = str(fault["loc"][-1])
        near = difflib.get_close_matches(word, list(model.model_fields), n=1)
        return f"unknown key {place!r}" + (f"; did you mean {near[0]!r}?" if near else "")
    if fault["type"] == "missing":
        return f"{place} is missing"
    return f"{place} is {fault['input']!r}: {fault['msg']}"
