"""Cost of the pipeline around its fits: beside the bare fits, with workers, with tiles, in memory.

Four questions, with the product's own path (`restore` with a pool, on float32 FITS made here):

overhead  what does the pipeline add to the fits? 256 tiles restored by the inline pool, from the call of
          `restore` to its return (identity and hash of the input, plan, reading, scratch, journal, events,
          stitching, pyramid, record), against `fit_batch` called for the same 256 measurements one after
          another with nothing read or written while the clock runs. In turns, each in a fresh process
          whose imports and first fit are not counted. restore / bare - 1, wall and processor seconds.
workers   the same image by a local pool of one worker and of two, each tied to one core, `tiles.threads` 1,
          in turns. The pool is open before the clock starts, and its workers have imported this script and
          torch with it: the two or three seconds that takes do not count, their first kernels do.
tiles     what does one tile cost, from 16 to 4096 of them? Very short fits, inline pool, after a whole
          restore of four tiles that is not counted. The largest over the smallest cost, less one.
memory    peak of a process (VmHWM, all of it) that restores with the inline pool, against the `host_bytes`
          that are projected for the plan: at most 1 and above 1 / 1.5.

    python benchmarks/scaling.py [overhead] [workers] [tiles] [memory] [--repeats 2] [--iterations N]
                                 [--side 16] [--largest 4096] [--folder DIR] [--output FILE]

All fits are of fixed length (`stopping.rule=fixed`), so that every run does the same work, and start from
random weights (`donor.tiles=0`) but for `memory`, where the donor is part of what is projected. Where
--iterations is not given, a short trial chooses it: 0.4 s for a fit of `overhead` and `workers`; for `tiles`
it is 50 ms always. Results go to benchmarks/results/scaling.json; questions not asked keep what it had.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from astropy.io import fits

from glassplate.models.batching.fit_each import fit_batch
from glassplate.models.batching.iteration_time import seconds_per_iteration
from glassplate.models.fit.problem import Measurement
from glassplate.pipeline.cached_source import cached_source
from glassplate.pipeline.events import Event, StageStarted, TileDone
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.planning.memory import project
from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.pools.open_pool import open_pool
from glassplate.pipeline.pools.pool import Pool
from glassplate.pipeline.provenance.journal import read_journal
from glassplate.pipeline.provenance.machine import installed_distributions, this_machine
from glassplate.pipeline.provenance.manifest import now
from glassplate.pipeline.provenance.records import tiles_journal
from glassplate.pipeline.recipes.recipe import load_recipe
from glassplate.pipeline.run.restore import RestoreRequest, restore
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tiles.scratch import Scratch
from glassplate.pipeline.tiles.seeds import tile_seed

RESULTS = Path(__file__).parent / "results"
MIB = 2**20

# One core a fit, always the same work, no donor: what is left is the pipeline and its fits.
FIXED_WORK = ("tiles.threads=1", "stopping.rule=fixed", "donor.tiles=0")
# Windows of 64x64 pixels and the network of the recipe; a fit of some tenths of a second.
CORE, HALO, FIT_S = 48, 8, 0.4
# Windows of 40x40 pixels and half the network: fits so short that the pipeline's share shows.
SMALL_CORE, SMALL_HALO, SMALL_CHANNELS, SMALL_FIT_S = 32, 4, 16, 0.05
SMALL_SIDES = (4, 8, 16, 32, 64)
# Iterations of a fit whose memory is looked at, with two records, so that a best and a later average
# are alive at once.
MEMORY_ITERATIONS, MEMORY_LOG_PERIOD = 4, 2
# Projected memory may exceed the measured by this factor.
GENEROUS = 1.5
GREY, RGB = 1, 3


@dataclass(frozen=True)
class Case:
    """What a child process does, as it travels on its command line."""

    work: str
    """restore, bare or memory."""
    source: str
    recipe: str
    sets: tuple[str, ...]
    workers: int = 0
    """Of a local pool; 0 for the inline pool."""
    warm: str = ""
    """Image restored before the clock starts; where there is none, one window is fitted."""

    @property
    def plan(self) -> Plan:
        """What `restore` would plan."""
        recipe = load_recipe(self.recipe, self.sets)
        spec = SourceSpec(Path(self.source))
        return make_plan(spec, recipe, recipe_name=self.recipe, device="cpu")


@dataclass(frozen=True)
class Measured:
    """What a child process measured."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    """Processor time of the process."""
    workers_cpu_seconds: float = 0.0
    """Processor time of its workers."""
    fit_seconds: float = 0.0
    """Sum of what the tiles say of their fits."""
    first_tile_s: float = 0.0
    """From the beginning of the stage `restore` to the first tile's end, a worker's first kernels in it."""
    stages: dict[str, float] = field(default_factory=dict)
    """Seconds from the beginning of each stage to that of the next; `plan` comes before the first."""
    pixels: int = 0
    """CRC-32 over the checksums of all restored windows, in order."""
    peak_bytes: int = 0
    projected_bytes: int = 0


def write_fits(path: Path, shape: tuple[int, ...]) -> None:
    """Write a float32 image of sky, noise and a few stars; ``(y, x)`` or ``(c, y, x)``."""
    rng = np.random.default_rng(shape[-1])
    image = rng.normal(100, 5, shape).astype("f4")
    image.flat[rng.integers(0, image.size, image.size // 5000 + 1)] += 2000
    fits.writeto(path, image, fits.Header([("BUNIT", "MJy/sr")]), overwrite=True)


class Clock:
    """Listens to a run: when its stages began and its first tile ended."""

    def __init__(self) -> None:
        self.marks = [("plan", time.perf_counter())]
        self.first_tile: float | None = None

    def __call__(self, event: Event) -> None:
        """Take the time of an event."""
        if isinstance(event, StageStarted):
            self.marks.append((event.stage, time.perf_counter()))
        elif isinstance(event, TileDone) and self.first_tile is None:
            self.first_tile = time.perf_counter()

    def stop(self) -> None:
        """The run has returned."""
        self.marks.append(("end", time.perf_counter()))

    @property
    def seconds(self) -> float:
        """From the call to the return."""
        return self.marks[-1][1] - self.marks[0][1]

    @property
    def stages(self) -> dict[str, float]:
        """Seconds of each stage, levels of the pyramid added up."""
        sums: dict[str, float] = {}
        for (name, start), (_, stop) in itertools.pairwise(self.marks):
            sums[name] = sums.get(name, 0.0) + stop - start
        return sums

    @property
    def first_tile_s(self) -> float:
        """From the beginning of the stage `restore` to the first tile's end."""
        start = dict(reversed(self.marks)).get("restore", 0.0)
        return (self.first_tile or start) - start


def run_restore(source: Path, case: Case, pool: Pool) -> tuple[Clock, list[dict[str, Any]]]:
    """Restore an image and remove the result; the clock, and the records of its tiles in order."""
    store = source.with_suffix(".zarr")
    recipe = load_recipe(case.recipe, case.sets)
    request = RestoreRequest(SourceSpec(source), store, recipe, case.recipe, device="cpu")
    clock = Clock()
    result = restore(request, pool, clock)
    clock.stop()
    records = sorted(read_journal(tiles_journal(store)), key=lambda record: record["tile"])
    shutil.rmtree(store)
    if result.status != "complete":
        raise SystemExit(f"{store}: {result.status}")
    return clock, records


def warm_up(case: Case) -> None:
    """Load what is loaded late and choose kernels, in this process."""
    if case.warm:
        with open_pool("inline") as pool:
            run_restore(Path(case.warm), case, pool)
        return
    plan = case.plan
    short = replace(plan.problem, fit=replace(plan.problem.fit, iterations=3))
    fit_batch([next(measurements(plan))], short)


def measurements(plan: Plan) -> Iterator[Measurement]:
    """The windows of all tiles as the pipeline hands them to the fit."""
    source = cached_source(plan.spec, plan.findings)
    for tile in map(plan.grid.tile, range(len(plan.grid))):
        pixels = source.read(tile.window, tile.channels)
        seed = tile_seed(plan.recipe.seed, tile.index, 0)
        yield Measurement(pixels.values.astype(np.float32), pixels.valid, pixels.variance, seed)


def pixels_of(checksums: Sequence[int]) -> int:
    """One number for the windows of all tiles."""
    return zlib.crc32(np.array(checksums, "<u4").tobytes())


def restored(case: Case) -> Measured:
    """Restore with a pool that is open already."""
    kind, count = ("local", case.workers) if case.workers else ("inline", None)
    with open_pool(kind, workers=count, device="cpu") as pool:
        if case.workers:
            tie_workers()
        else:
            warm_up(case)
        own, theirs = time.process_time(), workers_cpu_seconds()
        clock, records = run_restore(Path(case.source), case, pool)
        own, theirs = time.process_time() - own, workers_cpu_seconds() - theirs
    return Measured(
        seconds=clock.seconds,
        cpu_seconds=own,
        workers_cpu_seconds=theirs,
        fit_seconds=sum(record["seconds"] for record in records),
        first_tile_s=clock.first_tile_s,
        stages=clock.stages,
        pixels=pixels_of([record["crc32"] for record in records]),
    )


def bare(case: Case) -> Measured:
    """Fit the same windows one after another; what is read and written is not timed."""
    plan = case.plan
    waiting = list(measurements(plan))
    warm_up(case)
    start, cpu = time.perf_counter(), time.process_time()
    restorations = [fit_batch([measurement], plan.problem)[0] for measurement in waiting]
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    scratch = Scratch(Path(case.source).with_suffix(".windows"))
    checksums = [scratch.write_window(i, each.values) for i, each in enumerate(restorations)]
    shutil.rmtree(scratch.folder)
    return Measured(
        seconds=seconds,
        cpu_seconds=cpu,
        fit_seconds=sum(each.seconds for each in restorations),
        pixels=pixels_of(checksums),
    )


def remembered(case: Case) -> Measured:
    """Restore in this fresh process, look at its peak, project the same plan."""
    with open_pool("inline") as pool:
        clock, _ = run_restore(Path(case.source), case, pool)
    # not getrusage: its maximum begins with that of the process that started this one
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))
    return Measured(
        seconds=clock.seconds,
        peak_bytes=peak,
        projected_bytes=project(case.plan, workers=1).host_bytes,
    )


def workers_of_pool() -> list[psutil.Process]:
    """Processes of the local pool, oldest first."""
    children = psutil.Process().children(recursive=True)
    spawned = [child for child in children if any("spawn_main" in a for a in child.cmdline())]
    return sorted(spawned, key=lambda child: (child.create_time(), child.pid))


def tie_workers() -> None:
    """Tie every worker with all its threads, and those it will start, to a core of its own."""
    cores = sorted(os.sched_getaffinity(0))
    for worker, core in zip(workers_of_pool(), itertools.cycle(cores)):
        for thread in worker.threads():
            os.sched_setaffinity(thread.id, {core})


def workers_cpu_seconds() -> float:
    """User and system time so far of the workers."""
    times = [worker.cpu_times() for worker in workers_of_pool()]
    return sum(each.user + each.system for each in times)


def measure(case: Case) -> Measured:
    """Do a case in a fresh process."""
    os.sync()  # what earlier runs wrote must not be written during this one
    command = [sys.executable, __file__, "--child", json.dumps(asdict(case))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{case} failed:\n{done.stderr}")
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def in_turns(cases: Sequence[Case], repeats: int) -> list[list[Measured]]:
    """Every case `repeats` times: forwards, backwards, forwards, so that a drift hits all alike."""
    runs: list[list[Measured]] = [[] for _ in cases]
    for turn in range(repeats):
        order = range(len(cases)) if turn % 2 == 0 else reversed(range(len(cases)))
        for place in order:
            runs[place].append(measure(cases[place]))
    return runs


def median(runs: Sequence[Measured], name: str) -> float:
    """Median of a field, or of a stage where there is no such field."""
    return statistics.median(
        getattr(run, name) if hasattr(run, name) else run.stages.get(name, 0.0) for run in runs
    )


def rounded(runs: Sequence[Measured], name: str) -> list[float]:
    """A field of all runs, for the file."""
    return [round(getattr(run, name), 3) for run in runs]


def medians_of_stages(runs: Sequence[Measured]) -> dict[str, float]:
    """Median seconds of each stage."""
    return {name: round(median(runs, name), 4) for name in runs[0].stages}


def iterations_for(case: Case, seconds: float) -> int:
    """Iterations that one fit of a case does in some seconds, by a short trial here and now."""
    plan = case.plan
    each = seconds_per_iteration(plan.problem, plan.grid.window_shape)
    return max(2, round(seconds / each))


def many_tiles(folder: Path, wish: argparse.Namespace) -> tuple[Case, int]:
    """The image of `overhead` and `workers`, and the iterations of a fit."""
    source = folder / "image.fits"
    write_fits(source, (wish.side * CORE,) * 2)
    sets = (f"tiles.core={CORE}", f"tiles.halo={HALO}", *FIXED_WORK)
    case = Case("restore", str(source), "archive-denoise", sets)
    iterations = wish.iterations or iterations_for(case, FIT_S)
    return replace(case, sets=(*sets, f"fit.iterations={iterations}")), iterations


def overhead(folder: Path, wish: argparse.Namespace) -> dict[str, Any]:
    """The whole of `restore` against the bare loop."""
    case, iterations = many_tiles(folder, wish)
    tiles = wish.side**2
    say(f"\noverhead, {tiles} tiles, {iterations} iterations each, medians of {wish.repeats}")
    whole, alone = in_turns([case, replace(case, work="bare")], wish.repeats)
    stages = medians_of_stages(whole)
    row = {
        "tiles": tiles,
        "iterations": iterations,
        "bare_fit_s": round(median(alone, "seconds") / tiles, 4),
        "restore_s": rounded(whole, "seconds"),
        "bare_s": rounded(alone, "seconds"),
        "restore_cpu_s": rounded(whole, "cpu_seconds"),
        "bare_cpu_s": rounded(alone, "cpu_seconds"),
        "overhead": round(median(whole, "seconds") / median(alone, "seconds") - 1, 4),
        "overhead_cpu": round(median(whole, "cpu_seconds") / median(alone, "cpu_seconds") - 1, 4),
        "outside_fits_s": [round(run.seconds - run.fit_seconds, 3) for run in whole],
        "outside_fits": round(
            statistics.median((run.seconds - run.fit_seconds) / run.fit_seconds for run in whole), 4
        ),
        "stages_s": stages,
        "same_pixels": len({run.pixels for run in (*whole, *alone)}) == 1,
    }
    say("            wall s   processor s")
    for name, runs in (("restore", whole), ("bare", alone)):
        say(f"{name:>8} {median(runs, 'seconds'):>9.2f} {median(runs, 'cpu_seconds'):>13.2f}")
    say(f"overhead {row['overhead']:>9.2%} {row['overhead_cpu']:>13.2%}")
    say(f"of the run outside its fits, by its own records: {row['outside_fits']:.2%}")
    say(f"stages, s: {stages}; the same pixels: {row['same_pixels']}")
    return row


def workers(folder: Path, wish: argparse.Namespace) -> dict[str, Any]:
    """One worker against two."""
    case, iterations = many_tiles(folder, wish)
    tiles = wish.side**2
    say(f"\nworkers, {tiles} tiles, {iterations} iterations each, medians of {wish.repeats}")
    say("workers   restore s   whole s   workers' processor s   cores they use   first tile s")
    counts = (1, 2)
    runs = in_turns([replace(case, workers=count) for count in counts], wish.repeats)
    rows = []
    for count, of_count in zip(counts, runs, strict=True):
        used = [run.workers_cpu_seconds / run.stages["restore"] for run in of_count]
        row = {
            "workers": count,
            "whole_s": rounded(of_count, "seconds"),
            "restore_s": [round(run.stages["restore"], 3) for run in of_count],
            "workers_cpu_s": rounded(of_count, "workers_cpu_seconds"),
            "command_cpu_s": rounded(of_count, "cpu_seconds"),
            "cores_used": round(statistics.median(used), 3),
            "first_tile_s": round(median(of_count, "first_tile_s"), 3),
            "stages_s": medians_of_stages(of_count),
        }
        rows.append(row)
        say(
            f"{count:>7} {median(of_count, 'restore'):>11.2f} {median(of_count, 'seconds'):>9.2f} "
            f"{median(of_count, 'workers_cpu_seconds'):>22.2f} {row['cores_used']:>16.2f} "
            f"{row['first_tile_s']:>14.2f}"
        )
    one, two = runs
    answer = {
        "tiles": tiles,
        "iterations": iterations,
        "speedup_restore": round(median(one, "restore") / median(two, "restore"), 3),
        "speedup_whole": round(median(one, "seconds") / median(two, "seconds"), 3),
        "same_pixels": len({run.pixels for run in (*one, *two)}) == 1,
        "rows": rows,
    }
    say(
        f"two workers: restore {answer['speedup_restore']:.2f} times, the whole run "
        f"{answer['speedup_whole']:.2f} times as fast; the same pixels: {answer['same_pixels']}"
    )
    return answer


def small_tiles(folder: Path, side: int, iterations: int) -> Case:
    """An image of `side` x `side` very small tiles."""
    source = folder / f"small-{side}.fits"
    write_fits(source, (side * SMALL_CORE,) * 2)
    sets = (
        f"tiles.core={SMALL_CORE}",
        f"tiles.halo={SMALL_HALO}",
        *FIXED_WORK,
        f"network.channels={SMALL_CHANNELS}",
        f"network.skip_channels={SMALL_CHANNELS}",
        f"fit.iterations={iterations}",
    )
    warm = folder / "warm.fits"
    write_fits(warm, (2 * SMALL_CORE,) * 2)
    return Case("restore", str(source), "archive-denoise", sets, warm=str(warm))


def tiles(folder: Path, wish: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds for each tile, of few tiles and of many."""
    iterations = iterations_for(small_tiles(folder, SMALL_SIDES[0], 2), SMALL_FIT_S)
    sides = [side for side in SMALL_SIDES if side**2 <= wish.largest]
    say(f"\ntiles, {iterations} iterations each, medians of {wish.repeats}, milliseconds a tile")
    say("  tiles    fits   restore   stitch   both   whole run   processor")
    runs = in_turns([small_tiles(folder, side, iterations) for side in sides], wish.repeats)
    rows = []
    for side, of_side in zip(sides, runs, strict=True):
        each = {
            "fits": median(of_side, "fit_seconds"),
            "restore": median(of_side, "restore"),
            "stitch": median(of_side, "stitch"),
            "both": statistics.median(r.stages["restore"] + r.stages["stitch"] for r in of_side),
            "whole": median(of_side, "seconds"),
            "cpu": median(of_side, "cpu_seconds"),
        }
        each = {name: round(value / side**2 * 1e3, 3) for name, value in each.items()}
        rows.append(
            {
                "tiles": side**2,
                "ms_per_tile": each,
                "stages_s": medians_of_stages(of_side),
                "whole_s": rounded(of_side, "seconds"),
            }
        )
        say(
            f"{side**2:>7} {each['fits']:>7.2f} {each['restore']:>9.2f} {each['stitch']:>8.2f} "
            f"{each['both']:>6.2f} {each['whole']:>11.2f} {each['cpu']:>11.2f}"
        )
    spread = {name: spread_of([row["ms_per_tile"][name] for row in rows]) for name in each}
    outside = spread_of([r["ms_per_tile"]["both"] - r["ms_per_tile"]["fits"] for r in rows])
    say(
        f"max / min - 1: restore and stitch {spread['both']:.1%}, of which the fits alone "
        f"{spread['fits']:.1%} and the rest {outside:.1%}; whole run {spread['whole']:.1%}"
    )
    return {
        "iterations": iterations,
        "spread": spread,
        "spread_outside_fits": outside,
        "rows": rows,
    }


def spread_of(values: Sequence[float]) -> float:
    """How far the largest lies above the smallest."""
    return round(max(values) / min(values) - 1, 4)


def memory_cases() -> Iterator[tuple[str, int, int, int]]:
    """Recipe, colours, core and channels of every row."""
    for colours, core, channels in itertools.product((GREY, RGB), (128, 256, 512), (16, 32)):
        yield "archive-denoise", colours, core, channels
    for colours, core in itertools.product((GREY, RGB), (128, 256)):
        yield "archive-upscale", colours, core, 16


def memory(folder: Path, wish: argparse.Namespace) -> dict[str, Any]:
    """Measured against projected, one process a row."""
    rows = []
    say("\nmemory, peak of the process, MiB")
    say("recipe            colours   core   channels   measured   projected   ratio   holds")
    for recipe, colours, core, channels in memory_cases():
        source = folder / "image.fits"
        write_fits(
            source, (2 * core, 2 * core) if colours == GREY else (colours, 2 * core, 2 * core)
        )
        sets = (
            f"tiles.core={core}",
            f"network.channels={channels}",
            f"network.skip_channels={channels}",
            f"fit.iterations={MEMORY_ITERATIONS}",
            f"fit.log_period={MEMORY_LOG_PERIOD}",
        )
        run = measure(Case("memory", str(source), recipe, sets))
        ratio = run.peak_bytes / run.projected_bytes
        row = {
            "recipe": recipe,
            "colours": colours,
            "core": core,
            "channels": channels,
            "measured_bytes": run.peak_bytes,
            "projected_bytes": run.projected_bytes,
            "ratio": round(ratio, 4),
            "holds": 1 / GENEROUS < ratio <= 1,
        }
        rows.append(row)
        say(
            f"{recipe:<17} {colours:>7} {core:>6} {channels:>10} {run.peak_bytes / MIB:>10.0f} "
            f"{run.projected_bytes / MIB:>11.0f} {ratio:>7.3f} {'yes' if row['holds'] else 'NO':>7}"
        )
    ratios = [row["ratio"] for row in rows]
    say(f"measured / projected from {min(ratios):.3f} to {max(ratios):.3f}")
    return {"lowest": min(ratios), "highest": max(ratios), "rows": rows}


QUESTIONS = {"overhead": overhead, "workers": workers, "tiles": tiles, "memory": memory}
WORKS = {"restore": restored, "bare": bare, "memory": remembered}


def conditions(wish: argparse.Namespace) -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "when": now(),
        "command": f"python benchmarks/scaling.py {' '.join(sys.argv[1:])}".strip(),
        "machine": {key: value for key, value in asdict(this_machine()).items() if key != "host"},
        "load_before": round(os.getloadavg()[0], 2),
        "repeats": wish.repeats,
        "environment": installed_distributions().splitlines(),
    }


def say(line: str) -> None:
    """Write a line of the table now."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def at_least(lowest: int) -> Any:
    """A parser of whole numbers that refuses smaller ones."""

    def number(text: str) -> int:
        if (value := int(text)) < lowest:
            raise argparse.ArgumentTypeError(f"{value}: at least {lowest}")
        return value

    return number


def arguments() -> argparse.Namespace:
    """What the command line wishes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("questions", nargs="*", help=f"of {', '.join(QUESTIONS)}; all by default")
    parser.add_argument("--repeats", type=at_least(1), default=2, help="runs of every case")
    parser.add_argument("--iterations", type=at_least(2), help="of a fit (overhead, workers)")
    parser.add_argument(
        "--side",
        type=at_least(1),
        default=16,
        help="tiles on a side of the image (overhead, workers)",
    )
    parser.add_argument(
        "--largest",
        type=at_least(SMALL_SIDES[0] ** 2),
        default=4096,
        help="number of tiles (tiles)",
    )
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--output", type=Path, default=RESULTS / "scaling.json")
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    wish = parser.parse_args()
    if strangers := [name for name in wish.questions if name not in QUESTIONS]:
        parser.error(f"unknown question {strangers[0]!r}, must be one of {', '.join(QUESTIONS)}")
    return wish


def main() -> None:
    """Answer the questions asked, and keep the answers to the others from the last time."""
    wish = arguments()
    if wish.child:
        case = Case(**{**wish.child, "sets": tuple(wish.child["sets"])})
        say(json.dumps(asdict(WORKS[case.work](case))))
        return
    with tempfile.TemporaryDirectory(dir=wish.folder, prefix="glassplate-benchmark-") as name:
        for question in wish.questions or QUESTIONS:
            before = conditions(wish)
            answer = QUESTIONS[question](Path(name), wish)
            results = json.loads(wish.output.read_text()) if wish.output.is_file() else {}
            results[question] = {"conditions": before, **answer}
            wish.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
