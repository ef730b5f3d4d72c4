"""The recipe `reference` beside the code of the Deep Image Prior paper itself, on the same noisy crop.

    git clone https://github.com/DmitryUlyanov/deep-image-prior ORIGINAL
    python benchmarks/parity.py ORIGINAL --data ../shared/data

Their network is built by their own `models/skip.py` with the settings of their denoising notebook, and
fitted by the notebook's loop: a uniform code of 32 channels in 0..0.1, noise of 1/30 added to it at each
iteration, Adam at 0.01, the average of the outputs at 0.99; without its fallback to a checkpoint, which
needs a fall by 5 dB. Ours is the recipe as it ships. A whole image of 512x512 takes a night of a CPU, so
both get the same small crop and the same few iterations; what is compared is the PSNR of the average as it
grows, over several seeds. Before, their network is given our weights: both must paint the same image and
have the same gradients. Writes benchmarks/results/parity.json.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from alone import Alone
from quality import RESULTS, conditions, measurement_of, problem_for
from skimage import io
from studies import SIGMA

from glassplate.models.device.arithmetic import applied
from glassplate.models.metrics import psnr
from glassplate.models.networks.skip import SkipNetwork
from glassplate.pipeline.recipes.recipe import load_recipe

Curve = dict[int, float]
"""PSNR of the average by iteration, dB."""


def noisy_crop(data: Path, name: str, corner: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Clean and noisy crop, (3, side, side) in [0, 1], clipped as the notebook does it."""
    image = io.imread(data / "std" / "set9" / f"{name}.png").transpose(2, 0, 1) / 255
    clean = image[:, corner : corner + side, corner : corner + side]
    noise = np.random.default_rng(0).normal(0, SIGMA, clean.shape)
    return clean, np.clip(clean + noise, 0, 1)


def their_network() -> torch.nn.Module:
    """As `get_net` of the notebook makes it."""
    skip = importlib.import_module("models.skip").skip  # of ORIGINAL
    return skip(
        32,
        3,
        num_channels_down=[128] * 5,
        num_channels_up=[128] * 5,
        num_channels_skip=[4] * 5,
        upsample_mode="bilinear",
        need_sigmoid=True,
        need_bias=True,
        pad="reflection",
        act_fun="LeakyReLU",
    )


def our_fit(noisy: np.ndarray, seed: int, iterations: int) -> Alone:
    """The recipe as it ships, in single precision."""
    recipe = load_recipe("reference", [f"fit.iterations={iterations}", f"seed={seed}"])
    problem = problem_for(recipe, noisy, torch.get_num_threads())
    problem = replace(problem, numerics=replace(problem.numerics, precision="fp32"))
    return Alone(measurement_of(recipe, noisy), problem)


def in_their_order(network: SkipNetwork, scale: int = 0) -> list[torch.nn.Module]:
    """Our convolutions and norms but for the head, in the order in which theirs are nested."""
    layers = [
        *network.skips[scale],
        *(layer for stone in network.downs[scale] for layer in stone),
        *(in_their_order(network, scale + 1) if scale + 1 < len(network.downs) else []),
        network.ups[scale][0],
        *(layer for stone in network.ups[scale][1:] for layer in stone),
    ]
    return [layer for layer in layers if any(True for _ in layer.parameters())]


def with_the_same_weights(noisy: np.ndarray) -> dict[str, float]:
    """Greatest difference of outputs and relative one of gradients, their network having our weights."""
    fit, network = our_fit(noisy, 0, 1), their_network()
    mine = in_their_order(fit.network.module)
    kinds = (torch.nn.Conv2d, torch.nn.BatchNorm2d)
    *layers, head = [layer for layer in network.modules() if isinstance(layer, kinds)]
    with torch.no_grad():
        for ours, theirs in zip(mine, layers, strict=True):
            theirs.weight.copy_(ours.weight)
            theirs.bias.zero_()  # of a convolution it is removed by the norm after it, of a norm it starts so
        head.weight.copy_(fit.network.module.head.weight[:, :, None, None])
        head.bias.copy_(fit.network.module.head.bias)
    draw = fit.state.input.draw()
    y = torch.from_numpy(noisy)[None].float()
    with applied(fit.problem.numerics):
        painted = fit.window.objective.estimate(fit.network.paint(draw.z))
        fit.window.objective.data_term(painted, draw.loss_mask).backward()
    out = network(draw.z)
    torch.nn.functional.mse_loss(out, y).backward()
    our_gradient = torch.cat([layer.weight.grad.flatten() for layer in mine])
    their_gradient = torch.cat([layer.weight.grad.flatten() for layer in layers])
    return {
        "output": float((painted - out).detach().abs().max()),
        "gradient": float((our_gradient - their_gradient).norm() / their_gradient.norm()),
    }


def theirs(noisy: np.ndarray, clean: np.ndarray, seed: int, looks: list[int]) -> Curve:
    """The notebook's loop around the authors' network."""
    torch.manual_seed(seed)
    network = their_network()
    y = torch.from_numpy(noisy)[None].float()
    code = 0.1 * torch.rand(1, 32, *noisy.shape[1:])
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    average, curve = None, {}
    for iteration in range(1, max(looks) + 1):
        optimiser.zero_grad()
        out = network(code + torch.randn_like(code) / 30)
        average = out.detach() if average is None else 0.99 * average + 0.01 * out.detach()
        torch.nn.functional.mse_loss(out, y).backward()
        optimiser.step()
        if iteration in looks:
            curve[iteration] = psnr(average[0].numpy().astype("f8"), clean, 1.0)
    return curve


def ours(noisy: np.ndarray, clean: np.ndarray, seed: int, looks: list[int]) -> Curve:
    """Our loop, with the recipe as it ships."""
    fit, curve = our_fit(noisy, seed, max(looks)), {}
    with applied(fit.problem.numerics):
        while not fit.ended:
            fit.step()
            if fit.record_due:
                fit.look()
            if fit.iteration in looks:
                curve[fit.iteration] = psnr(fit.mean()[0].numpy().astype("f8"), clean, 1.0)
    return curve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("original", type=Path, help="clone of the authors' repository")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--image", default="F16_GT", help="of Set9")
    parser.add_argument("--corner", type=int, default=192, help="first row and column of the crop")
    parser.add_argument("--side", type=int, default=64, help="pixels; a multiple of 32")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--looks", type=int, nargs="+", default=[100, 200, 300, 400, 600, 800])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.set_defaults(recipe="reference")
    options = parser.parse_args()
    # their models/__init__.py imports more than torch; skip.py needs no more than its neighbours
    sys.path.insert(0, str(options.original))
    sys.modules["models"] = type(sys)("models")
    sys.modules["models"].__path__ = [str(options.original / "models")]
    torch.set_num_threads(options.threads)
    clean, noisy = noisy_crop(options.data, options.image, options.corner, options.side)
    curves: dict[str, list[Curve]] = {"theirs": [], "ours": []}
    document: dict[str, Any] = {
        "conditions": conditions(options, load_recipe("reference"), "reference"),
        "image": options.image,
        "crop": [options.corner, options.side],
        "noisy_psnr_db": psnr(noisy, clean, 1.0),
        "same_weights": with_the_same_weights(noisy),
        "curves": curves,
    }
    shown = ", ".join(f"{name} {value:.1e}" for name, value in document["same_weights"].items())
    print(f"with the same weights they differ by: {shown}", flush=True)
    for seed in range(options.seeds):
        for name, run in (("theirs", theirs), ("ours", ours)):
            curves[name].append(run(noisy, clean, seed, options.looks))
            shown = " ".join(f"{at}: {db:.2f}" for at, db in curves[name][-1].items())
            print(f"{name:6} seed {seed}  {shown}", flush=True)
            (options.output / "parity.json").write_text(json.dumps(document, indent=1) + "\n")
    for at in options.looks:
        means = [statistics.mean(c[at] for c in curves[name]) for name in curves]
        print(f"{at:5} theirs {means[0]:.2f} ours {means[1]:.2f} {means[1] - means[0]:+.2f} dB")


if __name__ == "__main__":
    main()
