"""Projected memory of a fit: a formula, compared with measurements in the tests."""

from __future__ import annotations

from glassplate.models.device.arithmetic import multiplies_bf16
from glassplate.models.fit.problem import Problem
from glassplate.models.networks.enlarging import DOUBLE
from glassplate.models.networks.make import count_weights, input_size, padded_size
from glassplate.models.networks.settings import LEAN, NetworkSettings
from glassplate.models.networks.skip import SQUARE

# Memory that torch takes at the first fit whatever its size: oneDNN's kernels and scratch. Measured 35 MiB
# (torch 2.13, CPU), and some 45 MiB more where torch had just been installed: Linux then maps more pages of
# its libraries at once.
FIRST_FIT_BYTES = 84 << 20
# Feature maps alive at the peak of the backward pass, for each channel and each skip channel of a scale. Half
# of them are kept by the network; the rest is gradients and oneDNN's reordered copies.
# Measured, skip: 1022 MiB for 640x640 with 32 and 32 channels in bf16, 522 MiB for 256x256 with 128 and 4,
# 492 MiB for 320x320 with 32 and 32 in fp32; lean, fp32: 643 MiB for 512x512 and 351 MiB for 320x320;
# hourglass, fp32: 338 MiB for 288x288.
SKIP_MAPS = {"skip": (20, 13), "hourglass": (20, 0), "lean": (15, 9), "unshuffled": (15, 9)}
# The same for each channel of a scale. Measured in fp32: 355 MiB for 256x256 with 16 channels and 4 scales,
# 361 MiB for 3x128x128 with 32 (of which some 150 for its 8.6 million weights).
UNET_MAPS = 26
# The same for each channel at full resolution, without blocks and for each block. Measured in fp32: 387 MiB
# for 224x224 with 32 channels and 4 blocks, 46 maps a channel. A block keeps 5 itself, so the split is too
# high for many blocks rather than for few.
RESNET_MAPS, BLOCK_MAPS = 18, 8
# The same for each channel at the resolution of the last input, of a network that only predicts. Measured in
# fp32: 86 to 97 MiB for 3x224x224 enlarged to twice its size, 206 to 243 MiB for 1x224x224 to four times, 32
# channels.
ENLARGING_MAPS = 4
# The same for each channel of a scale. Measured in fp32: 218 to 283 MiB for 3x256x256 with 64 channels and 4
# scales, in eight runs.
DECODER_MAPS = 7.5
# float32 copies of a weight at the peak: itself, its gradient, the optimiser's two moments, and oneDNN's
# reordered ones. Measured 4.8 for the U-Net of 8.6 million.
WEIGHT_COPIES = 6
# Bytes of a bf16 value at the peak of a fit on a CPU, for each kind of network: some of oneDNN's copies are
# float32. On a processor that multiplies bf16 (AVX-512): lean 511 MiB for 512x512 and 390 MiB for 320x320
# with 64 and 32 channels; skip 197 MiB for 224x224 and 1022 MiB for 640x640, both with 32 and 32 channels,
# 522 MiB for 256x256 with 128 and 4; hourglass 202 MiB for 288x288. The other kinds take no more. None was
# measured on a GPU.
BF16_BYTES = {
    "lean": 2.6, "unshuffled": 2.6, "skip": 2.0, "hourglass": 2.0, "unet": 2.6, "resnet": 2.6, "decoder": 2.6,
    "enlarging": 2.6,
}  # fmt: skip
# The same on a processor that emulates bf16, which a fit uses only to continue a run that began on another
# machine. Kernels then copy whole maps to float32, and the number of copies varies from run to run. On AVX2
# (torch 2.13), six runs each: resnet 358 to 578 MiB for 224x224, unet 328 to 369 MiB for 256x256; the other
# kinds never took more than projected above.
EMULATED_BF16_BYTES = {**BF16_BYTES, "unet": 4.2, "resnet": 6.2}
# float32 maps of the window: measurement, split, weights, averages, their temporaries; and of one that learns
# nothing.
PIXEL_MAPS, PREDICTED_PIXEL_MAPS = 24, 16
# float32 copies of the guide: itself, padded, joined to the input, the network's own copy and its border.
GUIDE_MAPS = 6
# float32 maps with a border of the operator's support, where it mixes pixels: its input, spectra (as many
# bytes as the map), output, their gradients, and the spectrum of the PSF.
OPERATOR_MAPS = 9
# float32 copies of the random code: itself, fresh noise, their sum, the network's own copy.
CODE_MAPS = 4


def projected_bytes(problem: Problem, window_shape: tuple[int, int, int], count: int) -> int:
    """Upper bound of the memory that one call of `fit_batch` takes beyond the bare process.

    Parameters
    ----------
    problem
        What would be fitted.
    window_shape
        ``(c, h, w)`` of a window, in pixels of the measurement.
    count
        Windows in memory. `problem.numerics.stack` of them are fitted together; the others add only their
        pixels.
    """
    c, h, w = window_shape
    s, network = problem.operator.scale, problem.network
    rows, columns = padded_size(network, h * s, w * s)
    pixels = rows * columns
    features = round(_value_bytes(problem) * pixels * _feature_maps(network))
    guide = problem.guide_channels
    inputs = _inputs(problem, c)
    weights = WEIGHT_COPIES * weight_bytes(problem, c)
    code_rows, code_columns = input_size(network, h * s, w * s)
    code = CODE_MAPS * inputs * code_rows * code_columns if problem.input == "noise" else 0
    of_pixels = PREDICTED_PIXEL_MAPS if problem.input == "cross-scale" else PIXEL_MAPS
    maps = 4 * ((of_pixels * c + GUIDE_MAPS * guide) * pixels + code)
    if problem.operator.mixes:
        border = 2 * problem.operator.support
        maps += 4 * OPERATOR_MAPS * c * (h * s + border) * (w * s + border)
    batch = count * c * h * w * (4 + 1 + 4 + 4 * s * s)  # values, valid, variance; restored
    # averages that wait for those of the other members
    members = 4 * count * c * h * s * w * s * (problem.fit.members - 1)
    at_once = min(count, problem.numerics.stack)
    return FIRST_FIT_BYTES + at_once * (features + maps + weights) + batch + members


def weight_bytes(problem: Problem, channels: int) -> int:
    """Memory of the weights of one network with so many output channels."""
    return 4 * count_weights(problem.network, _inputs(problem, channels), channels)


def _value_bytes(problem: Problem) -> float:
    """Bytes of one value of a feature map at the peak."""
    numerics = problem.numerics
    if numerics.precision == "fp32":
        return 4
    native = numerics.device == "cuda" or multiplies_bf16(numerics.device)
    return (BF16_BYTES if native else EMULATED_BF16_BYTES)[problem.network.kind]


def _inputs(problem: Problem, channels: int) -> int:
    """Channels of a network's input."""
    if problem.input == "cross-scale":
        return channels
    own = problem.fit.input_depth if problem.input == "noise" else channels + 1
    return own + problem.guide_channels


def _feature_maps(network: NetworkSettings) -> float:
    """Number of full-resolution feature maps that take as much memory as all those alive at the peak."""
    wide = network.channels
    if network.kind == "unet":
        # every scale has a quarter of the last one's pixels and twice its channels
        return UNET_MAPS * wide * (2 - 0.5**network.scales)
    if network.kind == "resnet":
        return (RESNET_MAPS + BLOCK_MAPS * network.scales) * wide
    if network.kind == "decoder":
        return DECODER_MAPS * wide * 4 / 3
    if network.kind == "enlarging":
        return ENLARGING_MAPS * wide / DOUBLE**2
    return _skip_maps(network)


def _skip_maps(network: NetworkSettings) -> float:
    """The same for the kinds `skip`, `lean`, `unshuffled` and `hourglass`."""
    per_channel, per_skip = SKIP_MAPS[network.kind]
    wide, skip = network.channels, network.skip_channels
    fine, fine_skip = wide, skip
    if network.kind in LEAN:
        fine = min(wide, network.fine_channels)
        fine_skip, skip = min(skip, fine), min(skip, wide)
    full = per_channel * fine + per_skip * fine_skip
    # every scale has a quarter of the last one's pixels: together a third of the first's
    maps = full + (per_channel * wide + per_skip * skip) / 3
    return maps / SQUARE**2 if network.kind == "unshuffled" else maps
