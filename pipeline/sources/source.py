"""What an opened image offers, whatever its format: pixels read box by box, validity, metadata and unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.sources.flags import Flags
from glassplate.pipeline.tile_grid import Box

Format = Literal["fits", "tiff", "png", "jpeg", "jpeg2000", "webp", "jpegxl"]
NoiseKind = Literal["variance", "sigma", "weight"]
NOISE_KINDS: tuple[NoiseKind, ...] = ("variance", "sigma", "weight")

# Up to four planes are colours of one scene; more are a cube, whose planes have noise of their own.
MOST_JOINT_PLANES = 4


# The fields of `SourceSpec` that name files which go with the image: its companions.
COMPANION_FIELDS = (
    *("mask", "variance", "psf", "guide", "hints", "overlay", "exposures", "exposure_masks"),
)


@dataclass(frozen=True)
class SourceSpec:
    """Which image to restore; small, hashable and picklable, so that each worker opens its own.

    A companion may be named with its extension or page: ``file.fits[DQ]``.
    """

    path: Path
    hdu: int | str | None = None
    """FITS extension by index or EXTNAME; None: the first that can be restored."""
    page: int | Literal["all"] | None = None
    """TIFF page; None: the first; ``"all"``: the pages are the planes of a cube."""
    mask: Path | None = None
    """Image on the same grid; a pixel is invalid where it is not zero, or where `flags` say so."""
    flags: Flags | None = None
    """How the numbers of `mask` are read; None: all but zero are bad."""
    variance: Path | None = None
    """Noise image on the same grid."""
    noise_kind: NoiseKind = "variance"
    """What `variance` holds: variances in squared source units, standard deviations ("sigma") in source
    units, or weights, which are inverse variances."""
    psf: Path | None = None
    """Image of the point-spread function, on the grid of the estimate."""
    guide: Path | None = None
    """A second image of the same scene on the same grid, of one to four planes."""
    exposures: tuple[Path, ...] = ()
    """Further images of the same scene with independent noise."""
    exposure_masks: tuple[Path | None, ...] = ()
    """The mask of each of `exposures`, as `mask`; empty, or as many as these."""
    exposure_flags: tuple[Flags | None, ...] = ()
    """How the numbers of each of `exposure_masks` are read, as `flags`; empty, or as many."""
    hints: Path | None = None
    """RGB or RGBA image on the same grid: known colours of a grey photograph."""
    overlay: Path | None = None
    """Image with an alpha channel that was laid over this one."""
    found: tuple[str, ...] = ()
    """Which of these were found by name beside the image, and not given: "mask", "variance",
    "exposure_masks"."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are read, without extensions: the image's first, then those of its companions."""
        named: list[Path | None] = [self.path]
        for field in COMPANION_FIELDS:
            given = getattr(self, field)
            named += given if isinstance(given, tuple) else [given]
        return tuple(split_extension(path)[0] for path in named if path is not None)


@dataclass(frozen=True)
class Pixels:
    """The pixels of one box of an image, as they are read."""

    values: npt.NDArray[np.floating]
    """``(c, h, w)`` in source units, less the pedestal and divided by ``2**exponent`` of the
    `SourceFindings`, as all that is read; in the source's working dtype; finite, 0 where the file has NaN
    or BLANK."""
    valid: npt.NDArray[np.bool_]
    """``(c, h, w)``; True means trust the pixel."""
    variance: npt.NDArray[np.float32] | None = None
    """``(c, h, w)`` in squared source units, where the user or the file gives it."""
    guide: npt.NDArray[np.float32] | None = None
    """``(g, h, w)`` in the units of the guide, NaN where it is invalid; None without a guide."""
    found: npt.NDArray[np.bool_] | None = None
    """``(c, h, w)``; True where a pixel is invalid only because it was detected as a defect."""
    validation: npt.NDArray[np.float32] | None = None
    """``(c, h, w)`` in source units: the exposure kept for validation; NaN where it is invalid."""
    wild: npt.NDArray[np.bool_] | None = None
    """``(c, h, w)``; True where a pixel is invalid only because it is wild; None where none is."""
    hints: npt.NDArray[np.float32] | None = None
    """``(2, h, w)``, a and b of CIE Lab, NaN where there is no hint; None unless colours are restored."""
    hidden: npt.NDArray[np.bool_] | None = None
    """``(h, w)``; True where alpha is 0: such a pixel is invalid and is not filled. None without alpha."""
    saturated: npt.NDArray[np.bool_] | None = None
    """``(c, h, w)``; True where an invalid pixel is saturated: it keeps its value. None where none is."""
    rays: npt.NDArray[np.bool_] | None = None
    """``(c, h, w)``; True where a found defect is a cosmic ray, which adds light; None if none was sought."""

    def cropped(self, place: tuple[slice, slice]) -> Pixels:
        """The pixels of some rows and columns."""
        fields: dict[str, Any] = {
            name: None if values is None else values[..., *place]
            for name, values in vars(self).items()
        }
        return Pixels(**fields)


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
    note: str | None = None
    """What the reader does to the stored pixels, such as looking colours up in a palette; None if nothing."""


AlphaReader = Callable[[Box], npt.NDArray[Any]]
"""Reads the alpha of a box as it is stored, ``(h, w)``."""


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
    """True for colours, which one network restores together; False for a cube, whose planes are fitted one by
    one."""
    colours: int
    """Planes of a cube that are fitted together: those of a page in colour; 1 where each is alone."""
    dtype: np.dtype[Any]
    """Pixel type of the file."""
    working_dtype: np.dtype[Any]
    """float32 where that holds every value of `dtype` exactly, else float64."""
    output_dtype: np.dtype[Any]
    """Pixel type of the result: `working_dtype`, or `dtype` for integer TIFF, PNG and JPEG."""
    unit: str | None
    alpha: AlphaReader | None
    """Reads the alpha channel, which `shape` does not count and which is not restored; None without alpha."""
    resident_bytes: int
    """Upper bound of the memory that decoded pixels take between reads, in each process that reads: the whole
    image where the format cannot be read in parts, 0 where nothing is compressed."""
    metadata: dict[str, Any]
    """JSON-able: what the exports need, under the key "fits", "tiff" or "raster"."""

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> Pixels:
        """Read one box of the channels from the first to one before the last given, or of all channels.

        No more of the file is read than its storage requires.
        """
        ...

    def close(self) -> None:
        """Close the file; an unpacked copy of it stays until `forget_unpacked`."""
        ...


class FileSource:
    """What the sources of all formats have in common. A subclass defines `read` and `close`."""

    format: Format
    colours = 1
    unit: str | None = None
    alpha: AlphaReader | None = None
    resident_bytes = 0

    def _take(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Set what follows from the shape ``(y, x)`` or ``(c, y, x)`` and the type of an image."""
        self.ndim: Literal[2, 3] = 3 if len(shape) == 3 else 2
        planes = shape[0] if self.ndim == 3 else 1
        self.shape: tuple[int, int, int] = (planes, shape[-2], shape[-1])
        self.joint = planes <= MOST_JOINT_PLANES
        self.dtype: np.dtype[Any] = dtype
        self.working_dtype: np.dtype[Any] = choose_working_dtype(dtype)
        # as precise as the source; integers of pictures stay integers
        picture = self.format != "fits" and dtype.kind in "ui"
        self.output_dtype: np.dtype[Any] = dtype if picture else self.working_dtype


class WrappedSource:
    """What a source that changes or adds to the pixels of another one takes over from it.

    A subclass defines `read`.
    """

    def __init__(self, source: Source, *companions: Source) -> None:
        self._source, self._companions = source, companions
        self.spec = source.spec
        self.format, self.info, self.unit = source.format, source.info, source.unit
        self.shape, self.ndim, self.joint = source.shape, source.ndim, source.joint
        self.colours = source.colours
        self.dtype = source.dtype
        self.working_dtype = source.working_dtype
        self.output_dtype = source.output_dtype
        self.metadata: dict[str, Any] = source.metadata
        self.alpha: AlphaReader | None = source.alpha
        self.resident_bytes = sum(one.resident_bytes for one in (source, *companions))

    def close(self) -> None:
        """Close the image and its companions, which this owns."""
        for source in (self._source, *self._companions):
            source.close()


def white_of(source: Source) -> float:
    """The value of white: 1 for floats, the largest value of the type or of its used bits for integers."""
    return white_value(source.dtype, source.metadata)


def white_value(dtype: np.dtype[Any], metadata: Mapping[str, Any]) -> float:
    """The value of white in pixels of a type, with the metadata of their source; see `white_of`."""
    if dtype.kind == "f":
        return 1.0
    found = metadata.get("tiff") or metadata.get("raster") or {}
    bits = found.get("bits_per_sample")
    if isinstance(bits, int) and dtype.kind == "u" and bits < 8 * dtype.itemsize:
        return float(2**bits - 1)
    return float(np.iinfo(dtype).max)


def choose_working_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """float32 where it holds every value of `dtype` exactly, else float64."""
    return np.dtype(np.float32 if np.can_cast(dtype, np.float32, "safe") else np.float64)


def noise_image(given: Mapping[NoiseKind, Path | None]) -> tuple[Path | None, NoiseKind]:
    """The noise image that is given, and what it holds; (None, "variance") without one.

    Raises
    ------
    UsageError
        If more than one is given.
    """
    named = [(kind, path) for kind, path in given.items() if path is not None]
    if len(named) > 1:
        (first, path), (second, other), *_ = named
        raise UsageError(
            f"{first} {path} and {second} {other}: each says how noisy the pixels are, give one of them"
        )
    return (named[0][1], named[0][0]) if named else (None, "variance")


def split_extension(path: Path) -> tuple[Path, int | str | None]:
    """Split ``file.fits[DQ]`` into the file and the extension or page in brackets.

    A file whose real name ends in brackets is not split; without brackets the second value is None.
    """
    if path.exists() or not path.name.endswith("]") or "[" not in path.name:
        return path, None
    name, _, inside = path.name[:-1].rpartition("[")
    return path.with_name(name), int(inside) if inside.isdigit() else inside
