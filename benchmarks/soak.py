"""Kill a job at random moments, again and again, and compare what it leaves with that of an undisturbed run.

    python benchmarks/soak.py [--kills 500] [--images 24] [--side 96] [--seed 0] [-o FILE]

A process that has imported everything forks for each run of the job: small images with fits of a few
iterations, exports and an account, as `glassplate batch` makes them, without Prefect, in one process. Each
run is killed with SIGKILL after a random time, and the next one resumes. When all images are done before the
last kill, the results of some are removed, so that there is work left. At the end a run is left alone.

Counted are images that are lost (not done at the end), lines of the account that are doubled, arrays and
exports that differ from the undisturbed ones, results that do not verify, and files that are left over. All
must be 0.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import yaml
import zarr
from astropy.io import fits

from glassplate.flows.accounts.account import Account
from glassplate.flows.jobs.images import find_images
from glassplate.flows.jobs.job import Job, read_job
from glassplate.flows.jobs.lazy_pool import LazyPool
from glassplate.flows.jobs.running.budget import Budget
from glassplate.flows.jobs.running.job_run import JobRun
from glassplate.flows.jobs.running.known import known_facts
from glassplate.flows.jobs.running.outcomes import Look, Outcome, failed
from glassplate.flows.jobs.running.run_images import run_images
from glassplate.flows.jobs.running.settled import RunFacts
from glassplate.flows.jobs.running.verdicts import verdict_of
from glassplate.flows.jobs.running.work import restore_one
from glassplate.flows.report.job_log import open_log
from glassplate.flows.report.progress import SilentDisplay
from glassplate.pipeline.provenance.verify import verify

RECIPE = {
    "fit": {"iterations": 8, "log_period": 4},
    "network": {"channels": 4, "skip_channels": 4, "scales": 2},
    "tiles": {"core": 40, "halo": 8, "threads": 1},
    "output": {"chunk": 32, "shard": 64},
}

# A run is killed within this share of the time of the undisturbed one, so that kills fall into all stages of
# several images.
LONGEST = 0.3

# Share of the results that are removed when everything is done.
REMOVED = 0.5


def run_job(job: Job) -> None:
    """One run of the job in this process."""
    account = Account(job.output)
    images = find_images(job, known_facts(account)).images
    with open_log(job.output / "job.log", job.log, job.log_level, "soak") as log:
        run = JobRun(
            facts=RunFacts(job),
            pool=LazyPool("inline", workers=None, device="cpu"),
            display=SilentDisplay(),
            log=log,
            account=account,
            budget=Budget(job.limits, job.output),
            context={},
            taken=frozenset(store for image in images for store in image.stores),
        )

        def restore(look: Look) -> Outcome:
            begin = time.monotonic()
            try:
                return restore_one(look, run, lambda event: None)
            except Exception as error:
                return failed(look, verdict_of(error), time.monotonic() - begin)

        run_images(run, images, run.pool, restore)


def killed_run(job: Job, after_s: float | None) -> bool:
    """Run the job in a fork; kill it after a time, if one is given. Return whether it ended by itself."""
    child = os.fork()
    if child == 0:
        os.setsid()
        code = 1
        try:
            run_job(job)
            code = 0
        finally:
            os._exit(code)
    deadline = None if after_s is None else time.monotonic() + after_s
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            if os.waitstatus_to_exitcode(status) != 0:
                sys.exit(f"a run ended with code {os.waitstatus_to_exitcode(status)} by itself")
            return True
        if deadline is not None and time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return False
        time.sleep(0.002)


def digests(output: Path) -> dict[str, str]:
    """SHA-256 of each array of each result, and of the pixels of each export."""
    found: dict[str, str] = {}
    for store in sorted(output.glob("*.zarr")):
        group = zarr.open_group(store, mode="r")
        arrays = {name: array for name, array in group.arrays() if name != "seconds"}
        arrays |= {f"quality/{name}": array for name, array in group["quality"].arrays()}
        arrays.pop("quality/seconds", None)
        for name, array in arrays.items():
            content = np.ascontiguousarray(array[...]).tobytes()
            found[f"{store.name}/{name}"] = hashlib.sha256(content).hexdigest()
    for export in sorted(output.glob("*.fits")):
        found[export.name] = hashlib.sha256(fits.getdata(export).tobytes()).hexdigest()
    return found


def faults(output: Path, whole: dict[str, str], images: int) -> dict[str, int]:
    """Count what is not as it should be."""
    lines = [json.loads(line) for line in (output / "job.jsonl").read_text().splitlines()]
    made = digests(output)
    hidden = [path for path in output.rglob(".*") if path.name != ".job.jsonl.lock"]
    return {
        "lost": images - sum(line["state"] in ("done", "skipped") for line in lines),
        "doubled": len(lines) - len({line["name"] for line in lines}),
        "differing": sum(whole.get(name) != made.get(name) for name in {*whole, *made}),
        "unverified": sum(
            any(not check.ok for check in verify(store)) for store in output.glob("*.zarr")
        ),
        "left_over": len(hidden) + len(list(output.rglob("*.partial"))),
    }


def job_in(folder: Path, images: int, side: int) -> tuple[Job, Job]:
    """Write the images; return the job that is left alone, and that which is killed."""
    (folder / "in").mkdir()
    for seed in range(images):
        sky = np.random.default_rng(seed).normal(100, 5, (side, side)).astype("f4")
        fits.writeto(folder / "in" / f"sky{seed:03d}.fits", sky)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    jobs = []
    for name in ("whole", "killed"):
        settings = {
            "inputs": str(folder / "in"),
            "output": str(folder / name),
            "recipe": str(folder / "recipe.yaml"),
            "export": "fits",
            "pool": "inline",
            "device": "cpu",
        }
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(settings))
        jobs.append(read_job(folder / f"{name}.yaml"))
    return jobs[0], jobs[1]


def soak(folder: Path, *, kills: int, images: int, side: int, seed: int) -> dict[str, object]:
    """Kill the job so many times; return what was found."""
    undisturbed, job = job_in(folder, images, side)
    begin = time.monotonic()
    killed_run(undisturbed, None)
    whole, alone_s = digests(undisturbed.output), time.monotonic() - begin
    moments, done, ended = random.Random(seed), 0, 0
    while done < kills:
        if killed_run(job, moments.uniform(0, LONGEST * alone_s)):
            ended += 1
            for store in sorted(job.output.glob("*.zarr")):
                if moments.random() < REMOVED:
                    shutil.rmtree(store)
        else:
            done += 1
    killed_run(job, None)
    return {
        "kills": done,
        "runs_that_ended_first": ended,
        "images": images,
        "arrays_and_exports": len(whole),
        "faults": faults(job.output, whole, images),
        "seconds_alone": round(alone_s, 1),
        "seconds": round(time.monotonic() - begin, 1),
    }


def main() -> None:
    """Run the soak and report it; the exit code is 1 where there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="glassplate-soak-") as folder:
        found = soak(
            Path(folder),
            kills=options.kills,
            images=options.images,
            side=options.side,
            seed=options.seed,
        )
    command = f"python benchmarks/soak.py --kills {options.kills} --images {options.images}"
    report = {
        "command": f"{command} --side {options.side} --seed {options.seed}",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("glassplate", "torch", "numpy", "zarr")},
        },
        **found,
    }
    text = json.dumps(report, indent=1)
    print(text)
    if options.output is not None:
        options.output.write_text(text + "\n")
    sys.exit(1 if any(report["faults"].values()) else 0)  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
