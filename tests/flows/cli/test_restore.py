import json
import os
import signal
import subprocess
import time

import numpy as np
import pytest
import tifffile
import zarr
from astropy.io import fits
from manifests import summary

from glassplate.pipeline.errors import DiskFullError
from glassplate.pipeline.run import restore as run_module


class TestRestore:
    def test_restores_exports_and_reports(self, gp, sky, tmp_path):
        store, exported = tmp_path / "out.zarr", tmp_path / "out.fits"
        args = ("restore", sky, "-o", store, "--recipe", "identity", "--export", exported)
        run = gp(*args, "--progress", "plain", "--pool", "inline")
        assert run.code == 0, run
        for words in ("sky.fits: restored, 1 tile", "noise", str(store), str(exported)):
            assert words in run.out
        assert "sky.fits: complete" in run.err
        np.testing.assert_array_equal(fits.getdata(exported), fits.getdata(sky))
        again = gp(*args, "--progress", "plain", "--pool", "inline")
        assert again.code == 0
        assert "done before" in again.out

    def test_an_export_that_is_turned_is_said(self, gp, sky, tmp_path):
        words = (
            "restore",
            sky,
            "-o",
            tmp_path / "o.zarr",
            "--recipe",
            "identity",
            "--pool",
            "inline",
        )
        run = gp(*words, "--export", tmp_path / "o.tif", "--progress", "plain")
        assert run.code == 0, run
        note = f"{tmp_path / 'o.tif'}: rows are in the opposite order: FITS counts them from the bottom"
        assert f"sky.fits: {note}" in run.err
        assert note in gp("export", tmp_path / "o.zarr", tmp_path / "p.tif").err.replace("p.", "o.")
        assert "opposite" not in gp("export", tmp_path / "o.zarr", tmp_path / "p.fits").err

    def test_none_prints_nothing(self, gp, sky, tmp_path):
        run = gp(
            "restore", sky, "-o", tmp_path / "o.zarr", "--recipe", "identity", "--progress", "none",
            "--pool", "inline",
        )  # fmt: skip
        assert (run.code, run.out, run.err) == (0, "", "")

    def test_json_prints_one_object_a_line(self, gp, sky, tmp_path):
        run = gp(
            "restore", sky, "-o", tmp_path / "o.zarr", "--recipe", "identity", "--progress", "json",
            "--pool", "inline",
        )  # fmt: skip
        lines = [json.loads(line) for line in run.out.splitlines()]
        assert [line["event"] for line in lines][:2] == ["RunStarted", "StageStarted"]
        assert lines[-1]["event"] == "ImageReport"
        assert lines[-1]["status"] == "restored"
        assert run.err == ""

    def test_options_reach_the_request(self, gp, sky, tmp_path, monkeypatch):
        seen = {}

        def restore(request, pool, listener):
            seen.update(request=request, workers=pool.workers)
            return run_module.RunResult(request.store, "partial", 4, 3, 1, False, 1.0, summary())

        monkeypatch.setattr(run_module, "restore", restore)
        run = gp(
            "restore", sky, "-o", tmp_path / "o.zarr", "--recipe", "draft", "--set", "fit.iterations=3",
            "--set", "task=superres", "--scale", 2, "--hdu", "SCI", "--mask", "m.fits", "--variance",
            "v.fits", "--psf", "p.fits", "--keep-scratch", "--pool", "local", "--workers", 3, "--device",
            "cpu",
        )  # fmt: skip
        assert run.code == 3, "some tiles are quarantined"
        assert "1 of them quarantined" in run.out
        request = seen["request"]
        assert (request.recipe.fit.iterations, request.recipe.operator.scale) == (3, 2)
        assert (request.spec.hdu, str(request.spec.mask), str(request.spec.variance)) == (
            "SCI", "m.fits", "v.fits",
        )  # fmt: skip
        assert str(request.spec.psf) == "p.fits"
        assert (request.keep_scratch, request.device, seen["workers"]) == (True, "cpu", 3)

    def test_the_unit_of_the_primary_header_is_shown(self, gp, tmp_path):
        noise = np.random.default_rng(0).normal(100, 5, (40, 50)).astype("f4")
        hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(noise)])
        hdus[0].header["BUNIT"] = "adu"
        hdus.writeto(tmp_path / "a.fits")
        words = ("-o", tmp_path / "a.zarr", "--recipe", "identity", "--pool", "inline")
        shown = [
            gp("inspect", tmp_path / "a.fits"),
            gp("restore", tmp_path / "a.fits", *words),
            gp("inspect", tmp_path / "a.zarr"),
        ]
        assert all(" adu" in run.out for run in shown)

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", ["variance", "sigma", "weight"])
    @pytest.mark.parametrize("command", ["restore", "plan"])
    def test_an_image_of_the_noise_that_does_not_fit_is_refused(
        self, gp, sky, tmp_path, kind, command
    ):
        fits.writeto(tmp_path / "n.fits", np.full(fits.getdata(sky).shape, 1e-9))
        out = ("-o", tmp_path / "o.zarr") if command == "restore" else ()
        given = (f"--{kind}", tmp_path / "n.fits")
        run = gp(command, sky, *out, "--recipe", "draft", "--pool", "inline", *given)
        assert run.code == 2
        assert run.err.startswith(f"glassplate: --{kind} ")
        assert len(run.err.splitlines()) == 1
        other = "--weight" if kind == "sigma" else "--sigma"
        run = gp(command, sky, *out, "--pool", "inline", *given, other, sky)
        assert run.code == 2
        assert "give one of them" in run.err

    def test_digits_name_an_extension_by_number(self, gp, tmp_path, sky):
        image = fits.ImageHDU(np.ones((20, 30), "f4"), name="SCI")
        fits.HDUList([fits.PrimaryHDU(), image]).writeto(tmp_path / "two.fits")
        plans = [
            json.loads(
                gp("plan", tmp_path / "two.fits", "--recipe", "identity", "--json", *more).out
            )
            for more in ((), ("--hdu", 1), ("--hdu", "sci"))
        ]
        assert [plan["output_shape"] for plan in plans] == [[20, 30]] * 3

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "more",
        [
            ("--recipe", "astro-deconvolve"),
            ("--recipe", "astro-upscale", "--scale", 3),
        ],
    )
    def test_a_psf_is_read_and_used(self, gp, sky, tmp_path, more):
        psf = np.outer([1, 2, 1], [1, 2, 1]).astype("f4")
        fits.writeto(tmp_path / "psf.fits", psf)
        words = (sky, "--psf", tmp_path / "psf.fits", "--set", "fit.iterations=3", *more)
        warning = f"psf {tmp_path / 'psf.fits'}: its sum is 16, not 1; it is divided by it"
        planned = gp("plan", *words)
        assert planned.code == 0, planned
        assert f"  warning  {warning}" in planned.out
        assert json.loads(gp("plan", *words, "--json").out)["psf_shape"] == [3, 3]
        store, exported = tmp_path / "o.zarr", tmp_path / "o.fits"
        run = gp(
            "restore", *words, "-o", store, "--export", exported, "--progress", "plain", "--pool", "inline"
        )  # fmt: skip
        assert run.code == 0, run
        assert warning in run.err
        scale = 3 if "--scale" in more else 1
        assert fits.getdata(exported).shape == (40 * scale, 56 * scale)
        assert gp("verify", store).code == 0

    @pytest.mark.parametrize(
        ("name", "recipe"), [("a.fits", "astro-denoise"), ("a.tif", "archive-denoise")]
    )
    def test_the_format_decides_the_recipe(self, gp, tmp_path, monkeypatch, sky, name, recipe):
        path = tmp_path / name
        if path.suffix == ".tif":
            tifffile.imwrite(path, np.random.default_rng(0).integers(0, 255, (30, 40), "u1"))
        else:
            path.write_bytes(sky.read_bytes())
        monkeypatch.setattr(
            "glassplate.pipeline.planning.summary.projected_seconds", lambda *_, **__: 1.0
        )
        assert json.loads(gp("plan", path, "--json").out)["recipe"] == recipe


class TestPlan:
    def test_plan_writes_nothing_and_matches_restore(self, gp, sky, tmp_path, done):
        before = sorted(tmp_path.iterdir())
        run = gp("plan", sky, "--recipe", "identity", "--json")
        facts = json.loads(run.out)
        assert facts["output_shape"] == list(zarr.open_group(done, mode="r")["0"].shape)
        keys = {
            "output_shape",
            "tiles",
            "batches",
            "host_bytes",
            "device_bytes",
            "disk_bytes",
            "seconds",
        }
        assert keys <= set(facts)
        text = gp("plan", sky, "--recipe", "identity").out
        assert "40 x 56" in text
        assert "memory" in text
        assert "at once" not in text
        assert sorted(tmp_path.iterdir()) == before

    @pytest.mark.slow
    def test_plan_shows_how_many_fits_run_at_once(self, gp, sky):
        wishes = ("tiles.core=16", "tiles.stack=2", "tiles.together=grouped", "network.channels=4")
        text = gp("plan", sky, *(word for wish in wishes for word in ("--set", wish))).out
        assert "  at once  2 fits a worker, grouped\n" in text


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["inline", "local"])
def test_sigterm_ends_a_run_that_can_be_resumed(command, sky, tmp_path, pool):
    args = [
        *command, "restore", str(sky), "-o", str(tmp_path / "o.zarr"), "--recipe", "draft", "--set",
        "stopping.rule=fixed", "--set", "fit.iterations=100000", "--pool", pool, "--workers", "1",
    ]  # fmt: skip
    process = subprocess.Popen(
        args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    until = time.monotonic() + 240  # a busy machine starts a command in a minute
    while not (tmp_path / "o.zarr").exists() and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(1)
    # as a terminal's Ctrl-C does, to every process of the command
    os.killpg(process.pid, signal.SIGINT if pool == "local" else signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("glassplate: interrupted; what is done is kept in")
    assert out == ""


class TestSeveralImages:
    @pytest.fixture
    def mosaic(self, tmp_path):
        rng = np.random.default_rng(0)
        hdus = [fits.PrimaryHDU()]
        hdus[0].header["TELESCOP"] = "HST"
        for version in (1, 2):
            pixels = rng.normal(100, 5, (30, 40)).astype("f4")
            hdus.append(fits.ImageHDU(pixels, name="SCI", ver=version))
            hdus.append(fits.ImageHDU(np.zeros((30, 40), "i2"), name="DQ", ver=version))
        fits.HDUList(hdus).writeto(tmp_path / "m.fits")
        return tmp_path / "m.fits"

    def test_each_has_a_result_and_the_export_has_all(self, gp, mosaic, tmp_path):
        words = (
            "restore", mosaic, "-o", tmp_path / "o.zarr", "--hdu", "all", "--recipe", "identity",
            "--mask", f"{mosaic}[DQ]", "--pool", "inline", "--export", tmp_path / "out.fits",
        )  # fmt: skip
        run = gp(*words)
        assert run.code == 0, run
        assert "m.fits[SCI,1]: restored" in run.out
        assert {path.name for path in tmp_path.glob("*.zarr")} == {"o-SCI,1.zarr", "o-SCI,2.zarr"}
        with fits.open(tmp_path / "out.fits", checksum=True) as out, fits.open(mosaic) as given:
            assert [(hdu.name, hdu.ver) for hdu in out] == [(hdu.name, hdu.ver) for hdu in given]
            assert "GPRUNID" in out["SCI", 1].header
            assert out["SCI", 1].header["GPRUNID"] != out["SCI", 2].header["GPRUNID"]
            for hdu in (1, 3):
                np.testing.assert_array_equal(out[hdu].data, given[hdu].data)
        before = (tmp_path / "out.fits").stat().st_mtime_ns
        again = gp(*words)
        assert "done before" in again.out
        assert (tmp_path / "out.fits").stat().st_mtime_ns == before
        assert gp("verify", tmp_path / "o-SCI,2.zarr").code == 0

        stores = [tmp_path / f"o-SCI,{version}.zarr" for version in (1, 2)]
        words = ("export", stores[0], tmp_path / "two.fits", "--with", stores[1], "--add")
        assert gp(*words, "footprint", "--add", "residual").code == 0
        with fits.open(tmp_path / "two.fits") as out:
            assert [hdu.name for hdu in out[-4:]] == ["FOOTPRINT", "RESIDUAL"] * 2

    def test_a_refused_one_does_not_stop_the_others(self, gp, mosaic, tmp_path):
        with fits.open(mosaic, mode="update") as hdus:
            hdus["SCI", 1].data[:] = np.nan
        words = ("--hdu", "all", "--recipe", "identity", "--pool", "inline", "--progress")
        target = ("-o", tmp_path / "o.zarr", "--export", tmp_path / "out.fits")
        why = "all 1200 pixels are invalid"
        run = gp("restore", mosaic, *words, "plain", *target)
        assert run.code == 3, run
        assert f"m.fits[SCI,1]: quarantined\n  reason      {mosaic}: {why}" in run.out
        assert "m.fits[SCI,2]: restored" in run.out
        assert [path.name for path in tmp_path.glob("*.zarr")] == ["o-SCI,2.zarr"]
        with fits.open(tmp_path / "out.fits", checksum=True) as out, fits.open(mosaic) as given:
            assert np.isnan(out["SCI", 1].data).all()
            np.testing.assert_array_equal(out["SCI", 2].data, given["SCI", 2].data)
            assert [("GPRUNID" in out["SCI", n].header) for n in (1, 2)] == [False, True]
        assert why in gp("restore", mosaic, *words, "none", *target).err

        plan = gp("plan", mosaic, *words[:-1])
        assert plan.code == 3
        assert f"{mosaic}[SCI,1] cannot be restored\n  reason   {mosaic}: {why}" in plan.out
        assert "in all, 1 image, without 1 that cannot be restored\n" in plan.out
        plans = json.loads(gp("plan", mosaic, *words[:-1], "--json").out)
        assert [one["part"] for one in plans["refused"]] == ["SCI,1"]
        assert [one["part"] for one in plans["images"]] == ["SCI,2"]

    def test_where_all_are_refused_it_is_an_error(self, gp, mosaic, tmp_path):
        words = (mosaic, "--hdu", "all", "--recipe", "identity", "--guide", mosaic)
        for command in (("plan",), ("restore", "-o", tmp_path / "o.zarr", "--export", "x.fits")):
            run = gp(*command, *words)
            assert run.code == 2, run
            assert "guide" in run.err.splitlines()[-1]
        assert not list(tmp_path.glob("*.zarr"))

    def test_a_full_disk_stops_them_all(self, gp, mosaic, tmp_path, monkeypatch):
        tried = []

        def restore(request, *_):
            tried.append(request.spec.hdu)
            raise DiskFullError("the disk is full")

        monkeypatch.setattr(run_module, "restore", restore)
        run = gp("restore", mosaic, "-o", tmp_path / "o.zarr", "--hdu", "all")
        assert run.code == 1, run
        assert tried == ["SCI,1"]

    def test_a_lost_input_is_said(self, gp, mosaic, tmp_path):
        words = ("-o", tmp_path / "o.zarr", "--recipe", "identity", "--pool", "inline")
        assert gp("restore", f"{mosaic}[SCI,2]", *words).code == 0
        mosaic.unlink()
        run = gp("export", tmp_path / "o.zarr", tmp_path / "out.fits")
        assert run.code == 0
        assert run.err.startswith("warning: the other 4 HDUs of the input are left out: m.fits is")

    def test_they_do_not_fit_into_a_tiff(self, gp, mosaic, tmp_path):
        run = gp(
            "restore", mosaic, "-o", tmp_path / "o.zarr", "--hdu", "SCI,*", "--recipe", "identity",
            "--export", tmp_path / "out.tif",
        )  # fmt: skip
        assert run.code == 2
        assert "several results go into a FITS file only; name it .fits" in run.err
        assert not list(tmp_path.glob("*.zarr"))

    def test_a_plan_is_of_each_and_of_all(self, gp, mosaic, tmp_path):
        words = (mosaic, "--hdu", "all", "--recipe", "identity", "--pool", "inline")
        run = gp("plan", *words)
        assert run.code == 0, run
        heads = [line for line in run.out.splitlines() if not line.startswith(" ")]
        assert heads == [
            f"{mosaic}[SCI,1], recipe identity",
            f"{mosaic}[SCI,2], recipe identity",
            "in all, 2 images",
        ]
        plans = json.loads(gp("plan", *words, "--json").out)
        assert [plan["part"] for plan in plans["images"]] == ["SCI,1", "SCI,2"]
        for key, total in (("tiles", sum), ("disk_bytes", sum), ("host_bytes", max)):
            assert plans[key] == total(plan[key] for plan in plans["images"]), key
        alone = json.loads(gp("plan", f"{mosaic}[SCI,2]", *words[3:], "--json").out)
        assert {**alone, "seconds": 0} == {**plans["images"][1], "seconds": 0}
        # as restore does it
        assert gp("restore", *words, "-o", tmp_path / "o.zarr").code == 0
        for plan in plans["images"]:
            store = zarr.open_group(tmp_path / f"o-{plan['part']}.zarr", mode="r")
            assert plan["output_shape"] == list(store["0"].shape)

    def test_a_plan_of_one_that_all_finds_is_as_ever(self, gp, sky):
        words = ("plan", sky, "--recipe", "identity", "--json")
        plans = [json.loads(gp(*words, *more).out) for more in ((), ("--hdu", "all"))]
        assert [plan["part"] for plan in plans] == ["", "PRIMARY"]
        assert plans[0]["disk_bytes"] == plans[1]["disk_bytes"]
