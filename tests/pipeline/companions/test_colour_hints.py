"""Task colorize: lightness is kept, colours come from the hints, and unsuitable images are refused."""

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from astropy.io import fits
from runs import FIT, UntidyPool, digest, level0, request
from scipy import ndimage

from glassplate.models.colour import add_chroma, lightness, srgb_from_linear, srgb_to_lab
from glassplate.pipeline.errors import SourceError, StoreError, UsageError
from glassplate.pipeline.export.export import export
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.planning.memory import project
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.provenance.verify import verify
from glassplate.pipeline.recipes.recipe import load_recipe, parse_recipe
from glassplate.pipeline.run.restore import RestoreRequest, restore
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tasks import TASKS
from glassplate.pipeline.tile_grid import Box

COLOUR = {
    **FIT,
    "task": "colorize",
    "fit": {**FIT["fit"], "input": "noise"},
    "stopping": {"rule": "fixed"},
}
WHITES = {"u1": 255, "u2": 65535, "i2": 32767, "f4": 1, "f8": 1}


def grey_image(dtype="u1", shape=(40, 50)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    values = 0.5 + 0.4 * np.sin(x / 9) * np.cos(y / 7)
    return (values * WHITES[dtype]).astype(dtype)


def painted(shape=(40, 50), columns=slice(None)):
    """RGBA with red strokes above and blue ones below."""
    hints = np.zeros((*shape, 4), "u1")
    hints[5:8, columns] = (200, 60, 50, 255)
    hints[30:33, columns] = (40, 70, 210, 255)
    return hints


def saved(folder, grey=None, hints=None):
    grey = grey_image() if grey is None else grey
    hints = painted(grey.shape) if hints is None else hints
    tifffile.imwrite(folder / "grey.tif", grey)
    (folder / "hints.png").write_bytes(imagecodecs.png_encode(hints))
    return SourceSpec(folder / "grey.tif", hints=folder / "hints.png")


def as_light(result, white):
    return srgb_to_lab(result / white)[0]


class TestSource:
    def test_the_photograph_has_three_planes_and_its_hints(self, tmp_path):
        source = open_source(saved(tmp_path))
        pixels = source.read(Box(2, 10, 3, 20))
        assert source.shape == (3, 40, 50)
        np.testing.assert_array_equal(pixels.values, [grey_image()[2:10, 3:20]] * 3)
        there = np.isfinite(pixels.hints)
        assert there[:, 3:6].all()
        assert not there[:, [0, 1, 2, 6, 7]].any()
        expected = srgb_to_lab(np.array([200, 60, 50]) / 255)[1:]
        np.testing.assert_allclose(pixels.hints[:, 4, 4], expected, atol=1e-4)
        source.close()

    def test_without_alpha_every_pixel_that_is_not_grey_is_a_hint(self, tmp_path):
        hints = np.stack([grey_image()] * 3, -1)
        hints[9, 9] = (90, 100, 90)
        source = open_source(saved(tmp_path, hints=hints))
        there = np.isfinite(source.read(Box(0, 40, 0, 50)).hints[0])
        assert there[9, 9]
        assert there.sum() == 1
        source.close()

    def test_an_invalid_pixel_has_no_hint(self, tmp_path):
        grey = grey_image("f4")
        grey[6, 10] = np.nan
        source = open_source(saved(tmp_path, grey))
        pixels = source.read(Box(0, 40, 0, 50))
        assert np.isnan(pixels.hints[:, 6, 10]).all()
        assert not pixels.valid[:, 6, 10].any()
        source.close()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4", "f8"])
def test_the_lightness_is_that_of_the_photograph(tmp_path, dtype):
    white = WHITES[dtype]
    grey = grey_image(dtype)
    restore(request(saved(tmp_path, grey), tmp_path / "a.zarr", COLOUR), InlinePool())
    result = level0(tmp_path / "a.zarr")
    assert result.shape == (3, *grey.shape)
    assert result.dtype == dtype
    # colours are rounded by half a level, of 1 / white; the curve is steepest in the dark
    step = 1e-5 if white == 1 else 0.5 / white
    light, wanted = as_light(result.astype("f8"), white), lightness(grey.astype("f8") / white)
    slack = lightness(np.minimum(grey / white + 3 * step, 1.2)) - wanted
    assert (np.abs(light - wanted) <= slack + 1e-4).all()
    assert np.ptp(result.astype("f8"), axis=0).max() > 0.05 * white
    residual = zarr.open_group(str(tmp_path / "a.zarr"), mode="r")["residual"][...]
    if white > 1:  # the step is reversible
        np.testing.assert_array_equal(result.astype("i8") + residual, [grey] * 3)
    assert all(check.ok for check in verify(tmp_path / "a.zarr"))


@pytest.mark.slow
def test_hinted_pixels_take_the_colour_of_their_hints(tmp_path):
    raw = {**COLOUR, "fit": {"iterations": 150, "input": "noise"}, "tiles": {"core": 64}}
    raw["network"] = {"channels": 16, "skip_channels": 16, "scales": 3}
    restore(request(saved(tmp_path), tmp_path / "a.zarr", raw), InlinePool())
    _, a, b = srgb_to_lab(level0(tmp_path / "a.zarr") / 255)
    bright = grey_image() > 60
    assert (a[5:8][bright[5:8]] > 15).all()
    assert (b[30:33][bright[30:33]] < -15).all()


@pytest.mark.slow
def test_order_and_interruptions_do_not_matter(tmp_path):
    spec = saved(tmp_path)
    restore(request(spec, tmp_path / "a.zarr", COLOUR), InlinePool())
    with pytest.raises(KeyboardInterrupt):
        restore(request(spec, tmp_path / "b.zarr", COLOUR), UntidyPool(3, interrupt_after=3))
    restore(request(spec, tmp_path / "b.zarr", COLOUR), UntidyPool(4))
    assert digest(tmp_path / "a.zarr") == digest(tmp_path / "b.zarr")


@pytest.mark.slow
def test_tiles_without_a_hint_stay_grey_and_the_plan_says_so(tmp_path):
    spec = saved(tmp_path, hints=painted(columns=slice(0, 12)))
    plan = make_plan(spec, parse_recipe(COLOUR, "t"), recipe_name="t", device="cpu")
    [warning] = plan.warnings
    assert "2 of 4 tiles have no hint within their windows and stay grey" in warning
    assert project(plan, workers=1).host_bytes > 0
    result = restore(request(spec, tmp_path / "a.zarr", COLOUR), InlinePool())
    assert result.summary.stop_reasons[TASKS["colorize"].copied_because] == 2
    image, grey = level0(tmp_path / "a.zarr"), grey_image()
    np.testing.assert_array_equal(image[:, :, 40:], [grey[:, 40:]] * 3)


@pytest.mark.slow
def test_a_quarantined_tile_stays_grey(tmp_path):
    spec = saved(tmp_path)

    def first(work, task):
        return work.__name__ == "restore_batch" and 0 in task.tiles

    restore(request(spec, tmp_path / "a.zarr", COLOUR), UntidyPool(fail=first))
    np.testing.assert_array_equal(
        level0(tmp_path / "a.zarr")[:, :10, :10], [grey_image()[:10, :10]] * 3
    )


@pytest.mark.slow
def test_the_export_is_a_colour_tiff(tmp_path):
    restore(request(saved(tmp_path), tmp_path / "a.zarr", COLOUR), InlinePool())
    export(tmp_path / "a.zarr", tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
        page = tiff.pages[0]
        assert page.photometric == tifffile.PHOTOMETRIC.RGB
        np.testing.assert_array_equal(
            np.moveaxis(page.asarray(), -1, 0), level0(tmp_path / "a.zarr")
        )


@pytest.mark.slow
def test_a_run_does_not_resume_with_other_hints(tmp_path):
    spec = saved(tmp_path)
    restore(request(spec, tmp_path / "a.zarr", COLOUR), InlinePool())
    (tmp_path / "other.png").write_bytes(imagecodecs.png_encode(painted()[::-1].copy()))
    other = SourceSpec(spec.path, hints=tmp_path / "other.png")
    with pytest.raises(StoreError, match=r"made from another hints than .*other\.png"):
        restore(request(other, tmp_path / "a.zarr", COLOUR), InlinePool())


@pytest.mark.parametrize(
    ("hints", "error", "message"),
    [
        (painted((41, 50)), SourceError, r"hints .*: 41 x 50 pixels do not fit the 40 x 50 of"),
        (grey_image(), SourceError, "1 planes of uint8, must be RGB or RGBA"),
        (np.zeros((40, 50, 4), "u1"), UsageError, "no pixel of them has a colour; paint some"),
        (np.full((40, 50, 4), 99, "u1"), UsageError, "no pixel of them has a colour"),
        (np.stack([grey_image()] * 3, -1), UsageError, "no pixel of them has a colour"),
    ],
)
def test_hints_without_colour_are_refused(tmp_path, hints, error, message):
    spec = saved(tmp_path, grey_image(), hints)
    with pytest.raises(error, match=message):
        restore(request(spec, tmp_path / "a.zarr", COLOUR), InlinePool())


def test_photographs_that_cannot_be_coloured_are_refused(tmp_path):
    spec = saved(tmp_path)

    def refused(spec, raw, message, error=UsageError):
        with pytest.raises(error, match=message):
            restore(request(spec, tmp_path / "a.zarr", raw), InlinePool())

    tifffile.imwrite(tmp_path / "rgb.tif", painted()[..., :3], photometric="rgb")
    refused(
        SourceSpec(tmp_path / "rgb.tif", hints=spec.hints),
        COLOUR,
        "has 3 planes: task colorize takes",
    )
    tifffile.imwrite(tmp_path / "negative.tif", grey_image("f4") / 255, photometric="miniswhite")
    refused(SourceSpec(tmp_path / "negative.tif", hints=spec.hints), COLOUR, "0 is white in it")
    fits.writeto(tmp_path / "a.fits", grey_image("f4"))
    refused(
        SourceSpec(tmp_path / "a.fits", hints=spec.hints), COLOUR, "is FITS, which has no colours"
    )
    tifffile.imwrite(tmp_path / "wide.tif", 255 * grey_image("f4"))
    refused(SourceSpec(tmp_path / "wide.tif", hints=spec.hints), COLOUR, "floats mostly above 1")
    refused(spec.path, COLOUR, "task colorize needs colour hints; add --hints FILE")
    refused(spec, FIT, "task denoise uses no hints; drop it or add --recipe archive-colorize")
    guided = SourceSpec(spec.path, hints=spec.hints, guide=spec.path)
    refused(guided, COLOUR, "--guide .*: task colorize uses no guide; drop it")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"stopping": {"rule": "heldout"}}, "stopping.rule heldout would hold out hints"),
        ({"fit": {"uncertainty": True, "members": 2}}, "uncertainty is not told of colours"),
        ({"output": {"clamp": 3}}, r"output\.clamp 3\.0 is for task denoise"),
    ],
)
def test_settings_that_make_no_sense_are_refused(raw, message):
    with pytest.raises(UsageError, match=message):
        parse_recipe({**COLOUR, **raw}, "t")


@pytest.mark.slow
def test_a_photograph_gets_colours_nearer_to_its_own_than_the_hints_spread(real_data, tmp_path):
    rgb = imagecodecs.png_decode((real_data / "std/set9/F16_GT.png").read_bytes())[160:256, 160:256]
    lab = srgb_to_lab(np.moveaxis(rgb, -1, 0) / 255)
    grey = np.rint(255 * srgb_from_linear(((np.maximum(lab[0], 8) + 16) / 116) ** 3)).astype("u1")
    hints, rng = np.zeros((96, 96, 4), "u1"), np.random.default_rng(0)
    for y, x in rng.integers(0, 93, (20, 2)):
        hints[y : y + 3, x : x + 3, :3] = rgb[y : y + 3, x : x + 3]
        hints[y : y + 3, x : x + 3, 3] = 255
    recipe = load_recipe("archive-colorize", ["fit.iterations=60", "fit.members=1"])
    spec = saved(tmp_path, grey, hints)
    restore(RestoreRequest(spec, tmp_path / "a.zarr", recipe, "t", device="cpu"), InlinePool())
    known = hints[..., 3] > 0

    def error(chroma):
        shown = srgb_to_lab(add_chroma(grey / 255, chroma))
        return np.mean((shown - lab)[1:] ** 2)

    places = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    nearest = error(lab[1:, places[0], places[1]])
    smooth = []
    for radius in (3, 5, 8):
        weight = ndimage.gaussian_filter(known.astype("f8"), radius) + 1e-12
        spread = [ndimage.gaussian_filter(p * known, radius) / weight for p in lab[1:]]
        smooth.append(error(np.where(known, lab[1:], spread)))
    ours = error(srgb_to_lab(level0(tmp_path / "a.zarr") / 255)[1:])
    # measured: 0.81 of it
    assert ours < 0.93 * min(nearest, *smooth)
