"""Raw images under a colour filter array: neighbouring pixels are of other colours, which no fit may mix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.scaling import Sample
from glassplate.pipeline.sources.source import Source

# Cards that name the pattern: of most cameras and programs, and of SBIG and MaxIm.
KEYWORDS = ("BAYERPAT", "COLORTYP")
# Pixels after which a pattern repeats along an axis.
PERIOD, PERIOD_XTRANS = 2, 6
# Times that neighbours differ more than pixels of the same colour, from which an image is such a mosaic. Of
# white noise both differ as much, of anything smooth neighbours differ less; of the raw image on which this
# was measured 17 times as much. An image whose colours all look alike is restored like a grey one.
MOSAIC_FROM = 1.2


def refuse_colour_mosaic(
    source: Source, cards: Mapping[str, object], samples: Sequence[Sample]
) -> None:
    """Refuse a raw image under a colour filter array, which its header names and its pixels show.

    An image that was demosaiced, or binned, often has the card still.

    Parameters
    ----------
    source
        The image.
    cards
        Cards of its header, by keyword; none for other formats.
    samples
        Windows of it.

    Raises
    ------
    UsageError
        If the image is such a mosaic.
    """
    named = [(key, str(cards[key]).strip()) for key in KEYWORDS if cards.get(key)]
    coloured = source.colours > 1 or (source.joint and source.shape[0] > 1)
    if not named or coloured:
        return
    key, pattern = named[0]
    # X-Trans is named, or written out as 36 letters
    xtrans = "TRANS" in pattern.upper() or len(pattern) == PERIOD_XTRANS**2
    if shows_mosaic(samples, PERIOD_XTRANS if xtrans else PERIOD):
        raise UsageError(
            f"{source.spec.path}: its header says {key} {pattern}, and its pixels show that colour filter "
            "array: neighbours have other colours, which a restoration would mix; demosaic it first, or copy "
            "it with --recipe identity"
        )


def shows_mosaic(samples: Sequence[Sample], period: int) -> bool:
    """Whether neighbours differ more than pixels that are a period apart, along an axis."""
    for axis in (-1, -2):
        near, far = (_typical_difference(samples, axis, distance) for distance in (1, period))
        if near > MOSAIC_FROM * far:
            return True
    return False


def _typical_difference(samples: Sequence[Sample], axis: int, distance: int) -> float:
    """Median absolute difference of valid pixels at a distance along an axis; 0 where there are none."""
    found = []
    for values, valid in samples:
        n = values.shape[axis] - distance
        if n < 1:
            continue
        behind = range(distance, n + distance)
        both = valid.take(range(n), axis) & valid.take(behind, axis)
        found.append(np.abs(values.take(range(n), axis) - values.take(behind, axis))[both])
    differences = np.concatenate(found) if found else np.empty(0)
    return float(np.median(differences)) if differences.size else 0.0
