"""Further extensions of an exported FITS file: what the result holds beside the restored image."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import zarr

from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.export.fits.cards import card
from glassplate.pipeline.export.fits.hdu import image_cards
from glassplate.pipeline.export.fits.plane_names import PlaneName
from glassplate.pipeline.export.fits.wcs import header_changes
from glassplate.pipeline.export.level import ExportedImage
from glassplate.pipeline.sources.fits.text import parsed
from glassplate.pipeline.sources.source import choose_working_dtype

# Cards of a linear WCS, of SIP and of TPV, which hold for each plane on the same grid.
_WCS = re.compile(
    r"WCSAXES[A-Z]?|WCSNAME[A-Z]?|(?:CTYPE|CRVAL|CRPIX|CDELT|CUNIT|CROTA)\d[A-Z]?|(?:CD|PC|PV)\d_\d+[A-Z]?"
    r"|LONPOLE[A-Z]?|LATPOLE[A-Z]?|RADESYS[A-Z]?|RADECSYS|EQUINOX[A-Z]?|EPOCH|(?:A|B|AP|BP)_(?:ORDER|\d_\d)"
)


@dataclass(frozen=True)
class Plane:
    """An array of a result as a further extension."""

    name: PlaneName
    of: ExportedImage
    """The restored image that it goes with."""
    image: ExportedImage
    """Its pixels."""


def open_planes(store: Path, image: ExportedImage, names: Sequence[PlaneName]) -> tuple[Plane, ...]:
    """Open arrays of a result that are wanted as further extensions.

    Raises
    ------
    UsageError
        If the result has no such array, or a coarse level is exported.
    """
    if names and image.level:
        raise UsageError(f"--add {names[0]}: goes with level 0 only; leave out --level")
    group = zarr.open_group(store, mode="r")
    planes = []
    for name in dict.fromkeys(names):
        if name not in group:
            held = ", ".join(one for one in PlaneName if one in group)
            raise UsageError(f"--add {name}: {store} holds no such array; it holds {held}")
        planes.append(Plane(name, image, replace(image, array=group[name], removed=None)))
    return tuple(planes)


def plane_versions(planes: Sequence[Plane]) -> list[int]:
    """EXTVER of each plane, which no other one of its name has.

    It is the EXTVER of the restored image, or the number of its HDU where it has none, or shares it with
    another image: chips may differ by EXTNAME alone.
    """
    versions: list[int] = []
    taken: set[tuple[str, int]] = set()
    for plane in planes:
        own = parsed(plane.of.attributes.get("fits", {}).get("header", "")).get("EXTVER")
        wished = [own] if isinstance(own, int) and own > 0 else []
        wished += [max(plane.of.hdu, 1), *range(1, len(planes) + 1)]
        version = next(one for one in wished if (plane.name, one) not in taken)
        taken.add((plane.name, version))
        versions.append(version)
    return versions


def plane_cards(plane: Plane, version: int) -> list[str]:
    """Make the header of a plane: its structure, its unit, and the WCS of its grid."""
    found = plane.of.attributes.get("fits", {})
    header = parsed(found.get("header", ""))
    # the residual is on the grid of the input
    scale = 1.0 if plane.name is PlaneName.RESIDUAL else plane.of.factor
    changes = header_changes(header, scale)
    values = {key: header[key] for key in header if _WCS.fullmatch(key)}
    values |= {key: changes.values[key] for key in values if key in changes.values}
    values |= {key: value for key, value in changes.added.items() if _WCS.fullmatch(key)}
    planes, height, width = plane.image.shape
    axes = [width, height, *([planes] if plane.image.ndim == 3 else [])]
    double = choose_working_dtype(plane.image.dtype) == np.float64
    cards = image_cards(-64 if double else -32, axes, plane.name.upper(), version)
    unit = plane.of.run.get("unit")
    if unit and plane.name in (PlaneName.RESIDUAL, PlaneName.UNCERTAINTY):
        cards.append(card("BUNIT", unit))
    cards += [
        card(key, value, header.comments[key] if key in header else "")
        for key, value in values.items()
    ]
    label = f"of HDU {plane.of.hdu} {found.get('name', '')}".strip()
    return [*cards, card("COMMENT", label), card("COMMENT", _MEANINGS[plane.name])]


_MEANINGS = {
    PlaneName.RESIDUAL: "input minus result, on the grid of the input; NaN where it is invalid",
    PlaneName.UNCERTAINTY: "standard deviation of the error of the result; NaN where unknown",
    PlaneName.FOOTPRINT: "share of the weight that comes from restored tiles, 0 to 1",
    PlaneName.FILLED: "1 where the pixel was filled, else 0",
}
