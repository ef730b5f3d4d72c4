"""The page of a result shows the right pixels, says what is true of it, and needs nothing else."""

import json
import shlex
import shutil

import numpy as np
import pytest
import zarr
from assessed import edit_manifest, made_result, starry_sky
from astropy.io import fits
from runs import COPY, request
from shown_pages import map_values

from glassplate.pipeline.errors import StoreError, UsageError
from glassplate.pipeline.pages import overview as overview_module
from glassplate.pipeline.pages import result_page
from glassplate.pipeline.pages.drawing import INVALID
from glassplate.pipeline.pages.result_page import page_of as page_name
from glassplate.pipeline.pages.result_page import write_result_page
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.run.restore import restore


class TestContents:
    def test_a_photograph_is_shown_as_it_is(self, photo_result, page_of):
        page, group = page_of(photo_result), zarr.open_group(photo_result, mode="r")
        after = group["0"][...].astype("i4")
        before = after + group["residual"][...]
        shown = page.pictures["After: whole image"], page.pictures["Before: whole image"]
        np.testing.assert_array_equal(shown[0], np.moveaxis(after, 0, 2))
        np.testing.assert_array_equal(shown[1], np.moveaxis(before, 0, 2))

    def test_a_sky_stands_with_its_first_row_at_the_bottom(self, sky_result, page_of):
        shown = page_of(sky_result).pictures["Before: whole image"]
        assert shown.shape == (50, 70, 3)
        assert (shown[-6:, :6] == 255).all()
        assert shown[:6].max() < 255

    def test_invalid_pixels_have_a_colour_of_their_own(self, sky_result, page_of):
        page = page_of(sky_result)
        for name in ("Before", "After", "What was removed"):
            shown = page.pictures[f"{name}: whole image"]
            assert (shown[::-1][30:34, 40:45] == INVALID).all()
        assert "Violet pixels are invalid" in page.text

    def test_the_ends_of_the_strengths_are_input_and_result(self, photo_result, page_of):
        pictures = page_of(photo_result).pictures
        whole = {name: pictures[f"{name}: whole image"] for name in ("Before", "After")}
        np.testing.assert_array_equal(pictures["Strength 0, the input"], whole["Before"])
        np.testing.assert_array_equal(pictures["Strength 1, the result"], whole["After"])
        between = pictures["Strength 0.5"].astype("i4")
        ends = np.stack([one.astype("i4") for one in whole.values()])
        assert (between >= ends.min(0)).all()
        assert (between <= ends.max(0)).all()

    def test_the_maps_are_those_of_the_result(self, sky_result, page_of):
        maps, group = page_of(sky_result).maps, zarr.open_group(sky_result, mode="r")["quality"]
        for name in ("chi2", "iterations", "stop_reason", "seam"):
            np.testing.assert_array_equal(map_values(maps[name]), group[name][...])
        assert maps["stop_reason"]["codes"] == group["stop_reason"].attrs["codes"]
        assert (map_values(maps["attempts"]) == 1).all()

    def test_what_was_found_is_said_in_words(self, sky_result, page_of):
        text = page_of(sky_result).text
        manifest = json.loads((sky_result / "provenance/manifest.json").read_text())
        for words in ("50 x 70 float32 in adu", "white, ", "confidence", manifest["run_id"]):
            assert words in text
        assert manifest["identity"]["source"]["sha256"] in text

    def test_a_name_with_markup_is_shown_and_not_obeyed(self, sky_result, tmp_path, page_of):
        store = tmp_path / "<script>alert(1)<script>&.zarr"
        shutil.copytree(sky_result, store)
        page = page_of(store)
        assert "<script>alert" not in page.source
        assert store.name in page.text


class TestAlone:
    @pytest.mark.parametrize("name", ["sky_result", "photo_result", "enlarged_result"])
    def test_the_page_is_whole_and_refers_to_nothing_outside(self, name, request, page_of):
        page = page_of(request.getfixturevalue(name))
        assert page.open_tags == []
        assert page.addresses
        assert [one for one in page.addresses if not one.startswith("data:")] == []
        assert "://" not in page.source
        assert "default-src 'none'" in page.source


class TestOtherResults:
    def test_an_enlarged_image_is_beside_its_input(self, enlarged_result, page_of):
        page = page_of(enlarged_result)
        before = page.pictures["Before: whole image"]
        assert before.shape == (80, 100)
        # each pixel of the input is a square
        np.testing.assert_array_equal(before[::2, ::2].repeat(2, 0).repeat(2, 1), before)
        assert "enlarged by 2" in page.text
        assert "Strengths side by side" not in page.text

    def test_an_input_that_has_changed_is_not_shown(self, enlarged_result, tmp_path, page_of):
        shutil.copytree(enlarged_result.parent, tmp_path / "moved")
        store = tmp_path / "moved/large.zarr"
        other = tmp_path / "moved/small.fits"

        def elsewhere(manifest):
            manifest["identity"]["source"]["path"] = str(other)

        edit_manifest(store, elsewhere)
        assert "Before: whole image" in page_of(store).pictures
        fits.writeto(other, np.zeros((40, 50), "f4"), overwrite=True)
        page = page_of(store)
        assert "Before: whole image" not in page.pictures
        assert "After: whole image" in page.pictures
        assert "is not there or has changed" in page.text

    def test_tiles_that_failed_are_named(self, sky_result, tmp_path, page_of):
        store = tmp_path / "partial.zarr"
        shutil.copytree(sky_result, store)

        def partial(manifest):
            manifest["status"] = "partial"
            manifest["summary"]["quarantined"] = {"4": "out of <memory>"}

        edit_manifest(store, partial)
        page = page_of(store)
        assert "out of <memory>" in page.text
        assert "1 of 6 tiles could not be restored" in page.text

    def test_a_cube_shows_its_first_plane_and_says_so(self, tmp_path, page_of):
        cube = np.random.default_rng(0).normal(100, 5, (5, 40, 50)).astype("f4")
        fits.writeto(tmp_path / "cube.fits", cube)
        restore(request(tmp_path / "cube.fits", tmp_path / "cube.zarr", COPY), InlinePool())
        page = page_of(tmp_path / "cube.zarr")
        assert "The first of 5 planes is shown" in page.text
        assert page.pictures["After: whole image"].shape == (40, 50)

    def test_a_large_image_is_small_as_a_whole_and_sharp_in_regions(
        self, tmp_path, page_of, monkeypatch
    ):
        monkeypatch.setattr(result_page, "WHOLE_PIXELS", 1000)
        monkeypatch.setattr(result_page, "SIDE", 60)
        monkeypatch.setattr(overview_module, "SCREEN", 120)
        given = starry_sky()
        store = made_result(tmp_path, given, np.full(given.shape, 100, "f4"), noise=10)
        page = page_of(store)
        assert page.pictures["After: whole image"].shape[:2] == (90, 110)
        assert page.pictures["Before: whole image"].shape[:2] == (90, 110)
        for name in ("flattest part", "most detail"):
            assert page.pictures[f"Before: {name}"].shape[:2] == (60, 60)
        assert "pixel for pixel" in page.text

    def test_of_a_huge_image_only_windows_of_what_was_removed_are_read(
        self, tmp_path, page_of, monkeypatch
    ):
        monkeypatch.setattr(result_page, "WHOLE_PIXELS", 1000)
        monkeypatch.setattr(overview_module, "MOST_PIXELS", 1000)
        given = starry_sky()
        page = page_of(made_result(tmp_path, given, given, noise=10))
        assert "Before: whole image" not in page.pictures
        assert "compare the regions" in page.text
        assert any(name.startswith("Before: ") for name in page.pictures)


class TestTarget:
    def test_the_page_is_beside_the_result_and_written_again(self, sky_result):
        target = write_result_page(sky_result)
        assert target == page_name(sky_result) == sky_result.with_name("sky.report.html")
        assert write_result_page(sky_result) == target
        target.unlink()

    def test_another_file_is_replaced_only_if_asked(self, sky_result, tmp_path):
        target = tmp_path / "thesis.html"
        target.write_text("<html>years of work</html>")
        with pytest.raises(UsageError, match="not written by glassplate"):
            write_result_page(sky_result, target)
        assert "years" in target.read_text()
        write_result_page(sky_result, target, overwrite=True)
        assert "years" not in target.read_text()

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("page.pdf", "must end with .html"),
            ("no/page.html", "there is no folder"),
            ("folder.html", "a folder"),
        ],
    )
    def test_a_name_that_does_not_do_is_refused(self, sky_result, tmp_path, name, message):
        (tmp_path / "folder.html").mkdir()
        with pytest.raises(UsageError, match=message):
            write_result_page(sky_result, tmp_path / name)

    def test_there_must_be_a_result_that_has_ended(self, sky_result, tmp_path):
        with pytest.raises(StoreError, match="not a glassplate result"):
            write_result_page(tmp_path)
        store = tmp_path / "running.zarr"
        shutil.copytree(sky_result, store)

        def running(manifest):
            manifest["status"] = "running"

        edit_manifest(store, running)
        with pytest.raises(StoreError, match="has not ended"):
            write_result_page(store)


def test_the_command_makes_the_same_result_again(sky_result, page_of, tmp_path, monkeypatch):
    """The words of the page are those of a command that the command line takes."""
    from typer.testing import CliRunner

    from glassplate.flows.cli.main import app

    page = page_of(sky_result)
    command = page.text.split("To make it again ")[1].split(" Made by")[0]
    program, *words = shlex.split(command)
    again = tmp_path / "again.zarr"
    words[words.index("-o") + 1] = str(again)
    assert program == "glassplate"
    done = CliRunner().invoke(app, [*words, "--pool", "inline", "--progress", "none"])
    assert done.exit_code == 0, done.output
    arrays = [zarr.open_group(store, mode="r")["0"][...] for store in (sky_result, again)]
    np.testing.assert_array_equal(*arrays)
