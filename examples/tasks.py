"""One picture of each task: `python examples/tasks.py FOLDER [NAME ...]`.

From photographs that scikit-image carries. Noise, damage and blur are made here, so that the truth is known;
only the grain of a scan is its own. Each picture has what was given, what came out, and the truth; the PSNR
of the first two is printed.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, ImageDraw
from scipy import ndimage
from skimage import data as photographs

from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.recipes.recipe import load_recipe
from glassplate.pipeline.run.restore import RestoreRequest, restore
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.store.ome_zarr import open_array

SIDE = 128
SHOWN = 256
GAP = 6


@dataclass(frozen=True)
class Case:
    """What is given to the program, and what it should find."""

    given: np.ndarray
    """``(y, x, 3)`` or grey ``(y, x)``, of 8 bits."""
    truth: np.ndarray | None
    """As `given`; None where nobody knows it."""
    recipe: str
    overrides: tuple[str, ...] = ()
    companion: tuple[str, np.ndarray] | None = None
    """Field of the source's description, such as mask, and that image."""


def astronaut() -> np.ndarray:
    """A face, a helmet's rim, cloth."""
    return photographs.astronaut()[40 : 40 + SIDE, 150 : 150 + SIDE]


def denoise() -> Case:
    """White noise of 25."""
    noise = np.random.default_rng(0).normal(0, 25, (SIDE, SIDE, 3))
    return Case(as_bytes(astronaut() + noise), astronaut(), "archive-denoise")


def grain() -> Case:
    """The grain of an old photograph of coins, as it was scanned."""
    return Case(photographs.coins()[20 : 20 + SIDE, 40 : 40 + SIDE], None, "archive-denoise")


def impulse() -> Case:
    """A fifth of all values black or white."""
    rng = np.random.default_rng(0)
    hit = rng.random((SIDE, SIDE, 3)) < 0.2
    given = np.where(hit, 255 * (rng.random(hit.shape) < 0.5), astronaut())
    return Case(as_bytes(given), astronaut(), "archive-impulse")


def repair() -> Case:
    """Text over a photograph, and a mask of it."""
    mask = Image.new("L", (SIDE, SIDE))
    for row in range(4, SIDE, 22):
        ImageDraw.Draw(mask).text((3, row), "which you can tell it to", fill=255)
    missing = np.asarray(mask) > 0
    given = np.where(missing[..., None], 255, astronaut())
    overrides = ("defects.specks=none",)
    companion = ("mask", np.asarray(missing, np.uint8))
    return Case(as_bytes(given), astronaut(), "archive-repair", overrides, companion)


def enlarge() -> Case:
    """Half the resolution."""
    small = Image.fromarray(astronaut()).resize((SIDE // 2, SIDE // 2), Image.Resampling.BICUBIC)
    overrides = ("operator.kernel=bicubic", "noise.sigma=0.3")
    return Case(np.asarray(small), astronaut(), "archive-upscale", overrides)


def guided() -> Case:
    """A dim exposure, and a bright one under other light."""
    rng = np.random.default_rng(0)
    photons = rng.poisson(astronaut() / 255 * 40) / 40 * 255
    light = astronaut().mean(-1) * np.linspace(1.1, 0.6, SIDE) + rng.normal(0, 2, (SIDE, SIDE))
    return Case(
        as_bytes(photons), astronaut(), "guided-denoise", companion=("guide", as_bytes(light))
    )


def deconvolve() -> Case:
    """A blurred piece of sky, a little noise, and its PSF."""
    sky = photographs.hubble_deep_field()[64 : 64 + SIDE, 384 : 384 + SIDE]
    blurred = ndimage.gaussian_filter(sky.astype(float), (1.5, 1.5, 0))
    noise = np.random.default_rng(0).normal(0, 2, sky.shape)
    y, x = np.mgrid[-7:8, -7:8]
    psf = np.exp(-(y**2 + x**2) / (2 * 1.5**2)).astype(np.float32)
    return Case(as_bytes(blurred + noise), sky, "astro-deconvolve", companion=("psf", psf))


CASES: dict[str, Callable[[], Case]] = {
    "denoise": denoise,
    "grain": grain,
    "impulse": impulse,
    "repair": repair,
    "enlarge": enlarge,
    "guided": guided,
    "deconvolve": deconvolve,
}


def as_bytes(image: np.ndarray) -> np.ndarray:
    """Rounded and cut to 8 bits."""
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


def restored(case: Case) -> np.ndarray:
    """What the program makes of it, shaped as what was given."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "given.tif")
        grey = case.given.ndim == 2
        tifffile.imwrite(source, case.given, photometric="minisblack" if grey else "rgb")
        spec = SourceSpec(source)
        if case.companion is not None:
            field, image = case.companion
            tifffile.imwrite(Path(folder, f"{field}.tif"), image)
            spec = replace(spec, **{field: Path(folder, f"{field}.tif")})
        store = Path(folder, "out.zarr")
        recipe = load_recipe(case.recipe, case.overrides)
        restore(RestoreRequest(spec, store, recipe, case.recipe), InlinePool())
        planes = np.asarray(open_array(store, "0")[...])
        return planes.reshape(planes.shape[-2:]) if grey else planes.transpose(1, 2, 0)


def main() -> None:
    """Restore and draw every case, or those named."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or CASES:
        case = CASES[name]()
        panels = [case.given, as_bytes(restored(case))]
        if case.truth is not None:
            size = case.truth.shape[:2]
            panels[0] = np.asarray(
                Image.fromarray(case.given).resize(size, Image.Resampling.NEAREST)
            )
            decibel = [
                10 * np.log10(255**2 / np.mean((p - case.truth.astype(float)) ** 2)) for p in panels
            ]
            print(f"{name}: {decibel[0]:.2f} dB given, {decibel[1]:.2f} dB restored", flush=True)
            panels.append(case.truth)
        strip = Image.new("RGB", (len(panels) * (SHOWN + GAP) - GAP, SHOWN), "white")
        for place, panel in enumerate(panels):
            shown = Image.fromarray(panel).resize((SHOWN, SHOWN), Image.Resampling.NEAREST)
            strip.paste(shown, (place * (SHOWN + GAP), 0))
        strip.quantize(128).save(folder / f"task-{name}.png", optimize=True)


if __name__ == "__main__":
    main()
