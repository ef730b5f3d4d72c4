"""An overlay is removed where the image shows through; elsewhere pixels are missing."""

import imagecodecs
import numpy as np
import pytest
import tifffile
from runs import FIT, level0, request
from skimage import data as photographs

from glassplate.models.metrics import psnr
from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.provenance.verify import verify
from glassplate.pipeline.recipes.recipe import load_recipe
from glassplate.pipeline.run.restore import RestoreRequest, restore
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box

SIDE = 64
FILL = {**FIT, "task": "inpaint", "donor": {"tiles": 0}}


def photograph():
    return photographs.astronaut()[60 : 60 + SIDE, 180 : 180 + SIDE]


def watermark(opacity, planes=4):
    """A ring of a colour, opaque at its middle line; ``(y, x, planes)`` of 8 bits."""
    y, x = np.mgrid[:SIDE, :SIDE]
    distance = np.abs(np.hypot(y - 32, x - 32) - 20)
    alpha = np.where(distance < 1, 1.0, np.where(distance < 5, opacity, 0.0))
    laid = np.empty((SIDE, SIDE, planes), np.uint8)
    laid[..., :-1] = (200, 40, 90)[: planes - 1]
    laid[..., -1] = np.round(255 * alpha)
    return laid


def under(image, laid):
    """The image under the overlay, rounded to 8 bits."""
    alpha = laid[..., -1:] / 255
    return np.round((1 - alpha) * image + alpha * laid[..., :-1]).astype(np.uint8)


@pytest.fixture
def marked(tmp_path):
    """A photograph under a watermark of opacity 0.6, and the watermark."""
    laid = watermark(0.6)
    tifffile.imwrite(tmp_path / "marked.tif", under(photograph(), laid), photometric="rgb")
    (tmp_path / "mark.png").write_bytes(imagecodecs.png_encode(laid))
    return SourceSpec(tmp_path / "marked.tif", overlay=tmp_path / "mark.png"), laid


def test_the_image_under_the_overlay_is_recovered_up_to_rounding(marked):
    spec, laid = marked
    source = open_source(spec)
    pixels = source.read(Box(0, SIDE, 0, SIDE))
    source.close()
    alpha, truth = laid[..., -1], photograph().transpose(2, 0, 1)
    assert np.array_equal(pixels.valid[0], alpha < 0.9 * 255)
    clear, veiled = alpha == 0, (alpha > 0) & (alpha < 0.9 * 255)
    assert np.array_equal(pixels.values[:, clear], truth[:, clear])
    # half a level, divided by the transparency
    assert np.abs(pixels.values - truth)[:, veiled].max() <= 0.5 / 0.4 + 1e-3


def test_every_box_and_channel_is_part_of_the_whole(marked):
    source = open_source(marked[0])
    whole = source.read(Box(0, SIDE, 0, SIDE))
    part = source.read(Box(5, 40, 7, 60), (1, 2))
    source.close()
    assert np.array_equal(part.values, whole.values[1:2, 5:40, 7:60])
    assert np.array_equal(part.valid, whole.valid[1:2, 5:40, 7:60])


def test_the_variance_grows_with_the_opacity(marked, tmp_path):
    tifffile.imwrite(tmp_path / "variance.tif", np.full((SIDE, SIDE), 4, np.float32))
    spec = SourceSpec(marked[0].path, overlay=marked[0].overlay, variance=tmp_path / "variance.tif")
    source = open_source(spec)
    variance = source.read(Box(0, SIDE, 0, SIDE)).variance[0]
    source.close()
    alpha = marked[1][..., -1]
    assert np.all(variance[alpha == 0] == 4)
    np.testing.assert_allclose(variance[alpha == 153], 4 / 0.4**2, rtol=1e-5)


@pytest.mark.slow
def test_only_hidden_pixels_are_filled(marked, tmp_path):
    spec, laid = marked
    recipe = load_recipe(
        "archive-repair", ["defects.specks=none", "fit.iterations=150", "tiles.core=64"]
    )
    store = tmp_path / "out.zarr"
    restore(RestoreRequest(spec, store, recipe, "archive-repair", "cpu"), InlinePool())
    found, truth = level0(store), photograph().transpose(2, 0, 1)
    hidden = laid[..., -1] == 255
    assert np.array_equal(found[:, laid[..., -1] == 0], truth[:, laid[..., -1] == 0])
    assert np.abs(found.astype(float) - truth)[:, ~hidden].max() <= 2
    assert psnr(found[:, hidden] / 255, truth[:, hidden] / 255, 1.0) > 20
    assert all(check.ok for check in verify(store))


@pytest.mark.slow
@pytest.mark.parametrize("planes", [2])
def test_a_grey_overlay_is_removed_from_colours_and_grey(tmp_path, planes):
    laid = watermark(0.5, planes)
    (tmp_path / "mark.png").write_bytes(imagecodecs.png_encode(laid))
    grey = photograph()[..., :1]
    tifffile.imwrite(tmp_path / "grey.tif", under(grey, laid)[..., 0])
    restore(
        request(
            SourceSpec(tmp_path / "grey.tif", overlay=tmp_path / "mark.png"),
            tmp_path / "grey.zarr",
            FILL,
        ),
        InlinePool(),
    )
    found = level0(tmp_path / "grey.zarr").astype(float)
    shines = laid[..., -1] < 200
    assert np.abs(found - grey[..., 0])[shines].max() <= 2


@pytest.mark.parametrize(
    ("image", "laid", "message"),
    [
        (
            np.zeros((8, 8, 3), "u1"),
            np.zeros((8, 8, 3), "u1"),
            "3 planes, must be grey or RGB with",
        ),
        (np.zeros((8, 8, 3), "u1"), np.zeros((8, 9, 4), "u1"), "8 x 9 pixels do not fit the 8 x 8"),
        (
            np.zeros((8, 8), "u1"),
            np.zeros((8, 8, 4), "u1"),
            "is RGB, .* has 1 planes; save the over",
        ),
        (np.zeros((8, 8), "i2"), np.zeros((8, 8, 2), "u1"), "not TIFF of int16"),
    ],
)
def test_an_overlay_that_cannot_be_removed_is_refused(tmp_path, image, laid, message):
    tifffile.imwrite(
        tmp_path / "a.tif", image, photometric="rgb" if image.ndim == 3 else "minisblack"
    )
    (tmp_path / "b.png").write_bytes(imagecodecs.png_encode(laid))
    with pytest.raises(SourceError, match=message):
        open_source(SourceSpec(tmp_path / "a.tif", overlay=tmp_path / "b.png"))


@pytest.mark.slow
def test_a_run_does_not_resume_with_another_overlay(marked, tmp_path):
    spec, laid = marked
    store = tmp_path / "out.zarr"
    restore(request(spec, store, FILL), InlinePool())
    (tmp_path / "mark.png").write_bytes(imagecodecs.png_encode(255 - laid))
    with pytest.raises(Exception, match="made from another overlay than"):
        restore(request(spec, store, FILL), InlinePool())
