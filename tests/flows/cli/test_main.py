import errno
import os
import subprocess
import sys

import pytest

from glassplate.pipeline.run import restore as run_module

COMMANDS = (
    "restore", "plan", "batch", "serve", "inspect", "verify", "export", "preview", "report", "assess",
    "recipes", "schema", "doctor",
)  # fmt: skip


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
            "slow |= {'logging', 'ctypes', 'glassplate.pipeline.events'}\n"
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
    (
        ("--progress", "loud"),
        "'--progress': 'loud' is not one of 'auto', 'rich', 'plain', 'json', 'none'",
    ),
    (("--device", "tpu"), "'--device': 'tpu' is not one of 'auto', 'cpu', 'cuda'"),
    (
        ("--pool", "lake", "--recipe", "identity"),
        "pool lake: expected auto, inline, local or an address",
    ),
    (("--workers", "0"), "--workers"),
    (("--page", "1", "--recipe", "identity"), "--page"),
    (("--hdu", "9", "--recipe", "identity"), "9"),
    (("--export", "out.jpg", "--recipe", "identity"), "out.jpg"),
    (("--export", "/proc/no/out.fits", "--recipe", "identity"), "there is no folder /proc/no"),
    (("-o", "/proc/no/o.zarr", "--recipe", "identity"), "/proc/no/o.zarr: cannot be written"),
    (("--no-such-flag",), "No such option"),
]


class TestRefusals:
    @pytest.mark.slow
    @pytest.mark.parametrize(("args", "message"), BAD)
    def test_an_invalid_option_is_one_line_and_writes_nothing(
        self, gp, sky, tmp_path, args, message
    ):
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
            (("restore", "a.fits", "b.fits", "-o", "o.zarr"), "a job takes many: glassplate batch"),
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

    def test_a_folder_of_the_user_is_not_overwritten(self, gp, sky, tmp_path):
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

    def test_an_interruption_of_any_command_is_exit_code_130(self, gp, monkeypatch):
        def describe(path):
            raise KeyboardInterrupt

        monkeypatch.setattr("glassplate.pipeline.sources.describe.describe", describe)
        run = gp("inspect", "x.fits")
        assert (run.code, run.err) == (130, "glassplate: interrupted\n")
