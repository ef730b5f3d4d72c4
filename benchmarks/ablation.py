"""What the prior does: networks by kind and depth, and no network, on one noisy image.

    python benchmarks/images.py FOLDER --side 128
    python benchmarks/ablation.py FOLDER/kodak1-128.npz --kinds skip hourglass --scales 2 5

Fits each kind of prior network at each depth to the image from the paper's input, a random code, by the
settings of the recipe `reference` but for the network and the number of iterations; and, without a network:

pixels  the estimate's pixels themselves, by the same loop and optimiser: no prior at all
tv      the same with total variation as a penalty (`fit.tv`), at each weight of --weights

and keeps PSNR of the averaged output by iteration, which the fit never sees. Nothing stops early: what an
ablation shows is how high a prior comes, and how far it falls when it goes on.

Networks have the widths of NETWORKS below, given there with their reason. Writes
benchmarks/results/ablation-IMAGE.json after each network, and does not fit again what is in it for the same
image, side and iterations; at the end draws benchmarks/results/ablation-IMAGE.png (with matplotlib, of the
extra "dev") and prints a table. Needs torch, numpy and glassplate.models alone.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from alone import Alone
from speed import RESULTS, Image, Point, machine, reference, write
from torch import nn

from glassplate.models.device.arithmetic import applied
from glassplate.models.fit.loop import Network
from glassplate.models.fit.problem import Problem
from glassplate.models.networks.make import count_weights
from glassplate.models.networks.settings import NetworkSettings

# Upsampling and last layer as in the paper. 32 channels, since 128 take sixteen times the time and an image
# of 128x128 pixels; 4 skip channels as in the paper; a U-Net doubles its channels, so that 16 (its size in
# the paper's code, feature_scale 4) are as many as the others' half-way down; a Deep Decoder of 64 (its
# paper has 64 and 128 for 512x512 pixels) has still fewer weights than the image has values.
_PAPER = NetworkSettings("skip", 32, skip_channels=4, upsample="bilinear", output="sigmoid")
NETWORKS = {
    "lean": replace(_PAPER, kind="lean", skip_channels=32),
    "skip": _PAPER,
    "hourglass": replace(_PAPER, kind="hourglass"),
    "unet": replace(_PAPER, kind="unet", channels=16),
    "resnet": replace(_PAPER, kind="resnet"),
    "decoder": replace(_PAPER, kind="decoder", channels=64),
}
WITHOUT = ("pixels", "tv")
# Iterations between looks.
PERIOD = 25


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    kind: str
    scales: int | None
    """Depth of a network; None without one."""
    tv: float
    """Weight of total variation."""

    @property
    def name(self) -> str:
        """As in the table."""
        if self.scales is not None:
            return f"{self.kind} {self.scales}"
        return f"{self.kind} {self.tv:g}" if self.tv else self.kind


class Pixels(nn.Module):
    """A picture that pays no heed to its input: optimising its values is optimising without a prior."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.picture = nn.Parameter(torch.zeros(shape))  # (1, C, H', W'): the window's own mean

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Give the picture."""
        del z
        return self.picture


def cases(options: argparse.Namespace) -> Iterator[Case]:
    """What was asked for, depth by depth, so that whoever stops early has all kinds at the first."""
    if "pixels" in options.kinds:
        yield Case("pixels", None, 0.0)
    if "tv" in options.kinds:
        yield from (Case("tv", None, weight) for weight in options.weights)
    for scales in options.scales:
        yield from (Case(kind, scales, 0.0) for kind in options.kinds if kind not in WITHOUT)


def problem_of(case: Case, image: Image, options: argparse.Namespace) -> Problem:
    """The reference with another network, or with the settings of a bare picture."""
    base = reference(image, options)
    fit = replace(base.fit, iterations=options.iterations, log_period=PERIOD, tv=case.tv)
    # without a network: a linear last layer, whose 0 is the window's mean and whose 1 its spread
    network = NetworkSettings() if case.kind in WITHOUT else NETWORKS[case.kind]
    network = replace(network, scales=case.scales or network.scales)
    return replace(base, network=network, fit=fit)


def begin(case: Case, image: Image, problem: Problem) -> Alone:
    """A fit of the loop that everything here goes through."""
    fit = Alone(image.measurement(), problem)
    if case.kind in WITHOUT:
        _, _, height, width = fit.state.input.draw().z.shape
        pixels = Pixels((1, fit.window.channels, height, width)).to(problem.numerics.device)
        fit.network = Network(pixels, problem.fit.learning_rate)
    return fit


def fitted(case: Case, image: Image, options: argparse.Namespace) -> dict[str, Any]:
    """One row: the curve, where it was best, where it ended; seconds are the processor's, looks included."""
    problem = problem_of(case, image, options)
    points: list[Point] = []
    with applied(problem.numerics):
        fit = begin(case, image, problem)
        began = time.process_time()
        while fit.iteration < options.iterations:
            fit.step()
            if fit.record_due:
                fit.look()
                values = fit.mean()[0].cpu().numpy()
                spent = time.process_time() - began
                points.append(Point(fit.iteration, round(spent, 3), image.psnr(values)))
    alone = case.kind in WITHOUT
    channels = fit.window.channels
    weights = (
        image.clean.size
        if alone
        else count_weights(problem.network, fit.state.input.channels, channels)
    )
    best = max(points, key=lambda point: point.psnr_db)
    return {
        **asdict(case),
        "name": case.name,
        "network": None if alone else asdict(problem.network),
        "weights": weights,
        "best": best,
        "end": points[-1],
        "cpu_seconds_per_iteration": points[-1].seconds / points[-1].iteration,
        "load": os.getloadavg(),
        "curve": points,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown, one line a row."""
    lines = [
        "| | weights | best, dB | at iteration | end, dB | CPU s / it. |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['name']} | {row['weights']} | {best.psnr_db:.2f} | {best.iteration} "
        f"| {Point(*row['end']).psnr_db:.2f} | {row['cpu_seconds_per_iteration']:.3f} |"
        for row in rows
        for best in [Point(*row["best"])]
    ]
    return "\n".join(lines)


def draw(rows: list[dict[str, Any]], title: str, target: Path) -> None:
    """PSNR by iteration: a panel for each depth, what has no network in all of them."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    depths = sorted({row["scales"] for row in rows if row["scales"] is not None}) or [None]
    figure, panels = plt.subplots(
        1, len(depths), sharey=True, squeeze=False, figsize=(1 + 3.5 * len(depths), 4), dpi=120
    )
    labels = {row["name"]: row["name" if row["scales"] is None else "kind"] for row in rows}
    colours = {label: f"C{n}" for n, label in enumerate(dict.fromkeys(labels.values()))}
    for panel, depth in zip(panels[0], depths, strict=True):
        for row in (row for row in rows if row["scales"] in (None, depth)):
            points, label = [Point(*point) for point in row["curve"]], labels[row["name"]]
            panel.plot(
                [point.iteration for point in points],
                [point.psnr_db for point in points],
                ":" if row["scales"] is None else "-",
                color=colours[label],
                label=label,
            )
        panel.set_title("no network" if depth is None else f"{depth} scales (blocks of a resnet)")
        panel.set_xlabel("iteration")
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("PSNR of the averaged output, dB")
    panels[0][-1].legend(fontsize="small")
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(target)
    plt.close(figure)


def kept(target: Path, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of an earlier run of the same; none where it was of another image, side or length."""
    if not target.is_file():
        return []
    document = json.loads(target.read_text("utf-8"))
    return document["rows"] if document["asked"] == asked else []


def run(image: Image, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Fit what is not there yet; write after each."""
    asked = {"image": image.name, "side": options.side, "iterations": options.iterations}
    target = options.output / f"ablation-{image.name}.json"
    rows = kept(target, asked)
    done = {row["name"] for row in rows}
    for case in cases(options):
        if case.name in done:
            continue
        rows.append(fitted(case, image, options))
        print(table(rows[-1:]).splitlines()[-1], flush=True)
        write(target, {"conditions": machine(options, "ablation"), "asked": asked, "rows": rows})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", type=Path, help="an archive of benchmarks/images.py")
    parser.add_argument(
        "--kinds", nargs="+", choices=(*NETWORKS, *WITHOUT), default=(*WITHOUT, *NETWORKS)
    )
    parser.add_argument("--scales", nargs="+", type=int, default=(2, 3, 4, 5), help="depths")
    parser.add_argument("--weights", nargs="+", type=float, default=(0.5, 1.0, 2.0), help="of tv")
    parser.add_argument("--iterations", type=int, default=600)
    parser.add_argument("--side", type=int, default=128, help="pixels, from the upper left corner")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of one fit")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    image = Image(options.image).corner(options.side)
    rows = run(image, options)
    print(table(rows))
    title = (
        f"{image.name}, {options.side}x{options.side}, {image.psnr(image.noisy):.2f} dB measured"
    )
    draw(rows, title, options.output / f"ablation-{image.name}.png")


if __name__ == "__main__":
    main()
