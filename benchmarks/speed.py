"""Time to quality: the default recipe beside the paper's settings and the rivals, in one run.

    python benchmarks/images.py FOLDER --side 128
    python benchmarks/speed.py reference FOLDER/F16_GT-128.npz --curves CURVES
    python benchmarks/speed.py table FOLDER/*-128.npz --curves CURVES
    python benchmarks/speed.py stack FOLDER/F16_GT-128.npz

reference  fits the settings of the DIP paper (128 channels, 3000 iterations, float32, average of the
           outputs) and keeps PSNR by iteration in CURVES/NAME.json. It takes half an hour of one core for
           128x128 pixels on a CPU; the curve depends on the machine only by rounding, its time does.
table      fits the default recipe, from random weights and from a donor, and ZS-N2N; times some iterations
           of the reference between them, on this machine, in this run; then prints for each image that has
           a curve the seconds to come within 0.1 dB of what the reference ends with, and of its best.
stack      iterations a second of 1, 2, 4 and 8 fits that advance together, by the way their networks do.

Needs torch, numpy and glassplate.models alone (PYTHONPATH with a link `glassplate` to the repository where
it is not installed); BM3D and NLM come in where benchmarks/rivals.py can be imported. Everything is blind:
the noise is estimated. Writes benchmarks/results/speed-WHAT.json.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from alone import Alone
from zsn2n import ITERATIONS as ZSN2N_ITERATIONS
from zsn2n import ZeroShotNoise2Noise

from glassplate.models.batching.fit_each import fit_batch
from glassplate.models.device.arithmetic import applied, resolve
from glassplate.models.device.numerics import WAYS
from glassplate.models.donor.donor_problem import warm
from glassplate.models.donor.fit_donor import fit_donor
from glassplate.models.fit.problem import Measurement, Problem, Weights
from glassplate.models.fit.settings import DonorSettings, FitSettings
from glassplate.models.fit.stopping import StoppingSettings
from glassplate.models.metrics import psnr
from glassplate.models.networks.settings import NetworkSettings
from glassplate.models.noise.model import NoiseModel
from glassplate.models.operators.operator import Identity
from glassplate.models.pixel_transform import PixelTransform

RESULTS = Path(__file__).parent / "results"
NEAR_DB = 0.1

# The recipes `reference` and `archive-denoise`, which tests/test_benchmarks.py holds to the YAML files.
REFERENCE_NETWORK = NetworkSettings(
    "skip", channels=128, scales=5, skip_channels=4, upsample="bilinear", output="sigmoid"
)
REFERENCE_FIT = FitSettings(input="noise", iterations=3000, posterior=False, log_period=50)
DEFAULT_NETWORK = NetworkSettings("lean", channels=32, fine_channels=16, scales=4, skip_channels=32)
DEFAULT_FIT = FitSettings(iterations=1000, posterior_radius=5.0, collaborative=True)
DEFAULT_DONOR = DonorSettings(tile_least=10)
DEFAULT_STOPPING = StoppingSettings(patience=300, minimum=150)


class Point(NamedTuple):
    """Where a fit stood."""

    iteration: int
    seconds: float
    """Of the steps alone, without what this benchmark looks at."""
    psnr_db: float


class Image:
    """An archive of benchmarks/images.py."""

    def __init__(self, path: Path) -> None:
        arrays = np.load(path)
        self.name = path.stem
        self.clean, self.noisy, self.donors = (arrays[k] for k in ("clean", "noisy", "donors"))
        self.noise = NoiseModel(**json.loads(str(arrays["noise"])))
        self.transform = PixelTransform(**json.loads(str(arrays["transform"])))
        self.range = PixelTransform(**json.loads(str(arrays["range"])))

    def corner(self, side: int) -> Image:
        """The same, cut to a square from its upper left corner."""
        self.clean, self.noisy = (a[:, :side, :side] for a in (self.clean, self.noisy))
        return self

    def psnr(self, values: np.ndarray) -> float:
        """Over all channels, clipped to [0, 1]."""
        return float(psnr(np.clip(values, 0, 1), self.clean, 1.0))

    def measurement(self) -> Measurement:
        """All of it, every pixel valid."""
        return everywhere(self.noisy, 0)


def everywhere(values: np.ndarray, seed: int) -> Measurement:
    """A measurement of valid pixels."""
    return Measurement(values, np.ones(values.shape, bool), None, seed)


def reference(image: Image, options: argparse.Namespace) -> Problem:
    """The paper's settings."""
    return Problem(
        REFERENCE_NETWORK, REFERENCE_FIT, StoppingSettings("fixed"), Identity(), image.range, image.noise,
        resolve(options.device, "fp32", options.threads),
    )  # fmt: skip


def default(image: Image, options: argparse.Namespace) -> Problem:
    """What a user gets."""
    return Problem(
        DEFAULT_NETWORK, DEFAULT_FIT, DEFAULT_STOPPING, Identity(), image.transform, image.noise,
        resolve(options.device, "auto", options.threads),
    )  # fmt: skip


def curve(
    image: Image, problem: Problem, start: Weights | None = None, told: Callable[[list], None] = len
) -> list[Point]:
    """PSNR of the answer at every record of a fit that runs to its cap."""
    points: list[Point] = []
    spent = 0.0
    with applied(problem.numerics):
        fit = Alone(image.measurement(), problem, start)
        while fit.iteration < problem.fit.iterations:
            began = time.perf_counter()
            fit.step()
            if fit.record_due:
                fit.look()
            spent += time.perf_counter() - began
            if fit.record_due:
                values = fit.answer().values
                points.append(Point(fit.iteration, round(spent, 3), image.psnr(values)))
                told(points)
    return points


def stopped(image: Image, problem: Problem, start: Weights | None = None) -> dict[str, Any]:
    """The answer as a user gets it: where the stopping rule ends the fit, the posterior step included."""
    began = time.perf_counter()
    [result] = fit_batch([image.measurement()], problem, start=start)
    return {
        "psnr_db": image.psnr(result.values),
        "seconds": time.perf_counter() - began,
        "iterations": result.iterations,
        "best_iteration": result.best_iteration,
        "stop_reason": result.stop_reason,
    }


def fine(problem: Problem, iterations: int) -> Problem:
    """The same fit, looked at often, for so many iterations."""
    return replace(problem, fit=replace(problem.fit, iterations=iterations, log_period=5))


def reference_seconds(image: Image, options: argparse.Namespace, count: int = 6) -> float:
    """Seconds of one iteration of the reference, now: median of a few, the first not counted."""
    problem = reference(image, options)
    with applied(problem.numerics):
        fit = Alone(image.measurement(), problem)
        times = []
        for _ in range(count + 1):
            began = time.perf_counter()
            fit.step()
            times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def donor(image: Image, problem: Problem) -> tuple[Weights, float]:
    """Weights fitted to the other squares of the image, and the seconds that took."""
    began = time.perf_counter()
    squares = [everywhere(square, 1 + n) for n, square in enumerate(image.donors)]
    weights = fit_donor(squares[: DEFAULT_DONOR.windows], problem, DEFAULT_DONOR)
    return weights, time.perf_counter() - began


def zsn2n(image: Image) -> list[Point]:
    """The rival's curve."""
    fit, points, spent = ZeroShotNoise2Noise(image.noisy), [], 0.0
    for iteration in range(1, ZSN2N_ITERATIONS + 1):
        began = time.perf_counter()
        fit.step()
        spent += time.perf_counter() - began
        if iteration % 100 == 0:
            points.append(Point(iteration, round(spent, 3), image.psnr(fit.values())))
    return points


def told_the_noise(image: Image) -> dict[str, dict[str, float]]:
    """BM3D and NLM with sigma known, where they are installed."""
    try:
        from rivals import bm3d, nlm
    except ImportError:
        return {}
    figures = {}
    for name, method in (("BM3D", bm3d(25 / 255)), ("NLM", nlm(25 / 255, 0.6))):
        began = time.perf_counter()
        try:
            values, _ = method(image.noisy.astype(np.float64))
        except ImportError:
            continue
        figures[name] = {"psnr_db": image.psnr(values), "seconds": time.perf_counter() - began}
    return figures


def first(points: list[Point], target_db: float) -> Point | None:
    """Where a curve comes to a PSNR first."""
    return next((point for point in points if point.psnr_db >= target_db), None)


def row(image: Image, options: argparse.Namespace) -> dict[str, Any]:
    """Everything about one image."""
    problem = default(image, options)
    torch.set_num_threads(options.threads)
    step = [reference_seconds(image, options)]
    cold = curve(image, fine(problem, options.iterations))
    weights, donor_s = donor(image, problem)
    step.append(reference_seconds(image, options))
    after = curve(image, fine(warm(problem, DEFAULT_DONOR), options.iterations), weights)
    step.append(reference_seconds(image, options))
    figures: dict[str, Any] = {
        "image": image.name,
        "reference_seconds_per_iteration": statistics.median(step),
        "donor_seconds": donor_s,
        "curves": {"cold": cold, "warm": after},
        "as_shipped": {
            "cold": stopped(image, problem),
            "warm": stopped(image, warm(problem, DEFAULT_DONOR), weights),
        },
    }
    kept = options.curves / f"{image.name}.json"
    if kept.is_file():
        points = json.loads(kept.read_text("utf-8"))["points"]
        figures["reference"] = beside([Point(*p) for p in points], figures)
    if options.rivals:
        figures["curves"]["ZS-N2N"] = zsn2n(image)
        figures["told_the_noise"] = told_the_noise(image)
    return figures


def beside(known: list[Point], figures: dict[str, Any]) -> dict[str, Any]:
    """How much sooner than the reference each of our curves comes near its end, and near its best.

    The reference takes its iterations times what one took in this run. `oracle_times` is for a reference
    that someone who knows the truth stops where it is best.
    """
    step_s = figures["reference_seconds_per_iteration"]
    best = max(known, key=lambda point: point.psnr_db)
    found: dict[str, Any] = {
        "end": known[-1],
        "best": best,
        "seconds": step_s * known[-1].iteration,
        "seconds_to_best": step_s * best.iteration,
    }
    for name in ("cold", "warm"):
        for goal, target in (("end", known[-1]), ("best", best)):
            there = first(figures["curves"][name], target.psnr_db - NEAR_DB)
            found[f"{name}_to_{goal}"] = there and {
                **there._asdict(),
                "times": found["seconds"] / there.seconds,
                "oracle_times": found["seconds_to_best"] / there.seconds,
            }
    return found


def show(figures: dict[str, Any]) -> str:
    """A few lines on one image."""
    lines = [f"{figures['image']}: donor {figures['donor_seconds']:.1f} s"]
    known = figures.get("reference")
    if known:
        lines.append(
            f"  reference: {known['end'].psnr_db:.2f} dB at its end, {known['seconds']:.0f} s; best "
            f"{known['best'].psnr_db:.2f} dB, {known['seconds_to_best']:.0f} s"
        )
    for name, ours in figures["as_shipped"].items():
        lines.append(
            f"  {name}: {ours['psnr_db']:.2f} dB in {ours['seconds']:.1f} s, iteration "
            f"{ours['best_iteration']} of {ours['iterations']}"
        )
        for goal in ("end", "best"):
            there = known and known[f"{name}_to_{goal}"]
            if there:
                lines.append(
                    f"    near the reference's {goal} after {there['iteration']} iterations, "
                    f"{there['seconds']:.2f} s: {there['times']:.0f} times faster than all of it, "
                    f"{there['oracle_times']:.0f} times than it to its best"
                )
            elif known:
                lines.append(f"    never near the reference's {goal}")
    rival = figures["curves"].get("ZS-N2N")
    if rival:
        lines.append(f"  ZS-N2N: {rival[-1].psnr_db:.2f} dB in {rival[-1].seconds:.1f} s")
    for name, told in figures.get("told_the_noise", {}).items():
        lines.append(f"  {name}: {told['psnr_db']:.2f} dB in {told['seconds']:.1f} s")
    return "\n".join(lines)


def summary(rows: list[dict[str, Any]]) -> str:
    """Medians and the worst over the images that have a curve of the reference."""
    known = [figures["reference"] for figures in rows if "reference" in figures]
    lines = []
    for name in ("cold", "warm"):
        for goal in ("end", "best"):
            found = [figures[f"{name}_to_{goal}"] for figures in known]
            reached = [there["times"] for there in found if there]
            if reached:
                lines.append(
                    f"{name}, near the reference's {goal}: {statistics.median(reached):.0f} times faster "
                    f"(median), least {min(reached):.0f}, on {len(reached)} of {len(found)} images"
                )
    return "\n".join(lines)


def stack(image: Image, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Iterations a second of several fits that advance together."""
    rows = []
    for count, way in ((1, "separate"), *itertools.product((2, 4, 8), WAYS)):
        problem = default(image, options)
        problem = replace(
            problem,
            fit=replace(problem.fit, iterations=24, log_period=12),
            stopping=StoppingSettings("fixed"),
            numerics=replace(problem.numerics, stack=count, together=way),
        )
        measurements = [everywhere(image.noisy, seed) for seed in range(8)]
        times = []
        for _ in range(3):
            began = time.perf_counter()
            fit_batch(measurements, problem)
            times.append(time.perf_counter() - began)
        rate = 8 * 24 / statistics.median(times)
        row = {"stack": count, "together": way, "iterations_per_s": rate, "seconds": times}
        rows.append(row)
        print(f"{count} at a time, {way}: {rate:.2f} iterations/s in all", flush=True)
    return rows


def conditions(options: argparse.Namespace) -> dict[str, Any]:
    """What someone else needs to repeat the run."""
    return {
        **machine(options, "speed"),
        "network": asdict(DEFAULT_NETWORK),
        "fit": asdict(DEFAULT_FIT),
        "donor": asdict(DEFAULT_DONOR),
    }


def machine(options: argparse.Namespace, benchmark: str) -> dict[str, Any]:
    """When, where and by which command; the part that every benchmark of one fit shares."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python", f"benchmarks/{benchmark}.py", *sys.argv[1:]]),
        "processor": names[0] if names else platform.processor(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "gpu": gpu,
        "threads": options.threads,
        "precision": resolve(options.device, "auto").precision,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def write(path: Path, document: dict[str, Any]) -> None:
    """JSON, where whoever stops the run early finds what was done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, default=float) + "\n", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("reference", "table", "stack"))
    parser.add_argument("images", nargs="+", type=Path, help="archives of benchmarks/images.py")
    parser.add_argument("--curves", type=Path, default=RESULTS / "reference-curves")
    parser.add_argument("--iterations", type=int, default=300, help="of our curves")
    parser.add_argument("--rivals", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of one fit")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    images = [Image(path) for path in options.images]
    if options.what == "reference":
        for image in images:

            def keep(points: list[Point], name: str = image.name) -> None:
                document = {"conditions": conditions(options), "points": points}
                write(options.curves / f"{name}.json", document)

            curve(image, reference(image, options), told=keep)
        return
    document: dict[str, Any] = {"conditions": conditions(options)}
    target = options.output / f"speed-{options.what}.json"
    if options.what == "stack":
        document["rows"] = stack(images[0], options)
        write(target, document)
        return
    rows: list[dict[str, Any]] = []
    for image in images:
        rows.append(row(image, options))
        print(show(rows[-1]), flush=True)
        write(target, {**document, "rows": rows})
    print(summary(rows))


if __name__ == "__main__":
    main()
