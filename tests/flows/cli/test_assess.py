"""`glassplate assess`."""

import json

import numpy as np
import pytest
import tifffile
import yaml
from assessed import starry_sky
from astropy.io import fits
from runs import FIT


class TestWithReference:
    def test_prints_the_comparison(self, gp, done, sky):
        figures = json.loads(gp("assess", done, "--reference", sky, "--json").out)
        assert {"psnr_db", "ssim", "mse", "chi2", "flux_ratio"} <= set(figures)
        assert figures["mse"] == 0
        assert "flux_ratio" in gp("assess", done, "--reference", sky).out


class TestByItself:
    def test_prints_one_document(self, gp, done):
        found = json.loads(gp("assess", done, "--json").out)
        assert found["task"] == "identity"
        assert found["residual"]["rms"] == 0
        assert found["background"]["shift"] == 0
        assert found["photograph"] is None

    def test_prints_a_table_and_what_is_odd(self, gp, done):
        run = gp("assess", done)
        assert run.code == 0
        for word in ("background", "noise", "residual", "neighbours", "structure", "adu"):
            assert word in run.out, run.out
        assert run.out.splitlines()[-1] == "nothing is far from what is expected"
        assert max(map(len, run.out.splitlines())) < 120

    def test_prints_the_table_for_fadgi(self, gp, tmp_path):
        pixels = np.random.default_rng(0).integers(90, 110, (70, 80, 3), np.uint8)
        tifffile.imwrite(tmp_path / "page.tif", pixels, photometric="rgb")
        words = ("--recipe", "identity", "--pool", "inline")
        assert gp("restore", tmp_path / "page.tif", "-o", tmp_path / "page.zarr", *words).code == 0
        run = gp("assess", tmp_path / "page.zarr")
        assert run.code == 0, run
        for word in ("tone", "colour", "FADGI measure", "white balance", "needs a ruler"):
            assert word in run.out, run.out

    def test_refuses_in_one_line(self, gp, tmp_path):
        run = gp("assess", tmp_path)
        assert (run.code, run.out) == (2, "")
        assert "not a glassplate result" in run.err


@pytest.mark.slow
class TestWithSources:
    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory):
        """A sky with stars, and a recipe whose result is its input, since all noise is mixed back."""
        folder = tmp_path_factory.mktemp("sources")
        fits.writeto(folder / "sky.fits", starry_sky())
        recipe = {**FIT, "task": "denoise", "tiles": {"core": 240, "halo": 8}}
        recipe["output"] = {"chunk": 64, "shard": 128, "grain": 1.0}
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        return folder

    @pytest.fixture
    def store(self, gp, folder):
        store = folder / "sky.zarr"
        words = ("--recipe", folder / "recipe.yaml", "--pool", "inline", "--device", "cpu")
        assert gp("restore", folder / "sky.fits", "-o", store, *words).code == 0
        return store

    def test_prints_a_table_and_draws(self, gp, store, tmp_path):
        run = gp("assess", store, "--inject", 20, "--figure", tmp_path / "found.png")
        assert run.code == 0, run
        assert "20 sources of 20 in 1 tile, width 4" in run.out
        assert "2 galaxy S/N 50" in run.out
        assert run.out.splitlines()[-1] == "nothing is far from what is expected"
        assert (tmp_path / "found.png").read_bytes().startswith(b"\x89PNG")
        assert max(map(len, run.out.splitlines())) < 120

    def test_prints_one_document(self, gp, store):
        found = json.loads(gp("assess", store, "--inject", 10, "--seed", 3, "--json").out)
        assert (found["requested"], found["seed"], len(found["rows"])) == (10, 3, 10)
        assert {row["kept"] for row in found["rows"]} == {1.0}

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--seed", 1), "--seed 1: belongs to --inject N; add it or leave --seed out"),
            (("--psf", "a.fits"), "--psf a.fits: belongs to --inject N"),
            (("--figure", "a.png"), "--figure a.png: belongs to --inject N"),
            (("--inject", 5, "--figure", "a.jpg"), "a.jpg: figures are .png"),
            (
                ("--inject", 5, "--reference", "r.fits"),
                "--inject 5 and --reference r.fits: give one",
            ),
            (("--inject", 0), "Invalid value for '--inject'"),
            (("--inject", 5), "denoised images only, leave --inject out"),
        ],
    )
    def test_refuses_in_one_line(self, gp, done, words, message):
        run = gp("assess", done, *words)
        assert (run.code, run.out) == (2, "")
        [line] = run.err.splitlines()
        assert message in line
