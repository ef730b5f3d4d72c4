"""Images behind one directory, pyramids, and pages in colour."""

import numpy as np
import pytest
import tifffile
from runs import COPY, FIT, UntidyPool, digest, level0, request

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.export.export import export
from glassplate.pipeline.open_source import open_files, open_source
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.recipes.recipe import parse_recipe
from glassplate.pipeline.run.restore import restore
from glassplate.pipeline.sources.describe import describe
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box


def planes(count=5, shape=(24, 36), dtype="u2"):
    rng = np.random.default_rng(count)
    return rng.integers(0, 250, (count, *shape)).astype(dtype)


def behind_one_directory(path, data, byteorder=">"):
    """A stack as ImageJ writes it where classic TIFF has no room: one directory, then all planes."""
    description = f"ImageJ=1.54f\nimages={len(data)}\nslices={len(data)}\nhyperstack=true\n"
    tifffile.imwrite(
        path,
        data[0],
        byteorder=byteorder,
        metadata=None,
        description=description,
        photometric="minisblack",
    )
    with path.open("ab") as file:
        file.write(data[1:].astype(data.dtype.newbyteorder(byteorder)).tobytes())
    return path


def read(path, **spec):
    source = open_source(SourceSpec(path, **spec))
    try:
        return source.read(Box(0, source.shape[1], 0, source.shape[2])).values
    finally:
        source.close()


class TestOneDirectory:
    @pytest.mark.parametrize("byteorder", ["<", ">"])
    def test_all_planes_are_read(self, tmp_path, byteorder):
        data = planes()
        path = behind_one_directory(tmp_path / "a.tif", data, byteorder)
        np.testing.assert_array_equal(read(path, page="all"), data)
        np.testing.assert_array_equal(read(path, page=3), data[3:4])
        assert [image["index"] for image in describe(path)["images"]] == [0, 1, 2, 3, 4]
        with pytest.raises(SourceError, match="no page 5; there are 0 to 4"):
            open_source(SourceSpec(path, page=5))

    def test_a_file_that_ends_early_says_so(self, tmp_path):
        path = behind_one_directory(tmp_path / "a.tif", planes())
        path.write_bytes(path.read_bytes()[: -24 * 36 * 2 - 5])
        document = describe(path)
        assert len(document["images"]) == 3
        assert document["warnings"] == ["the description says 5 images, the file ends after 3"]

    @pytest.mark.parametrize("images", ["x", "-3", "9999999999999999999"])
    def test_a_wrong_number_does_no_harm(self, tmp_path, images):
        text = f"ImageJ=1.54f\nimages={images}\n"
        tifffile.imwrite(tmp_path / "a.tif", planes(1)[0], description=text, metadata=None)
        assert len(describe(tmp_path / "a.tif")["images"]) == 1


@pytest.mark.parametrize("kind", ["imagej", "ome", "tifffile"])
def test_series_of_several_directories_are_planes(tmp_path, kind):
    data = planes()
    path = tmp_path / ("a.ome.tif" if kind == "ome" else "a.tif")
    more = {"imagej": kind == "imagej", "ome": kind == "ome"}
    tifffile.imwrite(path, data, photometric="minisblack", metadata={"axes": "ZYX"}, **more)
    np.testing.assert_array_equal(read(path, page="all"), data)


def pyramid(path, *, marked, below=False):
    """A picture and its halves, as pages of their own or behind the tag SubIFDs of the first."""
    data = np.random.default_rng(0).integers(0, 255, (64, 90, 3), dtype="u1")
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(data, photometric="rgb", tile=(16, 16), subifds=2 if below else 0)
        for step in (2, 4):
            more = {"subfiletype": 1} if marked or below else {}
            tiff.write(data[::step, ::step], photometric="rgb", tile=(16, 16), **more)
    return data


class TestPyramids:
    @pytest.mark.parametrize("marked", [False, True])
    @pytest.mark.parametrize("below", [False, True])
    @pytest.mark.parametrize("page", [None, "all"])
    def test_the_finest_level_is_read(self, tmp_path, marked, below, page):
        data = pyramid(tmp_path / "a.tif", marked=marked, below=below)
        found = read(tmp_path / "a.tif", page=page)
        np.testing.assert_array_equal(found, np.moveaxis(data, -1, 0))
        notes = [image["note"] for image in describe(tmp_path / "a.tif")["images"]]
        assert notes == [None] if below else [None] + ["a smaller copy of page 0"] * 2

    def test_what_is_left_out_is_said(self, tmp_path):
        pyramid(tmp_path / "a.tif", marked=False)
        with open_files(SourceSpec(tmp_path / "a.tif", page="all")) as files:
            assert "2 pages are left out: smaller copies" in files.image.info.note
        with open_files(SourceSpec(tmp_path / "a.tif")) as files:
            assert files.image.info.note is None

    def test_other_pages_are_said(self, tmp_path):
        with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
            for page in planes(3):
                tiff.write(page, metadata=None)
        plan = make_plan(SourceSpec(tmp_path / "a.tif"), parse_recipe(COPY, "t"), recipe_name="t")
        assert plan.warnings[0].startswith("page 0 of 3 is restored; --page N or --page all")


class TestColourPages:
    def pages(self, path, count=3, **more):
        data = np.random.default_rng(count).integers(0, 250, (count, 40, 50, 3), dtype="u1")
        with tifffile.TiffWriter(path) as tiff:
            for number, page in enumerate(data):
                name = [(285, 2, None, f"leaf {number}", True)]
                tiff.write(page, photometric="rgb", metadata=None, extratags=name, **more)
        return data

    @pytest.mark.parametrize("layout", [{}, {"compression": "zlib", "tile": (16, 16)}])
    def test_are_planes_of_which_each_page_is_fitted_together(self, tmp_path, layout):
        data = self.pages(tmp_path / "a.tif", **layout)
        expected = np.moveaxis(data, -1, 1).reshape(9, 40, 50)
        np.testing.assert_array_equal(read(tmp_path / "a.tif", page="all"), expected)
        source = open_source(SourceSpec(tmp_path / "a.tif", page="all"))
        for planes_ in ((3, 6), (2, 5), (8, 9)):
            part = source.read(Box(3, 20, 10, 50), planes_).values
            np.testing.assert_array_equal(part, expected[slice(*planes_), 3:20, 10:])
        source.close()
        spec = SourceSpec(tmp_path / "a.tif", page="all")
        plan = make_plan(spec, parse_recipe(FIT, "t"), recipe_name="t")
        assert plan.grid.window_shape[0] == 3
        assert plan.grid.groups == 3
        assert {plan.grid.tile(n).channels for n in range(len(plan.grid))} == {
            (0, 3),
            (3, 6),
            (6, 9),
        }

    @pytest.mark.slow
    def test_are_exported_as_pages_with_their_own_tags(self, tmp_path):
        data = self.pages(tmp_path / "a.tif")
        spec = SourceSpec(tmp_path / "a.tif", page="all")
        restore(request(spec, tmp_path / "a.zarr", COPY), UntidyPool(2))
        assert level0(tmp_path / "a.zarr").shape == (9, 40, 50)
        with tifffile.TiffFile(export(tmp_path / "a.zarr", tmp_path / "b.tif")) as tiff:
            for number, page in enumerate(tiff.pages):
                np.testing.assert_array_equal(page.asarray(), data[number])
                assert page.tags.valueof(285) == f"leaf {number}"
            assert number == 2

    @pytest.mark.slow
    def test_a_fit_does_not_depend_on_the_order(self, tmp_path):
        self.pages(tmp_path / "a.tif", 2)
        spec = SourceSpec(tmp_path / "a.tif", page="all")
        restore(request(spec, tmp_path / "a.zarr", FIT), InlinePool())
        restore(request(spec, tmp_path / "b.zarr", FIT), UntidyPool(4))
        assert digest(tmp_path / "a.zarr") == digest(tmp_path / "b.zarr")

    def test_alpha_is_refused(self, tmp_path):
        with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
            for _ in range(2):
                tiff.write(
                    np.zeros((9, 9, 4), "u1"), photometric="rgb", extrasamples=["unassalpha"]
                )
        with pytest.raises(SourceError, match="samples beside their colours"):
            open_source(SourceSpec(tmp_path / "a.tif", page="all"))


def test_pages_are_counted_up_to_a_thousand(tmp_path, monkeypatch):
    monkeypatch.setattr("glassplate.pipeline.sources.tiff.pages._MOST_COUNTED", 2)
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for page in planes(5):
            tiff.write(page, metadata=None)
    with open_files(SourceSpec(tmp_path / "a.tif")) as files:
        assert files.image.info.note.startswith("page 0 of 3 or more is restored")
