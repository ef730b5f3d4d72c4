"""Estimated over true standard deviation of the noise: ten kinds of made noise on ten photographs, and PolyU.

Beside these, noise that differs between the channels, and patterns that repeat, with noise and without.

    python benchmarks/noise.py ../shared/data/std -o RESULT.json

The photographs have noise of one to two levels of their own, which counts as an error here. The truth of
PolyU is the scatter between an exposure and the mean of many, and holds all structure that moved.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage
from speed import machine, write

from glassplate.models.noise.description import describe_noise
from glassplate.models.noise.estimate import estimate_noise
from glassplate.models.noise.model import NoiseSettings

Planes: TypeAlias = npt.NDArray[np.float64]

# The rules were chosen on the first; the second are the others there, and two of Set9.
CHOSEN_ON = ("kodak24/kodim02", "kodak24/kodim05", "kodak24/kodim08", "kodak24/kodim11")
REPORTED_ON = (
    *(f"kodak24/kodim{number:02}" for number in (1, 3, 4, 6, 7, 9, 10, 12)),
    "set9/baboon",
    "set9/peppers",
)
# Pixels of a photograph that are used, from its middle; of PolyU, from the upper left corner.
SIDE, POLYU_SIDE = 256, 512


def white(sigma: float) -> Callable[[Planes, np.random.Generator], Planes]:
    """Noise of independent pixels."""
    return lambda x, random: x + sigma * random.standard_normal(x.shape)


def grain(radius: float, sigma: float) -> Callable[[Planes, np.random.Generator], Planes]:
    """Noise smoothed by a Gaussian of `radius` pixels."""

    def noisy(x: Planes, random: np.random.Generator) -> Planes:
        noise = ndimage.gaussian_filter(
            random.standard_normal(x.shape), (0, radius, radius), mode="wrap"
        )
        return np.asarray(x + noise * (sigma / noise.std()))

    return noisy


def photons(x: Planes, random: np.random.Generator) -> Planes:
    """Photon noise with a standard deviation of 8 at white."""
    gain = 255 / 8**2
    return np.asarray(random.poisson(x * gain) / gain)


def jpeg(x: Planes, random: np.random.Generator) -> Planes:
    """White noise of 8 levels in a JPEG of quality 90 whose colours have half the resolution."""
    picture = np.rint(white(8)(x, random)).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=90)
    return np.asarray(Image.open(file)).astype(np.float64).transpose(2, 0, 1)


KINDS: Mapping[str, Callable[[Planes, np.random.Generator], Planes]] = {
    "white, 2": white(2),
    "white, 5": white(5),
    "white, 25": white(25),
    "photons, 8 at white": photons,
    "grain 0.5, 4": grain(0.5, 4),
    "grain 0.8, 4": grain(0.8, 4),
    "grain 0.8, 12": grain(0.8, 12),
    "grain 1.2, 4": grain(1.2, 4),
    "grain 2, 6": grain(2, 6),
    "white, 8, in a JPEG": jpeg,
}


# Standard deviations of noise that differs between the channels.
BY_CHANNEL = (2.5, 5.0, 10.0)


def weave(side: int) -> Planes:
    """Threads with periods of 6 and 7 pixels, ``(1, h, w)``."""
    y, x = np.mgrid[:side, :side].astype(np.float64)
    return np.asarray(128 + 30 * np.sin(2 * np.pi * x / 6) * np.sin(2 * np.pi * y / 7))[None]


def bricks(side: int) -> Planes:
    """Rough bricks of 40x12 pixels in bond, of which two rows repeat, ``(1, h, w)``."""
    rough = np.random.default_rng(5).standard_normal((24, 40))
    cell = 120 + 40 * ndimage.gaussian_filter(rough, 0.7, mode="wrap")
    y, x = np.mgrid[:24, :40]
    cell[(y % 12 < 2) | ((x + 20 * (y // 12)) % 40 < 2)] = 200
    return np.tile(cell, (side // 24 + 1, side // 40 + 1))[None, :side, :side]


def halftone(side: int) -> Planes:
    """Dots of a screen of 45 degrees, 5 pixels apart, ``(1, h, w)``."""
    y, x = np.mgrid[:side, :side] * (2 * np.pi / 5 * np.sqrt(0.5))
    dots = np.cos(x + y) + np.cos(x - y)
    return np.asarray(255 / (1 + np.exp(-4 * (dots + 0.3))))[None]


PATTERNS: Mapping[str, Callable[[int], Planes]] = {
    "weave": weave,
    "bricks": bricks,
    "halftone": halftone,
}


def read(path: Path) -> Planes:
    """A photograph, ``(c, h, w)``, 0 to 255."""
    return np.asarray(Image.open(path).convert("RGB")).astype(np.float64).transpose(2, 0, 1)


def measured(noisy: Planes, clean: Planes) -> dict[str, Any]:
    """Estimated over true standard deviation of each channel, and what is said about the noise."""
    samples = [(noisy, np.ones(noisy.shape, bool))]
    model = estimate_noise(samples, NoiseSettings())
    estimated = np.sqrt(model.variance(clean).mean((1, 2)))
    true = (noisy - clean).std((1, 2))
    found = describe_noise(samples, model, "levels")
    return {
        "ratio": [round(float(ratio), 3) for ratio in estimated / true],
        "true": [round(float(sigma), 2) for sigma in true],
        "words": found.words,
    }


def summary(results: list[dict[str, Any]]) -> dict[str, float]:
    """Least, median and largest ratio of all channels, and how many of them are near 1."""
    ratios = np.array([ratio for result in results for ratio in result["ratio"]])
    return {
        "least": float(ratios.min()),
        "median": round(float(np.median(ratios)), 3),
        "most": float(ratios.max()),
        "share_within_0.8_and_1.25": round(float(((ratios >= 0.8) & (ratios <= 1.25)).mean()), 3),
    }


def made_noise(folder: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """Each kind of noise on each photograph."""
    found: dict[str, Any] = {}
    for kind, add in KINDS.items():
        results = []
        for number, name in enumerate(names):
            image = read(folder / f"{name}.png")
            top, left = ((length - SIDE) // 2 for length in image.shape[1:])
            clean = image[:, top : top + SIDE, left : left + SIDE]
            noisy = add(clean, np.random.default_rng(number)).clip(0, 255)
            results.append({"image": name, **measured(noisy, clean)})
        found[kind] = {**summary(results), "images": results}
        print(kind, summary(results), flush=True)
    return found


def by_channel(folder: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """White noise that differs between the channels, of which the description states each."""
    results = []
    sigmas = np.array(BY_CHANNEL)[:, None, None]
    for number, name in enumerate(names):
        clean = read(folder / f"{name}.png")[:, :SIDE, :SIDE]
        noise = sigmas * np.random.default_rng(number).standard_normal(clean.shape)
        samples = [(clean + noise, np.ones(clean.shape, bool))]
        found = describe_noise(samples, estimate_noise(samples, NoiseSettings()), "levels")
        ratio = [round(float(s / t), 3) for s, t in zip(found.channels, BY_CHANNEL, strict=True)]
        results.append({"image": name, "ratio": ratio, "words": found.words})
    print("by channel", summary(results), flush=True)
    return {**summary(results), "images": results}


def patterns() -> dict[str, Any]:
    """Patterns that repeat: the standard deviation found without noise, and with white noise of 4 levels."""
    found: dict[str, Any] = {}
    for name, make in PATTERNS.items():
        clean = make(SIDE)
        noise = 4 * np.random.default_rng(0).standard_normal(clean.shape)
        images = {"without": clean, "with_4": clean + noise}
        found[name] = {
            key: round(
                float(estimate_noise([(image, np.ones(image.shape, bool))], NoiseSettings()).floor)
                ** 0.5,
                2,
            )
            for key, image in images.items()
        }
    print("patterns", found, flush=True)
    return found


def polyu(folder: Path) -> dict[str, Any]:
    """Real exposures and their means."""
    results = []
    for path in sorted((folder / "polyu").glob("*_real*")):
        noisy, clean = (
            read(file)[:, :POLYU_SIDE, :POLYU_SIDE]
            for file in (path, path.with_name(path.name.replace("_real", "_mean")))
        )
        results.append({"image": path.stem, **measured(noisy, clean)})
    print("PolyU", summary(results), flush=True)
    return {**summary(results), "images": results}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="with kodak24, set9 and polyu")
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    given.threads, given.device = 1, "cpu"  # what `machine` states; nothing is fitted here
    found = {
        "conditions": machine(given, "noise"),
        "reported": made_noise(given.folder, REPORTED_ON),
        "chosen_on": made_noise(given.folder, CHOSEN_ON),
        "by_channel": by_channel(given.folder, REPORTED_ON),
        "patterns": patterns(),
        "polyu": polyu(given.folder),
    }
    write(given.output, found)


if __name__ == "__main__":
    main()
