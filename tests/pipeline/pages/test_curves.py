"""The lines of a plot follow the log of the fits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassplate.pipeline.pages.curves import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    _plot,
    loss_plots,
)
from glassplate.pipeline.pages.shown_result import ShownResult

ITERATIONS = np.array([[10.0, 20, 30], [10, 20, np.nan]])


def points(text):
    return np.array([[float(number) for number in point.split(",")] for point in text.split()])


@given(
    st.lists(st.floats(-1e9, 1e9) | st.just(np.nan), min_size=6, max_size=6),
)
def test_every_point_lies_in_the_plot(values):
    plot = _plot("loss", ITERATIONS, np.array(values).reshape(2, 3))
    if plot is None:
        assert not np.isfinite(np.array(values).reshape(2, 3)[np.isfinite(ITERATIONS)]).any()
        return
    for line in plot.lines:
        x, y = points(line).T
        assert (np.diff(x) > 0).all()
        assert ((x >= LEFT) & (x <= WIDTH - RIGHT + 0.1)).all()
        assert ((y >= TOP - 0.1) & (y <= HEIGHT - BOTTOM + 0.1)).all()


@pytest.mark.parametrize("largest", [3.0, 3000.0])
def test_a_smaller_loss_is_lower_and_the_marks_agree(largest):
    plot = _plot("loss", ITERATIONS, np.array([[largest, 2, 1], [largest, 1.5, 1]]))
    assert (np.diff(points(plot.lines[0])[:, 1]) > 0).all()
    places = [tick.place for tick in plot.y_ticks]
    assert len(places) >= 3
    assert (
        np.argsort(places).tolist() == np.argsort([-float(t.text) for t in plot.y_ticks]).tolist()
    )


def test_a_result_has_its_curves(sky_result):
    plots = loss_plots(ShownResult(sky_result))
    assert "Loss on the pixels that were fitted" in [plot.title for plot in plots]
    assert all(len(plot.lines) == 6 for plot in plots)
    assert all("in the median tile, over up to 2 iterations" in plot.words for plot in plots)
