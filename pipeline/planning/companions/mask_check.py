"""Notice a mask that is read in the wrong sense: by flags that are codes, or with good and bad exchanged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.companions.same_grid import channels_of
from glassplate.pipeline.defects.infrared import MOST_SPREAD, InfraredMask
from glassplate.pipeline.open_source import SourceFiles
from glassplate.pipeline.sources.flags import Flags
from glassplate.pipeline.sources.guarded_reading import OPEN_S, answered_within
from glassplate.pipeline.sources.sample_windows import sample_windows
from glassplate.pipeline.sources.source import Source

# Share of the valid pixels of an image from which on its mask is not believed. The masks of the observatories
# flag some per cent; one of good pixels, or one whose codes are read as flags, flags most of them.
MOST_BAD = 1 / 3
# Share of the pixels with a number other than 0 that may have an unknown one: a table may lack a rare flag.
MOST_UNKNOWN = 0.1
# Codes that are not flags, and the numbers up to which a mask looks like one of codes.
_COMPOSITE, _LARGEST_CODE = {3: (1, 2), 5: (1, 4), 6: (2, 4), 7: (1, 2, 4)}, 8
# Numbers of a mask that a message lists.
_LISTED = 6


@dataclass(frozen=True)
class SeenMask:
    """What a mask says in the windows that are looked at."""

    bad: float
    """Share of the image's valid pixels that are bad, saturated ones left out."""
    saturated: float
    """Share of saturated ones."""
    objection: str
    """Why it is not to be believed, as the rest of a sentence; empty if nothing speaks against it."""


def look_at_mask(files: SourceFiles) -> SeenMask | None:
    """Look at the mask of an image in some windows of it; None without a mask.

    Raises
    ------
    SourceError
        If the image or its mask cannot be read.
    """
    if "mask" not in files.companions:
        return None
    mask, flags = files.companions["mask"], files.spec.flags
    seen = _seen(files.image, mask, flags, found="mask" in files.spec.found)
    if isinstance(mask, InfraredMask) and mask.spread > MOST_SPREAD:
        why = (
            f"varies by {mask.spread:.0%}, at most {MOST_SPREAD:.0%} are believed: the picture is seen in "
            "infrared, as in black-and-white film, so that dust cannot be told from it"
        )
        return replace(seen, objection=why)
    return seen


def look_at_exposure_mask(files: SourceFiles, place: int) -> SeenMask | None:
    """The same of the mask of a further exposure by its number, from 1; None without one.

    Raises
    ------
    SourceError
        If the exposure or its mask cannot be read.
    """
    mask = files.exposure_mask(place)
    if mask is None:
        return None
    found = "exposure_masks" in files.spec.found
    return _seen(mask.exposure, mask.pixels, mask.flags, found=found)


def _seen(image: Source, mask: Source, flags: Flags | None, *, found: bool) -> SeenMask:
    seen = answered_within(OPEN_S, image.spec.path, lambda: _read(image, mask, flags))
    # a mask that a user made may mark most of an image
    return replace(seen, objection="") if flags is None and not found else seen


def _read(image: Source, mask: Source, flags: Flags | None) -> SeenMask:
    valid_pixels = bad_pixels = saturated_pixels = 0
    seen: list[npt.NDArray[np.floating]] = []
    for box, planes in sample_windows(image):
        valid = image.read(box, planes).valid
        there = mask.read(box, channels_of(mask, planes))
        numbers = np.where(there.valid, there.values, 0)
        bad = (numbers != 0 if flags is None else flags.bad_pixels(numbers)) | ~there.valid
        saturated = np.zeros_like(bad) if flags is None else flags.saturated_pixels(numbers)
        valid_pixels += int(valid.sum())
        bad_pixels += int((valid & bad & ~saturated).sum())
        saturated_pixels += int((valid & saturated).sum())
        seen.append(numbers[numbers != 0])
    share = bad_pixels / max(valid_pixels, 1)
    objection = _strange(flags, np.concatenate(seen)) if flags is not None else ""
    if not objection and share > MOST_BAD:
        objection = (
            f"takes {share:.0%} of the pixels for bad, at most {MOST_BAD:.0%} are believed: it is probably "
            "read in the wrong sense"
        )
    return SeenMask(share, saturated_pixels / max(valid_pixels, 1), objection)


def _strange(flags: Flags, numbers: npt.NDArray[np.floating]) -> str:
    """Why the numbers of a mask, other than 0, are not those that the reading expects; empty if they are."""
    unknown = numbers[flags.unknown(numbers)]
    if len(unknown) > MOST_UNKNOWN * len(numbers):
        return _held(flags, unknown)
    found = {int(one) for one in np.unique(numbers)}
    if flags.harmless is None and not flags.coded and max(found, default=0) <= _LARGEST_CODE:
        # a sum of flags of which one never occurs by itself is more likely a code
        sums = [one for one in found if not found.issuperset(_COMPOSITE.get(one, ()))]
        return _held(flags, np.array(sorted(sums))) if sums else ""
    return ""


def _held(flags: Flags, numbers: npt.NDArray[Any]) -> str:
    """Name numbers that are not those of a reading."""
    found = np.unique(numbers)
    listed = ", ".join(f"{one:g}" for one in found[:_LISTED]) + ", ..." * (len(found) > _LISTED)
    meant, other, key = (
        ("codes", "sums of flags", "dq_bits") if flags.coded else ("flags", "codes", "dq_codes")
    )
    return (
        f"holds {listed}, which are no {meant} of {flags.table}: it seems to hold {other}, which "
        f"companions.{key} names"
    )
