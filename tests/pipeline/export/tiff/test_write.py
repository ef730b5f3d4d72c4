"""An exported TIFF file has the tags of the input and the pixels of the result."""

import numpy as np
import pytest
import tifffile
from exported import make_store, restored

from glassplate.pipeline.export.export import export


class TestTiff:
    def test_profile_resolution_and_tags_are_kept(self, tmp_path):
        page = np.random.default_rng(0).integers(0, 65536, (70, 300), dtype="u2")
        profile = bytes(range(256)) * 4
        xmp = b'<x tiff:ImageWidth="300"><exif:PixelYDimension>70</exif:PixelYDimension></x>'
        tags = [
            (271, 2, None, "Zeutschel", True),
            (274, 3, 1, 6, True),
            (700, 1, len(xmp), xmp, True),
            (33432, 2, None, "Müller".encode(), True),
            (33723, 7, 5, b"\x1c\x02\x00\x00\x02", True),
        ]
        tifffile.imwrite(
            tmp_path / "page.tif",
            page,
            iccprofile=profile,
            resolution=((4294967295, 27547733), (300, 1)),
            resolutionunit="CENTIMETER",
            software="Omniscan 11",
            description="folio 3r",
            datetime="2020:01:02 03:04:05",
            extratags=tags,
            metadata=None,
            byteorder=">",
            compression="lzw",
            predictor=True,
        )
        store, _ = restored(tmp_path, tmp_path / "page.tif", scale=2)
        with tifffile.TiffFile(export(store, tmp_path / "out.tif")) as tiff:
            out = tiff.pages[0]
            np.testing.assert_array_equal(out.asarray(), page.repeat(2, 0).repeat(2, 1))
            assert out.is_tiled
            assert out.iccprofile == profile
            x = out.tags[282].value
            assert x[0] / x[1] == pytest.approx(2 * 4294967295 / 27547733, rel=1e-8)
            assert out.tags[283].value == (600, 1)
            assert out.tags[296].value == 3
            assert [out.tags[code].value for code in (270, 271, 274, 306)] == [
                "folio 3r",
                "Zeutschel",
                6,
                "2020:01:02 03:04:05",
            ]
            assert "Müller" in (
                str(out.tags[33432].value),
                bytes(str(out.tags[33432].value), "latin1", "replace").decode("utf-8", "replace"),
            )
            assert out.tags[33723].value == b"\x1c\x02\x00\x00\x02"
            assert b'ImageWidth="600"' in out.tags[700].value
            assert b">140<" in out.tags[700].value
            software = out.tags[305].value
            assert software.startswith("glassplate 0.1.0")
            assert software.endswith("input by Omniscan 11")

    @pytest.mark.slow
    @pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "f4", "u8"])
    @pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
    def test_every_type_and_number_of_channels_is_written(self, tmp_path, dtype, channels):
        rng = np.random.default_rng(0)
        pixels = (rng.random((channels, 70, 300)) * 100).astype(dtype)
        stored = pixels[0] if channels == 1 else pixels
        with tifffile.TiffFile(
            export(make_store(tmp_path, stored, {}), tmp_path / "out.tif")
        ) as tiff:
            page = tiff.pages[0]
            expected = (
                pixels[0]
                if channels == 1
                else pixels
                if channels > 4
                else np.moveaxis(pixels, 0, -1)
            )
            np.testing.assert_array_equal(page.asarray(), expected)
            assert page.dtype == np.dtype(dtype)

    @pytest.mark.parametrize("kind", ["miniswhite", "rgb", "rgba", "cmyk", "lab", "grey_alpha"])
    def test_interpretation_is_kept(self, tmp_path, kind):
        photometric, samples, extra = {
            "miniswhite": (0, 1, ()), "rgb": (2, 3, ()), "rgba": (2, 4, (1,)), "cmyk": (5, 4, ()),
            "lab": (8, 3, ()), "grey_alpha": (1, 2, (2,)),
        }[kind]  # fmt: skip
        data = np.random.default_rng(0).integers(0, 255, (30, 40, samples), dtype="u1")
        shape = data.shape if samples > 1 else data.shape[:2]
        tifffile.imwrite(
            tmp_path / "in.tif",
            data.reshape(shape),
            photometric=photometric,
            planarconfig="contig" if samples > 1 else None,
            extrasamples=extra or None,
        )
        store, _ = restored(tmp_path, tmp_path / "in.tif")
        with tifffile.TiffFile(export(store, tmp_path / "out.tif")) as tiff:
            assert tiff.pages[0].photometric == photometric
            assert tuple(tiff.pages[0].extrasamples) == extra
            np.testing.assert_array_equal(tiff.pages[0].asarray(), data.reshape(shape))

    def test_odd_bit_depths_are_kept(self, tmp_path):
        data = np.random.default_rng(0).integers(0, 4096, (30, 40), dtype="u2")
        tifffile.imwrite(tmp_path / "in.tif", data, bitspersample=12)
        store, _ = restored(tmp_path, tmp_path / "in.tif")
        with tifffile.TiffFile(export(store, tmp_path / "out.tif")) as tiff:
            assert tiff.pages[0].bitspersample == 12
            np.testing.assert_array_equal(tiff.pages[0].asarray(), data)

    def test_geotiff_tags_follow_the_pixels(self, tmp_path):
        tags = [
            (33550, 12, 3, (10.0, 20.0, 0.0), True),
            (33922, 12, 6, (4.0, 8.0, 0.0, 500.0, 600.0, 0.0), True),
        ]
        tifffile.imwrite(tmp_path / "in.tif", np.zeros((20, 20), "u1"), extratags=tags)
        store, _ = restored(tmp_path, tmp_path / "in.tif", scale=2)
        with tifffile.TiffFile(export(store, tmp_path / "out.tif")) as tiff:
            assert tiff.pages[0].tags[33550].value == (5.0, 10.0, 0.0)
            assert tiff.pages[0].tags[33922].value == (8.0, 16.0, 0.0, 500.0, 600.0, 0.0)

    def test_a_fits_input_is_exported_as_tiff(self, sky, tmp_path):
        store, values = restored(tmp_path, sky)
        with tifffile.TiffFile(export(store, tmp_path / "out.tiff")) as tiff:
            # rows of TIFF are counted from the top
            np.testing.assert_array_equal(tiff.asarray(), values[::-1])
            assert tiff.pages[0].description.startswith("Rows are counted from the top")
