"""What a fit takes: memory by formula, held against measurement in the tests."""

from __future__ import annotations

from glassplate.models.networks import padded_size
from glassplate.models.problem import Problem

# What torch takes at the first fit whatever its size: its optimiser's modules, oneDNN's kernels and
# scratch. Measured 107 MiB (torch 2.13, CPU).
FIRST_FIT_BYTES = 128 << 20
# Feature maps alive at the peak of the backward pass, in units of the widths at full resolution. The
# network keeps 9 and 4; the rest is gradients and oneDNN's reordered copies. Measured 1022 MiB for
# 640x640 with 32 and 32 channels in bf16, 522 MiB for 256x256 with 128 and 4.
FEATURE_MAPS, SKIP_MAPS = 20, 13
# float32 maps of the window: measurement, split, weights, averages, their temporaries.
PIXEL_MAPS = 24
# float32 copies of the random code: itself, fresh noise, their sum, the network's own copy.
CODE_MAPS = 4


def projected_bytes(problem: Problem, window_shape: tuple[int, int, int], count: int) -> int:
    """Memory that one call of `fit_batch` takes beyond the bare process, from above.

    Parameters
    ----------
    problem
        What would be fitted.
    window_shape
        ``(c, h, w)`` of the largest window, in pixels of the measurement.
    count
        Windows of the batch; they are fitted one after another, so only their pixels add up.
    """
    c, h, w = window_shape
    s = problem.operator.scale
    rows, columns = padded_size(problem.network, h * s, w * s)
    pixels = rows * columns
    width = FEATURE_MAPS * problem.network.channels + SKIP_MAPS * problem.network.skip_channels
    each = 2 if problem.numerics.precision == "bf16" else 4
    features = width * each * pixels * 4 // 3  # every scale has a quarter of the last one's pixels
    code = CODE_MAPS * problem.fit.input_depth if problem.input == "noise" else 0
    maps = 4 * (PIXEL_MAPS * c + code) * pixels
    batch = count * c * h * w * (4 + 1 + 4 + 4 * s * s)  # values, valid, variance; restored
    return FIRST_FIT_BYTES + features + maps + batch
