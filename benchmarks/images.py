"""Cut the images of benchmarks/speed.py, which reads nothing but numpy archives.

    python benchmarks/images.py FOLDER [--side 128] [--data ../shared/data]

For each of the nine photographs of Set9 and one sky image (the Hubble Deep Field that scikit-image ships,
rows and columns 300 to 556) FOLDER/NAME-SIDE.npz holds a square from the middle of the crop of the quality
benchmark, ``clean`` and ``noisy`` (sigma 25/255 from default_rng(0), clipped), both (c, y, x) float32; the
other noisy squares of the same image, ``donors`` (n, c, 128, 128), for warm starts; and, as JSON, what the
pipeline makes of the noisy image: ``noise`` and ``transform``, and ``range``, the scaling of the recipe
`reference`.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from skimage import data, io
from studies import SIGMA

from glassplate.models.noise.estimate import estimate_noise
from glassplate.pipeline.recipes.recipe import Recipe, load_recipe
from glassplate.pipeline.scaling import make_transform

SKY = "hubble"
DONOR = 128
"""Side of the squares that warm starts come from, pixels."""


def photographs(folder: Path) -> dict[str, np.ndarray]:
    """Whole images by name, (c, y, x) float32 in [0, 1]."""
    paths = sorted((folder / "std" / "set9").glob("*.png"))
    images = {path.stem: io.imread(path) for path in paths}
    images[SKY] = data.hubble_deep_field()
    return {name: image.transpose(2, 0, 1) / np.float32(255) for name, image in images.items()}


def corner(name: str, shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """First row and column of the square."""
    if name == SKY:
        return 428 - side // 2, 428 - side // 2
    # An image without room for donors around its middle gives its corner.
    return tuple(256 - side // 2 if n >= 384 else 0 for n in shape[1:])


def cut(name: str, image: np.ndarray, side: int) -> dict[str, np.ndarray]:
    """Arrays of one archive."""
    noise = np.random.default_rng(0).normal(0, SIGMA, image.shape).astype("f4")
    noisy = np.clip(image + noise, 0, 1)
    y, x = corner(name, image.shape, side)
    around = [
        noisy[:, r : r + DONOR, c : c + DONOR]
        for r in range(y % DONOR, image.shape[1] - DONOR + 1, DONOR)
        for c in range(x % DONOR, image.shape[2] - DONOR + 1, DONOR)
        if not (y <= r < y + side and x <= c < x + side)
    ]
    here = noisy[:, y : y + side, x : x + side]
    samples = [(here.astype("f8"), np.ones(here.shape, bool))]
    recipe, reference = load_recipe("archive-denoise"), load_recipe("reference")
    noise_model = estimate_noise(samples, recipe.noise)

    def transform(which: Recipe) -> str:
        made = make_transform(samples, which.scaling, noise_model, np.dtype("f4"))
        return json.dumps(asdict(made))

    return {
        "clean": image[:, y : y + side, x : x + side],
        "noisy": here,
        "donors": np.array(around, np.float32),
        "noise": np.array(json.dumps(asdict(noise_model))),
        "transform": np.array(transform(recipe)),
        "range": np.array(transform(reference)),
    }


def main() -> None:
    """Write the archives."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=128, help="pixels")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, image in photographs(options.data).items():
        arrays = cut(name, image, options.side)
        np.savez(options.folder / f"{name}-{options.side}.npz", **arrays)
        print(f"{name}: {len(arrays['donors'])} donors")


if __name__ == "__main__":
    main()
