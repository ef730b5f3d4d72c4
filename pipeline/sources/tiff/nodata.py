"""The value by which a TIFF of GDAL says that a pixel has none, in the type of the pixels."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

NODATA_TAG = 42113

# Floats are compared as GDAL compares them, within two steps of their type: the text is rounded.
_STEPS = 2
# Of the largest numbers of a type, which stand for "no data" everywhere, programs write seven digits.
_LARGEST = 0.999
_SEVEN_DIGITS = 1e-6


def parse_nodata(text: Any, dtype: np.dtype[Any]) -> float | int | None:
    """The value that a text states.

    Parameters
    ----------
    text
        What the tag holds; most often text of a number, with blanks and zero bytes around it.
    dtype
        Type of the pixels, whole numbers or floats.

    Returns
    -------
    value
        None where the text is no number, or one that no pixel of this type can have: -9999 in bytes,
        1.5 in whole numbers. It is never wrapped into the type. None for NaN and infinities, too, which
        are invalid in any case.
    """
    if not isinstance(text, str):
        return None
    number = _number(text.strip("\0 \t\r\n"))
    if number is None or not math.isfinite(number):
        return None
    if dtype.kind == "f":
        largest = float(np.finfo(dtype).max)
        if largest < abs(number) <= largest * (1 + _SEVEN_DIGITS):
            number = math.copysign(largest, number)  # rounded up as text
        return float(dtype.type(number)) if abs(number) <= largest else None
    limits = np.iinfo(dtype)
    if number != int(number) or not limits.min <= number <= limits.max:
        return None
    return int(number)


def _number(text: str) -> float | int | None:
    try:
        return int(text)  # all digits of 64 bits, which a float would round
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return None
    if math.isinf(number) and text[-1].isdigit():
        number = math.copysign(
            sys.float_info.max, number
        )  # the largest of 64 bits, rounded up as text
    return number


def is_nodata(stored: npt.NDArray[Any], nodata: float | int) -> npt.NDArray[np.bool_]:
    """Where pixels have that value, each channel by itself."""
    same: npt.NDArray[np.bool_]
    if stored.dtype.kind != "f":
        same = stored == nodata
        return same
    limits, value = np.finfo(stored.dtype), float(nodata)
    relative = _STEPS * float(limits.eps)
    if abs(value) > _LARGEST * float(limits.max):
        relative = max(relative, _SEVEN_DIGITS)
    with np.errstate(over="ignore"):
        same = np.abs(stored.astype(np.float64) - value) <= relative * abs(value)
    return same
