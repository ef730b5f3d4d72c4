"""Cosine spectra of the small squares of an image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Sample = tuple[npt.NDArray[Any], BoolArray]
"""Values ``(c, h, w)`` in source units with their valid map ``(c, h, w)``."""

# Squares begin every half side, or every quarter in images of up to this many pixels.
DENSE_PIXELS = 2**18
# Energy below this share of the brightest value's square is rounding: the square is constant.
ROUNDING = 1e-20


@dataclass(frozen=True)
class Spectra:
    """Cosine spectra of the squares that are wholly valid, not constant and not partly filled."""

    side: int
    level: FloatArray
    """``(n,)`` mean value."""
    energy: npt.NDArray[np.float32]
    """``(n, side * side)`` squared coefficients."""
    place_energy: npt.NDArray[np.float32]
    """``(n, 2 * side - 1)`` energy of each order, mean over its coefficients and over all channels of
    the place: colours share content, not noise."""
    share: float
    """Of a square's pixels, those that no other square has."""

    @property
    def order(self) -> npt.NDArray[np.int_]:
        """``(side * side,)`` order i + j of each coefficient."""
        return _orders(self.side)

    def structure(self, end: int) -> FloatArray:
        """``(n,)`` mean energy of the orders from 2 to below `end`.

        Order 1 is left out: a gradient is no texture, and does not reach the high orders.
        """
        size = np.arange(3, end + 1)  # coefficients of order k: k + 1
        mean: FloatArray = self.place_energy[:, 2:end].astype(np.float64) @ (size / size.sum())
        return mean


def square_spectra(samples: Sequence[Sample], side: int) -> Spectra:
    """Transform every square of `side` pixels; those of one place stay together over the channels."""
    dense = sum(valid[0].size for _, valid in samples) <= DENSE_PIXELS
    stride = side // 4 if dense else side // 2
    cosine = np.kron(cosines(side), cosines(side))
    order = _orders(side)
    ring = (order[:, None] == np.arange(2 * side - 1)) / np.bincount(order)
    fills = _fills(samples, side)
    rows: list[tuple[npt.NDArray[Any], ...]] = []
    for squares in _squares(samples, side, stride):
        coefficients = squares @ cosine.T  # (c, n, side * side)
        energy = (coefficients**2).astype(np.float32)
        place = np.tile((energy.mean(0) @ ring).astype(np.float32), (len(energy), 1))
        filled = np.isin(squares, fills).sum(-1).ravel()
        level = coefficients[..., 0].ravel() / side
        rows.append((level, energy.reshape(-1, side * side), place, filled))
    share = (stride / side) ** 2
    if not rows:
        nothing = np.zeros((0, side * side), np.float32)
        return Spectra(side, np.zeros(0), nothing, nothing[:, : 2 * side - 1], share)
    level, energy, place, filled = (np.concatenate(column) for column in zip(*rows, strict=True))
    kept = energy[:, 1:].sum(1) > ROUNDING * np.abs(level).max() ** 2
    if (
        kept.any() and np.median(filled[kept]) == 0
    ):  # else the fill is a value like others: counts of 0
        kept &= filled < 2
    if not kept.all():  # the energies are large: copied only if they must be
        level, energy, place = level[kept], energy[kept], place[kept]
    return Spectra(side, level, energy, place, share)


def _squares(samples: Sequence[Sample], side: int, stride: int) -> Iterator[FloatArray]:
    """Yield the wholly valid squares of each window, ``(c, n, side * side)``."""
    steps = (slice(None, None, stride), slice(None, None, stride))
    for values, valid in samples:
        if min(values.shape[1:]) < side:
            continue
        view = np.lib.stride_tricks.sliding_window_view
        whole = view(valid.all(0), (side, side))[steps].all((-1, -2))
        squares = view(values, (side, side), axis=(1, 2))[(slice(None), *steps)][:, whole]
        if squares.shape[1]:
            yield squares.reshape(len(values), -1, side * side).astype(np.float64)


def cosines(n: int) -> FloatArray:
    """Orthonormal cosine transform (DCT-II) of `n` points, one basis vector a row: ``(n, n)``."""
    k = np.arange(n)
    rows: FloatArray = np.cos(np.pi * np.outer(k, k + 0.5) / n) * math.sqrt(2 / n)
    rows[0] /= math.sqrt(2)
    return rows


def _fills(samples: Sequence[Sample], side: int) -> FloatArray:
    """Find the values of constant squares: what pads an image, or where it was cut off."""
    found = [
        squares[..., 0][squares.min(-1) == squares.max(-1)]
        for squares in _squares(samples, side, side)
    ]
    return np.unique(np.concatenate(found)) if found else np.zeros(0)


def _orders(side: int) -> npt.NDArray[np.int_]:
    k = np.arange(side)
    return np.add.outer(k, k).ravel()
