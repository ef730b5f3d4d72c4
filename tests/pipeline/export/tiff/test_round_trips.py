"""No tag of a real file is lost without a reason, and no pixel changes unsaid."""

import collections
import importlib
import sys
import warnings
from contextlib import closing

import numpy as np
import pytest
import tifffile
from exported import make_store

from glassplate.pipeline.errors import GlassplateError
from glassplate.pipeline.export.export import export
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.reader_warnings import collected_warnings
from glassplate.pipeline.sources.describe import describe
from glassplate.pipeline.sources.source import SourceSpec


@pytest.fixture
def round_trips(repository, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(repository / "benchmarks"), *sys.path])
    return importlib.import_module("round_trips")


def made(path):
    """A TIFF with a tag of every kind."""
    tags = [
        (254, 4, 1, 0, True),
        (263, 3, 1, 1, True),
        (271, 2, None, "Zeutschel", True),
        (274, 3, 1, 6, True),
        (280, 3, 1, 3, True),
        (700, 1, 4, b"<x/>", True),
        (33550, 12, 3, (1.0, 2.0, 0.0), True),
        (34377, 7, 16, b"8BIM\x0b\xb7\0\0\0\0\0\4path", True),
        (42113, 2, None, "9", True),
        (65000, 2, None, "mine", True),
        (65001, 4, 1, 8, True),
    ]
    data = np.random.default_rng(0).integers(0, 255, (30, 40), dtype="u1")
    more = {"software": "scanner", "resolution": (300, 300), "iccprofile": bytes(40)}
    tifffile.imwrite(path, data, description="folio", metadata=None, extratags=tags, **more)
    return path


def exported_tags(folder, path, **spec):
    """An export with the tags of an image, and few pixels: the tags are what counts."""
    with closing(open_source(SourceSpec(path, **spec))) as source:
        planes = source.shape[0] + (source.alpha is not None)
        pixels = np.zeros((planes, 8, 8)[-source.ndim :], source.output_dtype)
        return export(make_store(folder, pixels, source.metadata), folder / "out.tif")


def tags_of(round_trips, path, page, folder):
    target = exported_tags(folder, path, page=page)
    with (
        collected_warnings(path),
        tifffile.TiffFile(path) as one,
        tifffile.TiffFile(target) as other,
    ):
        behind = len(one.pages) <= page
        return list(round_trips.fates_of_tags(one.pages[0 if behind else page], other.pages[0]))


def test_of_a_made_file(round_trips, tmp_path):
    fates = tags_of(round_trips, made(tmp_path / "a.tif"), 0, tmp_path)
    found = {fate.name.split()[0]: fate for fate in fates}
    assert {code for code, fate in found.items() if fate.fate == "LOST"} == set()
    kept = {code for code, fate in found.items() if fate.fate == "kept"}
    assert {"270", "271", "274", "282", "283", "33550", "34675", "42113", "65000"} <= kept
    dropped = {code: fate.why for code, fate in found.items() if fate.fate == "dropped"}
    assert {"263", "273", "280", "65001"} <= set(dropped)
    assert all(dropped.values())


@pytest.mark.slow
def test_of_real_files(round_trips, real_data, tmp_path):
    fates = collections.Counter()
    lost = []
    paths = [
        *(real_data / "tiff_variants").rglob("*.tif*"),
        *(real_data / "archives").rglob("*.tif*"),
    ]
    for number, path in enumerate(sorted(paths)):
        try:
            document = describe(path)
        except GlassplateError:
            continue
        images = document["images"] if document["format"] == "tiff" else []
        for image in images:
            if not image["restorable"]:
                continue
            folder = tmp_path / f"{number}-{image['index']}"
            folder.mkdir()
            for fate in tags_of(round_trips, path, image["index"], folder):
                fates[fate.fate] += 1
                if fate.fate == "LOST" or (fate.fate == "dropped" and not fate.why):
                    lost.append((path.name, fate))
    assert lost == []
    assert fates["kept"] > 500


@pytest.mark.slow
def test_of_real_pictures(round_trips, real_data, tmp_path):
    """Chunks of PNG and segments of JPEG."""
    lost, names = [], set()
    for number, path in enumerate(sorted(real_data.rglob("*"))):
        if path.suffix.lower() not in (".png", ".jpg"):
            continue
        folder = tmp_path / str(number)
        folder.mkdir()
        with tifffile.TiffFile(exported_tags(folder, path)) as tiff:
            for name, fate, why in round_trips.fates_of_chunks(path, tiff.pages[0]):
                names.add(name)
                if fate == "LOST" or not why:
                    lost.append((path.name, name))
    assert lost == []
    assert {"tIME", "IDAT", "APP0 JFIF"} <= names


@pytest.mark.slow
@pytest.mark.parametrize("name", ["miniswhite-1c-1b", "palette-1c-4b", "cmyk-4c-8b"])
def test_pixels_of_real_files(round_trips, real_data, tmp_path, name):
    (path,) = (real_data / "tiff_variants").rglob(f"{name}.tif*")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fates = [fate.fate for fate, _ in round_trips.examine(path, tmp_path)]
    assert set(fates) <= {"equal", "adapted"}
