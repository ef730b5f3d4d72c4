"""A simulated sky, small enough to be restored in a moment."""

import numpy as np
from astropy.io import fits


def write_sky(path, *, shape=(40, 56), seed=0):
    """A flat background with two stars, noise of 5 units and a hole; float32 FITS."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = 100 + np.random.default_rng(seed).normal(0, 5, shape)
    for cy, cx in ((10, 12), (30, 40)):
        image += 300 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 6)
    image[3:5, 7:9] = np.nan
    header = fits.Header({"BUNIT": "adu", "OBJECT": "made"})
    fits.writeto(path, image.astype("f4"), header)
    return path
