"""A folder of one night and one of an archive, each restored by one command without an option for any file.

    python benchmarks/night.py DATA FAULTS -o RESULT.json [--iterations 5]

copies images of HST, DECam, Bok, ZTF and an amateur (a part of it), with one made as Webb's pipeline makes
them, into a folder, and those of a scanner, a microfilm reader and a museum into another. ``glassplate
batch`` restores each folder by a job of three lines. A fourth line asks for few iterations: what is found
without being told, what becomes of each file, and what its export keeps are measured, not the quality. The
exit code is 1 if an image is not restored, or if its export loses something without a reason.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from astropy.io import fits
from chunk_fates import fates_of_chunks
from fits_round_trips import fates
from round_trips import fates_of_tags

from glassplate.pipeline.reader_warnings import collected_warnings

_WILD = "tiff_variants"
# Below the data folder, or that of faults; a folder stands for its files. What each is.
NIGHT = {
    "astro/mef_dq_weight/sample_svm_flc.fits": "HST",
    "astro/mef_dq_weight/decam_testcase12": "DECam",
    "astro/mef_dq_weight/mosaic3_90prime/ksb_160203_115029_ooi_r_v1-ccd2.fits": "Bok",
    "astro/mef_dq_weight/mosaic3_90prime/ksb_160203_115029_ood_r_v1-ccd2.fits": "Bok",
    "astro/mef_dq_weight/mosaic3_90prime/ksb_160203_115029_oow_r_v1-ccd2.fits": "Bok",
    "astro/pairs/ztf_alert_stamps/472263571115115000_sci.fits.gz": "ZTF",
}
# Of the amateur's 1392 x 1040 pixels, so many rows and columns are taken, with the whole header.
CAMERA = "astro/pairs/m13_5x5s/M13_blue_0001.fits.gz"
CUT = slice(400, 600)
ARCHIVE = {
    f"{_WILD}/pillow/hopper.iccprofile_binary.tif": "scanner",
    f"{_WILD}/pillow/tiff_strip_planar_16bit_RGBa.tiff": "scanner",
    f"{_WILD}/pillow/tiff_strip_cmyk_jpeg.tif": "scanner",
    f"{_WILD}/pillow/hopper_float_dpi_3.tif": "scanner",
    f"{_WILD}/imagetiff/imagemagick_group4.tiff": "microfilm",
    f"{_WILD}/libtiffpic/jim___dg.tif": "microfilm",
    "archives/oldphotos/realsr_Lincoln.png": "museum",
    "archives/oldphotos/scratch_b.png": "museum",
    "page.jp2": "museum",
    "orientation6.jpg": "museum",
}
JOB = """inputs: {folder}
output: {output}
export: auto
set: {{fit.iterations: {steps}, donor.tiles: 0}}
"""


@dataclass(frozen=True)
class Outcome:
    """What became of one image."""

    file: str
    kind: str
    image: str
    """Shape and type."""
    state: str
    recipe: str = ""
    unit: str | None = None
    noise: str = ""
    """Where the noise is from."""
    found: tuple[str, ...] = ()
    """Companions that were found by name."""
    warnings: tuple[str, ...] = ()
    export: dict[str, int] | None = None
    """Cards and HDUs, tags or chunks by what became of them."""
    lost: tuple[str, ...] = ()


def copied(images: dict[str, str], roots: list[Path], folder: Path) -> dict[str, str]:
    """Copy files into a folder, and say what each is, by its name."""
    folder.mkdir()
    kinds = {}
    for name, kind in images.items():
        there = next(root / name for root in roots if (root / name).exists())
        for path in sorted(there.iterdir()) if there.is_dir() else [there]:
            shutil.copy(path, folder / path.name)
            kinds[path.name] = kind
    return kinds


def write_amateur(roots: list[Path], path: Path) -> None:
    """A part of an exposure of an amateur's camera."""
    camera = next(root / CAMERA for root in roots if (root / CAMERA).exists())
    with fits.open(camera) as hdus:
        fits.writeto(path, hdus[0].data[CUT, CUT], hdus[0].header)


def write_webb(path: Path) -> None:
    """An image such as Webb's pipeline writes: a field of stars, ERR, DQ, and a table."""
    rng = np.random.default_rng(0)
    rows, columns = np.indices((128, 128))
    image = np.full(rows.shape, 0.6)
    for y, x, peak in zip(*rng.uniform(0, 128, (2, 40)), rng.exponential(3, 40), strict=True):
        image += peak * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 8)
    sigma = np.sqrt(0.01 + 0.005 * image)
    dq = np.zeros(rows.shape, "u4")
    dq[:, 60], dq[20:22, 30:34] = 1, 4  # DO_NOT_USE, and a jump that was corrected
    image = np.where(dq & 1, np.nan, rng.normal(image, sigma)).astype("f4")
    primary = fits.PrimaryHDU()
    primary.header.update(TELESCOP="JWST", INSTRUME="NIRCAM", FILTER="F200W", EFFEXPTM=311.4)
    planes = [("SCI", image, "MJy/sr"), ("ERR", sigma.astype("f4"), "MJy/sr"), ("DQ", dq, "")]
    hdus = [fits.ImageHDU(pixels, name=name) for name, pixels, _ in planes]
    for hdu, (_, _, unit) in zip(hdus, planes, strict=True):
        if unit:
            hdu.header["BUNIT"] = unit
    table = fits.BinTableHDU.from_columns([fits.Column("ASDF_METADATA", "8A", array=["#ASDF 1."])])
    table.name = "ASDF"
    fits.HDUList([primary, *hdus, table]).writeto(path)


def restored(folder: Path, steps: int) -> tuple[list[dict[str, Any]], int]:
    """Run the job of a folder; the account of its images, and the exit code."""
    job = folder.with_suffix(".yaml")
    output = folder.with_name(f"{folder.name}-restored")
    job.write_text(JOB.format(folder=folder, output=output, steps=steps))
    program = str(Path(sys.executable).with_name("glassplate"))
    done = subprocess.run([program, "batch", str(job), "--progress", "none"], check=False)
    lines = (output / "job.jsonl").read_text().splitlines()
    entries = {entry["name"]: entry for entry in map(json.loads, lines) if "image" in entry}
    return list(entries.values()), done.returncode


def outcome(entry: dict[str, Any], kinds: dict[str, str], output: Path) -> Outcome:
    """What is recorded of an image, and what its export keeps."""
    path = Path(entry["image"])
    kind = kinds.get(path.name, "")
    if not entry["complete"]:
        return Outcome(path.name, kind, "", f"{entry['state']}: {entry['reason']}")
    store = output / entry["result"]
    manifest = json.loads((store / "provenance" / "manifest.json").read_text())
    group = zarr.open_group(store, mode="r")
    plan, level = manifest["plan"], group["0"]
    fate = Counter[str]()
    lost = []
    for exported in entry["exports"]:
        for name, what in _fates(path, Path(exported), dict(group.attrs)):
            fate[what] += 1
            if what in ("lost", "LOST"):
                lost.append(name)
    return Outcome(
        file=path.name,
        kind=kind,
        image=f"{' x '.join(map(str, level.shape))} {level.dtype}",
        state=entry["state"],
        recipe=manifest["recipe_name"],
        unit=manifest["summary"]["unit"],
        noise=plan["noise"]["origin"],
        found=tuple(map(_said, plan["companions"])),
        warnings=tuple(text.replace(f"{path.parent}/", "") for text in plan["warnings"]),
        export=dict(fate),
        lost=tuple(lost),
    )


def _said(companion: dict[str, Any]) -> str:
    """Role, file, how it is read, and what was noticed, on one line."""
    said = [f"{companion['role']} {Path(companion['name']).name}"]
    said += [companion[key] for key in ("reading", "remark") if companion.get(key)]
    return "; ".join(said)


def _fates(path: Path, export: Path, attributes: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and fate of what surrounds the pixels."""
    if export.suffix == ".fits":
        for one in fates(path, export, [attributes["fits"].get("hdu", 0)]):
            yield f"{one.hdu} {one.keyword}", one.fate
        return
    with collected_warnings(path), tifffile.TiffFile(export) as after:
        if path.suffix in (".png", ".jpg"):
            for name, fate, _ in fates_of_chunks(path, after.pages[0]):
                yield name, fate
        elif path.suffix in (".tif", ".tiff"):
            with tifffile.TiffFile(path) as before:
                for tag in fates_of_tags(before.pages[0], after.pages[0]):
                    yield tag.name, tag.fate


def main() -> int:
    """Restore both folders and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("roots", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--iterations", type=int, default=5)
    given = parser.parse_args()
    document: dict[str, Any] = {"iterations": given.iterations}
    ended = 0
    with tempfile.TemporaryDirectory() as scratch:
        for name, images in (("night", NIGHT), ("archive", ARCHIVE)):
            folder = Path(scratch) / name
            kinds = copied(images, given.roots, folder)
            if name == "night":
                write_webb(folder / "jw_nircam_cal.fits")
                write_amateur(given.roots, folder / "M13_blue_0001.fits")
                kinds |= {"jw_nircam_cal.fits": "JWST (made)", "M13_blue_0001.fits": "amateur"}
            begun = time.monotonic()
            entries, code = restored(folder, given.iterations)
            output = folder.with_name(f"{name}-restored")
            found = [outcome(entry, kinds, output) for entry in entries]
            document[name] = {
                "exit_code": code,
                "seconds": round(time.monotonic() - begun),
                "images": [asdict(one) for one in sorted(found, key=lambda one: one.file)],
            }
            ended |= bool(code) or any(one.lost or one.state != "done" for one in found)
    given.output.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    return ended


if __name__ == "__main__":
    sys.exit(main())
