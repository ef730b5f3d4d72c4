"""Cost of everything but the fit: read, tile, blend, write, record.

Three questions, with the identity recipe, which fits nothing:

throughput  how fast is read-tile-blend-write beside a plain copy, shard by shard, into a Zarr of the same
            layout? Both by the same workers, in turns, medians.
memory      does the peak (resident memory of the process and its workers, summed) depend on the size of the
            image? At 64 megapixels and at 1 gigapixel.
overhead    what does one more tile cost? From 16 to 4096 tiles of 64 x 64 pixels.

    python benchmarks/pipeline.py [throughput|memory|overhead]... [--workers 1 2] [--repeats 3]

Inputs are float32 FITS, made band by band in a temporary folder (--folder) that is removed at the end; the
gigapixel takes about 20 GB there. Results go to benchmarks/results/pipeline.json.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from astropy.io import fits

from glassplate.pipeline.cached_source import cached_source
from glassplate.pipeline.events import Event, StageStarted
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.pools.open_pool import open_pool
from glassplate.pipeline.provenance.machine import this_machine
from glassplate.pipeline.recipes.recipe import load_recipe
from glassplate.pipeline.run.restore import RestoreRequest, restore
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.store.layout import Shard
from glassplate.pipeline.store.ome_zarr import create, open_array

RESULTS = Path(__file__).parent / "results"
MEGAPIXEL_64, GIGAPIXEL = 8192, 32768
# How often the memory of the processes is looked at; a shard takes tenths of a second.
LOOK_EVERY_S = 0.02


@dataclass(frozen=True)
class Measured:
    """One run of one case."""

    seconds: float
    cpu_seconds: float
    """Processor time of the process and its children: what the work costs where others compute too."""
    peak_bytes: int
    """Largest sum of the resident memory of the process and its children."""
    stages: dict[str, float]
    """Seconds from the beginning of each stage to that of the next; `plan` comes before the first."""


@dataclass(frozen=True)
class CopyTask:
    """One shard of level 0, to be copied as it is."""

    plan: Plan
    store: Path
    shard: Shard


def write_fits(path: Path, side: int) -> None:
    """Write a square float32 image of sky, noise and a few stars, a band of rows at a time."""
    rng = np.random.default_rng(side)
    header = fits.Header([("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 2), ("NAXIS1", side)])
    header["NAXIS2"], header["BUNIT"] = side, "MJy/sr"
    with path.open("wb") as file:
        file.write(header.tostring().encode("ascii"))
        for start in range(0, side, 256):
            band = rng.standard_normal((min(256, side - start), side), np.float32) * 5 + 100
            band.flat[rng.integers(0, band.size, band.size // 5000)] += 2000
            file.write(band.astype(">f4").tobytes())
        file.write(b"\0" * (-side * side * 4 % 2880))


def copy_shard(task: CopyTask, on_progress: Any) -> int:
    """Read the pixels of a shard and write them: what any tiled copy must do."""
    plan = task.plan
    pixels = cached_source(plan.spec, plan.findings).read(task.shard.box)
    index = task.plan.layout.index(task.shard.channels, task.shard.box)
    open_array(task.store, "0")[index] = pixels.values[0].astype(task.plan.layout.dtype)
    return task.shard.index


def run_copy(source: Path, store: Path, sets: list[str], pool: Any) -> tuple[float, dict]:
    """Copy an image into level 0 of a Zarr of the layout that `restore` would make."""
    plan = make_plan(SourceSpec(source), load_recipe("identity", sets), recipe_name="identity")
    start = time.monotonic()
    create(store, plan.layout, {})
    tasks = [CopyTask(plan, store, shard) for shard in plan.layout.shards()]
    for _ in pool.map(copy_shard, tasks, lambda _: None):
        pass
    return time.monotonic() - start, {}


def run_identity(source: Path, store: Path, sets: list[str], pool: Any) -> tuple[float, dict]:
    """Restore with the identity recipe; seconds, and seconds of each stage."""
    marks = [("plan", time.monotonic())]

    def listen(event: Event) -> None:
        if isinstance(event, StageStarted):
            marks.append((event.stage, time.monotonic()))

    recipe = load_recipe("identity", sets)
    result = restore(RestoreRequest(SourceSpec(source), store, recipe, "identity"), pool, listen)
    if result.status != "complete":
        raise SystemExit(f"{store}: {result.status}")
    marks.append(("end", time.monotonic()))
    stages: dict[str, float] = {}
    for (name, start), (_, stop) in itertools.pairwise(marks):
        stages[name] = stages.get(name, 0.0) + stop - start
    return marks[-1][1] - marks[0][1], stages


class PeakMemory:
    """Watches the resident memory of this process and its children from a thread."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._stop.wait(LOOK_EVERY_S):
            total = 0
            for process in (me, *me.children(recursive=True)):
                try:
                    total += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self.peak_bytes = max(self.peak_bytes, total)


def cpu_seconds() -> float:
    """User and system time so far, of this process and the children that it has now."""
    me = psutil.Process()
    times = [process.cpu_times() for process in (me, *me.children(recursive=True))]
    return sum(t.user + t.system for t in times)


def child(wish: dict[str, Any]) -> Measured:
    """One case, in a process of its own: the pool is open before the clock starts."""
    run = {"copy": run_copy, "identity": run_identity}[wish["run"]]
    workers = wish["workers"]
    kind = "inline" if workers == 1 else "local"
    with (
        open_pool(kind, workers=None if kind == "inline" else workers, device="cpu") as pool,
        PeakMemory() if wish["memory"] else nullcontext() as memory,
    ):
        before = cpu_seconds()
        seconds, stages = run(Path(wish["source"]), Path(wish["store"]), wish["sets"], pool)
        cpu = cpu_seconds() - before
    return Measured(seconds, cpu, memory.peak_bytes if memory else 0, stages)


def measure(
    run: str, source: Path, workers: int, *, memory: bool = False, sets: tuple[str, ...] = ()
):
    """Run one case in a fresh process, remove what it wrote, return what it measured."""
    store = source.with_name(f"{run}.zarr")
    wish = {
        "run": run,
        "source": str(source),
        "store": str(store),
        "workers": workers,
        "memory": memory,
        "sets": list(sets),
    }
    os.sync()  # what earlier runs wrote must not be written during this one
    command = [sys.executable, __file__, "--child", json.dumps(wish)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    shutil.rmtree(store, ignore_errors=True)
    if done.returncode:
        raise SystemExit(f"{wish} failed:\n{done.stderr}")
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def throughput(folder: Path, workers: list[int], repeats: int) -> list[dict[str, Any]]:
    """Identity against the plain copy, in turns."""
    source = folder / "image.fits"
    write_fits(source, MEGAPIXEL_64)
    size = MEGAPIXEL_64**2 * 4
    rows = []
    say(f"\nthroughput, {MEGAPIXEL_64} x {MEGAPIXEL_64} float32, median of {repeats}")
    say("workers   copy MB/s   identity MB/s   ratio   core-s/Mpx, both   seconds by stage")
    for count in workers:
        runs = [
            (measure("copy", source, count), measure("identity", source, count))
            for _ in range(repeats)
        ]
        copy = statistics.median(pair[0].seconds for pair in runs)
        identity = statistics.median(pair[1].seconds for pair in runs)
        stages = {
            name: round(statistics.median(pair[1].stages[name] for pair in runs), 2)
            for name in runs[0][1].stages
        }
        cpu = [statistics.median(pair[i].cpu_seconds for pair in runs) for i in (0, 1)]
        row = {
            "workers": count,
            "copy_s": [round(pair[0].seconds, 3) for pair in runs],
            "identity_s": [round(pair[1].seconds, 3) for pair in runs],
            "copy_MB_per_s": round(size / copy / 1e6, 1),
            "identity_MB_per_s": round(size / identity / 1e6, 1),
            "identity_over_copy": round(copy / identity, 3),
            "copy_cpu_s_per_megapixel": round(cpu[0] / MEGAPIXEL_64**2 * 1e6, 4),
            "identity_cpu_s_per_megapixel": round(cpu[1] / MEGAPIXEL_64**2 * 1e6, 4),
            "stages_s": stages,
        }
        rows.append(row)
        say(
            f"{count:>7} {row['copy_MB_per_s']:>11} {row['identity_MB_per_s']:>15} "
            f"{row['identity_over_copy']:>7} {row['copy_cpu_s_per_megapixel']:>10} "
            f"{row['identity_cpu_s_per_megapixel']:>7}   {stages}"
        )
    source.unlink()
    return rows


def memory(folder: Path, workers: list[int]) -> list[dict[str, Any]]:
    """Peak memory at 64 megapixels and at a gigapixel."""
    rows = []
    say("\nmemory, peak of the resident memory of all processes")
    say("workers   side    GiB    seconds   MB/s")
    for side in (MEGAPIXEL_64, GIGAPIXEL):
        source = folder / "image.fits"
        write_fits(source, side)
        for count in workers:
            run = measure("identity", source, count, memory=True)
            speed = side**2 * 4 / run.seconds / 1e6
            rows.append(
                {"workers": count, "side": side, "MB_per_s": round(speed, 1), **asdict(run)}
            )
            say(
                f"{count:>7} {side:>6} {run.peak_bytes / 2**30:>6.2f} {run.seconds:>10.1f} {speed:>6.0f}"
            )
        source.unlink()
    for count in workers:
        small, large = (r["peak_bytes"] for r in rows if r["workers"] == count)
        say(
            f"{count} worker(s): the gigapixel takes {large / small - 1:+.1%}, limit 10 % and 2 GiB"
        )
    return rows


def overhead(folder: Path, workers: list[int], repeats: int) -> list[dict[str, Any]]:
    """Milliseconds for each tile where tiles are small and many."""
    rows = []
    say(f"\noverhead, tiles of 64 x 64 with a halo of 8, median of {repeats}, milliseconds a tile")
    say("workers   tiles   restore   stitch   all")
    for side in (4, 8, 16, 32, 64):
        source = folder / "image.fits"
        write_fits(source, side * 64)
        for count in workers:
            sets = ("tiles.core=64", "tiles.halo=8")
            runs = [measure("identity", source, count, sets=sets) for _ in range(repeats)]
            tiles = side**2
            each = {
                name: statistics.median(run.stages[name] for run in runs) / tiles * 1e3
                for name in ("restore", "stitch")
            }
            each["all"] = statistics.median(run.seconds for run in runs) / tiles * 1e3
            rows.append({"workers": count, "tiles": tiles, "ms_per_tile": each})
            say(
                f"{count:>7} {tiles:>7} {each['restore']:>9.2f} {each['stitch']:>8.2f} "
                f"{each['all']:>6.2f}"
            )
        source.unlink()
    return rows


def conditions() -> dict[str, Any]:
    """What the figures depend on."""
    names = ("glassplate", "numpy", "zarr", "numcodecs", "distributed", "astropy", "torch")
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": f"python benchmarks/pipeline.py {' '.join(sys.argv[1:])}".strip(),
        "machine": {key: value for key, value in asdict(this_machine()).items() if key != "host"},
        "load_before": os.getloadavg()[0],
        "versions": {name: importlib.metadata.version(name) for name in names},
    }


def say(line: str) -> None:
    """Write a line of the table now."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run the parts asked for, and keep the figures of the others from the last time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=["throughput", "memory", "overhead", []])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--output", type=Path, default=RESULTS / "pipeline.json")
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    wish = parser.parse_args()
    if wish.child:
        say(json.dumps(asdict(child(wish.child))))
        return
    parts = wish.parts or ["overhead", "throughput", "memory"]
    results = json.loads(wish.output.read_text()) if wish.output.is_file() else {}
    with tempfile.TemporaryDirectory(dir=wish.folder, prefix="glassplate-benchmark-") as name:
        folder = Path(name)
        for part in parts:
            before = conditions()
            rows = (
                memory(folder, wish.workers)
                if part == "memory"
                else {"throughput": throughput, "overhead": overhead}[part](
                    folder, wish.workers, wish.repeats
                )
            )
            results[part] = {"conditions": before, "rows": rows}
            wish.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
