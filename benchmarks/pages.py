"""Time, memory and size of the page of a gigapixel, and of a job of 1000 images.

    python benchmarks/pages.py [--side 32768] [--images 1000] [--folder DIR] [-o RESULT.json]

Both are made from the result of one small sky. The shards of the large result are links to the same few
files, and so are the results of the job, so that they cost little; a page reads them as if each were its
own. The page of the job is made twice: the second time its thumbnails are kept. Each page is made by
`glassplate report` in a process of its own; its seconds of the processor do not depend on what else runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from astropy.io import fits

from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.recipes.recipe import load_recipe
from glassplate.pipeline.run.restore import RestoreRequest, restore
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.store.layout import Layout
from glassplate.pipeline.store.ome_zarr import create

COMMAND = [sys.executable, "-c", "from glassplate.flows.cli.main import app; app()"]
# Shards of a run have 8192 pixels; smaller ones take less time to make, and are no easier to read.
SHARD, CORE, SMALL = 2048, 256, 512
# Records of a fit that have a place in the log.
RECORDS = 40
SETTINGS = ["fit.iterations=3", "fit.log_period=1", "donor.tiles=0"]


def sky(side: int) -> np.ndarray:
    """Noise of 5 on a ground of 100, with a star in each 8000 pixels."""
    rng = np.random.default_rng(0)
    image = rng.normal(100, 5, (side, side))
    y, x = np.mgrid[-7:8, -7:8]
    for _ in range(side**2 // 8000):
        row, column = rng.integers(8, side - 8, 2)
        star = 10 ** rng.uniform(1.5, 4) * np.exp(-(y**2 + x**2) / 5)
        image[row - 7 : row + 8, column - 7 : column + 8] += star
    return image.astype(np.float32)


def small_result(folder: Path) -> Path:
    """A sky of four tiles, and its result."""
    fits.writeto(folder / "sky.fits", sky(SMALL))
    store, recipe = folder / "sky.zarr", load_recipe("draft", SETTINGS)
    spec = SourceSpec(folder / "sky.fits")
    restore(RestoreRequest(spec, store, recipe, "draft", device="cpu"), InlinePool())
    return store


def large_result(small: Path, store: Path, side: int) -> None:
    """A result of ``side x side`` pixels with the provenance of a small one."""
    layout = Layout((1, side, side), 2, True, 1, "float32", 512, SHARD)
    attributes = json.loads((small / "zarr.json").read_text())["attributes"]
    attributes.pop("ome")
    create(store, layout, attributes)
    block = sky(SHARD)
    values = {"0": block, "residual": block - block.mean(), "footprint": np.ones_like(block)}
    for name, pixels in values.items():
        array = zarr.open_array(store / name, mode="r+")
        array[:SHARD, :SHARD] = pixels
        link_shards(store / name / "c" / "0" / "0", store / name / "c", side)
    for level in range(1, layout.levels):
        array = zarr.open_array(store / str(level), mode="r+")
        array[:SHARD, :SHARD] = block[: array.shape[0], : array.shape[1]]
        link_shards(store / str(level) / "c/0/0", store / str(level) / "c", array.shape[0])
    shutil.copytree(small / "provenance", store / "provenance", dirs_exist_ok=True)
    record_tiles(store, layout, side // CORE)


def link_shards(shard: Path, folder: Path, side: int) -> None:
    """Make each shard of an array a link to one file."""
    count = -(-side // SHARD)
    for row, column in np.ndindex(count, count):
        place = folder / str(row) / str(column)
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            os.link(shard, place)


def record_tiles(store: Path, layout: Layout, across: int) -> None:
    """Write the manifest, the journal, the maps and the logs of ``across x across`` tiles."""
    side, tiles, rng = across * CORE, across**2, np.random.default_rng(0)
    path = store / "provenance/manifest.json"
    manifest = json.loads(path.read_text())
    plan = manifest["plan"]
    plan |= {"layout": asdict(layout), "output_shape": [side, side], "tiles": tiles}
    plan["grid"] |= {"shape": [1, side, side], "core": CORE, "dimensions": [1, across, across]}
    path.write_text(json.dumps(manifest))
    journal = store / "provenance/tiles.jsonl"
    line = json.loads(journal.read_text().splitlines()[0])
    lines = (json.dumps({**line, "tile": number}) + "\n" for number in range(tiles))
    journal.write_text("".join(lines))
    group = zarr.open_group(store, mode="r+")
    maps, log = group.create_group("quality"), group.create_group("iterations")
    for name in ("iterations", "chi2", "heldout_loss", "seconds", "seam"):
        values = rng.random((1, across, across), np.float32)
        maps.create_array(name, data=values, attributes={"meaning": name})
    for name in ("iteration", "data_term", "heldout_loss", "chi2", "seconds"):
        log.create_array(name, data=rng.random((tiles, RECORDS)).cumsum(1), chunks=(1024, RECORDS))


def job(small: Path, folder: Path, images: int) -> None:
    """The folder of a job whose results are all alike."""
    lines = []
    for number in range(images):
        name = f"sky-{number}.zarr"
        shutil.copytree(small, folder / name, copy_function=os.link)
        line = {"image": f"/data/sky-{number}.fits", "name": name, "result": name, "state": "done"}
        lines.append(json.dumps({**line, "status": "restored", "seconds": 1.5}) + "\n")
    (folder / "job.jsonl").write_text("".join(lines))


def report(target: Path, page: Path) -> dict[str, Any]:
    """Make a page, and measure the process that makes it."""
    command = [*COMMAND, "report", str(target), "-o", str(page)]
    start = time.perf_counter()
    silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    child = os.posix_spawn(command[0], command, os.environ, file_actions=silent)
    _, status, used = os.wait4(child, 0)
    if status:
        raise SystemExit(f"{' '.join(command[3:])} ended with status {status}")
    return {
        "seconds": round(time.perf_counter() - start, 1),
        "processor_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_bytes": used.ru_maxrss * 1024,
        "page_bytes": page.stat().st_size,
    }


def main() -> None:
    """Make the results, their pages, and print what these took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=16 * SHARD, help="of the large result, pixels")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--folder", type=Path, help="for what is made; needs 1 GB")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        small, large, many = small_result(folder), folder / "large.zarr", folder / "job"
        large_result(small, large, given.side)
        many.mkdir()
        job(small, many, given.images)
        found = {
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "pixels": given.side**2,
            "large": report(large, folder / "large.html"),
            "images": given.images,
            "job": report(many, many / "report.html"),
            "job again": report(many, many / "report.html"),
        }
    text = json.dumps(found, indent=1)
    print(text)
    if given.output:
        given.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
