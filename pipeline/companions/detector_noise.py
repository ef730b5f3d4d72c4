"""Gain and read noise of a detector from the cards of its images, in the unit of their values."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from glassplate.pipeline.companions.flag_tables import Header

# Cards of the gain, electrons for each unit of the converter, of the detector or of each amplifier. EGAIN
# comes first: GAIN of the same file is then the setting of a CMOS camera, which is no such number.
_GAINS = (
    ("EGAIN",),
    ("ATODGNA", "ATODGNB", "ATODGNC", "ATODGND"),
    ("GAINA", "GAINB"),
    ("ESO DET OUT1 CONAD",),
    ("GAIN",),
    ("CCDGAIN",),
)
# Cards of the read noise in electrons.
_READ_NOISES = (
    ("READNSEA", "READNSEB", "READNSEC", "READNSED"),
    ("RDNOISEA", "RDNOISEB"),
    ("ESO DET OUT1 RON",),
    ("RDNOISE",),
    ("READNOIS",),
    ("READNOI",),
    ("RONOISE",),
    ("RON",),
)
# Cards of the exposure time in seconds.
_EXPOSURES = ("EXPTIME", "EXPOSURE", "XPOSURE")
# Words for a unit of the converter, and for electrons, without what follows "per".
_ADU = {"adu", "adus", "dn", "du", "count", "counts", "ct", "cts"}
_ELECTRONS = {"electron", "electrons", "e", "e-", "photoelectrons"}
# Endings of a rate.
_PER_SECOND = re.compile(r"(?:/\s*(?:s|secs?|seconds?)|[\s.*]+s(?:ec)?(?:\*\*|\^)?\(?-1\)?)$")


@dataclass(frozen=True)
class DetectorNoise:
    """Noise of a detector, as the cards of its image state it."""

    gain: float
    """Electrons for each unit of the values, not of the converter: for a rate, times the exposure time."""
    read_noise: float
    """Standard deviation in electrons."""
    cards: str
    """The cards that state it, for messages."""


def detector_noise(header: Header, unit: str | None) -> DetectorNoise | None:
    """Gain and read noise of an image; None where its cards do not state both, or its unit is no count.

    Parameters
    ----------
    header
        Its cards, then those of the primary header.
    unit
        Its unit. Without one, values are those of the converter.
    """
    counted = _counted(unit)
    if counted is None:
        return None
    electrons, is_rate = counted
    read = _first_stated(header, _READ_NOISES, least=0.0)
    gain = ("", 1.0) if electrons else _first_stated(header, _GAINS, least=1e-6)
    seconds = next(_numbers(header, _EXPOSURES, 0.0), None) if is_rate else 1.0
    if read is None or gain is None or seconds is None or seconds <= 0:
        return None
    cards = [card for card in (gain[0], read[0]) if card]
    if is_rate:
        cards.append(f"EXPTIME {seconds:g}")
    return DetectorNoise(gain[1] * seconds, read[1], ", ".join(cards))


def _counted(unit: str | None) -> tuple[bool, bool] | None:
    """Whether a unit counts electrons, and whether it is a rate; None for any other unit."""
    text = (unit or "adu").strip().lower().strip("()[]")
    amount, rates = _PER_SECOND.subn("", text)
    amount = amount.strip()
    if text == "cps":
        return False, True
    if amount in _ELECTRONS:
        return True, bool(rates)
    return (False, bool(rates)) if amount in _ADU else None


def _first_stated(
    header: Header, alternatives: tuple[tuple[str, ...], ...], *, least: float
) -> tuple[str, float] | None:
    """The first of some cards that are stated, as text, and the mean of its values."""
    for keywords in alternatives:
        values = list(_numbers(header, keywords, least))
        if values:
            mean = math.fsum(values) / len(values)
            return f"{keywords[0]} {mean:.4g}", mean
    return None


def _numbers(header: Header, keywords: tuple[str, ...], least: float) -> Iterator[float]:
    for keyword in keywords:
        value = _number(header, keyword)
        if value is not None and value >= least:
            yield value


def _number(header: Header, keyword: str) -> float | None:
    """A finite number, which some programs write in quotes; None where there is none."""
    try:
        value = float(header[keyword])
    except (KeyError, TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None
