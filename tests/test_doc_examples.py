"""The examples of the documentation run, in Python and in bash.

Each bash example runs in a folder of its own that holds the files of `example_files`, with fits of three
iterations. An HTML comment right before an example changes that: `<!-- not run: REASON -->`, or
`<!-- run with: OPTIONS -->` for options that every `glassplate restore` of it needs here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits
from command_server import command_server
from doc_pages import PAGES, REPOSITORY, TUTORIALS, blocks
from example_files import write_examples


def run_bash(
    script: str, folder: Path, commands: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a script that finds `glassplate` on its PATH and ends at the first command that fails."""
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{commands}:{os.environ['PATH']}", **variables},
        cwd=folder,
        check=False,
    )


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    """A folder with the command `glassplate`."""
    with command_server(tmp_path_factory.mktemp("commands")) as folder:
        yield folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory, commands):
    """A folder with an image and its result, of three levels, as the examples assume."""
    folder = tmp_path_factory.mktemp("examples")
    values = np.random.default_rng(0).normal(100, 5, (600, 80)).astype(np.float32)
    fits.writeto(folder / "image.fits", values)
    command = "glassplate restore image.fits -o image.zarr --recipe identity"
    done = run_bash(command, folder, commands)
    assert done.returncode == 0, done.stderr
    return folder


class TestPythonExamples:
    @pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
    def test_compile(self, page):
        for text in blocks(page, "python"):
            compile(text, page.name, "exec")

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["index.md", "results.md", "python.md"])
    def test_run_in_order(self, name, folder, monkeypatch, capsys):
        monkeypatch.chdir(folder)
        names: dict[str, object] = {"__name__": "example"}
        for text in blocks(REPOSITORY / "docs" / name, "python"):
            exec(compile(text, name, "exec"), names)
        assert "nan" not in capsys.readouterr().out


BATCH = "glassplate batch"
BASH = re.compile(
    r"^(?:<!-- (not run|run with): (.+?) -->\n)?```(?:bash|sh|console)\n(.*?)^```",
    re.MULTILINE | re.DOTALL,
)
BASH_EXAMPLES = [
    pytest.param(
        page,
        found[2] or "",
        found[3],
        id=f"{page.name}:{found[3].splitlines()[0][:60]}",
        marks=[pytest.mark.prefect] if BATCH in found[3] else [],
    )
    for page in PAGES
    if page not in TUTORIALS
    for found in BASH.finditer(page.read_text("utf-8"))
    if found[1] != "not run"
]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with every file that the bash examples read."""
    folder = tmp_path_factory.mktemp("inputs")
    write_examples(folder)
    return folder


@pytest.mark.slow
class TestBashExamples:
    @pytest.mark.parametrize(("page", "options", "text"), BASH_EXAMPLES)
    def test_run(self, page, options, text, inputs, folder, commands, tmp_path, request):
        if BATCH in text:
            request.getfixturevalue("shared_prefect")
        work = tmp_path / "work"
        shutil.copytree(inputs, work)
        if "image.zarr" in text and "-o image.zarr" not in text:
            shutil.copytree(folder / "image.zarr", work / "image.zarr")
            shutil.copy2(folder / "image.fits", work / "image.fits")
        write_job(page, work)
        script = text.replace("/data/tmp", str(tmp_path))
        done = run_bash(script, work, commands, EXTRA_OPTIONS=options)
        assert done.returncode == 0, done.stdout + done.stderr

    def test_a_failing_example_is_noticed(self, commands, tmp_path):
        command = "glassplate restore missing.fits -o missing.zarr"
        done = run_bash(command, tmp_path, commands)
        assert done.returncode == 2
        assert "missing.fits" in done.stderr


STEP = re.compile(r"^(<!-- not run: .+? -->\n)?```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(
            page,
            marks=[pytest.mark.prefect] if BATCH in page.read_text("utf-8") else [],
            id=page.stem,
        )
        for page in TUTORIALS
    ],
)
def test_a_tutorial_runs_from_its_first_step_to_its_last(
    page, commands, tmp_path, monkeypatch, request
):
    """All steps in their order, in one folder that is empty at first; a job is written as job.yaml."""
    monkeypatch.chdir(tmp_path)
    if BATCH in page.read_text("utf-8"):
        request.getfixturevalue("shared_prefect")
    names: dict[str, object] = {"__name__": page.stem}
    for not_run, kind, text in STEP.findall(page.read_text("utf-8")):
        if kind == "python":
            exec(compile(text, page.name, "exec", dont_inherit=True), names)
        elif kind == "yaml":
            Path("job.yaml").write_text(text, "utf-8")
        elif kind == "bash" and not not_run:
            done = run_bash(text, tmp_path, commands)
            assert done.returncode == 0, done.stdout + done.stderr


def write_job(page: Path, folder: Path) -> None:
    """Write the first job of a page as job.yaml, with short fits in this process."""
    jobs = [yaml.safe_load(text) for text in blocks(page, "yaml")]
    for job in [job for job in jobs if "inputs" in job][:1]:
        short = {"pool": "inline", "device": "cpu", "set": {"fit.iterations": 3}}
        (folder / "job.yaml").write_text(yaml.safe_dump({**job, **short}), "utf-8")
