"""The metadata of a camera are exported: EXIF, GPS, XMP, IPTC, orientation and resolution."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from runs import COPY, FIT, request

from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.run.restore import restore
from glassplate.pipeline.sources.metadata.exif import Entry, packed_directory, read_directory

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:ImageWidth="40"/></x:xmpmeta>'
IPTC = b"\x1c\x02\x78\x00\x05title"
ENLARGE = {**FIT, "task": "superres", "operator": {"scale": 2}}


def picture():
    y, x = np.mgrid[:30, :40]
    return np.stack([y * 4, x * 4, y + x], axis=2).astype("u1")


def camera(order="<"):
    """An EXIF block as a camera writes it, with a thumbnail behind."""
    exif = Image.Exif()
    exif.endian = order
    exif[271], exif[272], exif[274] = "Maker", "Model", 6
    exif[282] = exif[283] = 300.0
    exif[296] = 2
    exif[306] = "2001:02:03 04:05:06"
    inside = exif.get_ifd(34665)
    inside[33434], inside[36867] = (1, 125), "2001:02:03 04:05:06"
    inside[37500] = b"a maker's note, as it is\0\xff"
    inside[40962], inside[40963] = 40, 30
    gps = exif.get_ifd(34853)
    gps[1], gps[2] = "N", (51.0, 30.0, 12.5)
    return exif.tobytes().removeprefix(b"Exif\0\0")


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def segment(marker, data):
    return bytes([0xFF, marker]) + struct.pack(">H", 2 + len(data)) + data


def jpeg(exif):
    raw = imagecodecs.jpeg_encode(picture(), level=95)
    resources = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(IPTC)) + IPTC
    extra = segment(0xE1, b"Exif\0\0" + exif)
    extra += segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP)
    extra += segment(0xED, b"Photoshop 3.0\0" + resources)
    return raw[:2] + extra + raw[2:]


def png(exif, *, legacy=False, late=False):
    raw = imagecodecs.png_encode(picture())
    text = b"\nexif\n%8d\n%s\n" % (len(exif) + 6, (b"Exif\0\0" + exif).hex().encode())
    old = chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))
    extra = old if legacy else chunk(b"eXIf", exif)
    extra += chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
    at = len(raw) - 12 if late else 33
    return raw[:at] + extra + raw[at:]


def tiff(exif):
    """A TIFF of Pillow with the same directories."""
    parsed = Image.Exif()
    parsed.load(b"Exif\0\0" + exif)
    stream = io.BytesIO()
    Image.fromarray(picture()).save(stream, "tiff", exif=parsed)
    return stream.getvalue()


FILES = {
    "a.jpg": lambda: jpeg(camera()),
    "motorola.jpg": lambda: jpeg(camera(">")),
    "a.png": lambda: png(camera()),
    "late.png": lambda: png(camera(), late=True),
    "legacy.png": lambda: png(camera(">"), legacy=True),
    "a.tif": lambda: tiff(camera()),
}


def exported(tmp_path, name, raw):
    (tmp_path / name).write_bytes(FILES[name]())
    target = tmp_path / "o.tiff"
    restore(request(tmp_path / name, tmp_path / "a.zarr", raw, export=target), InlinePool())
    return target


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_all_metadata_are_exported(tmp_path, name):
    target = exported(tmp_path, name, COPY)
    with tifffile.TiffFile(target) as written:
        assert len(written.pages) == 1  # the thumbnail's directory is dropped
        page = written.pages[0]
        tags = page.tags
        assert page.shape == (30, 40, 3)  # not turned
        assert [tags.valueof(code) for code in (271, 272, 274)] == ["Maker", "Model", 6]
        assert tags.valueof(306) == "2001:02:03 04:05:06"
        exif, gps = tags.valueof(34665), tags.valueof(34853)
    assert exif["ExposureTime"] == (1, 125)
    assert exif["DateTimeOriginal"] == "2001:02:03 04:05:06"
    assert exif["MakerNote"].startswith(b"a maker's note, as it is\0\xff")
    assert (exif["PixelXDimension"], exif["PixelYDimension"]) == (40, 30)
    assert gps["GPSLatitudeRef"] == "N"
    assert gps["GPSLatitude"] == (51, 1, 30, 1, 25, 2)
    # another reader agrees
    with Image.open(target) as image:
        seen = image.getexif()
        assert seen.get_ifd(34665)[36867] == "2001:02:03 04:05:06"
        assert seen.get_ifd(34853)[2] == (51, 30, 12.5)
        assert seen[274] == 6
        assert image.size == (30, 40)  # turned, as it shows it


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_resolution_of_exif_alone_and_xmp(tmp_path, name):
    with tifffile.TiffFile(exported(tmp_path, name, COPY)) as written:
        tags = written.pages[0].tags
        assert (tags.valueof(282), tags.valueof(296)) == ((300, 1), 2)
        assert tags.valueof(700) == XMP
        assert (tags.valueof(33723) == IPTC) == (name == "a.jpg")


@pytest.mark.slow
def test_sizes_and_resolution_follow_the_pixels(tmp_path):
    with tifffile.TiffFile(exported(tmp_path, "a.jpg", ENLARGE)) as written:
        tags = written.pages[0].tags
        assert written.pages[0].shape == (60, 80, 3)
        exif = tags.valueof(34665)
        assert (exif["PixelXDimension"], exif["PixelYDimension"]) == (80, 60)
        assert tags.valueof(282) == (600, 1)
        assert b'tiff:ImageWidth="80"' in tags.valueof(700)


@pytest.mark.slow
@pytest.mark.parametrize(
    "exif", [b"", b"II*\0", b"MM\0*\0\0\0\x08\xff\xff" + bytes(40), b"nonsense" * 9]
)
def test_damaged_exif_is_ignored(tmp_path, exif):
    (tmp_path / "a.jpg").write_bytes(jpeg(exif))
    target = tmp_path / "o.tiff"
    restore(request(tmp_path / "a.jpg", tmp_path / "a.zarr", COPY, export=target), InlinePool())
    with tifffile.TiffFile(target) as written:
        assert 34665 not in written.pages[0].tags
        assert written.pages[0].tags.valueof(700) == XMP


@pytest.mark.parametrize("big", [False, True])
def test_a_directory_is_read_back(big):
    entries = [
        Entry(1, 2, 4, b"abc\0"),
        Entry(2, 5, 3, struct.pack("<6I", 1, 2, 3, 4, 5, 0)),
        Entry(3, 7, 5, b"\0\1\2\3\4"),
        Entry(4, 12, 1, struct.pack("<d", 0.5)),
    ]
    raw = b"x" * 10 + packed_directory(entries, 10, big=big)
    assert read_directory(lambda at, n: raw[at : at + n], 10, "<", big=big) == entries
    assert [Entry.from_json(entry.to_json()) for entry in entries] == entries
