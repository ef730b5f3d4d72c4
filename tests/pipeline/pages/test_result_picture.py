"""The picture of a result is a PNG of the whole, the right way up, which glassplate knows as its own."""

import numpy as np
import pytest
from PIL import Image

from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.export.own_files import is_export
from glassplate.pipeline.pages import overview
from glassplate.pipeline.pages.result_picture import write_result_picture


def test_a_sky_is_grey_with_its_first_row_at_the_bottom(sky_result):
    target = write_result_picture(sky_result)
    assert target == sky_result.with_name("sky.report.png")
    drawn = np.asarray(Image.open(target))
    assert drawn.shape[:2] == (50, 70)
    assert drawn[-6:, :6].mean() > drawn.mean() + 50, "the bright corner is the lowest"
    assert is_export(target)
    assert write_result_picture(sky_result) == target


def test_a_photograph_has_colours_and_fits_on_a_screen(photo_result, tmp_path, monkeypatch):
    monkeypatch.setattr(overview, "SCREEN", 40)
    drawn = np.asarray(Image.open(write_result_picture(photo_result, tmp_path / "a.png")))
    assert drawn.shape == (25, 35, 3)


def test_the_picture_of_another_is_left_alone(sky_result, tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "mine.png")
    with pytest.raises(UsageError, match="not written by glassplate"):
        write_result_picture(sky_result, tmp_path / "mine.png")
    with pytest.raises(UsageError, match="must end with"):
        write_result_picture(sky_result, tmp_path / "a.jpg")
