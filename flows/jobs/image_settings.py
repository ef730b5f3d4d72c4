"""Settings of an image in a job, which the job, a rule or one of the inputs may give."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from glassplate.flows.jobs.inputs.companion_patterns import check_pattern, is_beside_the_image
from glassplate.flows.jobs.inputs.name_pattern import check_name_pattern


class RecipeSettings(BaseModel):
    """A recipe and what is changed in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: str | None = None
    """A shipped recipe or a YAML file; None: astro-denoise for FITS, archive-denoise for other formats."""
    set: tuple[str, ...] = ()
    """Overrides such as ``fit.iterations=500``. A job file may also give a mapping."""
    scale: int | None = None

    @field_validator("set", mode="before")
    @classmethod
    def _set_as_overrides(cls, value: Any) -> Any:
        if value is None:
            return ()
        if isinstance(value, str):
            return (value,)
        return tuple(_overrides(value)) if isinstance(value, Mapping) else value


class Step(RecipeSettings):
    """One of several recipes that are applied to an image one after the other."""

    recipe: str = Field(min_length=1)


class ImageSettings(RecipeSettings):
    """Settings that may be given for a whole job, and again for one of its inputs.

    Fields with the name of a `SourceSpec` field have its meaning. A path of theirs may be a pattern that
    names another file for each image (`companion_patterns`).
    """

    steps: tuple[Step, ...] = ()
    """Recipes in place of `recipe`. The result of each is the input of the next one."""
    export: Literal["fits", "tif", "auto"] | None = None
    """Write STEM.fits or STEM.tif beside the result; auto: FITS for FITS, TIFF for other formats."""
    result: str | None = None
    """Name of the result as a pattern, such as ``{OBJECT}/{stem}``."""
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

    @field_validator("result")
    @classmethod
    def _result_stays_inside(cls, value: str | None) -> str | None:
        if value is not None:
            check_name_pattern(value)
        return value

    @model_validator(mode="after")
    def _steps_have_the_recipes(self) -> ImageSettings:
        if self.steps and (self.recipe is not None or self.scale is not None):
            raise ValueError("steps have recipes of their own; drop recipe and scale beside them")
        return self


def absolute_paths(settings: ImageSettings, base: Path | None = None) -> dict[str, Any]:
    """The given settings that hold paths, absolute.

    Settings that an input does not give stay unset, because it takes them from the job.

    Parameters
    ----------
    settings
        Of a job, a rule or an input.
    base
        Folder to which relative paths are relative; None: the current one.
    """
    changed: dict[str, Any] = {}
    for key in settings.model_fields_set & ImageSettings.model_fields.keys():
        value = getattr(settings, key)
        if isinstance(value, Path):
            check_pattern(key, value)
            changed[key] = value if is_beside_the_image(value) else absolute(value, base)
        elif key in ("exposures", "exposure_masks"):
            changed[key] = tuple(absolute(path, base) for path in value)
        elif key == "recipe":
            changed[key] = _absolute_recipe(value, base)
        elif key == "steps":
            changed[key] = tuple(
                step.model_copy(update={"recipe": _absolute_recipe(step.recipe, base)})
                for step in value
            )
    return changed


def absolute(path: Path, base: Path | None = None) -> Path:
    """The path with ``~`` expanded, absolute."""
    expanded = path.expanduser()
    return expanded.absolute() if base is None else base.absolute() / expanded


def _absolute_recipe(name: str | None, base: Path | None) -> str | None:
    is_file = name is not None and (name.endswith((".yaml", ".yml")) or "/" in name)
    return str(absolute(Path(name), base)) if is_file and name is not None else name


def _overrides(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the overrides that a mapping with nested or dotted keys stands for."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _overrides(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}={json.dumps(value)}"
