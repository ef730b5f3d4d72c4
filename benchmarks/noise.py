"""Estimated over true standard deviation of the noise: ten kinds of made noise on ten photographs, and PolyU.

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
        "polyu": polyu(given.folder),
    }
    write(given.output, found)


if __name__ == "__main__":
    main()
