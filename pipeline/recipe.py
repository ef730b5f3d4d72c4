"""Recipes: the settings of a restoration, read from YAML, checked once, then trusted."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from glassplate.models.fit.donor import DonorSettings
from glassplate.models.fit.loop import FitSettings
from glassplate.models.fit.problem import check_input
from glassplate.models.fit.stopping import StoppingSettings
from glassplate.models.networks.make import NetworkSettings
from glassplate.models.noise.model import NoiseSettings
from glassplate.models.operators.downsample import Kernel
from glassplate.pipeline.defects.cosmic_rays import DefectSettings
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.scaling import ScalingSettings


class Section(BaseModel):
    """A frozen group of settings that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TilesSettings(Section):
    """How the image is cut."""

    core: int = Field(256, ge=16, le=8192)
    """Largest side of the pixels a tile owns."""
    halo: int = Field(32, ge=0, le=1024)
    """Context on each side of a core that is restored too and blended away."""
    batch: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """Tiles handed to a worker as one unit of work; auto: one, or four times the stack."""
    stack: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] = "auto"
    """Fits that advance together on one device, so that a large one is kept busy; auto: one on a CPU, where
    more gain nothing, on a GPU what `glassplate doctor` has found fastest there. Memory grows with it; where
    a device has too little, half as many go on."""
    together: Literal["auto", "separate", "grouped", "gemm"] = "auto"
    """How the networks of a stack work: one after the other (separate), as one network of grouped
    convolutions (grouped), or as one of matrix products (gemm); auto: what `glassplate doctor` has found
    fastest, else separate. The last two differ from fits alone by rounding (docs/design/011-stack.md)."""
    threads: int = Field(1, ge=1, le=64)
    """CPU threads of one fit; part of the recipe, since sums depend on it in the last bit. Two fits
    side by side on a core each are faster than one after the other on both, and do not stall when
    another program wants a core (docs/design/002-pool.md)."""


class OperatorSettings(Section):
    """The forward operator A: how the measurement came from what is sought."""

    scale: int = Field(1, ge=1, le=16)
    """Super-resolution factor."""
    kernel: Kernel = "lanczos3"
    """How pixels of the estimate become one of the measurement, after the PSF where one is given:
    lanczos2, lanczos3 and bicubic are resampling filters, box is the mean over a detector's pixel, pick
    its middle, for a PSF that holds the pixel already."""
    jpeg_quality: int | None = Field(None, ge=1, le=100)
    """Quality, as libjpeg counts it, of the JPEG that the image was before it became what it is; null: the
    file is that JPEG, and its own tables are taken (deartifact)."""
    jpeg_sampling: Literal["4:4:4", "4:2:2", "4:4:0", "4:2:0"] = "4:2:0"
    """How sparsely that JPEG sampled its colours, where jpeg_quality is given (deartifact)."""


class OutputSettings(Section):
    """The Zarr that is written."""

    chunk: int = Field(256, ge=16, le=4096)
    """Side of a chunk, what a viewer reads at once; rounded up to a multiple of the scale."""
    shard: int = Field(2048, ge=16, le=16384)
    """Largest side of a shard, what is written at once."""
    invalid: Literal["keep", "fill"] = "keep"
    """What becomes of invalid pixels: keep (NaN, or the original value for integers) or fill with
    the network's estimate."""
    grain: float = Field(0.0, ge=0, le=1)
    """Share of what was removed that is mixed back, so that a photograph does not look like plastic
    (denoise)."""
    clamp: float | None = Field(None, gt=0)
    """Standard deviations of the noise by which a pixel may be changed at most (denoise)."""
    flux: Literal["auto", "surface", "total"] = "auto"
    """Super-resolution: keep surface brightness, or divide by the scale squared so that sums over an
    area stay; auto: total where BUNIT counts per pixel (adu, electrons, counts)."""


class Recipe(Section):
    """All settings of a restoration."""

    task: Literal[
        "denoise",
        "guided",
        "superres",
        "deconvolve",
        "inpaint",
        "deartifact",
        "colorize",
        "identity",
    ] = "denoise"
    """guided: denoise, with a second image at hand; inpaint: fill invalid pixels, and leave all others as
    they are to the bit; deartifact: remove the blocks and ringing of a JPEG; colorize: colours for a grey
    photograph, from hints."""
    seed: int = Field(0, ge=0, lt=2**31)
    tiles: TilesSettings = TilesSettings()
    network: NetworkSettings = NetworkSettings()
    fit: FitSettings = FitSettings()
    donor: DonorSettings = DonorSettings()
    stopping: StoppingSettings = StoppingSettings()
    noise: NoiseSettings = NoiseSettings()
    scaling: ScalingSettings = ScalingSettings()
    defects: DefectSettings = DefectSettings()
    operator: OperatorSettings = OperatorSettings()
    output: OutputSettings = OutputSettings()

    @model_validator(mode="after")
    def _scale_fits_the_task(self) -> Recipe:
        if self.task != "superres" and self.operator.scale != 1:
            raise ValueError(
                f"scale {self.operator.scale} is for task superres, not {self.task}; "
                "drop --scale or add --set task=superres"
            )
        if self.task == "identity" and self.defects.any:
            raise ValueError("defects are for tasks that restore, not identity; drop them")
        if self.task == "superres" and self.operator.scale == 1:
            raise ValueError("task superres needs a scale of 2 or more; add --scale 2")
        return self

    @model_validator(mode="after")
    def _what_a_jpeg_allows(self) -> Recipe:
        if self.task != "deartifact":
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
        if self.stopping.rule != "fixed":
            raise ValueError(
                f"stopping.rule {self.stopping.rule} holds pixels out, of which a JPEG says nothing one by "
                "one; for task deartifact set stopping.rule=fixed"
            )
        if self.fit.input == "blindspot":
            raise ValueError(
                "fit.input blindspot asks about single pixels, of which a JPEG says nothing; for task "
                "deartifact set fit.input=auto"
            )
        return self

    @model_validator(mode="after")
    def _what_hints_allow(self) -> Recipe:
        if self.task != "colorize":
            return self
        if self.fit.uncertainty:
            raise ValueError("fit.uncertainty is not told of colours; drop it for task colorize")
        if self.stopping.rule != "fixed":
            raise ValueError(
                f"stopping.rule {self.stopping.rule} would hold out hints, which their own neighbours "
                "predict; for task colorize set stopping.rule=fixed"
            )
        return self

    @model_validator(mode="after")
    def _input_fits_the_network(self) -> Recipe:
        check_input(self.network, self.fit)
        return self

    @model_validator(mode="after")
    def _uncertainty_can_be_told(self) -> Recipe:
        blind = self.fit.input == "blindspot" or (
            self.fit.input == "auto" and self.network.kind != "decoder"
        )
        blind = blind and (self.denoises or self.task == "inpaint")
        if self.fit.uncertainty and not blind and self.fit.members < 2:
            raise ValueError(
                f"fit.uncertainty needs 2 fit.members or more for {self.task} with input "
                f"{self.fit.input}, not {self.fit.members}"
            )
        return self

    @model_validator(mode="after")
    def _what_denoising_alone_can_do(self) -> Recipe:
        for name, wish in (("grain", self.output.grain), ("clamp", self.output.clamp)):
            if wish and not self.denoises:
                raise ValueError(
                    f"output.{name} {wish} is for task denoise, not {self.task}; drop it"
                )
        return self

    @property
    def denoises(self) -> bool:
        """Whether the image without its noise is sought, on its own grid."""
        return self.task in ("denoise", "guided")

    @property
    def uncertain(self) -> bool:
        """Whether the result says how uncertain each pixel is."""
        return self.fit.uncertainty and self.task != "identity"

    @property
    def fills(self) -> bool:
        """Whether every invalid pixel gets the network's estimate; those of defects always do."""
        return self.task == "inpaint" or (self.output.invalid == "fill" and self.task != "identity")

    def sha256(self) -> str:
        """Hash of the canonical JSON; two recipes with the same hash restore alike."""
        return sha256_of_recipe(self.model_dump(mode="json"))


def sha256_of_recipe(document: Mapping[str, Any]) -> str:
    """Hash of a recipe with every value filled in, as a manifest holds it."""
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
        raise UsageError(f"recipe {name_or_path}: not YAML: {_one_line(error)}") from error
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
        return Recipe.model_validate(raw)
    except ValidationError as error:
        raise UsageError(f"recipe {origin}: {_fault(error)}") from error


def known_keys() -> list[str]:
    """Every settable key, dotted."""
    keys = []
    for name, value in Recipe().model_dump().items():
        keys += [f"{name}.{key}" for key in value] if isinstance(value, dict) else [name]
    return keys


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
        raise UsageError(f"--set {text}: {_one_line(error)}") from error


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


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
