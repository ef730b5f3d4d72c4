"""Whether the first row of a result is the lowest one of what it shows, or the highest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FROM_BOTTOM_AND_TOP = "FITS counts them from the bottom, other formats from the top"

# The card by which Siril, N.I.N.A. and other programs for amateurs say that the first row is the highest.
_CARD, _TOP_DOWN = "ROWORDER", "TOP-DOWN"


def first_row_is_lowest(attributes: Mapping[str, Any]) -> bool:
    """Whether a person sees the first row of a result at the bottom.

    This is so for FITS and ASDF, unless the card ROWORDER says TOP-DOWN. XISF has a FITS header, but its
    first row is the highest, as in TIFF, PNG and JPEG.

    Parameters
    ----------
    attributes
        Of the result's group: ``fits``, ``xisf``, ``tiff``, ``raster``. The order of a result is that of its
        input.
    """
    if "fits" not in attributes or "xisf" in attributes:
        return False
    cards = attributes["fits"].get("cards", ())
    orders = [value for keyword, value, *_ in cards if keyword == _CARD]
    return _TOP_DOWN not in (str(order).strip().upper() for order in orders)
