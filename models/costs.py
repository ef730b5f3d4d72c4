"""What a fit takes: memory by formula, held against measurement in the tests."""

from __future__ import annotations

from glassplate.models.networks import NetworkSettings, padded_size
from glassplate.models.problem import Problem

# What torch takes at the first fit whatever its size: its optimiser's modules, oneDNN's kernels and
# scratch. Measured 107 MiB (torch 2.13, CPU).
FIRST_FIT_BYTES = 128 << 20
# Feature maps alive at the peak of the backward pass, for each channel and each skip channel of a scale.
# Those that the network keeps are half of them; the rest is gradients and oneDNN's reordered copies.
# Measured, skip: 1022 MiB for 640x640 with 32 and 32 channels in bf16, 522 MiB for 256x256 with 128 and 4,
# 492 MiB for 320x320 with 32 and 32 in fp32; lean, fp32: 643 MiB for 512x512 and 351 MiB for 320x320.
FEATURE_MAPS = {"skip": (20, 13), "lean": (15, 9)}
# Bytes of a bf16 value at the peak, some of oneDNN's copies being float32. Measured, lean: 511 MiB for
# 512x512, 390 MiB for 320x320 with 64 and 32 channels.
BF16_BYTES = 2.6
# float32 maps of the window: measurement, split, weights, averages, their temporaries.
PIXEL_MAPS = 24
# float32 copies of the guide: itself, padded, joined to the input, the network's own copy and its border.
GUIDE_MAPS = 6
# float32 maps with a border of the operator's support, where it mixes pixels: its input, spectra (as many
# bytes as the map), output, their gradients, and the spectrum of the PSF.
OPERATOR_MAPS = 9
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
        Windows of the batch; an iteration of one of them at a time, so that only their pixels add up.
    """
    c, h, w = window_shape
    s = problem.operator.scale
    rows, columns = padded_size(problem.network, h * s, w * s)
    pixels = rows * columns
    each = BF16_BYTES if problem.numerics.precision == "bf16" else 4
    features = round(each * _feature_maps(problem.network, pixels))
    code = CODE_MAPS * problem.fit.input_depth if problem.input == "noise" else 0
    guide = GUIDE_MAPS * problem.guide_channels
    maps = 4 * (PIXEL_MAPS * c + code + guide) * pixels
    if problem.operator.mixes:
        border = 2 * problem.operator.support
        maps += 4 * OPERATOR_MAPS * c * (h * s + border) * (w * s + border)
    batch = count * c * h * w * (4 + 1 + 4 + 4 * s * s)  # values, valid, variance; restored
    at_once = min(count, problem.numerics.stack)
    members = (
        4 * c * h * s * w * s * (problem.fit.members - 1) * count
    )  # answers that wait for the rest
    return FIRST_FIT_BYTES + features + at_once * maps + batch + members


def _feature_maps(network: NetworkSettings, pixels: int) -> int:
    """Values in the feature maps at the peak, for so many pixels at full resolution."""
    per_channel, per_skip = FEATURE_MAPS[network.kind]
    wide, skip = network.channels, network.skip_channels
    fine, fine_skip = wide, skip
    if network.kind == "lean":
        fine = min(wide, network.fine_channels)
        fine_skip, skip = min(skip, fine), min(skip, wide)
    full = per_channel * fine + per_skip * fine_skip
    # every scale has a quarter of the last one's pixels: together a third of the first's
    return pixels * full + pixels * (per_channel * wide + per_skip * skip) // 3
