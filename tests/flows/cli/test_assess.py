"""`glassplate assess`."""

import json

import numpy as np
import tifffile


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
