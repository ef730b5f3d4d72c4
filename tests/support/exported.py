"""Results by hand, as a run leaves them, to be exported."""

import numpy as np
import zarr
from manifests import manifest

from glassplate.pipeline.files import sha256_of
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.provenance.manifest import write_manifest
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box

RUN = {
    "version": "0.1.0",
    "run_id": "0192f3a0-run",
    "recipe": "draft",
    "status": "complete",
    "scale": 1,
    "flux_factor": 1.0,
    "source": {"path": "/somewhere/sky.fits", "sha256": "ab" * 32},
}


def make_store(folder, pixels, metadata, *, levels=1, name="out.zarr", **run):
    """A result by hand: arrays 0, 1, ... and the attributes."""
    store = folder / name
    group = zarr.create_group(store, attributes={"glassplate": {**RUN, **run}, **metadata})
    for level in range(levels):
        data = pixels[..., :: 2**level, :: 2**level]
        lead = (1,) * (data.ndim - 2)
        array = group.create_array(
            str(level),
            shape=data.shape,
            dtype=data.dtype,
            chunks=(*lead, 32, 32),
            shards=(*lead, 64, 64),
        )
        array[...] = data
    ended(store)
    return store


def add_removed(store, task, **arrays):
    """Arrays beside the image, such as residual and filled, and the task that the run had."""
    group = zarr.open_group(store)
    for name, values in arrays.items():
        group.create_array(name, data=values)
    ended(store, recipe={"task": task})


def ended(store, **values):
    """What the end of a run records: without it nothing is exported."""
    paths = [p.relative_to(store) for p in store.rglob("*") if p.is_file()]
    names = [p.as_posix() for p in paths if p.parts[0] not in ("zarr.json", "provenance")]
    lines = [f"{sha256_of(store / name)}  {name}\n" for name in names]
    zarr.open_group(store).require_group("provenance")
    (store / "provenance" / "checksums.sha256").write_text("".join(lines))
    write_manifest(store, manifest(run_id=RUN["run_id"], **values))


def restored(folder, path, *, scale=1, name="out.zarr", **spec):
    """A store as an identity run at `scale` would leave it."""
    source = open_source(SourceSpec(path, **spec))
    try:
        _, h, w = source.shape
        pixels = source.read(Box(0, h, 0, w))
        values = np.where(
            pixels.valid,
            pixels.values,
            np.nan if source.output_dtype.kind == "f" else pixels.values,
        )
        if source.alpha is not None:
            values = np.concatenate([values, source.alpha(Box(0, h, 0, w))[None]])
        values = values.repeat(scale, 1).repeat(scale, 2).astype(source.output_dtype)
        if source.ndim == 2:
            values = values[0]
        origin = {"path": str(path), "sha256": sha256_of(path)}
        return make_store(
            folder, values, source.metadata, scale=scale, unit=source.unit, source=origin, name=name
        ), values
    finally:
        source.close()
