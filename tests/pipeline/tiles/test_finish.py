"""From blended estimates to stored pixels: flux, invalid pixels, rounding."""

from types import SimpleNamespace

import numpy as np
import pytest

from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.recipes.recipe import parse_recipe
from glassplate.pipeline.source_findings import SourceFindings
from glassplate.pipeline.sources.source import Pixels
from glassplate.pipeline.tiles.finish import finish


def plan(dtype="float32", scale=1, invalid="keep", task="denoise", flux_factor=1.0, pedestal=0.0):
    """What `finish` reads of a plan."""
    made = SimpleNamespace(
        layout=SimpleNamespace(scale=scale, dtype=dtype),
        recipe=parse_recipe({"task": task, "output": {"invalid": invalid}}, "test"),
        flux_factor=flux_factor,
        white=None,
    )
    made.to_fill = lambda pixels: Plan.to_fill(made, pixels)
    made.fits = made.recipe.traits.fits
    made.differences_in_source_units = lambda values: values
    made.findings = SourceFindings(pedestal=pedestal)
    return made


def pixels(values, valid):
    """Pixels of which 1 is valid, 0 invalid, and 2 invalid since a detector found them."""
    values = np.array(values, "f4").reshape(1, 1, -1)
    kinds = np.array(valid).reshape(values.shape)
    return Pixels(values, kinds == 1, found=kinds == 2)


def estimate(*values):
    return np.array(values, "f8").reshape(1, 1, -1)


NAN = np.nan
TABLE = [
    # plan, estimate, input, valid, stored
    (plan(), [1.5, 2.5], [9, 9], [1, 1], [1.5, 2.5]),
    (plan(), [1.5, 2.5], [9, 9], [1, 0], [1.5, NAN]),
    (plan(invalid="fill"), [1.5, 2.5], [9, 9], [1, 0], [1.5, 2.5]),
    (plan(invalid="fill", task="identity"), [1.5, 0.0], [9, 0], [1, 0], [9, NAN]),
    (plan(task="identity"), [1.5, NAN], [9, 8], [1, 1], [9, NAN]),
    (plan("float64", pedestal=1e9), [1.5, NAN], [9, 8], [1, 1], [1e9 + 1.5, NAN]),
    (
        plan("float64", pedestal=1e9, task="inpaint"),
        [1.5, 2.5],
        [9, 0],
        [1, 0],
        [1e9 + 9, 1e9 + 2.5],
    ),
    (
        plan("float64", scale=2, flux_factor=0.25, pedestal=1e9),
        [4, 8, 12, 16],
        [9, 8],
        [1, 1],
        [2.5e8 + 1, 2.5e8 + 2, 2.5e8 + 3, 2.5e8 + 4],
    ),
    (plan(), [1.5, NAN], [9, 9], [1, 1], [1.5, NAN]),
    (plan(), [1.5, 2.5, 3.5], [9, 9, 9], [1, 0, 2], [1.5, NAN, 3.5]),
    (plan(task="inpaint"), [1.5, 2.5, 3.5], [9, 9, 9], [1, 0, 2], [9, 2.5, 3.5]),
    (plan(task="inpaint"), [NAN, NAN], [9, 9], [1, 0], [9, NAN]),
    (plan("uint8", task="inpaint"), [1.4, 2.6, NAN], [9, 8, 7], [1, 0, 0], [9, 3, 7]),
    (plan("uint8"), [1.4, 2.6, 3.6], [9, 8, 7], [1, 0, 2], [1, 8, 4]),
    (plan("uint8"), [1.5, 2.5, 300, -4], [9, 9, 9, 9], [1, 1, 1, 1], [2, 2, 255, 0]),
    (plan("uint8"), [1.4, 2.6], [9, 8], [1, 0], [1, 8]),
    (plan("uint8"), [1.4, NAN], [9, 8], [1, 1], [1, 8]),
    (plan("int16"), [-70000, 1.4], [9, 8], [1, 1], [-32768, 1]),
    (plan("uint8", scale=2), [1, 2, 3, 4], [9, 8], [1, 0], [1, 2, 8, 8]),
    (plan(scale=2, flux_factor=0.25), [4, 8, 12, 16], [9, 8], [1, 1], [1, 2, 3, 4]),
]


@pytest.mark.parametrize(("made", "restored", "values", "valid", "stored"), TABLE)
def test_stored_pixels(made, restored, values, valid, stored):
    given = pixels(values, valid)
    if made.layout.scale == 2:
        restored, stored = [restored, restored], [stored, stored]
        result = finish(made, np.array(restored, "f8")[None], given)
        np.testing.assert_array_equal(result[0], np.array(stored))
    else:
        result = finish(made, estimate(*restored), given)
        np.testing.assert_array_equal(result[0, 0], np.array(stored))
    assert result.dtype == np.dtype(made.layout.dtype)
