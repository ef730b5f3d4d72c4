"""How fast many small fits go on one device: checked, timed, in one table.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --images FOLDER            also the crops that benchmarks/images.py wrote
    python benchmarks/gpu.py --device cpu --quick       the same on a small scale, where there is no GPU

Needs torch, numpy and glassplate.models alone (PYTHONPATH with a link `glassplate` to the repository where it
is not installed). In this order: what the device does at most; whether fits in a stack are what they are
alone, and twice the same; one layer of a stack in every form that it could have; the iteration of a stack by
the way its networks work together, by its width and by precision, what a fixed order of sums costs the
fastest, and whether that one gives the same twice; a frame of 15.4 megapixels by the default recipe for
FITS, its donor included; the paper's settings; what bf16 changes.

A part that fails is kept as its error and the others go on; the exit status is then 1. Iterations, the
frame's tiles and the paper's settings end at their share of `--seconds`, but each takes at least eight
iterations of a case, and the frame at least as many tiles as fill its stack twice. Not bounded at all: what
the device does at most, the checks, the layers, the frame's donor, and what bf16 changes, which therefore
comes last. What was not run whole is scaled up from what was, and the table says so. Prints a table last and
writes a JSON after each part.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import os
import platform
import shlex
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import joint_forms
import numpy as np
import torch
from joint_forms import STACK_FORMS, stack_form
from speed import DEFAULT_NETWORK, REFERENCE_FIT, REFERENCE_NETWORK, Image, everywhere
from torch.utils.flop_counter import FlopCounterMode

from glassplate.models.batching.fit_each import fit_batch, fit_each
from glassplate.models.batching.slots import Slots
from glassplate.models.device.arithmetic import applied, resolve
from glassplate.models.device.speed import measure_device
from glassplate.models.donor.donor_problem import warm
from glassplate.models.donor.fit_donor import fit_donor
from glassplate.models.fit.loop import begin
from glassplate.models.fit.memory import projected_bytes
from glassplate.models.fit.problem import Measurement, Problem, Weights
from glassplate.models.fit.settings import DonorSettings, FitSettings
from glassplate.models.fit.stopping import StoppingSettings
from glassplate.models.fit.window import Window
from glassplate.models.metrics import psnr
from glassplate.models.noise.model import NoiseModel
from glassplate.models.operators.operator import Identity
from glassplate.models.pixel_transform import PixelTransform

# The recipe astro-denoise, which tests/test_benchmarks.py holds to the YAML file.
SKY_FIT = FitSettings(
    iterations=1000, posterior_radius=2.0, posterior_doubt=2.0, collaborative=True, guard=4.0
)
SKY_DONOR = DonorSettings(
    network="unshuffled", iterations=6000, windows=288, tile_least=10, tile_predictions=8
)
CORE, HALO = 256, 16
# Level and read noise of the synthetic sky, electrons.
SKY, READ_NOISE = 200.0, 5.0
STARS_PER_MEGAPIXEL = 400


@dataclass(frozen=True)
class Scale:
    """How large everything is."""

    frame: int
    """Side of the frame, pixels; 3926 squared are 15.4 million."""
    widths: tuple[int, ...]
    """Fits in a stack."""
    reference: int
    """Side of the image of the paper's settings."""
    crop: int
    """Side of the images by which precisions are compared."""
    iterations: int
    """Of the comparison of precisions."""
    donor: DonorSettings


# The widths that pipeline/planning/timing/network_stacking_trials.py tries, and the 64 that are asked for.
WHOLE = Scale(3926, (1, 8, 32, 64), 512, 256, 300, SKY_DONOR.for_tiles(240))
SMALL = Scale(48, (1, 3), 32, 32, 6, DonorSettings(iterations=6, tile_iterations=6))


def frame(side: int, seed: int = 0) -> np.ndarray:
    """A made sky with stars and shot noise, (1, side, side) float32, electrons."""
    rng = np.random.default_rng(seed)
    light = np.full((side, side), SKY)
    for _ in range(max(3, round(STARS_PER_MEGAPIXEL * side**2 / 1e6))):
        y, x = rng.integers(0, side, 2)
        flux, radius = 10 ** rng.uniform(2.5, 5), 12
        rows, columns = (slice(max(0, at - radius), at + radius + 1) for at in (y, x))
        dy, dx = np.mgrid[rows, columns][:, : side - rows.start, : side - columns.start]
        star = np.exp(-((dy - y) ** 2 + (dx - x) ** 2) / (2 * 1.5**2)) / (2 * np.pi * 1.5**2)
        light[rows, columns] += flux * star
    noisy = rng.poisson(light) + rng.normal(0, READ_NOISE, light.shape)
    return noisy[None].astype(np.float32)


def sky_problem(options: argparse.Namespace, precision: str = "auto") -> Problem:
    """The default recipe for FITS."""
    sigma = (SKY + READ_NOISE**2) ** 0.5
    return Problem(
        DEFAULT_NETWORK, SKY_FIT, StoppingSettings(), Identity(),
        PixelTransform("asinh", offset=SKY, scale=3.0, softening=10 * sigma),
        NoiseModel(READ_NOISE**2, 1.0, 0.0, False, "given: gain, read_noise"),
        resolve(options.device, precision, options.threads),
    )  # fmt: skip


def stacked(problem: Problem, width: int, way: str) -> Problem:
    """The same with so many fits together; the caller enters `stack_form` of the way."""
    way = "grouped" if way == "gemm" else way
    return replace(problem, numerics=replace(problem.numerics, stack=width, together=way))


def step_seconds(
    problem: Problem, measurement: Measurement, until: float, *, ordered: bool = True
) -> float:
    """Median seconds of an iteration of a stack of the same window; some that come first do not count.

    `ordered`: whether sums are to have a fixed order, as they have in every fit.
    """
    with joint_forms.working(problem.numerics, ordered=ordered):
        width, device = problem.numerics.stack, problem.numerics.device
        windows = [replace(measurement, seed=n) for n in range(width)]
        slots = Slots([begin(Window(window, problem)) for window in windows])
        times: list[float] = []
        while len(times) < 8 or (len(times) < 40 and time.monotonic() < until):
            joint_forms.finish(device)
            began = time.perf_counter()
            slots.advance()
            joint_forms.finish(device)
            times.append(time.perf_counter() - began)
    return statistics.median(times[3:])


def flop_per_iteration(problem: Problem, measurement: Measurement) -> int:
    """Operations of one iteration of one fit, as torch counts those of its convolutions and products."""
    alone = replace(problem, numerics=replace(problem.numerics, stack=1, together="separate"))
    with applied(problem.numerics):
        slots = Slots([begin(Window(measurement, alone))])
        with FlopCounterMode(display=False) as counter:
            slots.advance()
    return counter.get_total_flops()


def checks(options: argparse.Namespace, scale: Scale) -> list[dict[str, Any]]:
    """Whether stacks give what fits alone do."""
    problem, windows = short_fits(options, scale, "fp32", 5)
    alone = [values_of([window], problem)[0] for window in windows]
    sigma = (SKY + READ_NOISE**2) ** 0.5
    rows = []
    for way in STACK_FORMS:
        given = stacked(problem, 3, way)
        with stack_form(way):
            found, again = (values_of(windows, given) for _ in range(2))
            turned = values_of(windows[::-1], given)[::-1]

        def gap(others: list[np.ndarray], to: list[np.ndarray]) -> float:
            return max(float(np.abs(a - b).mean()) for a, b in zip(others, to, strict=True)) / sigma

        rows.append(
            {
                "together": way,
                "mean_gap_to_alone_sigma": gap(found, alone),
                "mean_gap_of_another_order_sigma": gap(turned, found),
                "same_bytes_twice": same_bytes(found, again),
            }
        )
    return rows


def check_best(options: argparse.Namespace, scale: Scale, best: dict[str, Any]) -> dict[str, Any]:
    """Whether the fastest stack, of eight at most, gives the same bytes twice; slots are refilled."""
    width = min(best["width"], 8)
    problem, windows = short_fits(options, scale, best["precision"], width + 2)
    given = stacked(problem, width, best["together"])
    with stack_form(best["together"]):
        found, again = (values_of(windows, given) for _ in range(2))
    return {**which(best), "width": width, "same_bytes_twice": same_bytes(found, again)}


def short_fits(
    options: argparse.Namespace, scale: Scale, precision: str, count: int
) -> tuple[Problem, list[Measurement]]:
    """Fits to be compared: six iterations of small windows, as later ones amplify every rounding."""
    problem = sky_problem(options, precision)
    problem = replace(problem, fit=replace(problem.fit, iterations=6, log_period=3))
    side = min(64, scale.frame)
    return problem, [everywhere(frame(side, n), n) for n in range(count)]


def values_of(windows: list[Measurement], problem: Problem) -> list[np.ndarray]:
    """Restored values of windows."""
    return [restored.values for restored in fit_batch(windows, problem)]


def same_bytes(some: list[np.ndarray], others: list[np.ndarray]) -> bool:
    """Whether images are the same to the last bit."""
    return all(a.tobytes() == b.tobytes() for a, b in zip(some, others, strict=True))


def steps(options: argparse.Namespace, scale: Scale, until: float) -> list[dict[str, Any]]:
    """The iteration of the default recipe by way, width and precision."""
    side = min(CORE + 2 * HALO, scale.frame)
    window = everywhere(frame(side), 0)
    precisions = list(dict.fromkeys(["fp32", sky_problem(options).numerics.precision]))
    flop = flop_per_iteration(sky_problem(options, "fp32"), window)
    rows = []
    cases = list(itertools.product(precisions, scale.widths, STACK_FORMS))
    for left, (precision, width, way) in zip(range(len(cases), 0, -1), cases, strict=True):
        if width == 1 and way != "separate":
            continue  # one network alone is always by itself
        given = stacked(sky_problem(options, precision), width, way)
        row = {"precision": precision, "width": width, "together": way}
        now = time.monotonic()
        try:
            torch.cuda.empty_cache()
            with stack_form(way):
                seconds = step_seconds(given, window, now + (until - now) / left)
        except RuntimeError as error:  # too little memory, or no way to compute it in a fixed order
            rows.append({**row, "error": str(error)})
            print(f"{precision} {width:3d} {way:9s} {error}", flush=True)
            continue
        rows.append(
            {
                **row,
                "seconds": seconds,
                "megapixel_iterations_per_s": width * side**2 / 1e6 / seconds,
                "flop_per_s": width * flop / seconds,
            }
        )
        print(f"{precision} {width:3d} {way:9s} {1e3 * seconds:9.2f} ms an iteration", flush=True)
    return rows


def fastest(rows: list[dict[str, Any]], precision: str) -> dict[str, Any] | None:
    """The best rate of a precision, of any where that one failed; None where nothing was timed."""
    timed = [row for row in rows if "error" not in row]
    asked = [row for row in timed if row["precision"] == precision]
    return max(asked or timed, key=lambda row: row["megapixel_iterations_per_s"], default=None)


def which(row: dict[str, Any]) -> dict[str, Any]:
    """How a row's stack worked, without what it measured."""
    return {name: row[name] for name in ("precision", "width", "together")}


def unordered(options: argparse.Namespace, scale: Scale, best: dict[str, Any]) -> dict[str, Any]:
    """The fastest iteration where sums may have any order."""
    window = everywhere(frame(min(CORE + 2 * HALO, scale.frame)), 0)
    given = stacked(sky_problem(options, best["precision"]), best["width"], best["together"])
    with stack_form(best["together"]):
        seconds = step_seconds(given, window, time.monotonic(), ordered=False)
    return {**which(best), "seconds": seconds}


def whole_frame(
    options: argparse.Namespace, scale: Scale, best: dict[str, Any], until: float
) -> dict[str, Any]:
    """A frame by the default recipe: its donor, then tiles, all of them or as many as there is time for."""
    image = frame(scale.frame)
    problem = stacked(sky_problem(options, best["precision"]), best["width"], best["together"])
    windows = list(cut(image, CORE, HALO, scale.frame))
    forget_peaks(options.device)
    began = time.monotonic()
    parts = [everywhere(np.ascontiguousarray(w[:, :128, :128]), n) for n, w in enumerate(windows)]
    start = fit_donor(parts[: scale.donor.windows], problem, scale.donor)
    donor_s = time.monotonic() - began
    with stack_form(best["together"]):
        tiles = fit_tiles(windows, warm(problem, scale.donor), start, until)
    run = tiles["tiles_restored"] + tiles["tiles_diverged"]
    hours = (donor_s + tiles["tile_seconds"] * len(windows) / run) / 3600
    restored = scale.frame**2 / 1e6 * tiles["tiles_restored"] / run
    print(f"frame: {restored / hours:.1f} megapixels an hour", flush=True)
    return {
        **which(best),
        "megapixels": scale.frame**2 / 1e6,
        **tiles,
        "donor_seconds": donor_s,
        "megapixels_per_hour": restored / hours,
        **peaks(options.device),
        "projected_bytes": projected_bytes(problem, windows[0].shape, best["width"]),
    }


def fit_tiles(
    windows: list[np.ndarray], problem: Problem, start: Weights, until: float
) -> dict[str, Any]:
    """Tiles from a donor: first two for each slot, so that slots are refilled, then the others."""
    began, slots = time.monotonic(), []
    count = min(len(windows), 2 * problem.numerics.stack)
    while len(slots) < len(windows):
        some = windows[len(slots) : len(slots) + count]
        batch = ((n, everywhere(np.ascontiguousarray(w), n)) for n, w in enumerate(some))
        # an error has no slots: that tile diverged
        slots += [getattr(one, "slots", None) for _, one in fit_each(batch, problem, start=start)]
        pace = (time.monotonic() - began) / len(slots)
        count = min(len(windows) - len(slots), int((until - time.monotonic()) / pace))
        if count < 1:
            break
    restored = [n for n in slots if n is not None]
    return {
        "tiles": len(windows),
        "tiles_restored": len(restored),
        "tiles_diverged": len(slots) - len(restored),
        # fewer than the width where memory ran out
        "slots": min(restored, default=None),
        "tile_seconds": time.monotonic() - began,
    }


def cut(image: np.ndarray, core: int, halo: int, side: int) -> Iterator[np.ndarray]:
    """Windows of one size, one for each core; those at a border are shifted inward."""
    count = -(-side // core)
    length = min(side, -(-side // count) + 2 * halo)
    starts = [min(max(side * k // count - halo, 0), side - length) for k in range(count)]
    for y, x in itertools.product(starts, starts):
        yield image[:, y : y + length, x : x + length]


def paper(options: argparse.Namespace, scale: Scale, until: float) -> dict[str, Any]:
    """The settings of the paper on one image with colours, scaled up to their 3000 iterations."""
    values = np.concatenate([frame(scale.reference, n) for n in range(3)]) / 1000
    window, rows = everywhere(values.clip(0, 1), 0), {}
    for precision in dict.fromkeys(["fp32", sky_problem(options).numerics.precision]):
        problem = Problem(
            REFERENCE_NETWORK, REFERENCE_FIT, StoppingSettings("fixed"), Identity(), PixelTransform(),
            NoiseModel(0.01, 0.0, 0.0, False, "given: sigma"),
            resolve(options.device, precision, options.threads),
        )  # fmt: skip
        seconds = step_seconds(problem, window, until)
        rows[precision] = {
            "seconds_per_iteration": seconds,
            "seconds": seconds * REFERENCE_FIT.iterations,
            "flop_per_s": flop_per_iteration(problem, window) / seconds,
        }
    return rows


def precisions(
    options: argparse.Namespace, scale: Scale, width: int, precision: str = "auto"
) -> list[dict[str, Any]]:
    """PSNR of stacks in a precision beside fp32 fits alone: made pictures, and photographs where given.

    No stack is wider than there are pictures; each row says which width and precision it had.
    """
    pictures = {f"made {n}": made_picture(scale.crop, n) for n in range(3)}
    for path in sorted(options.images.glob("*.npz")) if options.images else ():
        pictures[path.stem] = Image(path).corner(scale.crop).clean
    clean = list(pictures.values())
    sigma = 25 / 255
    noisy = [
        (x + np.random.default_rng(n).normal(0, sigma, x.shape)).astype(np.float32)
        for n, x in enumerate(clean)
    ]
    base = replace(
        sky_problem(options, "fp32"),
        fit=replace(SKY_FIT, iterations=scale.iterations, posterior_radius=5.0, guard=None),
        transform=PixelTransform(),
        noise=NoiseModel(sigma**2, 0.0, 0.0, False, "given: sigma"),
    )
    windows = [everywhere(y, n) for n, y in enumerate(noisy)]
    alone = [fit_batch([window], base)[0].values for window in windows]
    fast = replace(base, numerics=sky_problem(options, precision).numerics)
    width, rows = min(width, len(windows)), []
    for way in STACK_FORMS:
        with stack_form(way):
            together = fit_batch(windows, stacked(fast, width, way))
        for name, truth, one, other in zip(pictures, clean, alone, together, strict=True):
            row = {
                "name": name,
                "precision": fast.numerics.precision,
                "width": width,
                "together": way,
                "alone_psnr_db": float(psnr(one.clip(0, 1), truth, 1.0)),
                "stack_psnr_db": float(psnr(other.values.clip(0, 1), truth, 1.0)),
            }
            rows.append(row)
            gap = row["stack_psnr_db"] - row["alone_psnr_db"]
            print(f"{way:9s} {name:14s} {row['alone_psnr_db']:6.2f} {gap:+.3f} dB", flush=True)
    return rows


def mean_gaps(rows: list[dict[str, Any]]) -> dict[str, float]:
    """By how the networks worked, dB that stacks gain over fits alone, in the mean."""
    gaps: dict[str, list[float]] = {}
    for row in rows:
        gap = row["stack_psnr_db"] - row["alone_psnr_db"]
        gaps.setdefault(row["together"], []).append(gap)
    return {way: statistics.mean(some) for way, some in gaps.items()}


def made_picture(side: int, seed: int) -> np.ndarray:
    """Shades, edges, a grating and a fine texture, (1, side, side) float32, 0 to 1."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    picture = 0.3 + 0.3 * y + 0.1 * np.sin(2 * np.pi * 20 * x * y)
    for _ in range(8):
        top, left, height, width = rng.uniform(0, 0.8, 4)
        inside = (y > top) & (y < top + height / 2) & (x > left) & (x < left + width / 2)
        picture[inside] += rng.uniform(-0.3, 0.3)
    picture += 0.05 * (x > 0.7) * np.sin(2 * np.pi * side / 5 * (x + 0.3 * y))
    return picture.clip(0, 1)[None].astype(np.float32)


def forget_peaks(device: str) -> None:
    """Begin to watch memory."""
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peaks(device: str) -> dict[str, int | None]:
    """Most device memory since; None on a CPU, which tests/models/fit/test_memory.py watches."""
    cuda = device == "cuda"
    return {
        "allocated_bytes": torch.cuda.max_memory_allocated() if cuda else None,
        "reserved_bytes": torch.cuda.max_memory_reserved() if cuda else None,
    }


def conditions(options: argparse.Namespace) -> dict[str, Any]:
    """Where and with what this ran."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "device": options.device,
        "gpu": torch.cuda.get_device_name() if options.device == "cuda" else None,
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "threads": options.threads,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cudnn": torch.backends.cudnn.version(),
    }


def table(document: dict[str, Any]) -> str:
    """What was measured beside what is asked for on one H200; "-" where a part failed or is missing."""
    rates, best, sky = (part(document, name) for name in ("rates", "best", "frame"))
    free, rows = part(document, "unordered"), part(document, "precisions")
    paper_s = part(document, "paper")
    lines = [
        ("what", "must", "measured"),
        ("copy, TB/s", "", told(lambda r: f"{r['copy_bytes_per_s'] / 1e12:.3f}", rates)),
        (
            "bf16 matrix rate, TFLOP/s", "",
            told(lambda r: f"{r['bf16_flop_per_s'] / 1e12:.3f}", rates),
        ),
        (
            f"default recipe, {told(lambda f: format(f['megapixels'], '.1f'), sky)} Mpx, Mpx/h", "1000",
            told(frame_words, sky),
        ),
        ("device memory for it, GB", "16", told(memory_words, sky)),
        (
            "paper's settings, 3000 iterations, s", "10",
            told(lambda p: ", ".join(f"{row['seconds']:.1f} {n}" for n, row in p.items()), paper_s),
        ),
        (
            "share of the bf16 matrix rate", "0.15",
            told(lambda b, r: f"{b['flop_per_s'] / r['bf16_flop_per_s']:.3f}", best, rates),
        ),
        (
            f"stack of {told(lambda b: str(b['width']), best)} against as many alone", "8",
            told(many_words, best, part(document, "steps")),
        ),
        ("one layer of the widest stack, ms", "", told(layer_words, part(document, "layers"))),
        (
            "a fixed order of sums, times as long", "",
            told(lambda b, u: f"{b['seconds'] / u['seconds']:.2f}", best, free),
        ),
        (
            f"{told(lambda p: p[0]['precision'], rows)} stack less fp32 alone, mean dB", "0.05",
            told(
                lambda p: ", ".join(f"{gap:+.3f} {way}" for way, gap in mean_gaps(p).items()), rows
            ),
        ),
        ("same bytes twice, fp32", "all", told(same_words, part(document, "checks"))),
        ("same bytes twice, the fastest", "yes", told(twice_words, part(document, "check_best"))),
    ]  # fmt: skip
    return "\n".join(f"{what:42s} {must:>6s}   {measured}" for what, must, measured in lines)


def part(document: dict[str, Any], name: str) -> Any:
    """What a part measured; None where it failed or is missing."""
    found = document.get(name)
    return None if isinstance(found, dict) and "error" in found else found


def told(words: Callable[..., str], *parts: Any) -> str:
    """Parts in words; "-" where one has nothing to tell."""
    return words(*parts) if all(parts) else "-"


def frame_words(sky: dict[str, Any]) -> str:
    """How fast a frame goes, and with what."""
    return (
        f"{sky['megapixels_per_hour']:.1f} ({sky['tiles_restored']} of {sky['tiles']} tiles restored, "
        f"{sky['tiles_diverged']} diverged; {sky['slots'] or '-'} together, {sky['width']} asked for)"
    )


def memory_words(sky: dict[str, Any]) -> str:
    """Memory that a frame took beside what it was to take."""
    if sky["reserved_bytes"] is None:
        return "-"
    names = ("reserved", "allocated", "projected")
    return ", ".join(f"{sky[f'{name}_bytes'] / 1e9:.2f} {name}" for name in names)


def many_words(best: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """The rate of a stack over that of one alone, in its own precision and in fp32."""
    alone = {
        row["precision"]: row["megapixel_iterations_per_s"]
        for row in rows
        if row["width"] == 1 and row.get("megapixel_iterations_per_s")
    }
    own, full = (
        f"{best['megapixel_iterations_per_s'] / alone[name]:.2f} times" if name in alone else "-"
        for name in (best["precision"], "fp32")
    )
    return f"{own} ({best['together']}), {full} fp32"


def layer_words(rows: list[dict[str, Any]]) -> str:
    """Every form of a layer of the widest stack, the fastest first; without a fixed order in brackets."""
    widest = max(row["width"] for row in rows)
    forms = sorted(
        (row for row in rows if row["width"] == widest and "seconds" in row),
        key=lambda row: row["seconds"],
    )
    times = (
        f"{1e3 * row['seconds']:.2f} ({1e3 * row['unordered_seconds']:.2f}) {row['form']}"
        for row in forms
    )
    return f"{widest}: {', '.join(times) or '-'}"


def same_words(rows: list[dict[str, Any]]) -> str:
    """The ways that gave the same bytes twice."""
    return ", ".join(row["together"] for row in rows if row["same_bytes_twice"]) or "none"


def twice_words(row: dict[str, Any]) -> str:
    """Whether the fastest stack gave the same bytes twice."""
    answer = "yes" if row["same_bytes_twice"] else "no"
    return f"{answer} ({row['precision']}, {row['width']} {row['together']})"


Save = Callable[[dict[str, Any]], None]


def attempt(work: Callable[[], Any]) -> Any:
    """What work returns; its error where it fails, so that what comes after it goes on."""
    try:
        torch.cuda.empty_cache()
        return work()
    except Exception as error:  # any fault of one part must not end the others
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}


def rates(options: argparse.Namespace) -> dict[str, Any]:
    """What the device does at most."""
    return asdict(measure_device(resolve(options.device, "auto", options.threads)))


def run(options: argparse.Namespace, save: Save) -> dict[str, Any]:
    """All of it, what is asked for first as far as it can be; what there is is saved after each part."""
    scale = SMALL if options.quick else WHOLE
    began = time.monotonic()
    document: dict[str, Any] = {"conditions": conditions(options), "scale": asdict(scale)}
    numerics = sky_problem(options).numerics

    def until(share: float) -> float:
        return began + share * options.seconds

    def keep(name: str, work: Callable[..., Any], *given: Any) -> None:
        document[name] = attempt(partial(work, *given))
        document["seconds"] = time.monotonic() - began
        save(document)

    keep("rates", rates, options)
    keep("checks", checks, options, scale)
    keep("layers", joint_forms.timed, numerics, scale.widths, min(CORE, scale.frame))
    keep("steps", steps, options, scale, until(0.4))
    document["best"] = fastest(part(document, "steps") or [], numerics.precision)
    alone = {"precision": numerics.precision, "width": 1, "together": "separate"}
    best = document["best"] or alone
    keep("unordered", unordered, options, scale, best)
    keep("check_best", check_best, options, scale, best)
    keep("frame", whole_frame, options, scale, best, until(0.8))
    keep("paper", paper, options, scale, until(0.9))
    keep("precisions", precisions, options, scale, best["width"])
    return document


def errors(document: dict[str, Any]) -> dict[str, str]:
    """What failed, and how."""
    return {
        name: found["error"]
        for name, found in document.items()
        if isinstance(found, dict) and "error" in found
    }


def main() -> None:
    """Parse, run, write, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of one fit")
    parser.add_argument(
        "--seconds", type=float, default=540, help="time that all of it should take"
    )
    parser.add_argument("--quick", action="store_true", help="small windows: does it run at all?")
    parser.add_argument(
        "--images", type=Path, help="folder of crops, as benchmarks/images.py writes them"
    )
    parser.add_argument("--output", type=Path, help="JSON to write, default results/gpu.json")
    options = parser.parse_args()
    path = options.output or Path(__file__).parent / "results" / "gpu.json"

    def save(document: dict[str, Any]) -> None:
        path.write_text(json.dumps(document, indent=1) + "\n")
        print(f"{document['seconds']:6.0f} s: {', '.join(document)}", flush=True)

    document = run(options, save)
    print(table(document))
    failed = errors(document)
    for name, error in failed.items():
        print(f"{name} failed: {error}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
