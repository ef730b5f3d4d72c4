"""Results as JPEG 2000: without loss, with their metadata, read by two libraries."""

import base64
import struct

import imagecodecs
import numpy as np
import pytest
import tifffile
from exported import ended, make_store, restored
from PIL import Image

from glassplate.pipeline.errors import CapacityError, UsageError
from glassplate.pipeline.export import jpeg2000
from glassplate.pipeline.export.export import export
from glassplate.pipeline.export.own_files import is_export
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box


def pixels(channels, dtype="u1", most=256):
    data = np.random.default_rng(channels).integers(0, most, (channels, 40, 50)).astype(dtype)
    return data[0] if channels == 1 else data


@pytest.mark.parametrize(
    ("channels", "dtype", "bits"),
    [(1, "u1", 8), (3, "u1", 8), (4, "u1", 8), (1, "u2", 12), (3, "u2", 16), (1, "i2", 16)],
)
def test_pixels(tmp_path, channels, dtype, bits):
    data = pixels(channels, dtype, 2 ** (bits - (dtype == "i2")))
    found = {"photometric": 2 if channels > 2 else 1, "bits_per_sample": bits}
    if channels == 4:
        found["extra_samples"] = [2]
    target = export(make_store(tmp_path, data, {"tiff": found}), tmp_path / "a.jp2")
    decoded = imagecodecs.jpeg2k_decode(target.read_bytes())
    expected = data if channels == 1 else np.moveaxis(data, 0, -1)
    np.testing.assert_array_equal(decoded, expected)
    source = open_source(SourceSpec(target))
    np.testing.assert_array_equal(
        source.read(Box(0, 40, 0, 50)).values, data.reshape(-1, 40, 50)[:3]
    )
    assert (source.alpha is not None) == (channels == 4)
    source.close()
    if bits == 8:
        with Image.open(target) as image:
            np.testing.assert_array_equal(np.asarray(image), expected)
    assert is_export(target)
    export(tmp_path / "out.zarr", target)  # may be replaced


def test_metadata(tmp_path):
    profile = bytes(range(200))
    geography = [(33550, 12, 3, (10.0, 20.0, 0.0), True)]
    iptc = [(33723, 7, 5, b"\x1c\x02\x00\x00\x02", True)]
    tifffile.imwrite(
        tmp_path / "a.tif",
        pixels(1),
        resolution=(300, 150),
        resolutionunit="INCH",
        iccprofile=profile,
        extratags=geography + iptc,
        metadata=None,
    )
    store, _ = restored(tmp_path, tmp_path / "a.tif", scale=2)
    ended(store, recipe={"task": "denoise"})
    source = open_source(SourceSpec(export(store, tmp_path / "b.jp2")))
    source.close()
    found = source.metadata["raster"]
    assert base64.b64decode(found["icc"]) == profile
    ratios = [n / d * 2.54 for n, d in found["resolution"]]
    assert ratios == pytest.approx([600, 300], rel=1e-4)
    tags = {tag[0]: tag[4] for tag in found["tags"]}
    assert tags[33550] == [5.0, 10.0, 0.0]
    assert b"algorithmicallyEnhanced" in base64.b64decode(tags[700]["base64"])
    assert base64.b64decode(tags[33723]["base64"]) == b"\x1c\x02\x00\x00\x02"


def test_boxes_are_in_their_order(tmp_path):
    """As a validator of JP2 wants it: signature, file type, header with its size first, codestream."""
    raw = export(make_store(tmp_path, pixels(3), {}), tmp_path / "a.jp2").read_bytes()
    assert raw.startswith(b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 ")
    kinds, at = [], 0
    while at < len(raw):
        size, kind = struct.unpack_from(">I4s", raw, at)
        kinds.append(kind)
        at += size
    assert kinds == [b"jP  ", b"ftyp", b"jp2h", b"xml ", b"jp2c"]
    assert at == len(raw)
    assert raw[32 + 12 : 32 + 16] == b"ihdr"


@pytest.mark.parametrize(
    ("data", "found", "message"),
    [
        (pixels(1, "f4"), {}, "pixels are float32, JPEG 2000 holds integers of 16 bits at most"),
        (pixels(1, "u4"), {}, "pixels are uint32"),
        (pixels(4), {"photometric": 5}, "4 planes that are neither one grey nor one RGB image"),
        (pixels(2), {"photometric": 1, "pages": 2}, "2 planes that are neither one grey"),
    ],
)
def test_refusals(tmp_path, data, found, message):
    store = make_store(tmp_path, data, {"tiff": found})
    with pytest.raises(UsageError, match=message):
        export(store, tmp_path / "a.jp2")


def test_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(jpeg2000, "SEGMENT_LIMIT_BYTES", 1000)
    with pytest.raises(CapacityError, match="with --pyramid if it is to be served"):
        export(make_store(tmp_path, pixels(3), {}), tmp_path / "a.jp2")
