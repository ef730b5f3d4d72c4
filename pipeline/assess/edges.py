"""Edges of a photograph before and after: how steep they are, and how far they overshoot.

The profiles of all clear edges along rows and columns are laid over each other at the place where the input
crosses the middle, at a quarter of a pixel, as in the slanted-edge method of ISO 12233, and averaged, so that
noise, which would itself look like an overshoot, averages out. The edges are those that the image happens to
have, not those of a target: before and after can be compared with each other, not with a scanner.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from glassplate.pipeline.assess.result import rounded

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

# Pixels of a profile on each side of the edge, and from where on they are taken for the plateau.
REACH, PLATEAU = 12, 6
# Bins of a profile for each pixel.
FINE = 4
# Least height of an edge, as a share of white and in standard deviations of the noise.
LEAST_HEIGHT, LEAST_SIGMAS = 0.15, 8.0
# Largest range of the pixels of a plateau as a share of the height, beyond what noise explains.
FLAT = 0.15
# Fewest edges whose mean profile says anything.
FEWEST = 50


@dataclass(frozen=True)
class Edges:
    """The mean profile of the clear edges, of height 1 from the dark to the bright plateau."""

    count: int
    """Edges of at least 15 % of white, with flat plateaus of 6 pixels on both sides."""
    overshoot_before: float
    """Highest point of the input's mean profile beside the edge, above the bright plateau; a share of the
    height, 0 without overshoot."""
    overshoot_after: float
    """The same of the result."""
    undershoot_before: float
    """Depth of the input's mean profile below the dark plateau, beside the edge; a share of the height."""
    undershoot_after: float
    """The same of the result."""
    rise_before: float
    """Distance from 10 to 90 % of the height in the input, pixels; one that is not aligned to a pixel adds
    nothing to it, noise a little."""
    rise_after: float
    """The same of the result; larger where the restoration softened edges."""


@dataclass
class EdgeSums:
    """Sums of the profiles of edges; their size does not grow with the image."""

    noise: float
    """Standard deviation of the noise as a share of white."""
    count: int = 0
    sums: FloatArray = field(default_factory=lambda: np.zeros((3, 2 * REACH * FINE + 1)))
    """Number, sum of the input, sum of the result in each bin."""

    def add(self, given: FloatArray, estimate: FloatArray) -> None:
        """Add the edges of a part of an image, ``(h, w)`` shares of white, NaN where it is not known."""
        for before, after in ((given, estimate), (given.T, estimate.T)):
            if before.shape[1] > 2 * REACH:
                # in bands, since the profiles of a whole cell would take a gigabyte
                for top in range(0, len(before), 64):
                    self._add_rows(before[top : top + 64], after[top : top + 64])

    def _add_rows(self, before: FloatArray, after: FloatArray) -> None:
        profiles = sliding_window_view(before, 2 * REACH + 1, axis=1)  # (h, n, 2 REACH + 1)
        ends = profiles[..., : REACH - PLATEAU + 1], profiles[..., REACH + PLATEAU :]
        low, high = (end.mean(-1) for end in ends)
        height = np.abs(high - low)
        clear = height > max(LEAST_HEIGHT, LEAST_SIGMAS * self.noise)
        middle = (low + high) / 2
        here, there = before[:, REACH:-REACH], before[:, REACH + 1 : before.shape[1] - REACH + 1]
        clear &= (here - middle) * (there - middle) <= 0
        clear &= here != there
        row, col = np.nonzero(clear)
        if not len(row):
            return
        allowed = FLAT * height[row, col] + 6 * self.noise
        flat = [np.ptp(end[row, col], axis=-1) <= allowed for end in ends]
        good = flat[0] & flat[1]
        good &= np.isfinite(profiles[row, col]).all(-1)
        after_profiles = sliding_window_view(after, 2 * REACH + 1, axis=1)
        good &= np.isfinite(after_profiles[row, col]).all(-1)
        self._add_profiles(
            profiles[row[good], col[good]],
            after_profiles[row[good], col[good]],
            # where the line between the two pixels crosses the middle
            ((middle - here) / np.where(clear, there - here, 1))[row[good], col[good]],
        )

    def _add_profiles(self, before: FloatArray, after: FloatArray, crossing: FloatArray) -> None:
        """Add profiles ``(n, 2 REACH + 1)`` that cross the middle `crossing` pixels from their centre."""
        self.count += len(before)
        falling = before[:, -PLATEAU:].mean(-1) < before[:, :PLATEAU].mean(-1)
        before, after = (
            np.where(falling[:, None], profile[:, ::-1], profile) for profile in (before, after)
        )
        crossing = np.where(falling, -crossing, crossing)
        offset = np.arange(-REACH, REACH + 1) - crossing[:, None]
        place = np.rint((offset + REACH) * FINE).astype(int)
        inside = (place >= 0) & (place < self.sums.shape[1])
        self.sums[0] += np.bincount(place[inside], minlength=self.sums.shape[1])
        for which, profile in ((1, before), (2, after)):
            normal = _normalised(profile)
            self.sums[which] += np.bincount(place[inside], normal[inside], self.sums.shape[1])

    def figures(self) -> Edges | None:
        """Figures of the mean profiles; None where there are too few edges."""
        if self.count < FEWEST:
            return None
        bins, some = np.arange(self.sums.shape[1]), self.sums[0] > 0
        # edges that all cross at the same part of a pixel leave bins between them empty
        shapes = [
            _Shape.of(np.interp(bins, bins[some], total[some] / self.sums[0][some]))
            for total in self.sums[1:]
        ]
        if None in shapes:
            return None
        before, after = (shape for shape in shapes if shape is not None)
        return Edges(
            count=self.count,
            overshoot_before=before.over,
            overshoot_after=after.over,
            undershoot_before=before.under,
            undershoot_after=after.under,
            rise_before=before.rise,
            rise_after=after.rise,
        )


def _normalised(profiles: FloatArray) -> FloatArray:
    """Rising profiles ``(n, 2 REACH + 1)``, of which the plateaus become 0 and 1."""
    low = profiles[:, : REACH - PLATEAU + 1].mean(-1, keepdims=True)
    high = profiles[:, REACH + PLATEAU :].mean(-1, keepdims=True)
    height = high - low
    # an edge that the restoration has levelled counts as it is
    height = np.where(np.abs(height) > 1e-6, height, 1e-6)
    share: FloatArray = (profiles - low) / height
    return share


@dataclass(frozen=True)
class _Shape:
    """What a mean profile shows."""

    over: float
    under: float
    rise: float

    @classmethod
    def of(cls, profile: FloatArray) -> _Shape | None:
        """Of a profile in bins of a quarter of a pixel; None where it does not rise from 10 to 90 %."""
        # three quarters of a pixel: less than any overshoot, more than the noise of a bin
        smooth = np.convolve(profile, np.ones(3) / 3, "valid")
        middle = len(smooth) // 2
        near = PLATEAU * FINE
        over = float(smooth[middle : middle + near].max()) - float(smooth[-near:].mean())
        under = float(smooth[:near].mean()) - float(smooth[middle - near : middle].min())
        first, last = _crossing(smooth, 0.1), _crossing(smooth, 0.9)
        if first is None or last is None:
            return None
        return cls(
            rounded(max(over, 0.0)) or 0.0,
            rounded(max(under, 0.0)) or 0.0,
            rounded((last - first) / FINE) or 0.0,
        )


def _crossing(profile: FloatArray, level: float) -> float | None:
    """Where a profile first exceeds a level, in bins."""
    above = np.flatnonzero(profile > level)
    if not len(above) or above[0] == 0:
        return None
    i = int(above[0])
    return float(i - 1 + (level - profile[i - 1]) / (profile[i] - profile[i - 1]))
