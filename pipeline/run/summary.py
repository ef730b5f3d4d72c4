"""The end of a run: quality maps, iteration log, checksums, provenance, summary."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from glassplate.models.metrics import mad_sigma
from glassplate.pipeline.failures import Failure
from glassplate.pipeline.files import sha256_of
from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.provenance.documents import CHECKSUMS, provenance_path, write_standards
from glassplate.pipeline.provenance.records import TileRecord
from glassplate.pipeline.sources.sample_windows import sample_boxes
from glassplate.pipeline.store.ome_zarr import open_array, read_attributes
from glassplate.pipeline.tiles.scratch import Scratch
from glassplate.pipeline.tiles.tile_maps import count_reasons, write_iterations, write_quality

# Median chi2 of the tiles from which a result is questioned. Fits of six iterations, which have learnt next
# to nothing, have 15 to 30; images that a hot column or a wrong variance ruined 1e5 and more.
MOST_CHI2 = 50.0


def result_summary(
    store: Path,
    plan: Plan,
    records: Mapping[int, TileRecord],
    failures: Mapping[int, Failure],
) -> dict[str, Any]:
    """What a user wants to know first: noise before and after, iterations, why tiles stopped."""
    iterations = [record.iterations for record in records.values()]
    return {
        "noise_before": plan.stated_noise_before,
        "noise_after": _noise_after(store, plan),
        "noise_model": plan.noise.origin,
        "unit": read_attributes(store)["glassplate"].get("unit"),
        "iterations": float(np.mean(iterations)),
        "chi2": _chi2(records),
        "filled_pixels": sum(record.filled for record in records.values()),
        "wild_pixels": sum(record.wild for record in records.values()),
        "guarded_pixels": sum(record.guarded or 0 for record in records.values()),
        "stop_reasons": count_reasons(records.values()),
        "fit_seconds": round(sum(record.seconds for record in records.values()), 3),
        "quarantined": {str(tile): failures[tile].reason for tile in sorted(failures)},
    }


def summary_warnings(path: Path, summary: Mapping[str, Any]) -> list[str]:
    """What the user should know once a result is there, one line each.

    Parameters
    ----------
    path
        Of the source.
    summary
        As `result_summary` gave it.
    """
    warnings = []
    if wild := summary["wild_pixels"]:
        warnings.append(
            f"{path}: {wild} wild pixels were taken for invalid; "
            "the limits are in the manifest under plan.wild"
        )
    chi2 = summary["chi2"]
    if chi2 is not None and chi2["median"] > MOST_CHI2:
        warnings.append(
            f"{path}: chi2 is {chi2['median']:.3g}, expected is 1 and at most {MOST_CHI2:g}: the residual is "
            f"{chi2['median'] ** 0.5:.3g} times the noise, so that structure was lost or the noise is wrong; "
            "look at the residual, raise fit.iterations or give noise.sigma"
        )
    return warnings


def _chi2(records: Mapping[int, TileRecord]) -> dict[str, float] | None:
    """Median and the 5th and 95th percentile over the tiles: how evenly noise was removed."""
    values = [record.chi2 for record in records.values() if record.chi2 is not None]
    if not values:
        return None
    low, median, high = np.percentile(values, [5, 50, 95])
    return {"low": float(low), "median": float(median), "high": float(high)}


def _noise_after(store: Path, plan: Plan) -> float | None:
    """Robust deviation between neighbours of the result, in the windows where the input was sampled."""
    array, scale = open_array(store, "0"), plan.layout.scale
    values = []
    for box in sample_boxes(plan.layout.source_shape):
        planes = plan.layout.restored((0, plan.layout.shape[0]))
        index = plan.layout.index(planes, box.scaled(scale))
        pixels = np.asarray(array[index], np.float64).reshape(-1, *box.scaled(scale).shape)
        sigma = mad_sigma(pixels)
        if np.isfinite(sigma):
            values.append(sigma)
    return float(np.median(values)) if values else None


def record_result(
    store: Path,
    plan: Plan,
    records: Mapping[int, TileRecord],
    manifest: Mapping[str, Any],
    files: Mapping[str, str],
) -> None:
    """Write what describes the pixels, and the checksum of every file of every array.

    Parameters
    ----------
    files
        SHA-256 of the shards' files, as the workers that wrote them computed it.
    """
    scratch = Scratch(store / ".scratch")
    write_quality(store, plan, records, scratch)
    logged = sorted(tile for tile, record in records.items() if record.fitted)
    write_iterations(store, logged, len(plan.grid), scratch)
    write_standards(store, manifest)
    known = dict(files)
    for path in sorted(store.rglob("*")):
        name = path.relative_to(store).as_posix()
        if path.is_file() and name not in known and _is_described(name):
            known[name] = sha256_of(path)
    target = provenance_path(store, CHECKSUMS)
    partial = target.with_name(target.name + ".partial")
    partial.write_text("".join(f"{known[name]}  {name}\n" for name in sorted(known)), "utf-8")
    os.replace(partial, target)


def _is_described(name: str) -> bool:
    """Whether a file belongs into the checksums.

    Not the scratch, and not what is written after them: the group's own attributes (its status) and
    the provenance, which `sha256sum` could not list in itself.
    """
    return not name.startswith((".scratch/", "provenance/")) and name != "zarr.json"
