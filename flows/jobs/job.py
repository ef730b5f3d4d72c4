"""A bulk job, read from a YAML file and validated once: its images, its output folder, its recipe."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import yaml
from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from glassplate.flows.jobs.buckets.bucket import SCHEME, BucketUrl
from glassplate.flows.jobs.image_settings import ImageSettings, Step, absolute, absolute_paths
from glassplate.flows.jobs.limits import Limits
from glassplate.flows.jobs.rules import TEXTS_SCHEMA, Condition, Rule
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.text import one_line, without_secrets

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


ReportKind: TypeAlias = Literal["html", "png"]
_REPORT = {"enum": ["html", "png"]}
REPORTS_SCHEMA = {"anyOf": [_REPORT, {"type": "array", "items": _REPORT}]}


class InputChoice(BaseModel):
    """Which files of a folder or pattern are meant; of a job, and of one of its inputs."""

    include: Annotated[tuple[str, ...], WithJsonSchema(TEXTS_SCHEMA)] = ()
    """Patterns for names, or for paths below the folder if they have a slash."""
    exclude: Annotated[tuple[str, ...], WithJsonSchema(TEXTS_SCHEMA)] = ()
    """Patterns of files and folders that are not meant."""

    @field_validator("include", "exclude", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class JobInput(ImageSettings, InputChoice):
    """One entry of `inputs`, with the settings in which it differs from the job."""

    path: str = ""
    """A file, a folder or a glob pattern, here or in a bucket (``s3://bucket/night/*.fits``)."""
    list: Path | None = None
    """A file that names the images, with settings for each of them (`rows_of`), in place of `path`."""
    name: str | None = Field(None, pattern=r"^[^/]+$")
    """Name of the result in place of the file's stem."""

    @field_validator("path")
    @classmethod
    def _bucket_is_named_without_keys(cls, value: str) -> str:
        return str(BucketUrl.parse(value)) if value.startswith(SCHEME) else value

    @model_validator(mode="after")
    def _is_a_path_or_a_list(self) -> JobInput:
        if bool(self.path) == (self.list is not None):
            raise ValueError("an input has either a path or a list")
        return self

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


class Job(ImageSettings, InputChoice):
    """A bulk job."""

    inputs: Annotated[tuple[JobInput, ...], Field(min_length=1), WithJsonSchema(INPUTS_SCHEMA)]
    """Files, folders and glob patterns, relative to the current folder; ``~`` is the user's home."""
    output: Path
    """Folder in which each image becomes STEM.zarr. Folders that match a wildcard of a pattern are
    created below it, so that the results of ``night*/a.fits`` have different paths."""
    upload: str | None = None
    """Where in a bucket complete results and their exports are copied to: ``s3://bucket/restored``."""
    rules: tuple[Rule, ...] = ()
    """Settings by suffix, header or size. For each image the first rule that suits it holds; what an input
    sets itself comes before that."""
    changed: Literal["skip", "redo", "keep-both"] = "skip"
    """What becomes of a result whose input, recipe or other settings are others now."""
    limits: Limits = Limits()
    pool: str = "auto"
    workers: int | None = Field(None, ge=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    name: str = "glassplate-bulk"
    """Name of the runs in Prefect, and of the log. `read_job` takes the name of the job file."""
    tags: tuple[str, ...] = ()
    """Tags of the runs in Prefect."""
    log: Literal["text", "json"] = "text"
    """Form of the lines of the log."""
    log_level: Literal["debug", "info", "warning"] = "info"
    """The least level of a message in the log."""
    keep_scratch: bool = False
    reports: Annotated[tuple[ReportKind, ...], WithJsonSchema(REPORTS_SCHEMA)] = ()
    """What is written beside each result to look at: ``html``, its page STEM.report.html; ``png``, a picture
    of the whole, STEM.report.png."""
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

    @field_validator("reports", mode="before")
    @classmethod
    def _one_report_or_more(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("upload")
    @classmethod
    def _goes_to_a_bucket(cls, value: str | None) -> str | None:
        return None if value is None else str(BucketUrl.parse(value))

    @field_validator("name")
    @classmethod
    def _name_is_not_empty(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("is empty")
        return value

    @model_validator(mode="after")
    def _frames_have_one_step(self) -> Job:
        if self.sequence and (self.steps or any(one.steps for one in self.inputs)):
            raise ValueError("a sequence has one recipe; drop steps, or run a job for each step")
        return self


def read_job(path: Path) -> Job:
    """Read a job file and make its paths absolute, because a scheduled run may start in any folder.

    Raises
    ------
    UsageError
        If the file cannot be read, one of its keys or values is invalid, or its output is a file.
    """
    if path.is_dir():
        raise UsageError(
            f"job {path}: is a folder; write a job file with lines 'inputs: {path}' and 'output: FOLDER', "
            "and give its name"
        )
    try:
        raw = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"job {path}: {error.strerror or one_line(error)}") from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"job {path}: is no text; give a job file, whose inputs name the images"
        ) from error
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
    if "name" not in job.model_fields_set:
        job = job.model_copy(update={"name": path.stem})
    job = _with_absolute_paths(job)
    if job.output.exists() and not job.output.is_dir():
        raise UsageError(
            f"job {path}: output {job.output} is a file; give a folder for the results"
        )
    return job


def entry_of_list(entry: JobInput, path: Path, line: int, row: Mapping[str, Any]) -> JobInput:
    """Make an entry for one image of a list.

    Parameters
    ----------
    entry
        The entry that names the list. Its settings hold where the row gives none.
    path
        The list, to whose folder the paths of the row are relative.
    line
        Number of the line, for messages.
    row
        Settings of the image.

    Raises
    ------
    UsageError
        If a key or value of the row is invalid.
    """
    given = str(row.get("path") or "")
    is_here = given and not given.startswith(SCHEME)
    place = str(absolute(Path(given), path.parent)) if is_here else given
    try:
        own = JobInput.model_validate({**row, "path": place})
    except ValidationError as error:
        raise UsageError(f"list {path}, line {line}: {_first_error(error, JobInput)}") from error
    own = own.model_copy(update=absolute_paths(own, path.parent))
    settings = {key: getattr(own, key) for key in own.model_fields_set - {"list", "set"}}
    return entry.model_copy(update={**settings, "list": None, "set": entry.set + own.set})


def _with_absolute_paths(job: Job) -> Job:
    entries = tuple(_absolute_entry(entry) for entry in job.inputs)
    rules = tuple(rule.model_copy(update=absolute_paths(rule)) for rule in job.rules)
    update = {"inputs": entries, "output": absolute(job.output), **absolute_paths(job)}
    return job.model_copy(update=update | ({"rules": rules} if rules else {}))


def _absolute_entry(entry: JobInput) -> JobInput:
    place: dict[str, Any] = {}
    if entry.list is not None:
        place = {"list": absolute(entry.list)}
    elif not entry.path.startswith(SCHEME):
        place = {"path": str(absolute(Path(entry.path)))}
    return entry.model_copy(update={**place, **absolute_paths(entry)})


def _first_error(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """The first error of a validation on one line, with the nearest known key for an unknown one."""
    # a misspelt key is the cause of the missing one
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = list((model or _model_at(first["loc"])).model_fields)
        nearest = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        return f"unknown key {key!r}" + (f"; did you mean {nearest[0]!r}?" if nearest else "")
    if first["type"] == "missing":
        return f"{key} is missing"
    if isinstance(first["input"], Mapping):  # of several keys that do not go together
        said = first["msg"].removeprefix("Value error, ")
        return f"{key}: {said}" if key else said
    return without_secrets(f"{key} is {first['input']!r}: {first['msg']}")


def _model_at(place: tuple[int | str, ...]) -> type[BaseModel]:
    """The model of which a key is a field, by the place of the key in a job."""
    models: dict[int | str, type[BaseModel]] = {
        "inputs": JobInput,
        "rules": Rule,
        "when": Condition,
        "steps": Step,
        "limits": Limits,
    }
    return next((models[part] for part in reversed(place[:-1]) if part in models), Job)
