"""The files that the examples of the guide name, made small."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import tifffile
from astropy.io import fits
from PIL import Image

HEIGHT, WIDTH = 40, 48


def write_examples(folder: Path) -> None:
    """Write every input that a bash example of the guide reads."""
    generator = np.random.default_rng(0)
    noise = generator.normal(0, 5, (8, HEIGHT, WIDTH))
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    star = 500 * np.exp(-((rows - 20) ** 2 + (columns - 24) ** 2) / 8)
    scene = 100 + rows + star
    _write_fits(folder, scene, noise, generator)
    _write_pictures(folder, np.clip(scene[None] + noise, 0, 255).astype(np.uint8))
    for name in ("night", "scans"):
        (folder / name).mkdir()
    shutil.copy(folder / "image.fits", folder / "night" / "m13.fits")
    shutil.copy(folder / "a.fits", folder / "night" / "m31_1.fits")
    shutil.copy(folder / "page.tif", folder / "scans" / "page.tif")


def _write_fits(
    folder: Path, scene: np.ndarray, noise: np.ndarray, generator: np.random.Generator
) -> None:
    exposures = (scene + noise).astype(np.float32)
    bad = np.zeros(scene.shape, np.uint8)
    bad[5, 5:9] = 1
    for name in ("image", "exposure", "short", "other"):
        fits.writeto(folder / f"{name}.fits", exposures[0])
    fits.writeto(folder / "counts.fits", generator.poisson(scene).astype(np.float32))
    fits.writeto(folder / "bad.fits", bad)
    fits.writeto(folder / "variance.fits", np.full(scene.shape, 25, np.float32))
    with gzip.open(folder / "image.fits.gz", "wb") as file:
        file.write((folder / "image.fits").read_bytes())

    for index, name in enumerate(("a", "b", "c", "deep")):
        _write_extensions(folder / f"{name}.fits", {"SCI": exposures[index]})
    planes = {"SCI": exposures[0], "DQ": bad, "ERR": np.full(scene.shape, 5, np.float32)}
    _write_extensions(folder / "ccd.fits", planes, versions=2)
    _write_extensions(folder / "mosaic.fits", {"SCI": exposures[0]}, versions=1, more=2)
    _write_extensions(folder / "ooi.fits", {"N14": exposures[0], "N15": exposures[1]})
    _write_extensions(folder / "ood.fits", {"N14": bad, "N15": bad})
    weight = np.full(scene.shape, 1 / 25, np.float32)
    _write_extensions(folder / "oow.fits", {"N14": weight, "N15": weight})

    y, x = np.mgrid[-2:3, -2:3]
    psf = np.exp(-(x**2 + y**2) / 2).astype(np.float32)
    for name in ("psf", "psf-x2"):
        fits.writeto(folder / f"{name}.fits", psf / psf.sum())


def _write_extensions(
    path: Path, images: dict[str, np.ndarray], versions: int = 1, more: int = 0
) -> None:
    """Write one extension for each image and version, and `more` of the first image without a name."""
    extensions = [
        fits.ImageHDU(values, name=name, ver=version)
        for version in range(1, versions + 1)
        for name, values in images.items()
    ]
    extensions += [fits.ImageHDU(next(iter(images.values()))) for _ in range(more)]
    fits.HDUList([fits.PrimaryHDU(), *extensions]).writeto(path)


def _write_pictures(folder: Path, grey: np.ndarray) -> None:
    colour = np.stack(grey[:3], -1)
    for name in ("page", "grey", "noflash", "flash"):
        tifffile.imwrite(folder / f"{name}.tif", grey[0])
    tifffile.imwrite(folder / "photo.tif", colour, photometric="rgb")
    for name, pages in (("scans", 5), ("frames", 3)):
        tifffile.imwrite(folder / f"{name}.tif", grey[:pages], photometric="minisblack")
    Image.fromarray(colour).save(folder / "photo.jpg", quality=10)
    Image.open(folder / "photo.jpg").save(folder / "photo.png")
    damage = np.zeros(grey[0].shape, np.uint8)
    damage[10:14, 20:24] = 255
    Image.fromarray(damage).save(folder / "damage.png")
    painted = np.stack([grey[0]] * 3, -1)
    painted[8:12, 8:12] = (200, 80, 60)
    Image.fromarray(painted).save(folder / "painted.png")
