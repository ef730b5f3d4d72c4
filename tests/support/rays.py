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


def gaussian(distance2, width):
    """Light of a star of peak 1 at squared distances, for a width (FWHM) in pixels."""
    return np.exp(-4 * np.log(2) * distance2 / width**2)


def moffat(distance2, width, beta=2.5):
    """The same with the wings that an atmosphere gives."""
    core = (width / 2) ** 2 / (2 ** (1 / beta) - 1)
    return (1 + distance2 / core) ** -beta


def stars_along_borders(profile, width, offsets, seed=0, shape=(96, 128), top=6e4):
    """Light of seven stars along each border, ``(h, w)``.

    Their centres lie between the two `offsets` inside of the first row; negative ones are beyond the border.
    """
    rng = np.random.default_rng(seed)
    height, width_of_image = shape
    y, x = np.mgrid[:height, :width_of_image]
    light = np.zeros(shape)
    for side in range(4):
        length = width_of_image if side < 2 else height
        for place in (np.arange(7) + 0.5) * length / 7:
            inside, along = rng.uniform(*offsets), place + rng.uniform(-2, 2)
            row, col = [
                (inside, along),
                (height - 1 - inside, along),
                (along, inside),
                (along, width_of_image - 1 - inside),
            ][side]
            peak = np.exp(rng.uniform(np.log(60), np.log(top)))
            light += peak * profile((y - row) ** 2 + (x - col) ** 2, width)
    return light


def measured(light, seed=0):
    """A sky of 100 with noise of 5, and light."""
    return (100 + light + np.random.default_rng(seed).normal(0, 5, light.shape)).astype("f4")
