"""Recipes: the settings of a restoration, read from YAML and checked once."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, model_validator

from glassplate.models.fit.settings import DonorSettings, FitSettings, check_input
from glassplate.models.fit.stopping import StoppingSettings
from glassplate.models.networks.settings import NetworkSettings
from glassplate.models.noise.model import NoiseSettings
from glassplate.pipeline.companions.settings import CompanionSettings
from glassplate.pipeline.defects.cosmic_rays import DefectSettings
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.recipes.removed_keys import without_removed_keys
from glassplate.pipeline.recipes.sections import (
    OperatorSettings,
    OutputSettings,
    Section,
    TilesSettings,
)
from glassplate.pipeline.scaling import ScalingSettings
from glassplate.pipeline.tasks import TASKS, TaskName, TaskTraits
from glassplate.pipeline.text import one_line


class Recipe(Section):
    """All settings of a restoration."""

    task: TaskName = "denoise"
    """What is sought; `glassplate.pipeline.tasks` has an entry for each."""
    seed: int = Field(0, ge=0, lt=2**31)
    tiles: TilesSettings = TilesSettings()
    network: NetworkSettings = NetworkSettings()
    fit: FitSettings = FitSettings()
    donor: DonorSettings = DonorSettings()
    stopping: StoppingSettings = StoppingSettings()
    noise: NoiseSettings = NoiseSettings()
    companions: CompanionSettings = CompanionSettings()
    scaling: ScalingSettings = ScalingSettings()
    defects: DefectSettings = DefectSettings()
    operator: OperatorSettings = OperatorSettings()
    output: OutputSettings = OutputSettings()

    @model_validator(mode="after")
    def _scale_fits_the_task(self) -> Recipe:
        if not self.traits.enlarges and self.operator.scale != 1:
            raise ValueError(
                f"scale {self.operator.scale} is for task superres, not {self.task}; "
                "drop --scale or add --set task=superres"
            )
        if self.traits.enlarges and self.operator.scale == 1:
            raise ValueError(f"task {self.task} needs a scale of 2 or more; add --scale 2")
        return self

    @model_validator(mode="after")
    def _only_a_fit_fills_defects(self) -> Recipe:
        if not self.traits.fits and self.defects.any:
            raise ValueError(f"defects are for tasks that restore, not {self.task}; drop them")
        return self

    @model_validator(mode="after")
    def _jpeg_settings_are_for_a_jpeg(self) -> Recipe:
        if self.traits.from_jpeg:
            if self.fit.input == "blindspot":
                raise ValueError(
                    "fit.input blindspot asks about single pixels, of which a JPEG says nothing; for task "
                    f"{self.task} set fit.input=auto"
                )
            return self
        if self.fit.input == "requantised":
            raise ValueError(
                f"fit.input requantised is for task deartifact, not {self.task}; set fit.input=auto"
            )
        if self.operator.jpeg_quality is not None:
            raise ValueError(
                f"operator.jpeg_quality is for task deartifact, not {self.task}; drop it or take "
                "--recipe archive-deartifact"
            )
        return self

    @model_validator(mode="after")
    def _stopping_rule_fits_the_task(self) -> Recipe:
        why, rule = self.traits.why_fixed, self.stopping.rule
        if why is not None and rule != "fixed":
            raise ValueError(
                f"stopping.rule {rule} {why}; for task {self.task} set stopping.rule=fixed"
            )
        return self

    @model_validator(mode="after")
    def _input_fits_the_network(self) -> Recipe:
        check_input(self.network, self.fit)
        return self

    @model_validator(mode="after")
    def _enlarging_fits_the_task(self) -> Recipe:
        if self.network.kind != "enlarging":
            return self
        if not self.traits.enlarges:
            raise ValueError(
                f"network.kind enlarging is for task superres, not {self.task}; set network.kind=lean"
            )
        if self.fit.members > 1:
            raise ValueError(
                f"fit.members {self.fit.members}: network.kind enlarging has one donor and no other fit; "
                "drop it or take --recipe astro-upscale"
            )
        return self

    @model_validator(mode="after")
    def _uncertainty_is_possible(self) -> Recipe:
        if not self.fit.uncertainty:
            return self
        if not self.traits.has_uncertainty:
            raise ValueError(
                f"fit.uncertainty is not told of colours; drop it for task {self.task}"
            )
        blind = self.fit.input == "blindspot" or (
            self.fit.input == "auto" and self.network.kind != "decoder"
        )
        blind = blind and (self.traits.denoises or self.traits.fills_only)
        if not blind and self.fit.members < 2:
            raise ValueError(
                f"fit.uncertainty needs 2 fit.members or more for {self.task} with input "
                f"{self.fit.input}, not {self.fit.members}"
            )
        return self

    @model_validator(mode="after")
    def _only_denoising_can_be_limited(self) -> Recipe:
        for name, value in (("grain", self.output.grain), ("clamp", self.output.clamp)):
            if value and not self.traits.denoises:
                raise ValueError(
                    f"output.{name} {value} is for task denoise, not {self.task}; drop it"
                )
        return self

    @property
    def traits(self) -> TaskTraits:
        """What the task needs, and what it does to the pixels."""
        return TASKS[self.task]

    @property
    def uncertain(self) -> bool:
        """Whether the result has the array ``uncertainty``."""
        return self.fit.uncertainty and self.traits.fits

    @property
    def fills(self) -> bool:
        """Whether every invalid pixel gets the network's estimate; a defect's pixel always does."""
        return self.traits.fills_only or (self.output.invalid == "fill" and self.traits.fits)

    def sha256(self) -> str:
        """Hash of the canonical JSON; recipes with the same hash give the same result."""
        return sha256_of_recipe(self.model_dump(mode="json"))


def sha256_of_recipe(document: Mapping[str, Any]) -> str:
    """Hash of a recipe with every value filled in, which is how a manifest holds it."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def recipe_names() -> list[str]:
    """Names of the shipped recipes, sorted."""
    folder = resources.files("glassplate.configs")
    return sorted(
        p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml")
    )


def recipe_text(name: str) -> str:
    """Text of a shipped recipe with its comments.

    Raises
    ------
    UsageError
        If there is no such recipe; the message has the nearest name.
    """
    if name not in recipe_names():
        raise UsageError(
            f"recipe {name!r} is neither a file nor a shipped recipe"
            f"{_nearest(name, recipe_names())}; `glassplate recipes` lists them"
        )
    return resources.files("glassplate.configs").joinpath(f"{name}.yaml").read_text("utf-8")


def load_recipe(
    name_or_path: str, overrides: Sequence[str] = (), *, scale: int | None = None
) -> Recipe:
    """Read a recipe, apply ``section.key=value`` overrides, check it.

    Parameters
    ----------
    name_or_path
        A shipped recipe's name or a YAML file.
    overrides
        Strings such as ``fit.iterations=500``; values are YAML.
    scale
        Shorthand for ``operator.scale=...``.

    Raises
    ------
    UsageError
        If the recipe, a key or a value is unknown or impossible.
    """
    path = Path(name_or_path)
    is_file = path.suffix in {".yaml", ".yml"} or path.is_file()
    if is_file and not path.is_file():
        raise UsageError(f"recipe {path}: no such file")
    text = path.read_text("utf-8") if is_file else recipe_text(name_or_path)
    try:
        raw = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise UsageError(f"recipe {name_or_path}: not YAML: {one_line(error)}") from error
    if not isinstance(raw, dict):
        raise UsageError(f"recipe {name_or_path}: expected sections, got {type(raw).__name__}")
    for override in overrides:
        _override(raw, override)
    if scale is not None:
        _override(raw, f"operator.scale={scale}")
    return parse_recipe(raw, str(name_or_path))


def parse_recipe(raw: Mapping[str, Any], origin: str) -> Recipe:
    """Check a recipe given as nested mappings.

    Raises
    ------
    UsageError
        If a key or a value is unknown or impossible; the first fault is named with its place.
    """
    try:
        return Recipe.model_validate(without_removed_keys(raw, origin))
    except ValidationError as error:
        raise UsageError(f"recipe {origin}: {_fault(error)}") from error


def flat_values(recipe: Recipe) -> dict[str, Any]:
    """Every value of a recipe by its dotted key, as in YAML."""
    values: dict[str, Any] = {}
    for name, value in recipe.model_dump(mode="json").items():
        nested = isinstance(value, dict)
        values |= (
            {f"{name}.{key}": inner for key, inner in value.items()} if nested else {name: value}
        )
    return values


def known_keys() -> list[str]:
    """Every settable key, dotted."""
    return list(flat_values(Recipe()))


def _override(raw: dict[str, Any], text: str) -> None:
    key, separator, value = text.partition("=")
    if not separator:
        raise UsageError(f"--set {text}: expected KEY=VALUE, such as fit.iterations=500")
    if key not in known_keys():
        raise UsageError(f"--set {text}: unknown key {key!r}{_nearest(key, known_keys())}")
    section, _, leaf = key.rpartition(".")
    place = raw
    if section:
        place = raw.setdefault(section, {})
        if place is None:
            place = raw[section] = {}
    try:
        place[leaf] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {text}: {one_line(error)}") from error


def _fault(error: ValidationError) -> str:
    """First fault of a validation, as one line with the nearest known key."""
    fault = error.errors()[0]
    place = ".".join(str(part) for part in fault["loc"] if isinstance(part, str))
    if fault["type"] in {"extra_forbidden", "unexpected_keyword_argument"}:
        return f"unknown key {place!r}{_nearest(place, known_keys())}"
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "value_error":
        return f"{place}: {message}" if place else message
    return f"{place} is {fault['input']!r}: {message}"


def _nearest(word: str, known: Sequence[str]) -> str:
    matches = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""
