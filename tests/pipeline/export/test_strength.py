"""A share of what was removed is mixed back: between the input and the result, and nowhere else."""

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from exported import add_removed, make_store
from hypothesis import given
from hypothesis import strategies as st
from manifests import manifest
from PIL import Image

from glassplate.pipeline.errors import StoreError, UsageError
from glassplate.pipeline.export.export import export
from glassplate.pipeline.export.preview import CAPTION, GAP, SIDE, preview
from glassplate.pipeline.export.strength import Removed
from glassplate.pipeline.provenance.manifest import write_manifest


def pair(dtype, shape=(40, 50), seed=0):
    """An input and a result."""
    rng = np.random.default_rng(seed)
    given_values = rng.integers(0, 200, shape).astype(dtype)
    return given_values, rng.integers(0, 200, shape).astype(dtype)


def store_of(folder, given_values, result, *, task="denoise", filled=None, attributes=None):
    store = make_store(folder, result, attributes or {})
    residual = given_values.astype("f8") - result
    kind = "f4" if result.dtype.kind == "f" else "i4"
    arrays = {"residual": residual.astype(kind)}
    if filled is not None:
        arrays["filled"] = filled.astype("u1")
    add_removed(store, task, **arrays)
    return store


class TestRemoved:
    @given(
        st.floats(0, 1),
        st.sampled_from(["u1", "u2", "i2", "f4"]),
        st.integers(0, 1000),
    )
    def test_every_pixel_lies_between_input_and_result(self, strength, dtype, seed):
        y, x = pair(dtype, (6, 7), seed)
        residual = y.astype("f8") - x
        mixed = Removed(residual, None).mixed_into(x, (slice(None), slice(None)), strength)
        assert mixed.dtype == x.dtype
        assert (mixed >= np.minimum(x, y) - 1e-4).all()
        assert (mixed <= np.maximum(x, y) + 1e-4).all()

    def test_the_ends_are_the_input_and_the_result(self):
        y, x = pair("u2")
        removed = Removed(y.astype("i4") - x.astype("i4"), None)
        everywhere = (slice(None), slice(None))
        assert (removed.mixed_into(x, everywhere, 0.0) == y).all()
        assert (removed.mixed_into(x, everywhere, 1.0) == x).all()

    def test_filled_and_unknown_pixels_stay(self):
        """A cosmic ray was filled: its residual is the ray, which is no part of the scene."""
        x = np.array([[1.0, 2.0, np.nan, 4.0]], "f4")
        residual = np.array([[10.0, 500.0, np.nan, np.nan]], "f4")
        filled = np.array([[0, 1, 0, 0]], "u1")
        mixed = Removed(residual, filled).mixed_into(x, (slice(None), slice(None)), 0.5)
        assert np.array_equal(mixed, np.array([[6.0, 2.0, np.nan, 4.0]], "f4"), equal_nan=True)


class TestExport:
    def test_fits_holds_the_mixture_and_says_so(self, tmp_path):
        y, x = pair("f4")
        store = store_of(tmp_path, y, x)
        export(store, tmp_path / "a.fits", strength=0.6)
        with fits.open(tmp_path / "a.fits", checksum=True) as hdus:
            assert np.allclose(hdus[0].data, x + 0.4 * (y - x), atol=1e-4)
            assert hdus[0].header["GPSTREN"] == 0.6
            assert "strength 0.6: 0.4 of what was removed" in str(hdus[0].header["HISTORY"])

    def test_tiff_holds_the_mixture_and_says_so(self, tmp_path):
        y, x = pair("u1")
        store = store_of(tmp_path, y, x)
        export(store, tmp_path / "a.tif", strength=0.25)
        with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
            expected = np.rint(x + 0.75 * (y.astype("f8") - x))
            assert (tiff.asarray() == expected).all()
            assert "; strength 0.25" in tiff.pages[0].tags["Software"].value

    @pytest.mark.parametrize("suffix", ["fits", "tif"])
    def test_full_strength_is_the_export_without_it(self, tmp_path, suffix):
        y, x = pair("u1")
        store = store_of(tmp_path, y, x)
        plain, full = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
        export(store, plain)
        export(store, full, strength=1.0)
        assert plain.read_bytes() == full.read_bytes()
        assert b"strength" not in plain.read_bytes()
        assert b"GPSTREN" not in plain.read_bytes()

    @pytest.mark.parametrize(
        ("strength", "level", "why"),
        [
            (1.2, 0, "between 0"),
            (-0.1, 0, "between 0"),
            (float("nan"), 0, "between 0"),
            (0.5, 1, "level 0 only"),
        ],
    )
    def test_what_is_no_strength_is_refused(self, tmp_path, strength, level, why):
        y, x = pair("u1")
        with pytest.raises(UsageError, match=why):
            export(store_of(tmp_path, y, x), tmp_path / "a.tif", level, strength)
        assert not (tmp_path / "a.tif").exists()

    @pytest.mark.parametrize("task", ["superres", "deconvolve", "inpaint", "colorize", "identity"])
    def test_a_task_that_removes_nothing_has_no_strength(self, tmp_path, task):
        y, x = pair("u1")
        store = store_of(tmp_path, y, x, task=task)
        with pytest.raises(UsageError, match="nothing was removed"):
            export(store, tmp_path / "a.tif", strength=0.5)
        export(store, tmp_path / "a.tif")

    def test_a_damaged_residual_is_refused(self, tmp_path):
        y, x = pair("u1")
        store = store_of(tmp_path, y, x)
        chunk = next(path for path in (store / "residual" / "c").rglob("*") if path.is_file())
        chunk.write_bytes(b"damaged" + chunk.read_bytes())
        with pytest.raises(StoreError, match="is damaged"):
            export(store, tmp_path / "a.tif", strength=0.5)
        export(store, tmp_path / "a.tif")


class TestPreview:
    def test_panels_are_the_image_at_each_strength(self, tmp_path):
        y, x = pair("u1")
        path = preview(store_of(tmp_path, y, x), tmp_path / "p.png", [0.0, 0.5, 1.0])
        drawn = np.asarray(Image.open(path))
        for number, strength in enumerate((0.0, 0.5, 1.0)):
            left = number * (50 + GAP)
            panel = drawn[CAPTION : CAPTION + 40, left : left + 50]
            expected = np.rint(x + (1 - strength) * (y.astype("f8") - x))
            assert (panel == expected[..., None]).all(), strength

    def test_colours_and_the_place(self, tmp_path):
        y, x = pair("u1", (3, 500, 600))
        store = store_of(tmp_path, y, x)
        drawn = np.asarray(Image.open(preview(store, tmp_path / "p.png", [1.0], (0, 599))))
        assert drawn.shape == (SIDE + CAPTION, SIDE, 3)
        assert (drawn[CAPTION:] == np.moveaxis(x[:, :SIDE, 600 - SIDE :], 0, 2)).all()
        with pytest.raises(UsageError, match="--at 500,0: the image has 500 rows"):
            preview(store, tmp_path / "p.png", [1.0], (500, 0))

    def test_floats_are_stretched_and_unknown_pixels_black(self, tmp_path):
        y, x = pair("f4")
        x[0, 0] = np.nan
        path = preview(store_of(tmp_path, 1e6 + y, 1e6 + x), tmp_path / "p.png", [1.0])
        drawn = np.asarray(Image.open(path))[CAPTION:]
        assert (drawn[0, 0] == 0).all()
        assert drawn.std() > 30

    @pytest.mark.parametrize(
        ("attributes", "from_bottom"),
        [
            ({"fits": {"header": "", "cards": [], "hdu": 0}}, True),
            ({"fits": {"header": "", "cards": [["ROWORDER", "BOTTOM-UP", ""]], "hdu": 0}}, True),
            ({"fits": {"header": "", "cards": [["ROWORDER", "TOP-DOWN", ""]], "hdu": 0}}, False),
            ({"fits": {"header": "", "cards": [], "hdu": 0}, "xisf": {"id": "a"}}, False),
            ({"tiff": {}}, False),
            ({"raster": {}}, False),
        ],
    )
    def test_shows_what_a_person_sees(self, tmp_path, attributes, from_bottom):
        y, x = pair("u1")
        store = store_of(tmp_path, y, x, attributes=attributes)
        drawn = np.asarray(Image.open(preview(store, tmp_path / "p.png", [1.0])))[CAPTION:, :, 0]
        assert (drawn == (x[::-1] if from_bottom else x)).all()
        # an export to a format that counts from the top shows the same
        export(store, tmp_path / "a.tif")
        assert (tifffile.imread(tmp_path / "a.tif") == drawn).all()

    def test_only_previews_are_replaced(self, tmp_path):
        y, x = pair("u1")
        store, target = store_of(tmp_path, y, x), tmp_path / "p.png"
        assert preview(store, target) == preview(store, target) == target
        Image.new("L", (3, 3)).save(tmp_path / "mine.png")
        with pytest.raises(UsageError, match="was not made by glassplate"):
            preview(store, tmp_path / "mine.png")
        with pytest.raises(UsageError, match=r"previews are \.png"):
            preview(store, tmp_path / "p.jpg")
        assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.png", "out.zarr", "p.png"]

    def test_a_result_without_strength_is_refused(self, tmp_path):
        y, x = pair("u1")
        with pytest.raises(UsageError, match="nothing was removed"):
            preview(store_of(tmp_path, y, x, task="superres"), tmp_path / "p.png")

    def test_a_run_that_has_not_ended_is_refused(self, tmp_path):
        """Its pixels would be drawn black without a word."""
        y, x = pair("u1")
        store = store_of(tmp_path, y, x)
        running = manifest(status="running", recipe={"task": "denoise"}, summary=None)
        write_manifest(store, running)
        with pytest.raises(StoreError, match="its run has not ended"):
            preview(store, tmp_path / "p.png")
        with pytest.raises(StoreError, match="not a glassplate result"):
            preview(tmp_path / "none.zarr", tmp_path / "p.png")
