"""Which images of a FITS file are meant by ``all``, by a pattern such as ``SCI,*``, or by a list of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from glassplate.pipeline.errors import SourceError, UsageError
from glassplate.pipeline.sources.file_format import sniff_format
from glassplate.pipeline.sources.fits.extensions import Extension, images_of

ALL = "all"

# EXTNAMEs of planes that tell about another image: noise, weight, quality, and what an export adds. A suffix
# such as that of JWST's VAR_POISSON belongs to them.
_ABOUT_ANOTHER = re.compile(
    r"(?:ERR|ERROR|SIGMA|RMS|STDDEV|UNC|UNCERT|UNCERTAINTY|VAR|VARIANCE|IVAR|INVVAR|WHT|WGT|WEIGHT|EXP|TIME|SAMP"
    r"|DQ|MASK|MSK|BPM|FLAG|FLAGS|QUALITY|OBJMASK|CON|CTX|CONTEXT|AREA|WAVELENGTH|PSF|BKG|BACKGROUND"
    r"|WCSDVARR|D2IMARR|RESIDUAL|FOOTPRINT|FILLED)(?:_\w+)?"
)


def means_all(wanted: object) -> bool:
    """Whether a choice is ``all``."""
    return isinstance(wanted, str) and wanted.strip().lower() == ALL


def means_several(wanted: object) -> bool:
    """Whether a choice may mean more than one image: a list, a pattern, or ``all``."""
    if isinstance(wanted, str):
        return means_all(wanted) or "*" in wanted or "?" in wanted
    return isinstance(wanted, Sequence)


def chosen_hdus(path: Path, wanted: str | Sequence[int | str]) -> list[int | str]:
    """The images of a FITS file that a choice means, in the order of the file.

    Parameters
    ----------
    path
        The file.
    wanted
        ``all``: every image but those whose EXTNAME says that they tell about another one, such as ERR. A
        pattern with ``*`` or ``?``: of EXTNAME, or of ``EXTNAME,EXTVER`` where it has a comma. A list of
        these, of names and of numbers.

    Returns
    -------
    hdus
        Each as `SourceSpec.hdu` takes it: its EXTNAME or ``EXTNAME,EXTVER``, or its number where no name
        tells it from the others.

    Raises
    ------
    UsageError
        If the file is not FITS.
    SourceError
        If the file cannot be read, or has no such image.
    """
    found = sniff_format(path)
    if found != "fits":
        raise UsageError(
            f"{path}: hdu {_text(wanted)} is for FITS, this is {found.upper()}; drop it"
        )
    there = images_of(path)
    wishes = [wanted] if isinstance(wanted, str) else list(wanted)
    chosen: set[int] = set()
    for wish in wishes:
        meant = [image.index for image in there if _is_meant(image, wish)]
        if not meant:
            listed = ", ".join(str(name) for name in _names(there).values()) or "none"
            raise SourceError(f"{path}: no image {wish}; there are {listed}")
        # a name without wildcards means the first image, as everywhere
        chosen.update(meant if means_several(wish) else meant[:1])
    names = _names(there)
    return [names[image.index] for image in there if image.index in chosen]


def _is_meant(image: Extension, wish: int | str) -> bool:
    if isinstance(wish, int):
        return image.index == wish
    if means_all(wish):
        return not _ABOUT_ANOTHER.fullmatch(image.name.upper())
    name, _, version = (part.strip().upper() for part in wish.partition(","))
    if not image.name:
        return wish == str(image.index)
    fits_version = not version or fnmatchcase(str(image.version or 1), version)
    return (fnmatchcase(image.name.upper(), name) and fits_version) or wish == str(image.index)


def _names(there: Sequence[Extension]) -> dict[int, int | str]:
    """The shortest name of each image that no other one has, by its index."""
    names = Counter(image.name.upper() for image in there)
    labels = Counter(image.label.upper() for image in there)
    found: dict[int, int | str] = {}
    for image in there:
        label = image.label
        if label.isdigit() or labels[label.upper()] > 1:
            found[image.index] = image.index
        else:
            found[image.index] = image.name if names[image.name.upper()] == 1 else label
    return found


def _text(wanted: str | Sequence[int | str]) -> str:
    return wanted if isinstance(wanted, str) else ", ".join(map(str, wanted))
