"""WebP and JPEG XL."""

import base64
import io
import struct

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from glassplate.pipeline.errors import SourceError, UsageError
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.sources.describe import describe
from glassplate.pipeline.sources.raster.jpegxl import size_of
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box

EXIF = b"II*\0\x08\0\0\0\2\0\x0f\1\2\0\4\0\0\0ABC\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"


def picture(channels, dtype="u1"):
    rng = np.random.default_rng(channels)
    data = rng.integers(1, np.iinfo(dtype).max, (40, 50, channels)).astype(dtype)
    return data[..., 0] if channels == 1 else data


def read(path):
    source = open_source(SourceSpec(path))
    try:
        return source, source.read(Box(0, source.shape[1], 0, source.shape[2])).values
    finally:
        source.close()


@pytest.mark.parametrize("channels", [3, 4])
def test_webp(tmp_path, channels):
    data, stream = picture(channels), io.BytesIO()
    profile = bytes(range(200))
    Image.fromarray(data).save(stream, "webp", lossless=True, exif=EXIF, icc_profile=profile)
    (tmp_path / "a.webp").write_bytes(stream.getvalue())
    source, values = read(tmp_path / "a.webp")
    np.testing.assert_array_equal(values, np.moveaxis(data, -1, 0)[:3])
    assert (source.alpha is not None) == (channels == 4)
    found = source.metadata["raster"]
    assert base64.b64decode(found["icc"]) == profile
    assert {tag[0]: tag[4] for tag in found["tags"]}[271] == "ABC"


def test_of_an_animation_the_first_frame_is_read(tmp_path):
    frames = [Image.fromarray(picture(3) // n) for n in (1, 2)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    note = describe(tmp_path / "a.webp")["images"][0]["note"]
    assert note == "an animation of 2 frames, of which the first is read"
    np.testing.assert_array_equal(read(tmp_path / "a.webp")[1], np.moveaxis(picture(3), -1, 0))


@pytest.mark.parametrize("container", [False, True])
@pytest.mark.parametrize(("channels", "dtype"), [(1, "u1"), (3, "u1"), (3, "u2"), (4, "u1")])
def test_jpeg_xl(tmp_path, channels, dtype, container):
    data = picture(channels, dtype)
    raw = imagecodecs.jpegxl_encode(data, lossless=True, usecontainer=container)
    if container:
        block = bytes(4) + EXIF
        raw += struct.pack(">I4s", 8 + len(block), b"Exif") + block
    (tmp_path / "a.jxl").write_bytes(raw)
    source, values = read(tmp_path / "a.jxl")
    expected = data[None] if channels == 1 else np.moveaxis(data, -1, 0)
    np.testing.assert_array_equal(values, expected[:3])
    assert source.format == "jpegxl"
    tags = {tag[0]: tag[4] for tag in source.metadata["raster"]["tags"]}
    # the decoder has turned the pixels already
    assert tags == ({271: "ABC"} if container else {})


@given(st.integers(1, 3000), st.integers(1, 3000))
@settings(max_examples=15)
def test_the_size_is_found_before_decoding(height, width):
    raw = imagecodecs.jpegxl_encode(np.zeros((height, width), "u1"), lossless=True, effort=1)
    assert size_of(raw) == (width, height)


@pytest.mark.parametrize("kind", ["webp", "jxl"])
@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_truncated(tmp_path, kind, keep):
    encode = imagecodecs.webp_encode if kind == "webp" else imagecodecs.jpegxl_encode
    raw = encode(picture(3), lossless=True)
    path = tmp_path / f"a.{kind}"
    path.write_bytes(raw[: int(keep * len(raw))])
    with pytest.raises(SourceError, match=r"damaged (WebP|JPEG XL)"):
        open_source(SourceSpec(path))
    with pytest.raises(UsageError, match="do not apply"):
        open_source(SourceSpec(path, page=0))
