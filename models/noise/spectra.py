"""Cosine spectra of small overlapping squares, into which an image is cut to measure its noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from glassplate.models.cosine_transform import cosine_matrix

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Sample = tuple[npt.NDArray[Any], BoolArray]
"""A window of the image: values ``(c, h, w)`` in source units and their valid map ``(c, h, w)``."""

# Neighbouring squares are half a side apart, in images of up to this many pixels a quarter.
DENSE_PIXELS = 2**18
# A square whose energy is below this share of the square of the brightest value is constant: the rest is
# rounding.
ROUNDING = 1e-20


@dataclass(frozen=True)
class Spectra:
    """Cosine spectra of ``n`` squares that are wholly valid, not constant and not partly padding.

    The order of a coefficient is the sum ``i + j`` of its two frequencies.
    """

    side: int
    """Pixels along each side of a square."""
    level: FloatArray
    """``(n,)`` mean value, source units."""
    energy: npt.NDArray[np.float32]
    """``(n, side * side)`` squared coefficients, squared source units."""
    order_energy: npt.NDArray[np.float32]
    """``(n, 2 * side - 1)`` mean energy of the coefficients of each order, averaged over all channels of the
    place: channels share content and not noise."""
    place: npt.NDArray[np.int_]
    """``(n,)`` number of the square's place in the image, which its channels share."""
    channel: npt.NDArray[np.int_]
    """``(n,)`` number of the square's channel."""
    new_share: float
    """Share of the pixels of a square that no other square has."""

    @property
    def order(self) -> npt.NDArray[np.int_]:
        """``(side * side,)`` order of each coefficient."""
        return _orders(self.side)

    def mean_over_channels(self) -> npt.NDArray[np.float32]:
        """``(places, side * side)`` mean energy of each coefficient over the channels that a place has."""
        order = np.argsort(self.place, kind="stable")  # squares of one place follow each other
        first = np.flatnonzero(np.diff(self.place[order], prepend=-1))
        count = np.diff(first, append=len(order))
        energy = self.energy[order[first]]
        for n in range(1, int(count.max(initial=1))):
            more = count > n
            energy[more] += self.energy[order[first[more] + n]]
        energy /= count[:, None]
        return energy

    def structure(self, end: int) -> FloatArray:
        """``(n,)`` mean energy of the coefficients of orders 2 to ``end - 1``.

        Order 1 is left out: a gradient is not texture, and does not reach the high orders.
        """
        count = np.arange(3, end + 1)  # order k has k + 1 coefficients
        mean: FloatArray = self.order_energy[:, 2:end].astype(np.float64) @ (count / count.sum())
        return mean


def flattest(structure: FloatArray, count: int) -> npt.NDArray[np.int_]:
    """Indices of the `count` squares with the least structure, at least 1, in rising order; NaN is last."""
    within = np.arange(len(structure))
    if count < len(structure):  # to sort a few is much faster than to sort all
        within = within[~(structure > np.partition(structure, count - 1)[count - 1])]
    chosen: npt.NDArray[np.int_] = within[np.argsort(structure[within], kind="stable")[:count]]
    return chosen


def square_spectra(samples: Sequence[Sample], side: int) -> Spectra:
    """Transform every square of `side` pixels; the rows of `Spectra` are the squares of each channel."""
    dense = sum(valid[0].size for _, valid in samples) <= DENSE_PIXELS
    stride = side // 4 if dense else side // 2
    basis = np.kron(cosine_matrix(side), cosine_matrix(side))
    order = _orders(side)
    order_mean = (order[:, None] == np.arange(2 * side - 1)) / np.bincount(order)
    padding = _padding_values(samples, side)
    rows: list[tuple[npt.NDArray[Any], ...]] = []
    places = 0
    for squares in _squares(samples, side, stride):
        coefficients = squares @ basis.T  # (c, n, side * side)
        energy = (coefficients**2).astype(np.float32)
        order_energy = (energy.mean(0) @ order_mean).astype(np.float32)
        padded = np.isin(squares, padding).sum(-1).ravel()
        level = coefficients[..., 0].ravel() / side
        every_channel = np.tile(order_energy, (len(energy), 1))
        place = np.tile(places + np.arange(squares.shape[1]), len(energy))
        places += squares.shape[1]
        channel = np.repeat(np.arange(len(squares)), squares.shape[1])
        rows.append((level, energy.reshape(-1, side * side), every_channel, padded, place, channel))
    new_share = (stride / side) ** 2
    if not rows:
        nothing = np.zeros((0, side * side), np.float32)
        nowhere = np.zeros(0, np.int_)
        no_order = nothing[:, : 2 * side - 1]
        return Spectra(side, np.zeros(0), nothing, no_order, nowhere, nowhere, new_share)
    level, energy, order_energy, padded, place, channel = (
        np.concatenate(column) for column in zip(*rows, strict=True)
    )
    kept = energy[:, 1:].sum(1) > ROUNDING * np.abs(level).max() ** 2
    # where the typical square has it too, the value is no padding but one like others, such as counts of 0
    if kept.any() and np.median(padded[kept]) == 0:
        kept &= padded < 2
    if not kept.all():  # the energies are large, and copied only if they must be
        level, energy, order_energy = level[kept], energy[kept], order_energy[kept]
        channel = channel[kept]
        place = np.unique(place[kept], return_inverse=True)[1]
    return Spectra(side, level, energy, order_energy, place, channel, new_share)


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


def _padding_values(samples: Sequence[Sample], side: int) -> FloatArray:
    """Find the values of constant squares: they pad an image, or are where its values were clipped."""
    found = [
        squares[..., 0][squares.min(-1) == squares.max(-1)]
        for squares in _squares(samples, side, side)
    ]
    return np.unique(np.concatenate(found)) if found else np.zeros(0)


def _orders(side: int) -> npt.NDArray[np.int_]:
    k = np.arange(side)
    return np.add.outer(k, k).ravel()
