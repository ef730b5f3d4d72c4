"""`glassplate inspect` looks at the pixels, and proposes one command."""

import json
import shlex

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image


def look_at(gp, path):
    run = gp("inspect", path, "--json")
    assert run.code == 0, run
    return json.loads(run.out)["look"]


@pytest.fixture
def starry(tmp_path):
    """A sky of white noise with stars of a width of 3.5 pixels, a hole, and no saturated pixel."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:200, :200]
    image = 1000 + rng.normal(0, 5, (200, 200))
    for _ in range(25):
        cy, cx = rng.uniform(10, 190, 2)
        image += 3000 * np.exp(-4 * np.log(2) * ((y - cy) ** 2 + (x - cx) ** 2) / 3.5**2)
    image[:20, :20] = np.nan
    path = tmp_path / "starry sky.fits"
    fits.writeto(path, image.astype("f4"), fits.Header({"BUNIT": "adu"}))
    return path


def test_a_sky(gp, starry):
    look = look_at(gp, starry)
    assert look["noise"]["sigma"] == pytest.approx(5, rel=0.1)
    assert look["noise_words"].startswith("white, ")
    assert abs(look["correlation"]) < 0.1
    assert look["missing"] == pytest.approx(0.01, rel=0.5)
    assert look["saturated"] == 0
    assert look["star_width"] == pytest.approx(3.5, rel=0.15)
    assert look["sampling"] == "well sampled"
    assert look["recipe"] == "astro-denoise"
    words = shlex.split(look["command"])
    assert words[:3] == ["glassplate", "restore", str(starry)]
    text = gp("inspect", starry).out
    assert f"try        {look['command']}" in text
    assert "because    the measurements have noise" in text


def test_the_proposed_command_is_taken(gp, starry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, command, *words = shlex.split(look_at(gp, starry)["command"])
    assert command == "restore"
    plan = [words[0], *words[words.index("--recipe") :]]
    assert gp("plan", *plan, "--pool", "inline").code == 0


def test_a_jpeg_of_low_quality(gp, tmp_path):
    y, x = np.mgrid[:160, :160]
    smooth = np.stack([y, x, 160 - y], -1) * 255 / 160
    for quality in (20, 95):
        Image.fromarray(smooth.astype("u1")).save(tmp_path / f"{quality}.jpg", quality=quality)
    low = look_at(gp, tmp_path / "20.jpg")
    assert low["jpeg"] == {"quality": 20, "sampling": [2, 2]}
    assert low["recipe"] == "archive-deartifact"
    assert low["star_width"] is None
    assert "of quality 20, colours for each 2 x 2 pixels" in gp("inspect", tmp_path / "20.jpg").out
    assert look_at(gp, tmp_path / "95.jpg")["jpeg"]["quality"] == 95


def test_a_clean_picture_needs_nothing(gp, tmp_path):
    flat = np.full((100, 120), 90, "u1")
    flat[:, 60:] = 160
    Image.fromarray(flat).save(tmp_path / "clean.png")
    look = look_at(gp, tmp_path / "clean.png")
    assert (look["recipe"], look["command"]) == (None, None)
    assert "no noise was found" in look["reason"]
    assert "try " not in gp("inspect", tmp_path / "clean.png").out


def test_saturated_pixels_of_whole_numbers(gp, tmp_path):
    image = np.random.default_rng(0).normal(5000, 50, (100, 100)).clip(0, 65535).astype("u2")
    image[40:50, 40:50] = 65535
    fits.writeto(tmp_path / "ccd.fits", image)
    assert look_at(gp, tmp_path / "ccd.fits")["saturated"] == pytest.approx(0.01)


def test_what_cannot_be_restored_is_said(gp, tmp_path):
    fits.writeto(tmp_path / "empty.fits", np.full((30, 30), np.nan, "f4"))
    assert "all 900 pixels are invalid" in look_at(gp, tmp_path / "empty.fits")["refused"]
    assert "refused    " in gp("inspect", tmp_path / "empty.fits").out


def test_the_pixels_can_be_left_alone(gp, sky):
    assert json.loads(gp("inspect", sky, "--json", "--no-pixels").out)["look"] is None
    assert "noise" not in gp("inspect", sky, "--no-pixels").out
