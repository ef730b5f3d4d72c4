"""Three simulated exposures with cosmic rays restored as one: `python examples/exposures.py PICTURE.png`.

The scene is a piece of the Hubble deep field that scikit-image carries, in grey; noise and rays are made.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits
from PIL import Image
from skimage import data as sample_images

from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.recipes.recipe import load_recipe
from glassplate.pipeline.run.restore import RestoreRequest, restore
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.store.ome_zarr import open_array

SIGMA = 20.0
RAYS = 12
CROP = (slice(64, 192), slice(384, 512))
GAP = 6


def exposure(scene: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The scene with white noise and short bright streaks, ``(y, x)`` float32."""
    image = scene + rng.normal(0, SIGMA, scene.shape)
    for y, x in rng.integers(5, 120, (RAYS, 2)):
        slope = rng.integers(-1, 2)
        for step in range(rng.integers(2, 8)):
            image[min(y + slope * step, 127), min(x + step, 127)] += 150
    return image.astype("f4")


def main() -> None:
    """Make the exposures, restore them, print the PSNR of each, draw them side by side."""
    scene = sample_images.hubble_deep_field()[CROP].mean(-1)
    rng = np.random.default_rng(0)
    images = [exposure(scene, rng) for _ in range(3)]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{name}.fits") for name in "abc"]
        for path, image in zip(paths, images, strict=True):
            fits.writeto(path, image)
        recipe = load_recipe("astro-denoise")
        spec = SourceSpec(paths[0], exposures=tuple(paths[1:]))
        store = Path(folder, "abc.zarr")
        restore(RestoreRequest(spec, store, recipe, "astro-denoise"), InlinePool())
        together = np.asarray(open_array(store, "0")[...])
    panels = [images[0], np.mean(images, axis=0), together, scene]
    for name, panel in zip(("one", "mean of three", "together"), panels, strict=False):
        print(f"{name}: {10 * np.log10(255**2 / np.mean((panel - scene) ** 2)):.2f} dB")
    strip = np.full((2 * 128, 4 * 256 + 3 * GAP), 255, "u1")
    for place, panel in enumerate(panels):
        grey = np.clip(panel * 1.2, 0, 255).astype("u1").repeat(2, 0).repeat(2, 1)
        left = place * (256 + GAP)
        strip[:, left : left + 256] = grey
    Image.fromarray(strip).save(sys.argv[1], optimize=True)


if __name__ == "__main__":
    main()
