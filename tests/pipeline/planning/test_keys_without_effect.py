"""A key that the user changed does what it says, or the plan says why not."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from PIL import Image
from runs import level0

from glassplate.pipeline.planning.keys_without_effect import changed_values, key_warnings
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.recipes.recipe import flat_values, load_recipe, parse_recipe, recipe_names
from glassplate.pipeline.run.restore import RestoreRequest, restore
from glassplate.pipeline.sources.source import SourceSpec

TILED = ("tiles.core=24", "tiles.halo=8")  # six tiles of the image below


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One scene of 48 x 64 pixels in several formats, with a PSF and hints."""
    folder = tmp_path_factory.mktemp("keys")
    y, x = np.mgrid[:48, :64]
    scene = 120 + 60 * np.sin(x / 5) * np.cos(y / 7)
    noisy = (scene + np.random.default_rng(0).normal(0, 5, scene.shape)).clip(0, 255)
    fits.writeto(folder / "sky.fits", noisy.astype("f4"))
    tifffile.imwrite(folder / "photo.tif", noisy.astype("u1"))
    Image.fromarray(noisy.astype("u1")).save(folder / "photo.jpg", quality=60)
    psf = np.exp(-(np.arange(-3, 4) ** 2) / 2)
    fits.writeto(folder / "psf.fits", np.outer(psf, psf).astype("f4"))
    hints = np.zeros((48, 64, 4), "u1")
    hints[::6, ::6] = (200, 60, 50, 255)
    Image.fromarray(hints).save(folder / "hints.png")
    return folder


def plan_of(folder, image, name, *overrides):
    return make_plan(spec_of(folder, image, name), load_recipe(name, overrides), recipe_name=name)


def spec_of(folder, image, name):
    return SourceSpec(
        folder / image,
        psf=folder / "psf.fits" if name == "astro-deconvolve" else None,
        hints=folder / "hints.png" if name == "archive-colorize" else None,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(recipe_names()) - {"guided-denoise"}))
def test_a_recipe_as_it_is_shipped_gives_no_warning(folder, name):
    image = "photo.jpg" if name == "archive-deartifact" else "photo.tif"
    assert key_warnings(plan_of(folder, image, name)) == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "overrides", "warning"),
    [
        (
            "astro-denoise",
            (*TILED, "fit.iterations=1500"),
            "fit.iterations 1500: tiles of this image start from a donor and take at most "
            "donor.tile_iterations 200; set that, or set donor.tiles=0",
        ),
        (
            "astro-denoise",
            (*TILED, "donor.tile_iterations=3000"),
            "donor.tile_iterations 3000: no fit takes more than fit.iterations 1000; raise that too",
        ),
        (
            "astro-denoise",
            (*TILED, "donor.iterations=3000"),
            "donor.iterations 3000: an image of 6 tiles has 1000",
        ),
        (
            "astro-denoise",
            (*TILED, "stopping.patience=500"),
            "stopping.patience 500: a tile that starts from a donor takes 66, a third of its iterations; "
            "raise donor.tile_iterations too",
        ),
        (
            "astro-denoise",
            ("donor.tile_iterations=50", "donor.windows=8"),
            "donor.windows 8, donor.tile_iterations 50 have no effect: the image has 1 tile, fewer than "
            "donor.tiles 4, and each starts from random weights",
        ),
        ("astro-denoise", (*TILED, "donor.refine=5"), "donor.refine 5 has no effect: there is no"),
        (
            "reference",
            ("donor.tiles=1",),
            "donor.tiles 1 has no effect: the network's input is noise",
        ),
        (
            "archive-upscale",
            ("donor.tile_iterations=50", "fit.tv=0.5"),
            "fit.tv 0.5, donor.tile_iterations 50 have no effect: network.kind is enlarging, of which only "
            "the donor learns",
        ),
        (
            "archive-upscale",
            ("fit.guard=4",),
            "fit.guard 4.0 has no effect: each measured pixel comes from several of the result",
        ),
        ("draft", ("tiles.halo=8",), "tiles.halo 8 has no effect: the image is one tile"),
        (
            "draft",
            (*TILED, "tiles.stack=8"),
            "tiles.stack 8: a unit of work of this image has 6 tiles, and 6 are fitted at once",
        ),
        ("draft", ("tiles.together=grouped",), "tiles.together grouped has no effect: tiles are"),
        (
            "draft",
            ("stopping.patience=9",),
            "stopping.patience 9 has no effect: stopping.rule is fixed",
        ),
        (
            "draft",
            ("network.kind=unet", "network.skip_channels=4"),
            "network.skip_channels 4 has no effect: network.kind is unet",
        ),
        (
            "draft",
            ("network.skip_channels=64",),
            "network.skip_channels 64: a network of kind lean takes no more than network.channels 16",
        ),
        (
            "reference",
            ("fit.drop=0.5",),
            "fit.drop 0.5 has no effect: the network's input is noise",
        ),
        (
            "draft",
            ("fit.input_depth=4",),
            "fit.input_depth 4 has no effect: the network's input is",
        ),
        (
            "archive-deartifact",
            ("fit.tv=0.5",),
            "fit.tv 0.5 has no effect: the image has no noise",
        ),
        (
            "archive-deartifact",
            ("noise.sigma=4",),
            "noise.sigma 4.0 has no effect: the task is deartifact",
        ),
        (
            "astro-deconvolve",
            ("fit.collaborative=true",),
            "fit.collaborative true has no effect: each measured pixel comes from several of the result",
        ),
        ("archive-colorize", ("scaling.kind=asinh",), "scaling.kind asinh has no effect: the task"),
        ("draft", ("operator.kernel=box",), "operator.kernel box has no effect: the result is not"),
        ("draft", ("defects.grow=3",), "defects.grow 3 has no effect: defects.specks is none"),
        (
            "archive-fill",
            ("output.invalid=fill",),
            "output.invalid fill has no effect: the task is",
        ),
        (
            "identity",
            ("fit.iterations=5", "seed=3"),
            "seed 3, fit.iterations 5 have no effect: task identity fits nothing",
        ),
    ],
)
def test_a_key_that_does_not_do_what_it_says_is_named(folder, name, overrides, warning):
    image = {"archive-deartifact": "photo.jpg", "archive-colorize": "photo.tif"}
    plan = plan_of(folder, image.get(name, "sky.fits"), name, *overrides)
    [line] = [line for line in plan.warnings if line.startswith(warning)]
    assert "\n" not in line
    assert line in key_warnings(plan)


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("fit.iterations=1500",),  # one tile
        (*TILED, "fit.iterations=100"),  # below the cap of a tile
        (*TILED, "fit.iterations=1500", "donor.tile_iterations=900"),
        (*TILED, "fit.iterations=1500", "donor.tiles=0"),
        (*TILED, "donor.tile_iterations=50", "fit.learning_rate=0.005"),
        ("network.kind=unet", "network.channels=8"),
        ("fit.uncertainty=true", "output.grain=0.2", "output.clamp=3"),
    ],
)
def test_a_key_that_does_what_it_says_is_not_named(folder, overrides):
    assert key_warnings(plan_of(folder, "sky.fits", "astro-denoise", *overrides)) == ()


def test_what_the_user_changed_is_told_from_what_the_recipe_says():
    assert changed_values(load_recipe("draft", ["seed=4"]), "draft") == {"seed": 4}
    mine = parse_recipe({"fit": {"iterations": 600}}, "mine.yaml")
    assert changed_values(mine, "mine.yaml") == {"fit.iterations": 600}
    assert changed_values(load_recipe("draft", ["fit.iterations=300"]), "draft") == {}


SHORT = (
    "network.channels=4",
    "network.scales=2",
    "fit.iterations=4",
    "fit.log_period=2",
    "stopping.minimum=2",
    "donor.iterations=4",
    "donor.windows=2",
    "donor.tile_iterations=4",
)
OTHER_VALUES = {
    "network.fine_channels": 2,
    "network.skip_channels": 2,
    "network.upsample": "bilinear",
    "fit.drop": 0.1,
    "fit.holes": True,
    "fit.input_depth": 3,
    "fit.input_noise": 0.2,
    "fit.posterior": False,
    "fit.posterior_radius": 1.5,
    "fit.posterior_doubt": 3.0,
    "fit.collaborative": True,
    "fit.guard": 2.0,
    "fit.tv": 0.7,
    "fit.learning_rate": 0.02,
    "donor.tiles": 3,
    "donor.iterations": 3,
    "donor.windows": 1,
    "donor.tile_iterations": 3,
    "donor.tile_learning_rate": 0.02,
    "donor.refine": 2,
    "stopping.heldout": 0.1,
    "stopping.patience": 2,
    "stopping.minimum": 4,
    "noise.sigma": 3.0,
    "noise.correlation": "correlated",
    "scaling.kind": "asinh",
    "defects.cosmic_sigma": 3.0,
    "defects.cosmic_contrast": 4.0,
    "defects.speck_radius": 3,
    "defects.speck_sigma": 4.0,
    "defects.grow": 3,
    "operator.kernel": "box",
    "operator.jpeg_sampling": "4:4:4",
    "output.invalid": "fill",
    "output.flux": "total",
    "tiles.together": "grouped",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("image", "name", "overrides"),
    [
        ("sky.fits", "draft", ()),
        ("sky.fits", "draft", TILED),
        ("sky.fits", "reference", ()),
        ("sky.fits", "astro-deconvolve", ()),
        ("photo.jpg", "archive-deartifact", ()),
        ("photo.tif", "archive-colorize", ()),
        ("photo.tif", "identity", TILED),
        ("sky.fits", "draft", ("network.kind=resnet", "fit.posterior=false")),
    ],
)
def test_keys_that_are_said_to_have_no_effect_change_no_byte(
    folder, tmp_path, image, name, overrides
):
    overrides = (*(SHORT if name != "identity" else ()), *overrides)
    recipe = load_recipe(name, overrides)
    spec = spec_of(folder, image, name)
    ignored = ignored_values(spec, recipe, name)
    assert len(ignored) >= 5
    more = [f"{key}={json.dumps(value)}" for key, value in ignored.items()]
    first = restored(spec, recipe, name, tmp_path / "a.zarr")
    second = restored(spec, load_recipe(name, [*overrides, *more]), name, tmp_path / "b.zarr")
    np.testing.assert_array_equal(first, second)


def ignored_values(spec, recipe, name):
    """Other values for the keys of which the plan says that they have no effect."""
    values = flat_values(recipe)
    plan, ignored = make_plan(spec, recipe, recipe_name=name), {}
    for key, value in OTHER_VALUES.items():
        section, leaf = key.split(".")
        changed = recipe.model_copy(update={section: _with(getattr(recipe, section), leaf, value)})
        said = key_warnings(replace(plan, recipe=changed))
        if value != values[key] and any(f"{key} " in s and "no effect" in s for s in said):
            ignored[key] = value
    return ignored


def _with(section, leaf, value):
    if hasattr(section, "model_copy"):
        return section.model_copy(update={leaf: value})
    return replace(section, **{leaf: value})


def restored(spec, recipe, name, store: Path):
    request = RestoreRequest(spec, store, recipe, name, device="cpu")
    restore(request, InlinePool(), lambda event: None)
    return level0(store)
