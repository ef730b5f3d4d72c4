"""The parts of astropy's NDData, made from a result: data, mask, uncertainty, unit, WCS and metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from astropy import units
from astropy.io.fits import Header
from astropy.nddata import StdDevUncertainty
from astropy.wcs import WCS

from glassplate.pipeline.export.fits.header import restored_cards
from glassplate.pipeline.export.fits.tables import without_tables
from glassplate.pipeline.export.level import open_level
from glassplate.pipeline.reader_warnings import collected_warnings
from glassplate.pipeline.sources.fits.text import parsed
from glassplate.pipeline.sources.source import choose_working_dtype
from glassplate.pipeline.sources.tiff.nodata import NODATA_TAG, is_nodata, parse_nodata

if TYPE_CHECKING:
    from glassplate.pipeline.result.opened import Result


def parts_of(result: Result, level: int) -> dict[str, Any]:
    """Arguments of NDData for a level of a result; see `Result.nddata`."""
    data = result.numpy("image", level)
    header = header_of(result, level)
    unit = unit_of(result.unit)
    uncertainty = None
    if level == 0 and "uncertainty" in result.arrays:
        uncertainty = StdDevUncertainty(result.numpy("uncertainty"), unit=unit)
    return {
        "data": data,
        "mask": _mask(result, data, level),
        "uncertainty": uncertainty,
        "unit": unit,
        "wcs": None if header is None else wcs_of(header),
        "meta": result.attributes if header is None else header,
    }


def _mask(result: Result, data: npt.NDArray[Any], level: int) -> npt.NDArray[np.bool_]:
    """Where a pixel is invalid: NaN, "no data", transparent, or at level 0 in a tile that is not restored."""
    invalid: npt.NDArray[np.bool_]
    if data.dtype.kind == "f":
        invalid = ~np.isfinite(data)
    else:
        tags = result.attributes.get("tiff", {}).get("tags", ())
        nodata = parse_nodata({tag[0]: tag[4] for tag in tags}.get(NODATA_TAG), data.dtype)
        invalid = np.zeros(data.shape, bool) if nodata is None else is_nodata(data, nodata)
    if level == 0:
        invalid |= result.numpy("footprint") == 0
    if result.manifest.plan.layout.alpha:
        invalid |= data[-1:] == 0
        invalid[-1] = False  # alpha is copied as it is
    return invalid


def unit_of(text: str | None) -> units.UnitBase:
    """The unit that a text names; one that astropy does not know keeps its name."""
    if not (text or "").strip():
        return units.dimensionless_unscaled
    with collected_warnings("unit"):
        return units.Unit(text, parse_strict="silent")


def header_of(result: Result, level: int) -> Header | None:
    """FITS header of a level; None if the source was no FITS file."""
    if "fits" not in result.attributes:
        return None
    image = open_level(result.path, level)
    bitpix = -32 if choose_working_dtype(image.dtype) == np.float32 else -64
    stored = parsed(image.attributes["fits"].get("header", ""))
    tables = without_tables(stored, "they are other extensions of the file")
    return Header.fromstring("".join(restored_cards(image, bitpix, tables)))


def wcs_of(header: Header) -> WCS | None:
    """The celestial WCS of a header; None if it has none, or one that astropy does not understand."""
    with collected_warnings("WCS"):
        # wcslib raises many kinds of error
        try:
            wcs = WCS(header)
            return wcs if wcs.has_celestial else None
        except Exception:
            return None
