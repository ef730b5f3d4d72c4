"""Which tiles are to be fitted once more, and which of two fits is kept: so that all end equally smooth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Record = Mapping[str, Any]
"""Tile record of the journal."""


def outliers(records: Mapping[int, Record], tolerance: float) -> list[int]:
    """Tiles that removed more than noise, by comparison with all others, and had no second look yet.

    Parameters
    ----------
    records
        Last good record of each tile.
    tolerance
        Share by which the chi2 of a tile's first fit may exceed the median of all.

    Returns
    -------
    Their numbers, in order. What second looks found does not count, so that a run that was killed
    between them chooses the same tiles.
    """
    first = {tile: _first_chi2(record) for tile, record in records.items()}
    known = [chi2 for chi2 in first.values() if chi2 is not None]
    if not known:
        return []
    most = (1 + tolerance) * float(np.median(known))
    return sorted(
        tile
        for tile, chi2 in first.items()
        if chi2 is not None and chi2 > most and "first_chi2" not in records[tile]
    )


def is_better(second: Record, first: Record) -> bool:
    """Whether a second fit is kept: where it predicts the pixels kept from it better."""
    losses = second["heldout_loss"], first["heldout_loss"]
    if None in losses:
        return bool(second["chi2"] < first["chi2"])
    return bool(losses[0] < losses[1])


def looked_at_again(record: Record, first: Record) -> dict[str, Any]:
    """The record of the fit that is kept, with what the first one had."""
    return {**record, "first_chi2": _first_chi2(first)}


def _first_chi2(record: Record) -> float | None:
    chi2: float | None = record.get("first_chi2", record.get("chi2"))
    return chi2
