"""How the noise differs between the channels of an image."""

from __future__ import annotations

import math

import numpy as np

from glassplate.models.noise.flat_squares import Squares
from glassplate.models.noise.variance_curve import VarianceLine

# Ratio of the standard deviations of two channels from which each has noise of its own: below it, what is
# measured may be the texture of one of them. On 24 photographs with noise that is the same in all channels,
# white of 5 and 25 levels, none is above it.
UNEQUAL = 1.2
# Standard errors of that ratio's square by which it must be above: few squares tell it badly.
SURE = 3.0


def channel_shares(squares: Squares, channels: int, line: VarianceLine) -> tuple[float, ...]:
    """Variance of each channel's noise in units of their mean, from flat squares.

    Parameters
    ----------
    squares
        Of an image of that many channels, in places that are flat in all of them.
    channels
        Their number.
    line
        The mean variance of the channels by brightness: a channel that is brighter than others has more noise
        already by this line, and a share of 1 if it has no more than that.

    Returns
    -------
    One number for each channel, above 0, with a mean of 1; none where no two differ by more than `UNEQUAL`,
    and where a channel has no noise.
    """
    flat = squares.all_flat()
    count = np.bincount(flat.channel, minlength=channels)
    measured = np.bincount(flat.channel, flat.variance, channels)
    modelled = np.bincount(flat.channel, line.variance(flat.level), channels)
    if channels < 2 or not (count.all() and measured.all() and modelled.all()):
        return ()
    shares = measured / modelled
    error = 2 / math.sqrt(flat.freedom * count.min())  # of the ratio of two variances, relative
    if shares.max() <= UNEQUAL**2 * (1 + SURE * error) * shares.min():
        return ()
    return tuple(float(share) for share in shares / shares.mean())
