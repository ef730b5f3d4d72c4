"""The size of the pixels of an image, as the metadata of its file state it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales

from glassplate.pipeline.pixel_size import PixelSize
from glassplate.pipeline.reader_warnings import collected_warnings
from glassplate.pipeline.sources.fits.text import parsed

_ARCSECONDS = 3600.0  # in a degree, the unit in which astropy gives celestial scales
# Micrometres in TIFF's units of resolution: 2 is an inch, 3 a centimetre. 1 is no unit.
_RESOLUTION_UNITS = {2: 25400.0, 3: 10000.0}
# GeoTIFF 1.1: tags and keys, and the codes of the EPSG for metres and for two kinds of feet.
_PIXEL_SCALE, _GEO_KEYS = 33550, 34735
_MODEL_TYPE, _LINEAR_UNIT = 1024, 3076
_PROJECTED, _GEOGRAPHIC = 1, 2
_METRE, _FOOT, _SURVEY_FOOT = 9001, 9002, 9003
# The cards of a linear WCS. Distortion changes the scale by less than a percent or two, and its lookup tables
# are in other extensions.
_LINEAR = (
    "NAXIS", "NAXIS1", "NAXIS2", "WCSAXES", "CTYPE", "CUNIT", "CRVAL", "CRPIX", "CDELT", "CROTA", "CD", "PC",
)  # fmt: skip


def pixel_size(metadata: Mapping[str, Any]) -> PixelSize | None:
    """Size of the pixels by the metadata of a `Source`.

    Returns
    -------
    size
        In arcseconds for a celestial WCS and for a map in degrees, in micrometres for a microscope's image
        and for the resolution of a scan, in metres or feet for a projected map. None where the file states
        none, or an impossible one.
    """
    if "fits" in metadata:
        return _celestial(metadata["fits"].get("header", ""))
    found = metadata.get("tiff") or metadata.get("raster") or {}
    tags = {tag[0]: tag[4] for tag in found.get("tags", ())}
    return _on_the_map(tags) if _PIXEL_SCALE in tags else _on_the_page(found)


def _celestial(text: str) -> PixelSize | None:
    # astropy warns of odd cards, and wcslib raises many kinds of error. An image with a WCS that it refuses
    # has pixels of unknown size
    with collected_warnings("pixel size"):
        try:
            return _size_of(_linear_part(parsed(text)))
        except Exception:
            return None


def _linear_part(header: fits.Header) -> fits.Header:
    linear = fits.Header(
        [card for card in header.cards if card.keyword.rstrip("0123456789_").startswith(_LINEAR)]
    )
    for axis in ("1", "2"):
        # without the name of the distortion, whose cards are left out
        kind = str(linear.get(f"CTYPE{axis}", ""))
        if len(kind) > 8 or kind.endswith("-TPV"):
            linear[f"CTYPE{axis}"] = kind[:8].replace("-TPV", "-TAN")
    return linear


def _size_of(header: fits.Header) -> PixelSize | None:
    if not any(card.value for card in header.cards if card.keyword.startswith("CD")):
        return None  # by default a pixel is a degree
    wcs = WCS(header)
    if sorted((wcs.wcs.lng, wcs.wcs.lat)) != [0, 1]:
        return None
    x, y = (float(scale) * _ARCSECONDS for scale in proj_plane_pixel_scales(wcs.celestial))
    return PixelSize(y, x, "arcsecond")


def _on_the_page(found: Mapping[str, Any]) -> PixelSize | None:
    if "micrometres" in found:
        height, width = found["micrometres"]
        return PixelSize(height, width, "micrometer")
    micrometres = _RESOLUTION_UNITS.get(found.get("resolution_unit", 0))
    if micrometres is None or "resolution" not in found:
        return None
    (x, over_x), (y, over_y) = found["resolution"]
    if not (x > 0 and y > 0):
        return None
    return PixelSize(micrometres * over_y / y, micrometres * over_x / x, "micrometer")


def _on_the_map(tags: Mapping[int, Any]) -> PixelSize | None:
    scale, keys = tags[_PIXEL_SCALE], tags.get(_GEO_KEYS)
    if not isinstance(scale, list) or len(scale) < 2 or not isinstance(keys, list):
        return None
    # each key: number, tag that holds the value (0: the key itself), count, value
    values = {keys[at]: keys[at + 3] for at in range(4, len(keys) - 3, 4) if keys[at + 1] == 0}
    try:
        x, y = float(scale[0]), float(scale[1])
        if values.get(_MODEL_TYPE) == _GEOGRAPHIC:
            return PixelSize(y * _ARCSECONDS, x * _ARCSECONDS, "arcsecond")
        # the unit of a projection that states none is that of its EPSG code
        if values.get(_MODEL_TYPE) == _PROJECTED and values.get(_LINEAR_UNIT) == _METRE:
            return PixelSize(y, x, "meter")
        if values.get(_MODEL_TYPE) == _PROJECTED and values.get(_LINEAR_UNIT) in (
            _FOOT,
            _SURVEY_FOOT,
        ):
            return PixelSize(y, x, "foot")
    except (TypeError, ValueError):
        return None
    return None
