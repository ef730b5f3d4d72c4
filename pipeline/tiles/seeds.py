"""Seeds of fits: they depend on the run's seed and the tile, never on order, worker or time."""

from __future__ import annotations

import hashlib


def tile_seed(run_seed: int, tile: int, reseed: int) -> int:
    """Seed of one fit of one tile, in ``[0, 2**63)``.

    It is a hash rather than a sum, so that neighbouring tiles and further attempts share nothing.

    Parameters
    ----------
    run_seed
        Seed of the recipe.
    tile
        Index of the tile in the plan.
    reseed
        Fits of the tile that diverged.
    """
    return _seed(f"glassplate {run_seed} {tile} {reseed}")


def donor_seed(run_seed: int, window: int) -> int:
    """Seed of one window of the donor, in ``[0, 2**63)``; no tile has the same."""
    return _seed(f"glassplate {run_seed} donor {window}")


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
