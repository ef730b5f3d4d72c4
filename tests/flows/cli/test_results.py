"""Commands that read a result."""

import json

import numpy as np
from astropy.io import fits
from observatories import flagged, hst, write
from observatories import sky as sky_of_noise


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


def test_commands_refuse_a_damaged_result_in_one_line(gp, sky, tmp_path):
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


def test_inspect_names_what_is_found_beside_an_image(gp, tmp_path):
    path = hst(tmp_path / "flt.fits", flagged({(1, 1): 4096}), chips=2)
    text = gp("inspect", path).out
    assert "with mask flt.fits[DQ,2], flags of HST WFC3 UVIS" in text
    assert "with sigma flt.fits[ERR,1]" in text
    images = json.loads(gp("inspect", path, "--json").out)["images"]
    assert [len(image["companions"]) for image in images] == [0, 2, 0, 0, 2, 0, 0]
    plan = gp("plan", path, "--recipe", "draft").out
    assert "mask     flt.fits[DQ,1], found by name; flags of HST" in plan
    assert "sigmas   flt.fits[ERR,1], found by name; as sigma" in plan
    chosen = gp("plan", path, "--recipe", "draft", "--dq-bits", "16+4").out
    assert "flags of companions.dq_bits: bad 4 16" in chosen
    wrong = gp("plan", path, "--recipe", "draft", "--dq-codes", 4)
    assert wrong.code == 2
    assert "holds sums of flags by the table of HST WFC3 UVIS; give companions.dq_bits" in wrong.err


def test_a_damaged_file_beside_an_image_is_named(gp, tmp_path):
    path = write(tmp_path / "c4d_1_ooi_r.fits", [("N1", sky_of_noise(), {})])
    (tmp_path / "c4d_1_ood_r.fits").write_bytes(b"SIMPLE  = broken")
    run = gp("inspect", path)
    assert run.code == 0
    assert "with " in run.out
    assert "c4d_1_ood_r.fits" in run.out


def test_preview_refuses_in_one_line(gp, done, sky, tmp_path):
    picture = tmp_path / "a.png"
    for words, why in [
        ((sky, "-o", tmp_path / "a.jpg"), "previews are .png"),
        ((sky, "-o", picture, "--strength", 2), "--strength 2 must be between"),
        ((sky, "-o", picture, "--at", "x"), "--at x: expected ROW,COLUMN"),
        ((tmp_path / "none.fits", "-o", picture), "none.fits"),
        ((done, "-o", picture), "nothing was removed"),
        ((done, picture), "nothing was removed"),
        ((done, picture, "-o", picture), "both name what to write"),
    ]:
        run = gp("preview", *words)
        assert run.code == 2, run
        assert why in run.err
        assert len(run.err.splitlines()) == 1
    assert not picture.exists()
