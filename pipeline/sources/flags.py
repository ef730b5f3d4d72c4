"""How the numbers of a mask are read: as sums of flags, or as codes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import or_

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Flags:
    """Which numbers of a mask make a pixel invalid; small, hashable and picklable."""

    table: str
    """Where this comes from: the observatory, or the setting of the recipe."""
    bad: tuple[int, ...]
    """Flags, or codes, of pixels that are not to be trusted."""
    saturated: tuple[int, ...] = ()
    """Those of saturated pixels. Such a pixel, where it is bad, keeps its measured value in the result."""
    harmless: tuple[int, ...] | None = None
    """Other known flags or codes, such as those of detected objects; None: all others."""
    coded: bool = False
    """Whether a number is one code. If not, it is the sum of flags, each of them a power of two."""

    def bad_pixels(self, numbers: npt.NDArray[np.floating]) -> BoolArray:
        """Where the numbers of a mask, of any shape, say that a pixel is bad."""
        return self._any_of(numbers, self.bad)

    def saturated_pixels(self, numbers: npt.NDArray[np.floating]) -> BoolArray:
        """Where the numbers of a mask, of any shape, say that a pixel is bad and saturated."""
        return self._any_of(numbers, self.saturated) & self.bad_pixels(numbers)

    def unknown(self, numbers: npt.NDArray[np.floating]) -> BoolArray:
        """Where the numbers of a mask, of any shape, are not accounted for by this reading.

        Such a number has a flag, or is a code, that is not bad, saturated or harmless, or it is not whole.
        """
        broken: BoolArray = numbers != np.rint(numbers)
        if self.harmless is None:
            return broken
        listed = (*self.bad, *self.saturated, *self.harmless)
        if self.coded:
            return broken | ~np.isin(numbers, (0, *listed))
        strange: BoolArray = (_whole(numbers) & ~_sum_of(listed)) != 0
        return broken | strange

    def _any_of(self, numbers: npt.NDArray[np.floating], these: tuple[int, ...]) -> BoolArray:
        if self.coded:
            return np.isin(numbers, these)
        marked: BoolArray = (_whole(numbers) & _sum_of(these)) != 0
        return marked


def _whole(numbers: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    # the highest bit of a signed type makes a number negative, and remains set in a wider type
    whole: npt.NDArray[np.int64] = np.rint(numbers).astype(np.int64)
    return whole


def _sum_of(flags: Iterable[int]) -> np.int64:
    return np.int64(reduce(or_, flags, 0))
