"""Windows spread over an image, from which its noise and scaling are estimated."""

from __future__ import annotations

import math

import numpy as np

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.scaling import Sample
from glassplate.pipeline.sources.guarded_reading import OPEN_S, answered_within
from glassplate.pipeline.sources.source import Source
from glassplate.pipeline.tile_grid import Axis, Box

# 64 windows of 128 x 128 are a megapixel: they give noise and percentiles to a few per mille, are read in a
# second, and cover an image of up to a megapixel.
WINDOW = 128
WINDOWS_PER_AXIS = 8


def sample(source: Source) -> list[Sample]:
    """Read windows on a regular grid over the image, the same ones in every run.

    In a cube whose planes are fitted one by one, successive windows lie in successive planes.

    Raises
    ------
    SourceError
        If the image has no valid pixel anywhere, or the windows cannot be read within `OPEN_S` seconds.
    """
    channels, height, width = source.shape
    samples = answered_within(OPEN_S, source.spec.path, lambda: _read_windows(source))
    if not any(valid.any() for _, valid in samples) and not _any_valid(source):
        raise SourceError(
            f"{source.spec.path}: all {channels * height * width} pixels are invalid "
            "(NaN, BLANK, masked or transparent); nothing to restore"
        )
    return samples


def _read_windows(source: Source) -> list[Sample]:
    windows = [source.read(box, planes) for box, planes in sample_windows(source)]
    return [(pixels.values, pixels.valid) for pixels in windows]


def sample_windows(
    source: Source, count: int | None = None
) -> list[tuple[Box, tuple[int, int] | None]]:
    """Box and planes of each sampled window.

    Parameters
    ----------
    source
        In a cube whose planes are fitted one by one, successive windows lie in successive planes.
    count
        Largest number of windows, spread evenly over all; None for all of the usual grid. For more than that
        has, the grid is finer.
    """
    per_axis = max(WINDOWS_PER_AXIS, math.isqrt(max((count or 1) - 1, 0)) + 1)
    boxes = sample_boxes(source.shape, per_axis)
    if count is not None and count < len(boxes):
        boxes = [boxes[(2 * place + 1) * len(boxes) // (2 * count)] for place in range(count)]
    count_of_groups = source.shape[0] // source.colours
    groups = [place * count_of_groups // len(boxes) for place in range(len(boxes))]
    return [
        (box, None if source.joint else (group * source.colours, (group + 1) * source.colours))
        for box, group in zip(boxes, groups, strict=True)
    ]


def sample_boxes(shape: tuple[int, int, int], per_axis: int = WINDOWS_PER_AXIS) -> list[Box]:
    """Windows on a regular grid over an image of ``(c, y, x)`` pixels; they cover a small image."""
    _, height, width = shape
    return [
        Box(y, min(y + WINDOW, height), x, min(x + WINDOW, width))
        for y in _starts(height, per_axis)
        for x in _starts(width, per_axis)
    ]


def _starts(size: int, per_axis: int) -> list[int]:
    count = min(per_axis, -(-size // WINDOW))
    room = max(0, size - WINDOW)
    return [int(start) for start in np.linspace(0, room, count).round()]


def _any_valid(source: Source) -> bool:
    """Whether any pixel of the whole image is valid, where the sampled ones are all invalid."""
    rows, cols = Axis(source.shape[1], 1024, 0), Axis(source.shape[2], 1024, 0)
    return any(
        bool(source.read(Box(*rows.core_bounds(i), *cols.core_bounds(j))).valid.any())
        for i in range(rows.count)
        for j in range(cols.count)
    )
