"""How fast many small fits go on one device: checked, timed, in one table.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --images FOLDER            also the crops that benchmarks/images.py wrote
    python benchmarks/gpu.py --device cpu --quick       the same on a small scale, where there is no GPU

Needs torch, numpy and glassplate.models alone (PYTHONPATH with a link `glassplate` to the repository where it
is not installed). In this order: what the device does at most; whether fits in a stack are what they are
alone, and twice the same; one layer of a stack in every form that it could have; the iteration of a stack by
the way its networks work together, by its width and by precision, and what a fixed order of sums costs it;
the paper's settings; what bf16 changes; a frame of 15.4 megapixels by the default recipe for FITS, its donor
included. Every part ends at its share of `--seconds`; what was not run whole is scaled up from what
was, and the table says so. Prints a table last and writes a JSON.
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
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from speed import DEFAULT_NETWORK, REFERENCE_FIT, REFERENCE_NETWORK, WAYS, Image, everywhere
from torch import func
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from glassplate.models.costs import projected_bytes
from glassplate.models.device import measure_device
from glassplate.models.donor import DonorSettings, fit_donor, warm
from glassplate.models.fit import Batch, FitSettings, Measurement, Problem, fit_batch, fit_each
from glassplate.models.joint import TapProducts
from glassplate.models.member import Start
from glassplate.models.metrics import psnr
from glassplate.models.noise import NoiseModel
from glassplate.models.numerics import resolve
from glassplate.models.operators import Identity
from glassplate.models.stack import Stack
from glassplate.models.stopping import StoppingSettings
from glassplate.models.transform import PixelTransform

# The recipe astro-denoise, which tests/test_benchmarks.py holds to the YAML file.
SKY_FIT = FitSettings(
    iterations=1000, posterior_radius=2.0, posterior_doubt=2.0, collaborative=True, guard=4.0
)
SKY_DONOR = DonorSettings()
CORE, HALO = 256, 32
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


WHOLE = Scale(3926, (1, 4, 16, 64), 512, 256, 300, SKY_DONOR)
SMALL = Scale(48, (1, 3), 32, 32, 6, replace(SKY_DONOR, iterations=6, tile_iterations=6))


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
    """The same with so many fits together."""
    return replace(problem, numerics=replace(problem.numerics, stack=width, together=way))


def finish(device: str) -> None:
    """Wait for a GPU."""
    if device == "cuda":
        torch.cuda.synchronize()


def step_seconds(
    problem: Problem, measurement: Measurement, until: float, *, ordered: bool = True
) -> float:
    """Median seconds of an iteration of a stack of the same window; some that come first do not count.

    `ordered`: whether sums are to have a fixed order, as they have in every fit.
    """
    with problem.numerics.applied():
        if not ordered:
            torch.use_deterministic_algorithms(False)  # until the end of the block
        width, device = problem.numerics.stack, problem.numerics.device
        windows = [replace(measurement, seed=n) for n in range(width)]
        stack = Stack([Start(window, problem).begun() for window in windows])
        times: list[float] = []
        while len(times) < 8 or (len(times) < 40 and time.monotonic() < until):
            finish(device)
            began = time.perf_counter()
            stack.advance()
            finish(device)
            times.append(time.perf_counter() - began)
    return statistics.median(times[3:])


def flop_per_iteration(problem: Problem, measurement: Measurement) -> int:
    """Operations of one iteration of one fit, as torch counts those of its convolutions and products."""
    alone = replace(problem, numerics=replace(problem.numerics, stack=1, together="separate"))
    with problem.numerics.applied():
        stack = Stack([Start(measurement, alone).begun()])
        with FlopCounterMode(display=False) as counter:
            stack.advance()
    return counter.get_total_flops()


def checks(options: argparse.Namespace, scale: Scale) -> list[dict[str, Any]]:
    """Whether stacks give what fits alone do; six iterations, as later ones amplify every rounding."""
    problem = sky_problem(options, "fp32")
    problem = replace(problem, fit=replace(problem.fit, iterations=6, log_period=3))
    side = min(64, scale.frame)
    windows = [everywhere(frame(side, n), n) for n in range(5)]
    alone = [fit_batch([window], problem)[0].values for window in windows]
    sigma = (SKY + READ_NOISE**2) ** 0.5
    rows = []
    for way in WAYS:
        given = stacked(problem, 3, way)
        found, again = ([r.values for r in fit_batch(windows, given)] for _ in range(2))
        turned = [r.values for r in fit_batch(windows[::-1], given)][::-1]

        def gap(others: list[np.ndarray], to: list[np.ndarray]) -> float:
            return max(float(np.abs(a - b).mean()) for a, b in zip(others, to, strict=True)) / sigma

        rows.append(
            {
                "together": way,
                "mean_gap_to_alone_sigma": gap(found, alone),
                "mean_gap_of_another_order_sigma": gap(turned, found),
                "same_bytes_twice": all(
                    a.tobytes() == b.tobytes() for a, b in zip(found, again, strict=True)
                ),
            }
        )
    return rows


def layers(options: argparse.Namespace, scale: Scale) -> list[dict[str, Any]]:
    """A 3x3 convolution with weights of its own for each window, forward and backward, in every form."""
    numerics = sky_problem(options).numerics
    channels, side, device = DEFAULT_NETWORK.channels, min(CORE, scale.frame), numerics.device
    rows = []
    for width in scale.widths:
        dice = torch.Generator(device).manual_seed(0)
        shapes = ((width, channels, side + 2, side + 2), (width, channels, channels, 3, 3))
        x, weight = (
            torch.randn(shape, generator=dice, device=device).to(numerics.dtype) for shape in shapes
        )
        for name, form in FORMS.items():
            given = x.reshape(1, -1, side + 2, side + 2) if name.startswith("grouped") else x
            if name == "grouped, channels last":
                given = given.contiguous(memory_format=torch.channels_last)
            row = {"width": width, "form": name, "precision": numerics.precision}
            try:
                seconds = layer_seconds(form, given, weight, device)
            except RuntimeError as error:  # no kernel for it, or too little memory
                rows.append({**row, "error": str(error)})
                continue
            rows.append(
                {
                    **row,
                    "seconds": seconds,
                    # forward, and two gradients that take as much each
                    "flop_per_s": 3 * 2 * 9 * channels**2 * side**2 * width / seconds,
                }
            )
            print(f"layer {width:3d} {name:23s} {1e3 * seconds:9.3f} ms", flush=True)
    return rows


def layer_seconds(
    form: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    weight: torch.Tensor,
    device: str,
) -> float:
    """Median seconds of a form's work forward and backward; the first two times do not count."""
    x, weight = x.requires_grad_(), weight.requires_grad_()
    times = []
    for _ in range(7):
        finish(device)
        began = time.perf_counter()
        y = form(x, weight)
        torch.autograd.grad(y, (x, weight), y.detach())
        finish(device)
        times.append(time.perf_counter() - began)
    return statistics.median(times[2:])


def one_by_one(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """(B, C, h, w) and (B, D, C, 3, 3) to (B, D, h - 2, w - 2), a convolution for each."""
    return torch.cat([F.conv2d(x[n : n + 1], weight[n]) for n in range(len(weight))])


def in_groups(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The same with the channels of all side by side: (1, B C, h, w) to (1, B D, h - 2, w - 2)."""
    return F.conv2d(x, weight.flatten(0, 1), groups=len(weight))


def mapped(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """As one by one, by torch.func."""
    return func.vmap(lambda one, own: F.conv2d(one[None], own)[0])(x, weight)


FORMS = {
    "separate": one_by_one,
    "grouped": in_groups,
    "grouped, channels last": in_groups,
    "gemm": TapProducts.apply,
    "torch.func": mapped,
}


def steps(options: argparse.Namespace, scale: Scale, until: float) -> list[dict[str, Any]]:
    """The iteration of the default recipe by way, width and precision."""
    side = min(CORE + 2 * HALO, scale.frame)
    window = everywhere(frame(side), 0)
    precisions = list(dict.fromkeys(["fp32", sky_problem(options).numerics.precision]))
    flop = flop_per_iteration(sky_problem(options, "fp32"), window)
    rows = []
    cases = list(itertools.product(precisions, scale.widths, WAYS))
    for left, (precision, width, way) in zip(range(len(cases), 0, -1), cases, strict=True):
        if width == 1 and way != "separate":
            continue  # one network alone is always by itself
        given = stacked(sky_problem(options, precision), width, way)
        now = time.monotonic()
        try:
            seconds = step_seconds(given, window, now + (until - now) / left)
        except RuntimeError as error:  # too little memory, or no way to compute it in a fixed order
            rows.append(
                {
                    "precision": precision,
                    "width": width,
                    "together": way,
                    "megapixel_iterations_per_s": 0.0,
                    "error": str(error),
                }
            )
            print(f"{precision} {width:3d} {way:9s} {error}", flush=True)
            continue
        finally:
            torch.cuda.empty_cache()
        rows.append(
            {
                "precision": precision,
                "width": width,
                "together": way,
                "seconds": seconds,
                "megapixel_iterations_per_s": width * side**2 / 1e6 / seconds,
                "flop_per_s": width * flop / seconds,
            }
        )
        print(f"{precision} {width:3d} {way:9s} {1e3 * seconds:9.2f} ms an iteration", flush=True)
    return rows


def whole_frame(
    options: argparse.Namespace, scale: Scale, best: dict[str, Any], until: float
) -> dict[str, Any]:
    """A frame by the default recipe: its donor, then tiles, all of them or as many as there is time for."""
    image = frame(scale.frame)
    problem = stacked(sky_problem(options, best["precision"]), best["width"], best["together"])
    windows = list(cut(image, CORE, HALO, scale.frame))
    forget_peak(options.device)
    began = time.monotonic()
    parts = [everywhere(np.ascontiguousarray(w[:, :128, :128]), n) for n, w in enumerate(windows)]
    start = fit_donor(parts[: scale.donor.windows], problem, scale.donor)
    donor_s = time.monotonic() - began
    tile_problem = warm(problem, scale.donor)

    # as many at first as fill the stack twice, so that slots are refilled; then all that time allows
    began, done, count = time.monotonic(), 0, min(len(windows), 2 * best["width"])
    while done < len(windows):
        part = windows[done : done + count]
        batch = Batch(
            [w.shape for w in part],
            lambda n, part=part: everywhere(np.ascontiguousarray(part[n]), n),
        )
        done += sum(1 for _ in fit_each(batch, tile_problem, start=start))
        pace = (time.monotonic() - began) / done
        count = min(len(windows) - done, int((until - time.monotonic()) / pace))
        if count < 1:
            break
    tiles_s = time.monotonic() - began
    seconds = donor_s + tiles_s * len(windows) / done
    return {
        "megapixels": scale.frame**2 / 1e6,
        "tiles": len(windows),
        "tiles_run": done,
        "donor_seconds": donor_s,
        "tile_seconds": tiles_s,
        "megapixels_per_hour": scale.frame**2 / 1e6 / seconds * 3600,
        "peak_bytes": peak_bytes(options.device),
        "projected_bytes": projected_bytes(problem, windows[0].shape, best["width"]),
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
    """PSNR of stacks in a precision beside fp32 fits alone: made pictures, and photographs where given."""
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
    rows = []
    for way in WAYS:
        together = fit_batch(windows, stacked(fast, width, way))
        for name, truth, one, other in zip(pictures, clean, alone, together, strict=True):
            row = {
                "name": name,
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


def forget_peak(device: str) -> None:
    """Begin to watch memory."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()


def peak_bytes(device: str) -> int | None:
    """Most device memory since; None on a CPU, which tests/models/test_costs.py watches."""
    return torch.cuda.max_memory_allocated() if device == "cuda" else None


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
    """What was measured beside what is asked for on one H200."""
    rates, rows, sky = document["rates"], document["steps"], document["frame"]
    alone = next(row for row in rows if row["width"] == 1 and row["precision"] == "fp32")
    best = document["best"]
    many = best["megapixel_iterations_per_s"] / alone["megapixel_iterations_per_s"]
    gaps = mean_gaps(document["precisions"])
    share = best["flop_per_s"] / rates["bf16_flop_per_s"]
    widest = [row for row in document["layers"] if row["width"] == document["scale"]["widths"][-1]]
    forms = sorted((row for row in widest if "seconds" in row), key=lambda row: row["seconds"])
    peak = sky["peak_bytes"]
    paper_s = {name: row["seconds"] for name, row in document["paper"].items()}
    lines = [
        ("what", "must", "measured"),
        ("copy, TB/s", "", f"{rates['copy_bytes_per_s'] / 1e12:.3f}"),
        ("bf16 matrix rate, TFLOP/s", "", f"{rates['bf16_flop_per_s'] / 1e12:.3f}"),
        (
            f"default recipe, {sky['megapixels']:.1f} Mpx, Mpx/h", "1000",
            f"{sky['megapixels_per_hour']:.1f} ({sky['tiles_run']} of {sky['tiles']} tiles run)",
        ),
        (
            "device memory for it, GB", "16",
            "-" if peak is None else f"{peak / 1e9:.2f} of {sky['projected_bytes'] / 1e9:.2f} projected",
        ),
        ("paper's settings, 3000 iterations, s", "10", ", ".join(f"{s:.1f} {n}" for n, s in paper_s.items())),
        ("share of the bf16 matrix rate", "0.15", f"{share:.3f}"),
        (f"stack of {best['width']} against as many alone", "8", f"{many:.2f} times ({best['together']})"),
        (
            f"one layer of {widest[0]['width']}, ms", "",
            ", ".join(f"{1e3 * row['seconds']:.2f} {row['form']}" for row in forms),
        ),
        (
            "a fixed order of sums, times as long", "",
            f"{best['seconds'] / document['unordered_seconds']:.2f}",
        ),
        (
            "bf16 stack less fp32 alone, mean dB", "0.05",
            ", ".join(f"{gap:+.3f} {way}" for way, gap in gaps.items()),
        ),
        (
            "same bytes twice", "all",
            ", ".join(row["together"] for row in document["checks"] if row["same_bytes_twice"]) or "none",
        ),
    ]  # fmt: skip
    return "\n".join(f"{what:42s} {must:>6s}   {measured}" for what, must, measured in lines)


Save = Callable[[dict[str, Any]], None]


def run(options: argparse.Namespace, save: Save) -> dict[str, Any]:
    """All of it, in order; what there is is saved after each part."""
    scale = SMALL if options.quick else WHOLE
    began = time.monotonic()
    document: dict[str, Any] = {"conditions": conditions(options), "scale": asdict(scale)}

    def until(share: float) -> float:
        return began + share * options.seconds

    def keep(**parts: Any) -> None:
        document.update(parts, seconds=time.monotonic() - began)
        save(document)

    keep(rates=asdict(measure_device(resolve(options.device, "auto", options.threads))))
    keep(checks=checks(options, scale))
    keep(layers=layers(options, scale))
    rows = steps(options, scale, until(0.4))
    fast = sky_problem(options).numerics.precision
    best = max(
        (row for row in rows if row["precision"] == fast),
        key=lambda row: row["megapixel_iterations_per_s"],
    )
    given = stacked(sky_problem(options, fast), best["width"], best["together"])
    window = everywhere(frame(min(CORE + 2 * HALO, scale.frame)), 0)
    keep(
        steps=rows,
        best=best,
        unordered_seconds=step_seconds(given, window, time.monotonic(), ordered=False),
    )
    keep(paper=paper(options, scale, until(0.5)))
    keep(precisions=precisions(options, scale, best["width"]))
    keep(frame=whole_frame(options, scale, best, until(1.0)))
    return document


def main() -> None:
    """Parse, run, write, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of one fit")
    parser.add_argument("--seconds", type=float, default=540, help="time that all of it may take")
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

    print(table(run(options, save)))


if __name__ == "__main__":
    main()
