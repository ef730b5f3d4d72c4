"""A task gets the companions that it needs, and none that it would ignore."""

from dataclasses import replace
from pathlib import Path

import pytest

from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.planning.companions.companion_checks import check_companions
from glassplate.pipeline.recipes.recipe import load_recipe, parse_recipe
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tasks import TASKS

WITHOUT = SourceSpec(Path("a.fits"))
WITH = replace(WITHOUT, psf=Path("psf.fits"))


def recipe(task, scale=1, kernel="box"):
    raw = {"task": task, "operator": {"scale": scale, "kernel": kernel}}
    if TASKS[task].why_fixed is not None:
        raw["stopping"] = {"rule": "fixed"}
    return parse_recipe(raw, "test")


@pytest.mark.parametrize(
    ("made", "spec", "message"),
    [
        (recipe("deconvolve"), WITHOUT, "a.fits: task deconvolve needs a PSF; add --psf FILE"),
        (recipe("denoise"), WITH, "--psf psf.fits: task denoise uses no PSF; drop it or add"),
        (recipe("identity"), WITH, "--psf psf.fits: task identity uses no PSF"),
        (recipe("superres", 3, "pick"), WITHOUT, "operator.kernel pick needs a PSF"),
    ],
)
def test_a_missing_or_an_unused_psf_is_refused(made, spec, message):
    with pytest.raises(UsageError) as error:
        check_companions(made, spec)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


ENLARGING = load_recipe("archive-upscale")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (WITH, "--psf psf.fits: network.kind enlarging learns from the image made smaller, which"),
        (
            replace(WITHOUT, guide=Path("b.fits")),
            "--guide b.fits: network.kind enlarging learns from the image alone; drop it, or add "
            "--recipe astro-upscale",
        ),
    ],
)
def test_a_companion_of_which_the_image_made_smaller_shows_nothing_is_refused(spec, message):
    with pytest.raises(UsageError) as error:
        check_companions(ENLARGING, spec)
    assert message in str(error.value)
    check_companions(load_recipe("astro-upscale"), spec)


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
def test_a_psf_that_is_used_is_accepted(made, spec):
    check_companions(made, spec)


@pytest.mark.parametrize("role", ["psf", "guide", "hints", "variance"])
@pytest.mark.parametrize("task", TASKS)
def test_the_table_of_tasks_decides(task, role):
    traits = TASKS[task]
    needed = {name: Path("b.fits") for name in traits.needs}
    made = recipe(task, 2 if traits.enlarges else 1)
    spec = replace(WITHOUT, **{**needed, role: Path("b.fits")})
    if role in traits.takes | traits.needs:
        check_companions(made, spec)
    else:
        with pytest.raises(UsageError, match=f"--{role} b.fits: task {task} uses no"):
            check_companions(made, spec)
    for name in needed:
        with pytest.raises(UsageError, match=f"task {task} needs"):
            check_companions(made, replace(WITHOUT, **{**needed, name: None}))
