"""PNG and JPEG images: decoded once, with their profile and resolution."""

import base64
import io
import struct
import zlib
from contextlib import closing

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from runs import COPY, request

from glassplate.pipeline.errors import SourceError, UsageError
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.run.restore import restore
from glassplate.pipeline.sources.describe import describe
from glassplate.pipeline.sources.raster.jpeg import jpeg_damage
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box

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


@pytest.mark.parametrize("bits", [1, 2, 8])
@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("alpha", [False, True])
def test_palettes_become_their_colours(tmp_path, bits, grey, alpha):
    rng = np.random.default_rng(bits)
    image = Image.fromarray(rng.integers(0, 2**bits, (20, 30), dtype="u1"), "P")
    colours = rng.integers(0, 256, (2**bits, 1 if grey else 3), dtype="u1")
    image.putpalette(np.broadcast_to(colours, (2**bits, 3)).tobytes())
    image.save(tmp_path / "a.png", bits=bits, **({"transparency": 1} if alpha else {}))
    source, pixels = read(tmp_path / "a.png")
    expected = np.moveaxis(np.asarray(image.convert("RGB")), -1, 0)
    np.testing.assert_array_equal(pixels.values, expected[:1] if grey else expected)
    assert (source.alpha is not None) == alpha
    assert "a palette is read as its" in describe(tmp_path / "a.png")["images"][0]["note"]


def test_one_bit_becomes_eight(tmp_path):
    bits = np.random.default_rng(0).integers(0, 2, (20, 30)).astype(bool)
    Image.fromarray(bits).save(tmp_path / "a.png")
    source, pixels = read(tmp_path / "a.png")
    np.testing.assert_array_equal(pixels.values[0], bits * 255)
    assert source.dtype == np.uint8
    assert source.info.note == "grey of 1 bit is read as grey of 8 bits"


def test_texts_and_times_of_a_png_become_tags(tmp_path):
    raw = imagecodecs.png_encode(picture(3))
    white = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
    extra = [
        chunk(b"tEXt", b"Title\0Folio 3r"),
        chunk(b"zTXt", b"Author\0\0" + zlib.compress("M\xfcller".encode("latin-1"))),
        chunk(b"iTXt", b"Copyright\0\0\0\0\0" + "Höhe".encode()),
        chunk(b"tEXt", b"source\0Kodak PCD0992"),
        chunk(b"tEXt", b"Software\0scanner 3"),
        chunk(b"tIME", struct.pack(">HBBBBB", 2021, 3, 11, 20, 47, 25)),
        chunk(b"cHRM", white),
        chunk(b"tIME", b"short"),
    ]
    (tmp_path / "a.png").write_bytes(raw[:33] + b"".join(extra) + raw[33:])
    target = tmp_path / "a.tif"
    restore(request(tmp_path / "a.png", tmp_path / "a.zarr", COPY, export=target), InlinePool())
    with Image.open(target) as image:
        tags = image.tag_v2
        assert tags[269] == "Folio 3r"
        assert tags[270] == "source: Kodak PCD0992"
        assert tags[306] == "2021:03:11 20:47:25"
        assert tags[305].endswith("input by scanner 3")
        assert tags[318] == pytest.approx((0.3127, 0.329))
        assert tags[319] == pytest.approx((0.64, 0.33, 0.3, 0.6, 0.15, 0.06))
    with tifffile.TiffFile(target) as tiff:
        found = tiff.pages[0].tags
        assert found[33432].value.encode("latin-1", "ignore") or found[33432].value
        assert "ller" in found[315].value


def test_the_comment_of_a_jpeg_describes_the_image(tmp_path):
    Image.fromarray(picture(3)).save(tmp_path / "a.jpg", comment="CREATOR: XV")
    source, _ = read(tmp_path / "a.jpg")
    tags = {tag[0]: tag[4] for tag in source.metadata["raster"]["tags"]}
    assert tags == {270: "CREATOR: XV"}


def gradient(height=64, width=96):
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).normal(0, 9, (height, width, 3))
    return np.clip(np.stack([y * 2, x, 200 - y], axis=2) + noise, 0, 255).astype("u1")


def jpeg(image, mode=None, **options):
    stream = io.BytesIO()
    Image.fromarray(image, mode).save(stream, "jpeg", quality=90, **options)
    return stream.getvalue()


KINDS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 3},
    "full colour": {"subsampling": 0},
    "stored as RGB": {"keep_rgb": True},
}


def thumbnailed(raw):
    """The JPEG with a second one in its EXIF block, whose end marker comes before its own."""
    small = jpeg(gradient(8, 8))
    block = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + small
    return raw[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(block)) + block + raw[2:]


class TestDamagedJpeg:
    """libjpeg fills missing blocks with grey and warns; the codec does not show the warning."""

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("keep", [0.35, 0.6, 0.9, -2])
    def test_truncated_after_a_thumbnail(self, tmp_path, kind, keep):
        raw = thumbnailed(jpeg(gradient(), **KINDS[kind]))
        start = raw.rindex(b"\xff\xda") if keep > 0 and kind != "progressive" else 1200
        end = len(raw) + keep if keep < 0 else start + int(keep * (len(raw) - start))
        (tmp_path / "a.jpg").write_bytes(raw[:end])
        with pytest.raises(SourceError, match="truncated or damaged JPEG"):
            open_source(SourceSpec(tmp_path / "a.jpg"))

    @pytest.mark.parametrize("kind", ["baseline", "restarts", "stored as RGB"])
    def test_data_missing_in_the_middle(self, tmp_path, kind):
        raw = jpeg(gradient(), **KINDS[kind])
        start = raw.rindex(b"\xff\xda")
        middle = (start + len(raw)) // 2
        (tmp_path / "a.jpg").write_bytes(raw[: middle - 600] + raw[middle + 600 :])
        with pytest.raises(SourceError, match="truncated or damaged JPEG"):
            open_source(SourceSpec(tmp_path / "a.jpg"))

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("trailer", [b"", bytes(10), bytes(1 << 20), b"\xff" * 3, b"MPF"])
    def test_bytes_after_the_end_are_ignored(self, tmp_path, kind, trailer):
        raw = jpeg(gradient(), **KINDS[kind])
        tail = jpeg(gradient(16, 16)) if trailer == b"MPF" else trailer
        (tmp_path / "a.jpg").write_bytes(thumbnailed(raw) + tail)
        _, pixels = read(tmp_path / "a.jpg")
        expected = np.asarray(Image.open(io.BytesIO(raw)))
        np.testing.assert_array_equal(pixels.values, np.moveaxis(expected, -1, 0))

    def test_kinds_of_which_only_the_end_marker_is_checked(self, tmp_path):
        """Two components and 12 bits are decoded only by a codec that does not report warnings."""
        two = imagecodecs.jpeg8_encode(gradient()[..., :2].copy())
        deep = imagecodecs.jpeg8_encode(gradient()[..., 0].astype("u2") * 16, bitspersample=12)
        for raw, channels, dtype in ((two, 2, "u1"), (deep, 1, "u2")):
            (tmp_path / "a.jpg").write_bytes(thumbnailed(raw) + bytes(70000))
            source, _ = read(tmp_path / "a.jpg")
            assert (source.shape[0], source.dtype, source.alpha) == (channels, dtype, None)
            (tmp_path / "a.jpg").write_bytes(thumbnailed(raw)[:-40])
            with pytest.raises(SourceError, match="its end marker is missing"):
                open_source(SourceSpec(tmp_path / "a.jpg"))

    @pytest.mark.parametrize("layout", [{"rowsperstrip": 16}, {"tile": (32, 32)}])
    @pytest.mark.parametrize("segment", [0, 1])
    def test_inside_a_tiff(self, tmp_path, layout, segment):
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, gradient(), photometric="rgb", compression="jpeg", **layout)
        with closing(open_source(SourceSpec(path))) as source:
            source.read(Box(0, 64, 0, 96))
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages[0]
            start, size = page.dataoffsets[segment], page.databytecounts[segment]
        raw = bytearray(path.read_bytes())
        raw[start + size // 2 : start + size] = bytes(size - size // 2)
        path.write_bytes(raw)
        with (
            pytest.raises(SourceError, match=rf"(strip|tile) {segment} cannot be decoded"),
            closing(open_source(SourceSpec(path))) as source,
        ):
            source.read(Box(0, 64, 0, 96))

    def test_no_real_jpeg_is_reported_as_damaged(self, real_data):
        paths = [path for path in real_data.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg")]
        assert len(paths) > 20
        assert [path.name for path in paths if jpeg_damage(path.read_bytes())] == []


class TestInks:
    def inks(self):
        image = np.zeros((40, 48, 4), "u1")
        image[:, :16, 0], image[:, 16:32, 3] = 200, 250
        return image

    def test_cmyk_is_not_inverted(self, tmp_path):
        """It was once exported as RGB with alpha, and black became transparent white."""
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
        raw = jpeg(self.inks(), "CMYK", icc_profile=profile)
        (tmp_path / "a.jpg").write_bytes(raw)
        target = tmp_path / "o.tif"
        restore(request(tmp_path / "a.jpg", tmp_path / "a.zarr", COPY, export=target), InlinePool())
        with tifffile.TiffFile(target) as tiff:
            page = tiff.pages[0]
            assert page.photometric.name == "SEPARATED"
            assert page.tags.valueof(332) == 1
            assert page.iccprofile == profile
            assert not page.extrasamples
            assert np.abs(page.asarray().astype(int) - self.inks()).max() < 12
        with Image.open(target) as image:
            black = np.asarray(image.convert("RGB"))[:, 20:30]
        assert black.max() < 30

    def test_all_four_are_restored(self, tmp_path):
        (tmp_path / "a.jpg").write_bytes(jpeg(self.inks(), "CMYK"))
        source, _ = read(tmp_path / "a.jpg")
        assert (source.shape, source.joint, source.alpha) == ((4, 40, 48), True, None)

    def test_without_adobes_marker_cmyk_is_refused(self, tmp_path):
        raw = jpeg(self.inks(), "CMYK")
        at = raw.index(b"\xff\xee")
        size = struct.unpack(">H", raw[at + 2 : at + 4])[0]
        (tmp_path / "a.jpg").write_bytes(raw[:at] + raw[at + 2 + size :])
        with pytest.raises(SourceError, match="CMYK without Adobe's marker"):
            open_source(SourceSpec(tmp_path / "a.jpg"))
        assert not describe(tmp_path / "a.jpg")["images"][0]["restorable"]

    @pytest.mark.parametrize("layout", [{}, {"tile": (16, 16)}])
    def test_ink_in_a_tiff_is_not_inverted(self, tmp_path, layout):
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, self.inks(), photometric="separated", compression="jpeg", **layout)
        _, pixels = read(path)
        assert np.abs(pixels.values - np.moveaxis(self.inks().astype(int), -1, 0)).max() < 30


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
    def test_truncated_header(self, tmp_path, kind):
        raw = (
            imagecodecs.png_encode(picture(3))
            if kind == "png"
            else imagecodecs.jpeg_encode(picture(3))
        )
        (tmp_path / f"a.{kind}").write_bytes(raw[:18])
        with pytest.raises(SourceError, match=r"damaged .* header"):
            describe(tmp_path / f"a.{kind}")

    def test_too_large_to_decode(self, tmp_path):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", 50000, 50000, 8, 2, 0, 0, 0))
        (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b""))
        with pytest.raises(SourceError, match=r"decodes to 7\.0 GiB"):
            open_source(SourceSpec(tmp_path / "a.png"))

    def test_hdu_and_page_do_not_apply(self, tmp_path):
        (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(picture(1)))
        with pytest.raises(UsageError, match="do not apply to PNG"):
            open_source(SourceSpec(tmp_path / "a.png", page=0))


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_of_several_pictures_the_first_is_read_and_the_others_are_named(tmp_path, name):
    # an animated PNG and a stereo pair of a camera lost all but one picture without a word
    frames = [Image.fromarray(np.full((24, 36), level, "u1")) for level in (50, 200, 90)]
    kind = {"a.png": "PNG", "a.jpg": "MPO"}[name]
    frames[0].save(tmp_path / name, kind, save_all=True, append_images=frames[1:])
    (image,) = describe(tmp_path / name)["images"]
    what = {"a.png": "an animation of 3 frames", "a.jpg": "a file of 3 pictures"}[name]
    assert image["note"] == f"{what}, of which the first is read"
    frames[0].save(tmp_path / f"one{name}")
    assert describe(tmp_path / f"one{name}")["images"][0]["note"] is None
