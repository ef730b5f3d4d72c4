"""The size of the pixels of a microscope's image, as the descriptions of OME-TIFF and ImageJ state it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from xml.etree import ElementTree

# Micrometres in the units of length that OME and ImageJ name. ImageJ writes the micro sign as an escape.
_MICROMETRES = {
    **dict.fromkeys(
        ("um", "µm", "μm", "\\u00B5m", "\\u00b5m", "micron", "microns", "micrometer"), 1.0
    ),
    **{"pm": 1e-6, "Å": 1e-4, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6},
    **dict.fromkeys(("in", "inch"), 25400.0),
}


def micrometres(
    description: str, resolution: Sequence[Sequence[int]] | None, unit: int | None
) -> list[float] | None:
    """Height and width of a pixel by the description of the first page of a file.

    Parameters
    ----------
    description
        The tag ImageDescription.
    resolution, unit
        Pixels in a unit, as ratios along x and y, and TIFF's number of the unit. ImageJ names the unit in the
        description, and the number is then that of no unit, 1.

    Returns
    -------
    size
        In micrometres. None where the description states none, another for each image, or an impossible one.
    """
    if description.startswith("ImageJ=") and resolution is not None and unit == 1:
        size = _of_imagej(description, resolution)
    elif "OME" in description[:1000]:
        size = _of_ome(description)
    else:
        return None
    return size if size and all(math.isfinite(length) and length > 0 for length in size) else None


def _of_imagej(description: str, resolution: Sequence[Sequence[int]]) -> list[float] | None:
    named = re.search(r"^unit=(.*)$", description, re.MULTILINE)
    length = _MICROMETRES.get(named[1].strip()) if named else None
    if length is None or not all(pixels > 0 for pixels, _ in resolution):
        return None
    (x, over_x), (y, over_y) = resolution
    return [length * over_y / y, length * over_x / x]


def _of_ome(description: str) -> list[float] | None:
    try:
        root = ElementTree.fromstring(description.encode("utf-8"))
    except (ElementTree.ParseError, UnicodeEncodeError):
        return None
    sizes = set()
    for pixels in root.iterfind(".//{*}Pixels"):
        try:
            sizes.add(tuple(_length_in_ome(pixels, axis) for axis in "YX"))
        except (KeyError, ValueError):
            return None
    return list(sizes.pop()) if len(sizes) == 1 else None


def _length_in_ome(pixels: ElementTree.Element, axis: str) -> float:
    unit = pixels.get(f"PhysicalSize{axis}Unit", "µm")
    return float(pixels.attrib[f"PhysicalSize{axis}"]) * _MICROMETRES[unit]
