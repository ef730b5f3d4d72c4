"""The store of a result: an OME-Zarr 0.5 image with residual, footprint and provenance beside it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from glassplate.pipeline.errors import StoreError
from glassplate.pipeline.pixel_size import PixelSize
from glassplate.pipeline.store.layout import ArrayLayout, Layout, Shard, arrays_of, residual_box

# zstd at level 1 after a byte shuffle is the core codec of Zarr v3 that keeps up with the disk (about 1 GB/s
# for a thread). Higher levels gain 2 % on noisy floats.
COMPRESSOR = BloscCodec(cname="zstd", clevel=1, shuffle="shuffle")


def create(
    store: Path,
    layout: Layout,
    attributes: Mapping[str, Any],
    pixel: PixelSize | None = None,
    fill: Callable[[Path], None] = lambda _: None,
) -> None:
    """Create the empty result. It appears under its name whole or not at all.

    The caller must hold the lock of the output (see `locked`), because the temporary name is always the same:
    what a killed run leaves is removed.

    Parameters
    ----------
    store
        Path that does not exist yet. Missing parents are made.
    layout
        Shapes and types.
    attributes
        Attributes of the group in addition to ``ome``.
    pixel
        Size of the pixels of level 0. None if it is not known.
    fill
        Writes further files into the store before it appears under its name.
    """
    store.parent.mkdir(parents=True, exist_ok=True)
    making = _making(store)
    ome = {"ome": ome_attributes(layout, store.stem, pixel)}
    names = ("c", "y", "x")[-layout.ndim :]
    with made_in_memory(making) as memory:
        group = zarr.create_group(memory, attributes={**ome, **attributes}, zarr_format=3)
        for name, array in arrays_of(layout).items():
            group.create_array(
                name,
                shape=array.shape[-layout.ndim :],
                dtype=array.dtype,
                chunks=(1, array.chunk, array.chunk)[-layout.ndim :],
                shards=_shard_shape(layout, array),
                compressors=COMPRESSOR,
                fill_value=np.nan if np.dtype(array.dtype).kind == "f" else 0,
                dimension_names=names,
            )
        group.create_group("provenance")
    fill(making)
    os.replace(making, store)


@contextmanager
def made_in_memory(folder: Path) -> Iterator[MemoryStore]:
    """Make a group of small arrays in memory, and write it to its folder at the end.

    On disk Zarr takes a thread for each file that it writes, and for each that it looks for: twice the time.

    Parameters
    ----------
    folder
        Of the group. What is there is removed.
    """
    files: dict[str, Buffer] = {}
    yield MemoryStore(files)
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.to_bytes())


def _shard_shape(layout: Layout, array: ArrayLayout) -> tuple[int, ...]:
    """Return the shape of a shard of an array, without the channel axis if the source has none."""
    side = array.chunk * (layout.shard_side // layout.chunk)
    channels = array.shape[0] if layout.joint else layout.colours
    return (channels, side, side)[-layout.ndim :]


def clear_leftovers(store: Path) -> None:
    """Remove files that a killed run left half written. The caller must hold the lock of the output."""
    shutil.rmtree(_making(store), ignore_errors=True)
    for partial in store.rglob("*.partial"):
        partial.unlink(missing_ok=True)


def _making(store: Path) -> Path:
    return store.with_name(f".{store.name}.creating")


def ome_attributes(layout: Layout, name: str, pixel: PixelSize | None = None) -> dict[str, Any]:
    """Return the OME-Zarr 0.5 metadata of the pyramid.

    Level ``i`` is ``2**i`` times coarser. The centre of its first pixel lies ``(2**i - 1) / 2`` pixels of
    level 0 further inside, since each pixel is the mean of those it covers.

    Parameters
    ----------
    layout
        Layout of the result.
    name
        Name of the image.
    pixel
        Size of the pixels of level 0. None if it is not known: then coordinates are in pixels of level 0, and
        the axes have no unit.
    """
    kinds = {"c": "channel", "y": "space", "x": "space"}
    axes = [{"name": n, "type": kinds[n]} for n in ("c", "y", "x")[-layout.ndim :]]
    lead = layout.ndim - 2
    sizes = (1.0, 1.0)
    if pixel is not None:
        sizes = (pixel.y, pixel.x)
        for axis in axes[lead:]:
            axis["unit"] = pixel.unit

    def transformations(level: int) -> list[dict[str, Any]]:
        shift = (2.0**level - 1) / 2
        scale = [1.0] * lead + [size * 2.0**level for size in sizes]
        translation = [0.0] * lead + [size * shift for size in sizes]
        return [
            {"type": "scale", "scale": scale},
            {"type": "translation", "translation": translation},
        ]

    datasets = [
        {"path": str(level), "coordinateTransformations": transformations(level)}
        for level in range(layout.levels)
    ]
    method = {"description": "mean of the valid pixels of each 2x2 square", "method": "mean"}
    return {
        "version": "0.5",
        "multiscales": [
            {
                "name": name,
                "axes": axes,
                "datasets": datasets,
                "type": "mean",
                "metadata": method,
            }
        ],
    }


def open_array(store: Path, name: str) -> zarr.Array[Any]:
    """Open an array of a result for reading and for writing whole shards.

    Each task opens the arrays that it needs, hence the same ones again and again. Zarr takes 1.5 ms to open
    one, so those that were opened last are kept, each as long as its metadata are the same file.

    Raises
    ------
    FileNotFoundError
        If there is no such array.
    """
    metadata = (store / name / "zarr.json").stat()
    return _opened(store / name, metadata.st_dev, metadata.st_ino, metadata.st_mtime_ns)


@lru_cache(maxsize=32)
def _opened(path: Path, device: int, inode: int, modified_ns: int) -> zarr.Array[Any]:
    """Open an array whose metadata are this file."""
    return zarr.open_array(path, mode="r+")


def read_attributes(store: Path) -> dict[str, Any]:
    """Read the attributes of the group of a result.

    Raises
    ------
    StoreError
        If the path holds no result of glassplate.
    """
    try:
        attributes = dict(zarr.open_group(store, mode="r").attrs)
    except (FileNotFoundError, ValueError, KeyError, NotADirectoryError) as error:
        raise StoreError(f"{store}: not a glassplate result (no Zarr group there)") from error
    if "glassplate" not in attributes:
        raise StoreError(f"{store}: not a glassplate result (a Zarr group of another program)")
    return attributes


def set_display(store: Path, omero: Mapping[str, Any]) -> None:
    """Write the ``omero`` metadata of a result, which tell viewers how to show it."""
    group = zarr.open_group(store, mode="r+")
    group.attrs["ome"] = {**dict(group.attrs["ome"]), "omero": dict(omero)}


def update_attributes(store: Path, **changes: Any) -> None:
    """Change some of the ``glassplate`` attributes of the group of a result atomically."""
    group = zarr.open_group(store, mode="r+")
    group.attrs["glassplate"] = {**dict(group.attrs["glassplate"]), **changes}


def shard_file(store: Path, name: str, layout: Layout, shard: Shard) -> Path:
    """Return the file of a shard of an array, as the default key encoding of Zarr v3 names it."""
    sides = _shard_shape(layout, arrays_of(layout)[name])
    box = shard.box if name != "residual" else residual_box(shard.box, layout.scale)
    place = (shard.channels[0], box.y0, box.x0)[-layout.ndim :]
    parts = [str(start // side) for start, side in zip(place, sides, strict=True)]
    return store.joinpath(name, "c", *parts)
