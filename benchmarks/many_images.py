"""A job of many small images, some of them bad: whether all are accounted for, and what an image costs.

    python benchmarks/many_images.py [--images 1000] [--bad 50] [--side 512] [--recipe identity]
                                     [--in-flight 1 2 4] [--folder DIR] [--output FILE]

Inputs are made FITS and TIFF, real images where they are found (``--data``), and files that are bad in ten
ways. For each number of images in flight `glassplate batch` restores all of them with a local pool, into a
fresh output folder and a fresh database; the first number is then run a second time, when nothing is to do.
0 is the number that the program chooses.

Figures: the states of the account and the exit code; images a minute; processor seconds of the flow, its
server and the workers for an image, and the growth of the database, both above those of a job of 20 images,
so that the start of a command does not count; the resident memory of every process after a tenth of the time
and at the end; the images a minute of the first and of the last fifth.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tifffile
from astropy.io import fits
from PIL import Image

from glassplate.pipeline.provenance.machine import this_machine

RESULTS = Path(__file__).parent / "results"
REAL = ("std/set5/*.png", "std/set14/*.png", "std/polyu/*", "std/kodak24/*.png")
WARM_UP = 20
MIB = 2**20
PACKAGES = ("glassplate", "prefect", "distributed", "torch", "zarr")


def write_good(path: Path, side: int, seed: int) -> None:
    """Write an image of sky, noise and a few stars; its suffix tells the format."""
    rng = np.random.default_rng(seed)
    image = rng.normal(1000, 5, (side, side))
    image.flat[rng.integers(0, image.size, image.size // 5000 + 1)] += 2000
    if path.suffix == ".fits":
        fits.writeto(path, image.astype("f4"), fits.Header({"BUNIT": "adu"}))
    else:
        tifffile.imwrite(path, image.astype("u2"))


def _content(suffix: str, side: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"good{suffix}"
        if suffix in (".fits", ".tif"):
            write_good(path, side, 0)
        else:
            pixels = np.random.default_rng(0).integers(0, 255, (side, side), "u1")
            Image.fromarray(pixels).save(path)
        return path.read_bytes()


def _table(path: Path, side: int) -> None:
    fits.BinTableHDU.from_columns([fits.Column("a", "J", array=np.arange(9))]).writeto(path)


def _endless(path: Path, side: int) -> None:
    header = _content(".fits", side).replace(b"NAXIS1  =", b"NAXIS1  =           2147483647 /", 1)
    path.write_bytes(header)


def _damaged_png(path: Path, side: int) -> None:
    content = bytearray(_content(".png", side))
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def _half(suffix: str) -> Callable[[Path, int], None]:
    def write(path: Path, side: int) -> None:
        content = _content(suffix, side)
        path.write_bytes(content[: len(content) // 2])

    return write


def _half_gzip(path: Path, side: int) -> None:
    content = gzip.compress(_content(".fits", side), 1)
    path.write_bytes(content[: len(content) // 2])


BAD: dict[str, tuple[str, Callable[[Path, int], None]]] = {
    "empty": (".fits", lambda path, side: path.write_bytes(b"")),
    "text": (".fits", lambda path, side: path.write_bytes(b"no image\n" * 400) and None),
    "cut-fits": (".fits", _half(".fits")),
    "table-alone": (".fits", _table),
    "absurd-width": (".fits", _endless),
    "cut-gzip": (".fits.gz", _half_gzip),
    "cut-tiff": (".tif", _half(".tif")),
    "cut-jpeg": (".jpg", _half(".jpg")),
    "damaged-png": (".png", _damaged_png),
    "dangling-link": (".fits", lambda path, side: path.symlink_to("nowhere.fits")),
}


def make_inputs(folder: Path, images: int, bad: int, side: int, data: Path) -> dict[str, int]:
    """Write the inputs of a job; return how many there are of each kind."""
    folder.mkdir(parents=True)
    kinds: Counter[str] = Counter()
    ways = list(BAD)
    for index in range(bad):
        way = ways[index % len(ways)]
        suffix, write = BAD[way]
        # among the others, not all at the beginning
        write(folder / f"{index * images // bad:05}-bad-{way}{suffix}", side)
        kinds[f"bad: {way}"] += 1
    real = sorted(path for pattern in REAL for path in data.glob(pattern))
    real = [path for path in real if path.suffix in (".png", ".jpg", ".JPG", ".tif")]
    for index in range(images - bad):
        name = f"{index * images // (images - bad):05}-"
        if index % 10 == 0 and index // 10 < len(real):
            path = real[index // 10]
            (folder / f"{name}real{path.suffix.lower()}").symlink_to(path.resolve())
            kinds["real"] += 1
        else:
            suffix = ".tif" if index % 3 == 0 else ".fits"
            write_good(folder / f"{name}made{suffix}", side, index)
            kinds[f"made{suffix}"] += 1
    return dict(kinds)


class Watch:
    """Samples memory and processor time of a command and of all processes that it starts."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self._over = threading.Event()
        self.samples: dict[int, list[tuple[float, int]]] = defaultdict(list)
        self.cpu: dict[int, float] = {}
        self.names: dict[int, str] = {}
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()

    def _sample(self) -> None:
        while not self._over.wait(0.5):
            try:
                processes = [self._process, *self._process.children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            for one in processes:
                try:
                    times = one.cpu_times()
                    self.cpu[one.pid] = times.user + times.system
                    self.samples[one.pid].append((time.monotonic(), one.memory_info().rss))
                    self.names.setdefault(one.pid, _role(one, self._process))
                except psutil.Error:
                    continue

    def end(self) -> None:
        """Stop sampling."""
        self._over.set()
        self._thread.join()

    def cpu_of(self, role: str) -> float:
        """Processor seconds of all processes of a role."""
        return sum(self.cpu[pid] for pid, name in self.names.items() if name == role)

    def memory(self) -> list[dict[str, Any]]:
        """Resident memory of each process that lived long, MiB, after a tenth of its time and at its end."""
        rows = []
        for pid, samples in self.samples.items():
            if len(samples) < 20:
                continue
            values = [rss / MIB for _, rss in samples]
            tenth = max(2, len(values) // 10)
            early = statistics.median(values[tenth : 2 * tenth])
            # the last samples are of processes that are ending
            late = statistics.median(values[-2 * tenth : -2])
            rows.append(
                {
                    "process": self.names[pid],
                    "early_mib": round(early),
                    "late_mib": round(late),
                    "peak_mib": round(max(values)),
                }
            )
        return sorted(rows, key=lambda row: row["process"])


def _role(one: psutil.Process, command: psutil.Process) -> str:
    words = " ".join(one.cmdline())
    if "flows.server.server" in words:
        return "server"
    if "resource_tracker" in words:
        return "resource tracker"
    if "spawn_main" in words:
        return "worker"
    return "supervisor" if one.pid == command.pid else "flow"


def run_job(
    folder: Path, inputs: Path, name: str, recipe: str, in_flight: int, *settings: str
) -> dict[str, Any]:
    """Run the job once, with these further lines; return its figures."""
    job, output, home = folder / f"{name}.yaml", folder / name, folder / f"prefect-{name}"
    lines = (
        f"inputs: {inputs}",
        f"output: {output}",
        f"recipe: {recipe}",
        "pool: local",
        *settings,
    )
    job.write_text("\n".join(lines) + "\n")
    code = "from glassplate.flows.cli.main import main; main()"
    if in_flight:
        # imports what a job needs in the process that otherwise only starts the others
        module = "glassplate.flows.jobs.running.run_images"
        code = (
            f"import {module} as r; r.images_in_flight = lambda pool, images: {in_flight}; {code}"
        )
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", code, "batch", str(job), "--progress", "plain"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PREFECT_HOME": str(home), "OMP_NUM_THREADS": "1"},
    )
    watch = Watch(psutil.Process(process.pid))
    report, _ = process.communicate()
    watch.end()
    entries = [json.loads(line) for line in (output / "job.jsonl").read_text().splitlines()]
    return {
        "exit_code": process.returncode,
        "seconds": round(time.monotonic() - start, 1),
        "states": dict(Counter(entry["state"] for entry in entries)),
        "last_line": report.strip().splitlines()[-1] if report.strip() else "",
        "cpu_seconds": {
            role: round(watch.cpu_of(role), 1) for role in ("flow", "server", "workers"[:-1])
        },
        "database_bytes": sum(path.stat().st_size for path in home.glob("prefect.db*")),
        "memory": watch.memory(),
        "ends": sorted(entry["ended"] for entry in entries if entry["state"] == "done"),
        "reasons": _reasons(entries),
    }


def _reasons(entries: list[dict[str, Any]]) -> dict[str, str]:
    """One reason for each way of being bad, without folders."""
    found = {}
    for entry in entries:
        if entry["state"] == "quarantined":
            path = Path(entry["image"])
            way = path.name.partition("bad-")[2].partition(".")[0] or path.name
            found.setdefault(way, entry["reason"].replace(f"{path.parent}/", ""))
    return found


def figures(run: dict[str, Any], warm: dict[str, Any], images: int) -> dict[str, Any]:
    """What an image costs beyond a job of `WARM_UP` images, and how fast the first and the last ones end."""
    ends = [datetime.fromisoformat(end).timestamp() for end in run.pop("ends")]
    fifth = len(ends) // 5

    def rate(part: list[float]) -> float:
        return round((len(part) - 1) / max(1.0, part[-1] - part[0]) * 60, 1)

    more = images - WARM_UP
    cpu = {
        role: round((seconds - warm["cpu_seconds"][role]) / more, 3)
        for role, seconds in run["cpu_seconds"].items()
    }
    return {
        **run,
        "images_a_minute": rate(ends),
        "images_a_minute_first_fifth": rate(ends[:fifth]),
        "images_a_minute_last_fifth": rate(ends[-fifth:]),
        "cpu_seconds_an_image": cpu,
        "database_kb_an_image": round(
            (run["database_bytes"] - warm["database_bytes"]) / more / 1000, 1
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--bad", type=int, default=50)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--recipe", default="identity")
    parser.add_argument("--in-flight", type=int, nargs="+", default=[0, 1, 2, 4])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--folder", type=Path, help="where inputs and results lie for the time")
    parser.add_argument("--output", type=Path, default=RESULTS / "many-images.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        few = folder / "few"
        make_inputs(few, WARM_UP, 1, options.side, options.data)
        warm = run_job(folder, few, "warm", options.recipe, 0)
        kinds = make_inputs(folder / "in", options.images, options.bad, options.side, options.data)
        document: dict[str, Any] = {
            "command": " ".join(["python benchmarks/many_images.py", *_shown(sys.argv[1:])]),
            "machine": asdict(this_machine()),
            "python": platform.python_version(),
            "versions": {package: version(package) for package in PACKAGES},
            "inputs": kinds,
            "runs": {},
        }
        for in_flight in options.in_flight:
            label = f"{in_flight} in flight" if in_flight else "chosen"
            run = run_job(folder, folder / "in", f"out{in_flight}", options.recipe, in_flight)
            document["runs"][label] = figures(run, warm, options.images)
            if in_flight == options.in_flight[0]:
                again = run_job(folder, folder / "in", f"out{in_flight}", options.recipe, in_flight)
                keys = ("exit_code", "seconds", "states", "cpu_seconds")
                document["second_run"] = {key: again[key] for key in keys}
            shutil.rmtree(folder / f"out{in_flight}")
            options.output.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
            print(json.dumps(document["runs"][label], indent=1), flush=True)
        print(json.dumps(document["second_run"]), flush=True)


def _shown(words: list[str]) -> list[str]:
    """The words of the command without folders of this machine, as FOLDER."""
    return ["FOLDER" if "/" in word else word for word in words]


if __name__ == "__main__":
    main()
