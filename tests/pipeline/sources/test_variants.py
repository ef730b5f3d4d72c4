"""Files from archives: each is described, and a restorable one is read as its own library reads it."""

import warnings
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from astropy.io import fits
from headers import scaled_header
from PIL import Image

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.export.fits.wcs_check import wcs_disagreement
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.sources.describe import describe
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
FOLDERS = ("fits_variants", "tiff_variants", "astro/mef_dq_weight", "astro/plates", "astro/single")
FILES = sorted(path for folder in FOLDERS for path in (DATA / folder).rglob("*") if path.is_file())
FILES = [path for path in FILES if path.suffix not in {".npz", ".md", ".txt"}]

pytestmark = pytest.mark.skipif(
    not FILES, reason="no collection of real files beside this checkout"
)


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    """Packed files are unpacked where pytest cleans up."""
    monkeypatch.setenv("GLASSPLATE_SCRATCH", str(tmp_path))


def boxes(height, width):
    middle = Box(
        height // 3, height // 3 + max(1, height // 3), width // 4, width // 4 + max(1, width // 2)
    )
    return [Box(0, height, 0, width), middle, Box(height - 1, height, width - 1, width)]


def reference(path, info, kind):
    """Whole image ``(c, y, x)`` as astropy or tifffile reads it; NaN where astropy has NaN."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "fits":
            with fits.open(path) as hdus:
                hdu = hdus[info["index"]]
                # a plane of one value has no data
                constant = np.full(info["shape"], hdu.header.get("PIXVALUE", 0))
                data = constant if hdu.data is None else np.array(hdu.data)
            return data.reshape(-1, *data.shape[-2:])
        data = as_seen(path, info)
        if len(info["shape"]) == 2:
            return data.reshape(1, *info["shape"])
        return data if data.shape == tuple(info["shape"]) else np.moveaxis(data, -1, 0)


def as_seen(path, info):
    """The pixels of a TIFF page as a person sees them: colours of a palette, white larger than black."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[info["index"]]
        try:
            data = page.asarray()
        except imagecodecs.Jpeg8Error:
            # the older kind of JPEG, which libtiff reads
            with Image.open(path) as image:
                return np.asarray(image.convert("RGB"))
        if page.photometric == 3:
            colours = page.colormap[:, data.astype(int)]
            if info["dtype"] == "uint8" and page.colormap.max() > 255:
                colours = colours // 256
            return colours[:1] if len(info["shape"]) == 2 else colours
        if data.dtype == bool:
            data = data.astype(np.uint8) * np.uint8(255)
        if page.photometric == 0 and data.dtype.kind == "u":
            most = 255 if page.bitspersample == 1 else 2**page.bitspersample - 1
            data = data.dtype.type(most) - data
        return data


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_described_and_read(path):
    try:
        found = describe(path)
    except SourceError:
        return
    for info in found["images"]:
        assert info["restorable"] == (info["reason"] is None)
        key = "hdu" if found["format"] == "fits" else "page"
        spec = SourceSpec(
            path, **({key: info["index"]} if found["format"] in ("fits", "tiff") else {})
        )
        if not info["restorable"]:
            with pytest.raises(SourceError):
                open_source(spec)
            continue
        source = open_source(spec)
        try:
            expected = reference(path, info, found["format"])
            seen = np.ones(expected.shape[1:], bool)
            if source.alpha is not None:
                np.testing.assert_array_equal(
                    source.alpha(Box(0, expected.shape[1], 0, expected.shape[2])), expected[-1]
                )
                expected, seen = expected[:-1], expected[-1] != 0
            assert source.shape == expected.shape
            for box in boxes(*source.shape[1:]):
                pixels = source.read(box)
                part = expected[(slice(None), *box.slices)]
                valid = np.isfinite(part) & seen[box.slices]
                np.testing.assert_array_equal(pixels.valid, valid)
                np.testing.assert_allclose(pixels.values[valid], part[valid], rtol=3e-7)
        finally:
            source.close()


@pytest.mark.slow
def test_most_of_them_can_be_restored():
    """No file that could be read before is refused; the others are tables, volumes and the like."""
    found = {"fits": [0, 0], "tiff": [0, 0]}
    for path in FILES:
        if path.parts[len(DATA.parts)] not in ("fits_variants", "tiff_variants"):
            continue
        try:
            document = describe(path)
        except SourceError:
            continue
        for image in document["images"]:
            found[document["format"]][0] += 1
            found[document["format"]][1] += image["restorable"]
    assert found == {"fits": [86, 54], "tiff": [225, 218]}


@pytest.mark.slow
@pytest.mark.parametrize("scale", [2, 4])
def test_real_wcs_follow_the_pixels(scale):
    checked = 0
    for path in FILES:
        if ".fit" not in path.name and path.suffix != ".hdr":
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                with fits.open(path) as hdus:
                    headers = [hdu.header for hdu in hdus if hdu.is_image]
            except (OSError, ModuleNotFoundError):
                continue
            errors = [wcs_disagreement(one, scaled_header(one, scale), scale) for one in headers]
        checked += sum(error is not None for error in errors)
        assert max((error for error in errors if error is not None), default=0) < 1e-6, path
    assert checked > 60
