"""Seeds: from the run's seed, the tile and the fits that diverged; never from order, worker or time."""

from __future__ import annotations

import hashlib


def tile_seed(run_seed: int, tile: int, reseed: int) -> int:
    """Seed of one fit of one tile, in ``[0, 2**63)``.

    A hash rather than a sum, so that neighbours and second tries share nothing.
    """
    return _seed(f"glassplate {run_seed} {tile} {reseed}")


def donor_seed(run_seed: int, window: int) -> int:
    """Seed of one window of the donor, in ``[0, 2**63)``; shared with no tile."""
    return _seed(f"glassplate {run_seed} donor {window}")


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
