"""Artificial sources put into an input, restored again, and searched for.

Half of them are points and half small galaxies, on empty places. Their signal to noise in the input is 5, 8,
12, 20 and 50, equally many of each. The tiles are restored as the run did it, with its recipe, its noise and
its donor, into a temporary folder; the result itself stays as it is. Sources are measured in the restored
image as a user would, not in the difference to the one without them, since a network is not linear.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from glassplate.pipeline.assess.injection.artificial import ArtificialSource
from glassplate.pipeline.assess.injection.placing import Place, Reach, find_places, make_sources
from glassplate.pipeline.assess.injection.profile import PointSpread, given_psf, measured_psf
from glassplate.pipeline.assess.injection.recorded_run import RecordedRun, recorded_run
from glassplate.pipeline.assess.injection.recovery import (
    THRESHOLD,
    PurityRow,
    RecoveryRow,
    SourcePixels,
    measure_recovery,
)
from glassplate.pipeline.assess.injection.recovery_causes import recovery_causes
from glassplate.pipeline.assess.injection.restored_again import (
    RestoredAgain,
    opened_with_sources,
    restore_tiles_again,
    tiles_that_count,
)
from glassplate.pipeline.assess.result import AssessedResult
from glassplate.pipeline.companions.psf import read_psf
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.pools.pool import InlinePool, Pool
from glassplate.pipeline.sources.sample_windows import sample
from glassplate.pipeline.sources.unpack import forget_unpacked
from glassplate.pipeline.store.row_order import first_row_is_lowest
from glassplate.pipeline.tile_grid import Box


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """What a restoration does to sources of known place and light."""

    store: str
    """The result, as the user names it."""
    unit: str | None
    """Unit of the pixels; None if the input states none."""
    requested: int
    """Sources that were asked for."""
    sources: int
    """Sources that were put in and measured; fewer where the image has no more empty places, or tiles
    failed."""
    seed: int
    psf: Literal["measured", "given"]
    """Whether the point-spread function was measured in the image."""
    fwhm: float
    """Its full width at half maximum, pixels."""
    threshold: float = THRESHOLD
    """Signal to noise in the input from which a peak is a detection, in both images."""
    tiles: int
    """Tiles that had to be restored again."""
    failed: int
    """Those of them that failed."""
    rows: tuple[RecoveryRow, ...]
    purity: tuple[PurityRow, ...]
    causes: tuple[str, ...]
    """A sentence for each figure that is far from what is expected, with its likely cause."""


@dataclass(frozen=True, eq=False)
class Injection:
    """A recovery, and the pixels that it was measured in."""

    recovery: Recovery
    pixels: tuple[SourcePixels, ...]
    from_bottom: bool
    """Whether a person sees the first row of the image at the bottom."""


def inject(
    store: Path, count: int, *, seed: int = 0, psf: Path | None = None, pool: Pool | None = None
) -> Injection:
    """Put artificial sources into the input of a result, restore their tiles again, and measure them.

    Parameters
    ----------
    store
        A result of FITS or of floats from which noise was removed. Its input must be where it was.
    count
        Sources, at least 1.
    seed
        Of places, kinds and photons.
    psf
        Image of the point-spread function; None to measure it.
    pool
        Restores the tiles; None for this process.

    Raises
    ------
    UsageError
        If the result is not of that kind, has no empty place, or no stars to measure.
    SourceError, StoreError
        If the input is gone or changed, or the result is damaged.
    """
    result = AssessedResult(store)
    _check(result, count)
    run = recorded_run(store, result.manifest)
    try:
        rng = np.random.default_rng(seed)
        spread, places = _places(run, str(store), count, psf, rng)
        sources = make_sources(places, spread, result.noise, rng)
        tiles, done, pixels = _restored(run, sources, places, spread, pool or InlinePool())
    finally:
        forget_unpacked(run.plan.spec)
    rows, purity = measure_recovery(pixels, spread)
    recovery = Recovery(
        store=str(store),
        unit=result.unit,
        requested=count,
        sources=len(pixels),
        seed=seed,
        psf="measured" if psf is None else "given",
        fwhm=round(spread.fwhm, 2),
        tiles=tiles,
        failed=tiles - done,
        rows=rows,
        purity=purity,
        causes=recovery_causes(rows, purity),
    )
    return Injection(recovery, pixels, first_row_is_lowest(result.attributes))


def _places(
    run: RecordedRun, name: str, count: int, psf: Path | None, rng: np.random.Generator
) -> tuple[PointSpread, list[Place]]:
    """The point-spread function of the image, and empty places, at least one."""
    with closing(open_source(run.plan.spec, run.plan.findings)) as source:
        given = None if psf is None else given_psf(read_psf(psf).psf)
        spread = given or measured_psf(sample(source), name)
        places = find_places(source, run.plan, spread, count, rng)
    if not places:
        side = Reach(spread.measured_half).step
        raise UsageError(
            f"--inject {count}: {name} has no empty place of {side} x {side} valid pixels for a source of "
            f"width {spread.fwhm:.1f}; give a sharper --psf, or an image with some empty sky"
        )
    return spread, places


def _check(result: AssessedResult, count: int) -> None:
    """Refuse a result into whose input no source can be put, or in which it could not be measured."""
    named = f"--inject {count}: {result.store}"
    if count < 1:
        raise UsageError(f"{named}: at least 1 source is needed")
    if result.is_photograph:
        raise UsageError(
            f"{named} is a photograph of integers, in which stars say nothing; leave --inject out"
        )
    if not (result.traits.denoises and result.same_grid):
        raise UsageError(
            f"{named} is {result.traits.result}; sources are measured in denoised images only, leave "
            "--inject out"
        )
    if result.manifest.identity.exposures:
        raise UsageError(
            f"{named} is made of several exposures, and sources can be put into one only; leave --inject out"
        )
    grid = result.manifest.plan.grid
    if (result.shape[0] if grid.joint else grid.colours) > 1:
        raise UsageError(
            f"{named} has {result.shape[0]} planes that are restored together, and sources can be put into "
            "one only; leave --inject out"
        )


def _restored(
    run: RecordedRun,
    sources: Sequence[ArtificialSource],
    places: Sequence[Place],
    spread: PointSpread,
    pool: Pool,
) -> tuple[int, int, tuple[SourcePixels, ...]]:
    """Restore the tiles that count at the sources, and cut the sources out of both images.

    Returns
    -------
    tiles, done
        Tiles that were needed, and those that succeeded.
    pixels
        The sources that are valid in both.
    """
    half = Reach(spread.measured_half).cell + spread.measured_half
    boxes = [_around(source, half) for source in sources]
    tiles = sorted({tile for box in boxes for tile in tiles_that_count(run.plan, box)})
    with (
        tempfile.TemporaryDirectory(prefix="glassplate-inject-") as folder,
        opened_with_sources(run.plan, sources) as source,
    ):
        done = restore_tiles_again(run, sources, tiles, Path(folder), pool)
        images = RestoredAgain(run.plan, source, Path(folder), done)
        found = [
            SourcePixels(one, place.errors[0], images.input(box), images.result(box))
            for one, place, box in zip(sources, places, boxes, strict=True)
        ]
    whole = (
        one for one in found if np.isfinite(one.given).all() and np.isfinite(one.restored).all()
    )
    return len(tiles), len(done), tuple(whole)


def _around(source: ArtificialSource, half: int) -> Box:
    row, column = source.centre
    return Box(row - half, row + half + 1, column - half, column + half + 1)
