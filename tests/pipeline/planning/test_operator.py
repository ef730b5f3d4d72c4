"""Which operator a recipe means, and what is refused before anything runs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from glassplate.models.operators.blur import Blur, Psf
from glassplate.models.operators.downsample import Downsample
from glassplate.models.operators.operator import Composition, Identity
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.grid import TileGrid
from glassplate.pipeline.planning.operator import check_psf_is_wanted, check_reach, make_operator
from glassplate.pipeline.recipe import parse_recipe
from glassplate.pipeline.sources.source import SourceSpec

PSF = Psf.of(np.ones((21, 11)))
WITHOUT = SourceSpec(Path("a.fits"))
WITH = replace(WITHOUT, psf=Path("psf.fits"))


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


@pytest.mark.parametrize(
    ("made", "spec", "message"),
    [
        (recipe("deconvolve"), WITHOUT, "a.fits: task deconvolve needs a PSF; add --psf FILE"),
        (recipe("denoise"), WITH, "--psf psf.fits: task denoise uses no PSF; drop it or add"),
        (recipe("identity"), WITH, "--psf psf.fits: task identity uses no PSF"),
        (recipe("superres", 3, "pick"), WITHOUT, "operator.kernel pick needs a PSF"),
    ],
)
def test_a_psf_too_few_or_too_many_is_refused(made, spec, message):
    with pytest.raises(UsageError) as error:
        check_psf_is_wanted(made, spec)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("made", "spec"),
    [
        (recipe("deconvolve"), WITH),
        (recipe("superres", 2), WITH),
        (recipe("superres", 2), WITHOUT),
        (recipe("superres", 2, "pick"), WITH),
        (recipe("denoise"), WITHOUT),
    ],
)
def test_a_psf_where_it_is_used_passes(made, spec):
    check_psf_is_wanted(made, spec)


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
def test_tiles_that_the_operator_looks_beyond_are_refused(operator, psf, cells, message):
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
def test_tiles_with_room_pass(operator, psf, cells):
    check_reach(operator, psf, cells)
