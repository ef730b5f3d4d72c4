"""A made sky with cosmic rays."""

import numpy as np

from glassplate.models.noise.model import NoiseModel
from glassplate.pipeline.defects.cosmic_rays import DefectSettings, Detector

WHITE = NoiseModel(25.0, 0.0, 0.0, False, "given")


def detector(**settings):
    return Detector(DefectSettings(**settings), WHITE, 0.0, 100.0)


def sky(shape=(120, 160), stars=30, seed=0):
    """Stars of 4 pixels' width, on a sky of 100 with noise of 5."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = np.full(shape, 100.0)
    for _ in range(stars):
        row, col, peak = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.uniform(50, 3000)
        image += peak * np.exp(-((y - row) ** 2 + (x - col) ** 2) / (2 * 1.7**2))
    return (image + rng.normal(0, 5, shape)).astype("f4")


def rays(image, count=12, seed=1):
    """The image with short, sharp tracks; and where they are."""
    rng = np.random.default_rng(seed)
    hit, where = image.copy(), np.zeros(image.shape, bool)
    for _ in range(count):
        row, col = rng.integers(6, image.shape[0] - 12), rng.integers(6, image.shape[1] - 12)
        for step in range(rng.integers(1, 6)):
            where[row + step, col + step // 2] = True
    hit[where] += rng.uniform(400, 2000, where.sum()).astype("f4")
    return hit, where
