"""A noise that is not surely known is said; figures for real images are in docs/design/018."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glassplate.models.noise.description import NoiseDescription
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.planning.noise_found import warnings_about
from glassplate.pipeline.recipes.recipe import load_recipe
from glassplate.pipeline.sources.source import SourceSpec

PHOTOGRAPHS = Path("../shared/data/std/kodak24")


def description(flat, sigma=2.0):
    return NoiseDescription(sigma, sigma, None, 2.0, None, True, False, flat)


@pytest.mark.parametrize(("flat", "lines"), [(0.0, 1), (0.03, 1), (0.05, 0), (0.9, 0)])
def test_a_warning_gives_the_standard_deviation_in_units_of_the_source(flat, lines):
    said = warnings_about(description(flat), exponent=3, removes_nothing=False)
    assert len(said) == lines
    assert all("standard deviation of 16 may be fine detail" in line for line in said)


def test_where_nothing_is_removed_nothing_can_be_taken_for_noise():
    [said] = warnings_about(description(0.0), exponent=0, removes_nothing=True)
    assert "pixels are copied" in said


@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="without the photographs")
@pytest.mark.parametrize(
    ("name", "sigma", "warned"),
    [("kodim01", 0, True), ("kodim08", 0, True), ("kodim09", 0, False), ("kodim01", 10, False)],
    ids=["a wall", "houses", "the sea", "a wall with noise"],
)
def test_photographs_of_fine_detail_are_warned_about(tmp_path, name, sigma, warned):
    """Compressed photographs with hardly any noise, in which a standard deviation of 1 to 2 is found."""
    with Image.open(PHOTOGRAPHS / f"{name}.png") as image:
        levels = np.asarray(image)[100:356, 100:356]
    noise = np.random.default_rng(0).normal(0, sigma, levels.shape)
    noisy = np.clip(np.rint(levels + noise), 0, 255).astype(np.uint8)
    path = tmp_path / "a.jpg"
    Image.fromarray(noisy).save(path, quality=90)
    plan = make_plan(
        SourceSpec(path), load_recipe("archive-denoise"), recipe_name="archive-denoise"
    )
    assert any("not surely known" in line for line in plan.warnings) is warned
