"""A bulk job, read from a YAML file and validated once: its images, its output folder, its recipe."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from glassplate.flows.jobs.companion_patterns import check_pattern, is_beside_the_image
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.text import one_line

# A file with one of its images in brackets. Brackets after a suffix are no choice of characters.
_IN_BRACKETS = re.compile(
    r"(?P<file>.+\.(?:fits?|fts|fz|gz|bz2|z|(?P<tiff>tiff?)))\[(?P<part>[^\[\]/]+)\]", re.IGNORECASE
)

# Prefect validates the parameters of a deployment by this schema. It allows what a job file may hold.
INPUTS_SCHEMA = {
    "anyOf": [
        {"type": "string"},
        {"type": "object"},
        {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "object"}]}},
    ]
}


class ImageSettings(BaseModel):
    """Settings that may be given for a whole job, and again for one of its inputs.

    Fields with the name of a `SourceSpec` field have its meaning. A path of theirs may be a pattern that
    names another file for each image (`companion_patterns`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: str | None = None
    """A shipped recipe or a YAML file; None: astro-denoise for FITS, archive-denoise for other formats."""
    set: tuple[str, ...] = ()
    """Overrides such as ``fit.iterations=500``. A job file may also give a mapping."""
    scale: int | None = None
    export: Literal["fits", "tif", "auto"] | None = None
    """Write STEM.fits or STEM.tif beside the result; auto: FITS for FITS, TIFF for other formats."""
    hdu: int | str | tuple[int | str, ...] | None = None
    """A number or name, ``all``, a pattern such as ``SCI,*``, or a list: each of them is an image."""
    page: int | Literal["all"] | None = None
    dq_bits: int | str | tuple[int | str, ...] | None = None
    """Shorthand for the override ``companions.dq_bits``."""
    dq_codes: int | str | tuple[int | str, ...] | None = None
    """Shorthand for the override ``companions.dq_codes``."""
    mask: Path | None = None
    variance: Path | None = None
    sigma: Path | None = None
    weight: Path | None = None
    psf: Path | None = None
    guide: Path | None = None
    exposures: tuple[Path, ...] = ()
    exposure_masks: tuple[Path, ...] = ()
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
        return tuple(_overrides(value)) if isinstance(value, Mapping) else value


class JobInput(ImageSettings):
    """One entry of `inputs`, with the settings in which it differs from the job."""

    path: str = Field(min_length=1)
    """A file or a glob pattern."""
    name: str | None = Field(None, pattern=r"^[^/]+$")
    """Name of the result in place of the file's stem."""

    @model_validator(mode="before")
    @classmethod
    def _image_in_brackets(cls, value: Any) -> Any:
        """Take ``file.fits[SCI,2]`` for the HDU SCI,2 of the file, unless there is a file of this name."""
        path = value.get("path") if isinstance(value, Mapping) else None
        found = _IN_BRACKETS.fullmatch(path) if isinstance(path, str) else None
        if found is None or Path(str(path)).expanduser().exists():
            return value
        key = "page" if found["tiff"] else "hdu"
        if key in value:
            raise ValueError(f"names an image in brackets already; drop {key}")
        part: int | str = int(found["part"]) if found["part"].isdigit() else found["part"]
        return {**value, "path": found["file"], key: part}


class Job(ImageSettings):
    """A bulk job."""

    inputs: Annotated[tuple[JobInput, ...], Field(min_length=1), WithJsonSchema(INPUTS_SCHEMA)]
    """Files and glob patterns, relative to the current folder; ``~`` is the user's home."""
    output: Path
    """Folder in which each image becomes STEM.zarr. Folders that match a wildcard of a pattern are
    created below it, so that the results of ``night*/a.fits`` have different paths."""
    pool: str = "auto"
    workers: int | None = Field(None, ge=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    name: str = "glassplate-bulk"
    """Name of the runs in Prefect."""
    tags: tuple[str, ...] = ()
    """Tags of the runs in Prefect."""
    keep_scratch: bool = False
    sequence: bool = False
    """Whether the inputs are consecutive frames of one scene, each of which starts from the donor of the
    frame before it."""

    @field_validator("inputs", mode="before")
    @classmethod
    def _inputs_as_entries(cls, value: Any) -> Any:
        entries = [value] if isinstance(value, str | Mapping | JobInput) else value
        if not isinstance(entries, list | tuple):
            return entries
        return tuple({"path": entry} if isinstance(entry, str) else entry for entry in entries)


def read_job(path: Path) -> Job:
    """Read a job file and make its paths absolute, because a scheduled run may start in any folder.

    Raises
    ------
    UsageError
        If the file cannot be read, or one of its keys or values is invalid.
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
        raise UsageError(f"job {path}: {_first_error(error)}") from error
    return _with_absolute_paths(job)


def _with_absolute_paths(job: Job) -> Job:
    entries = tuple(
        entry.model_copy(
            update={"path": str(_absolute(Path(entry.path))), **_absolute_paths(entry)}
        )
        for entry in job.inputs
    )
    output = _absolute(job.output)
    return job.model_copy(update={"inputs": entries, "output": output, **_absolute_paths(job)})


def _absolute_paths(settings: ImageSettings) -> dict[str, Any]:
    """The given settings that hold paths, absolute.

    Settings that an input does not give stay unset, because it takes them from the job.
    """
    changed: dict[str, Any] = {}
    for key in settings.model_fields_set & ImageSettings.model_fields.keys():
        value = getattr(settings, key)
        if isinstance(value, Path):
            check_pattern(key, value)
            changed[key] = value if is_beside_the_image(value) else _absolute(value)
        elif key in ("exposures", "exposure_masks"):
            changed[key] = tuple(_absolute(path) for path in value)
        elif key == "recipe" and value is not None and _is_recipe_file(value):
            changed[key] = str(_absolute(Path(value)))
    return changed


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


def _is_recipe_file(name: str) -> bool:
    return name.endswith((".yaml", ".yml")) or "/" in name


def _overrides(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the overrides that a mapping with nested or dotted keys stands for."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _overrides(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}={json.dumps(value)}"


def _first_error(error: ValidationError) -> str:
    """The first error of a validation on one line, with the nearest known key for an unknown one."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        model = JobInput if first["loc"][0] == "inputs" else Job
        known = list(model.model_fields)
        nearest = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        return f"unknown key {key!r}" + (f"; did you mean {nearest[0]!r}?" if nearest else "")
    if first["type"] == "missing":
        return f"{key} is missing"
    return f"{key} is {first['input']!r}: {first['msg']}"
