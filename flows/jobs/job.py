"""A bulk job: which images, where to, by which recipe; read from a YAML file and checked once."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema, field_validator

from glassplate.flows.report.text import one_line
from glassplate.pipeline.errors import UsageError

# What a form or a deployment may give, which is what a job file may: Prefect checks parameters by it.
INPUTS_SCHEMA = {
    "anyOf": [
        {"type": "string"},
        {"type": "object"},
        {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "object"}]}},
    ]
}


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
    page: int | Literal["all"] | None = None
    mask: Path | None = None
    variance: Path | None = None
    sigma: Path | None = None
    weight: Path | None = None
    psf: Path | None = None
    guide: Path | None = None
    exposures: tuple[Path, ...] = ()
    """Further exposures of the scene of one input."""
    donor: Path | None = None
    """Earlier result from whose donor the tiles start."""
    hints: Path | None = None
    overlay: Path | None = None

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

    inputs: Annotated[tuple[JobInput, ...], Field(min_length=1), WithJsonSchema(INPUTS_SCHEMA)]
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
    sequence: bool = False
    """The inputs are frames of one scene, in order: each starts from the donor of the one before."""

    @field_validator("inputs", mode="before")
    @classmethod
    def _inputs_as_entries(cls, value: Any) -> Any:
        entries = [value] if isinstance(value, str | Mapping | JobInput) else value
        if not isinstance(entries, list | tuple):
            return entries
        return tuple({"path": entry} if isinstance(entry, str) else entry for entry in entries)


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
            "sigma": place(wishes.sigma),
            "weight": place(wishes.weight),
            "psf": place(wishes.psf),
            "guide": place(wishes.guide),
            "exposures": tuple(path.expanduser().absolute() for path in wishes.exposures),
            "donor": place(wishes.donor),
            "hints": place(wishes.hints),
            "overlay": place(wishes.overlay),
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
