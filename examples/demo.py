"""Restore two real images with one bulk job, and say what came out: `make demo`.

A sky image in FITS (M13, which astropy carries among its test data) is denoised, a scanned page (which
scikit-image carries) is saved as a TIFF of 300 dpi and enlarged twice. Everything lands in demo-output.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import yaml
import zarr
from picture import Panels, draw, page_panels, sky_panels
from skimage import data as sample_images

SKY = "io/fits/hdu/compressed/tests/data/m13.fits"
# Where to look in the README's picture, (y, x) pixels of the input.
SKY_CROP = (slice(20, 140), slice(20, 140))
PAGE_CROP = (slice(60, 120), slice(10, 130))


def make_inputs(folder: Path) -> tuple[Path, Path]:
    """Put the two images into a folder as a user would have them."""
    folder.mkdir(parents=True)
    sky, page = folder / "m13.fits", folder / "page.tif"
    sky.write_bytes(resources.files("astropy").joinpath(SKY).read_bytes())
    tifffile.imwrite(page, sample_images.page(), resolution=(300, 300), resolutionunit="INCH")
    return sky, page


def write_job(folder: Path, sky: Path, page: Path) -> Path:
    """Write the bulk job."""
    job = {
        "name": "demo",
        "inputs": [
            # three tenths of the recipe's iterations: the demo ends within five minutes on 2 cores
            {"path": str(sky), "recipe": "astro-denoise", "set": ["fit.iterations=300"]},
            {"path": str(page), "recipe": "archive-upscale", "scale": 2},
        ],
        "output": str(folder / "restored"),
        "export": "auto",
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(job, sort_keys=False), "utf-8")
    return path


def run_job(job: Path) -> float:
    """Run `glassplate batch` as a user would; seconds it took."""
    command = [str(Path(sys.executable).with_name("glassplate")), "batch", str(job)]
    say(f"$ glassplate batch {job}\n")
    start = time.monotonic()
    # Prefect's database goes with the demo, not into the home folder.
    environment = {**os.environ, "PREFECT_HOME": str(job.parent.absolute() / "prefect")}
    code = subprocess.run(command, env=environment, check=False).returncode
    if code:
        raise SystemExit(code)
    return time.monotonic() - start


def tile_lines(group: zarr.Group) -> list[str]:
    """Iterations of each tile and why it stopped."""
    quality: Any = group["quality"]
    iterations, codes = quality["iterations"][...].ravel(), quality["stop_reason"][...].ravel()
    names = quality["stop_reason"].attrs["codes"]
    return [
        f"    tile {tile}: {count:.0f} iterations, {names[int(code)]}"
        for tile, (count, code) in enumerate(zip(iterations, codes, strict=True))
    ]


def report(store: Path, picture: Path) -> None:
    """Say how one image came out."""
    group = zarr.open_group(store, mode="r")
    about: Any = group.attrs["glassplate"]
    summary = about["summary"]
    unit = about["unit"] or "source units"
    say(f"\n{Path(about['source']['path']).name}, recipe {about['recipe']}")
    say(
        f"  noise     {summary['noise_before']:.3g} before, {summary['noise_after']:.3g} after ({unit})"
    )
    say(f"  tiles     {len(group['quality/iterations'][...].ravel())}")  # type: ignore[index]
    for line in tile_lines(group):
        say(line)
    say(f"  Zarr      {store}")
    export = store.with_suffix(Path(about["source"]["path"]).suffix)
    say(f"  export    {os.path.relpath(export)}")
    say(f"  picture   {picture}")


def panels_of(store: Path, source: Path, crop: tuple[slice, slice] | None) -> Panels:
    """Before, after and removed of one result, ready to draw."""
    group: Any = zarr.open_group(store, mode="r")
    scale = group.attrs["glassplate"]["scale"]
    y, x = crop or (slice(None), slice(None))
    finer = tuple(slice(s.start and s.start * scale, s.stop and s.stop * scale) for s in (y, x))
    after, removed = np.asarray(group["0"])[finer], np.asarray(group["residual"])[y, x]
    if source.suffix == ".fits":
        return sky_panels(removed + after, after, removed)
    return page_panels(tifffile.imread(source)[y, x], after, removed)


def say(line: str) -> None:
    """Write one line now, in order with what the job's own process writes."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run the demo; with --picture, also write the README's picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("demo-output"))
    parser.add_argument("--picture", type=Path, help="also write the README's picture here")
    parser.add_argument("--keep", action="store_true", help="use the results that are there")
    wish = parser.parse_args()
    if wish.folder.exists() and not wish.keep:
        shutil.rmtree(wish.folder)
    inputs = wish.folder / "inputs"
    sky, page = (
        (inputs / "m13.fits", inputs / "page.tif") if inputs.exists() else make_inputs(inputs)
    )
    seconds = run_job(write_job(wish.folder, sky, page))
    for source in (sky, page):
        store = wish.folder / "restored" / f"{source.stem}.zarr"
        picture = store.with_name(f"{source.stem}-before-after-removed.png")
        draw([panels_of(store, source, None)]).save(picture)
        report(store, picture)
    say(f"\nboth images: {seconds:.0f} s")
    if wish.picture:
        wish.picture.parent.mkdir(parents=True, exist_ok=True)
        stores = [wish.folder / "restored" / f"{source.stem}.zarr" for source in (sky, page)]
        rows = zip(stores, (sky, page), (SKY_CROP, PAGE_CROP), strict=True)
        draw([panels_of(*row) for row in rows], width=300).save(wish.picture, optimize=True)
        say(f"picture for the README: {wish.picture}, {wish.picture.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
