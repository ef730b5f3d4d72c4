"""The share of a job's time in which all workers fit, for small images that are really restored.

    python benchmarks/fit_share.py [--images 24] [--sides 256 384 512] [--recipe draft] [--others TEXT]
                                   [--folder DIR] [--output FILE]

Inputs are made skies, FITS and TIFF, of these sides in turn. `glassplate batch` restores them with a local
pool. The journal of each result says how long each fit took, and the log of the job when it ended. The share
is the time of all fits, of donors and of tiles, over that of all workers between the start of the first fit
and the end of the last one. A fit that waits for its core counts. ``seconds_with`` says for how long so many
fits ran at once in that time, which tells where the rest of it is.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from many_images import PACKAGES, RESULTS, run_job, write_good

from glassplate.pipeline.provenance.machine import this_machine


class Fit(NamedTuple):
    """One fit, in seconds of any clock."""

    start: float
    end: float


def fits_of_job(output: Path) -> list[Fit]:
    """Every fit of a job whose log is JSON of the level debug, by the log and the journals of the results."""
    fits = []
    results = {Path(entry["image"]).name: entry["result"] for entry in _lines(output / "job.jsonl")}
    for line in _lines(output / f"{output.name}.log"):
        ended = datetime.fromisoformat(line["time"]).timestamp()
        provenance = output / results.get(line.get("image", ""), "none") / "provenance"
        if "tile" in line:
            seconds = [
                record["seconds"]
                for record in _lines(provenance / "tiles.jsonl")
                if record["ok"] and record["tile"] == line["tile"]
            ]
        elif line["message"] == "restore" and (provenance / "donor.jsonl").is_file():
            # tiles follow the donor at once
            seconds = [record["seconds"] for record in _lines(provenance / "donor.jsonl")]
        else:
            continue
        fits += [Fit(ended - each, ended) for each in seconds]
    return fits


def share_of(fits: Sequence[Fit], workers: int) -> dict[str, Any]:
    """How long so many fits ran at once, and the share of the workers' time that they took."""
    times = sorted({time for fit in fits for time in fit})
    seconds: dict[int, float] = {}
    for start, end in pairwise(times):
        at_once = sum(fit.start <= start and fit.end >= end for fit in fits)
        seconds[at_once] = seconds.get(at_once, 0.0) + end - start
    whole = times[-1] - times[0]
    busy = sum(min(at_once, workers) * of_these for at_once, of_these in seconds.items())
    last_start = max(fit.start for fit in fits)
    return {
        "fits": len(fits),
        "seconds": round(whole, 2),
        "share": round(busy / (workers * whole), 4),
        "seconds_with": {str(n): round(seconds[n], 2) for n in sorted(seconds)},
        "seconds_since_the_last_fit_began": round(times[-1] - last_start, 2),
    }


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 384, 512])
    parser.add_argument("--recipe", default="draft")
    parser.add_argument("--others", default="none", help="what else the machine does meanwhile")
    parser.add_argument("--folder", type=Path, help="where inputs and results lie for the time")
    parser.add_argument("--output", type=Path, default=RESULTS / "fit-share.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        (folder / "in").mkdir()
        for index in range(options.images):
            suffix = ".tif" if index % 3 == 0 else ".fits"
            side = options.sides[index % len(options.sides)]
            write_good(folder / "in" / f"{index:03}-{side}{suffix}", side, index)
        log = ("log: json", "log_level: debug")
        run = run_job(folder, folder / "in", "out", options.recipe, 0, *log)
        workers = len(os.sched_getaffinity(0))
        document = {
            "command": f"python benchmarks/fit_share.py --images {options.images} --sides "
            f"{' '.join(map(str, options.sides))} --recipe {options.recipe}",
            "machine": asdict(this_machine()),
            "python": platform.python_version(),
            "versions": {package: version(package) for package in PACKAGES},
            "other_programs": options.others,
            "workers": workers,
            **share_of(fits_of_job(folder / "out"), workers),
            "job": {key: run[key] for key in ("exit_code", "seconds", "states", "cpu_seconds")},
        }
    options.output.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
