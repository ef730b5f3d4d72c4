"""A result at less than full strength: a share of what was removed is mixed back, without another run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from glassplate.pipeline.errors import StoreError, UsageError
from glassplate.pipeline.provenance.manifest import read_manifest
from glassplate.pipeline.tasks import TASKS

FULL = 1.0


@dataclass(frozen=True)
class Removed:
    """What a restoration removed from its input, and where it filled pixels instead."""

    residual: Any
    """Zarr array of the image's shape: input minus result; NaN where the input is invalid."""
    filled: Any | None
    """Zarr array of the same shape, not 0 where a pixel was filled; None if none could be."""

    def mixed_into(
        self, pixels: npt.NDArray[Any], index: tuple[Any, ...], strength: float
    ) -> npt.NDArray[Any]:
        """Return ``pixels + (1 - strength) * residual``; integers are rounded.

        Filled pixels stay as they are, because what they were filled for (a cosmic ray, a hole) is no part of
        the scene, and so do pixels without a residual.

        Parameters
        ----------
        pixels
            Of the result, at `index` of the arrays; NaN where there is no estimate.
        strength
            0 gives the input's own value, 1 the result's.
        """
        back = (1 - strength) * np.asarray(self.residual[index], np.float64)
        keep = np.isnan(back)
        if self.filled is not None:
            keep |= np.asarray(self.filled[index]) != 0
        mixed = pixels + np.where(keep, 0, back)
        if pixels.dtype.kind != "f":
            mixed = np.rint(mixed)  # between two integers of the type, so that nothing is clipped
        return mixed.astype(pixels.dtype)


def check_strength(strength: float, level: int) -> None:
    """Refuse a strength that is no share, or one that is asked of a coarse level.

    Raises
    ------
    UsageError
    """
    if not 0 <= strength <= FULL:
        raise UsageError(
            f"--strength {strength:g} must be between 0, the input, and 1, the result; choose such a number"
        )
    if strength != FULL and level:
        raise UsageError(
            f"--strength {strength:g}: what was removed is stored for level 0 only; leave --level {level} out"
        )


def open_removed(store: Path) -> Removed:
    """Open what a restoration removed.

    Raises
    ------
    UsageError
        If it is no share of the input that could be mixed back: the result is on another grid, or its task is
        not to remove noise or the artefacts of a JPEG.
    StoreError
        If the residual is missing.
    """
    manifest = read_manifest(store)
    traits = TASKS[manifest.recipe["task"]]
    if not (traits.denoises or traits.from_jpeg):
        raise UsageError(
            f"--strength: {store} is {traits.result}, from which nothing was removed that could be mixed "
            "back; leave --strength out"
        )
    group = zarr.open_group(store, mode="r")
    arrays = dict(group.arrays())
    if "residual" not in arrays:
        raise StoreError(f"{store}: the array residual is missing; `glassplate verify` it")
    return Removed(arrays["residual"], arrays.get("filled"))
