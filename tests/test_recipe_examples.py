"""Documented examples that set a recipe key do what they say.

Each example of the README and the guide is run twice on a small image, with the key and without it, and the
two results must differ. On a large image, where tiles start from a donor, the plan must not warn that the key
does nothing, or less than it says.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tifffile
import yaml
from astropy.io import fits
from PIL import Image
from runs import digest

from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.recipes.recipe import (
    Recipe,
    flat_values,
    known_keys,
    load_recipe,
    parse_recipe,
    recipe_names,
)
from glassplate.pipeline.run.restore import RestoreRequest, restore
from glassplate.pipeline.sources.source import SourceSpec

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILES = {"mask": "mask.tif", "psf": "psf.fits", "guide": "second.fits", "hints": "hints.png"}
# What keeps a run short, where an example does not say otherwise.
SHORT: Mapping[str, Any] = {
    "network.channels": 4,
    "network.fine_channels": 4,
    "network.skip_channels": 4,
    "network.scales": 2,
    "fit.iterations": 8,
    "fit.log_period": 2,
    "stopping.minimum": 2,
    "donor.iterations": 6,
    "donor.windows": 2,
    "donor.tile_iterations": 4,
}
# More iterations than these are not run, whatever an example says.
MOST_ITERATIONS = 40
TILED: Mapping[str, Any] = {"tiles.core": 32, "tiles.halo": 8}
# 48 tiles of the large image.
MANY_TILES: Mapping[str, Any] = {"tiles.core": 64, "tiles.halo": 16}
# Read once, since every process of the tests goes through all sentences of the guide.
USUAL = flat_values(load_recipe("astro-denoise"))
# Keys that only decide how much is done at once, or how large a tile is: seen in the plan of a large image.
SEEN_IN_THE_PLAN = {"tiles.core", "tiles.stack", "tiles.together", "tiles.batch"}


class Example(NamedTuple):
    """One documented command or recipe."""

    page: str
    recipe: str | None
    """A shipped recipe; None for the defaults."""
    settings: tuple[tuple[str, Any], ...]
    image: str = "sky.fits"
    companions: tuple[str, ...] = ()
    scale: int | None = None

    def __str__(self) -> str:
        return f"{self.page}: {self.recipe} " + " ".join(f"{k}={v}" for k, v in self.settings)


def examples() -> list[Example]:
    """Every example that sets a recipe key, once."""
    found: list[Example] = []
    for page in PAGES:
        text = page.read_text("utf-8")
        blocks = FENCE.findall(text)
        for kind, block in blocks:
            if kind == "bash":
                for line in block.replace("\\\n", " ").splitlines():
                    found += of_command(page.name, line)
            elif kind == "yaml":
                found += of_yaml(page.name, yaml.safe_load(block))
        prose = re.sub(FENCE, "", text)
        for span in re.findall(r"`([^`\n]+)`", prose):
            found += of_span(page.name, span)
    return list({example[1:]: example for example in found}.values())


def of_command(page: str, line: str) -> Iterator[Example]:
    """The example of one line of a bash block."""
    words = shlex.split(line.removeprefix("$ "), comments=True)
    settings = settings_of(words)
    if words[:2] not in (["glassplate", "restore"], ["glassplate", "plan"]) or not settings:
        return
    after = dict(itertools.pairwise(words))
    suffix = Path(words[2]).suffix
    image = {".fits": "sky.fits", ".jpg": "photo.jpg", ".png": "photo.png"}.get(suffix, "photo.tif")
    recipe = after.get("--recipe", "astro-denoise" if suffix == ".fits" else "archive-denoise")
    companions = tuple(name for name in (*FILES, "exposure") if f"--{name}" in words)
    scale = int(after["--scale"]) if "--scale" in after else None
    yield Example(page, recipe, settings, image, companions, scale)


def of_yaml(page: str, document: Mapping[str, Any]) -> Iterator[Example]:
    """The examples of a recipe or a job."""
    if "inputs" not in document:
        recipe = parse_recipe(document, page)
        values, usual = flat_values(recipe), flat_values(Recipe())
        changed = tuple((key, value) for key, value in values.items() if value != usual[key])
        yield Example(page, None, changed)
        return
    inputs = document["inputs"] if isinstance(document["inputs"], list) else []
    for part in (document, *(one for one in inputs if isinstance(one, dict))):
        if part.get("set"):
            recipe_name = part.get("recipe", document.get("recipe", "astro-denoise"))
            yield Example(page, recipe_name, tuple(part["set"].items()))


def of_span(page: str, span: str) -> Iterator[Example]:
    """The example of code within a sentence: ``--set a.b=c`` or ``a.b: c``."""
    settings = settings_of(shlex.split(span)) if span.startswith("--set ") else ()
    key, colon, value = span.partition(": ")
    if colon and key in USUAL:
        settings = ((key, yaml.safe_load(value)),)
    settings = tuple((key, value) for key, value in settings if value != USUAL[key])
    if settings:
        yield Example(page, "astro-denoise", settings)


def settings_of(words: list[str]) -> tuple[tuple[str, Any], ...]:
    """Keys and values after each --set, without placeholders such as N."""
    pairs = [b.partition("=") for a, b in itertools.pairwise(words) if a == "--set"]
    return tuple(
        (key, yaml.safe_load(value))
        for key, _, value in pairs
        if key in known_keys() and key != "task" and not value.isupper()
    )


def write_inputs(folder: Path, repeat: int) -> None:
    """Write one scene with rays, specks and an invalid pixel in several formats, and its companions."""
    y, x = np.mgrid[:48, :64]
    scene = 90 + 50 * np.sin(x / 5) * np.cos(y / 7)
    scene = np.tile(scene, (repeat, repeat))
    random = np.random.default_rng(0)
    noisy, second = (scene + random.normal(0, 5, scene.shape) for _ in range(2))
    for row, column in ((9, 11), (30, 40), (22, 50)):
        noisy[row, column] = noisy[row, column + 1] = 250
    noisy, second = noisy.clip(1, 255), second.clip(1, 255)
    sky = noisy.astype("f4")
    sky[5, 7] = np.nan
    fits.writeto(folder / "sky.fits", sky)
    fits.writeto(folder / "second.fits", second.astype("f4"))
    tifffile.imwrite(folder / "photo.tif", noisy.astype("u1"))
    Image.fromarray(noisy.astype("u1")).save(folder / "photo.jpg", quality=60)
    Image.fromarray(noisy.astype("u1")).save(folder / "photo.png")
    mask = np.zeros(scene.shape, "u1")
    mask[12:16, 20:24] = 1
    tifffile.imwrite(folder / "mask.tif", mask)
    image, beside = (
        fits.ImageHDU(pixels, name=name) for pixels, name in ((sky, "SCI"), (mask, "MASK"))
    )
    fits.HDUList([fits.PrimaryHDU(), image, beside]).writeto(folder / "with_mask.fits")
    psf = np.exp(-(np.arange(-3, 4) ** 2) / 2)
    fits.writeto(folder / "psf.fits", np.outer(psf, psf).astype("f4"))
    hints = np.zeros((*scene.shape, 4), "u1")
    hints[::6, ::6] = (200, 60, 50, 255)
    Image.fromarray(hints).save(folder / "hints.png")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    write_inputs(folder, 1)
    return folder


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """An image of 384 x 512 pixels."""
    folder = tmp_path_factory.mktemp("large")
    write_inputs(folder, 8)
    return folder


def spec_of(example: Example, folder: Path) -> SourceSpec:
    files = {name: folder / FILES[name] for name in example.companions if name in FILES}
    if any(key == "stopping.rule" and value == "exposure" for key, value in example.settings):
        files["exposures"] = (folder / "second.fits",)
    looks_beside = any(key == "companions.find" for key, _ in example.settings)
    return SourceSpec(folder / ("with_mask.fits" if looks_beside else example.image), **files)


def recipe_of(example: Example, *more: Mapping[str, Any], without: str | None = None) -> Recipe:
    """The example's recipe, changed by what is given first and then by the example."""
    values = dict(
        itertools.chain.from_iterable(one.items() for one in (*more, dict(example.settings)))
    )
    if without is not None:
        usual = dict(itertools.chain.from_iterable(one.items() for one in more))
        values.pop(without)
        values |= {without: usual[without]} if without in usual else {}
    overrides = [
        f"{key}={yaml.safe_dump(value, default_flow_style=True)}" for key, value in values.items()
    ]
    overrides = [one.removesuffix("\n").removesuffix("\n...") for one in overrides]
    if example.recipe is None:
        raw: dict[str, Any] = {}
        for key, value in values.items():
            section, _, leaf = key.rpartition(".")
            (raw.setdefault(section, {}) if section else raw)[leaf] = value
        return parse_recipe(raw, example.page)
    name = example.recipe if example.recipe in recipe_names() else "draft"
    return load_recipe(name, overrides, scale=example.scale)


EXAMPLES = examples()


def test_the_examples_are_found():
    pages = {example.page for example in EXAMPLES}
    assert {"restore.md", "bulk.md", "recipes.md", "networks.md", "trust.md"} <= pages
    assert len(EXAMPLES) > 20


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_no_key_of_an_example_is_without_effect_on_a_large_image(example, large):
    recipe = recipe_of(example, MANY_TILES)
    name = example.recipe if example.recipe in recipe_names() else "own"
    plan = make_plan(spec_of(example, large), recipe, recipe_name=name)
    # a donor of an earlier result would have to be as large
    keys = [key for key, _ in example.settings if key != "donor.refine"]
    assert [line for line in plan.warnings if any(line.startswith(f"{key} ") for key in keys)] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("example", "key"),
    [(example, key) for example in EXAMPLES for key, _ in example.settings],
    ids=str,
)
def test_each_key_of_an_example_changes_the_result(example, key, small, large):
    if key in SEEN_IN_THE_PLAN:
        tiles = () if key == "tiles.core" else (MANY_TILES,)
        plans = [
            make_plan(spec_of(example, large), recipe, recipe_name="own").recorded()
            for recipe in (recipe_of(example, *tiles), recipe_of(example, *tiles, without=key))
        ]
        of_pixels = [replace(plan, warnings=()) for plan in plans]
        assert of_pixels[0] != of_pixels[1]
        return
    # donors are of images of several tiles; to try `donor.tiles: 1` takes one of a single tile
    several = any(k.startswith("donor.") and k != "donor.tiles" for k, _ in example.settings)
    several |= ("donor.tiles", 0) in example.settings
    more = (SHORT, TILED if several else {})
    if key == "output.clamp":
        # the average of so short a fit is far from the measurement, what follows it is near
        more = (*more, {"fit.posterior": False, "fit.collaborative": False})
    settings = (
        (k, min(v, MOST_ITERATIONS) if "iterations" in k else v) for k, v in example.settings
    )
    example = example._replace(settings=tuple(settings))
    with_key = restored(example, recipe_of(example, *more), small)
    try:
        without_key = restored(example, recipe_of(example, *more, without=key), small)
    except UsageError:
        return  # the key is what makes it possible
    assert with_key != without_key


def restored(example: Example, recipe: Recipe, folder: Path) -> str:
    """Checksum of the result of an example; each is restored once."""
    spec = spec_of(example, folder)
    donor = _donor(folder) if any(key == "donor.refine" for key, _ in example.settings) else None
    store = folder / f"{hash((spec, recipe.sha256(), donor))}.zarr"
    if not store.exists():
        restore(RestoreRequest(spec, store, recipe, "own", device="cpu", donor=donor), InlinePool())
    return digest(store)


@cache
def _donor(folder: Path) -> Path:
    """A result from whose donor others start."""
    overrides = [f"{key}={value}" for key, value in {**SHORT, **TILED}.items()]
    recipe = load_recipe("astro-denoise", overrides)
    store = folder / "donor.zarr"
    restore(
        RestoreRequest(SourceSpec(folder / "second.fits"), store, recipe, "own", device="cpu"),
        InlinePool(),
    )
    return store
