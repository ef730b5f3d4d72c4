import io
import json
from pathlib import Path

import pytest

from glassplate.flows.report.progress import PlainDisplay, open_display
from glassplate.flows.report.tally import Tally
from glassplate.pipeline.events import (
    FitProgress,
    RunEnded,
    RunStarted,
    StageAdvanced,
    StageStarted,
    TileDone,
    Warned,
)

STORE = Path("/out/m31.zarr")


class Clock:
    """A clock that is moved by hand."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def whole_run():
    """Every kind of event, in order."""
    return [
        RunStarted(Path("/in/m31.fits"), STORE, 4, 1),
        StageStarted(STORE, "restore", 4),
        FitProgress(STORE, 1, 50, 100, 1.0),
        TileDone(STORE, 1, True, 100, "heldout", 2.0),
        TileDone(STORE, 2, False, 0, "FloatingPointError: diverged", 1.0),
        TileDone(STORE, 2, True, 80, "heldout", 1.0),
        TileDone(STORE, 3, True, 80, "cap", 1.0),
        StageStarted(STORE, "stitch", 1),
        StageAdvanced(STORE, "stitch", 1, 1),
        Warned(STORE, "something odd"),
        RunEnded(STORE, "complete", 12.0),
    ]


class TestTally:
    def test_counts_finished_tiles(self):
        tally = Tally(STORE)
        for event in whole_run():
            tally.update(event)
        assert (tally.name, tally.tiles, tally.done, tally.status) == ("m31.fits", 4, 4, "complete")
        assert (tally.stage, tally.stage_done, tally.stage_total) == ("stitch", 1, 1)

    def test_speed_is_that_of_all_workers_together(self):
        clock = Clock()
        tally = Tally(STORE, clock)
        for second in range(5):
            clock.now = 100.0 + second
            for tile in (0, 1):
                tally.update(FitProgress(STORE, tile, 30 * second, 1000, second))
        assert tally.speed == pytest.approx(60)

    def test_the_speed_stays_right_when_a_tile_ends_or_starts_again(self):
        clock = Clock()
        tally = Tally(STORE, clock)
        for now, event in [
            (1, FitProgress(STORE, 0, 90, 100, 1)),
            (2, FitProgress(STORE, 0, 10, 100, 1)),
            (3, TileDone(STORE, 0, True, 100, "cap", 2)),
        ]:
            clock.now = now
            tally.update(event)
        assert tally.speed == pytest.approx((10 + 90) / 2)

    def test_time_left_counts_fractions_of_running_fits_and_no_earlier_tiles(self):
        clock = Clock()
        tally = Tally(STORE, clock)
        tally.update(RunStarted(Path("a.fits"), STORE, 10, 4))
        assert tally.remaining_s is None
        clock.now += 30
        tally.update(FitProgress(STORE, 4, 50, 100, 30))
        assert tally.remaining_s == pytest.approx(30 / 0.5 * 5.5)
        tally.update(TileDone(STORE, 4, True, 100, "cap", 30))
        assert tally.remaining_s == pytest.approx(30 / 1 * 5)

    def test_time_left_leaves_out_the_start_of_the_workers(self):
        clock = Clock()
        tally = Tally(STORE, clock)
        tally.update(RunStarted(Path("a.fits"), STORE, 4, 0))
        clock.now += 60
        tally.update(FitProgress(STORE, 0, 50, 100, 2.0))
        assert tally.remaining_s == pytest.approx(2 / 0.5 * 3.5)

    def test_no_time_is_left_when_all_is_done(self):
        clock = Clock()
        tally = Tally(STORE, clock)
        tally.update(RunStarted(Path("a.fits"), STORE, 1, 0))
        clock.now += 3
        tally.update(TileDone(STORE, 0, True, 100, "cap", 30))
        assert tally.remaining_s == 0


class TestPlain:
    def test_the_donor_has_a_line_per_period(self):
        clock, err = Clock(), io.StringIO()
        display = PlainDisplay(io.StringIO(), err, clock=clock)
        display(StageStarted(STORE, "donor", 1000))
        for second in range(1, 12):
            clock.now += 1
            display(StageAdvanced(STORE, "donor", 10 * second, 1000))
        lines = err.getvalue().splitlines()
        assert [line.partition(": ")[2] for line in lines] == [
            "donor", "donor 50 of 1000", "donor 100 of 1000",
        ]  # fmt: skip

    def play(self, seconds_between):
        clock, err = Clock(), io.StringIO()
        display = PlainDisplay(io.StringIO(), err, period_s=5, clock=clock)
        for event in whole_run():
            display(event)
            clock.now += seconds_between
        return err.getvalue().splitlines()

    def test_start_stages_warnings_and_end_always_have_a_line(self):
        lines = self.play(0)
        assert lines == [
            "m31.fits: 4 tiles, 1 done before",
            "m31.fits: stitch",
            "m31.fits: warning: something odd",
            "m31.fits: complete in 12 s",
        ]

    def test_tiles_have_a_line_per_period(self):
        lines = self.play(6)
        assert "m31.fits: 2 of 4 tiles, 8 iterations/s, 14 s left" in lines
        assert len(lines) == 4 + 5

    def test_many_tiles_are_not_many_lines(self):
        clock, err = Clock(), io.StringIO()
        display = PlainDisplay(io.StringIO(), err, period_s=5, clock=clock)
        display(RunStarted(Path("a.fits"), STORE, 1000, 0))
        for tile in range(1000):
            clock.now += 0.1
            display(TileDone(STORE, tile, True, 10, "cap", 1.0))
        assert 19 <= len(err.getvalue().splitlines()) <= 22


@pytest.mark.parametrize("kind", ["rich", "plain", "json", "none"])
def test_every_kind_takes_every_event(kind):
    out, err = io.StringIO(), io.StringIO()
    with open_display(kind, out=out, err=err) as display:
        for event in whole_run():
            display(event)
        display.report("Result", "all is well", {"path": STORE})
        display.forget(STORE)
        display.forget(Path("/never/seen.zarr"))
    if kind == "none":
        assert out.getvalue() == err.getvalue() == ""
    elif kind == "json":
        assert err.getvalue() == ""
        documents = [json.loads(line) for line in out.getvalue().splitlines()]
        assert [d["event"] for d in documents] == [
            *(type(event).__name__ for event in whole_run()),
            "Result",
        ]
        assert documents[0]["source"] == "/in/m31.fits"
        assert documents[-1]["path"] == str(STORE)
    else:
        assert out.getvalue() == "all is well\n"
        assert "m31.fits: complete in 12 s" in err.getvalue()
        assert "something odd" in err.getvalue()


def test_bars_show_tiles_speed_and_time_left():
    from rich.console import Console
    from rich.progress import Progress, TextColumn

    from glassplate.flows.report.bars import RichDisplay

    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=120, color_system=None)
    columns = TextColumn("{task.description}"), TextColumn("{task.fields[figures]}")
    with Progress(*columns, console=console, auto_refresh=False) as bars:
        display = RichDisplay(bars, io.StringIO())
        for event in whole_run()[:4]:
            display(event)
        (bar,) = bars.tasks
        assert (bar.description, bar.completed, bar.total) == ("m31.fits", 2, 4)
        assert "2 of 4 tiles" in bar.fields["figures"]
        assert "iterations/s" in bar.fields["figures"]
        assert "left" in bar.fields["figures"]
        display.forget(STORE)
        assert not bars.tasks


def test_auto_is_plain_without_a_terminal():
    err = io.StringIO()
    with open_display("auto", out=io.StringIO(), err=err) as display:
        display(whole_run()[0])
    assert err.getvalue() == "m31.fits: 4 tiles, 1 done before\n"
