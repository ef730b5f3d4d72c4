"""Quality of denoising, blind, beside methods that are told the noise.

    python benchmarks/quality.py set9 --data ../shared/data
    python benchmarks/quality.py xmm decam --data ../shared/data
    python benchmarks/quality.py whole --data ../shared/data
    python benchmarks/quality.py inpaint deartifact colorize --data ../shared/data

`whole` restores uncropped photographs through all of the product, with a donor and without. With
--noise-input the recipe is also fitted with the paper's random code as its input, and judged every few
hundred iterations, so that its own best, which only the truth can tell, is among the figures.

Prints a table for each set and writes it with its conditions to ``benchmarks/results/quality-SET.json``.
Protocols are in benchmarks/results/README.md. BM3D (`pip install glassplate[benchmark]`) and
scikit-image are compared with, never used.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shlex
import sys
import tempfile
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from rivals import Method
from studies import colorize, deartifact, decam, guided, inpaint, set9, whole, xmm

from glassplate.models.fit import Fit, Measurement, Problem, fit_batch
from glassplate.models.noise import estimate_noise
from glassplate.models.numerics import resolve
from glassplate.models.operators import Identity
from glassplate.pipeline.pool import InlinePool
from glassplate.pipeline.recipe import Recipe, load_recipe
from glassplate.pipeline.run import RestoreRequest, restore
from glassplate.pipeline.sampling import sample
from glassplate.pipeline.scaling import make_transform
from glassplate.pipeline.seeds import tile_seed
from glassplate.pipeline.source import Pixels, SourceSpec
from glassplate.pipeline.store import open_array
from glassplate.pipeline.tiles import Box

RESULTS = Path(__file__).parent / "results"
# Iterations at which a fit fed with noise is judged: after a few hundred it is best on a nearly empty sky,
# after 1300 and more on photographs.
LOOKS = (100, 200, 400, 600, 800, 1000, 1300, 1600, 2000)


@dataclass(frozen=True)
class InMemory:
    """An image (c, y, x) as the pipeline's sampling wants a source."""

    values: np.ndarray
    joint: bool = True

    @property
    def shape(self) -> tuple[int, ...]:
        """``(c, y, x)``."""
        return self.values.shape

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> Pixels:
        """All of a box; NaN is invalid."""
        values = self.values[(slice(None), *box.slices)]
        valid = np.isfinite(values)
        return Pixels(np.where(valid, values, 0), valid)


def problem_for(recipe: Recipe, image: np.ndarray, threads: int) -> Problem:
    """What the product makes of one window: sample, estimate, scale."""
    samples = sample(InMemory(image))
    noise = estimate_noise(samples, recipe.noise)
    return Problem(
        network=recipe.network,
        fit=recipe.fit,
        stopping=recipe.stopping,
        operator=Identity(),
        transform=make_transform(samples, recipe.scaling, noise, np.dtype("float32")),
        noise=noise,
        numerics=resolve("cpu", "auto", threads=threads),
    )


def measurement_of(recipe: Recipe, image: np.ndarray) -> Measurement:
    """One window; NaN is invalid."""
    seed, valid = tile_seed(recipe.seed, 0, 0), np.isfinite(image)
    return Measurement(np.where(valid, image, 0).astype("f4"), valid, None, seed)


def glassplate(recipe: Recipe, threads: int) -> Method:
    """Return the product's own path for one window."""

    def run(image: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        problem = problem_for(recipe, image, threads)
        [result] = fit_batch([measurement_of(recipe, image)], problem)
        facts = {
            "iterations": result.iterations,
            "best_iteration": result.best_iteration,
            "stop_reason": result.stop_reason,
            "chi2": result.chi2,
            "whiteness": result.whiteness,
            "precision": problem.numerics.precision,
            "noise": problem.noise.to_json(),
            "transform": problem.transform.to_json(),
        }
        if result.uncertainty is not None:
            facts["uncertainty"] = result.uncertainty
        return result.values.astype(np.float64), facts

    return run


def with_guide(recipe: Recipe, threads: int) -> Method:
    """Return the product's path for a window of which the last plane is the guide."""

    def run(image: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        y, guide = image[:-1], image[-1:]
        samples = sample(InMemory(guide))
        known = estimate_noise(samples, recipe.noise)
        scaled = make_transform(samples, recipe.scaling, known, np.dtype("float32")).forward(guide)
        problem = replace(problem_for(recipe, y, threads), guide_channels=1)
        measurement = replace(measurement_of(recipe, y), guide=scaled.astype("f4"))
        [result] = fit_batch([measurement], problem)
        facts = {"iterations": result.iterations, "best_iteration": result.best_iteration}
        return result.values.astype(np.float64), facts

    return run


def without_guide(recipe: Recipe, threads: int) -> Method:
    """Return the same without its last plane."""
    return lambda image: glassplate(recipe, threads)(image[:-1])


def noise_input(name: str, options: argparse.Namespace) -> dict[str, Method]:
    """Return the same recipe fed with noise, as it stands after each of `--looks` iterations.

    One fit serves them all: the first that is called makes it, and its time is that fit's.
    """
    last = max(options.looks)
    overrides = ["fit.input=noise", "stopping.rule=fixed", f"fit.iterations={last}"]
    recipe = load_recipe(name, [*options.set, *overrides])
    answers: dict[tuple[bytes, int], np.ndarray] = {}

    def fitted(image: np.ndarray, key: bytes) -> None:
        problem = problem_for(recipe, image, options.threads)
        with problem.numerics.applied():
            fit = Fit(measurement_of(recipe, image), problem)
            while fit.iteration < last:
                fit.step()
                if fit.iteration in options.looks:
                    answers[key, fit.iteration] = fit.window.answer(fit.average.value())

    def look(iteration: int) -> Method:
        def run(image: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
            key = image.tobytes()
            if (key, iteration) not in answers:
                answers.clear()
                fitted(image, key)
            return answers[key, iteration].astype(np.float64), {}

        return run

    return {f"noise input, {iteration}": look(iteration) for iteration in options.looks}


def through_the_pipeline(recipe: Recipe) -> Method:
    """Return all of the product for one image, tiles, donor and blending included, one worker."""

    def run(image: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        with tempfile.TemporaryDirectory() as folder:
            source, store = Path(folder, "image.tif"), Path(folder, "image.zarr")
            tifffile.imwrite(source, image.astype("f4"), photometric="rgb", planarconfig="separate")
            request = RestoreRequest(SourceSpec(source), store, recipe, "benchmark", "cpu")
            result = restore(request, InlinePool())
            values = np.asarray(open_array(store, "0")[...], np.float64)
        facts = {
            "tiles": result.tiles,
            "iterations": round(result.summary["iterations"]),
            "best_iteration": round(result.summary["iterations"]),
            "stop_reasons": result.summary["stop_reasons"],
        }
        return values, facts

    return run


def of_the_file(recipe: Recipe) -> Method:
    """Return all of the product for one JPEG, given as its bytes."""

    def run(raw: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        with tempfile.TemporaryDirectory() as folder:
            source, store = Path(folder, "image.jpg"), Path(folder, "image.zarr")
            source.write_bytes(raw.tobytes())
            request = RestoreRequest(SourceSpec(source), store, recipe, "benchmark", "cpu")
            result = restore(request, InlinePool())
            values = np.asarray(open_array(store, "0")[...], np.float64) / 255
        iterations = round(result.summary["iterations"])
        facts = {"iterations": iterations, "best_iteration": iterations}
        return values.reshape(-1, *values.shape[-2:]), facts

    return run


def of_grey_and_hints(recipe: Recipe) -> Method:
    """Return all of the product for a grey image and RGBA hints, five planes from 0 to 255."""

    def run(planes: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        levels = np.rint(planes).astype("u1")
        with tempfile.TemporaryDirectory() as folder:
            source, hints = Path(folder, "grey.tif"), Path(folder, "hints.png")
            tifffile.imwrite(source, levels[0])
            painted = np.ascontiguousarray(levels[1:].transpose(1, 2, 0))
            hints.write_bytes(imagecodecs.png_encode(painted))
            spec, store = SourceSpec(source, hints=hints), Path(folder, "image.zarr")
            result = restore(RestoreRequest(spec, store, recipe, "benchmark", "cpu"), InlinePool())
            values = np.asarray(open_array(store, "0")[...], np.float64) / 255
        iterations = round(result.summary["iterations"])
        return values, {"iterations": iterations, "best_iteration": iterations}

    return run


SETS = {
    "whole": (whole, "archive-denoise", ("psnr_db",)),
    "set9": (set9, "archive-denoise", ("psnr_db",)),
    "inpaint": (inpaint, "archive-repair", ("hole_psnr_db", "psnr_db")),
    "deartifact": (deartifact, "archive-deartifact", ("psnr_db",)),
    "colorize": (colorize, "archive-colorize", ("chroma_psnr_db", "delta_e")),
    "guided": (guided, "guided-denoise", ("psnr_db", "leak")),
    "xmm": (xmm, "astro-denoise", ("gain_db", "weighted_gain_db", "flux_ratio", "own_flux_ratio")),
    "decam": (
        decam,
        "astro-denoise",
        ("gain_db", "flux_ratio", "own_flux_ratio"),
    ),
}


def run(name: str, options: argparse.Namespace) -> None:
    """Run one set; print each figure as it comes, and write all of them after every image."""
    study, recipe_name, keys = SETS[name]
    recipe = load_recipe(options.recipe or recipe_name, options.set)
    ours = {"glassplate": glassplate(recipe, options.threads)}
    if name == "whole":
        cold = load_recipe(options.recipe or recipe_name, [*options.set, "donor.tiles=0"])
        ours = {"warm": through_the_pipeline(recipe), "cold": through_the_pipeline(cold)}
    if name == "deartifact":
        ours = {"glassplate": of_the_file(recipe)}
    if name == "colorize":
        ours = {"glassplate": of_grey_and_hints(recipe)}
    if name == "guided":
        ours = {
            "glassplate, guided": with_guide(recipe, options.threads),
            "glassplate, alone": without_guide(recipe, options.threads),
        }
    if options.noise_input:
        ours |= noise_input(options.recipe or recipe_name, options)
    if options.reference:
        ours["reference"] = glassplate(load_recipe("reference"), options.threads)
    wanted = (lambda image: image in options.images) if options.images else (lambda _: True)
    rows: dict[str, dict[str, Any]] = {}
    document = {"conditions": conditions(options, recipe, recipe_name), "rows": rows}
    target = options.output / f"quality-{name}{options.label}.json"
    for image, method, figures in study(options.data, ours, wanted):
        rows.setdefault(image, {})[method] = figures
        told = (*keys, *(key for key in ("inside_1", "inside_2") if key in figures))
        shown = " ".join(f"{key} {figures[key]:.3f}" for key in told if figures[key] is not None)
        extra = (
            f" it {figures['best_iteration']}/{figures['iterations']}"
            if "iterations" in figures
            else ""
        )
        print(f"{image:>12} {method:16} {shown} {figures['cpu_seconds']:.1f} s{extra}", flush=True)
        target.write_text(json.dumps(document, indent=1, default=float) + "\n", "utf-8")
    print(table(rows, keys))


def table(rows: dict[str, dict[str, Any]], keys: tuple[str, ...]) -> str:
    """Markdown tables, one for each figure, with the mean over the images."""
    methods = list(next(iter(rows.values())))
    lines = []
    for key in (*keys, "seconds", "cpu_seconds"):
        lines += ["", f"| {key} | {' | '.join(methods)} |", "|---" * (len(methods) + 1) + "|"]
        values = np.array(
            [[figures[m].get(key) for m in methods] for figures in rows.values()], np.float64
        )
        for image, line in [*zip(rows, values, strict=True), ("mean", values.mean(0))]:
            lines.append(f"| {image} | {' | '.join(f'{v:.2f}' for v in line)} |")
    return "\n".join(lines)


def conditions(options: argparse.Namespace, recipe: Recipe, name: str) -> dict[str, Any]:
    """Everything that someone else needs to repeat the run, or to see why theirs differs."""
    versions = {}
    for package in ("glassplate", "torch", "numpy", "scipy", "scikit-image", "bm3d"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "benchmarks/quality.py", *sys.argv[1:]]),
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "system": platform.platform(),
        },
        "threads": options.threads,
        "python": platform.python_version(),
        "versions": versions,
        "recipe": options.recipe or name,
        "recipe_values": recipe.model_dump(mode="json"),
    }


def processor() -> str:
    """Name of the processor, as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.is_file() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if "model name" in line),
        platform.processor(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+", choices=sorted(SETS), help="what to run")
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="evaluation images"
    )
    parser.add_argument("--images", nargs="+", help="names of the only images to run")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of one fit")
    parser.add_argument("--recipe", help="another recipe than the default of the set")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="as in restore"
    )
    parser.add_argument(
        "--reference", action="store_true", help="also the paper's own recipe (hours)"
    )
    parser.add_argument(
        "--noise-input", action="store_true", help="also the recipe fed with noise (hours)"
    )
    parser.add_argument(
        "--looks", type=int, nargs="+", default=LOOKS, help="iterations at which it is judged"
    )
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the JSON")
    parser.add_argument("--label", default="", help="ending of the JSON's name")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for name in options.sets:
        run(name, options)


if __name__ == "__main__":
    main()
