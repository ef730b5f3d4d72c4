"""Pages in a real browser: the line, zoom, maps, keys, names, light and dark, and not one complaint."""

import itertools
import json

import chromium
import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from glassplate.pipeline.pages.job_page import write_job_page
from glassplate.pipeline.pages.result_page import write_result_page
from glassplate.pipeline.pages.trial.trial import TrialSettings, draw_trial
from glassplate.pipeline.sources.source import SourceSpec

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        chromium.PROGRAM is None, reason=f"no Chromium here ({', '.join(chromium.NAMES)})"
    ),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium.chromium(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture
def photo(browser, photo_result, tmp_path):
    """The page of the photograph, open."""
    browser.open(write_result_page(photo_result, tmp_path / "photo.html"))
    yield browser
    assert browser.complaints == []


FRAME = "JSON.stringify(document.getElementById('frame').getBoundingClientRect())"
LINE = "parseFloat(document.querySelector('.handle').style.left)"
SCALE = "new DOMMatrix(getComputedStyle(document.querySelector('.moved')).transform).a"
SHIFT = "new DOMMatrix(getComputedStyle(document.querySelector('.moved')).transform).e"


def frame_of(browser):
    box = json.loads(browser.evaluate(FRAME))
    return box["left"], box["top"], box["width"], box["height"]


@pytest.mark.parametrize("name", ["sky_result", "photo_result", "enlarged_result"])
@pytest.mark.parametrize("dark", [False, True])
def test_a_page_loads_nothing_and_complains_of_nothing(browser, name, dark, request, tmp_path):
    page = write_result_page(request.getfixturevalue(name), tmp_path / "page.html")
    browser.open(page, dark=dark)
    assert browser.complaints == []
    assert browser.requests == [page.as_uri()]
    ink, paper = (
        np.array(
            browser.evaluate(
                f"getComputedStyle(document.body).{what}.match(/[0-9]+/g).map(Number)"
            )[:3]
        )
        for what in ("color", "backgroundColor")
    )
    assert (ink.mean() > paper.mean()) == dark
    assert abs(ink.mean() - paper.mean()) > 150


def test_the_line_follows_mouse_keys_and_slider(photo):
    left, top, width, height = frame_of(photo)
    middle = top + height / 2
    photo.drag((left + width / 2, middle), (left + width / 4, middle))
    assert photo.evaluate(LINE) == pytest.approx(25, abs=0.5)
    photo.press("]", "#frame")
    assert photo.evaluate(LINE) == pytest.approx(30, abs=0.5)
    photo.press("ArrowRight", "#split")
    assert photo.evaluate(LINE) == pytest.approx(30.5, abs=0.5)


def test_left_of_the_line_is_before_and_right_of_it_after(photo, photo_result, tmp_path):
    """What is seen are the pixels of the input and of the result, each as a square."""
    import zarr

    left, top, _width, _height = (round(value) for value in frame_of(photo))
    scale = photo.evaluate(SCALE)
    assert scale == int(scale) > 1
    photo.screenshot(tmp_path / "seen.png")
    seen = np.asarray(Image.open(tmp_path / "seen.png").convert("RGB"))
    group = zarr.open_group(photo_result, mode="r")
    after = np.moveaxis(group["0"][...].astype(int), 0, 2)
    before = after + np.moveaxis(group["residual"][...], 0, 2)
    x0 = left + 1 + photo.evaluate(SHIFT)
    y0 = top + 1 + photo.evaluate(SHIFT.replace(".e", ".f"))
    for row, column, expected in ((20, 10, before), (20, 60, after), (40, 3, before)):
        y, x = int(y0 + (row + 0.5) * scale), int(x0 + (column + 0.5) * scale)
        np.testing.assert_array_equal(seen[y, x], expected[row, column])


def test_zoom_by_keys_and_buttons(photo):
    fitted = photo.evaluate(SCALE)
    photo.press("+", "#frame")
    assert photo.evaluate(SCALE) == pytest.approx(1.5 * fitted)
    photo.press("1", "#frame")
    assert photo.evaluate(SCALE) == 1
    assert photo.evaluate("document.getElementById('zoom').textContent") == "1 : 1"
    assert photo.evaluate(
        "getComputedStyle(document.querySelector('.moved img')).imageRendering"
    ) == ("pixelated")
    before = photo.evaluate(SHIFT)
    photo.press("ArrowRight", "#frame")
    assert photo.evaluate(SHIFT) == before - 40
    photo.click('[data-zoom="fit"]')
    assert photo.evaluate(SCALE) == fitted


def test_what_was_removed_can_be_shown(photo):
    photo.click('[data-side="removed"]')
    assert photo.evaluate("document.querySelector('.label.right').textContent") == "removed"
    assert (
        photo.evaluate("""document.querySelector('[data-side="removed"]').ariaPressed""") == "true"
    )


@pytest.fixture(scope="module")
def trial_page(tmp_path_factory):
    """The page of a trial of one window, by recipes `astro-denoise` and `draft`."""
    folder = tmp_path_factory.mktemp("trial")
    image = np.random.default_rng(0).normal(100, 5, (40, 48)).astype(np.float32)
    fits.writeto(folder / "a.fits", image)
    settings = TrialSettings(strengths=[0.5, 1.0], iterations=3)
    return draw_trial(SourceSpec(folder / "a.fits"), folder / "a.html", settings).path


def test_the_pictures_of_a_trial_are_shown_in_its_viewer(browser, trial_page):
    browser.open(trial_page)
    place = "document.getElementById('place').textContent"
    can_show_removed = "!document.querySelector('[data-side=removed]').disabled"
    shown = "document.querySelector('#frame .layer:first-child img').src"
    assert browser.evaluate(place) == "whole image, astro-denoise, strength 1"  # what is seen best
    caption = "document.querySelector('[data-picture=\"0\"]')"
    assert browser.evaluate(f"{caption}.textContent") == "astro-denoise, strength 0.5"
    assert browser.evaluate(f"{caption}.ariaLabel") == "whole image, astro-denoise, strength 0.5"
    browser.click('[data-picture="0"]')
    assert not browser.evaluate(can_show_removed)
    half = browser.evaluate(shown)
    browser.click('[data-picture="2"]')
    assert browser.evaluate(place) == "whole image, draft"
    assert browser.evaluate(can_show_removed)
    assert browser.evaluate(shown) != half
    assert browser.complaints == []
    assert browser.requests == [trial_page.as_uri()]


def test_maps_are_read_by_keys(photo):
    photo.press("ArrowDown", "#map")
    first = photo.evaluate("document.getElementById('map-value').textContent")
    assert first.startswith("chi2, row 0, column 0 of the tiles: ")
    photo.press("ArrowRight", "#map")
    assert "column 1" in photo.evaluate("document.getElementById('map-value').textContent")
    photo.evaluate(
        "(choice => { choice.value = '1'; choice.dispatchEvent(new Event('change')); })"
        "(document.getElementById('map-name'))"
    )
    assert "Why the fit ended" in photo.evaluate("document.getElementById('map').ariaLabel")


def test_everything_that_can_be_used_has_a_name(photo):
    named = {"button", "slider", "combobox", "image", "spinbutton", "textbox", "searchbox"}
    found = photo.names()
    assert {"button", "slider", "combobox"} <= {role for role, _ in found}
    assert [role for role, name in found if role in named and not name.strip()] == []
    levels = photo.evaluate(
        "[...document.querySelectorAll('h1, h2, h3')].map(head => Number(head.tagName[1]))"
    )
    assert levels[0] == 1
    assert all(below - above <= 1 for above, below in itertools.pairwise(levels))


def test_a_narrow_window_does_not_scroll_sideways(browser, photo_result, tmp_path):
    browser.open(write_result_page(photo_result, tmp_path / "photo.html"), width=400)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 400


@pytest.fixture(scope="module")
def job_folder(tmp_path_factory):
    """The account of a job with images that sort otherwise by text than by number."""
    folder = tmp_path_factory.mktemp("job")
    lines = [
        {"image": f"/data/frame{n}.fits", "seconds": seconds, "state": state}
        for n, seconds, state in ((2, 30, "done"), (10, 4, "quarantined"), (1, 100, "pending"))
    ]
    text = "".join(
        json.dumps({**line, "name": f"{n}.zarr", "result": f"{n}.zarr"}) + "\n"
        for n, line in enumerate(lines)
    )
    (folder / "job.jsonl").write_text(text)
    return folder


IMAGES = (
    "[...document.querySelectorAll('#images tbody tr')].filter(row => !row.hidden)"
    ".map(row => row.cells[1].textContent)"
)


def test_a_table_sorts_and_finds(browser, job_folder):
    browser.open(write_job_page(job_folder), dark=True)
    in_order = ["frame1.fits", "frame2.fits", "frame10.fits"]
    for column, expected in ((2, in_order), (9, ["frame10.fits", "frame2.fits", "frame1.fits"])):
        head = f"#images th:nth-child({column}) button"
        browser.click(head)
        assert browser.evaluate(IMAGES) == expected
        assert (
            browser.evaluate(f"document.querySelector('{head}').parentNode.ariaSort") == "ascending"
        )
        browser.click(head)
        assert browser.evaluate(IMAGES) == expected[::-1]
    browser.evaluate(
        "(box => { box.value = 'frame1'; box.dispatchEvent(new Event('input')); })"
        "(document.getElementById('find'))"
    )
    assert sorted(browser.evaluate(IMAGES)) == ["frame1.fits", "frame10.fits"]
    assert browser.evaluate("document.getElementById('found').textContent") == "2 of 3 shown"
    named = {"button", "combobox", "searchbox", "columnheader"}
    assert [role for role, name in browser.names() if role in named and not name.strip()] == []
    assert browser.complaints == []
