"""A job given again whose results are damaged: the image is named, the good export stays."""

import shutil

import pytest


@pytest.mark.prefect
@pytest.mark.slow
def test_a_damaged_result_is_quarantined_and_its_export_stays(gp_process, make_sky, tmp_path):
    # a chunk that was gone once made the export all NaN, "done before", exit code 0
    for seed, name in enumerate(("gone", "altered", "whole")):
        make_sky(tmp_path / f"{name}.fits", seed=seed)
    job, out = tmp_path / "job.yaml", tmp_path / "out"
    job.write_text(
        "inputs: ['*.fits']\noutput: out\nrecipe: identity\nexport: auto\npool: inline\n"
    )
    assert gp_process("batch", job, "--progress", "none").code == 0
    exports = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.glob("*.fits")}
    assert len(exports) == 3
    shutil.rmtree(out / "gone.zarr" / "0" / "c")
    with (out / "altered.zarr" / "0" / "c" / "0" / "0").open("r+b") as chunk:
        chunk.write(b"\xff")
    run = gp_process("batch", job)
    assert run.code == 3, run
    assert "3 images: 1 done before, 2 quarantined" in run.out
    assert "gone.zarr: is damaged, 1 file(s) missing, first 0/c/0/0" in run.out
    assert "altered.zarr: is damaged, 1 file(s) damaged, first 0/c/0/0" in run.out
    assert "Traceback" not in run.out + run.err
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in out.glob("*.fits")} == exports


def test_the_commands_say_it_in_a_line(gp, sky, tmp_path):
    words = ["restore", sky, "-o", tmp_path / "a.zarr", "--recipe", "identity", "--pool", "inline"]
    words += ["--progress", "none", "--export", tmp_path / "a.fits"]
    assert gp(*words).code == 0
    assert gp(*words).code == 0
    before = (tmp_path / "a.fits").stat().st_mtime_ns
    (tmp_path / "a.zarr" / "0" / "c" / "0" / "0").unlink()
    for command in (words, ["export", tmp_path / "a.zarr", tmp_path / "b.fits"]):
        run = gp(*command)
        assert run.code == 2, run
        [line] = run.err.splitlines()
        assert "is damaged, 1 file(s) missing, first 0/c/0/0" in line
    assert (tmp_path / "a.fits").stat().st_mtime_ns == before
    assert not (tmp_path / "b.fits").exists()
    assert gp("verify", tmp_path / "a.zarr").code == 1
