import errno
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile
import zarr
from astropy.io import fits

from glassplate.pipeline.recipe import recipe_names
from glassplate.pipeline.run import restore as run_module

COMMANDS = (
    "restore", "plan", "batch", "serve", "inspect", "verify", "export", "assess", "recipes", "doctor",
)  # fmt: skip


@pytest.fixture
def done(gp, sky, tmp_path):
    """An identity result of the sky."""
    store = tmp_path / "done.zarr"
    run = gp("restore", sky, "-o", store, "--recipe", "identity", "--pool", "inline")
    assert run.code == 0, run
    return store


class TestHelp:
    def test_lists_every_command(self, gp):
        run = gp("--help")
        assert run.code == 0
        assert all(f"\n  {name} " in run.out for name in COMMANDS), run.out
        commands = run.out.partition("Commands:")[2]
        assert "..." not in commands, "a summary is too long to be shown"

    @pytest.mark.parametrize("name", COMMANDS)
    def test_explains_each_command(self, gp, name):
        run = gp(name, "--help")
        assert run.code == 0
        assert run.out.startswith(f"Usage: glassplate {name}")

    def test_imports_nothing_slow(self):
        code = (
            "import sys, glassplate.flows.cli.main\n"
            "slow = {'torch', 'prefect', 'distributed', 'dask', 'astropy', 'zarr', 'numpy', 'pydantic'}\n"
            "sys.exit(' '.join(slow & set(sys.modules)) or 0)"
        )
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr

    def test_without_a_command_is_wrong_usage(self, gp):
        run = gp()
        assert run.code == 2
        assert "Commands:" in run.out

    def test_version(self, gp):
        assert gp("--version").out.strip()


class TestRestore:
    def test_restores_exports_and_says_so(self, gp, sky, tmp_path):
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
            return run_module.RunResult(request.store, "partial", 4, 3, 1, False, 1.0, {})

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

    @pytest.mark.parametrize("kind", ["variance", "sigma", "weight"])
    @pytest.mark.parametrize("command", ["restore", "plan"])
    def test_noise_that_is_no_noise_of_the_image(self, gp, sky, tmp_path, kind, command):
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

    @pytest.mark.parametrize(
        "more",
        [
            ("--recipe", "astro-deconvolve"),
            ("--recipe", "archive-upscale", "--scale", 3, "--set", "operator.kernel=box"),
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
            "glassplate.pipeline.planning.summary.projected_seconds", lambda *_: 1.0
        )
        assert json.loads(gp("plan", path, "--json").out)["recipe"] == recipe


BAD = [
    (("--recipe", "drafft"), "did you mean 'draft'"),
    (("--set", "fit.iteration=10"), "did you mean 'fit.iterations'"),
    (("--set", "fit.iterations"), "expected KEY=VALUE"),
    (("--set", "tiles.core=-5"), "tiles.core is -5"),
    (("--scale", "3.5"), "--scale 3.5: expected a whole number from 2 to 16"),
    (("--scale", "17"), "--scale 17: expected a whole number from 2 to 16"),
    (("--scale", "-2"), "--scale -2: expected a whole number from 2 to 16"),
    (("--recipe", "astro-deconvolve"), "task deconvolve needs a PSF; add --psf FILE"),
    (("--psf", "psf.fits"), "--psf psf.fits: task denoise uses no PSF; drop it or add --recipe"),
    (
        ("--recipe", "astro-deconvolve", "--psf", "psf.fits"),
        "psf psf.fits: no such file",
    ),
    (("--scale", "2", "--recipe", "draft"), "task superres"),
    (("--progress", "loud"), "--progress loud: expected one of auto, rich, plain, json, none"),
    (("--device", "tpu"), "--device tpu: expected auto, cpu or cuda"),
    (
        ("--pool", "lake", "--recipe", "identity"),
        "pool lake: expected auto, inline, local or an address",
    ),
    (("--workers", "0"), "--workers"),
    (("--page", "1", "--recipe", "identity"), "--page"),
    (("--hdu", "9", "--recipe", "identity"), "9"),
    (("--export", "out.jpg", "--recipe", "identity"), "out.jpg"),
    (("--no-such-flag",), "No such option"),
]


class TestRefusals:
    @pytest.mark.parametrize(("args", "message"), BAD)
    def test_a_wrong_wish_is_one_line_and_leaves_nothing(self, gp, sky, tmp_path, args, message):
        run = gp("restore", sky, "-o", tmp_path / "o.zarr", *args)
        assert run.code == 2, run
        assert message in run.err
        assert run.err.startswith("glassplate: ")
        assert len(run.err.splitlines()) == 1, run.err
        assert run.out == ""
        assert sorted(path.name for path in tmp_path.iterdir()) == ["sky.fits"]

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (("restore", "x.fits"), "Missing option '-o'"),
            (("restore", "none.fits", "-o", "o.zarr"), "none.fits: no such file"),
            (("restor",), "Did you mean 'restore'"),
            (("--bogus",), "No such option"),
            (("inspect", "none.zarr"), "none.zarr"),
            (("verify", "none.zarr"), "not a glassplate result"),
            (("export", "none.zarr", "o.fits"), "not a glassplate result"),
            (("assess", "none.zarr", "--reference", "r.fits"), "not a glassplate result"),
            (("recipes", "astro"), "'astro'"),
            (("batch", "none.yaml"), "none.yaml: No such file"),
            (("serve", "none.yaml", "--interval", "5"), "none.yaml: No such file"),
            (("serve", "job.yaml"), "either --cron"),
            (("serve", "job.yaml", "--cron", "* * * * *", "--interval", "5"), "either --cron"),
            (("serve", "job.yaml", "--interval", "0"), "at least 1 second"),
        ],
    )
    def test_every_command_refuses_in_one_line(self, gp, tmp_path, monkeypatch, args, message):
        monkeypatch.chdir(tmp_path)
        run = gp(*args)
        assert run.code == 2, run
        assert message in run.err
        assert len(run.err.splitlines()) == 1

    def test_a_job_without_images_is_refused(self, gp, tmp_path):
        job = tmp_path / "job.yaml"
        job.write_text(f"inputs: {tmp_path}/*.fits\noutput: {tmp_path}/out\nrecipe: identity\n")
        run = gp("batch", job)
        assert (run.code, run.out) == (2, "")
        assert "no such file" in run.err
        assert not (tmp_path / "out").exists()

    def test_what_is_not_ours_stays(self, gp, sky, tmp_path):
        (tmp_path / "o.zarr").mkdir()
        (tmp_path / "o.zarr" / "thesis.txt").write_text("years of work")
        run = gp("restore", sky, "-o", tmp_path / "o.zarr", "--recipe", "identity")
        assert run.code == 2
        assert "will not be overwritten" in run.err
        assert (tmp_path / "o.zarr" / "thesis.txt").read_text() == "years of work"


class TestFailures:
    def failing(self, gp, sky, tmp_path, monkeypatch, error, *args):
        def restore(request, pool, listener):
            raise error

        monkeypatch.setattr(run_module, "restore", restore)
        return gp("restore", sky, "-o", tmp_path / "o.zarr", "--recipe", "identity", *args)

    def test_a_full_disk_can_be_resumed(self, gp, sky, tmp_path, monkeypatch):
        error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        run = self.failing(gp, sky, tmp_path, monkeypatch, error)
        assert run.code == 1
        assert run.err.splitlines() == [
            "glassplate: the disk is full; free some space and run the same command again to resume"
        ]

    def test_a_bug_is_one_line_with_a_hint(self, gp, sky, tmp_path, monkeypatch):
        run = self.failing(gp, sky, tmp_path, monkeypatch, KeyError("boom"))
        assert run.code == 1
        assert run.err == "glassplate: KeyError: 'boom' (run it again with --debug to see where)\n"

    def test_debug_shows_where(self, gp, sky, tmp_path, monkeypatch):
        run = self.failing(gp, sky, tmp_path, monkeypatch, KeyError("boom"), "--debug")
        assert run.code == 1
        assert "Traceback" in run.err
        assert run.err.endswith("glassplate: KeyError: 'boom'\n")

    def test_an_interruption_says_how_to_resume(self, gp, sky, tmp_path, monkeypatch):
        run = self.failing(gp, sky, tmp_path, monkeypatch, KeyboardInterrupt())
        assert run.code == 130
        assert run.err == "glassplate: interrupted before anything was written\n"
        (tmp_path / "o.zarr").mkdir()
        run = self.failing(gp, sky, tmp_path, monkeypatch, KeyboardInterrupt())
        assert run.code == 130
        assert "the same command goes on from there" in run.err
        assert len(run.err.splitlines()) == 1

    def test_an_interruption_elsewhere_is_130_too(self, gp, monkeypatch):
        def describe(path):
            raise KeyboardInterrupt

        monkeypatch.setattr("glassplate.pipeline.open_source.describe", describe)
        run = gp("inspect", "x.fits")
        assert (run.code, run.err) == (130, "glassplate: interrupted\n")


class TestResults:
    def test_inspect_a_source(self, gp, sky):
        facts = json.loads(gp("inspect", sky, "--json").out)
        assert (facts["kind"], facts["format"]) == ("source", "fits")
        (image,) = facts["images"]
        assert image["shape"] == [40, 56]
        assert "40 x 56 float32 adu" in gp("inspect", sky).out

    def test_inspect_a_result(self, gp, done):
        facts = json.loads(gp("inspect", done, "--json").out)
        assert (facts["kind"], facts["status"], facts["recipe"]) == (
            "result",
            "complete",
            "identity",
        )
        assert facts["tiles"] == {"total": 1, "done": 1, "quarantined": 0}
        text = gp("inspect", done).out
        assert "complete, recipe identity" in text
        assert "1 of 1 done" in text

    def test_verify(self, gp, done):
        assert json.loads(gp("verify", done, "--json").out)["ok"] is True
        (chunk,) = (path for path in (done / "0").rglob("c/*/*") if path.is_file())
        raw = bytearray(chunk.read_bytes())
        raw[len(raw) // 2] ^= 0xFF
        chunk.write_bytes(raw)
        run = gp("verify", done, "--json")
        assert run.code == 1
        assert json.loads(run.out)["ok"] is False
        run = gp("verify", done)
        assert run.code == 1
        assert "BAD  checksums" in run.out

    def test_export(self, gp, done, sky, tmp_path):
        run = gp("export", done, tmp_path / "again.fits")
        assert (run.code, run.out.strip()) == (0, str(tmp_path / "again.fits"))
        np.testing.assert_array_equal(fits.getdata(tmp_path / "again.fits"), fits.getdata(sky))
        assert gp("export", done, tmp_path / "far.fits", "--level", 9).code == 2

    def test_assess(self, gp, done, sky):
        figures = json.loads(gp("assess", done, "--reference", sky, "--json").out)
        assert {"psnr_db", "ssim", "mse", "chi2", "flux_ratio"} <= set(figures)
        assert figures["mse"] == 0
        assert "flux_ratio" in gp("assess", done, "--reference", sky).out

    def test_plan_writes_nothing_and_matches_what_restore_does(self, gp, sky, tmp_path, done):
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

    def test_plan_says_how_many_fits_go_together(self, gp, sky):
        wishes = ("tiles.core=16", "tiles.stack=2", "tiles.together=grouped", "network.channels=4")
        text = gp("plan", sky, *(word for wish in wishes for word in ("--set", wish))).out
        assert "  at once  2 fits a worker, grouped\n" in text


class TestRecipes:
    def test_each_is_listed_with_what_it_is_for(self, gp):
        lines = gp("recipes").out.splitlines()
        assert [line.split()[0] for line in lines] == recipe_names()
        assert all(len(line.split()) > 3 for line in lines)

    @pytest.mark.parametrize("name", recipe_names())
    def test_each_is_printed_with_its_comments(self, gp, name):
        run = gp("recipes", name)
        assert run.code == 0
        assert run.out.startswith("#")
        assert "task:" in run.out


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
    until = time.monotonic() + 60
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
