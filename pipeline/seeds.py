"""Seeds: from the run's seed, the tile and the fits that diverged; never from order, worker or time."""

from __future__ import annotations

import hashlib


def tile_seed(run_seed: int, tile: int, reseed: int) -> int:
    """Seed of one fit of one tile, in ``[0, 2**63)``.

    A hash rather than a sum, so that neighbours and second tries share nothing.
    """
    digest = hashlib.sha256(f"glassplate {run_seed} {tile} {reseed}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
