"""A simulated sky, and commands in processes of their own."""

from __future__ import annotations

import subprocess

import pytest
from commands import Outcome
from skies import write_sky

from glassplate.flows.jobs.running import arriving


@pytest.fixture(autouse=True)
def files_are_whole_at_once(monkeypatch):
    """Restore the files that a test has just written without waiting for further changes of them."""
    monkeypatch.setattr(arriving, "QUIET_NS", 0)


@pytest.fixture
def sky(tmp_path):
    return write_sky(tmp_path / "sky.fits")


@pytest.fixture
def gp_process(command, tmp_path):
    """Run a command in a process of its own. Prefect's home is that of the whole test session."""

    def run(*args, timeout=300):
        done = subprocess.run(
            [*command, *map(str, args)],
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=tmp_path,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with some inputs, two of them in folders of their own."""
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.fits", "in/b.fits", "in/c.tif", "in/night1/a.fits", "in/night2/a.fits"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"SIMPLE  = ")
    return tmp_path


@pytest.fixture
def job_of(folder):
    """Read a job from its text."""
    from glassplate.flows.jobs.job import read_job

    def read(text):
        (folder / "job.yaml").write_text(text)
        return read_job(folder / "job.yaml")

    return read
