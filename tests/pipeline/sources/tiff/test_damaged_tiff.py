"""Damaged TIFFs are restored or refused in one line; none hangs or ends in a traceback."""

import importlib
import struct
import sys

import numpy as np
import pytest
import tifffile
from runs import COPY, level0, request

from glassplate.pipeline.errors import GlassplateError, SourceError
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.run.restore import restore
from glassplate.pipeline.sources.describe import describe
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box

COUNT = 42


@pytest.fixture
def damaged(repository, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(repository / "benchmarks"), *sys.path])
    return importlib.import_module("damaged_tiff").damaged


def refusal(step):
    """What a step refused, or None; anything but a refusal passes through."""
    try:
        step()
    except GlassplateError as error:
        return error
    return None


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_they_end_restored_or_refused(damaged, tmp_path):
    refused = 0
    for number in range(COUNT):
        name, what, content = damaged(7000 + number)
        path = tmp_path / name
        path.write_bytes(content)
        spec = SourceSpec(path, page=(None, "all", 1)[number % 3])
        target = tmp_path / f"{number}.o.tif"
        asked = request(spec, path.with_suffix(".zarr"), COPY, export=target)
        for step in (lambda p=path: describe(p), lambda a=asked: restore(a, InlinePool())):
            error = refusal(step)
            if error is not None:
                refused += 1
                assert "\n" not in str(error), what
                assert path.name in str(error)
                assert error.exit_code == 2
    assert COUNT / 10 < refused < COUNT


def test_the_same_seed_gives_the_same_damage(damaged):
    assert [damaged(seed) for seed in range(15)] == [damaged(seed) for seed in range(15)]


def chain(path, *links):
    """Pages of which each has the number of the next; None ends the chain."""
    with tifffile.TiffWriter(path) as tiff:
        for page in range(len(links)):
            tiff.write(np.full((8, 9), page, "u1"), metadata=None)
    with tifffile.TiffFile(path) as tiff:
        places = [page.offset for page in tiff.pages]
        ends = [page.offset + 2 + 12 * len(page.tags) for page in tiff.pages]
    with path.open("r+b") as file:
        for end, link in zip(ends, links, strict=True):
            file.seek(end)
            file.write(struct.pack("<I", 0 if link is None else places[link]))
    return path


@pytest.mark.timeout(60)
@pytest.mark.parametrize("links", [(0,), (1, 0), (1, 2, 1), (1, 2, 3, 3)])
class TestLoops:
    """tifffile follows a looping chain for ever, as `inspect` and batches once did."""

    def test_pages_up_to_the_loop_are_listed(self, tmp_path, links):
        document = describe(chain(tmp_path / "a.tif", *links))
        assert [image["restorable"] for image in document["images"]] == [True] * len(links)
        assert document["warnings"] == [
            f"page {len(links) - 1} is followed by page {links[-1]} again; pages end there"
        ]

    @pytest.mark.slow
    def test_they_are_restored(self, tmp_path, links):
        spec = SourceSpec(chain(tmp_path / "a.tif", *links), page="all")
        restore(request(spec, tmp_path / "a.zarr", COPY), InlinePool())
        assert level0(tmp_path / "a.zarr")[:, 0, 0].tolist() == list(range(len(links)))

    def test_there_is_no_page_behind_the_loop(self, tmp_path, links):
        path = chain(tmp_path / "a.tif", *links)
        last = len(links) - 1
        with pytest.raises(SourceError, match=rf"no page {last + 1}; there are 0 to {last}"):
            open_source(SourceSpec(path, page=last + 1))


@pytest.mark.parametrize(
    ("code", "count", "value"),
    [
        (257, 1, 2**32 - 1),  # ImageLength
        (256, 1, 2**32 - 1),  # ImageWidth
        (273, 2**31, 8),  # StripOffsets
        (279, 1, 2**32 - 1),  # StripByteCounts
        (278, 1, 2**32 - 1),  # RowsPerStrip
        (258, 2**31, 8),  # BitsPerSample
    ],
)
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.timeout(60)
def test_huge_numbers_are_refused_or_harmless(tmp_path, code, count, value, compression):
    path = tmp_path / "a.tif"
    data = np.arange(80 * 90, dtype="u1").reshape(80, 90)
    tifffile.imwrite(path, data, compression=compression, metadata=None)
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages[0].tags[code].offset
    with path.open("r+b") as file:
        file.seek(place)
        file.write(struct.pack("<HHII", code, 4, count, value))
    describe(path)
    error = refusal(lambda: open_source(SourceSpec(path)).close())
    assert "\n" not in str(error)


# ASCII, a fraction and a double, of a number that no such tag can have
TYPES = {
    "text": (2, 4, 0x00636261),
    "fraction": (5, 1, 8),
    "double": (12, 1, 8),
    "number": (3, 1, 77),
}


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("code", [274, 282, 283, 296, 305, 34675, 42113])
def test_a_tag_of_the_wrong_type_is_refused_or_left_out(tmp_path, code, kind):
    """A unit of the resolution or a profile of another type ended in a ValueError."""
    path, data = tmp_path / "a.tif", np.arange(80 * 90, dtype="u1").reshape(80, 90)
    more = {"software": "scanner", "resolution": (300, 300), "iccprofile": bytes(40)}
    tags = [(274, 3, 1, 1, True), (42113, 2, None, "-9", True)]
    tifffile.imwrite(path, data, metadata=None, extratags=tags, **more)
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages[0].tags[code].offset
    with path.open("r+b") as file:
        file.seek(place)
        file.write(struct.pack("<HHII", code, *TYPES[kind]))
    asked = request(path, tmp_path / "a.zarr", COPY, export=tmp_path / "o.tif")
    for step in (lambda: describe(path), lambda: restore(asked, InlinePool())):
        error = refusal(step)
        assert "\n" not in str(error)
        assert error is None or error.exit_code == 2
    if error is None:
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "o.tif"), data)


@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_a_jpeg_that_is_smaller_than_its_strip_or_tile_is_refused(tmp_path, tile):
    """It was decoded to the size of the directory: 18 megapixels of noise from 56 x 40 pixels."""
    path, pixels = tmp_path / "a.tif", np.random.default_rng(0).integers(0, 255, (40, 56, 3), "u1")
    layout = {"tile": tile} if tile else {"rowsperstrip": 16}
    tifffile.imwrite(path, pixels, photometric="rgb", compression="jpeg", **layout)
    source = open_source(SourceSpec(path))
    source.read(Box(0, 40, 0, 56))
    source.close()
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tags = tiff.pages[0].tags
        tags["TileWidth" if tile else "ImageWidth"].overwrite(64)
    with pytest.raises(SourceError, match=r"pixels, .* are needed"):
        open_source(SourceSpec(path)).read(Box(0, 16, 0, 20))
