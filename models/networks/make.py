"""The kinds of prior networks: how one is made, which sizes it takes, how many weights it has."""

from __future__ import annotations

from collections.abc import Callable

import torch

from glassplate.models.networks.decoder import Decoder
from glassplate.models.networks.enlarging import DOUBLE, EnlargingNetwork
from glassplate.models.networks.layers import BatchNorm, Convolution, Head
from glassplate.models.networks.prior_network import PriorNetwork
from glassplate.models.networks.resnet import ResNet
from glassplate.models.networks.settings import NetworkSettings
from glassplate.models.networks.skip import SQUARE, SkipNetwork, UnshuffledNetwork
from glassplate.models.networks.unet import UNet

KINDS: dict[str, Callable[[NetworkSettings, int, int], PriorNetwork]] = {
    "lean": SkipNetwork,
    "unshuffled": UnshuffledNetwork,
    "skip": SkipNetwork,
    "hourglass": SkipNetwork,
    "unet": UNet,
    "resnet": ResNet,
    "decoder": Decoder,
    "enlarging": EnlargingNetwork,
}


def padded_size(settings: NetworkSettings, height: int, width: int) -> tuple[int, int]:
    """Smallest size, at least `height` and `width`, that the network can output, in pixels.

    A multiple of 2^scales (of 1 for a resnet, which never halves the resolution; of 2 for an enlarging
    network; of twice as much for an unshuffled network, which begins at half of it), with at least two pixels
    at the deepest scale, because a border of one pixel has nothing to reflect.
    """
    multiple = {"resnet": 1, "enlarging": DOUBLE}.get(settings.kind, 2**settings.scales)
    if settings.kind == "unshuffled":
        multiple *= SQUARE
    rows, columns = (max(2, -(-n // multiple)) * multiple for n in (height, width))
    return rows, columns


def input_size(settings: NetworkSettings, height: int, width: int) -> tuple[int, int]:
    """Size of the input from which the network outputs the `padded_size` of `height` and `width`.

    The input has the output's size, except for a decoder, whose input has the size of its deepest scale, and
    for an enlarging network, whose input has half the size.
    """
    rows, columns = padded_size(settings, height, width)
    if settings.kind == "enlarging":
        return rows // DOUBLE, columns // DOUBLE
    if settings.kind == "decoder":
        return rows >> settings.scales, columns >> settings.scales
    return rows, columns


def count_weights(settings: NetworkSettings, inputs: int, outputs: int) -> int:
    """Number of weights of the network; nothing is allocated."""
    return sum(weight.numel() for weight in _empty(settings, inputs, outputs).parameters())


def weight_shapes(
    settings: NetworkSettings, inputs: int, outputs: int
) -> dict[str, tuple[int, ...]]:
    """Shape of every weight by its name; nothing is allocated."""
    weights = _empty(settings, inputs, outputs).state_dict()
    return {name: tuple(weight.shape) for name, weight in weights.items()}


def make_network(
    settings: NetworkSettings, inputs: int, outputs: int, generator: torch.Generator
) -> PriorNetwork:
    """Make a prior network whose weights depend on `generator` alone, and not on torch's global one.

    Parameters
    ----------
    settings
        Shape of the network.
    inputs, outputs
        Channels of the input and of the estimate.
    generator
        Random generator on the CPU, so that the weights are the same on every device.

    Returns
    -------
    The network, float32, on the CPU. Weights are drawn as torch's default for convolutions (uniform within
    ``1 / sqrt(fan in)``), which the paper uses too; `PriorNetwork.scale_weights` may change their size.
    """
    network = KINDS[settings.kind](settings, inputs, outputs)  # its weights have no values yet
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (Convolution, Head)):
                bound = module.weight[0].numel() ** -0.5
                module.weight.uniform_(-bound, bound, generator=generator)
            if isinstance(module, Head):
                module.bias.uniform_(-bound, bound, generator=generator)
            elif isinstance(module, Convolution) and module.bias is not None:
                module.bias.fill_(0)
            elif isinstance(module, BatchNorm):
                module.weight.fill_(1)
                if module.bias is not None:
                    module.bias.fill_(0)
        network.scale_weights()
    return network


def _empty(settings: NetworkSettings, inputs: int, outputs: int) -> PriorNetwork:
    """Make the network on the meta device: shapes without values."""
    with torch.device("meta"):
        return KINDS[settings.kind](settings, inputs, outputs)
