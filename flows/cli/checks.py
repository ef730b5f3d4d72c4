"""The checks of `glassplate doctor`: packages, hardware, speed, a small restoration, a Prefect flow."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glassplate.flows.report.text import amount, duration, per_second, plural, reason

if TYPE_CHECKING:
    from glassplate.pipeline.planning.timing.recipe_rates import RecipeRate

PACKAGES = ("glassplate", "torch", "numpy", "zarr", "astropy", "tifffile", "imagecodecs")
POOL_PACKAGES = ("dask", "distributed", "prefect", "fastapi", "pydantic")

# Memory and disk for the restoration of an image of moderate size: a process with torch, and its windows.
LEAST_MEMORY_BYTES = 2 * 2**30
LEAST_DISK_BYTES = 2**30
# Idle cores, averaged over the last minute, below which the machine counts as busy. It is less than 1 because
# this process itself has worked for some seconds.
LEAST_IDLE_CORES = 0.5


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    name: str
    ok: bool
    detail: str
    """One line."""
    facts: dict[str, Any] = field(default_factory=dict)
    """The values behind the detail, as JSON values."""
    table: tuple[str, ...] = ()
    """Aligned lines below the detail; `facts` holds their values."""

    def to_json(self) -> dict[str, Any]:
        """Return the finding without its table as JSON values."""
        return {**self.facts, "name": self.name, "ok": self.ok, "detail": self.detail}

    def lines(self) -> list[str]:
        """Return the lines for a terminal."""
        first = f"{'ok  ' if self.ok else 'BAD '} {self.name:<12} {self.detail}"
        return [first, *(f"{'':<17} {line}" for line in self.table)]


def run_checks(*, with_flow: bool = True) -> list[Finding]:
    """Run all checks, which takes half a minute on a CPU. A check that raises is a finding too.

    Parameters
    ----------
    with_flow
        Whether to run a Prefect flow too, which takes 10 to 20 seconds.
    """
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("versions", _versions),
        ("cpu", _cpu),
        ("gpu", _gpu),
        ("memory", _memory),
        ("disk", _disk),
        ("device", _device),
        ("restore", _restore),
        ("recipes", _recipes),
    ]
    if with_flow:
        checks.append(("flow", _flow))
    return [_finding(name, check) for name, check in checks]


def _finding(name: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:  # a check that fails in any way has found a fault
        return Finding(name, False, reason(error))


def _versions() -> Finding:
    found: dict[str, str | None] = {}
    for name in (*PACKAGES, *POOL_PACKAGES):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    missing = [name for name, number in found.items() if number is None]
    detail = f"Python {platform.python_version()}, " + ", ".join(
        f"{name} {number}" for name, number in found.items() if number
    )
    if missing:
        detail += f"; missing: {', '.join(missing)}"
    return Finding("versions", not missing, detail, {"packages": found})


def _cpu() -> Finding:
    import torch

    from glassplate.models.device.arithmetic import resolve
    from glassplate.models.device.cores import cpu_count

    chosen = resolve("cpu")
    facts = {
        "cores": cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "precision": chosen.precision,
        "memory_format": chosen.memory_format,
        "machine": platform.machine(),
    }
    detail = f"{plural(cpu_count(), 'core')}, {platform.machine()}; fits in {chosen.precision}"
    return Finding("cpu", True, detail, facts)


def _gpu() -> Finding:
    import torch

    if not torch.cuda.is_available():
        return Finding("gpu", True, "none; the CPU fits the tiles", {"gpus": []})
    gpus: list[dict[str, Any]] = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        gpus.append({"name": properties.name, "memory_bytes": properties.total_memory})
    detail = ", ".join(f"{gpu['name']} with {amount(gpu['memory_bytes'])}" for gpu in gpus)
    return Finding("gpu", True, detail, {"gpus": gpus})


def _memory() -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    ok = memory.available >= LEAST_MEMORY_BYTES
    detail = f"{amount(memory.available)} free of {amount(memory.total)}"
    if not ok:
        detail += f"; at least {amount(LEAST_MEMORY_BYTES)} should be free"
    facts = {"total_bytes": memory.total, "available_bytes": memory.available}
    return Finding("memory", ok, detail, facts)


def _disk() -> Finding:
    here = Path.cwd()
    usage = shutil.disk_usage(here)
    ok = usage.free >= LEAST_DISK_BYTES and os.access(here, os.W_OK)
    detail = f"{amount(usage.free)} free in {here}"
    if not os.access(here, os.W_OK):
        detail += "; it cannot be written to"
    return Finding("disk", ok, detail, {"free_bytes": usage.free, "total_bytes": usage.total})


def _device() -> Finding:
    """Measure how fast the device copies and multiplies."""
    from glassplate.models.device.arithmetic import resolve
    from glassplate.models.device.speed import REPEATS, measure_device

    numerics = resolve()
    rates = measure_device(numerics)
    detail = (
        f"{rates.device}, with the {plural(rates.threads, 'CPU thread')} of a fit: copies "
        f"{per_second(rates.copy_bytes_per_s, 'B')} (read and written), multiplies "
        f"{per_second(rates.fp32_flop_per_s, 'FLOP')} in fp32, "
        f"{per_second(rates.bf16_flop_per_s, 'FLOP')} in bf16; best of {REPEATS}"
    )
    return Finding("device", True, detail, {**asdict(rates), "precision": numerics.precision})


def _recipes() -> Finding:
    """Estimate how many megapixels each shipped recipe restores in an hour."""
    from glassplate.models.device.cores import cpu_count
    from glassplate.pipeline.planning.timing.recipe_rates import IMAGE_SIDE, recipe_rates

    load, cores = os.getloadavg()[0], cpu_count()
    rates = recipe_rates()
    detail = (
        f"megapixels an hour of one worker, grey {IMAGE_SIDE} x {IMAGE_SIDE} input; up to the cap on "
        "iterations: stopping may end sooner"
    )
    if load > cores - LEAST_IDLE_CORES:
        detail += f"; with other programs at work (load {load:.1f} on {plural(cores, 'core')}), alone faster"
    facts: dict[str, Any] = {
        "image_side": IMAGE_SIDE,
        "workers": 1,
        "load_average": load,
        "recipes": [asdict(rate) for rate in rates],
    }
    return Finding("recipes", True, detail, facts, _table(rates))


def _table(rates: Sequence[RecipeRate]) -> tuple[str, ...]:
    """One line for each recipe, with its name to the left and numbers to the right."""
    rows = [("recipe", "Mpx/h", "iterations", "donor", "core", "window", "at once", "s/iteration")]
    for rate in rates:
        fits = f"{rate.members} x {rate.iterations}" if rate.members > 1 else str(rate.iterations)
        rows.append(
            (
                rate.recipe,
                _digits(rate.megapixels_per_hour),
                fits,
                str(rate.donor_iterations or "-"),
                str(max(rate.core)),
                str(max(rate.window)),
                "1" if rate.stack == 1 else f"{rate.stack} {rate.together}",
                _digits(rate.seconds_per_iteration),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return tuple(
        "  ".join(
            [f"{row[0]:<{widths[0]}}"]
            + [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)]
        )
        for row in rows
    )


def _digits(value: float) -> str:
    """Format a number to three digits, or to all digits before the point."""
    return f"{value:.3g}" if value < 999.5 else f"{value:.0f}"


def _restore() -> Finding:
    """Restore a small simulated sky with the draft recipe, and verify the result."""
    from glassplate.pipeline.pools.open_pool import open_pool
    from glassplate.pipeline.provenance.verify import verify
    from glassplate.pipeline.recipes.recipe import load_recipe
    from glassplate.pipeline.run.restore import RestoreRequest, restore
    from glassplate.pipeline.sources.source import SourceSpec

    with tempfile.TemporaryDirectory(prefix="glassplate-doctor-") as folder:
        store = Path(folder, "sky.zarr")
        request = RestoreRequest(
            spec=SourceSpec(path=_small_sky(Path(folder))),
            store=store,
            recipe=load_recipe("draft"),
            recipe_name="draft",
        )
        with open_pool("inline") as pool:
            result = restore(request, pool)
        bad = [check for check in verify(store) if not check.ok]
    before, after = result.summary.noise_before, result.summary.noise_after
    if bad:
        return Finding("restore", False, f"{bad[0].name}: {bad[0].detail}")
    if before is None or after is None:
        return Finding("restore", False, "the noise of the test image cannot be measured")
    detail = f"noise {before:.3g} before, {after:.3g} after, in {duration(result.seconds)}"
    facts = {"noise_before": before, "noise_after": after, "seconds": result.seconds}
    return Finding("restore", after < before, detail, facts)


def _flow() -> Finding:
    """Run a job of one image as a real Prefect flow, as `glassplate batch` would."""
    import time

    from glassplate.flows.jobs.job import Job
    from glassplate.flows.server.server import prefect_api

    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="glassplate-doctor-") as folder:
        source = _small_sky(Path(folder))
        job = Job.model_validate(
            {
                "inputs": str(source),
                "output": str(Path(folder, "out")),
                "recipe": "identity",
                "pool": "inline",
                "name": "glassplate-doctor",
            }
        )
        with prefect_api(services=False) as wait_for_api:
            from glassplate.flows.jobs.flow import run_job

            url = wait_for_api()
            report = run_job(job, "none")
    (image,) = report.images
    seconds = time.monotonic() - start
    if report.exit_code != 0:
        return Finding("flow", False, image.reason)
    return Finding("flow", True, f"ran on {url} in {duration(seconds)}", {"seconds": seconds})


def _small_sky(folder: Path) -> Path:
    """Write a simulated sky of 48 x 64 pixels: stars on a flat background, white noise of 5 units."""
    import numpy as np
    from astropy.io import fits

    random = np.random.default_rng(0)
    y, x = np.mgrid[:48, :64]  # (h, w)
    image = np.full(y.shape, 100.0)
    for _ in range(6):
        cy, cx, peak = random.uniform(0, 48), random.uniform(0, 64), random.uniform(50, 500)
        image += peak * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 6)
    path = folder / "sky.fits"
    fits.writeto(path, (image + random.normal(0, 5, y.shape)).astype("f4"))
    return path
