"""Which forward operator a recipe means, and whether the tiles leave room for it."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from glassplate.models.operators.blur import Blur
from glassplate.models.operators.downsample import Downsample
from glassplate.models.operators.operator import Composition, Identity
from glassplate.models.operators.psf import Psf
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.planning.operator import check_reach, check_size, make_operator
from glassplate.pipeline.recipes.recipe import load_recipe, parse_recipe
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import TileGrid

PSF = Psf.of(np.ones((21, 11)))


def recipe(task, scale=1, kernel="box"):
    return parse_recipe({"task": task, "operator": {"scale": scale, "kernel": kernel}}, "test")


@pytest.mark.parametrize(
    ("task", "scale", "psf", "expected"),
    [
        ("denoise", 1, None, Identity()),
        ("identity", 1, None, Identity()),
        ("superres", 3, None, Downsample(3, "box")),
        ("deconvolve", 1, PSF, Blur(PSF)),
        ("superres", 2, PSF, Composition(Blur(PSF), Downsample(2, "box"))),
    ],
)
def test_the_operator_of_a_recipe(task, scale, psf, expected):
    assert make_operator(recipe(task, scale), psf) == expected


def grid(side, core=32, halo=10):
    return TileGrid((1, side, side), True, core, halo)


@pytest.mark.parametrize(
    ("operator", "psf", "cells", "message"),
    [
        (Blur(PSF), PSF, grid(100, halo=9), "tiles.halo 9: less than the 10 pixels that the"),
        (Blur(PSF), PSF, grid(100, halo=9), "add --set tiles.halo=10 or cut the PSF"),
        (Downsample(2), None, grid(100, halo=2), "less than the 3 pixels"),
        (Blur(PSF), PSF, grid(20), "PSF of 21 x 11 pixels: larger than a window of 20 x 20"),
    ],
)
def test_tiles_smaller_than_the_reach_of_the_operator_are_refused(operator, psf, cells, message):
    with pytest.raises(UsageError) as error:
        check_reach(operator, psf, cells)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("operator", "psf", "cells"),
    [
        (Identity(), None, grid(100, halo=0)),
        (Blur(PSF), PSF, grid(100, halo=10)),
        (Blur(PSF), PSF, grid(30, halo=0)),
        (Downsample(4, "box"), None, grid(100, halo=0)),
        (Composition(Blur(PSF), Downsample(3, "box")), PSF, grid(100, halo=4)),
        (Composition(Blur(PSF), Downsample(2, "box")), PSF, grid(11)),
    ],
)
def test_tiles_with_room_are_accepted(operator, psf, cells):
    check_reach(operator, psf, cells)


@pytest.mark.parametrize(("height", "width"), [(7, 40), (40, 7), (1, 1)])
def test_an_image_of_which_an_enlarging_network_learns_nothing_is_refused(height, width):
    source = SimpleNamespace(shape=(1, height, width), spec=SourceSpec(Path("a.tif")))
    with pytest.raises(UsageError) as error:
        check_size(load_recipe("archive-upscale"), source)
    expected = f"a.tif: has {height} x {width} pixels, fewer than the 8 x 8 from which network.kind"
    assert str(error.value).startswith(expected)
    check_size(load_recipe("astro-upscale"), source)
    check_size(load_recipe("archive-upscale"), SimpleNamespace(shape=(1, 8, 8)))
