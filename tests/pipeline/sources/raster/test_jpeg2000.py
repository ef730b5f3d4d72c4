"""JPEG 2000 as files of its own and within TIFF."""

import base64
import struct

import imagecodecs
import numpy as np
import pytest
import tifffile

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.sources.describe import describe
from glassplate.pipeline.sources.source import SourceSpec, white_of
from glassplate.pipeline.tile_grid import Box


def picture(channels=3, dtype="u1", most=256):
    rng = np.random.default_rng(channels)
    data = rng.integers(0, most, (40, 50, channels)).astype(dtype)
    return data[..., 0] if channels == 1 else data


def encoded(data, form="jp2", **more):
    return imagecodecs.jpeg2k_encode(data, level=0, reversible=True, codecformat=form, **more)


def box(kind, content):
    return struct.pack(">I4s", 8 + len(content), kind) + content


def with_boxes(raw, header=b"", after=b""):
    """A JP2 with further boxes in its header and before its codestream."""
    at = raw.index(b"jp2h") - 4
    (size,) = struct.unpack_from(">I", raw, at)
    jp2h = box(b"jp2h", raw[at + 8 : at + size] + header)
    return raw[:at] + jp2h + after + raw[at + size :]


def read(path):
    source = open_source(SourceSpec(path))
    try:
        return source, source.read(Box(0, source.shape[1], 0, source.shape[2]))
    finally:
        source.close()


@pytest.mark.parametrize("form", ["jp2", "j2k"])
@pytest.mark.parametrize(
    ("channels", "dtype", "bits"), [(1, "u1", 8), (3, "u1", 8), (3, "u2", 12), (1, "u2", 16)]
)
def test_pixels(tmp_path, form, channels, dtype, bits):
    data = picture(channels, dtype, 2**bits)
    path = tmp_path / f"a.{form}"
    path.write_bytes(encoded(data, form, bitspersample=bits))
    source, pixels = read(path)
    expected = data[None] if channels == 1 else np.moveaxis(data, -1, 0)
    np.testing.assert_array_equal(pixels.values, expected)
    assert (source.format, source.dtype) == ("jpeg2000", np.dtype(dtype))
    assert white_of(source) == 2**bits - 1
    assert describe(path)["images"][0]["shape"] == expected.shape[-2 if channels == 1 else -3 :]


def test_metadata(tmp_path):
    profile, xmp = bytes(range(256)), b"<x:xmpmeta/>"
    exif = b"II*\0\x08\0\0\0\1\0\x0f\1\2\0\4\0\0\0ABC\0\0\0\0\0"
    resolution = box(b"res ", box(b"resc", struct.pack(">HHHHbb", 300, 254, 150, 254, 4, 4)))
    uuids = [
        (bytes.fromhex("be7acfcb97a942e89c71999491e3afac"), xmp),
        (b"JpgTiffExif->JP2", exif),
    ]
    raw = with_boxes(
        encoded(picture()),
        box(b"colr", b"\2\0\0" + profile) + resolution,
        b"".join(box(b"uuid", name + content) for name, content in uuids),
    )
    (tmp_path / "a.jp2").write_bytes(raw)
    found = read(tmp_path / "a.jp2")[0].metadata["raster"]
    assert base64.b64decode(found["icc"]) == profile
    assert {tag[0]: tag[4] for tag in found["tags"]}[271] == "ABC"
    assert base64.b64decode({tag[0]: tag[4] for tag in found["tags"]}[700]["base64"]) == xmp
    x, y = (n / d * 2.54 for n, d in found["resolution"])
    assert (x, y) == pytest.approx((150, 300))
    assert found["resolution_unit"] == 3


def test_alpha_is_what_the_file_calls_alpha(tmp_path):
    raw = encoded(picture(4))
    (tmp_path / "plain.jp2").write_bytes(raw)
    channels = b"".join(struct.pack(">HHH", n, n == 3, 0 if n == 3 else n + 1) for n in range(4))
    alpha = with_boxes(raw, box(b"cdef", struct.pack(">H", 4) + channels))
    (tmp_path / "alpha.jp2").write_bytes(alpha)
    assert read(tmp_path / "plain.jp2")[0].shape[0] == 4
    source, _ = read(tmp_path / "alpha.jp2")
    assert source.shape[0] == 3
    assert source.alpha is not None


@pytest.mark.parametrize("keep", [0.02, 0.5, 0.999])
@pytest.mark.parametrize("form", ["jp2", "j2k"])
def test_truncated(tmp_path, keep, form):
    raw = encoded(picture(), form)
    path = tmp_path / "a.jp2"
    path.write_bytes(raw[: int(keep * len(raw))])
    with pytest.raises(SourceError, match=r"a\.jp2: (truncated or )?damaged JPEG 2000"):
        open_source(SourceSpec(path))


@pytest.mark.parametrize("compression", ["jpeg2000", "jpeg_2000_lossy"])
def test_within_tiff(tmp_path, compression):
    data = picture(3, "u2", 65536)
    path = tmp_path / "a.tif"
    options = {"reversible": True} if compression == "jpeg2000" else {}
    try:
        tifffile.imwrite(
            path,
            data,
            photometric="rgb",
            tile=(32, 32),
            compression=compression,
            compressionargs={"level": 0, **options},
        )
    except (KeyError, ValueError):
        pytest.skip("this tifffile does not write it")
    np.testing.assert_array_equal(read(path)[1].values, np.moveaxis(data, -1, 0))
