"""The discrete cosine transform as a matrix."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt


def cosine_matrix(n: int) -> npt.NDArray[np.float64]:
    """Orthonormal cosine transform (DCT-II) of `n` points, one basis vector a row: ``(n, n)``."""
    k = np.arange(n)
    rows: npt.NDArray[np.float64] = np.cos(np.pi * np.outer(k, k + 0.5) / n) * math.sqrt(2 / n)
    rows[0] /= math.sqrt(2)
    return rows
