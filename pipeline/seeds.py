"""Seeds: from the run's seed, the tile and the attempt; never from order, worker or time."""

from __future__ import annotations

import hashlib


def tile_seed(run_seed: int, tile: int, attempt: int) -> int:
    """Seed of one attempt at one tile, in ``[0, 2**63)``.

    A hash rather than a sum, so that neighbours and attempts share nothing.
    """
    digest = hashlib.sha256(f"glassplate {run_seed} {tile} {attempt}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
