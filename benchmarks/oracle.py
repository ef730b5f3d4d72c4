"""Images as other programs read them, compared with results of the recipe ``identity``.

The oracles are astropy for FITS, and tifffile, then Pillow, for everything else. They read whole images.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import tifffile
import zarr
from astropy.io import fits
from PIL import Image

from glassplate.pipeline.reader_warnings import collected_warnings

# astropy applies BSCALE and BZERO in float32, each with a rounding of its own.
RELATIVE = 3e-7


@dataclass(frozen=True)
class Comparison:
    """A result beside what an oracle reads from the same file."""

    ended: Literal["equal", "adapted", "differs", "alone"]
    """``adapted`` where pixels differ as they should; ``alone`` where no oracle reads the file."""
    detail: str = ""


def compare(
    store: Path,
    path: Path,
    *,
    part: int | str | None = None,
    kind: str | None = None,
    note: str | None = None,
) -> Comparison:
    """Compare level 0 of a result of ``identity`` with a file: the one it was made from, or an export.

    Parameters
    ----------
    store
        The result.
    path
        The file.
    part
        HDU or page; None for the one that was restored.
    kind
        Format; None for that of the source.
    note
        What the reader says that it does to the stored pixels, such as looking colours up in a palette. Then
        the image that Pillow shows counts, too. The negative of a TIFF, in which 0 may be white, always does.
    """
    group = zarr.open_group(store, mode="r")
    ours = np.asarray(group["0"])
    source = {**group.attrs.get("fits", {}), **group.attrs.get("tiff", {})}
    name = source.get("name", "") if part is None else ""
    if part is None:
        part = source.get("hdu", source.get("page", 0))
    kind = kind or str(group.attrs["glassplate"]["source"]["format"])
    try:
        theirs = _like(read(path, kind, part, name), ours.shape)
    # an oracle raises nearly anything on a damaged file
    except Exception as error:
        return Comparison("alone", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
    detail = difference(ours, theirs)
    if not detail:
        return Comparison("equal")
    nodata = _nodata(path, theirs.dtype) if kind == "tiff" and theirs.dtype.kind == "f" else None
    if nodata is not None and not difference(ours, np.where(theirs == nodata, np.nan, theirs)):
        return Comparison("adapted", f"the no data value {nodata:g} is NaN")
    if theirs.dtype.kind == "b" and ours.dtype == np.uint8:
        for white in (theirs, ~theirs):
            if not difference(ours, white * np.uint8(255)):
                return Comparison("adapted", note or "1 bit is 0 or 255")
    if kind == "tiff" and theirs.dtype.kind == "u" and ours.size == theirs.size:
        # the value of white is that of the bits in use; further samples of grey are none of light
        white = int(ours.flat[0]) + int(theirs.flat[0])
        grey = theirs.reshape(ours.shape).astype(np.int64)
        first = np.concatenate([white - grey[:1], grey[1:]])
        if not difference(ours, white - grey) or not difference(ours, first):
            return Comparison("adapted", "0 is white")
    if note and isinstance(part, int):
        with suppress(Exception):  # Pillow raises nearly anything on what it does not read
            for seen in _seen(path, part, kind):
                if not difference(ours, _like(seen, ours.shape)):
                    return Comparison("adapted", note)
    return Comparison("differs", detail)


def read(path: Path, kind: str, index: int | str, name: str = "") -> npt.NDArray[np.generic]:
    """The image of a file by its HDU or page, with colours where the library has them; "all": a cube of all.

    `name` is that of the HDU: where a header has lost its END, astropy takes the next for a part of it, and
    counts the HDUs otherwise.

    Raises
    ------
    Exception
        Whatever the library raises, if it cannot read the image.
    """
    with collected_warnings(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "fits":
            with fits.open(path, memmap=False) as hdus:
                if index and hdus[index].name.upper() != name.upper():
                    raise LookupError(f"HDU {index} is {hdus[index].name!r} to astropy")
                return _plain(_pixels(hdus[index]))
        if kind == "tiff":
            return _plain(tifffile.imread(path, key=None if index == "all" else index))
        with Image.open(path) as image:
            if image.mode in ("P", "1"):
                image = image.convert()  # as it is seen
            return _plain(np.asarray(image))


def _pixels(hdu: Any) -> npt.NDArray[Any]:
    """The pixels of an HDU; HST writes an image of one value without data, which astropy does not make."""
    header = hdu.header
    if hdu.data is None and "PIXVALUE" in header:
        return np.full((header["NPIX2"], header["NPIX1"]), header["PIXVALUE"], np.float32)
    return np.array(hdu.data)


def difference(ours: npt.NDArray[np.generic], theirs: npt.NDArray[np.generic]) -> str:
    """How two images differ, in words; empty if they do not.

    NaN stands for every value that is not finite. Integers are equal exactly, floats to half a unit of
    float32.
    """
    if ours.size != theirs.size:
        return f"shape {ours.shape}, not {theirs.shape}"
    theirs = theirs.reshape(ours.shape)
    if ours.dtype.kind in "iu" and theirs.dtype.kind in "iub":
        differing = ours != theirs
    else:
        with np.errstate(invalid="ignore"):
            one, other = ours.astype(np.float64), theirs.astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            differing = np.abs(one - other) > RELATIVE * np.abs(other)
        differing |= np.isfinite(one) != np.isfinite(other)
    count = int(differing.sum())
    if not count:
        return ""
    place = tuple(int(axis) for axis in np.argwhere(differing)[0])
    return (
        f"{count} of {ours.size} pixels, the first at {place}: {ours[place]}, not {theirs[place]}"
    )


def _seen(path: Path, index: int, kind: str) -> Iterator[npt.NDArray[np.generic]]:
    """An image as it is seen, in grey and in colours, and the colours of its palette of 16 bits."""
    if kind == "tiff":
        with collected_warnings(path), tifffile.TiffFile(path) as tiff:
            page = tiff.pages[index]
            if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
                yield np.moveaxis(np.take(page.colormap, page.asarray(), axis=1), 0, -1)
    with collected_warnings(path), Image.open(path) as image:
        image.seek(index)
        for mode in ("L", "RGB", "RGBA", "LA"):
            yield np.asarray(image.convert(mode))


def _nodata(path: Path, dtype: np.dtype[np.generic]) -> float | None:
    """The no data value of the first page, rounded to the type of the pixels; None without one."""
    with collected_warnings(path), tifffile.TiffFile(path) as tiff:
        text = tiff.pages[0].tags.valueof(42113)
    with np.errstate(over="ignore"):
        return float(dtype.type(float(text.strip("\0 ")))) if isinstance(text, str) else None


def _plain(data: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    if data.dtype.kind not in "iufb" or data.ndim < 2:
        raise TypeError(f"no image: {data.ndim} axes of {data.dtype}")
    return data.astype(data.dtype.newbyteorder("="), copy=False)


def _like(data: npt.NDArray[np.generic], shape: tuple[int, ...]) -> npt.NDArray[np.generic]:
    """Bring colours to the front if that gives the shape."""
    moved = np.moveaxis(data, -1, 0) if data.ndim == 3 else data
    return moved if moved.shape == shape != data.shape else data
