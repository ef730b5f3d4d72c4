"""DNG: linear data are read, from below the small picture that the file begins with; mosaics are refused."""

import numpy as np
import pytest
import tifffile
from exported import restored

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.export.export import export
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.sources.describe import describe
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box

VERSION = (50706, 1, 4, (1, 4, 0, 0), True)
LINEAR_RAW, MOSAIC = 34892, 32803
ALL = Box(0, 40, 0, 50)


def pixels(samples):
    shape = (40, 50) if samples == 1 else (40, 50, samples)
    return np.random.default_rng(samples).integers(100, 4000, shape, dtype="u2")


def write_dng(path, data, photometric=LINEAR_RAW, *, preview=True, tags=()):
    """A DNG as cameras and scanners write it: a small picture, and the image below it."""
    small = data[::4, ::4] if data.ndim == 3 else np.repeat(data[::4, ::4, None], 3, 2)
    with tifffile.TiffWriter(path) as tiff:
        if preview:
            first = (small[..., :3] >> 4).astype("u1")
            tiff.write(first, photometric="rgb", subfiletype=1, subifds=1, extratags=[VERSION])
        more = [*tags, *([] if preview else [VERSION])]
        extra = {"extrasamples": ["unspecified"]} if data.shape[2:] == (4,) else {}
        kind = "rgb" if data.ndim == 3 else "minisblack"
        tiff.write(data, photometric=kind, extratags=more, **extra)
    # tifffile writes no linear data of one sample
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        page = tiff.pages.first.pages[0] if preview else tiff.pages.first
        page.tags[262].overwrite(photometric)
    return path


@pytest.mark.parametrize("preview", [True, False])
@pytest.mark.parametrize("samples", [1, 3, 4])
def test_linear_data_are_read_as_stored(tmp_path, samples, preview):
    data = pixels(samples)
    path = write_dng(tmp_path / "a.dng", data, preview=preview)
    source = open_source(SourceSpec(path))
    assert "linear data of the sensor are read as stored" in source.info.note
    planes = data[None] if samples == 1 else np.moveaxis(data, 2, 0)
    assert (source.read(ALL).values == planes[:3]).all()
    if samples == 4:  # the last one is infrared
        assert (source.alpha(ALL) == planes[3]).all()
    source.close()


@pytest.mark.parametrize("samples", [1, 3])
def test_an_export_is_no_dng_but_has_its_colours(tmp_path, samples):
    data = pixels(samples)
    store, _ = restored(tmp_path, write_dng(tmp_path / "a.dng", data))
    export(store, tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
        page = tiff.pages.first
        assert int(page.photometric) == (1 if samples == 1 else 2)
        assert (page.asarray() == data).all()
        assert 50706 not in page.tags


def test_the_small_picture_is_not_taken_for_the_image(tmp_path):
    """It was restored without a word, where the image itself is a mosaic of colours."""
    path = write_dng(tmp_path / "a.dng", pixels(1), MOSAIC)
    why = "no image to restore but a smaller copy: page 1: a colour filter mosaic"
    with pytest.raises(SourceError, match=why):
        open_source(SourceSpec(path))
    assert [image["restorable"] for image in describe(path)["images"]] == [True, False]
    source = open_source(SourceSpec(path, page=0))
    assert source.shape == (3, 10, 13)
    source.close()


def test_numbers_that_a_table_makes_linear_are_refused(tmp_path):
    table = (50712, 3, 4, (0, 1, 4, 9), True)
    path = write_dng(tmp_path / "a.dng", pixels(3), tags=[table])
    with pytest.raises(SourceError, match="a table makes linear; develop it"):
        open_source(SourceSpec(path))
