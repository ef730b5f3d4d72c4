"""Files such as observatories make: images with their masks and their noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

SHAPE = (48, 64)
# Standard deviation of the noise of `sky`.
SIGMA = 3.0


def sky(sigma: float = SIGMA, level: float = 100.0, seed: int = 0) -> npt.NDArray[np.float32]:
    """White noise on a level, ``SHAPE``."""
    noise = np.random.default_rng(seed).normal(0, sigma, SHAPE)
    return (level + noise).astype(np.float32)


def flagged(numbers: Mapping[tuple[int, int], int], dtype: str = "i2") -> npt.NDArray[Any]:
    """A mask of ``SHAPE`` with a number at each of some pixels."""
    mask = np.zeros(SHAPE, dtype)
    for place, number in numbers.items():
        mask[place] = number
    return mask


def write(
    path: Path,
    images: Sequence[tuple[str, npt.NDArray[Any], Mapping[str, Any]]],
    **primary: object,
) -> Path:
    """A FITS file of an empty primary HDU with some cards, and images with their EXTNAME and cards."""
    first = fits.PrimaryHDU()
    first.header.update(primary)
    hdus = [first]
    for name, values, cards in images:
        hdu = fits.ImageHDU(values, name=name)
        hdu.header.update(cards)
        hdus.append(hdu)
    fits.HDUList(hdus).writeto(path)
    return path


HST = {"TELESCOP": "HST", "INSTRUME": "WFC3", "DETECTOR": "UVIS"}


def hst(path: Path, mask: npt.NDArray[Any], err: float = SIGMA, chips: int = 1) -> Path:
    """An HST exposure of chips, each with its own ERR and DQ, which differ in their last row."""
    images = []
    for chip in range(1, chips + 1):
        dq = mask.copy()
        dq[-1, chip] = 4
        version = {"EXTVER": chip}
        images += [
            ("SCI", sky(seed=chip), {**version, "BUNIT": "ELECTRONS"}),
            ("ERR", np.full(SHAPE, err, "f4"), version),
            ("DQ", dq, version),
        ]
    return write(path, images, **HST)
