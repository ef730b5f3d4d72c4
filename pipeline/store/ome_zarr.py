"""The result on disk: an OME-Zarr 0.5 image with residual, footprint and provenance beside it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from glassplate.pipeline.errors import StoreError, UsageError
from glassplate.pipeline.grid import Box

# Residuals of integer images need one bit more than the image, so that input = restored + residual.
RESIDUAL_DTYPES = {1: "int16", 2: "int32", 4: "int64", 8: "int64"}

# Level 1 of zstd after a byte shuffle: of the core codecs of Zarr v3, the one that keeps up with
# the disk (about 1 GB/s for a thread); higher levels gain 2 % on noisy floats.
COMPRESSOR = BloscCodec(cname="zstd", clevel=1, shuffle="shuffle")


@dataclass(frozen=True)
class Shard:
    """A region of the output that is written at once, by one task."""

    index: int
    channels: tuple[int, int]
    group: int
    """Channel group it belongs to."""
    box: Box
    """Region of level 0."""


@dataclass(frozen=True)
class Layout:
    """Shapes and types of the arrays of a result."""

    source_shape: tuple[int, int, int]
    """``(c, y, x)`` of the input, with its alpha."""
    ndim: Literal[2, 3]
    joint: bool
    scale: int
    dtype: str
    """Pixel type of the result."""
    chunk: int
    max_shard: int
    fills: bool = False
    """Whether some invalid pixels are filled; then the result says which they are."""
    uncertain: bool = False
    """Whether the result says how uncertain each pixel is."""
    mixes: bool = False
    """Whether A mixes pixels; where the scale is not 1 it always does."""
    alpha: bool = False
    """Whether the last plane is alpha, which is not restored."""

    def __post_init__(self) -> None:
        if self.chunk % self.scale:
            raise UsageError(
                f"output.chunk {self.chunk} is no multiple of the scale {self.scale}; "
                f"take {self.chunk // self.scale * self.scale + self.scale}"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(c, y, x)`` of level 0."""
        c, y, x = self.source_shape
        return c, y * self.scale, x * self.scale

    def restored(self, channels: tuple[int, int]) -> tuple[int, int]:
        """Of some planes those that are restored: without alpha, which is the last plane."""
        last = self.source_shape[0] - self.alpha
        return min(channels[0], last), min(channels[1], last)

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Shape of level 0 as stored: without the channel axis where the source had none."""
        return self.shape[-self.ndim :]

    @property
    def residual_dtype(self) -> str:
        """Pixel type of the residual; float32 where A mixes pixels, and what it gives is no integer."""
        dtype = np.dtype(self.dtype)
        if dtype.kind == "f" or self.mixes or self.scale > 1:
            return "float32"
        return RESIDUAL_DTYPES[dtype.itemsize]

    @property
    def shard_side(self) -> int:
        """Side of the shards of level 0: a multiple of the chunk, no larger than needed."""
        wanted = max(1, self.max_shard // self.chunk)
        needed = -(-max(self.shape[1:]) // self.chunk)
        return min(wanted, needed) * self.chunk

    @property
    def levels(self) -> int:
        """Levels of the pyramid: halved until one chunk holds the image."""
        count, side = 1, max(self.shape[1:])
        while side > self.chunk:
            side, count = -(-side // 2), count + 1
        return count

    def level_shape(self, level: int) -> tuple[int, int, int]:
        """``(c, y, x)`` of a level; odd sizes round up."""
        c, y, x = self.shape
        return c, -(-y // 2**level), -(-x // 2**level)

    def shards(self, level: int = 0) -> list[Shard]:
        """Regions that partition a level, one for each shard."""
        shape = self.level_shape(level)
        rows, cols = (range(0, size, self.shard_side) for size in shape[1:])
        groups = [(0, shape[0])] if self.joint else [(c, c + 1) for c in range(shape[0])]
        side = self.shard_side
        regions = [
            (group, channels, Box(y, min(y + side, shape[1]), x, min(x + side, shape[2])))
            for group, channels in enumerate(groups)
            for y in rows
            for x in cols
        ]
        return [Shard(i, channels, group, box) for i, (group, channels, box) in enumerate(regions)]

    def index(self, channels: tuple[int, int], box: Box) -> tuple[slice, ...]:
        """Index of a region in a stored array."""
        return (slice(*channels), *box.slices)[-self.ndim :]

    @property
    def uncompressed_bytes(self) -> int:
        """Bytes of all arrays of the result before compression."""
        pixels = int(np.prod(self.shape))
        image = pixels * np.dtype(self.dtype).itemsize
        residual = int(np.prod(self.source_shape)) * np.dtype(self.residual_dtype).itemsize
        return image * 4 // 3 + residual + pixels * (4 + self.fills + 4 * self.uncertain)


def arrays_of(layout: Layout) -> dict[str, tuple[tuple[int, int, int], str, int]]:
    """Shape ``(c, y, x)``, dtype and chunk side of every pixel array of a result."""
    arrays: dict[str, tuple[tuple[int, int, int], str, int]] = {
        str(level): (layout.level_shape(level), layout.dtype, layout.chunk)
        for level in range(layout.levels)
    }
    arrays["residual"] = (
        layout.source_shape,
        layout.residual_dtype,
        layout.chunk // layout.scale,
    )
    arrays["footprint"] = (layout.shape, "float32", layout.chunk)
    if layout.fills:
        arrays["filled"] = (layout.shape, "uint8", layout.chunk)
    if layout.uncertain:
        arrays["uncertainty"] = (layout.shape, "float32", layout.chunk)
    return arrays


def create(
    store: Path,
    layout: Layout,
    attributes: Mapping[str, Any],
    fill: Callable[[Path], None] = lambda _: None,
) -> None:
    """Create the empty result; it appears under its name whole or not at all.

    Only the one who holds the lock of the output may (see `lock`): the name under which it is made is
    always the same, so that what a killed run has left is found.

    Parameters
    ----------
    store
        Path that does not exist yet; parents are made.
    layout
        Shapes and types.
    attributes
        Of the group, beside ``ome``.
    fill
        Writes the rest into the store before it appears under its name.
    """
    store.parent.mkdir(parents=True, exist_ok=True)
    making = _making(store)
    shutil.rmtree(making, ignore_errors=True)  # of a run killed right here
    ome = {"ome": ome_attributes(layout, store.stem)}
    group = zarr.create_group(making, attributes={**ome, **attributes}, zarr_format=3)
    per_shard = layout.shard_side // layout.chunk
    names = ("c", "y", "x")[-layout.ndim :]
    for name, (shape, dtype, chunk) in arrays_of(layout).items():
        channels = shape[0] if layout.joint else 1
        group.create_array(
            name,
            shape=shape[-layout.ndim :],
            dtype=dtype,
            chunks=(1, chunk, chunk)[-layout.ndim :],
            shards=(channels, chunk * per_shard, chunk * per_shard)[-layout.ndim :],
            compressors=COMPRESSOR,
            fill_value=np.nan if np.dtype(dtype).kind == "f" else 0,
            dimension_names=names,
        )
    group.create_group("provenance")
    fill(making)
    os.replace(making, store)


def clear_leftovers(store: Path) -> None:
    """Remove what a killed run was just writing; only the one who holds the lock of the output may."""
    shutil.rmtree(_making(store), ignore_errors=True)
    for partial in store.rglob("*.partial"):
        partial.unlink(missing_ok=True)


def _making(store: Path) -> Path:
    return store.with_name(f".{store.name}.creating")


def ome_attributes(layout: Layout, name: str) -> dict[str, Any]:
    """OME-Zarr 0.5 metadata of the pyramid.

    Level ``i`` is ``2**i`` coarser; its first pixel's centre lies ``(2**i - 1) / 2`` pixels of
    level 0 inward, since each pixel is the mean of those it covers.
    """
    kinds = {"c": "channel", "y": "space", "x": "space"}
    axes = [{"name": n, "type": kinds[n]} for n in ("c", "y", "x")[-layout.ndim :]]
    lead = [1.0] * (layout.ndim - 2)

    def transformations(level: int) -> list[dict[str, Any]]:
        shift = (2.0**level - 1) / 2
        scale = {"type": "scale", "scale": [*lead, 2.0**level, 2.0**level]}
        translation = {
            "type": "translation",
            "translation": [0.0 for _ in lead] + [shift, shift],
        }
        return [scale, translation]

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
    """One array of a result, open for reading and writing whole shards."""
    return zarr.open_array(store / name, mode="r+")


def read_attributes(store: Path) -> dict[str, Any]:
    """Attributes of a result's group.

    Raises
    ------
    StoreError
        If there is no result of glassplate at the path.
    """
    try:
        attributes = dict(zarr.open_group(store, mode="r").attrs)
    except (FileNotFoundError, ValueError, KeyError, NotADirectoryError) as error:
        raise StoreError(f"{store}: not a glassplate result (no Zarr group there)") from error
    if "glassplate" not in attributes:
        raise StoreError(f"{store}: not a glassplate result (a Zarr group of another program)")
    return attributes


def update_attributes(store: Path, **changes: Any) -> None:
    """Change some of the ``glassplate`` attributes of a result's group, atomically."""
    group = zarr.open_group(store, mode="r+")
    group.attrs["glassplate"] = {**dict(group.attrs["glassplate"]), **changes}


def shard_file(store: Path, name: str, layout: Layout, shard: Shard) -> Path:
    """File of one shard of an array, as Zarr v3's default key encoding names it."""
    array = open_array(store, name)
    sides = array.shards or array.chunks
    box = shard.box if name != "residual" else residual_box(shard.box, layout.scale)
    place = (shard.channels[0], box.y0, box.x0)[-layout.ndim :]
    parts = [str(start // side) for start, side in zip(place, sides, strict=True)]
    return store.joinpath(name, "c", *parts)


def residual_box(box: Box, scale: int) -> Box:
    """Region of the input's grid under a region of the output's, whose start is a multiple of scale."""
    return Box(box.y0 // scale, box.y1 // scale, box.x0 // scale, box.x1 // scale)


def tile_rows(box: Box, height: int) -> list[Box]:
    """Cut a region into horizontal strips of at most `height` rows."""
    starts = range(box.y0, box.y1, height)
    return [Box(y, min(y + height, box.y1), box.x0, box.x1) for y in starts]
