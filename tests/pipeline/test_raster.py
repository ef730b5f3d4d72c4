"""PNG and JPEG sources: decoded once, with their profile and resolution."""

import base64
import struct
import zlib

import imagecodecs
import numpy as np
import pytest

from glassplate.pipeline.errors import SourceError, UsageError
from glassplate.pipeline.open_source import describe, open_source
from glassplate.pipeline.source import SourceSpec
from glassplate.pipeline.tiles import Box

PROFILE = bytes(range(256)) * 3


def picture(channels, dtype="u1"):
    y, x = np.mgrid[0:40, 0:50]
    planes = [(y * (c + 1) + x * 2) * (1 if dtype == "u1" else 257) for c in range(channels)]
    data = np.stack(planes, axis=2).astype(dtype)
    return data[:, :, 0] if channels == 1 else data


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def read(path, **spec):
    source = open_source(SourceSpec(path, **spec))
    try:
        return source, source.read(Box(0, source.shape[1], 0, source.shape[2]))
    finally:
        source.close()


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png(tmp_path, channels, dtype):
    data = picture(channels, dtype)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(data))
    source, pixels = read(tmp_path / "a.png")
    expected = data[None] if channels == 1 else np.moveaxis(data, -1, 0)
    alpha = channels in (2, 4)
    colours = expected[:-1] if alpha else expected
    np.testing.assert_array_equal(pixels.values, colours)
    assert (source.alpha is not None) == alpha
    if alpha:
        np.testing.assert_array_equal(pixels.hidden, expected[-1] == 0)
        np.testing.assert_array_equal(
            pixels.valid, np.broadcast_to(expected[-1] != 0, colours.shape)
        )
    assert source.format == "png"
    assert source.dtype == source.output_dtype == source.info.dtype == np.dtype(dtype)
    assert source.info.shape == ((40, 50) if channels == 1 else (channels, 40, 50))
    assert source.resident_bytes == data.nbytes


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg(tmp_path, channels):
    raw = imagecodecs.jpeg_encode(picture(channels), level=95)
    (tmp_path / "a.jpg").write_bytes(raw)
    source, pixels = read(tmp_path / "a.jpg")
    decoded = imagecodecs.jpeg_decode(raw)
    np.testing.assert_array_equal(
        pixels.values, decoded[None] if channels == 1 else np.moveaxis(decoded, -1, 0)
    )
    assert source.format == "jpeg"
    assert source.info.shape == pixels.values.shape[-2 if channels == 1 else -3 :]


def test_png_profile_and_resolution(tmp_path):
    raw = imagecodecs.png_encode(picture(3))
    extra = chunk(b"iCCP", b"name\0\0" + zlib.compress(PROFILE)) + chunk(
        b"pHYs", struct.pack(">IIB", 11811, 11812, 1)
    )
    (tmp_path / "a.png").write_bytes(raw[:33] + extra + raw[33:])
    source, _ = read(tmp_path / "a.png")
    found = source.metadata["raster"]
    assert base64.b64decode(found["icc"]) == PROFILE
    assert found["resolution"] == [[11811, 100], [11812, 100]]
    assert found["resolution_unit"] == 3


def test_jpeg_profile_and_resolution(tmp_path):
    raw = imagecodecs.jpeg_encode(picture(3))
    parts = [PROFILE[:500], PROFILE[500:]]
    jfif = b"\xff\xe0\x00\x10JFIF\0\x01\x01\x01" + struct.pack(">HH", 300, 301) + b"\0\0"
    extra = b"".join(
        b"\xff\xe2" + struct.pack(">H", 16 + len(part)) + b"ICC_PROFILE\0" + bytes([n, 2]) + part
        for n, part in ((2, parts[1]), (1, parts[0]))
    )
    (tmp_path / "a.jpg").write_bytes(raw[:2] + jfif + extra + raw[2:])
    source, _ = read(tmp_path / "a.jpg")
    found = source.metadata["raster"]
    assert base64.b64decode(found["icc"]) == PROFILE
    assert found["resolution"][0] in ([300, 1], [1, 1])
    assert found["resolution_unit"] == 2


class TestRefusals:
    @pytest.mark.parametrize("kind", ["png", "jpg"])
    @pytest.mark.parametrize("keep", [0.3, 0.95])
    def test_truncated(self, tmp_path, kind, keep):
        data = np.random.default_rng(0).integers(0, 256, (80, 90, 3), dtype="u1")
        raw = imagecodecs.png_encode(data) if kind == "png" else imagecodecs.jpeg_encode(data)
        path = tmp_path / f"a.{kind}"
        path.write_bytes(raw[: int(len(raw) * keep)])
        with pytest.raises(SourceError, match=rf"{path}: truncated"):
            open_source(SourceSpec(path))

    @pytest.mark.parametrize("kind", ["png", "jpg"])
    def test_cut_header(self, tmp_path, kind):
        raw = (
            imagecodecs.png_encode(picture(3))
            if kind == "png"
            else imagecodecs.jpeg_encode(picture(3))
        )
        (tmp_path / f"a.{kind}").write_bytes(raw[:18])
        with pytest.raises(SourceError, match=r"damaged .* header"):
            describe(tmp_path / f"a.{kind}")

    def test_palette_and_one_bit(self, tmp_path):
        palette = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 3, 0, 0, 0)) + chunk(
            b"PLTE", bytes(9)
        )
        pixels = chunk(b"IDAT", zlib.compress(bytes(9 * 8))) + chunk(b"IEND", b"")
        path = tmp_path / "a.png"
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + palette + pixels)
        with pytest.raises(SourceError, match="palette"):
            open_source(SourceSpec(path))
        bits = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 1, 0, 0, 0, 0))
        path.write_bytes(
            b"\x89PNG\r\n\x1a\n"
            + bits
            + chunk(b"IDAT", zlib.compress(bytes(2 * 8)))
            + chunk(b"IEND", b"")
        )
        with pytest.raises(SourceError, match="1 bit per pixel"):
            open_source(SourceSpec(path))
        assert not describe(path)["images"][0]["restorable"]

    def test_too_large_to_decode(self, tmp_path):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", 50000, 50000, 8, 2, 0, 0, 0))
        (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b""))
        with pytest.raises(SourceError, match=r"decodes to 7\.0 GiB"):
            open_source(SourceSpec(tmp_path / "a.png"))

    def test_hdu_and_page_do_not_apply(self, tmp_path):
        (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(picture(1)))
        with pytest.raises(UsageError, match="do not apply to PNG"):
            open_source(SourceSpec(tmp_path / "a.png", page=0))
