"""Opening one image of a file, whatever its format, without what may go with it."""

from __future__ import annotations

from pathlib import Path

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.sources.file_format import sniff_format
from glassplate.pipeline.sources.guarded_reading import OPEN_S, answered_within, as_source_errors
from glassplate.pipeline.sources.readers import find_reader
from glassplate.pipeline.sources.source import (
    Pixels,
    Source,
    SourceSpec,
    WrappedSource,
    split_extension,
)
from glassplate.pipeline.sources.unpack import unpacked
from glassplate.pipeline.tile_grid import Box


class GuardedSource(WrappedSource):
    """A source as its format's reader gives it; whatever the reader raises is a `SourceError`.

    So is a disk that does not answer within `OPEN_S`.
    """

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> Pixels:
        """Read one box."""
        path = self.spec.path
        with as_source_errors(path):
            return answered_within(OPEN_S, path, lambda: self._source.read(box, channels))


def open_image(spec: SourceSpec) -> Source:
    """Open the image of a specification, alone.

    Parameters
    ----------
    spec
        Its companions are not looked at.

    Raises
    ------
    SourceError
        If the file is missing, empty, truncated, of no known format, or has no image that can be restored.
    UsageError
        If an HDU of a TIFF or a page of a FITS file is requested.
    CapacityError
        If there is no room to unpack a packed file.
    """
    reader = find_reader(spec.path)
    path = unpacked(spec.path)
    with as_source_errors(spec.path):
        return GuardedSource(answered_within(OPEN_S, spec.path, lambda: reader.open(spec, path)))


def open_named(named: Path, role: str, like: SourceSpec | None = None) -> Source:
    """Open an image that goes with another, which may be named with its extension: ``file.fits[DQ]``.

    Parameters
    ----------
    named
        The file.
    role
        What it is, "mask" for example: the first word of the message where it cannot be read.
    like
        Whose extension or page to take where `named` names none.

    Raises
    ------
    SourceError, UsageError, CapacityError
        As `open_image`.
    """
    try:
        spec = spec_of(named)
        if like is not None and split_extension(named)[1] is None:
            spec = SourceSpec(spec.path, like.hdu, like.page)
        return open_image(spec)
    except SourceError as error:
        raise SourceError(f"{role} {error}") from error


def spec_of(named: Path) -> SourceSpec:
    """The image that a path names, which may end in an extension or a page: ``file.fits[DQ]``, ``a.tif[3]``.

    Raises
    ------
    SourceError
        If the number of a page or extension is given and the file cannot be read.
    """
    path, part = split_extension(named)
    if isinstance(part, int) and sniff_format(path) == "tiff":
        return SourceSpec(path, page=part)
    return SourceSpec(path, hdu=part)
