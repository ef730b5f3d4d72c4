"""How to split a CPU between fits: many on one thread each, or one on all threads.

    python benchmarks/split.py [--iterations 60] [--repeats 3]

Fits the default recipe to a 256x256 window of noise, grey and in colour, in as many processes at once as
there are cores with one thread each, and in one process with all cores as threads; prints fits an hour
and writes benchmarks/results/split.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from glassplate.models.batching.fit_each import fit_batch
from glassplate.models.device.arithmetic import resolve
from glassplate.models.fit.problem import Measurement, Problem
from glassplate.models.noise.model import NoiseModel
from glassplate.models.operators.operator import Identity
from glassplate.models.pixel_transform import PixelTransform
from glassplate.pipeline.provenance.machine import installed_distributions, this_machine
from glassplate.pipeline.provenance.manifest import now
from glassplate.pipeline.recipes.recipe import load_recipe


def fit(
    channels: int, threads: int, iterations: int, start: multiprocessing.Barrier | None
) -> float:
    """Seconds of one fit, imports and first kernels not counted."""
    recipe = load_recipe("archive-denoise")
    problem = Problem(
        network=recipe.network,
        fit=replace(recipe.fit, iterations=iterations),
        stopping=replace(recipe.stopping, rule="fixed"),
        operator=Identity(),
        transform=PixelTransform("linear", 0.0, 1.0, 1.0),
        noise=NoiseModel(0.01, 0.0, 0.0, False, "given"),
        numerics=resolve("cpu", "auto", threads=threads),
    )
    values = np.random.default_rng(0).normal(0.5, 0.1, (channels, 256, 256)).astype("f4")
    measurement = Measurement(values, np.ones(values.shape, bool), None, 0)
    fit_batch([measurement], replace(problem, fit=replace(problem.fit, iterations=3)))
    if start is not None:
        start.wait()
    began = time.perf_counter()
    fit_batch([measurement], problem)
    return time.perf_counter() - began


def _process(channels, threads, iterations, start, answers) -> None:
    answers.put(fit(channels, threads, iterations, start))


def side_by_side(channels: int, processes: int, threads: int, iterations: int) -> float:
    """Seconds until all of `processes` simultaneous fits are done."""
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(processes), context.Queue()
    arguments = (channels, threads, iterations, start, answers)
    workers = [context.Process(target=_process, args=arguments) for _ in range(processes)]
    for worker in workers:
        worker.start()
    seconds = [answers.get() for _ in workers]
    for worker in workers:
        worker.join()
    return max(seconds)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/split.json"))
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    rows = []
    for channels in (1, 3):
        for processes, threads in ((1, 1), (cores, 1), (1, cores)):
            times = [
                side_by_side(channels, processes, threads, options.iterations)
                for _ in range(options.repeats)
            ]
            seconds = statistics.median(times)
            rate = processes * options.iterations / seconds
            rows.append(
                {
                    "channels": channels,
                    "processes": processes,
                    "threads": threads,
                    "seconds": times,
                    "iterations_per_s": rate,
                }
            )
            print(
                f"{channels} channel(s), {processes} process(es) of {threads} thread(s): "
                f"{seconds:6.2f} s, {rate:6.2f} iterations/s in all"
            )
    document = {
        "command": " ".join(sys.argv),
        "when": now(),
        "machine": asdict(this_machine()),
        "iterations": options.iterations,
        "repeats": options.repeats,
        "rows": rows,
        "environment": installed_distributions().splitlines(),
    }
    options.output.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
