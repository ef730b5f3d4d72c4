"""Checksums of FITS files are compared with what is read."""

import gzip
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from runs import COPY, request

from glassplate.pipeline.events import Warned
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.run.restore import restore
from glassplate.pipeline.sources.fits.scan import spans
from glassplate.pipeline.sources.fits.stored_checksums import checksum_warnings
from glassplate.pipeline.sources.source import SourceSpec

PIXELS = np.arange(70 * 50, dtype="i2").reshape(50, 70)


@pytest.fixture
def path(tmp_path):
    image = fits.CompImageHDU(PIXELS, name="TILES", compression_type="RICE_1")
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(PIXELS, name="SCI"), image]
    fits.HDUList(hdus).writeto(tmp_path / "a.fits", checksum=True)
    return tmp_path / "a.fits"


def damage(path, index, *, header=False):
    span = list(spans(path))[index]
    raw = bytearray(path.read_bytes())
    raw[span.end_card - 1 if header else span.end - 3] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize("hdu", [None, "SCI", "TILES"])
def test_whole_files_give_no_warning(path, hdu):
    assert checksum_warnings(SourceSpec(path, hdu=hdu)) == ()


@pytest.mark.parametrize(("hdu", "index"), [("SCI", 1), ("TILES", 2)])
def test_changed_data_are_named(path, hdu, index):
    damage(path, index)
    (warning,) = checksum_warnings(SourceSpec(path, hdu=hdu))
    assert warning.startswith(f"a.fits, HDU {index} {hdu}: CHECKSUM and DATASUM wrong")
    assert checksum_warnings(SourceSpec(path, hdu="SCI" if index == 2 else "TILES")) == ()


def test_a_changed_header_is_named(path):
    damage(path, 1, header=True)
    (warning,) = checksum_warnings(SourceSpec(path, hdu="SCI"))
    assert "SCI: CHECKSUM wrong" in warning


def test_those_of_companions_are_compared(path):
    damage(path, 2)
    image = path.with_name("b.fits")
    fits.writeto(image, PIXELS)
    spec = replace(SourceSpec(image), mask=path.with_name("a.fits[TILES]"))
    assert ["HDU 2 TILES" in warning for warning in checksum_warnings(spec)] == [True]


def test_packed_files_and_files_without_padding(path, monkeypatch, tmp_path):
    monkeypatch.setenv("GLASSPLATE_SCRATCH", str(tmp_path / "scratch"))
    damage(path, 1)
    packed = path.with_name("a.fits.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert len(checksum_warnings(SourceSpec(packed, hdu="SCI"))) == 1
    fits.writeto(tmp_path / "c.fits", PIXELS, checksum=True)
    (span,) = spans(tmp_path / "c.fits")
    (tmp_path / "c.fits").write_bytes((tmp_path / "c.fits").read_bytes()[: span.end])
    assert checksum_warnings(SourceSpec(tmp_path / "c.fits")) == ()


@pytest.mark.parametrize("blank", ["", "not calculated"])
def test_blank_ones_are_ignored(tmp_path, blank):
    header = fits.Header({"DATASUM": blank, "CHECKSUM": ""})
    fits.PrimaryHDU(PIXELS, header).writeto(tmp_path / "a.fits")
    assert checksum_warnings(SourceSpec(tmp_path / "a.fits")) == ()


def test_a_run_warns(path, tmp_path):
    damage(path, 1)
    events = []
    spec = SourceSpec(path, hdu="SCI")
    restore(request(spec, tmp_path / "o.zarr", COPY), InlinePool(), events.append)
    assert any("HDU 1 SCI" in event.message for event in events if isinstance(event, Warned))
