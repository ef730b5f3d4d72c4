"""Deconvolution of simulated measurements, beside classical methods.

    python benchmarks/deconvolution.py [--set KEY=VALUE]... [--images TITLE]... [--curve]

128x128 crops, blurred with a Gaussian PSF (before the crop is cut), white noise added. Richardson-Lucy is
stopped at its best iteration by someone who knows the truth; unsupervised_wiener is told nothing. Both get
the border repeated by 24 pixels. PSNR in dB against a range of 1, 10 pixels at each border left out.
`--curve` prints every record of our fit, which nobody but the benchmark could see. Writes
benchmarks/results/deconvolution.json.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from alone import Alone
from quality import InMemory, conditions
from skimage import data, restoration

from glassplate.models.device.arithmetic import applied, resolve
from glassplate.models.fit.problem import Measurement, Problem
from glassplate.models.metrics import psnr
from glassplate.models.noise.estimate import estimate_noise
from glassplate.models.operators.blur import Blur
from glassplate.models.operators.operator import Operator
from glassplate.models.operators.psf import Psf
from glassplate.pipeline.recipes.recipe import Recipe, load_recipe
from glassplate.pipeline.scaling import make_transform
from glassplate.pipeline.sources.sample_windows import sample
from glassplate.pipeline.tiles.seeds import tile_seed

RESULTS = Path(__file__).parent / "results"
RECIPE = "astro-deconvolve"
BORDER, PAD = 10, 24
LUCY = (1, 2, 3, 5, 7, 10, 14, 20, 30, 50, 80, 120)
# Image, standard deviation of the PSF in pixels, and of the noise.
BLURS = (("hubble", 2.0, 0.01), ("hubble", 2.0, 0.04), ("camera", 1.5, 0.01), ("camera", 2.0, 0.04))
SHOWN = ("best_psnr_db", "best_iteration", "iterations", "chi2", "cpu_seconds")
Wanted = Callable[[str], bool]
"""Whether a row, by its title, is to be measured."""
CORNERS = {"hubble": (364, 364), "camera": (40, 60)}


def image_of(name: str) -> np.ndarray:
    """One plane (y, x) in 0..1: green of the Hubble Deep Field, or every second pixel of camera."""
    pixels = data.hubble_deep_field()[..., 1] if name == "hubble" else data.camera()[::2, ::2]
    return pixels / 255


def crop(image: np.ndarray, name: str) -> np.ndarray:
    """128x128 pixels."""
    row, column = CORNERS[name]
    return image[row : row + 128, column : column + 128]


def gaussian(sigma: float) -> np.ndarray:
    """A Gaussian PSF out to four standard deviations."""
    half = int(np.ceil(4 * sigma))
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    psf = np.exp(-(y**2 + x**2) / 2 / sigma**2)
    return psf / psf.sum()


def through(operator: Operator, image: np.ndarray) -> np.ndarray:
    """``A x`` of a plane."""
    return operator.forward(torch.from_numpy(image.astype("f8"))[None, None])[0, 0].numpy()


def score(values: np.ndarray, truth: np.ndarray) -> float:
    """PSNR without the border."""
    inner = (slice(BORDER, -BORDER),) * 2
    return float(psnr(values[inner], truth[inner], 1.0))


def ours(
    measured: np.ndarray, truth: np.ndarray, operator: Operator, recipe: Recipe, curve: bool
) -> dict[str, Any]:
    """The product's own path for one window, with the PSNR of each record."""
    image = measured[None].astype("f4")
    samples = sample(InMemory(image))
    noise = estimate_noise(samples, recipe.noise)
    problem = Problem(
        network=recipe.network,
        fit=recipe.fit,
        stopping=recipe.stopping,
        operator=operator,
        transform=make_transform(samples, recipe.scaling, noise, np.dtype("float32")),
        noise=noise,
        numerics=resolve("cpu", "auto", threads=1),
    )
    seed = tile_seed(recipe.seed, 0, 0)
    start, records = time.thread_time(), []
    with applied(problem.numerics):
        fit = Alone(Measurement(image, np.ones(image.shape, bool), None, seed), problem)
        while not fit.ended:
            fit.step()
            if fit.record_due:
                record = fit.look()
                now = score(fit.mean()[0, 0].numpy(), truth)
                records.append((record.iteration, now, record.heldout_loss, record.chi2))
                if curve:
                    spent = time.thread_time() - start
                    line = "  {:4d} {:6.2f} dB  held out {:.3e}  chi2 {:.3f}".format(*records[-1])
                    print(line, f"{spent:.0f} s", flush=True)
        result = fit.restoration()
    return {
        "psnr_db": score(result.values[0], truth),
        "best_psnr_db": max(record[1] for record in records),
        "iterations": result.iterations,
        "best_iteration": result.best_iteration,
        "stop_reason": result.stop_reason,
        "chi2": result.chi2,
        "noise_sigma": noise.floor**0.5,
        "cpu_seconds": time.thread_time() - start,
        "records": records,
    }


def deconvolve(
    recipe: Recipe, curve: bool, wanted: Wanted
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """A known Gaussian blur and white noise."""
    for name, sigma, level in BLURS:
        title = f"{name} psf {sigma:g} noise {level:g}"
        if not wanted(title):
            continue
        whole, psf = image_of(name), gaussian(sigma)
        operator, truth = Blur(Psf.of(psf)), crop(whole, name)
        noise = np.random.default_rng(0).normal(0, level, truth.shape)
        measured = crop(through(operator, whole), name) + noise
        yield title, "blurred", {"psnr_db": score(measured, truth)}
        wide = np.pad(measured, PAD, mode="edge")
        inner = (slice(PAD, -PAD),) * 2
        lucy = [
            restoration.richardson_lucy(wide.clip(1e-6), psf, num_iter=count, clip=False)[inner]
            for count in LUCY
        ]
        best = max(range(len(LUCY)), key=lambda place: score(lucy[place], truth))
        facts = {"psnr_db": score(lucy[best], truth), "iterations": LUCY[best]}
        yield title, "Richardson-Lucy, best", facts
        wiener = restoration.unsupervised_wiener(wide, psf, clip=False, rng=0)[0][inner]
        yield title, "unsupervised_wiener", {"psnr_db": score(wiener, truth)}
        yield title, "glassplate", ours(measured, truth, operator, recipe, curve)


def main() -> None:
    """Print each figure as it comes, write all of them at the end."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--recipe", help="instead of astro-deconvolve")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--images", nargs="*", help="only rows that begin so")
    parser.add_argument("--curve", action="store_true", help="print every record of our fit")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.threads = 1
    torch.set_num_threads(1)
    recipe = load_recipe(options.recipe or RECIPE, options.set)
    rows: dict[str, dict[str, Any]] = {}
    known = conditions(options, recipe, RECIPE)
    known["command"] = shlex.join(["python", "benchmarks/deconvolution.py", *sys.argv[1:]])
    document = {"conditions": known, "rows": rows}
    beginnings = tuple(options.images or [""])
    for title, method, figures in deconvolve(
        recipe, options.curve, lambda title: title.startswith(beginnings)
    ):
        rows.setdefault(title, {})[method] = figures
        more = " ".join(f"{key} {figures[key]:.4g}" for key in SHOWN if key in figures)
        print(f"{title:28} {method:22} {figures['psnr_db']:6.2f} dB {more}", flush=True)
    target = options.output / "deconvolution.json"
    target.write_text(json.dumps(document, indent=1, default=float) + "\n", "utf-8")


if __name__ == "__main__":
    main()
