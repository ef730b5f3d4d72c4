"""What images a FITS file holds, where their pixels lie, and why some cannot be restored."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.sources.fits.constant import constant_plane
from glassplate.pipeline.sources.fits.file import FitsFile
from glassplate.pipeline.sources.fits.scan import Span
from glassplate.pipeline.sources.fits.text import printable, stored_text
from glassplate.pipeline.sources.segments import RowLayout
from glassplate.pipeline.sources.source import ImageInfo
from glassplate.pipeline.text import one_line

_RAW_TYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


@dataclass(frozen=True)
class Scaling:
    """Scaling of stored numbers to values: ``bzero + bscale * stored``."""

    bscale: float
    bzero: float
    blank: int | None
    """Stored integer of invalid pixels; None without BLANK."""
    dtype: np.dtype[Any]
    """Type of the values: unsigned by the BZERO convention, float where they are scaled."""

    @classmethod
    def of(cls, header: fits.Header) -> Scaling:
        """The scaling of an image header; FITS standard 4.0, section 4.4.2.5.

        Raises
        ------
        SourceError
            If BSCALE or BZERO is not a finite number, or BSCALE is 0.
        """
        bitpix = int(header["BITPIX"])
        bscale, bzero = _finite(header, "BSCALE", 1), _finite(header, "BZERO", 0)
        if bscale == 0:
            raise SourceError("BSCALE is 0, which leaves no value but BZERO")
        blank = header.get("BLANK") if bitpix > 0 else None
        stored = np.dtype(_RAW_TYPES[bitpix]).newbyteorder("=")
        if bitpix < 0 or (bscale == 1 and bzero == 0):
            presented = stored
        elif bscale == 1 and bitpix == 8 and bzero == -128:
            presented = np.dtype("i1")
        elif bscale == 1 and bitpix > 8 and bzero == 1 << (bitpix - 1):
            presented = np.dtype(f"u{bitpix // 8}")
        else:
            presented = np.dtype("f8" if bitpix > 16 else "f4")
        blank = int(blank) if isinstance(blank, int | np.integer) else None
        return cls(float(bscale), float(bzero), blank, presented)

    def apply(
        self, stored: npt.NDArray[Any], working: np.dtype[Any]
    ) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.bool_]]:
        """Values and validity of stored numbers of any shape; invalid values are 0.

        ``BLANK = 0`` and the BLANK of unsigned images, which astropy ignores, are respected.
        """
        if stored.dtype.kind == "f":
            valid = np.isfinite(stored)
        elif self.blank is not None:
            valid = stored != self.blank
        else:
            valid = np.ones(stored.shape, bool)
        with np.errstate(over="ignore", invalid="ignore"):
            values = self._scaled(stored).astype(working)
        # scaling may overflow
        valid &= np.isfinite(values)
        values[~valid] = 0
        return values, valid

    def _scaled(self, stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if self.bscale == 1 and self.bzero == 0:
            return stored
        if self.dtype.kind in "iu":
            # the conventions for the other signedness flip the highest bit; floats would lose low bits
            unsigned = np.dtype(f"u{stored.dtype.itemsize}")
            flipped = stored.view(unsigned) ^ unsigned.type(1 << (8 * unsigned.itemsize - 1))
            presented: npt.NDArray[Any] = flipped.view(self.dtype)
            return presented
        # float64: float32 would round before the offset is added
        return stored.astype(np.float64) * self.bscale + self.bzero


def _finite(header: fits.Header, keyword: str, otherwise: float) -> float:
    """A finite number of the header, which some programs write in quotes."""
    value = header.get(keyword, otherwise)
    try:
        number = value if isinstance(value, int) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise SourceError(f"{keyword} is {value}, must be a finite number")
    return number


def hdu_info(index: int, hdu: Any, file: FitsFile) -> ImageInfo:
    """Description of an HDU of `file`, or of the exception that reading it raised; never raises."""
    if isinstance(hdu, Exception):
        return ImageInfo(index, "", (), "", None, False, f"damaged header: {one_line(hdu)}")
    name, dtype, unit = "", "", None
    shape: tuple[int, ...] = ()
    reason: str | None
    try:
        name = str(hdu.name or "")
        reason = _not_an_image(hdu)
        if reason is None:
            shape = image_shape(hdu)
            dtype = pixel_dtype(hdu.header).name
            unit = unit_of(index, hdu, file)
            reason = _unreadable(index, hdu, file)
    # `inspect` lists all HDUs of a file even where one cannot be read
    except Exception as error:
        reason = f"cannot be read: {one_line(error)}"
    return ImageInfo(index, name, shape, dtype, unit, reason is None, reason)


def pixel_dtype(header: fits.Header) -> np.dtype[Any]:
    """Type of the values of an image.

    Raises
    ------
    SourceError
        As `Scaling.of`.
    """
    constant, scaled = constant_plane(header), Scaling.of(header).dtype
    if constant is None or (scaled.kind in "iu" and constant.fits(scaled)):
        return scaled
    return scaled if scaled.kind == "f" else np.dtype(np.float32)


def unit_of(index: int, hdu: Any, file: FitsFile) -> str | None:
    """BUNIT of an image, or of the primary header where the image inherits it.

    An extension inherits from a primary header without pixels unless it has ``INHERIT = F``, and from one
    with pixels only if it has ``INHERIT = T``.
    """
    own = _text_of(hdu.header, "BUNIT")
    if own is not None or index == 0:
        return own
    primary = file[0]
    if isinstance(primary, Exception):
        return None
    inherits = hdu.header.get("INHERIT", not primary.shape)
    return _text_of(primary.header, "BUNIT") if inherits is True else None


def _text_of(header: fits.Header, keyword: str) -> str | None:
    """A text value; None where it is missing, blank or unreadable."""
    try:
        value = header.get(keyword)
    except fits.VerifyError:
        return None
    return value.strip() or None if isinstance(value, str) else None


def image_shape(hdu: Any) -> tuple[int, ...]:
    """``(y, x)`` or ``(c, y, x)``, without leading axes of length 1."""
    if (constant := constant_plane(hdu.header)) is not None:
        return constant.height, constant.width
    shape = tuple(int(n) for n in hdu.shape)
    return (*(n for n in shape[:-2] if n != 1), *shape[-2:])


def row_layout(hdu: Any, span: Span) -> RowLayout:
    """Where the pixels of an uncompressed image lie."""
    shape = image_shape(hdu)
    planes = shape[0] if len(shape) == 3 else 1
    stored = np.dtype(_RAW_TYPES[int(hdu.header["BITPIX"])])
    return RowLayout(span.data, planes, shape[-2], shape[-1], 1, stored)


def header_text(index: int, hdu: Any, file: FitsFile) -> str:
    """The header as lines of 80 characters without END, exactly as it is stored where that is possible.

    Bytes beyond ASCII become characters of latin-1.
    """
    raw = stored_text(file.raw_header(index))
    lines = [raw[at : at + 80] for at in range(0, len(raw), 80)]
    if isinstance(hdu, fits.CompImageHDU):
        # astropy rewrites the header of the table as that of an image. Cards with characters that FITS
        # forbids are taken as they are stored; astropy may have changed their blanks.
        stored = {_unspaced(line): line for line in lines if printable(line) != line}
        text = str(hdu.header.tostring(sep="\n", endcard=False, padding=False))
        return "\n".join(stored.get(_unspaced(line), line) for line in text.split("\n"))
    return "\n".join(lines)


def _unspaced(line: str) -> str:
    return printable(line).replace(" ", "")


def find_hdu(file: FitsFile, wanted: int | str | None, named: Path) -> ImageInfo:
    """The image of an index, EXTNAME or ``EXTNAME,EXTVER``; for None the first that can be restored.

    Raises
    ------
    SourceError
        If there is no such HDU or it cannot be restored; the message lists the HDUs of the file `named`.
    """
    for index, hdu in _candidates(file, wanted):
        if wanted is not None and not is_meant(wanted, index, hdu):
            continue
        info = hdu_info(index, hdu, file)
        if info.restorable:
            return info
        if wanted is not None:
            raise SourceError(f"{named}: HDU {index} {info.name}: {info.reason}")
    seen = [hdu_info(index, hdu, file) for index, hdu in file.each()]
    listed = "; ".join(f"{i.index} {i.name}: {i.reason or i.shape}" for i in seen[:20])
    if wanted is None:
        raise SourceError(f"{named}: no image to restore; its HDUs are {listed}")
    raise SourceError(f"{named}: no HDU {wanted!r}; there are {listed}")


def _candidates(file: FitsFile, wanted: int | str | None) -> Iterator[tuple[int, Any]]:
    # a negative index would count from the end
    if not isinstance(wanted, int) or wanted < 0:
        yield from file.each()
        return
    with contextlib.suppress(IndexError):
        yield wanted, file[wanted]


def is_meant(wanted: int | str, index: int, hdu: Any) -> bool:
    """Whether an HDU has a number, an EXTNAME, or ``EXTNAME,EXTVER``."""
    if isinstance(wanted, int):
        return wanted == index
    name, _, version = wanted.partition(",")
    if isinstance(hdu, Exception) or name.strip().upper() != str(hdu.name).upper():
        return wanted == str(index)
    return not version or version.strip() == str(hdu.ver)


def _not_an_image(hdu: Any) -> str | None:
    if isinstance(hdu, fits.GroupsHDU):
        return "random groups, not an image"
    if not isinstance(hdu, fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU):
        is_table = isinstance(hdu, fits.BinTableHDU | fits.TableHDU)
        return "a table, not an image" if is_table else "of a kind that is not read"
    shape = tuple(int(n) for n in hdu.shape)
    if not shape:
        return "no data" if constant_plane(hdu.header) is None else None
    if 0 in shape:
        return f"zero size {shape}"
    if len(shape) == 1:
        return f"one-dimensional, {shape[0]} values"
    if len(image_shape(hdu)) > 3:
        return f"more than three axes longer than 1: {shape}"
    return None


def _unreadable(index: int, hdu: Any, file: FitsFile) -> str | None:
    """Why the pixels cannot be read: the file is truncated, or a tile cannot be decoded."""
    size, end = file.path.stat().st_size, file.span(index).end
    if end > size:
        return f"truncated: the file has {size} bytes, the pixels go on to byte {end}"
    if isinstance(hdu, fits.CompImageHDU):
        hdu.section[(0,) * len(hdu.shape)]  # raises for an unknown compression
    return None
