"""The end of a run: quality maps, iteration log, checksums, provenance and the summary of the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from glassplate.models.noise.flat_noise import Comparison, FlatNoise, flat_noise
from glassplate.pipeline.cached_source import cached_source
from glassplate.pipeline.failures import Failure
from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.planning.value_range import says_wild
from glassplate.pipeline.pools.pool import OnProgress
from glassplate.pipeline.provenance.checksums import write_checksums
from glassplate.pipeline.provenance.manifest import Manifest, Spread, Summary
from glassplate.pipeline.provenance.prov_rocrate import write_standards
from glassplate.pipeline.provenance.records import TileRecord
from glassplate.pipeline.sources.sample_windows import sample_windows
from glassplate.pipeline.store.ome_zarr import open_array, read_attributes
from glassplate.pipeline.text import plural
from glassplate.pipeline.tiles.scratch import Scratch
from glassplate.pipeline.tiles.tile_maps import count_reasons, write_iterations, write_quality

# Median chi2 of the tiles beyond which a result is doubtful. DECam and made white noise 0.93 to 0.98, photon
# counts of XMM 0.61, a textured photograph (kodim05) 0.15; a crowded field (M13) 0.07 and a photograph
# without visible noise 0.04, of which hardly anything was removed. The upper limit leaves room for a noise
# that is taken for a third of what it is.
LEAST_CHI2, MOST_CHI2 = 0.1, 10.0


def result_summary(
    store: Path,
    plan: Plan,
    records: Mapping[int, TileRecord],
    failures: Mapping[int, Failure],
    noise: FlatNoise | None,
) -> Summary:
    """Summarise a result from its pixels and the records of its tiles.

    Parameters
    ----------
    store
        The result; its level 0 is written.
    plan
        Its plan.
    records
        Record of each restored tile by tile number.
    failures
        Failure of each other tile.
    noise
        From `measure_noise`.
    """
    iterations = [record.iterations for record in records.values()]
    return Summary(
        noise_before=noise and noise.before,
        noise_after=noise and noise.after,
        noise_model=_noise_model(plan),
        companions=tuple(one.words for one in plan.companions),
        unit=read_attributes(store)["glassplate"].get("unit"),
        iterations=float(np.mean(iterations)),
        chi2=_chi2(records),
        filled_pixels=sum(record.filled for record in records.values()),
        kept_rays=sum(record.kept_rays for record in records.values()),
        wild_pixels=sum(record.wild for record in records.values()),
        guarded_pixels=sum(record.guarded or 0 for record in records.values()),
        stop_reasons=count_reasons(records.values()),
        fit_seconds=round(sum(record.seconds for record in records.values()), 3),
        quarantined={str(tile): failures[tile].reason for tile in sorted(failures)},
    )


def summary_warnings(
    path: Path, summary: Summary, *, denoised: bool, planned: Sequence[str] = ()
) -> list[str]:
    """Return the warnings about a result, one line each.

    Parameters
    ----------
    path
        Of the source.
    summary
        Of the result.
    denoised
        Whether the task was to remove noise, so that a result that is its input is doubtful.
    planned
        Warnings of its plan. A count of wild pixels that is among them is not said again.
    """
    warnings = []
    wild = summary.wild_pixels
    # the plan looks at samples only, so that it may have counted fewer
    if wild and not any(says_wild(line, path, wild) for line in planned):
        warnings.append(
            f"{path}: {plural(wild, 'wild pixel')} in the whole image, taken for invalid; "
            "the limits are in the manifest under plan.wild"
        )
    if kept := summary.kept_rays:
        warnings.append(
            f"{path}: {kept} pixels look like cosmic rays but hold less light than what is around them "
            "suggests, so they stay as measured; if they belong to stars, raise defects.cosmic_contrast or "
            "set defects.cosmic_rays=false"
        )
    chi2 = summary.chi2
    if chi2 is not None and chi2.median > MOST_CHI2:
        warnings.append(
            f"{path}: chi2 is {chi2.median:.3g}, expected is 1 and at most {MOST_CHI2:g}: the residual is "
            f"{chi2.median**0.5:.3g} times the noise, so that structure was lost or the noise is wrong; "
            "look at the residual, raise fit.iterations or give noise.sigma"
        )
    if chi2 is not None and chi2.median < LEAST_CHI2 and denoised:
        warnings.append(
            f"{path}: chi2 is {chi2.median:.3g}, expected is 1 and at least {LEAST_CHI2:g}: hardly anything "
            "was removed; if noise is left in the result, it was taken for structure or for less than it is: "
            "give noise.sigma"
        )
    return warnings


def _noise_model(plan: Plan) -> str:
    """Where the noise comes from: an image of it, the cards of the detector, the recipe, or an estimate."""
    if not plan.has_variance or not plan.recipe.traits.measures:
        return plan.noise.origin
    return f"{'found' if 'variance' in plan.spec.found else 'given'}: {plan.spec.noise_kind}"


def _chi2(records: Mapping[int, TileRecord]) -> Spread | None:
    """Distribution of chi2 over the tiles, which shows how evenly noise was removed."""
    values = [record.chi2 for record in records.values() if record.chi2 is not None]
    if not values:
        return None
    low, median, high = np.percentile(values, [5, 50, 95])
    return Spread(float(low), float(median), float(high))


@dataclass(frozen=True)
class NoiseTask:
    """The noise of a result, which is more work than all else that its record needs."""

    store: Path
    """Its level 0 is written."""
    plan: Plan


def measure_noise(task: NoiseTask, on_progress: OnProgress) -> FlatNoise | None:
    """Noise of input and result in the flat places of the windows in which the input was sampled.

    A result on a finer grid is averaged to the input's. None for a result with other channels than the input.
    """
    plan = task.plan
    source, array = cached_source(plan.spec, plan.findings), open_array(task.store, "0")
    windows = []
    for box, planes in sample_windows(source):
        channels = planes or (0, plan.layout.shape[0])
        place = plan.layout.index(plan.layout.restored(channels), box.scaled(plan.layout.scale))
        after = np.asarray(array[place], np.float64).reshape(
            -1, *box.scaled(plan.layout.scale).shape
        )
        pixels = source.read(box, planes)
        if len(after) != len(pixels.values):
            return None
        on_grid = _averaged(after, plan.layout.scale) / plan.flux_factor
        windows.append(Comparison(plan.in_source_units(pixels.values), on_grid, pixels.valid))
    return flat_noise(windows)


def _averaged(values: npt.NDArray[np.float64], scale: int) -> npt.NDArray[np.float64]:
    """Mean of each ``scale x scale`` pixels of ``(c, h * scale, w * scale)``."""
    channels, height, width = values.shape
    blocks = values.reshape(channels, height // scale, scale, width // scale, scale)
    mean: npt.NDArray[np.float64] = blocks.mean((2, 4))
    return mean


def record_result(
    store: Path,
    plan: Plan,
    records: Mapping[int, TileRecord],
    manifest: Manifest,
    files: Mapping[str, str],
) -> None:
    """Write quality maps, iteration log, prov.json, RO-Crate, and the checksum of every array file.

    Parameters
    ----------
    store
        The result; all its pixels are written.
    plan
        Its plan.
    records
        Record of each restored tile by tile number.
    manifest
        The manifest with the result, which prov.json and the RO-Crate describe.
    files
        SHA-256 of each shard file by its name in the store, computed by the worker that wrote it.
    """
    scratch = Scratch(store / ".scratch")
    write_quality(store, plan, records, scratch)
    logged = sorted(tile for tile, record in records.items() if record.fitted)
    write_iterations(store, logged, len(plan.grid), scratch)
    write_standards(store, manifest)
    write_checksums(store, files)
