"""How a prior network is fitted to a window, and a donor to many, as the user sets it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from glassplate.models.networks.settings import NetworkSettings

# Factor on the number of squares, dropped and held out, of what would make the same share of pixels as
# where single ones are: a fit learns and is judged by their centres only. Two crops of PolyU, 128x128,
# prediction after 600 iterations with 0.3 dropped: factor 1 gives 38.3 and 30.8 dB, 2.6 38.9 and 32.2,
# 4 39.0 and 32.6, 6.5 39.0 and 32.3. Held out: 36 squares (1) stop a fit 3.4 dB too soon, 109 (3) do not, 327
# (9) cost 0.4 dB.
MORE_SQUARES = 3
# Fewest rows and columns of an image that is made smaller, from which an enlarging network learns.
LEAST_SIDE = 8
# Channels of an unshuffled network. Twelve photographs of Kodak as one image of 72 tiles, sigma 25, donor of
# 3000 steps, 20 steps a tile: 32 channels 30.62 dB, 48 30.76, 64 30.67, the lean network 30.67; seconds a
# tile 1.6, 2.2, 2.8 and 2.9.
UNSHUFFLED_CHANNELS = 48
# Windows of a donor: the least, and for each tile of an image that has more.
LEAST_WINDOWS, WINDOWS_A_TILE = 32, 4
# Steps of a donor of the fewest windows. With three times as many, the donor of one photograph of 512x512
# pixels learns its noise: the tiles lose 0.8 dB.
LEAST_ITERATIONS = 1000
# Tiles of an image up to which each takes all of `tile_iterations`, and tiles whose steps all tiles of a
# larger image share. Twelve photographs of Kodak as one image of 72 tiles, twelve of the tiles: a donor of
# 6000 steps and 50 a tile 31.62 dB, 12000 and 5 31.61, 12000 and 20 31.70, 24000 and 5 31.68.
THOROUGH_TILES, SHARED_TILES = 16, 8


@dataclass(frozen=True)
class FitSettings:
    """How a prior network is fitted to a window."""

    __pydantic_config__ = {"extra": "forbid"}

    input: Literal["auto", "blindspot", "measurement", "noise", "requantised"] = "auto"
    """blindspot: the measurement with random pixels dropped; measurement: nothing dropped; noise: the
    paper's fixed random code; requantised: a JPEG, compressed again with its blocks elsewhere; auto: noise
    for a decoder network, which takes nothing else, requantised for deartifact, measurement where A mixes
    pixels (super-resolution, deconvolution), else blindspot."""
    iterations: int = 1000
    """Cap on iterations of any fit; tiles that start from a donor have `donor.tile_iterations`."""
    predictions: int = 0
    """Iterations before the cap in which the network predicts and no longer learns, which takes a third of
    the time; at most `iterations`. Tiles that start from a donor have `donor.tile_predictions`."""
    learning_rate: float = 0.01
    """Adam's step size."""
    drop: float = 0.3
    """Share of pixels dropped at each iteration; in squares, and three times as many, where the noise of
    neighbours is correlated (blindspot)."""
    holes: bool = False
    """Also drop the pattern of the missing pixels, moved at random, so that the network learns to fill
    holes of their shape (blindspot, where noise is not correlated)."""
    input_depth: int = 32
    """Channels of the random code (noise)."""
    input_noise: float = 0.0333
    """Standard deviation of the noise added to the code at each iteration (noise; none is added to a
    decoder network's code)."""
    average: float = 0.99
    """Decay of the exponential average of the outputs, which is the answer."""
    posterior: bool = True
    """Combine the average with the measurement by Bayes' rule: each pixel with its own (blindspot), and
    what this changes around holes is carried into them; where A mixes pixels, the estimate is corrected
    until A of it agrees with the measurement."""
    posterior_radius: float = 3.0
    """Gaussian radius, in pixels, over which the prior's variance is averaged (posterior)."""
    posterior_doubt: float = 1.0
    """Standard errors of that average below which it counts as noise (posterior)."""
    collaborative: bool = False
    """Then filter the measurement in groups of similar blocks, as BM3D does in its second step, with the
    answer so far as the pilot (where A does not mix pixels). Where the noise of neighbouring pixels is
    correlated and no guard is set, colours are also smoothed under the guidance of the brightness."""
    filter_passes: int = 1
    """Passes of that filter, each with the answer of the one before as its pilot; all but the last are
    coarser (collaborative). Two pay where a network has learnt little; a prediction that is nearly right
    gains nothing."""
    guard: float | None = None
    """Standard deviations above which structure in the measurement (a wavelet coefficient) is a source whose
    light the answer must have too (denoise); none: no guard."""
    robust: float | None = None
    """Residual, in units of the typical one, beyond which the pull of a pixel no longer grows: for
    salt-and-pepper noise and other outliers, which the posterior then ignores (Huber's loss; 1.5 is usual);
    none: squares."""
    members: int = 1
    """Fits of each tile, from different random numbers, whose answers are averaged; the time grows with
    their number."""
    uncertainty: bool = False
    """Also give the standard deviation of the answer's error: by Bayes' rule (blindspot), otherwise from
    the differences between the members of an ensemble."""
    log_period: int = 25
    """Iterations between records of the log."""
    tv: float = 0.0
    """Weight of the estimate's total variation as a penalty beside the data term, 0 for none. Both are in
    units of the noise, so that a weight means the same for every image; without noise there is no
    penalty."""

    def __post_init__(self) -> None:
        for name in ("members", "filter_passes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1")
        if not 0 <= self.predictions <= self.iterations:
            raise ValueError(
                f"predictions is {self.predictions}, must be from 0 to iterations, {self.iterations}"
            )
        for name, value in (("guard", self.guard), ("robust", self.robust)):
            if value is not None and not 0 < value < math.inf:
                raise ValueError(
                    f"{name} is {value}, must be above 0 and finite; leave it out for none"
                )
        if not 0 <= self.tv < math.inf:
            raise ValueError(f"tv is {self.tv}, must be at least 0 and finite")

    def learns(self, iteration: int) -> bool:
        """Whether the network learns in the iteration after so many."""
        return iteration < self.iterations - self.predictions


@dataclass(frozen=True)
class DonorSettings:
    """When tiles start from a donor, and how the donor is fitted."""

    __pydantic_config__ = {"extra": "forbid"}

    tiles: int = 4
    """Fewest tiles of an image for which a donor is fitted; 0 for never."""
    network: Literal["same", "unshuffled"] = "same"
    """Network of the donor of an image of more than 16 tiles, and of these. same: that of the section
    network; unshuffled: its kind unshuffled with 48 channels, which takes 0.7 of the time and learns more
    from many windows, but over-fits few."""
    iterations: int = 1000
    """Most windows that the donor learns from, counting each visit: 1000 in images of up to 16 tiles, one at
    each optimiser step, and two at each in larger ones; fewer than the most with fewer windows; at most
    `fit.iterations` for each 24 windows."""
    windows: int = 32
    """Most windows of 128x128 pixels, spread over the image, that the donor is fitted to: 32 in images of up
    to 16 tiles, else four for each tile."""
    tile_iterations: int = 200
    """Most optimiser steps of a tile that starts from the donor, at most `fit.iterations`; see
    `tile_least`."""
    tile_least: int | None = None
    """Least of these steps: tiles of an image of more than 16 take fewer, so that all together take no more
    than 8 would, until each takes so few; none: all take `tile_iterations`. Three times as many, of this too,
    where the noise of neighbouring pixels is correlated, because each step then learns from a third of the
    pixels."""
    tile_predictions: int = 0
    """Predictions of a tile after them, each without other pixels, which enter its average (in images of more
    than 16 tiles)."""
    tile_passes: int = 1
    """Passes of the filter of similar blocks for a tile (`fit.filter_passes`; in images of more than 16
    tiles)."""
    tile_learning_rate: float = 0.003
    """Adam's step size of such a tile."""
    refine: int = 100
    """Optimiser steps on this image of a donor taken from another result (`--donor`, `sequence` of a job), at
    `tile_learning_rate`; 0 to take it as it is; at most `fit.iterations` for each 24 windows."""

    def __post_init__(self) -> None:
        for name in ("iterations", "windows", "tile_iterations", "tile_passes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1")
        if self.tile_least is not None and self.tile_least < 1:
            raise ValueError(f"tile_least is {self.tile_least}, must be at least 1")
        for name in ("refine", "tile_predictions"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 0")
        if not self.tile_learning_rate > 0:
            raise ValueError(f"tile_learning_rate is {self.tile_learning_rate}, must be above 0")

    def for_tiles(self, tiles: int, *, correlated: bool = False) -> DonorSettings:
        """Settings of an image of so many tiles: the donor of a large one learns more for each of them."""
        if tiles <= THOROUGH_TILES:
            return replace(
                self,
                network="same",
                windows=min(self.windows, LEAST_WINDOWS),
                iterations=min(self.iterations, LEAST_ITERATIONS),
                tile_predictions=0,
                tile_passes=1,
            )
        windows = min(self.windows, max(LEAST_WINDOWS, WINDOWS_A_TILE * tiles))
        iterations = min(
            self.iterations, max(LEAST_ITERATIONS, self.iterations * windows // self.windows)
        )
        times = MORE_SQUARES if correlated else 1
        share = times * self.tile_iterations * SHARED_TILES // tiles
        least = self.tile_iterations if self.tile_least is None else times * self.tile_least
        steps = min(self.tile_iterations, max(least, share))
        return replace(self, windows=windows, iterations=iterations, tile_iterations=steps)


def check_input(network: NetworkSettings, fit: FitSettings) -> None:
    """Refuse an input that the network cannot take.

    Raises
    ------
    ValueError
        If a decoder is to be fed anything but noise, or an enlarging network anything but the image.
    """
    if network.kind == "decoder" and fit.input not in ("auto", "noise"):
        raise ValueError(
            f"fit.input is {fit.input}, must be noise (or auto) for network.kind decoder, which paints "
            "from a small random code; set fit.input=noise or choose another network.kind"
        )
    if network.kind == "enlarging" and fit.input != "auto":
        raise ValueError(
            f"fit.input is {fit.input}, must be auto for network.kind enlarging, which learns from the image "
            "made smaller; drop it or choose another network.kind"
        )


def donor_network(network: NetworkSettings, settings: DonorSettings) -> NetworkSettings:
    """The network of a donor in a recipe with this one."""
    if settings.network == "same" or network.kind == "enlarging":
        return network
    return replace(
        network,
        kind="unshuffled",
        channels=UNSHUFFLED_CHANNELS,
        fine_channels=UNSHUFFLED_CHANNELS,
        skip_channels=UNSHUFFLED_CHANNELS,
    )
