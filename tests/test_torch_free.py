"""What reads settings, records and results does not import torch, which takes seconds in each process."""

import subprocess
import sys

import pytest
from runs import COPY, request
from skies import write_sky

from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.run.restore import restore

# Put before a program: the first import of torch ends it, and the traceback says who imported it.
REFUSE = """
import sys

class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise AssertionError("torch is imported")

sys.meta_path.insert(0, Refusing())
"""
COMMAND = "from glassplate.flows.cli.main import main; main()"
MANY = """
import ast
from typer.testing import CliRunner
from glassplate.flows.cli.main import app

for words in ast.literal_eval(sys.argv[1]):
    ended = CliRunner().invoke(app, words)
    if ended.exit_code:
        raise SystemExit(f"{words}: {ended.output}") from ended.exception
"""

MODULES = (
    "glassplate",
    "glassplate.models.device.numerics",
    "glassplate.models.fit.problem",
    "glassplate.models.fit.settings",
    "glassplate.models.networks.settings",
    "glassplate.models.noise.model",
    "glassplate.models.pixel_transform",
    "glassplate.pipeline.recipes.recipe",
    "glassplate.pipeline.provenance.manifest",
    "glassplate.pipeline.provenance.records",
    "glassplate.pipeline.provenance.machine",
    "glassplate.pipeline.open_source",
    "glassplate.pipeline.planning.plan",
    "glassplate.pipeline.planning.plan_files",
    "glassplate.pipeline.result.opened",
    "glassplate.pipeline.run.finished",
    "glassplate.pipeline.pages.job_page",
    "glassplate.flows.jobs.job",
    "glassplate.flows.jobs.images",
    "glassplate.flows.jobs.running.run_images",
)


def run(*words, folder=None):
    return subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, timeout=300, cwd=folder
    )


def test_an_import_of_torch_would_be_seen():
    ended = run("-c", f"{REFUSE}\nimport glassplate.models.fit.loop")
    assert "torch is imported" in ended.stderr


def test_modules_of_settings_and_records_import_no_torch():
    ended = run("-c", f"{REFUSE}\nimport {', '.join(MODULES)}")
    assert ended.returncode == 0, ended.stderr


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A folder with an image, its result and a job."""
    folder = tmp_path_factory.mktemp("done")
    sky = write_sky(folder / "sky.fits")
    restore(request(sky, folder / "sky.zarr", COPY), InlinePool())
    (folder / "job.yaml").write_text(
        "inputs: sky.fits\noutput: out\nrecipe: identity\npool: inline\n"
    )
    return folder


@pytest.mark.slow
def test_commands_that_only_read_import_no_torch(done):
    commands = [
        ("recipes", "astro-denoise"),
        ("inspect", "sky.fits"),
        ("inspect", "sky.zarr"),
        ("verify", "sky.zarr"),
        ("report", "sky.zarr"),
        ("export", "sky.zarr", "sky.tif"),
    ]
    ended = run("-c", f"{REFUSE}{MANY}", repr(commands), folder=done)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.prefect
@pytest.mark.slow
def test_a_job_in_which_nothing_is_new_imports_no_torch(done):
    job = ("batch", "job.yaml", "--progress", "plain")
    first = run("-c", COMMAND, *job, folder=done)
    assert first.returncode == 0, first.stderr
    again = run("-c", f"{REFUSE}{COMMAND}", *job, folder=done)
    assert again.returncode == 0, again.stderr
    assert "1 skipped" in again.stdout
