"""Palettes, one bit per pixel, and pages in which white is 0 are read as a person sees them."""

import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image
from runs import COPY, level0, request

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.run.restore import restore
from glassplate.pipeline.sources.describe import describe
from glassplate.pipeline.sources.source import SourceSpec, white_of
from glassplate.pipeline.tile_grid import Box


def seen(path, box=None, channels=None, **spec):
    """Values ``(c, h, w)`` and the source they come from."""
    source = open_source(SourceSpec(path, **spec))
    try:
        _, h, w = source.shape
        return source.read(box or Box(0, h, 0, w), channels).values, source
    finally:
        source.close()


def by_pillow(path, mode):
    with Image.open(path) as image:
        pixels = np.asarray(image.convert(mode))
    return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)


@pytest.mark.parametrize(
    ("bits", "layout"), [(4, {}), (8, {}), (8, {"tile": (16, 32)}), (8, {"compression": "zlib"})]
)
@pytest.mark.parametrize("grey", [False, True])
def test_palettes_become_their_colours(tmp_path, bits, grey, layout):
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (1 if grey else 3, 2**bits), dtype="u2") * 257
    indices = rng.integers(0, 2**bits, (40, 50), dtype="u1")
    path = tmp_path / "a.tif"
    table = np.broadcast_to(colours, (3, 2**bits))
    if bits == 4:
        tags = [(320, 3, table.size, table.ravel().tolist(), True)]
        tifffile.imwrite(path, indices, bitspersample=4, extratags=tags, metadata=None)
        with tifffile.TiffFile(path, mode="r+") as tiff:
            tiff.pages[0].tags[262].overwrite(3)
    else:
        tifffile.imwrite(path, indices, colormap=table, photometric="palette", **layout)
    values, source = seen(path)
    np.testing.assert_array_equal(values, by_pillow(path, "L" if grey else "RGB"))
    assert source.metadata["tiff"]["photometric"] == (1 if grey else 2)
    assert "a palette is read as its" in describe(path)["images"][0]["note"]
    part, _ = seen(path, Box(3, 20, 7, 41), (0, 1))
    np.testing.assert_array_equal(part, values[:1, 3:20, 7:41])


def test_a_palette_of_sixteen_bits_keeps_them(tmp_path):
    colours = np.random.default_rng(0).integers(0, 65536, (3, 256), dtype="u2")
    indices = np.arange(240, dtype="u1").reshape(12, 20)
    tifffile.imwrite(tmp_path / "a.tif", indices, photometric="palette", colormap=colours)
    values, source = seen(tmp_path / "a.tif")
    assert source.dtype == np.uint16
    np.testing.assert_array_equal(values, colours[:, indices])


def test_a_palette_without_its_table_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    colours = np.zeros((3, 256), "u2")
    tifffile.imwrite(path, np.zeros((9, 9), "u1"), photometric="palette", colormap=colours)
    with tifffile.TiffFile(path) as tiff:
        at = tiff.pages[0].tags[320].offset
    raw = bytearray(path.read_bytes())
    raw[at : at + 2] = (65000).to_bytes(2, "little")
    path.write_bytes(raw)
    with pytest.raises(SourceError, match="palette colours without their table"):
        open_source(SourceSpec(path))


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("layout", [{}, {"compression": "packbits", "rowsperstrip": 7}])
def test_one_bit_becomes_eight(tmp_path, photometric, layout):
    bits = np.random.default_rng(0).integers(0, 2, (30, 41)).astype(bool)
    tifffile.imwrite(tmp_path / "a.tif", bits, photometric=photometric, **layout)
    values, source = seen(tmp_path / "a.tif")
    np.testing.assert_array_equal(values, by_pillow(tmp_path / "a.tif", "L"))
    assert (source.dtype, white_of(source)) == (np.uint8, 255)
    assert describe(tmp_path / "a.tif")["images"][0]["dtype"] == "uint8"


@pytest.mark.parametrize(("dtype", "bits"), [("u1", 8), ("u2", 16), ("u2", 12), ("u4", 32)])
def test_white_as_zero_is_read_as_white(tmp_path, dtype, bits):
    data = np.random.default_rng(0).integers(0, 2**bits, (30, 41)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="miniswhite", bitspersample=bits)
    values, source = seen(tmp_path / "a.tif")
    np.testing.assert_array_equal(values[0], 2**bits - 1 - data.astype("f8"))
    assert source.metadata["tiff"]["photometric"] == 1


def test_alpha_and_no_data_keep_their_numbers(tmp_path):
    data = np.random.default_rng(0).integers(0, 250, (30, 41, 2), dtype="u1")
    path = tmp_path / "a.tif"
    kind = {"photometric": "miniswhite", "planarconfig": "contig", "extrasamples": ["unassalpha"]}
    tifffile.imwrite(path, data, **kind, extratags=[(42113, 2, None, "7", True)])
    source = open_source(SourceSpec(path))
    pixels = source.read(Box(0, 30, 0, 41))
    np.testing.assert_array_equal(
        pixels.values[0][data[..., 0] != 7], 255 - data[data[..., 0] != 7, 0]
    )
    np.testing.assert_array_equal(pixels.valid[0], (data[..., 0] != 7) & (data[..., 1] != 0))
    np.testing.assert_array_equal(source.alpha(Box(0, 30, 0, 41)), data[..., 1])
    source.close()


@pytest.mark.slow
def test_white_dust_is_found_where_white_is_zero(tmp_path):
    """It was taken for black dust, and left."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    light = (90 + 30 * np.sin(x / 9) + 20 * np.cos(y / 7) + rng.normal(0, 1.5, y.shape)).astype(
        "u1"
    )
    dusty = light.copy()
    dusty[20:22, 30:32] = 250
    raw = {**COPY, "defects": {"specks": "bright"}, "task": "inpaint"}
    for name, stored, photometric in (("a", dusty, 1), ("b", 255 - dusty, 0)):
        tifffile.imwrite(tmp_path / f"{name}.tif", stored, photometric=photometric)
        restore(request(tmp_path / f"{name}.tif", tmp_path / f"{name}.zarr", raw), InlinePool())
    black, white = (level0(tmp_path / f"{name}.zarr") for name in "ab")
    np.testing.assert_array_equal(black, white)
    assert black[20:22, 30:32].max() < 200


def write_subsampled(path, height=32, width=48):
    """A deflated page of YCbCr, in which four pixels share their colour; no library writes it."""
    rng = np.random.default_rng(0)
    y = rng.integers(60, 200, (height // 2, 2, width // 2, 2), dtype="u1").transpose(0, 2, 1, 3)
    chroma = rng.integers(100, 156, (height // 2, width // 2, 2), dtype="u1")
    units = np.concatenate([y.reshape(*chroma.shape[:2], 4), chroma], axis=2)
    units = zlib.compress(units.tobytes())
    bits, at = 8 + 2 + 11 * 12 + 4, 8 + 2 + 11 * 12 + 4 + 6
    tags = [
        (256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, bits), (259, 3, 1, 8), (262, 3, 1, 6),
        (273, 4, 1, at), (277, 3, 1, 3), (278, 3, 1, height), (279, 4, 1, len(units)),
        (284, 3, 1, 1), (530, 3, 2, 2 | 2 << 16),
    ]  # fmt: skip
    table = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + table + bytes(4)
    path.write_bytes(head + struct.pack("<3H", 8, 8, 8) + units)


def test_subsampled_colours_are_read_by_libtiff(tmp_path):
    write_subsampled(tmp_path / "a.tif")
    values, source = seen(tmp_path / "a.tif")
    np.testing.assert_array_equal(values, by_pillow(tmp_path / "a.tif", "RGB"))
    assert source.metadata["tiff"]["photometric"] == 2
    assert source.resident_bytes == values.size


def test_jpeg_of_the_older_kind_is_read_by_libtiff(real_data):
    """Nothing writes it today; a real file stands for the kind."""
    path = real_data / "tiff_variants" / "libtiffpic" / "zackthecat.tif"
    values, source = seen(path)
    np.testing.assert_array_equal(values, by_pillow(path, "RGB"))
    assert source.metadata["tiff"]["photometric"] == 2
