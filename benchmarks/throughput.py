"""Throughput of whole runs on one core, and their quality, beside classical filters.

    python benchmarks/throughput.py --data ../shared/data --sides 512 1024 2048 4096
    python benchmarks/throughput.py --sides 1024 --methods glassplate thorough BM3D NLM NL-Ridge
    python benchmarks/throughput.py --scenes enlarging --sides 256 512 --methods glassplate lean bicubic

Images: a mosaic of Kodak's photographs, each cut to 512x512, with white noise of 25/255, and a made sky.
Each is restored by `glassplate restore` with one worker, as a user would, from the start of the process to
its end, donor included. `thorough` has 200 steps for every tile, a halo of 32 and a donor of 1000, as before
large images had their own rule. Enlarging doubles the mosaic that Pillow's bicubic filter made half as large,
in 8 bits; `lean` fits a network to each tile, as archive-upscale did before. The filters are told the noise,
have one thread, and get the pixels in memory. Figures are megapixels of the input an hour, and PSNR
(photographs) or the gain in squared error (sky), dB.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
import torch
from astropy.io import fits
from PIL import Image
from quality import conditions
from ridge import nl_ridge
from rivals import Method, bm3d, nlm
from skimage import io
from star_fields import galaxies

from glassplate.pipeline.recipes.recipe import load_recipe

RESULTS = Path(__file__).parent / "results"
SIGMA = 25 / 255
SKY_NOISE = 10.0
# Standard deviation of the rounding to 8 bits.
ROUNDING = 1 / 255 / math.sqrt(12)
# What the measurement of an enlarging was made with.
HALVED = ("operator.kernel=bicubic", f"noise.sigma={ROUNDING:.3g}")
THOROUGH = (
    "tiles.halo=32",
    "donor.network=same",
    "donor.iterations=1000",
    "donor.windows=32",
    "donor.tile_least=null",
    "donor.tile_predictions=0",
    "donor.tile_passes=1",
)


class Scene(NamedTuple):
    """An image to restore; both (c, y, x)."""

    truth: np.ndarray
    noisy: np.ndarray
    recipe: str
    sigma: float


def mosaic(data: Path, side: int) -> Scene:
    """Photographs side by side, in the order of their names, again and again."""
    paths = sorted((data / "std" / "kodak24").glob("*.png"))
    cells = math.ceil(side / 512)
    rows = []
    for row in range(cells):
        each = [paths[(row * cells + column) % len(paths)] for column in range(cells)]
        rows.append(np.hstack([_square(io.imread(path)) for path in each]))
    truth = np.vstack(rows)[:side, :side].transpose(2, 0, 1) / 255
    noise = np.random.default_rng(0).normal(0, SIGMA, truth.shape)
    return Scene(truth, np.clip(truth + noise, 0, 1), "archive-denoise", SIGMA)


def _square(image: np.ndarray) -> np.ndarray:
    return image[:512, :512]


def sky(data: Path, side: int) -> Scene:
    """Galaxies on a sky of 1000, white noise of 10."""
    rng = np.random.default_rng(1)
    cell = 1024
    truth = np.full((side, side), 1000.0)
    for top in range(0, side, cell):
        for left in range(0, side, cell):
            box = np.s_[top : top + cell, left : left + cell]
            size = min(cell, side)
            truth[box] += galaxies(size, rng)
    noisy = truth + rng.normal(0, SKY_NOISE, truth.shape)
    return Scene(truth[None], noisy[None], "astro-denoise", SKY_NOISE)


def halved(data: Path, side: int) -> Scene:
    """The mosaic of twice the side, made smaller by Pillow and rounded to 8 bits."""
    truth = mosaic(data, 2 * side).truth
    large = Image.fromarray(np.rint(255 * truth).astype("u1").transpose(1, 2, 0))
    small = np.asarray(large.resize((side, side), Image.Resampling.BICUBIC))
    return Scene(truth, small.transpose(2, 0, 1) / 255, "archive-upscale", ROUNDING)


def bicubic(scene: Scene) -> tuple[np.ndarray, float]:
    """Pillow's bicubic interpolation to twice the size."""
    start = time.perf_counter()
    _, h, w = scene.noisy.shape
    small = Image.fromarray(np.rint(255 * scene.noisy).astype("u1").transpose(1, 2, 0))
    large = np.asarray(small.resize((2 * w, 2 * h), Image.Resampling.BICUBIC))
    return large.transpose(2, 0, 1) / 255, time.perf_counter() - start


SCENES = {"photographs": mosaic, "sky": sky, "enlarging": halved}


def product(scene: Scene, overrides: Sequence[str], workers: int) -> tuple[np.ndarray, float]:
    """Run the command and time it; (c, y, x) and seconds."""
    with tempfile.TemporaryDirectory() as folder:
        colour = len(scene.noisy) == 3
        name = "image.fits" if scene.recipe == "astro-denoise" else "image.tif"
        source, export = Path(folder) / name, Path(folder) / f"restored{Path(name).suffix}"
        pixels = scene.noisy.astype(np.float32)
        if source.suffix == ".tif":
            pixels = pixels.transpose(1, 2, 0) if colour else pixels[0]
            tifffile.imwrite(source, pixels, photometric="rgb" if colour else "minisblack")
        else:
            fits.writeto(source, pixels[0])
        command = [
            *(sys.executable, "-c", "from glassplate.flows.cli.main import main; main()"),
            *("restore", str(source), "-o", str(Path(folder) / "out.zarr")),
            *("--recipe", scene.recipe, "--workers", str(workers), "--export", str(export)),
            *(word for key in overrides for word in ("--set", key)),
        ]
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env={**os.environ})
        seconds = time.perf_counter() - start
        if source.suffix == ".tif":
            result = tifffile.imread(export).astype(float)
            return (result.transpose(2, 0, 1) if colour else result[None]), seconds
        return fits.getdata(export).astype(float)[None], seconds


def rival(scene: Scene, method: Method) -> tuple[np.ndarray, float]:
    """Filter in cells of 512 pixels and 16 around them, so that memory does not grow with the image."""
    start, result = time.perf_counter(), np.empty_like(scene.noisy)
    _, h, w = scene.noisy.shape
    for top in range(0, h, 512):
        for left in range(0, w, 512):
            y, x = max(0, top - 16), max(0, left - 16)
            cell = method(scene.noisy[:, y : top + 528, x : left + 528])[0]
            bottom, right = min(top + 512, h), min(left + 512, w)
            result[:, top:bottom, left:right] = cell[:, top - y : bottom - y, left - x : right - x]
    return result, time.perf_counter() - start


def measured(scene: Scene, result: np.ndarray, seconds: float) -> dict[str, float]:
    """Megapixels an hour and decibels."""
    sky = scene.recipe == "astro-denoise"
    shown = result if sky else np.clip(result, 0, 1)
    error = np.mean((shown - scene.truth) ** 2)
    reference = SKY_NOISE**2 if sky else 1.0
    megapixels = scene.noisy.shape[1] * scene.noisy.shape[2] / 1e6
    return {
        "seconds": seconds,
        "megapixels_per_hour": megapixels * 3600 / seconds,
        "db": 10 * math.log10(reference / error),
    }


# Of each scene; the conditions state the values of the first one's.
RECIPES = {"photographs": "archive-denoise", "sky": "astro-denoise", "enlarging": "archive-upscale"}
# Recipes of the methods that are ours; None for the scene's own.
OURS = {"glassplate": None, "draft": "draft", "thorough": None, "lean": "astro-upscale"}
METHODS = ("glassplate", "draft", "thorough", "lean", "bicubic", "BM3D", "NLM", "NL-Ridge")
# Of a scene, where none are named.
OF_SCENES = {
    "photographs": ("glassplate", "draft", "thorough", "BM3D", "NLM", "NL-Ridge"),
    "sky": ("glassplate", "thorough", "BM3D", "NLM", "NL-Ridge"),
    "enlarging": ("glassplate", "lean", "bicubic"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--scenes", nargs="+", choices=sorted(SCENES), default=sorted(SCENES))
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024, 2048, 4096])
    parser.add_argument("--methods", nargs="+", choices=METHODS)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="of the rivals")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--label", default="")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    first = RECIPES[options.scenes[0]]
    recipe = load_recipe(first)
    options.recipe = None
    rows: dict[str, Any] = {}
    document = {"conditions": conditions(options, recipe, first), "rows": rows}
    document["conditions"]["workers"] = options.workers
    for name in options.scenes:
        for side in options.sides:
            scene = SCENES[name](options.data, side)
            for method in options.methods or OF_SCENES[name]:
                if method in OURS:
                    overrides = HALVED if name == "enlarging" else ()
                    overrides = THOROUGH if method == "thorough" else overrides
                    wished = scene._replace(recipe=OURS[method] or scene.recipe)
                    found = product(wished, overrides, options.workers)
                elif method == "bicubic":
                    found = bicubic(scene)
                else:
                    made = {"BM3D": bm3d, "NLM": lambda s: nlm(s, 0.6), "NL-Ridge": nl_ridge}
                    found = rival(scene, made[method](scene.sigma))
                figures = measured(scene, *found)
                rows.setdefault(f"{name} {side}", {})[method] = figures
                print(
                    f"{name:12} {side:5} {method:11} {figures['megapixels_per_hour']:8.1f} Mpx/h "
                    f"{figures['db']:6.2f} dB {figures['seconds']:7.1f} s",
                    flush=True,
                )
                target = options.output / f"throughput{options.label}.json"
                target.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
