"""Which extension of a FITS file goes with the image that is restored: that of the same EXTVER."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.open_source import sniff_format
from glassplate.pipeline.quiet import collected_warnings
from glassplate.pipeline.source import SourceSpec, split_extension
from glassplate.pipeline.unpack import unpacked

if TYPE_CHECKING:
    from glassplate.pipeline.fits_file import FitsFile

# Characters that would end a name in `FILE[NAME,VERSION]`, or make it another path.
_AWKWARD = frozenset(",[]/")


@dataclass(frozen=True)
class Extension:
    """An image of a FITS file, by what tells it from the others."""

    index: int
    name: str
    version: int | None
    """EXTVER; None where it has no such card."""

    def is_called(self, name: str) -> bool:
        """Whether this is its EXTNAME."""
        return self.name.upper() == name.strip().upper()

    @property
    def label(self) -> str:
        """What to write in brackets behind the file to mean this one."""
        if not self.name or _AWKWARD.intersection(self.name):
            return str(self.index)
        return f"{self.name},{self.version or 1}"


def resolved(spec: SourceSpec) -> SourceSpec:
    """The source with companions whose extension is named so that no other can be meant.

    Where a FITS file has several images of the name in ``FILE[NAME]``, that of the same EXTVER as the
    source's image is taken; where a file of several images is named alone, that of the same EXTNAME and
    EXTVER. The companion is then ``FILE[NAME,VERSION]``; what was unambiguous stays as it is.

    Raises
    ------
    SourceError
        If a file cannot be read, or has several images of which none is known to be meant.
    """
    if not any((spec.mask, spec.variance, spec.guide, spec.exposures)):
        return spec
    image = _image_of(spec)
    chosen = spec.hdu is not None

    def place(named: Path | None, role: str) -> Path | None:
        return None if named is None else _resolved(named, role, image, chosen=chosen)

    return replace(
        spec,
        mask=place(spec.mask, "mask"),
        variance=place(spec.variance, spec.noise_kind),
        guide=place(spec.guide, "guide"),
        exposures=tuple(
            # without brackets it is the extension of the source's image: open_exposures
            one
            if split_extension(one)[1] is None
            else _resolved(one, "exposure", image, chosen=chosen)
            for one in spec.exposures
        ),
    )


def _image_of(spec: SourceSpec) -> Extension | None:
    """The image to restore; None where its format has no extensions."""
    from glassplate.pipeline.fits_images import find_hdu

    if sniff_format(spec.path) != "fits":
        return None
    with _opened(spec.path) as file:
        index = find_hdu(file, spec.hdu, spec.path).index
        all_there = _images(file)
    found = next(one for one in all_there if one.index == index)
    numbered = sum(one.is_called(found.name) for one in all_there) > 1
    # the first of a series may go without the card: 1 is its default
    return replace(found, version=1) if numbered and found.version is None else found


def _resolved(named: Path, role: str, image: Extension | None, *, chosen: bool) -> Path:
    path, part = split_extension(named)
    if isinstance(part, int) or (part is not None and "," in part):
        return named
    try:
        if sniff_format(path) != "fits":
            return named
        with _opened(path) as file:
            there = _images(file)
    except SourceError as error:
        raise SourceError(f"{role} {error}") from error
    among = [one for one in there if part is None or one.is_called(part)]
    if len(among) < 2:
        return named
    same = [
        one for one in among if image is not None and _belongs(one, image, by_name=part is None)
    ]
    if len(same) == 1:
        return path.with_name(f"{path.name}[{same[0].label}]")
    if part is None and not chosen:
        return named  # of both files the first image
    listed = ", ".join(f"{path.name}[{one.label}]" for one in among[:8])
    raise SourceError(
        f"{role} {named}: {len(among)} images could be meant, none is known to go with "
        f"{_called(image)}; name one of {listed}"
    )


def _belongs(one: Extension, image: Extension, *, by_name: bool) -> bool:
    if by_name and not (image.name and one.is_called(image.name)):
        return False
    return (by_name and image.version is None) or (one.version or 1) == image.version


def _called(image: Extension | None) -> str:
    if image is None:
        return "an image without extensions"
    version = "has no EXTVER" if image.version is None else f"has EXTVER {image.version}"
    return f"HDU {image.index} {image.name}".rstrip() + f", which {version}"


def _images(file: FitsFile) -> list[Extension]:
    """The images of a file that can be read."""
    from glassplate.pipeline.fits_images import hdu_info

    found = []
    for index, hdu in file.each():
        info = hdu_info(index, hdu, file)
        if info.restorable:
            version = hdu.header.get("EXTVER")
            found.append(Extension(index, info.name, version if isinstance(version, int) else None))
    return found


@contextmanager
def _opened(path: Path) -> Iterator[FitsFile]:
    from glassplate.pipeline.fits_file import FitsFile

    with collected_warnings(path):
        file = FitsFile(unpacked(path), path)
        try:
            yield file
        finally:
            file.close()
