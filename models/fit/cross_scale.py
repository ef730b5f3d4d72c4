"""Learn to enlarge an image from the image itself, made smaller.

What an image shows at one scale it shows at others, too: an edge, a letter, a pattern, nearer and farther
(Glasner, Bagon & Irani, "Super-Resolution from a Single Image", ICCV 2009). So the measurement, made smaller
by the operator that is assumed to have made it, and the measurement itself are an example of how to double a
size. A network that learns from such examples of one image doubles that image (after Shocher, Cohen & Irani,
"Zero-Shot Super-Resolution using Deep Internal Learning", CVPR 2018). The donor of an image learns, and a
tile applies what it has learnt. docs/design/021-cross-scale.md has the measurements.
"""

from __future__ import annotations

import math
import time
from typing import NamedTuple

import torch
import torch.nn.functional as F

from glassplate.models.device.arithmetic import activation_dtype, activation_layout
from glassplate.models.filters import fill_unknown, neighbour_mean
from glassplate.models.fit.log import FitResult, Record
from glassplate.models.fit.loop import Network
from glassplate.models.fit.losses import masked_mean
from glassplate.models.fit.problem import Measurement, Problem, Weights
from glassplate.models.fit.settings import LEAST_SIDE
from glassplate.models.fit.window import Window
from glassplate.models.networks.enlarging import DOUBLE
from glassplate.models.operators.downsample import Downsample, taps, upsample_bicubic
from glassplate.models.operators.kernels import Kernel

# Sizes, relative to the measurement, of the images that are doubled from half of it: more scales are more
# examples. Comic, foreman and ppt3 of Set14 by 2: with the first alone 31.99 dB, with four more 32.33; in
# twice the time 32.48, and with all 32.52.
SIZES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6)
# Turns and mirror images of a square: examples are drawn in one of them, predictions averaged over all.
ORIENTATIONS = 8
_MIRRORED: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-1, -2))
# Share of a pixel's weight that must come from measured ones, but for rounding.
MEASURED = 0.999


class Example(NamedTuple):
    """An image and the same image at half its size, in the network's domain."""

    low: torch.Tensor
    """(1, C, h, w) float32, with as much noise as the measurement."""
    high: torch.Tensor
    """(1, C, 2 h, 2 w) float32."""
    known: torch.Tensor
    """(1, C, 2 h, 2 w) bool: pixels of `high` that were measured."""


def learn_to_double(network: Network, measurement: Measurement, problem: Problem) -> torch.Tensor:
    """Take one optimiser step on an example from a window; return the mean absolute error before it, (1,).

    The seed of the measurement decides which example it is. Where the window is too small for one, there is
    no step, and the error is 0.
    """
    generator = torch.Generator().manual_seed(measurement.seed)
    example = draw_example(measurement, problem, generator)
    if example is None:
        return torch.zeros(1, device=problem.numerics.device)
    x = _doubled(network, example.low, problem)  # (1, C, 2 h, 2 w)
    # not squares, which follow the few strongest edges: 31.87 dB on comic, foreman and ppt3, 31.92 without
    loss = masked_mean((x - example.high).abs(), example.known)
    network.step(loss.sum())
    return loss.detach()


def draw_example(
    measurement: Measurement, problem: Problem, generator: torch.Generator
) -> Example | None:
    """Draw the size and the orientation of a window, and halve it; None where it is too small."""
    place = int(torch.randint(len(SIZES), (), generator=generator))
    turn = int(torch.randint(ORIENTATIONS, (), generator=generator))
    height, width = (DOUBLE * int(n * SIZES[place] / DOUBLE) for n in measurement.values.shape[-2:])
    if min(height, width) < LEAST_SIDE or not measurement.valid.any():
        return None
    x, known = measured(measurement, problem)  # (1, C, h, w), source units
    if SIZES[place] == 1:
        x, known = x[..., :height, :width], known[..., :height, :width]
    else:
        x = F.interpolate(x, (height, width), mode="bicubic", antialias=True)
        shares = F.interpolate(known.float(), (height, width), mode="bilinear", antialias=True)
        known = shares > MEASURED
    x, known = oriented(x, turn), oriented(known, turn)
    low = Downsample(DOUBLE, kernel_of(problem)).forward(x)
    low = low + _lost_noise(low, problem, generator)
    transform = problem.transform
    return Example(transform.forward(low), transform.forward(x), known) if known.any() else None


def measured(measurement: Measurement, problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
    """A window with its invalid pixels filled, source units, and its valid map; both (1, C, h, w)."""
    device, transform = problem.numerics.device, problem.transform
    valid = torch.from_numpy(measurement.valid)[None].to(device)
    values = torch.from_numpy(measurement.values)[None].to(device)
    if valid.all():
        return values, valid
    # in the network's domain, so that one bright star does not fill a hole beside it
    u = transform.forward(torch.where(valid, values, transform.offset))
    return torch.where(valid, values, transform.inverse(fill_unknown(u, valid))), valid


def kernel_of(problem: Problem) -> Kernel:
    """The kernel by which the measurement is assumed to have been made smaller.

    Raises
    ------
    ValueError
        If the operator does more than that.
    """
    if not isinstance(problem.operator, Downsample):
        raise ValueError(
            "network.kind enlarging learns from the image made smaller, which shows no blur of a PSF"
        )
    return problem.operator.kernel


def _lost_noise(
    low: torch.Tensor, problem: Problem, generator: torch.Generator
) -> torch.Tensor | float:
    """Draw the noise that an image lost when it was made smaller; (1, C, h, w), source units.

    With it the network learns from images as noisy as that which it will enlarge. Correlated noise keeps more
    of its strength, and is coarser than random numbers would be; none is added.
    """
    if problem.noise.correlated or problem.noise.floor == problem.noise.slope == 0:
        return 0.0
    level = neighbour_mean(low, torch.ones_like(low, dtype=torch.bool))
    kept = float(taps(DOUBLE, kernel_of(problem)).square().sum()) ** 2  # share of the variance
    noise = torch.randn(low.shape, generator=generator).to(low.device)
    return (max(1 - kept, 0.0) * problem.noise.pixel_variance(level)).sqrt() * noise


def oriented(x: torch.Tensor, turn: int) -> torch.Tensor:
    """Bring (B, C, h, w) into an orientation: mirrored along some axes, which may then be swapped."""
    x = x.flip(_MIRRORED[turn % 4])
    return x.transpose(-1, -2) if turn >= 4 else x


def upright(x: torch.Tensor, turn: int) -> torch.Tensor:
    """Undo `oriented`."""
    x = x.transpose(-1, -2) if turn >= 4 else x
    return x.flip(_MIRRORED[turn % 4])


def _doubled(network: Network, u: torch.Tensor, problem: Problem) -> torch.Tensor:
    """Interpolate (1, C, h, w) to twice its size and add what that lacks, in the network's domain."""
    numerics = problem.numerics
    z = u.to(activation_dtype(numerics)).contiguous(memory_format=activation_layout(numerics))
    return upsample_bicubic(u, DOUBLE) + network.paint(z)


def enlarge(network: Network, u: torch.Tensor, problem: Problem) -> torch.Tensor:
    """Double an image until it has at least the size of the estimate, and bring it to that size.

    Parameters
    ----------
    network
        Has learnt to double.
    u
        (1, C, h, w), at least 2x2, in the network's domain.
    problem
        Its operator has the scale s.

    Returns
    -------
    (1, C, s h, s w), the mean of what the network makes of the image in all its orientations.
    """
    scale = problem.operator.scale
    height, width = (n * scale for n in u.shape[-2:])
    for _ in range((scale - 1).bit_length()):
        total = torch.zeros((), device=u.device)
        for turn in range(ORIENTATIONS):
            total = total + upright(_doubled(network, oriented(u, turn), problem), turn)
        u = total / ORIENTATIONS
    if u.shape[-1] == width:
        return u
    return F.interpolate(u, (height, width), mode="bicubic", antialias=True)


def enlarge_window(
    measurement: Measurement, problem: Problem, weights: Weights | None
) -> FitResult:
    """Enlarge a window by what the donor has learnt. The caller enters `Numerics.applied`.

    Parameters
    ----------
    measurement
        The window; at least one pixel is valid.
    problem
        What the windows share.
    weights
        Of the donor.

    Returns
    -------
    The log has one record, of iteration 0, since nothing is learnt.

    Raises
    ------
    FloatingPointError
        If the prediction is not finite.
    """
    if weights is None:
        raise ValueError("network.kind enlarging: a window has no donor to learn from; give one")
    began, window = time.perf_counter(), Window(measurement, problem)
    network = Network.for_window(
        window, window.channels, problem.fit.learning_rate, weights, window.generator
    )
    x, _ = measured(measurement, problem)
    height, width = (n * problem.operator.scale for n in x.shape[-2:])
    # a border of one pixel has nothing to reflect
    x = F.pad(x, (0, max(0, 2 - x.shape[-1]), 0, max(0, 2 - x.shape[-2])), mode="replicate")
    with torch.no_grad():
        u = enlarge(network, problem.transform.forward(x), problem)
        mean = problem.transform.inverse(u)[..., :height, :width]
        data_term = float(window.objective.data_term(mean, window.split.valid))
        chi2 = float(window.score.chi2(mean))
    if not math.isfinite(data_term):
        raise FloatingPointError(f"prediction: data term {data_term}, must be finite")
    seconds = time.perf_counter() - began
    record = Record(0, data_term, math.nan, chi2, seconds)
    return FitResult(mean, (record,), record, "predicted", slots=1, seconds=seconds)
