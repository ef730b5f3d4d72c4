"""An opened input: lazy pixels, valid, variance, header, unit; one module for each format beside it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.tiles import Box

Format = Literal["fits", "tiff", "png", "jpeg"]


@dataclass(frozen=True)
class SourceSpec:
    """Which image to restore; small, hashable and picklable, so that each worker opens its own."""

    path: Path
    hdu: int | str | None = None
    """FITS extension by index or EXTNAME; None: the first that can be restored."""
    page: int | None = None
    """TIFF page; None: the first."""
    mask: Path | None = None
    """Image on the same grid: non-zero means the pixel is not to be trusted."""
    variance: Path | None = None
    """Image on the same grid: variance of each pixel in squared source units."""


@dataclass(frozen=True)
class Pixels:
    """The pixels of one box, as read."""

    values: npt.NDArray[np.floating]
    """``(c, h, w)`` in source units, in the source's working dtype; finite, 0 where the file has
    NaN or BLANK."""
    valid: npt.NDArray[np.bool_]
    """``(c, h, w)``; True means trust the pixel."""
    variance: npt.NDArray[np.float32] | None = None
    """``(c, h, w)`` in squared source units, where the user or the file gives it."""


@dataclass(frozen=True)
class ImageInfo:
    """One image of a file, as `glassplate inspect` shows it."""

    index: int
    """HDU or page number."""
    name: str
    shape: tuple[int, ...]
    """``(y, x)`` or ``(c, y, x)``; () where there is no image."""
    dtype: str
    """numpy name of the pixel type as the file's scaling presents it; "" where there is none."""
    unit: str | None
    restorable: bool
    reason: str | None
    """Why it cannot be restored; None where it can."""


class Source(Protocol):
    """One image of one file, open for lazy reading. Not picklable, not shared between processes."""

    spec: SourceSpec
    format: Format
    info: ImageInfo
    shape: tuple[int, int, int]
    """``(c, y, x)``; c is 1 for a two-dimensional image."""
    ndim: Literal[2, 3]
    """2 where the result is ``(y, x)``, 3 where it is ``(c, y, x)``."""
    joint: bool
    """Whether one network paints all channels (colours) or each plane is fitted by itself (cubes)."""
    dtype: np.dtype[Any]
    """Pixel type of the file."""
    working_dtype: np.dtype[Any]
    """float32 where that holds every value of `dtype` exactly, else float64."""
    output_dtype: np.dtype[Any]
    """Pixel type of the result: float32, or `dtype` for integer TIFF, PNG and JPEG."""
    unit: str | None
    resident_bytes: int
    """Decoded pixels kept in memory while open, where the format cannot be read in parts; else 0."""
    metadata: dict[str, Any]
    """JSON-able: all that the exports need, under the key "fits", "tiff" or "raster"."""
    held_bytes: int
    """Most memory that decoded pixels take between reads, in each process that reads."""

    def read(self, box: Box) -> Pixels:
        """Read one box, touching no more of the file than its storage forces."""
        ...

    def close(self) -> None:
        """Close the file; what was unpacked for it stays until `forget_unpacked`."""
        ...


def choose_working_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """float32 where it holds every value of `dtype` exactly, else float64."""
    return np.dtype(np.float32 if np.can_cast(dtype, np.float32, "safe") else np.float64)


def split_extension(path: Path) -> tuple[Path, int | str | None]:
    """Split ``file.fits[DQ]`` into the file and the extension or page in brackets.

    A file whose real name ends in brackets is taken as it is; without brackets the second is None.
    """
    if path.exists() or not path.name.endswith("]") or "[" not in path.name:
        return path, None
    name, _, inside = path.name[:-1].rpartition("[")
    return path.with_name(name), int(inside) if inside.isdigit() else inside


_MAGIC: dict[bytes, Format] = {
    b"SIMPLE": "fits",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"II+\0": "tiff",
    b"MM\0+": "tiff",
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\xd8\xff": "jpeg",
}

# What people have under a familiar name, so that the message can say it.
_FOREIGN = {
    b"BM": "a BMP image",
    b"GIF8": "a GIF image",
    b"\x1f\x9d": "packed by compress (.Z); uncompress it first",
    b"PK\x03\x04": "a ZIP archive; unpack it first",
    b"\xfd7zXZ": "packed by xz; unpack it first",
    b"\x28\xb5\x2f\xfd": "packed by zstd; unpack it first",
    b"\0\0\0\x0cjP": "a JPEG 2000 image",
    b"\x89HDF": "an HDF5 file",
    b"%PDF": "a PDF document",
    b"XISF": "a PixInsight XISF image; save it as FITS",
    b"XTENSION": "a FITS extension without its primary header",
}


def sniff_format(path: Path) -> Format:
    """Format of a file by its first bytes, never by its name; of a packed one by what is inside.

    Raises
    ------
    SourceError
        If there is no such file, it is empty, or of no format that is read.
    """
    from glassplate.pipeline.unpack import first_bytes

    magic = first_bytes(path, 16)
    if not magic:
        raise SourceError(f"{path}: is empty")
    for start, found in _MAGIC.items():
        if magic.startswith(start):
            return found
    for start, name in _FOREIGN.items():
        if magic.startswith(start):
            raise SourceError(f"{path}: is {name}; FITS, TIFF, PNG and JPEG are read")
    raise SourceError(f"{path}: is no FITS, TIFF, PNG or JPEG; it begins with {magic[:8]!r}")


def open_source(spec: SourceSpec) -> Source:
    """Open the image of `spec`, with its mask and variance where there are any.

    Raises
    ------
    SourceError
        If the file is missing, empty, truncated, of no known format, or has no image that can be
        restored, or the mask or variance is of another shape.
    UsageError
        If an HDU of a TIFF or a page of a FITS file is asked for.
    CapacityError
        If there is no room to unpack a packed file.
    """
    from glassplate.pipeline.joined import JoinedSource

    source = open_plain(spec)
    if spec.mask is None and spec.variance is None:
        return source
    try:
        return JoinedSource(source)
    except BaseException:
        source.close()
        raise


def open_plain(spec: SourceSpec, *, bilevel: bool = False) -> Source:
    """Open the image of `spec` without its mask and variance.

    `bilevel` lets 1-bit images pass, which serve as masks but cannot be restored.
    """
    found = sniff_format(spec.path)
    from glassplate.pipeline.unpack import unpacked

    path = unpacked(spec.path)
    if found == "fits":
        from glassplate.pipeline.fits import FitsSource

        return FitsSource(spec, path)
    if found == "tiff":
        from glassplate.pipeline.tiff import TiffSource

        return TiffSource(spec, path, bilevel=bilevel)
    from glassplate.pipeline.raster import RasterSource

    return RasterSource(spec, path, found, bilevel=bilevel)


def describe(path: Path) -> dict[str, Any]:
    """What a file holds, as `glassplate inspect --json` prints it.

    Returns
    -------
    document
        ``kind``, ``path``, ``format``, ``bytes``, ``images`` (fields of `ImageInfo`) and
        ``warnings``; an image that cannot be restored says why in ``reason``.

    Raises
    ------
    SourceError
        If the file as a whole cannot be read.
    """
    from glassplate.pipeline.unpack import unpacked_for_a_while

    found = sniff_format(path)
    with unpacked_for_a_while(path) as plain:
        if found == "fits":
            from glassplate.pipeline.fits import fits_images as images_of
        elif found == "tiff":
            from glassplate.pipeline.tiff import tiff_images as images_of
        else:
            from glassplate.pipeline.raster import raster_images as images_of
        try:
            images, complaints = images_of(plain)
        except SourceError as error:
            raise SourceError(str(error).replace(str(plain), str(path))) from error
    return {
        "kind": "source",
        "path": str(path),
        "format": found,
        "bytes": path.stat().st_size,
        "images": [asdict(image) for image in images],
        "warnings": complaints,
    }


# Sources that one thread keeps open: the image it restores, and the one before, since the tasks of
# two images may interleave on a worker.
_MOST_OPEN = 2

# For each thread its own: an open source has a position in a file and must not be shared.
_opened = threading.local()


def cached_source(spec: SourceSpec) -> Source:
    """The source of `spec`, opened once in each worker thread; opened anew when a file changed.

    Raises
    ------
    SourceError
        As `open_source`.
    """
    held: OrderedDict[Any, Source] = _opened.__dict__.setdefault("sources", OrderedDict())
    key = (spec, *(_identity(path) for path in (spec.path, spec.mask, spec.variance)))
    if key in held:
        held.move_to_end(key)
        return held[key]
    source = open_source(spec)
    while len(held) >= _MOST_OPEN:
        held.popitem(last=False)[1].close()
    held[key] = source
    return source


def close_cached_sources() -> None:
    """Close what `cached_source` keeps open in this thread."""
    for source in _opened.__dict__.pop("sources", {}).values():
        source.close()


def _identity(named: Path | None) -> tuple[int, int] | None:
    if named is None:
        return None
    path, _ = split_extension(named)
    try:
        status = path.stat()
    except OSError as error:
        raise SourceError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from error
    return status.st_size, status.st_mtime_ns
