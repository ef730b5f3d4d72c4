"""Matching the extensions of companions with that of the image, by EXTNAME and EXTVER."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.reader_warnings import collected_warnings
from glassplate.pipeline.sources.file_format import sniff_format
from glassplate.pipeline.sources.guarded_reading import as_source_errors
from glassplate.pipeline.sources.source import SourceSpec, split_extension
from glassplate.pipeline.sources.unpack import unpacked

if TYPE_CHECKING:
    from glassplate.pipeline.sources.fits.file import FitsFile

# Characters that a name in `FILE[NAME,VERSION]` must not contain: they end it, or change the path.
_AWKWARD = frozenset(",[]/")


@dataclass(frozen=True)
class Extension:
    """What identifies an image of a FITS file."""

    index: int
    name: str
    version: int | None
    """EXTVER; None without this card."""

    def is_called(self, name: str) -> bool:
        """Whether a name is its EXTNAME."""
        return self.name.upper() == name.strip().upper()

    @property
    def label(self) -> str:
        """Text in brackets after the file's name that means this image."""
        if not self.name or _AWKWARD.intersection(self.name):
            return str(self.index)
        return f"{self.name},{self.version or 1}"


def resolved(spec: SourceSpec) -> SourceSpec:
    """The specification with unambiguous extensions of its companions.

    Where several images of a FITS file have the name in ``FILE[NAME]``, the one of the same EXTVER as the
    image to restore is chosen. Where a file of several images is given without a name, the one of the same
    EXTNAME and EXTVER is chosen. The companion becomes ``FILE[NAME,VERSION]``; an unambiguous one is not
    changed.

    Raises
    ------
    SourceError
        If a file cannot be read, or it is not known which of its images goes with the image to restore.
    """
    if not any((spec.mask, spec.variance, spec.guide, spec.exposures)):
        return spec
    image = _image_of(spec)

    def place(named: Path | None, role: str) -> Path | None:
        return None if named is None else image.companion(named, role)

    return replace(
        spec,
        mask=place(spec.mask, "mask"),
        variance=place(spec.variance, spec.noise_kind),
        guide=place(spec.guide, "guide"),
        exposures=tuple(
            # an exposure without brackets has the same extension as the image, as `open_named` opens it
            one if split_extension(one)[1] is None else image.companion(one, "exposure")
            for one in spec.exposures
        ),
        exposure_masks=tuple(place(one, "exposure mask") for one in spec.exposure_masks),
    )


@dataclass(frozen=True)
class _Image:
    """What companions are matched with: the image to restore."""

    path: Path
    extension: Extension | None
    """None for a format without extensions."""
    chosen: bool
    """Whether the user named its extension."""

    def companion(self, named: Path, role: str) -> Path:
        """The companion, with its extension where there are several.

        Raises
        ------
        SourceError
            As `resolved`.
        """
        path, part = split_extension(named)
        if isinstance(part, int) or (part is not None and "," in part):
            return named
        try:
            there = images_of(path)
        except SourceError as error:
            raise SourceError(f"{role} {error}") from error
        among = [one for one in there if part is None or one.is_called(part)]
        if len(among) < 2:
            return named
        itself = path.absolute() == self.path.absolute()
        fitting = [one for one in among if self._goes_with(one, same_name=part is None)]
        if len(fitting) == 1 and not (itself and fitting[0] == self.extension):
            return path.with_name(f"{path.name}[{fitting[0].label}]")
        if part is None and not self.chosen and not itself:
            return named  # the first image of both files
        labels = [one.label for one in among]
        if len(set(labels)) < len(labels):
            labels = [str(one.index) for one in among]
        listed = ", ".join(f"{path.name}[{label}]" for label in labels[:8])
        raise SourceError(
            f"{role} {named}: {len(among)} images could be meant, none is known to go with {self}; name "
            f"one of {listed}"
        )

    def _goes_with(self, one: Extension, *, same_name: bool) -> bool:
        mine = self.extension
        if mine is None:
            return False
        if same_name and not (mine.name and one.is_called(mine.name)):
            return False
        # an image without EXTVER whose name is unique matches by name alone
        return (same_name and mine.version is None) or (one.version or 1) == mine.version

    def __str__(self) -> str:
        if self.extension is None:
            return f"{self.path.name}, which has no extensions"
        version = self.extension.version
        extver = "has no EXTVER" if version is None else f"has EXTVER {version}"
        return f"HDU {self.extension.index} of {self.path.name}, which {extver}"


def _image_of(spec: SourceSpec) -> _Image:
    """The image to restore."""
    from glassplate.pipeline.sources.fits.hdus import find_hdu

    if sniff_format(spec.path) != "fits":
        return _Image(spec.path, None, chosen=spec.page is not None)
    with opened_file(spec.path) as file:
        index = find_hdu(file, spec.hdu, spec.path).index
        there = _images(file)
    found = next(one for one in there if one.index == index)
    numbered = found.name and sum(one.is_called(found.name) for one in there) > 1
    if numbered and found.version is None:
        # the default of EXTVER is 1, and the first of a series may lack the card
        found = replace(found, version=1)
    return _Image(spec.path, found, chosen=spec.hdu is not None)


def images_of(path: Path) -> list[Extension]:
    """The images of a FITS file that can be read; none for another format.

    Raises
    ------
    SourceError
        If the file as a whole cannot be read.
    """
    if sniff_format(path) != "fits":
        return []
    with opened_file(path) as file:
        return _images(file)


def hdu_index(path: Path, wanted: str) -> int:
    """Number of the HDU of a name, which need not be an image; -1 where there is none.

    Raises
    ------
    SourceError
        If the file as a whole cannot be read.
    """
    from glassplate.pipeline.sources.fits.hdus import is_meant

    with opened_file(path) as file:
        return next((index for index, hdu in file.each() if is_meant(wanted, index, hdu)), -1)


def _images(file: FitsFile) -> list[Extension]:
    """The images of a file that can be read."""
    from glassplate.pipeline.sources.fits.hdus import hdu_info

    found = []
    for index, hdu in file.each():
        info = hdu_info(index, hdu, file)
        if info.restorable:
            version = hdu.header.get("EXTVER")
            found.append(Extension(index, info.name, version if isinstance(version, int) else None))
    return found


@contextmanager
def opened_file(path: Path) -> Iterator[FitsFile]:
    """Open a FITS file, unpacked if it is packed.

    Raises
    ------
    SourceError
        If it cannot be read.
    """
    from glassplate.pipeline.sources.fits.file import FitsFile

    with collected_warnings(path), as_source_errors(path):
        file = FitsFile(unpacked(path), path)
        try:
            yield file
        finally:
            file.close()
