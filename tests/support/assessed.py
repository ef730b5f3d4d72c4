"""Results of which the restored pixels are given, to assess them."""

import json
from pathlib import Path

import numpy as np
import tifffile
import zarr
from astropy.io import fits
from runs import COPY, request

from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.run.restore import restore

TILES = {**COPY, "tiles": {"core": 64, "halo": 8}, "output": {"chunk": 64, "shard": 128}}


def made_result(folder, given, estimate, *, noise=None, task="denoise", **noise_model):
    """A result whose input is `given` and whose restored image is `estimate`; FITS for floats, else TIFF.

    `noise` is the standard deviation that its manifest records; further arguments are of the noise model.
    """
    folder = Path(folder)
    store = folder / "made.zarr"
    if given.dtype.kind == "f":
        source = folder / "given.fits"
        fits.writeto(source, given)
    else:
        source = folder / "given.tif"
        colours = given.ndim == 3
        pixels = np.moveaxis(given, 0, 2) if colours else given
        tifffile.imwrite(source, pixels, photometric="rgb" if colours else "minisblack")
    restore(request(source, store, TILES), InlinePool())
    group = zarr.open_group(store, mode="r+")
    group["0"][...] = estimate
    difference = given.astype("f8") - estimate
    group["residual"][...] = difference.astype(group["residual"].dtype)

    def change(manifest):
        manifest["recipe"]["task"] = task
        if noise is not None:
            manifest["plan"]["noise"] |= {"floor": float(noise) ** 2, "slope": 0.0, **noise_model}

    edit_manifest(store, change)
    return store


def edit_manifest(store, change):
    """Change the manifest of a result by a function of its JSON document."""
    path = Path(store) / "provenance" / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def starry_sky(seed=0, shape=(180, 220)):
    """Seven bright stars of width 4, a hole, and noise of 10."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = 100 + rng.normal(0, 10, shape)
    for row, column in ((20, 20), (20, 60), (20, 100), (25, 190), (60, 20), (100, 22), (150, 200)):
        dy, dx = rng.uniform(-0.5, 0.5, 2)
        square = (y - row - dy) ** 2 + (x - column - dx) ** 2
        image += 3000 * np.exp(-square / (2 * 1.7**2))
    image[80:90, 130:140] = np.nan
    return image.astype("f4")
