"""Quality of denoising, blind, beside methods that are told the noise.

    python benchmarks/quality.py set9 textures --data ../shared/data
    python benchmarks/quality.py xmm decam --data ../shared/data
    python benchmarks/quality.py stars real --data ../shared/data
    python benchmarks/quality.py whole channels --data ../shared/data
    python benchmarks/quality.py inpaint guided impulse deartifact colorize --data ../shared/data
    python benchmarks/quality.py set5x2 set5x4 set14x4 --data ../shared/data
    python benchmarks/quality.py exposures judged --data ../shared/data

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
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from alone import Alone
from astropy.io import fits
from real_noise import real
from rivals import Method
from star_fields import stars
from studies import (
    CHANNEL_SIGMAS,
    channels,
    colorize,
    deartifact,
    decam,
    exposures,
    guided,
    impulse,
    inpaint,
    judged,
    set9,
    superres,
    textures,
    whole,
    xmm,
)

from glassplate.models.batching.fit_each import fit_batch
from glassplate.models.device.arithmetic import applied, resolve
from glassplate.models.fit.problem import Measurement, Problem
from glassplate.models.noise.estimate import estimate_noise
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.planning.operator import make_operator
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.recipes.recipe import Recipe, load_recipe
from glassplate.pipeline.run.restore import RestoreRequest, restore
from glassplate.pipeline.scaling import make_transform
from glassplate.pipeline.sources.sample_windows import sample
from glassplate.pipeline.sources.source import Pixels, SourceSpec
from glassplate.pipeline.store.ome_zarr import open_array
from glassplate.pipeline.tile_grid import Box
from glassplate.pipeline.tiles.seeds import tile_seed

RESULTS = Path(__file__).parent / "results"
# Iterations at which a fit fed with noise is judged: after a few hundred it is best on a nearly empty sky,
# after 1300 and more on photographs.
LOOKS = (100, 200, 400, 600, 800, 1000, 1300, 1600, 2000)


@dataclass(frozen=True)
class InMemory:
    """An image (c, y, x) as the pipeline's sampling wants a source."""

    values: np.ndarray
    joint: bool = True
    colours: int = 1

    @property
    def spec(self) -> SourceSpec:
        """What a message calls it."""
        return SourceSpec(Path("an image in memory"))

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
        operator=make_operator(recipe, None),
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
            "noise": asdict(problem.noise),
            "transform": asdict(problem.transform),
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


def as_exposures(image: np.ndarray, folder: str) -> SourceSpec:
    """The planes of an image as exposures, each a file."""
    paths = [Path(folder, f"{place}.fits") for place in range(len(image))]
    for path, plane in zip(paths, image, strict=True):
        fits.writeto(path, plane.astype("f4"))
    return SourceSpec(paths[0], exposures=tuple(paths[1:]))


def jointly(recipe: Recipe) -> Method:
    """Return the product's path for exposures, the planes of an image, restored as one window."""

    def run(image: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        with tempfile.TemporaryDirectory() as folder:
            plan = make_plan(
                as_exposures(image, folder), recipe, recipe_name="benchmark", device="cpu"
            )
            pixels = open_source(plan.spec, plan.findings).read(
                Box(0, image.shape[1], 0, image.shape[2])
            )
        measurement = plan.measurement(pixels, tile_seed(recipe.seed, 0, 0), (0, 0))
        [result] = fit_batch([measurement], plan.problem)
        exposures = plan.recorded().exposures
        facts = {
            "iterations": result.iterations,
            "best_iteration": result.best_iteration,
            "stop_reason": result.stop_reason,
            "chi2": result.chi2,
            "exposures": exposures and asdict(exposures),
        }
        return result.values.astype(np.float64), facts

    return run


def weighted_mean(image: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """What `jointly` fits: the mean of the exposures without their outliers."""
    recipe = load_recipe("identity")
    with tempfile.TemporaryDirectory() as folder:
        plan = make_plan(as_exposures(image, folder), recipe, recipe_name="benchmark", device="cpu")
        pixels = open_source(plan.spec, plan.findings).read(
            Box(0, image.shape[1], 0, image.shape[2])
        )
    return pixels.values.astype(np.float64), {}


def stopped_by(rule: str, recipe: Recipe) -> Method:
    """Return a fit to the first of two exposures: the answer of the rule, and those of its whole course."""
    chosen = recipe.model_copy(update={"stopping": replace(recipe.stopping, rule=rule)})

    def run(image: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        with tempfile.TemporaryDirectory() as folder:
            spec = as_exposures(image, folder)
            if rule == "heldout":
                spec = replace(spec, exposures=())
            plan = make_plan(spec, chosen, recipe_name="benchmark", device="cpu")
            pixels = open_source(plan.spec, plan.findings).read(
                Box(0, image.shape[1], 0, image.shape[2])
            )
        problem, looks = plan.problem, {}
        decision, ended = None, None
        with applied(problem.numerics):
            fit = Alone(plan.measurement(pixels, tile_seed(recipe.seed, 0, 0)), problem)
            while fit.iteration < problem.fit.iterations:
                fit.step()
                if not fit.record_due:
                    continue
                fit.look()
                looks[fit.iteration] = fit.answer()
                if ended is None and fit.ended:
                    decision, ended = fit.decision, fit.iteration
        best = fit.records[decision.best].iteration
        facts = {
            "iterations": ended,
            "best_iteration": best,
            "stop_reason": decision.reason,
            "heldout_losses": [record.heldout_loss for record in fit.records],
            "looks": looks,
        }
        return looks[best].astype(np.float64), facts

    return run


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
        with applied(problem.numerics):
            fit = Alone(measurement_of(recipe, image), problem)
            while fit.iteration < last:
                fit.step()
                if fit.iteration in options.looks:
                    answers[key, fit.iteration] = fit.answer().values

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
    """Return all of the product for one image, defects, tiles, donor and blending included, one worker."""

    def run(image: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        with tempfile.TemporaryDirectory() as folder:
            source, store = written(image, Path(folder)), Path(folder, "image.zarr")
            request = RestoreRequest(SourceSpec(source), store, recipe, "benchmark", "cpu")
            result = restore(request, InlinePool())
            values = np.asarray(open_array(store, "0")[...], np.float64)
            stated = None
            if recipe.fit.uncertainty:
                stated = np.asarray(open_array(store, "uncertainty")[...], np.float64)
        facts: dict[str, Any] = {
            "tiles": result.tiles,
            "iterations": round(result.summary.iterations),
            "best_iteration": round(result.summary.iterations),
            "stop_reasons": result.summary.stop_reasons,
            "filled_pixels": result.summary.filled_pixels,
            "guarded_pixels": result.summary.guarded_pixels,
            "chi2": result.summary.chi2 and asdict(result.summary.chi2),
        }
        if stated is not None:
            facts["uncertainty"] = stated
        return values.reshape(-1, *values.shape[-2:]), facts

    return run


def written(image: np.ndarray, folder: Path) -> Path:
    """A file of an image (c, y, x): FITS of one plane, TIFF of three."""
    if len(image) == 1:
        source = folder / "image.fits"
        fits.writeto(source, image[0].astype("f4"))
        return source
    source = folder / "image.tif"
    tifffile.imwrite(source, image.astype("f4"), photometric="rgb", planarconfig="separate")
    return source


def of_the_file(recipe: Recipe) -> Method:
    """Return all of the product for one JPEG, given as its bytes."""

    def run(raw: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        with tempfile.TemporaryDirectory() as folder:
            source, store = Path(folder, "image.jpg"), Path(folder, "image.zarr")
            source.write_bytes(raw.tobytes())
            request = RestoreRequest(SourceSpec(source), store, recipe, "benchmark", "cpu")
            result = restore(request, InlinePool())
            values = np.asarray(open_array(store, "0")[...], np.float64) / 255
        iterations = round(result.summary.iterations)
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
        iterations = round(result.summary.iterations)
        return values, {"iterations": iterations, "best_iteration": iterations}

    return run


SETS = {
    "whole": (whole, "archive-denoise", ("psnr_db",)),
    "set9": (set9, "archive-denoise", ("psnr_db",)),
    "textures": (textures, "archive-denoise", ("psnr_db",)),
    "channels": (channels, "archive-denoise", ("psnr_db",)),
    "inpaint": (inpaint, "archive-repair", ("hole_psnr_db", "psnr_db")),
    "deartifact": (deartifact, "archive-deartifact", ("psnr_db",)),
    "colorize": (colorize, "archive-colorize", ("chroma_psnr_db", "delta_e")),
    "guided": (guided, "guided-denoise", ("psnr_db", "leak")),
    "impulse": (impulse, "archive-impulse", ("psnr_db",)),
    "set5x2": (superres("set5", 2), "archive-upscale", ("y_psnr_db", "agreement")),
    "set5x4": (superres("set5", 4), "archive-upscale", ("y_psnr_db", "agreement")),
    "set14x2": (superres("set14", 2), "archive-upscale", ("y_psnr_db", "agreement")),
    "set14x4": (superres("set14", 4), "archive-upscale", ("y_psnr_db", "agreement")),
    "exposures": (
        exposures,
        "astro-denoise",
        ("gain_db", "whole_gain_db", "flux_ratio", "own_flux_ratio"),
    ),
    "judged": (judged, "astro-denoise", ("gain_db", "lost_db")),
    "xmm": (xmm, "astro-denoise", ("gain_db", "weighted_gain_db", "flux_ratio", "own_flux_ratio")),
    "real": (real, "archive-denoise", ("psnr_db", "gain_db")),
    "stars": (stars, "astro-denoise", ("kept_5", "kept_8", "kept_12", "kept_20", "kept_50", "sky")),
    "decam": (
        decam,
        "astro-denoise",
        ("gain_db", "flux_ratio", "own_flux_ratio"),
    ),
}

# What a study's images are made with must be said to whoever restores them.
SCALES = {
    name: (
        f"operator.scale={name[-1]}",
        "operator.kernel=bicubic",
        "noise.sigma=0.00113",  # rounding to 8 bits: 1/255 over the root of 12
    )
    for name in ("set5x2", "set5x4", "set14x2", "set14x4")
}


def run(name: str, options: argparse.Namespace) -> None:
    """Run one set; print each figure as it comes, and write all of them after every image."""
    study, recipe_name, keys = SETS[name]
    if name in SCALES:
        options.set = [*SCALES[name], *options.set]
    recipe = load_recipe(options.recipe or recipe_name, options.set)
    ours = {"glassplate": glassplate(recipe, options.threads)}
    if name in ("xmm", "decam", "real", "stars", *SCALES):
        ours = {"glassplate": through_the_pipeline(recipe)}
    if name in SCALES and not options.recipe:
        lean = load_recipe("astro-upscale", options.set)
        ours["lean, each tile for itself"] = through_the_pipeline(lean)
    if name == "whole":
        cold = load_recipe(options.recipe or recipe_name, [*options.set, "donor.tiles=0"])
        ours = {"warm": through_the_pipeline(recipe), "cold": through_the_pipeline(cold)}
    if name == "channels":
        alike = f"noise.sigma={np.sqrt((CHANNEL_SIGMAS**2).mean()):.6f}"
        told = load_recipe(options.recipe or recipe_name, [*options.set, alike])
        ours["told one sigma for all"] = glassplate(told, options.threads)
    if name == "deartifact":
        ours = {"glassplate": of_the_file(recipe)}
    if name == "colorize":
        ours = {"glassplate": of_grey_and_hints(recipe)}
    if name == "guided":
        ours = {
            "glassplate, guided": with_guide(recipe, options.threads),
            "glassplate, alone": without_guide(recipe, options.threads),
        }
    if name == "exposures":
        ours = {"weighted mean": weighted_mean, "glassplate": jointly(recipe)}
    if name == "judged":
        ours = {rule: stopped_by(rule, recipe) for rule in ("heldout", "exposure")}
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
        "command": shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
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
