"""Exports: headers and tags that come back, pixels that are the store's, memory that stays small."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tifffile
import zarr
from astropy.io import fits
from astropy.wcs import WCS

from glassplate.pipeline.errors import StoreError, UsageError
from glassplate.pipeline.export.export import _WRITERS as export_writers
from glassplate.pipeline.export.export import export, is_export
from glassplate.pipeline.export.fits_checksum import OnesComplementSum, encoded_checksum
from glassplate.pipeline.files import sha256_of
from glassplate.pipeline.grid import Box
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.provenance.documents import write_manifest
from glassplate.pipeline.sources.source import SourceSpec

RUN = {
    "version": "0.1.0",
    "run_id": "0192f3a0-run",
    "recipe": "draft",
    "status": "complete",
    "scale": 1,
    "flux_factor": 1.0,
    "source": {"path": "/somewhere/sky.fits", "sha256": "ab" * 32},
}
ADDED = {
    "GPVERS", "GPRUNID", "GPRECIPE", "GPSCALE", "GPLEVEL", "GPSOURCE", "GPSHA256",
    "CHECKSUM", "DATASUM",
}  # fmt: skip


def make_store(folder, pixels, metadata, *, levels=1, **run):
    """A result by hand: arrays 0, 1, ... and the attributes."""
    store = folder / "out.zarr"
    group = zarr.create_group(store, attributes={"glassplate": {**RUN, **run}, **metadata})
    for level in range(levels):
        data = pixels[..., :: 2**level, :: 2**level]
        lead = (1,) * (data.ndim - 2)
        array = group.create_array(
            str(level),
            shape=data.shape,
            dtype=data.dtype,
            chunks=(*lead, 32, 32),
            shards=(*lead, 64, 64),
        )
        array[...] = data
    ended(store)
    return store


def ended(store):
    """What the end of a run records: without it nothing is exported."""
    names = [p.relative_to(store).as_posix() for p in store.rglob("*") if p.is_file()]
    lines = [f"{sha256_of(store / name)}  {name}\n" for name in names if name != "zarr.json"]
    zarr.open_group(store).create_group("provenance")
    (store / "provenance" / "checksums.sha256").write_text("".join(lines))
    write_manifest(store, {"run_id": RUN["run_id"], "status": "complete", "sessions": []})


def restored(folder, path, *, scale=1, **spec):
    """A store as an identity run at `scale` would leave it."""
    source = open_source(SourceSpec(path, **spec))
    try:
        _, h, w = source.shape
        pixels = source.read(Box(0, h, 0, w))
        values = np.where(
            pixels.valid,
            pixels.values,
            np.nan if source.output_dtype.kind == "f" else pixels.values,
        )
        if source.alpha is not None:
            values = np.concatenate([values, source.alpha(Box(0, h, 0, w))[None]])
        values = values.repeat(scale, 1).repeat(scale, 2).astype(source.output_dtype)
        if source.ndim == 2:
            values = values[0]
        return make_store(folder, values, source.metadata, scale=scale), values
    finally:
        source.close()


@pytest.fixture
def sky(tmp_path):
    """A uint16 image with every kind of card."""
    rng = np.random.default_rng(1)
    header = fits.Header()
    header["OBJECT"] = ("M 13", "target")
    header["BUNIT"] = "adu"
    header["GAIN"] = (1.5, "e-/adu")
    header["LONGSTR"] = ("long " * 30, "continued")
    header["HIERARCH ESO TEL AIRM"] = (1.25, "airmass")
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CRVAL1"], header["CRVAL2"] = 250.42, 36.46
    header["CRPIX1"], header["CRPIX2"] = 40.5, 30.25
    header["CD1_1"], header["CD1_2"] = -2.0e-4, 1.0e-6
    header["CD2_1"], header["CD2_2"] = 1.0e-6, 2.0e-4
    header["DATASEC"] = "[1:90,1:70]"
    header["UNDEF"] = None
    header[""] = "a blank card with text"
    header.add_comment("a comment")
    header.add_history("made for a test")
    header["BLANK"] = 17
    path = tmp_path / "sky.fits"
    fits.PrimaryHDU(rng.integers(100, 60000, (70, 90), dtype="u2"), header).writeto(
        path, output_verify="silentfix", checksum=True
    )
    return path


class TestFits:
    def test_header_is_identical_card_by_card_but_for_the_stated(self, sky, tmp_path):
        store, _ = restored(tmp_path, sky)
        out = export(store, tmp_path / "out.fits")
        encoding = {"BITPIX", "BZERO", "BSCALE", "BLANK", "CHECKSUM", "DATASUM"}
        before = [str(c) for c in fits.getheader(sky).cards if c.keyword not in encoding]
        after = [str(c) for c in fits.getheader(out).cards if c.keyword not in ADDED | {"BITPIX"}]
        assert after[: len(before)] == before
        assert all(card.startswith("HISTORY") for card in after[len(before) :])
        assert len(after) > len(before)

    def test_additions_name_the_run(self, sky, tmp_path):
        store, _ = restored(tmp_path, sky)
        header = fits.getheader(export(store, tmp_path / "out.fits"))
        assert header["GPRUNID"] == RUN["run_id"]
        assert header["GPRECIPE"] == "draft"
        assert header["GPSOURCE"] == "sky.fits"
        assert header["BITPIX"] == -32
        assert not {"BZERO", "BSCALE", "BLANK"} & set(header)
        assert any("GAIN describe" in line for line in header["HISTORY"])

    def test_pixels_and_checksums(self, sky, tmp_path):
        store, values = restored(tmp_path, sky)
        out = export(store, tmp_path / "out.fits")
        # a wrong CHECKSUM or DATASUM is a warning, and warnings are errors here
        with fits.open(out, checksum=True) as hdus:
            np.testing.assert_array_equal(hdus[0].data, values)
            hdus.verify("exception")
            assert hdus[0].verify_checksum() == 1
            assert hdus[0].verify_datasum() == 1
        assert out.stat().st_size % 2880 == 0

    @pytest.mark.parametrize(("scale", "level"), [(2, 0), (4, 0), (1, 1), (4, 1), (2, 3)])
    def test_wcs_follows_the_pixels(self, sky, tmp_path, scale, level):
        store = make_store(
            tmp_path,
            np.zeros((70 * scale, 90 * scale), "f4"),
            _metadata(sky),
            levels=4,
            scale=scale,
        )
        header = fits.getheader(export(store, tmp_path / "out.fits", level))
        y, x = np.mgrid[0:70:9, 0:90:9]
        world = WCS(fits.getheader(sky)).pixel_to_world_values(x, y)
        there = WCS(header).world_to_pixel_values(*world)
        factor = scale / 2**level
        np.testing.assert_allclose(there[0], factor * (x + 0.5) - 0.5, atol=1e-6)
        np.testing.assert_allclose(there[1], factor * (y + 0.5) - 0.5, atol=1e-6)
        assert ("DATASEC" in header) == (factor == 1)
        assert header["NAXIS1"] == -(-90 * scale // 2**level)

    def test_extension_becomes_primary(self, tmp_path):
        primary = fits.PrimaryHDU()
        primary.header["TELESCOP"] = ("Zeiss", "of the file")
        primary.header["FILTER"] = "primary's"
        image = fits.ImageHDU(np.ones((8, 9), "i2"), name="SCI", ver=2)
        image.header["INHERIT"] = True
        image.header["FILTER"] = "own"
        fits.HDUList([primary, image]).writeto(tmp_path / "mef.fits")
        store, _ = restored(tmp_path, tmp_path / "mef.fits")
        header = fits.getheader(export(store, tmp_path / "out.fits"), 0)
        assert not {"XTENSION", "PCOUNT", "GCOUNT", "EXTNAME", "EXTVER", "INHERIT"} & set(header)
        assert (header["TELESCOP"], header["FILTER"]) == ("Zeiss", "own")
        assert any("HDU 1 SCI" in line for line in header["HISTORY"])

    @pytest.mark.parametrize("inherit", [None, True])
    @pytest.mark.parametrize("own", [None, "  ", "electron"])
    def test_the_unit_of_the_primary_header_comes_once(self, tmp_path, own, inherit):
        primary = fits.PrimaryHDU()
        primary.header["BUNIT"] = ("adu", "of every chip")
        image = fits.ImageHDU(np.ones((8, 9), "i2"))
        for key, value in (("BUNIT", own), ("INHERIT", inherit)):
            if value is not None:
                image.header[key] = value
        fits.HDUList([primary, image]).writeto(tmp_path / "mef.fits")
        source = open_source(SourceSpec(tmp_path / "mef.fits"))
        source.close()
        pixels = np.ones((8, 9), "f4")
        store = make_store(tmp_path, pixels, source.metadata, unit=source.unit)
        header = fits.getheader(export(store, tmp_path / "out.fits"), 0)
        expected = "electron" if own == "electron" else "adu"
        assert [card.value for card in header.cards if card.keyword == "BUNIT"] == [expected]

    def test_numbers_that_cannot_be_scaled_stay(self, tmp_path):
        """Each of these ended in an OverflowError or in a card that is no FITS."""
        path = tmp_path / "odd.fits"
        fits.writeto(path, np.zeros((4, 4), "f4"))
        raw = path.read_bytes()
        end = b"END".ljust(80)
        at = raw.index(end)
        odd = b"".join(
            card.ljust(80)
            for card in (
                b"CTYPE1  = 'RA---TAN'",
                b"CRPIX1  = 12,5",
                b"IMAGEH  = 1.7E308",
                b"CD2_2   = 1E999",
                b"LTV1    = 'abc'",
                b"A_999_99= 3",
            )
        )
        path.write_bytes(raw[:at] + odd + end + raw[at + len(odd) + 80 :])
        store, _ = restored(tmp_path, path, scale=4)
        header = export(store, tmp_path / "out.fits").read_bytes()[:5760]
        for start in range(0, len(odd), 80):
            assert odd[start : start + 80] in header

    def test_compressed_input_leaves_no_trace_of_its_encoding(self, tmp_path):
        data = np.arange(64 * 64, dtype="i2").reshape(64, 64)
        fits.CompImageHDU(data, compression_type="RICE_1").writeto(tmp_path / "c.fits")
        store, values = restored(tmp_path, tmp_path / "c.fits")
        out = export(store, tmp_path / "out.fits")
        header = fits.getheader(out, 0)
        assert not [key for key in header if key.startswith("Z") or key == "XTENSION"]
        np.testing.assert_array_equal(fits.getdata(out), values)

    @pytest.mark.parametrize("shape", [(1, 1, 6, 7), (1, 5, 6, 7), (5, 6, 7), (1, 6, 7)])
    def test_axes_of_length_one_come_back(self, tmp_path, shape):
        data = np.random.default_rng(0).normal(size=shape).astype("f4")
        fits.writeto(tmp_path / "cube.fits", data)
        store, _ = restored(tmp_path, tmp_path / "cube.fits")
        np.testing.assert_array_equal(fits.getdata(export(store, tmp_path / "out.fits")), data)

    def test_cards_that_break_the_rules_are_copied(self, tmp_path):
        path = tmp_path / "odd.fits"
        fits.writeto(path, np.zeros((4, 4), "f4"))
        raw = path.read_bytes()
        end = raw.index(b"END" + b" " * 77)
        odd = b"BADCARD this has no value indicator".ljust(80) + b"lower   = 1.0d5".ljust(80)
        path.write_bytes(raw[:end] + odd + raw[end : 2880 - len(odd)] + raw[2880:])
        store, _ = restored(tmp_path, path)
        assert odd in export(store, tmp_path / "out.fits").read_bytes()

    def test_integer_and_colour_results(self, tmp_path):
        pixels = np.random.default_rng(0).integers(0, 2**31, (3, 40, 50), dtype="u4")
        store = make_store(tmp_path, pixels, {"tiff": {}})
        data = fits.getdata(export(store, tmp_path / "out.fits"))
        assert data.dtype == ">f8"
        np.testing.assert_array_equal(data, pixels)

    def test_flux_factor_and_partial_runs_are_stated(self, sky, tmp_path):
        store = make_store(
            tmp_path,
            np.zeros((140, 180), "f4"),
            _metadata(sky),
            scale=2,
            flux_factor=0.25,
            status="partial",
        )
        history = " ".join(fits.getheader(export(store, tmp_path / "out.fits"))["HISTORY"])
        assert "multiplied by 0.25" in history
        assert "partial" in history


def _metadata(path):
    source = open_source(SourceSpec(path))
    source.close()
    return source.metadata


class TestTiff:
    def test_profile_resolution_and_tags_come_back(self, tmp_path):
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

    @pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "f4", "u8"])
    @pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
    def test_every_type_and_number_of_channels(self, tmp_path, dtype, channels):
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

    def test_odd_bit_depths_stay(self, tmp_path):
        data = np.random.default_rng(0).integers(0, 4096, (30, 40), dtype="u2")
        tifffile.imwrite(tmp_path / "in.tif", data, bitspersample=12)
        store, _ = restored(tmp_path, tmp_path / "in.tif")
        with tifffile.TiffFile(export(store, tmp_path / "out.tif")) as tiff:
            assert tiff.pages[0].bitspersample == 12
            np.testing.assert_array_equal(tiff.pages[0].asarray(), data)

    def test_geography_follows_the_pixels(self, tmp_path):
        tags = [
            (33550, 12, 3, (10.0, 20.0, 0.0), True),
            (33922, 12, 6, (4.0, 8.0, 0.0, 500.0, 600.0, 0.0), True),
        ]
        tifffile.imwrite(tmp_path / "in.tif", np.zeros((20, 20), "u1"), extratags=tags)
        store, _ = restored(tmp_path, tmp_path / "in.tif", scale=2)
        with tifffile.TiffFile(export(store, tmp_path / "out.tif")) as tiff:
            assert tiff.pages[0].tags[33550].value == (5.0, 10.0, 0.0)
            assert tiff.pages[0].tags[33922].value == (8.0, 16.0, 0.0, 500.0, 600.0, 0.0)

    def test_sky_as_tiff(self, sky, tmp_path):
        store, values = restored(tmp_path, sky)
        np.testing.assert_array_equal(tifffile.imread(export(store, tmp_path / "out.tiff")), values)


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("out.fits.gz", "pack it afterwards"),
            ("out.png", "choose one of"),
            ("out", "choose one of"),
            ("no/out.fits", "no folder"),
        ],
    )
    def test_names(self, tmp_path, name, why):
        with pytest.raises(UsageError, match=why):
            export(make_store(tmp_path, np.zeros((4, 4), "f4"), {}), tmp_path / name)

    def test_levels(self, tmp_path):
        with pytest.raises(UsageError, match=r"--level 2: .* has levels 0 to 1"):
            export(
                make_store(tmp_path, np.zeros((8, 8), "f4"), {}, levels=2), tmp_path / "a.fits", 2
            )

    def test_no_result(self, tmp_path):
        with pytest.raises(StoreError, match="not a glassplate result"):
            export(tmp_path / "none.zarr", tmp_path / "a.fits")

    @pytest.mark.parametrize("name", ["a.fits", "a.tif"])
    def test_only_exports_are_replaced(self, tmp_path, name):
        store = make_store(tmp_path, np.ones((8, 8), "f4"), {})
        target = tmp_path / name
        foreign = tmp_path / f"foreign{target.suffix}"
        if target.suffix == ".fits":
            fits.writeto(foreign, np.zeros((3, 3)))
        else:
            tifffile.imwrite(foreign, np.zeros((3, 3), "u1"))
        before = foreign.read_bytes()
        with pytest.raises(
            UsageError, match="exists and was not made by glassplate; choose another name"
        ):
            export(store, foreign)
        assert foreign.read_bytes() == before
        assert export(store, target) == export(store, target) == target
        assert is_export(target)
        assert not is_export(foreign)

    def test_a_pipe_is_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "a.fits")
        with pytest.raises(UsageError, match="exists and was not made by glassplate"):
            export(make_store(tmp_path, np.ones((8, 8), "f4"), {}), tmp_path / "a.fits")

    def test_a_header_without_end_is_not_read_for_ever(self, tmp_path):
        with (tmp_path / "a.fits").open("wb") as file:
            file.write(b"SIMPLE  =")
            file.truncate(1 << 40)  # sparse: read whole it would take an hour
        assert not is_export(tmp_path / "a.fits")

    @pytest.mark.parametrize("suffix", [".fits", ".tif"])
    def test_what_cannot_be_carried_over_is_said_in_one_line(self, tmp_path, monkeypatch, suffix):
        def fails(image, path):
            raise KeyError("CTYPE1")

        monkeypatch.setitem(export_writers, suffix, fails)
        with pytest.raises(StoreError, match=r"cannot be carried over: KeyError: 'CTYPE1'; the"):
            export(make_store(tmp_path, np.ones((8, 8), "f4"), {}), tmp_path / f"a{suffix}")
        assert not list(tmp_path.glob("*a.*"))

    def test_failure_leaves_nothing(self, tmp_path, monkeypatch):
        store = make_store(tmp_path, np.ones((8, 8), "f4"), {})

        def fail(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("glassplate.pipeline.export.fits._write_header", fail)
        with pytest.raises(Exception, match="the disk is full"):
            export(store, tmp_path / "a.fits")
        assert sorted(p.name for p in tmp_path.iterdir()) == ["out.zarr"]


@pytest.mark.parametrize("seed", range(20))
def test_checksum_makes_the_sum_minus_zero(seed):
    rng = np.random.default_rng(seed)
    data = rng.bytes(2880 - 80)
    card = "CHECKSUM= '{}'".format("0" * 16).ljust(80).encode()
    total = OnesComplementSum()
    total.add(data + card)
    whole = OnesComplementSum()
    whole.add(data + card.replace(b"0" * 16, encoded_checksum(total.value).encode()))
    assert whole.value == 2**32 - 1


@pytest.mark.parametrize("suffix", ["fits", "tif"])
def test_memory_does_not_grow_with_the_image(tmp_path, suffix):
    """8000 x 8000 float32 are 244 MiB; exporting them takes a few blocks more than 500 x 500."""
    group = zarr.create_group(tmp_path / "big.zarr", attributes={"glassplate": RUN})
    group.create_array(
        "0", shape=(8000, 8000), dtype="f4", chunks=(256, 256), shards=(2048, 2048), fill_value=1.5
    )
    group = zarr.create_group(tmp_path / "small.zarr", attributes={"glassplate": RUN})
    group.create_array(
        "0", shape=(500, 500), dtype="f4", chunks=(256, 256), shards=(512, 512), fill_value=1.5
    )
    ended(tmp_path / "big.zarr")
    ended(tmp_path / "small.zarr")
    code = textwrap.dedent(
        """
        import resource, sys
        from pathlib import Path
        from glassplate.pipeline.export.export import export
        peaks = []
        for name in ("small", "big"):
            export(Path(sys.argv[1]) / f"{name}.zarr", Path(sys.argv[1]) / f"{name}.{sys.argv[2]}")
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
        print(peaks[1] - peaks[0])
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path, suffix], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 100
