"""From blended estimates to stored pixels: flux, invalid pixels, rounding."""

from types import SimpleNamespace

import numpy as np
import pytest

from glassplate.pipeline.source import Pixels
from glassplate.pipeline.stitch import finish


def plan(dtype="float32", scale=1, invalid="keep", task="denoise", flux_factor=1.0):
    """What `finish` reads of a plan."""
    return SimpleNamespace(
        layout=SimpleNamespace(scale=scale, dtype=dtype),
        recipe=SimpleNamespace(output=SimpleNamespace(invalid=invalid), task=task),
        flux_factor=flux_factor,
    )


def pixels(values, valid=None):
    values = np.array(values, "f4").reshape(1, 1, -1)
    good = np.ones(values.shape, bool) if valid is None else np.array(valid).reshape(values.shape)
    return Pixels(values, good)


def estimate(*values):
    return np.array(values, "f8").reshape(1, 1, -1)


NAN = np.nan
TABLE = [
    # plan, estimate, input, valid, stored
    (plan(), [1.5, 2.5], [9, 9], [1, 1], [1.5, 2.5]),
    (plan(), [1.5, 2.5], [9, 9], [1, 0], [1.5, NAN]),
    (plan(invalid="fill"), [1.5, 2.5], [9, 9], [1, 0], [1.5, 2.5]),
    (plan(invalid="fill", task="identity"), [1.5, 0.0], [9, 0], [1, 0], [1.5, NAN]),
    (plan(), [1.5, NAN], [9, 9], [1, 1], [1.5, NAN]),
    (plan("uint8"), [1.5, 2.5, 300, -4], [9, 9, 9, 9], [1, 1, 1, 1], [2, 2, 255, 0]),
    (plan("uint8"), [1.4, 2.6], [9, 8], [1, 0], [1, 8]),
    (plan("uint8"), [1.4, NAN], [9, 8], [1, 1], [1, 8]),
    (plan("int16"), [-70000, 1.4], [9, 8], [1, 1], [-32768, 1]),
    (plan("uint8", scale=2), [1, 2, 3, 4], [9, 8], [1, 0], [1, 2, 8, 8]),
    (plan(scale=2, flux_factor=0.25), [4, 8, 12, 16], [9, 8], [1, 1], [1, 2, 3, 4]),
]


@pytest.mark.parametrize(("made", "restored", "values", "valid", "stored"), TABLE)
def test_stored_pixels(made, restored, values, valid, stored):
    given = pixels(values, [bool(v) for v in valid])
    if made.layout.scale == 2:
        restored, stored = [restored, restored], [stored, stored]
        result = finish(made, np.array(restored, "f8")[None], given)
        np.testing.assert_array_equal(result[0], np.array(stored))
    else:
        result = finish(made, estimate(*restored), given)
        np.testing.assert_array_equal(result[0, 0], np.array(stored))
    assert result.dtype == np.dtype(made.layout.dtype)
