"""A page of a gigapixel through the whole program: the same pixels, in bounded memory.

    python benchmarks/gigapixel.py [--shape 26400 40800] [--samples 1] [--folder DIR] [-o RESULT.json]

Makes a tiled, deflated TIFF of 8 bits (rows and columns of one value in most places, so that the file is
small), restores it with recipe ``identity`` and one worker in a process of its own, and compares each pixel
of the result with what was made. The default is the size of ``jhove_testpage_medium.tif``, whose own
compression no library decodes; it has four samples. The exit code is 1 where a pixel differs, or the process
takes more memory than was projected.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
import zarr

TILE = 1024
COMMAND = [sys.executable, "-c", "from glassplate.flows.cli.main import app; app()"]
# A row and a column of each so many pixels hold other numbers, so that a shifted or exchanged tile shows.
LINE = 509


def made(rows: slice, columns: slice, sample: int) -> npt.NDArray[np.uint8]:
    """The pixels of a box: white paper, with lines whose value depends on their place."""
    y, x = np.arange(rows.start, rows.stop), np.arange(columns.start, columns.stop)
    pixels = np.full((len(y), len(x)), 250 - sample, np.uint8)
    pixels[y % LINE == 0] = (x // 7 % 200).astype(np.uint8)
    pixels[:, x % LINE == 0] = (y // 5 % 200).astype(np.uint8)[:, None]
    return pixels


def tiles(shape: tuple[int, int], samples: int) -> Iterator[npt.NDArray[np.uint8]]:
    """The tiles of the file, one after the other."""
    for y in range(0, shape[0], TILE):
        for x in range(0, shape[1], TILE):
            box = slice(y, y + TILE), slice(x, x + TILE)
            planes = [made(*box, sample) for sample in range(samples)]
            yield planes[0] if samples == 1 else np.dstack(planes)


def write(path: Path, shape: tuple[int, int], samples: int) -> None:
    """Write the file, tile by tile."""
    whole = shape if samples == 1 else (*shape, samples)
    kind = {1: "minisblack", 3: "rgb", 4: "separated"}[samples]
    tifffile.imwrite(
        path,
        tiles(shape, samples),
        shape=whole,
        dtype=np.uint8,
        tile=(TILE, TILE),
        photometric=kind,
        compression="deflate",
        planarconfig=None if samples == 1 else "contig",
        metadata=None,
    )


def different(store: Path, shape: tuple[int, int], samples: int) -> int:
    """Number of pixels of a result that are not those that were made."""
    array = zarr.open_array(f"{store}/0", mode="r")
    side = array.shards[-1] if array.shards else TILE
    wrong = 0
    for y in range(0, shape[0], side):
        for x in range(0, shape[1], side):
            box = slice(y, min(y + side, shape[0])), slice(x, min(x + side, shape[1]))
            for sample in range(samples):
                there = array[box] if samples == 1 else array[(sample, *box)]
                wrong += int((there != made(*box, sample)).sum())
    return wrong


def restore(path: Path, store: Path) -> dict[str, Any]:
    """Restore in a process of its own; return its peak of memory and its time."""
    words = ["restore", str(path), "-o", str(store), "--recipe", "identity", "--pool", "inline"]
    start = time.monotonic()
    process = subprocess.Popen([*COMMAND, *words, "--progress", "none"])
    _, status, usage = os.wait4(process.pid, 0)
    return {
        "exit_code": os.waitstatus_to_exitcode(status),
        "peak_bytes": usage.ru_maxrss << 10,
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
        "wall_s": round(time.monotonic() - start, 1),
    }


def projected(path: Path) -> int:
    """Bytes of memory that the plan states."""
    words = ["plan", str(path), "--recipe", "identity", "--pool", "inline", "--json"]
    plan = subprocess.run([*COMMAND, *words], capture_output=True, check=True)
    return int(json.loads(plan.stdout)["host_bytes"])


def main() -> int:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", nargs=2, type=int, default=(26400, 40800))
    parser.add_argument("--samples", type=int, choices=(1, 3, 4), default=1)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    asked = parser.parse_args()
    shape = tuple(asked.shape)
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        path, store = Path(folder) / "page.tif", Path(folder) / "page.zarr"
        write(path, shape, asked.samples)
        found: dict[str, Any] = {
            "shape": [*shape, asked.samples],
            "pixels": shape[0] * shape[1],
            "file_bytes": path.stat().st_size,
            "projected_bytes": projected(path),
            **restore(path, store),
        }
        found["different_pixels"] = different(store, shape, asked.samples)
        found["result_bytes"] = sum(p.stat().st_size for p in store.rglob("*") if p.is_file())
    found |= {"python": platform.python_version(), "machine": platform.machine()}
    text = json.dumps(found, indent=1)
    print(text)
    if asked.output is not None:
        asked.output.write_text(f"{text}\n")
    bounded = found["peak_bytes"] <= found["projected_bytes"]
    return int(bool(found["exit_code"] or found["different_pixels"] or not bounded))


if __name__ == "__main__":
    sys.exit(main())
