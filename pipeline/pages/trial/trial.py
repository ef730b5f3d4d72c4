"""Try recipes on a few windows of an image, and draw what they would do."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL.Image import Image
from PIL.PngImagePlugin import PngInfo

from glassplate.pipeline.cached_source import close_cached_sources
from glassplate.pipeline.errors import GlassplateError, SourceError, UsageError
from glassplate.pipeline.export.preview import check_preview_target
from glassplate.pipeline.export.strength import check_strength
from glassplate.pipeline.failures import Failure
from glassplate.pipeline.files import replacing
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.pages.html import SUFFIX as PAGE_SUFFIX
from glassplate.pipeline.pages.html import check_page_target
from glassplate.pipeline.pages.shown_result import FloatArray
from glassplate.pipeline.pages.trial.fits import (
    ITERATIONS,
    TrialFit,
    Tried,
    recipes_to_try,
    removes_something,
    short_plan,
    try_window,
)
from glassplate.pipeline.pages.trial.page import write_trial_page
from glassplate.pipeline.pages.trial.pictures import ShownInput, trial_rows
from glassplate.pipeline.pages.trial.sheet import draw_sheet
from glassplate.pipeline.pages.trial.windows import TrialWindow, choose_windows, window_at
from glassplate.pipeline.planning.first_look import FirstLook, look_and_plan
from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.pools.pool import attempt, ignore_progress
from glassplate.pipeline.sources.file_format import holds_measurements
from glassplate.pipeline.sources.source import Source, SourceSpec
from glassplate.pipeline.sources.unpack import forget_unpacked
from glassplate.pipeline.text import printable
from glassplate.pipeline.tile_grid import Box


@dataclass(frozen=True, kw_only=True)
class TrialSettings:
    """What is tried."""

    strengths: Sequence[float] = (0.3, 0.6, 1.0)
    """Of the proposed recipe, each 0, the input, to 1, everything removed; at least one."""
    at: tuple[int, int] | None = None
    """Row and column of the middle of a single window; None for up to four that are chosen by content."""
    iterations: int = ITERATIONS
    """Most of each fit."""


@dataclass(frozen=True)
class TrialSheet:
    """The sheet that was drawn."""

    path: Path
    notes: tuple[str, ...]
    """What was found and tried, and what was not, one line each; they stand on the sheet too."""
    seconds: float
    """How long it took."""


def draw_trial(
    spec: SourceSpec,
    target: Path,
    settings: TrialSettings,
    say: Callable[[str], None] = lambda _: None,
) -> TrialSheet:
    """Restore a few windows of an image by several recipes, with short fits, and draw them on one sheet.

    The noise and the scaling are those of the whole image. The recipes are the one that `first_look`
    proposes, at each strength, then `draft`, and for some JPEGs a third. Of a cube the first plane is shown.

    Parameters
    ----------
    spec
        The image.
    target
        ``.png``, or ``.html`` for a page; an existing file is replaced only if glassplate made it.
    settings
        What is tried.
    say
        Told what is being done, a few words at a time.

    Raises
    ------
    UsageError
        If the name, a strength or the place is not suitable, or nothing was found that could be removed.
    GlassplateError
        As `first_look`, or if no fit succeeds.
    """
    as_page = target.suffix.lower() == PAGE_SUFFIX
    if as_page:
        check_page_target(target, overwrite=False)
    else:
        check_preview_target(target, f".png or {PAGE_SUFFIX}")
    for strength in settings.strengths:
        check_strength(strength, 0)
    began = time.monotonic()
    try:
        look, planned = look_and_plan(spec)
        plans, notes = _plans(look, planned, settings.iterations)
        shown, windows = _windows(plans[0], settings.at)
        tried, failures = _restored(plans, windows, say)
    finally:
        close_cached_sources()
        forget_unpacked(spec)
    columns, rows, words = trial_rows(shown, windows, tried, settings.strengths)
    notes = (*notes, *unchanged(tried), *failures, words)
    if as_page:
        write_trial_page(target, printable(spec.path.name), columns, rows, notes)
    else:
        _write_png(target, draw_sheet(columns, rows, notes))
    return TrialSheet(target, notes, time.monotonic() - began)


def _write_png(target: Path, sheet: Image) -> None:
    text = PngInfo()
    text.add_text("Software", f"glassplate {version('glassplate')}")
    with replacing(target, target.with_name(f".{target.name}.partial")) as partial:
        sheet.save(partial, "PNG", pnginfo=text)


def _plans(look: FirstLook, planned: Plan, iterations: int) -> tuple[list[Plan], tuple[str, ...]]:
    """The plans that remove something, that of the proposed recipe first, and what is to be said."""
    plans = [short_plan(planned, recipe, iterations=iterations) for recipe in recipes_to_try(look)]
    useful = [plan for plan in plans if removes_something(plan)]
    if not useful:
        raise UsageError(f"{look.image}: nothing to preview: {look.reason}")
    useless = [plan.recipe_name for plan in plans if not removes_something(plan)]
    return useful, (
        f"noise: {look.noise_words}",
        f"{look.recipe} is proposed: {look.reason}",
        f"each window has a fit of its own, of at most {iterations} iterations; those of a run are longer",
        *(f"{name} is left out, since it would remove nothing" for name in useless),
        *look.warnings,
    )


def _windows(plan: Plan, at: tuple[int, int] | None) -> tuple[ShownInput, list[TrialWindow]]:
    """How the image is drawn, and the windows that are tried, at least one."""
    with closing(open_source(plan.spec, plan.findings)) as source:
        shape, shown = source.shape[1:], ShownInput.of(source)
        if at is None:
            chosen = _chosen(source, shown, plan)
        elif at[0] < shape[0] and at[1] < shape[1]:
            chosen = [window_at(at, shape)]
        else:
            raise UsageError(
                f"--at {at[0]},{at[1]}: the image has {shape[0]} rows and {shape[1]} columns; choose a "
                "place in it"
            )
        return shown, chosen


def _chosen(source: Source, shown: ShownInput, plan: Plan) -> list[TrialWindow]:
    def read(box: Box) -> FloatArray:
        pixels = source.read(box, plan.grid.channels(0))
        given = plan.in_source_units(pixels.values.astype(np.float64))
        return np.where(pixels.valid, given, np.nan)

    windows = choose_windows(
        read,
        source.shape[1:],
        measurements=holds_measurements(plan.spec.path),
        white=shown.white if shown.is_photograph else math.inf,
    )
    if not windows:
        raise SourceError(
            f"{plan.spec.path}: no window that was looked at has a valid pixel; choose a place with --at"
        )
    return windows


def _restored(
    plans: Sequence[Plan], windows: Sequence[TrialWindow], say: Callable[[str], None]
) -> tuple[dict[str, dict[TrialWindow, Tried]], list[str]]:
    """Each window by each recipe, and why some could not be restored."""
    tasks = [TrialFit(plan, window) for plan, window in itertools.product(plans, windows)]
    tried: dict[str, dict[TrialWindow, Tried]] = {plan.recipe_name: {} for plan in plans}
    failures: list[str] = []
    for number, task in enumerate(tasks, start=1):
        recipe, window = task.plan.recipe_name, task.window
        say(f"fit {number} of {len(tasks)}: {recipe}, {window.name}")
        outcome = attempt(try_window, task, ignore_progress)
        if isinstance(outcome, Failure):
            failures.append(f"{recipe} did not restore the {window.name}: {outcome.message}")
        else:
            tried[recipe][window] = outcome
    if not any(tried.values()):
        raise GlassplateError(f"{plans[0].spec.path}: no window could be restored: {failures[-1]}")
    return tried, failures


def unchanged(tried: Mapping[str, Mapping[TrialWindow, Tried]]) -> list[str]:
    """One line for each recipe that left a window as it was."""
    lines = []
    for recipe, found in tried.items():
        same = [window.name for window, one in found.items() if not one.changed]
        if same and len(same) == len(found):
            lines.append(f"{recipe} changed nothing, in no window")
        elif same:
            lines.append(f"{recipe} changed nothing in the {' and the '.join(same)}")
    return lines
