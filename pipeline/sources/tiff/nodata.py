"""The "no data" value of a TIFF of GDAL, in the type of the pixels."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

NODATA_TAG = 42113

# Floats are compared within two steps of their type, as GDAL does, since the text is rounded.
_STEPS = 2
# Close to the largest number of a type, a common "no data" value, programs write only seven digits.
_LARGEST = 0.999
_SEVEN_DIGITS = 1e-6


def parse_nodata(text: Any, dtype: np.dtype[Any]) -> float | int | None:
    """The value that a tag states, in the type of the pixels.

    Parameters
    ----------
    text
        Content of the tag: usually a number as text, surrounded by blanks and zero bytes.
    dtype
        Type of the pixels, whole numbers or floats.

    Returns
    -------
    value
        None where the text is not a number, or no pixel of this type can have it: -9999 in bytes, 1.5 in
        whole numbers. It is never wrapped into the type. NaN and infinities give None, too, as such pixels
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
        return int(text)  # a float would round integers of 64 bits
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
    """Whether each pixel has the "no data" value, channel by channel."""
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
